"""The models that can be chosen on the screen, and their files, off the event loop."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Protocol

from tchat.egress.egress_log import open_egress_log
from tchat.errors import ModelNotFound
from tchat.humanize import size_text
from tchat.models.disk import DiskUsage, DuplicateSet, RemovalPlan
from tchat.models.files import HashProgress, file_key
from tchat.models.library import InfoRow, Library
from tchat.models.memory import Machine
from tchat.models.models_file import aliases, register, set_alias, settings_for
from tchat.models.sources.source import gguf_files
from tchat.paths import Paths, expanded
from tchat.settings import Value, find_key, load
from tchat.settings.load import set_value
from tchat.translation import tr
from tchat.tui.background import off_loop
from tchat.tui.services.downloads import Downloads
from tchat.tui.services.model_rows import (
    Fit,
    ModelRow,
    busy_server_row,
    catalogue_rows,
    hub_row,
    local_row,
    server_row,
)

if TYPE_CHECKING:
    from tchat.chat.better_model import BetterModel
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.update import ModelRevision
    from tchat.servers.listing import Listing, ServedRow

FOUND = 20  # repositories that a search brings
Tell = Callable[[str], object]


class BeginPull(Protocol):
    """Begins a download in the background."""

    def __call__(
        self, name: str, *, agreed: bool = False, newer: ModelRevision | None = None
    ) -> object:
        """Begin it; ``agreed`` says that a bad fit was told, and accepted.

        ``newer`` is to take the place of the model, which is here.
        """


@dataclass(frozen=True, slots=True)
class PullPlan:
    """What a pull would bring. Texts are raw.

    Attributes:
        size: Bytes; an estimate of a few per cent where the hub was not asked.
        free: Bytes free on the disk of the cache.
        usable: Whether it can be used on this machine.
        reason: Why this quantization was chosen, why it is of no use here, or what comes on top.
    """

    name: str
    quantization: str
    size: int
    free: int
    usable: bool
    reason: str = ""


class ModelService:
    """The model files as `ModelPicker` uses them.

    Every method raises `TchatError` as `Library` and the hub do.

    Args:
        paths: The user's folders.
        current: The model in use: its file, or its name on a server.
        downloads: What is pulled.
        pull: Begins to pull a model.
        keep: Keeps settings for new chats.
        writing: The server that writes a reply now; empty for none. It is asked nothing: some
            end a reply as soon as they get another request.
    """

    def __init__(
        self,
        paths: Paths,
        current: Path | None,
        downloads: Downloads,
        pull: BeginPull,
        keep: Callable[[Mapping[str, Value]], object] = lambda _: None,
        *,
        writing: Callable[[], str] = lambda: "",
    ) -> None:
        self.downloads = downloads
        self._paths = paths
        self._current = current
        self._pull = pull
        self._keep = keep
        self._writing = writing
        self._egress = open_egress_log(paths)

    def take_log_problem(self) -> str:
        """Why requests are not logged, the first time; else empty."""
        return self._egress.take_problem()

    # Lists

    @off_loop
    def rows(self, everything: bool) -> Sequence[ModelRow]:
        """The user's models that can chat, and the GGUF files here and beside the one in use.

        With ``everything``, other programs' models too, and those of servers.
        """
        from tchat.engine.binding import build_name

        machine = self._known_machine()
        settings = load(self._paths).settings
        rows: dict[Path, ModelRow] = {}
        with Library(self._paths, build=build_name()) as library:
            found = [(row.name, row) for row in library.models(all=everything)]
            found += [(str(path), library.inspect(path)) for path in _here(self._current)]
        for choice, row in found:
            if row.metadata is not None and not row.metadata.refusal:
                workers = settings_for(settings, self._paths, row.path).rpc
                view = local_row(choice, row, row.metadata, self._current, machine, workers=workers)
                rows.setdefault(row.path.resolve(), view)
        served = self._served() if everything else []
        return [*rows.values(), *served]

    def _served(self) -> list[ModelRow]:
        """The models of servers; those that cannot be asked are left out."""
        from tchat.servers.config import read_servers
        from tchat.servers.listing import list_models

        servers = read_servers(self._paths)
        busy = servers.pop(self._writing(), None)
        listing = list_models([*servers.values()], self._egress)
        rows = [server_row(row, is_current=self._is_used(row, listing)) for row in listing.rows]
        if busy is not None:
            rows.append(busy_server_row(str(self._current), busy.host, busy.name))
        return rows

    def _is_used(self, row: ServedRow, listing: Listing) -> bool:
        """Whether a row is that of the model in use; the name of a server alone stands for one."""
        used, server = self._current, row.server
        if used == Path(server.name):
            others = [each for each in listing.rows if each.server.name == server.name]
            return row.name == f"{server.name}/{server.model}" or len(others) == 1
        return used == Path(row.name)  # in which `//` is one

    @off_loop
    def offers(self) -> Sequence[ModelRow]:
        """The models of the catalogue, also those on this disk; measures the machine once."""
        from tchat.chat.machine import measured_machine
        from tchat.engine.binding import build_name

        machine = measured_machine(self._paths)
        with Library(self._paths, build=build_name()) as library:
            return catalogue_rows(library.catalogue(machine))

    @off_loop
    def search(self, words: str) -> Sequence[ModelRow]:
        """Repositories of the hub whose names hold ``words``, the most downloaded first."""
        from tchat.models.hub.api import search_models

        found = search_models(self._hub(), words, FOUND)
        return [hub_row(result) for result in found if result.listing]

    @off_loop
    def require_file(self, path: Path) -> None:
        """Raise ModelError when the file of a row is gone, or no file any more."""
        file_key(path)

    def _hub(self) -> HubApi:
        from tchat.models.hub.api import HubApi

        return HubApi(self._egress)

    def _known_machine(self) -> Machine:
        """This machine, with its speed where that was measured before."""
        from tchat.chat.machine import known_machine
        from tchat.models.metadata import MetadataCache

        with MetadataCache(self._paths) as metadata_cache:
            return known_machine(metadata_cache)

    # Downloads

    @off_loop
    def plan_pull(self, row: ModelRow) -> PullPlan:
        """What pulling a model would bring; the hub is asked where the row does not tell."""
        free = _free_space()
        if row.size and row.fit is not Fit.UNKNOWN:
            usable = row.fit is not Fit.TOO_LARGE
            beside = _beside(row.choice, self._paths)
            return PullPlan(row.name, row.quantization, row.size, free, usable, beside)
        from tchat.chat.machine import measured_machine
        from tchat.models.hub.remote_model import inspect_remote, pull_objection
        from tchat.models.name_lookup import resolve_remote

        wanted = resolve_remote(row.choice, self._paths)
        model = inspect_remote(wanted, self._hub(), measured_machine(self._paths))
        objection = pull_objection(model)
        reason = objection.message if objection else model.reason
        name = model.model.name
        return PullPlan(name, model.quantization, model.size, free, objection is None, reason)

    @off_loop
    def plan_better(self, better: BetterModel) -> PullPlan:
        """What pulling the best model for this machine would bring."""
        beside = _beside(better.name, self._paths)
        return PullPlan(
            better.name, better.quantization, better.size, _free_space(), usable=True, reason=beside
        )

    def pull(self, name: str, *, agreed: bool) -> None:
        """Begin a download in the background."""
        self._pull(name, agreed=agreed)

    @off_loop
    def find_revision(self, path: Path) -> ModelRevision:
        """What the hub has of a downloaded model.

        Raises:
            TchatError: The hub did not tell.
        """
        from tchat.models.hub.cache import HubCache, cache_folder
        from tchat.models.hub.update import find_revisions

        found = next(find_revisions([path], self._hub(), HubCache(cache_folder())), None)
        if found is None:
            raise ModelNotFound(
                tr("there is no file {path}", path=path), tr("`tchat models ls` lists the models")
            )
        if found.problem is not None:
            raise found.problem
        return found

    def update(self, name: str, newer: ModelRevision) -> None:
        """Begin to download a newer revision in the background."""
        self._pull(name, agreed=True, newer=newer)

    @off_loop
    def remove_replaced(self, newer: ModelRevision) -> str:
        """Remove what a newer revision replaced; returns why it stays, else nothing."""
        with Library(self._paths) as library:
            return library.remove_replaced(newer, self._current)

    # One model

    @off_loop
    def details(self, choice: str) -> Sequence[InfoRow]:
        """What a model says about itself, on this disk or on the hub."""
        from tchat.chat.model_info import inspect_model

        return list(inspect_model(choice, self._paths, egress=self._egress).rows())

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

    @off_loop
    def check(self, choice: str, tell: Tell, stop: Event) -> Sequence[InfoRow]:
        """Check a model file by its header, hash and a probe; ends early when ``stop`` is set.

        ``tell`` is called on this thread with how far it is.
        """
        from tchat.chat.model import probe_command
        from tchat.engine.binding import build_name
        from tchat.models.verify import VerifyResult

        found = []
        with Library(self._paths, build=build_name()) as library:
            for event in library.verify(choice, probe_command):
                if stop.is_set():
                    break
                if isinstance(event, VerifyResult):
                    found.append((tr(event.topic), f"{_STATES.get(event.state, '')}{event.text}"))
                elif isinstance(event, HashProgress):
                    tell(_hashing(event))
                else:
                    tell(tr("checking: loading it in a process of its own"))
        return found

    @off_loop
    def aliases(self, choice: str) -> Sequence[str]:
        """The aliases of a model."""
        return [name for name, target in aliases(self._paths).items() if target == choice]

    @off_loop
    def set_alias(self, name: str, choice: str) -> None:
        """Give a model an alias."""
        from tchat.models.name_lookup import require_alias

        require_alias(name)
        set_alias(self._paths, name, choice)

    @off_loop
    def remove_alias(self, name: str) -> None:
        """Take an alias away."""
        set_alias(self._paths, name, None)

    # All of them

    @off_loop
    def register(self, path: str) -> None:
        """Add a GGUF file or a folder of them to the list; nothing is moved."""
        place = expanded(path)
        if not place.exists():
            raise ModelNotFound(
                tr("there is no file {path}", path=path), tr("name a GGUF file or a folder")
            )
        register(self._paths, [place])

    @off_loop
    def usage(self) -> Sequence[DiskUsage]:
        """Disk space by owner."""
        with Library(self._paths) as library:
            return library.usage()

    @off_loop
    def duplicates(self, tell: Tell, stop: Event) -> Sequence[DuplicateSet]:
        """Files with the same content; none when ``stop`` is set meanwhile."""
        with Library(self._paths) as library, closing(library.duplicates()) as events:
            while not stop.is_set():
                try:
                    tell(_hashing(next(events)))
                except StopIteration as end:
                    found: list[DuplicateSet] = end.value
                    return found
        return []

    @off_loop
    def link_duplicates(self, found: Sequence[DuplicateSet]) -> int:
        """Replace copies by hard links; returns the bytes freed."""
        from tchat.models.disk import replace_with_links

        return sum(map(replace_with_links, found))


_STATES = {"ok": "✓ ", "note": "~ ", "problem": "✗ "}


def _hashing(event: HashProgress) -> str:
    return tr("reading {done} of {total}", done=size_text(event.done), total=size_text(event.total))


def _here(current: Path | None) -> Iterator[Path]:
    """The model in use, and the files beside it and in the current folder."""
    folders = {Path.cwd()}
    if current is not None:
        yield current
        folders.add(current.parent)
    for folder in sorted(folders):
        yield from gguf_files(folder)


def _beside(name: str, paths: Paths) -> str:
    """A sentence about what comes beside a model of the catalogue; empty where nothing does."""
    from tchat.models.catalogue import find_entry

    found = find_entry(name, paths)
    if found is None:
        return ""
    entry, _ = found
    if entry.mmproj and entry.draft:
        return tr("Its projector (mmproj) and its draft model come on top.")
    if entry.mmproj:
        return tr("Its projector (mmproj) comes on top.")
    return tr("Its draft model comes on top.") if entry.draft else ""


def _free_space() -> int:
    from tchat.models.hub.cache import cache_folder

    folder = cache_folder()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
