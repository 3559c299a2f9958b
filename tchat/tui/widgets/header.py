"""The header: title of the session, branch, what is special about it, and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.style import Style

from tchat.sanitize import single_line
from tchat.translation import tr, trn
from tchat.tui.widgets.rows import Ends, Part, Row, part

if TYPE_CHECKING:
    from textual.widgets import Input

    from tchat.tui.widgets.fuzzy_list import LineEditor

LEAST_ROWS = 20  # of the terminal; in a lower one the header gives its row to the messages
TITLE = 80  # characters at most
TITLES = (80, 48, 24, 12)  # cells of a title, the longest first
MODELS = (40, 16, 8)  # of the name of a model
BRANCH, DOWN, PIN, TOOLS, SERVER = "⎇", "▾", "▲", "ƒ", "⇄"
ENCRYPTED = "▣"
TARGET = "header"  # the key of what a click asks for, in a style's meta data


class HeaderData(NamedTuple):
    """What the header says.

    Attributes:
        title: Title of the session, raw; empty before it has one.
        branch: Number of the branch at the last fork, from 1, and how many there are.
        model: Short name of the model, raw; empty when there is none.
        pins: How many messages are pinned.
        private: Whether nothing is stored, as the user wanted.
        unstored: Whether something cannot be stored.
        encrypted: Whether the store is encrypted.
        tools: How many tools the model may call.
        server: The server or the workers that the chat is sent to, raw; empty for a model on this
            machine.
    """

    title: str = ""
    branch: tuple[int, int] = (1, 1)
    model: str = ""
    pins: int = 0
    private: bool = False
    unstored: bool = False
    encrypted: bool = False
    tools: int = 0
    server: str = ""


class ChatHeader(Row):
    """One row: title and branch on the left; marks and the model on the right.

    It is drawn only when its data change. A click on the title lets the user change it.
    """

    DEFAULT_CSS = """
    ChatHeader {
        color: $foreground;
        & > LineEditor.-textual-compact { width: 1fr; padding: 0; background: $surface; }
    }
    """

    class ModelClicked(Message):
        """The user wants another model."""

    class BranchClicked(Message):
        """The user wants another branch."""

    class ToolsClicked(Message):
        """The user wants other tools."""

    class TitleClicked(Message):
        """The user wants another title."""

    @dataclass
    class Renamed(Message):
        """The user gave the session another title."""

        title: str

    class Left(Message):
        """The title is no longer edited; the focus belongs elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._data = HeaderData()
        self._is_tall = True
        self._editor: LineEditor | None = None

    def show(self, data: HeaderData) -> None:
        """Show ``data``."""
        if data != self._data:
            self._data = data
            self.update_parts()

    def fit_height(self, rows: int) -> bool:
        """Fold away in a terminal of too few ``rows``; return whether it is visible."""
        self._is_tall = rows >= LEAST_ROWS
        self.display = self._is_tall or self._editor is not None
        return self.display

    def parts(self) -> Ends:
        """Title and branch; marks and model."""
        data = self._data
        return [_title(data), *branch_part(data)], [*marks(data), *model_part(data)]

    # Changing the title

    @property
    def is_editing(self) -> bool:
        """Whether the title is being edited."""
        return self._editor is not None

    async def edit(self) -> None:
        """Let the user change the title in its place; `Renamed` or `Left` ends it."""
        if self._editor is not None:
            return
        from tchat.tui.widgets.fuzzy_list import LineEditor

        self._editor = LineEditor(
            single_line(self._data.title), placeholder=tr("Title"), compact=True
        )
        self.display = True
        await self.mount(self._editor)
        self.screen.set_focus(self._editor)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the title; an empty one is none."""
        event.stop()
        title = single_line(event.value).strip()
        if title and title != self._data.title:
            self.post_message(self.Renamed(title))
        self.end_edit()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Nobody else needs to know."""
        event.stop()

    def on_line_editor_left(self, event: LineEditor.Left) -> None:
        """Cancel."""
        event.stop()
        self.end_edit()

    def end_edit(self) -> None:
        """End the edit, with the title as it was."""
        if self._editor is not None:
            self._editor.remove()
            self._editor = None
            self.display = self._is_tall
            self.post_message(self.Left())

    def on_click(self, event: Click) -> None:
        """Ask for what was clicked."""
        asked = event.style.meta.get(TARGET)
        if asked is not None:
            event.stop()
            kinds = {
                "title": self.TitleClicked,
                "branch": self.BranchClicked,
                "tools": self.ToolsClicked,
            }
            self.post_message(kinds.get(asked, self.ModelClicked)())


def marks(data: HeaderData) -> list[Part]:
    """What is special about a session; it stays in the narrowest row."""
    found = []
    if data.private:
        found.append(_warning("$warning", tr("PRIVATE, nothing is stored"), tr("PRIVATE")))
    if data.unstored:
        found.append(_warning("$error", tr("NOT STORED, in memory only"), tr("NOT STORED")))
    if data.encrypted and not data.private:
        found.append(part(ENCRYPTED, "", keep=(3,), style="$muted"))
    if data.server:
        names = [f"{SERVER} {_cut(data.server, cells)}" for cells in MODELS]
        found.append(part(*names, keep=(1, 2), style="bold $server", lead="  "))
    if data.pins:
        found.append(part(f"{PIN} {data.pins}", "", keep=(3,), style="$muted"))
    if data.tools:
        told = trn("{count:,} tool", "{count:,} tools", data.tools)
        found.append(_clicked("tools", "$muted", told, f"{TOOLS}{data.tools}", keep=(3,)))
    return found


def model_part(data: HeaderData) -> list[Part]:
    """The model, to be clicked."""
    if not data.model:
        return [_clicked("model", "$muted", tr("no model") + f" {DOWN}", keep=(), lead="  ")]
    if data.model == data.server:  # it stands beside already
        return [_clicked("model", "bold $assistant", DOWN, keep=(), lead=" ")]
    names = [f"{_cut(data.model, cells)} {DOWN}" for cells in MODELS]
    return [_clicked("model", "bold $assistant", *names, keep=(2, 5), lead="  ")]


def branch_part(data: HeaderData) -> list[Part]:
    """The branch, to be clicked, where there are several."""
    number, count = data.branch
    if count < 2:
        return []
    return [_clicked("branch", "$assistant", f"{BRANCH} {number}/{count}", keep=(), lead="  ")]


def _title(data: HeaderData) -> Part:
    if not data.title:
        return _clicked("title", "$muted", tr("New session"), keep=())
    return _clicked("title", "bold", *(_cut(data.title, cells) for cells in TITLES), keep=(0, 2, 4))


def _cut(text: str, cells: int) -> str:
    """A raw text on one line of at most ``cells`` cells."""
    return Content(single_line(text, TITLE)).truncate(cells, ellipsis=True).plain


def _clicked(
    target: str, style: str, *texts: str, keep: tuple[int, ...], lead: str = " · "
) -> Part:
    meta = Style.from_meta({TARGET: target})
    return Part(tuple(Content.styled(text, style).stylize(meta) for text in texts), keep, lead)


def _warning(colour: str, *forms: str) -> Part:
    texts = (f" {form} " for form in forms)
    return part(*texts, keep=(1,), style=f"bold reverse {colour}", lead="  ")
