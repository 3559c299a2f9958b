"""Models as rows of a list: on this disk, in the catalogue, on the hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.humanize import count_text, speed_text
from tchat.models.catalogue import guess_abilities
from tchat.models.catalogue_entry import EMBEDDING
from tchat.models.fit_report import FitVerdict, assess_fit, default_plan, expected_speed
from tchat.models.hub.api import SearchResult
from tchat.models.hub.repository import default_model
from tchat.models.library import LibraryModel
from tchat.models.memory import Machine
from tchat.models.metadata import NAMED_BY_HASH, ModelMetadata
from tchat.models.recommendation import BestModel, Recommendation, best_by_purpose
from tchat.models.sources.source import HUB, USER
from tchat.models.sources.starter import STARTER
from tchat.translation import N_, joined, tr

if TYPE_CHECKING:
    from tchat.servers.listing import ServedRow

OWN = frozenset({"tchat", USER, HUB})  # owners whose models are the user's
_PART = re.compile(r"-\d{5}-of-\d{5}$")


class Fit(StrEnum):
    """Whether a model fits this machine."""

    FITS = "fits"
    TIGHT = "tight"
    TOO_LARGE = "too large"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model that can be chosen. Texts are raw.

    Attributes:
        choice: What goes into the setting ``model``: a name, or a path.
        name: What it is called.
        quantization: Such as ``Q4_K_M``; empty when it is not known.
        size: Bytes; 0 when it is not known.
        fit: Whether it fits this machine.
        speed: Decode speed in tokens per second; 0 when it is not known.
        is_measured: Whether the speed was measured in use.
        path: Where its file is; None when it has none yet.
        owner: The program that keeps it; empty for the user's own.
        is_downloaded: Whether it came from the hub, which may have a newer one.
        purpose: What it is for, in a few words.
        abilities: What it is good for, of `tchat.models.catalogue.ABILITIES`.
        about: More of it: architecture, weights, context, verdict.
        best_for: What it is the best for on this machine.
        reason: Why it is recommended for this machine; empty when it is not.
        current: Whether it is the one in use.
        here: Whether it is on this disk; if not, choosing it pulls it.
    """

    choice: str
    name: str
    quantization: str = ""
    size: int = 0
    fit: Fit = Fit.UNKNOWN
    speed: float = 0.0
    is_measured: bool = False
    path: Path | None = None
    owner: str = ""
    is_downloaded: bool = False
    purpose: str = ""
    abilities: tuple[str, ...] = ()
    about: str = ""
    best_for: tuple[str, ...] = ()
    reason: str = ""
    current: bool = False
    here: bool = True


def model_label(metadata: ModelMetadata) -> str:
    """What people call a model: its file's name without quantization, else its maker's name."""
    if metadata.is_starter:
        return STARTER
    if not metadata.size:  # it is on a server
        return metadata.path.name
    if NAMED_BY_HASH.fullmatch(metadata.path.name):
        return metadata.name
    stem = _PART.sub("", metadata.path.stem)
    short = re.sub(rf"[-._]{re.escape(metadata.quantization)}$", "", stem, flags=re.IGNORECASE)
    return short or metadata.name


def local_row(
    choice: str,
    known: LibraryModel,
    metadata: ModelMetadata,
    current: Path | None,
    machine: Machine,
    *,
    workers: str = "",
) -> ModelRow:
    """The row of a model on this disk; what fits on its ``workers`` is known once it is loaded."""
    trained = metadata.context_length
    fit = assess_fit(metadata.dimensions, trained, machine)
    plan = default_plan(metadata.dimensions, trained, machine)
    name = model_label(metadata)
    about = tr(
        "{architecture}, {weights} weights, {context:,} tokens of context; {verdict}; {fit}",
        architecture=metadata.architecture,
        weights=count_text(metadata.parameters),
        context=trained,
        verdict=known.verdict,
        fit=tr("split over the workers {workers}", workers=workers) if workers else fit.summary,
    )
    if name == STARTER:
        about = tr("{name}: {reason}", name=metadata.name, reason=about)
    return ModelRow(
        choice=choice,
        name=name,
        quantization=metadata.quantization,
        size=metadata.size,
        fit=Fit.UNKNOWN if workers else _fit(fit),
        speed=known.speed
        or (0.0 if workers else expected_speed(metadata.dimensions, plan, machine)),
        is_measured=known.speed > 0,
        path=metadata.path,
        owner="" if known.owner in OWN else known.owner,
        is_downloaded=known.owner == HUB,
        abilities=guess_abilities(f"{name} {metadata.title}", metadata.chat_template),
        about=about,
        current=metadata.path == current,
    )


