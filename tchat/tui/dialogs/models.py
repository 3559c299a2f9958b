"""The model picker: models are chosen, downloaded, looked into and removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from threading import Event
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType

from tchat.errors import ModelError
from tchat.humanize import size_text, speed_text
from tchat.models.catalogue_entry import ABILITIES
from tchat.models.files import has_gguf_ending
from tchat.models.hub.repository import parse_hub_name
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import CLOSE, Confirm, Hint, ListDialog
from tchat.tui.dialogs.model_actions import (
    UNALIAS,
    ModelDetails,
    duplicate_rows,
    menu,
    pull_question,
    removal_question,
    usage_rows,
)
from tchat.tui.dialogs.model_table import (
    FITS,
    PULL,
    ChipRow,
    Sort,
    arranged,
    columns,
    model_item,
    progress_text,
    row_key,
)
from tchat.tui.dialogs.text_question import TextQuestion
from tchat.tui.keys import Scope, bindings, show_key
from tchat.tui.services.model_rows import ModelRow, with_catalogue
from tchat.tui.services.models import ModelService
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_columns import ListHead
from tchat.tui.widgets.item_view import Item

NOTHING = N_("No model yet: type the path of a GGUF file, or pip install 'tchat[starter]'.")
SEARCH = "search "  # begins the key of a line that does not choose
OFTEN = 0.25  # seconds between two looks at the download

_ACTIONS, _SORT = Hint("models.actions", N_("actions")), Hint("models.sort", N_("sort"))
_DETAILS = Hint("models.details", N_("details"))
INSTALLED: tuple[Hint, ...] = (Hint("enter", N_("use")), _ACTIONS, _SORT, _DETAILS, CLOSE)
AVAILABLE = (Hint("enter", N_("download")), _ACTIONS, _SORT, _DETAILS, CLOSE)
DOWNLOADING = (Hint("models.remove", N_("stop the download")), _ACTIONS, _SORT, CLOSE)
ENDED = (Hint("enter", N_("try again")), Hint("models.remove", N_("dismiss")), _ACTIONS, CLOSE)


class ModelPicker(ListDialog):
    """Models in a table; it ends with the ``choice`` of a row, or with a path that was typed."""

    HINTS: ClassVar[tuple[Hint, ...]] = INSTALLED
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.MODELS)]
    DEFAULT_CSS = """
    ModelPicker {
        & ChipRow { margin-bottom: 1; }
        &.-short ChipRow { margin-bottom: 0; }
        &.-short FuzzyList > .about { max-height: 2; }
    }
    """

    def __init__(self, rows: Sequence[ModelRow], service: ModelService) -> None:
        self._own = rows
        self._service = service
        self._catalogue: Sequence[ModelRow] = ()
        self._hits: Sequence[ModelRow] = ()
        self._everything = True
        self._abilities: frozenset[str] = frozenset()
        self._sort = Sort.CATALOGUE
        self._working = ""  # how far a check or a search is
        self._stop = Event()
        self._seen: object = None
        self._first_key = ""  # the key of the line that the cursor began on
        self._goal: str | None = None  # the key of the line to go to once the filter is empty
        self._chips = ChipRow()
        super().__init__(
            tr("Models"),
            (),
            cursor=self._current(),
            empty=tr(NOTHING),
            placeholder=tr("Type a name, the path of a GGUF file, or user/repo to download"),
            table=columns(),
        )

    def body(self) -> ComposeResult:
        """Chips and list."""
        yield self._chips
        yield from super().body()

    def opened(self) -> None:
        """Begin to type at once; what takes longer to find comes later."""
        super().opened()
        self._show(cursor=self._current())
        self._first_key = self.list.item.key if self.list.item else ""
        self._show_order()
        self._complete()
        self.set_interval(OFTEN, self._follow_download)

    def on_unmount(self) -> None:
        """Let a check end."""
        self._stop.set()

    # The list

    def _rows(self) -> list[ModelRow]:
        """The models of the list, in no order."""
        known = {row.path: row for row in self._catalogue if row.here}
        own = [
            with_catalogue(row, known[row.path]) if row.path in known else row for row in self._own
        ]
        offered = [*(row for row in self._catalogue if not row.here), *self._hits]
        names = {row.choice for row in (*own, *offered)}
        downloads = self._service.downloads
        more = dict.fromkeys((downloads.name, *downloads.outcomes))
        offered += [
            ModelRow(choice=name, name=name, here=False)
            for name in more
            if name and name not in names
        ]
        return [*own, *offered]

    def _show(self, cursor: str | None = None) -> None:
        """Show the list as it is now, with what the typed text could be."""
        typed = self.list.query_text.strip()
        extra = []
        if parse_hub_name(typed) is not None:
            extra.append(Item(key=PULL + typed, title=tr("Download {model}", model=typed)))
        if "/" in typed or "\\" in typed or has_gguf_ending(typed):
            extra.append(Item(key=typed, title=tr("Load the file {path}", path=typed)))
        if typed:
            title = tr("Search the hub for {words}", words=typed)
            extra.append(Item(key=SEARCH + typed, title=title))
        rows = arranged(self._rows(), self._sort, self._abilities)
        items = map(self._item, rows)
        keys = {row_key(row) for row in rows}
        extra = [item for item in extra if item.key not in keys]
        empty = tr("No model has all of these.") if self._abilities else tr(NOTHING)
        self.list.set_items([*items, *extra], cursor=cursor, empty=empty)

    def _item(self, row: ModelRow) -> Item:
        downloads = self._service.downloads
        is_coming = downloads.name == row.choice
        progress = progress_text(downloads.progress, downloads.words) if is_coming else ""
        if is_coming and downloads.part:
            progress = f"{single_line(downloads.part, 30)} {progress}"
        if row.here:
            return model_item(row, progress)
        return model_item(row, progress, downloads.outcomes.get(row.choice))

    def _row(self) -> ModelRow | None:
        item = self.list.item
        return next((row for row in self._rows() if item and row_key(row) == item.key), None)

    @on(FuzzyList.Filtered)
    def offer_more(self) -> None:
        """What looks like a path can be chosen as it is, what looks like a name downloaded."""
        goal, self._goal = self._goal, None
        self._show(cursor=goal)

    def _go_to(self, key: str | None) -> None:
        """Show all models with the cursor on one of them."""
        if self.list.query_text:
            self._goal = key
            self.list.set_query("")
        else:
            self._show(cursor=key)

    @on(FuzzyList.Highlighted)
    def tell_keys(self) -> None:
        """Show the keys that act on the highlighted line."""
        row = self._row()
        downloads = self._service.downloads
        if row is not None and downloads.name == row.choice:
            hints: tuple[Hint, ...] = DOWNLOADING
        elif row is None or row.here:
            hints = INSTALLED
        else:
            hints = ENDED if row.choice in downloads.outcomes else AVAILABLE
        self.show_hints(hints)

    def _follow_download(self) -> None:
        """Show how far the download is; what came is listed."""
        downloads = self._service.downloads
        now = (downloads.name, downloads.words, downloads.progress, dict(downloads.outcomes))
        if now == self._seen:
            return
        before, self._seen = self._seen, now
        self._show()
        self._tell()
        if isinstance(before, tuple) and before[0] and before[0] != downloads.name:
            self._complete(came=before[0])

    def _tell(self) -> None:
        self.set_heading(tr("Models"), self._working or self._service.downloads.words)

    @background(group="rows", exclusive=True)
    async def _complete(self, came: str = "") -> None:
        """List other programs' models and the catalogue; ``came``: what was downloaded now."""
        was_listed = self._current()
        self._own = await self._service.rows(self._everything)
        self._show(cursor=self._cursor_of(came) or (None if was_listed else self._cursor_at_rest()))
        self._catalogue = await self._service.offers()
        if not all(row.speed for row in self._own):  # the machine is measured by now
            self._own = await self._service.rows(self._everything)
        self._show()
        self._tell_log_problem()

    def _current(self) -> str:
        """The key of the model in use; empty where it is not listed."""
        return next((row_key(row) for row in self._own if row.current), "")

    def _cursor_at_rest(self) -> str | None:
        """The key of the model in use, where nobody moved the cursor yet."""
        item = self.list.item
        is_at_rest = not self.list.query_text and (item is None or item.key == self._first_key)
        return (self._current() or None) if is_at_rest else None

    def _cursor_of(self, came: str) -> str | None:
        """The key of a model that was downloaded, where the cursor waits on it."""
        item, pulled = self.list.item, self._service.downloads.pulled
        if not came or pulled is None or item is None or item.key != PULL + came:
            return None
        return next((row_key(row) for row in self._own if row.path == pulled), None)

    # Filter and order

    def action_filter(self, ability: str) -> None:
        """Show only models with an ability, or no longer."""
        self._abilities ^= {ability}
        self._show()
        self._show_order()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort_by(self._sort.following)

    def _sort_by(self, sort: Sort) -> None:
        self._sort = sort
        self._show()
        self._show_order()

    def _show_order(self) -> None:
        keys = {each: self._key(f"models.{each}") for each in ABILITIES}
        self._chips.show(keys, self._abilities, self._sort)
        self.list.head.mark(self._sort, self._sort.sign)

    def _key(self, binding: str) -> str:
        keys = (each.binding for each in self.active_bindings.values())
        return next((show_key(each.key) for each in keys if each.id == binding), "")

    @on(ChipRow.Toggled)
    def toggle_chip(self, event: ChipRow.Toggled) -> None:
        """As by its key."""
        self.action_filter(event.ability)

    @on(ChipRow.SortClicked)
    def next_order(self) -> None:
        """As by its key."""
        self.action_sort()

    @on(ListHead.Clicked)
    def sort_by_column(self, event: ListHead.Clicked) -> None:
        """Sort by the column, or no longer."""
        self._sort_by(Sort.CATALOGUE if self._sort == event.key else Sort(event.key))

    # Choosing

    def choose(self, key: str) -> None:
        """End with a model, or ask whether to download one."""
        if key.startswith(SEARCH):
            self._search(key.removeprefix(SEARCH))
        elif key.startswith(PULL):
            self._pull(key.removeprefix(PULL))
        else:
            self._use(key)

    @background(group="use", exclusive=True)
    async def _use(self, choice: str) -> None:
        """End with the model, unless its file is gone."""
        row = next((row for row in self._own if row.choice == choice), None)
        if row is not None and row.path is not None:
            try:
                await self._service.require_file(row.path)
            except ModelError:
                self._complete()
                raise
        self.finish(choice)

    @background(group="offers", exclusive=True)
    async def _search(self, words: str) -> None:
        self._work(tr("asking the hub …"))
        found = ""
        try:
            self._hits = await self._service.search(words)
            found = trn("{count:,} found on the hub", "{count:,} found on the hub", len(self._hits))
        finally:
            self._work(found)
        self._go_to(next(map(row_key, self._hits), None))

    def _work(self, text: str) -> None:
        self._working = text
        self._tell()
        self._tell_log_problem()

    def _tell_log_problem(self) -> None:
        if problem := self._service.take_log_problem():
            self.notify(single_line(problem, 400), severity="warning", markup=False)

    @background(group="pull", exclusive=True)
    async def _pull(self, name: str) -> None:
        """Download a model, after telling what comes; where that is not known the hub is asked."""
        if self._is_busy(name):
            return
        row = next((row for row in self._rows() if not row.here and row.choice == name), None)
        row = row or ModelRow(choice=name, name=name, here=False)
        self._work(tr("asking the hub …"))
        try:
            plan = await self._service.plan_pull(row)
        finally:
            self._work("")
        if not self.is_current:
            return
        _, word, _ = FITS.get(row.fit, ("", "", ""))
        speed = speed_text(row.speed)
        told = tr("about {speed} tok/s", speed=speed) if speed else ""
        question = pull_question(plan, tr(word) if word else "", told)
        if await self.app.push_screen_wait(question):
            self._service.pull(name, agreed=not plan.usable)
            self._go_to(PULL + name)

    def _is_busy(self, name: str) -> bool:
        """Whether a download is under way; says so where it is that of another model."""
        coming = self._service.downloads.name
        if coming and coming != name:
            busy = single_line(coming, 60)
            self.notify(tr("Wait for {model}, or stop it first.", model=busy), markup=False)
        return bool(coming)

    # Actions on the highlighted model

    @background(group="menu", exclusive=True)
    async def action_actions(self) -> None:
        """Choose an action on the highlighted model, or on all."""
        row = self._row()
        aliases = await self._service.aliases(row.choice) if row and row.here else ()
        named = {name: self._key(f"models.{name}") for name in ("details", "remove", "sort")}
        named |= {"make_default": self._key("models.default"), "use": show_key("enter")}
        named["everything"] = self._key("models.everything")
        chosen = await self.app.push_screen_wait(menu(row, aliases, named))
        if chosen is None:
            return
        if chosen.startswith(UNALIAS):
            self._remove_alias(chosen.removeprefix(UNALIAS))
        elif chosen == "use" and row is not None:
            self.choose(row_key(row))
        elif chosen == "check" and row is not None:
            self._check(row)
        elif chosen == "alias" and row is not None:
            self._alias(row)
        elif chosen == "update" and row is not None:
            self._update(row)
        else:
            self._all_models(chosen)

    def _all_models(self, chosen: str) -> None:
        actions = {
            "details": self.action_details,
            "make_default": self.action_make_default,
            "remove": self.action_remove,
            "sort": self.action_sort,
            "everything": self.action_everything,
            "register": self._register,
            "dupes": self._find_duplicates,
            "du": self._show_usage,
        }
        actions[chosen]()

    @background(group="details", exclusive=True)
    async def action_details(self) -> None:
        """Show what the highlighted model says about itself."""
        if row := self._row():
            lines = await self._service.details(row.choice)
            self._tell_log_problem()
            self.app.push_screen(ModelDetails(row.name or row.choice, lines))

    @background(group="files")
    async def action_make_default(self) -> None:
        """Let new chats begin with the highlighted model."""
        if (row := self._row()) and row.here:
            await self._service.make_default(row.choice)
            name = single_line(row.choice)
            self.notify(tr("Default model: {model}.", model=name), markup=False)

    def action_everything(self) -> None:
        """Show what other programs keep too, or only one's own."""
        self._everything = not self._everything
        self._complete()

    def action_remove(self) -> None:
        """Remove the highlighted model (asks first), or end its download, or dismiss its end."""
        row = self._row()
        downloads = self._service.downloads
        if row is None:
            return
        if downloads.name == row.choice:
            downloads.stop()
        elif row.here:
            self._remove(row)
        elif row.choice in downloads.outcomes:
            del downloads.outcomes[row.choice]
            self._show()

    @background(group="files")
    async def _remove(self, row: ModelRow) -> None:
        plan = await self._service.plan_removal(row.choice)
        if await self.app.push_screen_wait(removal_question(plan)):
            await self._service.remove(plan)
            self._complete()

    @background(group="check", exclusive=True)
    async def _check(self, row: ModelRow) -> None:
        try:
            found = await self._service.check(row.choice, self._teller(), self._stop)
        finally:
            self._work("")
        if self.is_running:
            heading = tr("Check of {model}", model=row.name or row.choice)
            self.app.push_screen(ModelDetails(heading, found))
            self._complete()

    def _teller(self) -> Callable[[str], object]:
        """Shows how far a check is, from another thread."""
        loop = asyncio.get_running_loop()
        return lambda text: loop.call_soon_threadsafe(self._work, text)

    @background(group="pull", exclusive=True)
    async def _update(self, row: ModelRow) -> None:
        """Look for a newer version on the hub, and download it after asking."""
        if row.path is None or self._is_busy(row.choice):
            return
        self._work(tr("asking the hub …"))
        try:
            found = await self._service.find_revision(row.path)
        finally:
            self._work("")
        if not self.is_current:
            return
        name = single_line(row.name or row.choice, 60)
        if not found.is_newer:
            text = N_("{model} is up to date.")
            if found.there is None:
                text = N_("{model} is no longer on the hub; it stays here.")
            self.notify(tr(text, model=name), markup=False)
            return
        size = size_text(found.missing) or "0 B"
        question = tr("Download the newer version of {model}, {size}?", model=name, size=size)
        detail = tr("The old file goes when the new one is here and verified.")
        if await self.app.push_screen_wait(Confirm(question, detail, yes=tr("Download"))):
            self._service.update(row.choice, found)

    @background(group="files")
    async def _alias(self, row: ModelRow) -> None:
        question = TextQuestion(tr("Alias of {model}", model=row.name or row.choice), "small")
        if name := await self.app.push_screen_wait(question):
            await self._service.set_alias(name, row.choice)
            text = tr("{alias} is now an alias of {model}.", alias=name, model=row.choice)
            self.notify(single_line(text), markup=False)

    @background(group="files")
    async def _remove_alias(self, name: str) -> None:
        await self._service.remove_alias(name)
        self.notify(tr("Removed the alias {name}.", name=single_line(name)), markup=False)

    # All models

    @background(group="files")
    async def _register(self) -> None:
        question = TextQuestion(
            tr("Add to the list; nothing is moved"),
            tr("A GGUF file or a folder"),
            is_path=True,
        )
        if path := await self.app.push_screen_wait(question):
            await self._service.register(path)
            self._complete()

    @background(group="files")
    async def _show_usage(self) -> None:
        usage = await self._service.usage()
        self.app.push_screen(ModelDetails(tr("Disk usage"), usage_rows(usage)))

    @background(group="check", exclusive=True)
    async def _find_duplicates(self) -> None:
        try:
            found = await self._service.duplicates(self._teller(), self._stop)
        finally:
            self._work("")
        if not self.is_running:
            return
        linkable = [copies for copies in found if copies.saved]
        freed = size_text(sum(copies.saved for copies in linkable))
        rows = duplicate_rows(found) or [("", tr("There are no duplicate model files."))]
        offer = N_("replace the copies by hard links") if linkable else ""
        wants = await self.app.push_screen_wait(
            ModelDetails(tr("Duplicate files"), rows, offer=offer)
        )
        question = Confirm(
            tr("Replace copies by hard links, and free {size}?", size=freed), danger=True
        )
        if wants and await self.app.push_screen_wait(question):
            freed = size_text(await self._service.link_duplicates(linkable))
            self.notify(tr("Freed {size}.", size=freed), markup=False)
