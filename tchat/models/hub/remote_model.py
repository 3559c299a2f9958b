"""A model on the hub before it is pulled: its header, which quantization, and how it would run.

The header is read by ranges of bytes, and what came of the file is kept for its download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from tchat.errors import DoesNotFit, ModelInvalid, TchatError
from tchat.humanize import size_text
from tchat.models.fit_report import FitReport, report_fit
from tchat.models.gguf.compatibility import ModelKind, detect_kind, refusal
from tchat.models.gguf.details import HeaderDetails, extract_details
from tchat.models.gguf.dimensions import read_dimensions
from tchat.models.gguf.header import Array, Header
from tchat.models.gguf.header_parser import parse_header, strings_in
from tchat.models.gguf.reader import BoundedReader, OutOfBounds
from tchat.models.hub.api import HubApi
from tchat.models.hub.repository import (
    HubName,
    RepoFile,
    RepoListing,
    RepoModel,
    base_name,
    choose_model,
)
from tchat.models.memory import Machine, ModelDimensions
from tchat.models.quantization_choice import choose_quantization, resized
from tchat.sanitize import single_line
from tchat.translation import N_, tr

ADAPTERS = frozenset({ModelKind.LORA, ModelKind.CONTROL_VECTOR})  # of use without chatting
ANYWAY = N_("name a smaller one, or download it anyway with --yes")
# Each read is a request; most headers have 2 to 13 MB.
CHUNK = (1 << 18, 1 << 22)
ReadRange = Callable[[RepoFile, int, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model on the hub. Texts are raw: sanitize them before printing.

    Attributes:
        reason: Why it was chosen; empty when it was named.
        title: ``general.name``; may be empty.
        refusal: Why it cannot chat, as a sentence without its subject; empty when it can.
        parameters: Number of weights, all parts together.
        context_length: Tokens that it was trained for; 0 when unknown.
        report: How it would run on the machine.
        details: Of the header that was read, which may be another quantization's.
    """

    listing: RepoListing
    model: RepoModel
    reason: str = ""
    title: str
    kind: ModelKind
    refusal: str
    architecture: str
    parameters: int
    context_length: int
    dimensions: ModelDimensions
    report: FitReport
    details: HeaderDetails

    @property
    def quantization(self) -> str:
        """For example ``Q4_K_M``; may be empty."""
        return self.model.quantization

    @property
    def size(self) -> int:
        """Bytes, all parts together."""
        return self.model.size


def inspect_remote(name: HubName, hub: HubApi, machine: Machine) -> RemoteModel:
    """Choose the model of ``name`` for ``machine``, and read its header.

    Raises:
        ModelError: There is none, or it is not usable.
        HubError: A request failed.
    """
    listing = hub.listing(name.repo, name.revision)
    return inspect_listing(listing, name, HeaderCache(hub).read_range, machine, closely=True)


def inspect_listing(
    listing: RepoListing,
    name: HubName,
    read_range: ReadRange,
    machine: Machine,
    *,
    closely: bool = False,
) -> RemoteModel:
    """Choose the model of ``name``; without a quantization, the best for ``machine``.

    One header is read, of some megabytes, and the other quantizations are estimated by their file
    sizes; ``closely``, the header of the chosen one is read too.

    Raises:
        ModelNotFound: There is no such model, or its file is gone.
        ModelInvalid: It is not a GGUF file, or is damaged or hostile.
        HubError: A request failed.
    """
    seen = choose_model(listing, name)
    remote_model = _inspect(listing, seen, read_range, machine)
    wanted = base_name(seen.first.name)
    alike = [model for model in listing.models if base_name(model.first.name) == wanted]
    if name.file or name.quantization or remote_model.refusal or len(alike) < 2:
        return remote_model
    best, why = choose_quantization(
        alike, remote_model.dimensions, seen, remote_model.context_length, machine
    )
    if best is seen:
        return replace(remote_model, reason=why)
    if closely:
        return replace(_inspect(listing, best, read_range, machine), reason=why)
    dimensions = resized(remote_model.dimensions, best.size / max(seen.size, 1))
    judged = report_fit(dimensions, remote_model.context_length, machine)
    return replace(remote_model, model=best, reason=why, dimensions=dimensions, report=judged)


