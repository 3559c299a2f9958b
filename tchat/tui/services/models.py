"""The models that can be chosen on the screen, and their files, off the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tchat.humanize import count_text, speed_text
from tchat.models.catalogue import Recommendation
from tchat.models.disk import RemovalPlan
from tchat.models.fit_report import FitVerdict, assess_fit
from tchat.models.hub.api import SearchResult
from tchat.models.hub.repository import default_model
from tchat.models.library import InfoRow, Library
from tchat.models.library import LibraryModel as Known
from tchat.models.memory import Machine
from tchat.models.metadata import NAMED_BY_HASH, ModelMetadata
from tchat.models.sources.source import gguf_files
from tchat.paths import Paths
from tchat.settings import Value, find_key
from tchat.settings.load import set_value
from tchat.tui.background import off_loop
from tchat.tui.services.downloads import Downloads


class ModelService:
    """The model files as `ModelPicker` uses them.

    Every method raises `TchatError` as `Library` and the hub do.
    """

    def __init__(
        self,
        paths: Paths,
        current: Path | None,
        pulls: Downloads,
        pull: Callable[[str], object],
        keep: Callable[[Mapping[str, Value]], object] = lambda _: None,
    ) -> None:
        self._paths = paths
        self._current = current
        self._pulls = pulls
        self._pull = pull
        self._keep = keep

    @property
    def pulling(self) -> str:
        """The model that is being pulled; empty when none is."""
        return self._pulls.name

    @off_loop
    def plan_pull(self, name: str) -> str:
        """What pulling a model would bring: its file, size, and why this one; asks the hub."""
        from tchat.chat.machine import measured_machine
        from tchat.models.hub.api import HubApi
        from tchat.models.hub.remote_model import describe, inspect_remote
        from tchat.models.name_lookup import resolve_remote

        wanted = resolve_remote(name, self._paths)
        return describe(inspect_remote(wanted, HubApi(), measured_machine(self._paths)))

    def pull(self, name: str) -> None:
        """Begin a download in the background."""
        self._pull(name)

    def stop_pull(self) -> None:
        """End it; what came is kept."""
        self._pulls.stop()

    @off_loop
    def rows(self, everything: bool) -> Sequence[ModelRow]:
        """The user's models that can chat, and the GGUF files here and beside the one in use.

        With ``everything``, other programs' models too.
        """
        from tchat.chat.machine import this_machine
        from tchat.engine.binding import build_name

        machine = this_machine()
        rows: dict[Path, ModelRow] = {}
        with Library(self._paths, build=build_name()) as library:
            found = [(row.name, row) for row in library.models(all=everything)]
            found += [(str(path), library.inspect(path)) for path in _here(self._current)]
        for choice, row in found:
            if row.metadata is not None and not row.metadata.refusal:
                view = _row(choice, row, row.metadata, self._current, machine)
                rows.setdefault(row.path.resolve(), view)
        return list(rows.values())

    @off_loop
    def offers(self) -> Sequence[ModelRow]:
        """The models of the catalogue that are not on this disk; measures the machine once."""
        from tchat.chat.machine import measured_machine
        from tchat.engine.binding import build_name

        with Library(self._paths, build=build_name()) as library:
            offers = library.catalogue(measured_machine(self._paths))
        return [_offer(offer) for offer in offers if offer.path is None]

    @off_loop
    def search(self, words: str) -> Sequence[ModelRow]:
        """Repositories of the hub whose names hold ``words``, the most downloaded first."""
        from tchat.models.hub.api import HubApi, search_models

        return [_hit(result) for result in search_models(HubApi(), words, FOUND) if result.listing]

    @off_loop
    def details(self, choice: str) -> Sequence[InfoRow]:
        """What a model says about itself, on this disk or on the hub."""
        from tchat.chat.model_info import inspect_model

        return list(inspect_model(choice, self._paths).rows())

    @off_loop
    def plan_removal(self, choice: str) -> RemovalPlan:
        """What removing a model would do."""
        with Library(self._paths) as library:
            return library.plan_removal(choice)

    @off_loop
    def remove(self, removal: RemovalPlan) -> None:
        """Remove a model."""
        with Library(self._paths) as library:
            library.remove(removal)

    async def make_default(self, choice: str) -> None:
        """Let new chats begin with a model."""
        key = find_key("model")
        await asyncio.to_thread(set_value, self._paths.config_file, key, choice)
        self._keep({key.name: choice})


FOUND = 20  # repositories that a search brings
_PART = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model that can be chosen. Texts are raw.

    Attributes:
        choice: What goes into the setting ``model``: a name, or a path.
        name: What it is called.
        quantization: Such as ``Q4_K_M``; empty when it is not known.
        size: Bytes; 0 when it is not known.
        fit: Whether it fits this machine, in a word or two.
        path: Where its file is; None when it has none yet.
        purpose: What it is for, of one that has no file yet.
        about: More of it: architecture, weights, context, verdict.
        current: Whether it is the one in use.
        here: Whether it is on this disk; if not, choosing it pulls it.
    """

    choice: str
    name: str
    quantization: str = ""
    size: int = 0
    fit: str = ""
    path: Path | None = None
    purpose: str = ""
    about: str = ""
    current: bool = False
    here: bool = True


