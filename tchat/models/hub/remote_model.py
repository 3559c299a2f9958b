"""A model on the hub before it is pulled: which quantization, and how it would do here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tchat.errors import DoesNotFit, ModelInvalid, TchatError
from tchat.humanize import size_text
from tchat.models.fit_report import FitReport, report_fit
from tchat.models.gguf.compatibility import refusal
from tchat.models.gguf.details import HeaderDetails, extract_details
from tchat.models.gguf.dimensions import ModelDimensions
from tchat.models.gguf.hparams import shape_of
from tchat.models.gguf.model_kind import ModelKind, detect_kind
from tchat.models.hub.api import HubApi
from tchat.models.hub.header_cache import HeaderCache
from tchat.models.hub.names import HubName
from tchat.models.hub.remote_header import ReadRange, RemoteHeader
from tchat.models.hub.repo_files import RepoListing, RepoModel, base_name, choose_model
from tchat.models.memory_estimate import Machine
from tchat.models.quantization import choose_quantization, resized
from tchat.sanitize import single_line

ADAPTERS = frozenset({ModelKind.LORA, ModelKind.CONTROL_VECTOR})  # of use without chatting
ANYWAY = "name a smaller one, or pull it all the same with --yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model on the hub, by its header. Texts are raw: sanitize them before printing.

    Attributes:
        listing: Of its repository.
        model: Which of the repository's models it is.
        reason: Why this one, to be read after its name; empty when it was named.
        title: What its maker calls it; may be empty.
        kind: What it is for.
        refusal: Why it cannot chat, to be read after its name; empty when it can.
        architecture: For example ``llama``.
        parameters: Weights, of all parts.
        context_length: Tokens that it was trained for; 0 when it does not say.
        shape: What decides its memory and its speed.
        report: How it would do on the machine that it was looked into for.
        details: What else its header says; of another quantization where that was looked into.
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
    shape: ModelDimensions
    report: FitReport
    details: HeaderDetails

    @property
    def quantization(self) -> str:
        """For example ``Q4_K_M``; may be empty."""
        return self.model.quantization

    @property
    def size(self) -> int:
        """Bytes, of all parts."""
        return self.model.size


def inspect_remote(name: HubName, hub: HubApi, machine: Machine) -> RemoteModel:
    """Ask the hub for the model that ``name`` means, and look into it closely.

    Raises:
        ModelError: There is none, or it is not usable.
        HubError: The hub cannot be asked, or refuses.
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
    """Look into the model that ``name`` means; without a quantization, the best for ``machine``.

    Args:
        listing: Of its repository.
        name: What was asked for.
        read_range: As of `RemoteHeader`.
        machine: That it shall fit.
        closely: Read the header of the best one too. Otherwise one header of the repository is
            read, of some megabytes, and other quantizations are judged by the sizes of their files.

    Raises:
        ModelNotFound: There is no such model, or its file is gone.
        ModelInvalid: It is no GGUF file, or one that is damaged or hostile.
        HubError: The hub cannot be asked, or refuses.
    """
    seen = choose_model(listing, name)
    remote_model = _looked_into(listing, seen, read_range, machine)
    alike = [model for model in listing.models if base_name(model) == base_name(seen)]
    if name.file or name.quantization or remote_model.refusal or len(alike) < 2:
        return remote_model
    best, why = choose_quantization(
        alike, remote_model.shape, seen, remote_model.context_length, machine
    )
    if best is seen:
        return replace(remote_model, reason=why)
    if closely:
        return replace(_looked_into(listing, best, read_range, machine), reason=why)
    shape = resized(remote_model.shape, best.size / max(seen.size, 1))
    judged = report_fit(shape, remote_model.context_length, machine)
    return replace(remote_model, model=best, reason=why, shape=shape, report=judged)


def _looked_into(
    listing: RepoListing, model: RepoModel, read_range: ReadRange, machine: Machine
) -> RemoteModel:
    remote = RemoteHeader(model, read_range)
    header = remote.read()
    shape = shape_of(header)
    return RemoteModel(
        listing=listing,
        model=model,
        title=header.name,
        kind=detect_kind(header),
        refusal=refusal(header),
        architecture=header.architecture,
        parameters=header.parameters,
        context_length=header.context_length,
        shape=shape,
        report=report_fit(shape, header.context_length, machine),
        details=extract_details(header, remote.strings),
    )


def describe(remote_model: RemoteModel) -> str:
    """The model, its size, and why it is this one; safe to print."""
    name, size = single_line(remote_model.model.name), size_text(remote_model.size)
    return f"{name} ({size}{': ' + remote_model.reason if remote_model.reason else ''})"


def pull_objection(remote_model: RemoteModel) -> TchatError | None:
    """Why pulling it should be asked about first: it is of no use here; None when it is."""
    if remote_model.refusal and remote_model.kind not in ADAPTERS:
        return ModelInvalid(f"{describe(remote_model)} {remote_model.refusal}", ANYWAY)
    if not remote_model.refusal and not remote_model.report.fit.usable:
        return DoesNotFit(f"{describe(remote_model)} {remote_model.report.fit.summary}", ANYWAY)
    return None
