"""The prompt: where the user types. See `Prompt`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import TextArea

from tchat.sanitize import single_line
from tchat.tui.widgets.completion import Completer, Completion, Existing, FileNames
from tchat.tui.widgets.fuzzy_match import Candidate
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft

PLACEHOLDER = "Message, / for commands, @ for files"


class PromptQueue(Widget):
    """One line for each waiting prompt, the next one first."""

    DEFAULT_CSS = """
    PromptQueue { height: auto; display: none; padding: 0 2; color: $text-muted; }
    """

    waiting: reactive[Sequence[str]] = reactive((), layout=True)
    held: reactive[bool] = reactive(False, layout=True)

    class Clicked(Message):
        """The list was clicked: the last prompt is wanted back."""

    def watch_waiting(self, waiting: Sequence[str]) -> None:
        """Take no room when nothing waits."""
        self.display = bool(waiting)

    def render(self) -> Content:
        """The first lines of the queue, and how many more there are."""
        width = max(1, self.content_size.width or self.app.size.width)
        lines = [
            Content.assemble(("queued ", "bold $user"), single_line(text, width)).truncate(
                width, ellipsis=True
            )
            for text in self.waiting[:SHOWN]
        ]
        if len(self.waiting) > SHOWN:
            lines.append(Content(f"and {len(self.waiting) - SHOWN} more"))
        if self.held:
            lines.append(Content(GO_ON).truncate(width, ellipsis=True))
        return Content("\n").join(lines)

    def on_click(self, event: Click) -> None:
        """Give the last one back."""
        event.stop()
        self.post_message(self.Clicked())


class Prompt(Vertical):
    """Text area, waiting prompts above it, completions over it.

    Posts `Prompt.Submitted` (text and attachments), `Prompt.Changed` (the draft, for the meter),
    `Prompt.Resized`, `Prompt.EditorRequested`, `Prompt.BlankLeft`, `Prompt.QueueTaken` and
    `Prompt.QueueReleased`.
    The screen sets what it knows:

    Attributes:
        mode: What Enter will do other than send, such as ``editing message 3``; in the border.
        private: Whether nothing is stored; in the border.
        queue: First lines of the prompts that wait for the reply under way.
        held: Whether they wait for the user, who stopped a reply.
    """

    DEFAULT_CSS = """
    Prompt { height: auto; }
    PromptArea {
        height: auto; max-height: 40vh; padding: 0 1;
        border: round $muted 40%; background: $background;
        border-title-color: $warning; border-title-style: bold;
        scrollbar-size-vertical: 1;
        &:focus { border: round $user; }
        &.-private, &.-private:focus { border: round $warning; }
        & .chip-area--chip { color: $user; background: $surface-lighten-1; text-style: bold; }
    }
    """

    Submitted = PromptArea.Submitted
    EditorRequested = PromptArea.EditorRequested
    QueueTaken = PromptArea.QueueTaken
    QueueReleased = PromptArea.QueueReleased
    BlankLeft = PromptArea.BlankLeft

    @dataclass
    class Changed(Message):
        """The draft is another now."""

        draft: Draft

    class Resized(Message):
        """It takes other lines of the screen now."""

    mode: reactive[str] = reactive("")
    private: reactive[bool] = reactive(False)
    queue: reactive[Sequence[str]] = reactive(())
    held: reactive[bool] = reactive(False)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._queue = PromptQueue()
        self._popup = Completion()
        self._completer = Completer(self._popup)
        self._area = PromptArea(self._completer)
        self._area.placeholder = PLACEHOLDER

    def compose(self) -> ComposeResult:
        """The queue, then the area; the popup is laid out where the area begins."""
        yield self._queue
        yield self._popup
        yield self._area

    # What the screen gives

    def offer(
        self,
        commands: Sequence[Candidate],
        file_names: FileNames | None = None,
        existing: Existing | None = None,
    ) -> None:
        """Complete these slash commands (names without the slash) and the names of files."""
        self._completer.commands = commands
        self._completer.file_names = file_names
        self._completer.existing = existing

    def remember(self, drafts: Iterable[Draft]) -> None:
        """Let Up go back through ``drafts`` of earlier sessions, the newest last."""
        self._area.remember(drafts)

    @property
    def draft(self) -> Draft:
        """What is typed."""
        return self._area.draft

    def load(self, draft: Draft | str) -> None:
        """Put ``draft`` in the place of what is typed; undo brings that back."""
        self._area.load(Draft(draft) if isinstance(draft, str) else draft)

    def select_blank(self) -> None:
        """Select the first blank of the draft, to be typed over."""
        self._area.move_cursor((0, 0))
        self._area.select_blank()

    def give_back(self, *drafts: Draft) -> None:
        """Put ``drafts`` that were not sent in front of what is typed."""
        self._area.give_back(drafts)

    def insert(self, text: str) -> None:
        """Put ``text`` at the cursor, as a chip when it is large."""
        self._area.insert_text(text)

    def focus(self, scroll_visible: bool = True) -> Prompt:
        """Put the cursor into the text."""
        self._area.focus(scroll_visible)
        return self

    def on_resize(self) -> None:
        """Tell the screen."""
        self.post_message(self.Resized())

    def watch_mode(self) -> None:
        """Show it in the border."""
        self._show_modes()

    def watch_private(self) -> None:
        """Show it in the border."""
        self._show_modes()

    def watch_queue(self, queue: Sequence[str]) -> None:
        """Show it above the text."""
        self._queue.waiting = tuple(queue)
        self._area.has_queue = bool(queue)

    def watch_held(self, held: bool) -> None:
        """Show it beside the queue."""
        self._queue.held = held

    def _show_modes(self) -> None:
        modes = ["private"] * self.private + [single_line(self.mode)] * bool(self.mode)
        self._area.border_title = Content(" · ".join(modes)) if modes else None
        self._area.set_class(self.private, "-private")

    @on(TextArea.Changed)
    def _post_change(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self._area.draft))

    @on(Completion.Picked)
    def _on_picked(self, event: Completion.Picked) -> None:
        event.stop()
        self._area.action_complete()
        self._area.focus()

    @on(PromptQueue.Clicked)
    def _on_queue_clicked(self, event: PromptQueue.Clicked) -> None:
        event.stop()
        if not self._area.text:
            self.post_message(self.QueueTaken())


SHOWN = 3
GO_ON = "waiting: Enter sends the next one, ↑ takes the last one back"