def model_label(metadata: ModelMetadata) -> str:
    """What people call a model: its file's name without quantization, else its maker's name."""
    if NAMED_BY_HASH.fullmatch(metadata.path.name):
        return metadata.name
    stem = _PART.sub("", metadata.path.stem)
    short = re.sub(rf"[-._]{re.escape(metadata.quantization)}$", "", stem, flags=re.IGNORECASE)
    return short or metadata.name


def _here(current: Path | None) -> Iterator[Path]:
    """The model in use, and the files beside it and in the current folder."""
    folders = {Path.cwd()}
    if current is not None:
        yield current
        folders.add(current.parent)
    for folder in sorted(folders):
        yield from gguf_files(folder)


def _row(
    choice: str, known: Known, metadata: ModelMetadata, current: Path | None, machine: Machine
) -> ModelRow:
    fit = assess_fit(metadata.dimensions, metadata.context_length, machine)
    what = f"{metadata.architecture}, {count_text(metadata.parameters)} weights"
    context = f"{metadata.context_length:,} tokens of context"
    return ModelRow(
        choice=choice,
        name=model_label(metadata),
        quantization=metadata.quantization,
        size=metadata.size,
        fit=_fit(fit, known.speed),
        path=metadata.path,
        about=f"{what}, {context}; {known.verdict}; {fit.summary}",
        current=metadata.path == current,
    )


def _offer(offer: Recommendation) -> ModelRow:
    entry = offer.entry
    what = f"{entry.title} of {entry.maker}, {entry.weights} weights, {entry.licence}"
    return ModelRow(
        choice=entry.name,
        name=entry.name,
        quantization=offer.file.quantization,
        size=offer.file.size,
        fit=_fit(offer.fit, offer.speed),
        purpose=entry.purpose,
        about=f"{what}: {entry.purpose}; {entry.languages}\n{offer.fit.summary}",
        here=False,
    )


def _fit(fit: FitVerdict, speed: float) -> str:
    return f"{fit.short} · {speed_text(speed)} tok/s" if speed else fit.short


def _hit(result: SearchResult) -> ModelRow:
    hit = result.hit
    models = result.listing.models if result.listing else ()
    usual = default_model(models) if models else None
    what = f"{hit.architecture}, {count_text(hit.parameters)} weights".strip(", ")
    gated = ", gated: accept its terms on the hub first" if hit.gated else ""
    return ModelRow(
        choice=hit.repo,
        name=hit.repo,
        quantization=usual.quantization if usual else "",
        size=usual.size if usual else 0,
        purpose=f"{hit.downloads:,} downloads, {hit.licence or 'no licence'}",
        about=f"{what}{gated}; Enter pulls the largest quantization that fits",
        here=False,
    )