def server_row(row: ServedRow, *, is_current: bool) -> ModelRow:
    """The row of a model on a server."""
    about = tr("on {host}, {kind}", host=row.server.host, kind=row.kind)
    if row.context:
        about = tr("{about}, {context:,} tokens of context", about=about, context=row.context)
    return ModelRow(
        choice=row.name,
        name=row.name,
        owner=row.server.name,
        abilities=guess_abilities(row.name, ""),
        about=about,
        current=is_current,
    )


def busy_server_row(name: str, host: str, server: str) -> ModelRow:
    """The row of the model in use on a server that writes a reply now."""
    about = tr("on {host}; its other models are listed once the reply is there", host=host)
    return ModelRow(choice=name, name=name, owner=server, about=about, current=True)


def catalogue_rows(models: Sequence[Recommendation]) -> list[ModelRow]:
    """The rows of its models that chat; those on this disk too, with the paths of their files.

    The best ones for this machine come first.
    """
    best = best_by_purpose(models)
    names = {each.offer.name for each in best}
    others = [
        _offer(each)
        for each in models
        if each.name not in names and EMBEDDING not in each.entry.abilities
    ]
    return [*map(_recommended, best), *others]


def with_catalogue(row: ModelRow, offer: ModelRow) -> ModelRow:
    """A row of this disk with what the catalogue knows of the same model."""
    return replace(
        row,
        speed=row.speed or offer.speed,
        purpose=offer.purpose and tr(offer.purpose),
        abilities=offer.abilities,
        best_for=offer.best_for,
        reason=offer.reason,
    )


def hub_row(result: SearchResult) -> ModelRow:
    """The row of a repository of the hub."""
    hit = result.hit
    models = result.listing.models if result.listing else ()
    usual = default_model(models) if models else None
    what = f"{hit.architecture}, {count_text(hit.parameters)}".strip(", ")
    gated = tr("gated: accept its terms on the hub first") if hit.gated else ""
    chosen = tr("Enter downloads the best quantization for this machine")
    return ModelRow(
        choice=hit.repo,
        name=hit.repo,
        quantization=usual.quantization if usual else "",
        size=usual.size if usual else 0,
        purpose=tr(
            "{count:,} downloads, {licence}",
            count=hit.downloads,
            licence=hit.licence or tr("no licence"),
        ),
        abilities=guess_abilities(hit.repo, ""),
        about="; ".join(filter(None, (what, gated, chosen))),
        here=False,
    )


def _offer(offer: Recommendation) -> ModelRow:
    entry, quantization = offer.entry, offer.file.quantization
    return ModelRow(
        choice=offer.name if offer.path else f"{offer.name}:{quantization}",
        name=offer.name,
        quantization=quantization,
        size=offer.file.size,
        fit=_fit(offer.fit),
        speed=offer.speed,
        is_measured=offer.is_measured,
        path=offer.path,
        purpose=tr(entry.purpose),
        abilities=entry.abilities,
        about=tr(
            "{title} by {maker}, {weights} weights, {licence}; {languages}; {fit}",
            title=entry.title,
            maker=entry.maker,
            weights=entry.weights,
            licence=entry.licence,
            languages=tr(entry.languages),
            fit=offer.fit.summary,
        ),
        here=offer.path is not None,
    )


def _recommended(best: BestModel) -> ModelRow:
    return replace(_offer(best.offer), best_for=best.purposes, reason=_reason(best))


def _reason(best: BestModel) -> str:
    purposes = joined([tr(each) for each in best.purposes])
    text = N_("Best here for {purposes}")
    if best.offer.speed:
        text = N_("Best here for {purposes}: about {speed} tok/s")
    if best.offer.is_measured:
        text = N_("Best here for {purposes}: {speed} tok/s, as measured")
    return tr(text, purposes=purposes, speed=speed_text(best.offer.speed))


def _fit(fit: FitVerdict) -> Fit:
    return Fit.FITS if fit.good else Fit.TIGHT if fit.usable else Fit.TOO_LARGE