def _inspect(
    listing: RepoListing, model: RepoModel, read_range: ReadRange, machine: Machine
) -> RemoteModel:
    remote = RemoteHeader(model, read_range)
    header = remote.read()
    dimensions = read_dimensions(header)
    return RemoteModel(
        listing=listing,
        model=model,
        title=header.name,
        kind=detect_kind(header),
        refusal=refusal(header),
        architecture=header.architecture,
        parameters=header.parameters,
        context_length=header.context_length,
        dimensions=dimensions,
        report=report_fit(dimensions, header.context_length, machine),
        details=extract_details(header, remote.strings),
    )


def describe(remote_model: RemoteModel) -> str:
    """The model, its size, and why it was chosen; safe to print."""
    name, size = single_line(remote_model.model.name), size_text(remote_model.size)
    text = N_("{name} ({size}: {reason})") if remote_model.reason else N_("{name} ({size})")
    return tr(text, name=name, size=size, reason=remote_model.reason)


def _objection(remote_model: RemoteModel, problem: str) -> str:
    return tr("{file} {problem}", file=describe(remote_model), problem=problem)


def pull_objection(remote_model: RemoteModel) -> TchatError | None:
    """Why the user should confirm the pull: the model cannot be used here; None when it can."""
    if remote_model.refusal and remote_model.kind not in ADAPTERS:
        problem = remote_model.refusal
        return ModelInvalid(_objection(remote_model, problem), tr(ANYWAY))
    if not remote_model.refusal and not remote_model.report.fit.usable:
        problem = remote_model.report.fit.summary
        return DoesNotFit(_objection(remote_model, problem), tr(ANYWAY))
    return None


class HeaderCache:
    """The first bytes of files on ``hub``, kept in memory for their download.

    Not safe to use from several threads.
    """

    def __init__(self, hub: HubApi) -> None:
        self._hub = hub
        self._prefixes: dict[RepoFile, bytearray] = {}

    def read_range(self, file: RepoFile, start: int, length: int) -> bytes:
        """As `HubApi.read_range`; no byte of the beginning is requested twice."""
        prefix = self._prefixes.setdefault(file, bytearray())
        if start > len(prefix):  # the gap may be larger than memory
            return self._hub.read_range(file, start, length)
        end = min(start + length, file.size)
        for chunk in self._hub.chunks(file, len(prefix), end):
            prefix += chunk
        return bytes(prefix[start:end])

    def pop(self, file: RepoFile) -> bytes:
        """The bytes read from the start of ``file``; they are no longer kept."""
        return bytes(self._prefixes.pop(file, b""))


class RemoteHeader:
    """The header of ``model`` on the hub, read by ``read_range``.

    Raises, from its methods:
        ModelInvalid: It is not a GGUF file, or is damaged or hostile.
        ModelNotFound: The file is gone.
        HubError: A request failed.
    """

    def __init__(self, model: RepoModel, read_range: ReadRange) -> None:
        self._parts = [_Ranges(file, read_range) for file in model.files]

    def read(self) -> Header:
        """The header of the first part, with the tensors of all of them."""
        headers = [parse_header(part.reader(), part.name) for part in self._parts]
        tensors = tuple(tensor for header in headers for tensor in header.tensors)
        return replace(headers[0], tensors=tensors)

    def strings(self, array: Array, indexes: Iterable[int]) -> dict[int, str]:
        """Elements of a long array of strings by index; indexes out of range are left out."""
        first = self._parts[0]
        try:
            return strings_in(first.reader(), array, indexes)
        except OutOfBounds as problem:
            raise ModelInvalid(
                tr("{name} is not usable: {problem}", name=first.name, problem=problem),
                tr("try again"),
            ) from None


class _Ranges:
    """A file on the hub as a `ByteSource`."""

    def __init__(self, file: RepoFile, read_range: ReadRange) -> None:
        self.name = single_line(file.name.rpartition("/")[2])
        self._file = file
        self._read_range = read_range
        self._at = 0

    def reader(self) -> BoundedReader:
        """A reader from the start of the file."""
        self._at = 0
        return BoundedReader(self, self._file.size, CHUNK)

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, size: int) -> bytes:
        data = self._read_range(self._file, self._at, size)
        self._at += len(data)
        return data
