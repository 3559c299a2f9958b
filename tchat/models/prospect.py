"""A model on the hub before it is pulled: which quantization, and how it would do here."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tchat.errors import DoesNotFit, ModelInvalid, TchatError
from tchat.models.beginnings import Beginnings
from tchat.models.details import Details, details_of
from tchat.models.fit import Machine
from tchat.models.fit_report import Report, report
from tchat.models.fitness import refusal
from tchat.models.hparams import shape_of
from tchat.models.hub import Hub
from tchat.models.hub_files import Listing, RemoteModel, base_name, choose
from tchat.models.hub_name import HubName
from tchat.models.kinds import Kind, kind_of
from tchat.models.quantization import choose_quantization, resized
from tchat.models.remote import ReadRange, RemoteHeader
from tchat.models.shape import Shape
from tchat.models.words import size_text
from tchat.sanitize import single_line

ADAPTERS = frozenset({Kind.LORA, Kind.CONTROL_VECTOR})  # of use without chatting
ANYWAY = "name a smaller one, or pull it all the same with --yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A model on the hub, by its header. Texts are raw: sanitize them before printing.

    Attributes:
        listing: Of its repository.
        model: Which of the repository's models it is.
        why: Why this one, to be read after its name; empty when it was named.
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

    listing: Listing
    model: RemoteModel
    why: str = ""
    title: str
    kind: Kind
    refusal: str
    architecture: str
    parameters: int
    context_length: int
    shape: Shape
    report: Report
    details: Details

    @property
    def quantization(self) -> str:
        """For example ``Q4_K_M``; may be empty."""
        return self.model.quantization

    @property
    def size(self) -> int:
        """Bytes, of all parts."""
        return self.model.size


def ask_about(name: HubName, hub: Hub, machine: Machine) -> Prospect:
    """Ask the hub for the model that ``name`` means, and look into it closely.

    Raises:
        ModelError: There is none, or it is not usable.
        HubError: The hub cannot be asked, or refuses.
    """
    listing = hub.listing(name.repo, name.revision)
    return look(listing, name, Beginnings(hub).read_range, machine, closely=True)


def look(
    listing: Listing,
    name: HubName,
    read_range: ReadRange,
    machine: Machine,
    *,
    closely: bool = False,
) -> Prospect:
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
    seen = choose(listing, name)
    prospect = _looked_into(listing, seen, read_range, machine)
    alike = [model for model in listing.models if base_name(model) == base_name(seen)]
    if name.file or name.quantization or prospect.refusal or len(alike) < 2:
        return prospect
    best, why = choose_quantization(alike, prospect.shape, seen, prospect.context_length, machine)
    if best is seen:
        return replace(prospect, why=why)
    if closely:
        return replace(_looked_into(listing, best, read_range, machine), why=why)
    shape = resized(prospect.shape, best.size / max(seen.size, 1))
    judged = report(shape, prospect.context_length, machine)
    return replace(prospect, model=best, why=why, shape=shape, report=judged)


def _looked_into(
    listing: Listing, model: RemoteModel, read_range: ReadRange, machine: Machine
) -> Prospect:
    remote = RemoteHeader(model, read_range)
    header = remote.read()
    shape = shape_of(header)
    return Prospect(
        listing=listing,
        model=model,
        title=header.name,
        kind=kind_of(header),
        refusal=refusal(header),
        architecture=header.architecture,
        parameters=header.parameters,
        context_length=header.context_length,
        shape=shape,
        report=report(shape, header.context_length, machine),
        details=details_of(header, remote.strings),
    )


def title(prospect: Prospect) -> str:
    """The model, its size, and why it is this one; safe to print."""
    name, size = single_line(prospect.model.name), size_text(prospect.size)
    return f"{name} ({size}{': ' + prospect.why if prospect.why else ''})"


def objection_to(prospect: Prospect) -> TchatError | None:
    """Why pulling it should be asked about first: it is of no use here; None when it is."""
    if prospect.refusal and prospect.kind not in ADAPTERS:
        return ModelInvalid(f"{title(prospect)} {prospect.refusal}", ANYWAY)
    if not prospect.refusal and not prospect.report.fit.usable:
        return DoesNotFit(f"{title(prospect)} {prospect.report.fit.words}", ANYWAY)
    return None
