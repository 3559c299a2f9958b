"""The prompt: the text area, the queued prompts above it, and the completions over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import Click, Key
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import TextArea

from tchat.sanitize import single_line
from tchat.translation import N_, tr
from tchat.tui.keys import KeyAction, Scope, declared, shown_by_id
from tchat.tui.widgets.completion import Completion, Existing, FileNames
from tchat.tui.widgets.fuzzy_match import Candidate
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.tui.widgets.vim import Vim

PLACEHOLDER = N_("Message · / commands · @ files")
HELP = N_("{key} help")
SHOWN = 3  # queued prompts
# What the queue that waits for the user says, by the action whose key it names.
WAITING = (
    ("prompt.send", N_("{key} sends the next one")),
    ("prompt.up", N_("{key} takes the last one back")),
)


class PromptQueue(Widget):
    """One line for each queued prompt, the next one first."""

    DEFAULT_CSS = """
    PromptQueue { height: auto; display: none; padding: 0 2; color: $text-muted; }
    """

    waiting: reactive[Sequence[str]] = reactive((), layout=True)
    held: reactive[bool] = reactive(False, layout=True)

    class Clicked(Message):
        """The user wants the last prompt back."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        super().__init__()
        self._held_hints = [tr(does, key=keys[each]) for each, does in WAITING if each in keys]

    def watch_waiting(self, waiting: Sequence[str]) -> None:
        """Hide an empty queue."""
        self.display = bool(waiting)

    def render(self) -> Content:
        """The first lines of the queue, and how many more there are."""
        width = max(1, self.content_size.width or self.app.size.width)
        queued = (tr("queued") + " ", "bold $user")
        lines = [
            Content.assemble(queued, single_line(text, width)) for text in self.waiting[:SHOWN]
        ]
        if len(self.waiting) > SHOWN:
            lines.append(Content(tr("and {count:,} more", count=len(self.waiting) - SHOWN)))
        if self.held:
            lines.append(Content(tr("waiting: {keys}", keys=", ".join(self._held_hints))))
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)

    def on_click(self, event: Click) -> None:
        """Ask for the last prompt."""
        event.stop()
        self.post_message(self.Clicked())


class Prompt(Vertical):
    """Where the user types. The screen sets its attributes.

    ``keys`` are those in force, for the hints; without them the hints name those declared.

    Attributes:
        mode: What Enter does other than send, such as ``editing message 3``; shown in the border.
        private: Whether nothing is stored; shown in the border.
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
        & .chip-area--blank { color: $warning; background: $surface-lighten-1; text-style: bold; }
    }
    """

    Submitted = PromptArea.Submitted
    EditorRequested = PromptArea.EditorRequested
    QueueTaken = PromptArea.QueueTaken
    QueueReleased = PromptArea.QueueReleased
    BlankLeft = PromptArea.BlankLeft
    TabPressed = PromptArea.TabPressed
    EnterPressed = PromptArea.EnterPressed
    HelpRequested = PromptArea.HelpRequested
    QuitRequested = PromptArea.QuitRequested

    @dataclass
    class Changed(Message):
        """The draft changed."""

        draft: Draft

    class Resized(Message):
        """The prompt has another size."""

    mode: reactive[str] = reactive("")
    private: reactive[bool] = reactive(False)
    queue: reactive[Sequence[str]] = reactive(())
    held: reactive[bool] = reactive(False)

    def __init__(self, keys: Iterable[KeyAction] = ()) -> None:
        super().__init__()
        shown = shown_by_id(keys or declared(PromptArea.BINDINGS, Scope.PROMPT))
        self._queue = PromptQueue(shown)
        self._unfilled: tuple[str, ...] = ()  # blanks of a template that need a value
        self._completion = Completion()
        self._vim: Vim | None = None
        self._area = PromptArea(self._completion)
        help_key = shown.get("prompt.help")
        hints = [tr(PLACEHOLDER), tr(HELP, key=help_key)] if help_key else [tr(PLACEHOLDER)]
        self._area.placeholder = " · ".join(hints)

    def compose(self) -> ComposeResult:
        """Queue and text area; the popup is laid out where the area begins."""
        yield self._queue
        yield self._completion
        yield self._area

    def edit_with_vim(self) -> None:
        """Give the prompt the modes of Vim; the border shows the mode, or the command line."""
        from tchat.tui.widgets.vim import Vim

        def show(text: str) -> None:
            self._area.border_subtitle = Content(text)

        self._area.modes = self._vim = Vim(self._area, show)

    @property
    def takes_commands(self) -> bool:
        """Whether letters are commands of Vim that may lead elsewhere: it is empty."""
        vim, area = self._vim, self._area
        return vim is not None and not vim.is_inserting and area.has_focus and not area.text

    async def takes_first(self, event: Key) -> bool:
        """Whether ``event`` is a key of Vim's modes that the screen binds too."""
        if self._vim is None or not self._area.has_focus:
            return False
        return await self._vim.handle_first(event)

    # What the screen gives

    def offer(
        self,
        commands: Sequence[Candidate],
        file_names: FileNames | None = None,
        existing: Existing | None = None,
    ) -> None:
        """Complete slash commands, named without the slash, and names of files."""
        self._completion.commands = commands
        self._completion.file_names = file_names
        self._completion.existing = existing

    def remember(self, drafts: Iterable[Draft]) -> None:
        """Let Up go back through ``drafts`` of earlier sessions, the newest last."""
        self._area.remember(drafts)

    @property
    def remembered(self) -> list[Draft]:
        """The prompts that Up goes back through, the newest last."""
        return self._area.remembered

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Change the draft, earlier prompts and all that keys bring back."""
        self._area.rewrite(change)

    @property
    def draft(self) -> Draft:
        """The present draft."""
        return self._area.draft

    def load(self, draft: Draft | str) -> None:
        """Replace the draft by ``draft``; undo brings it back."""
        self._area.load(Draft(draft) if isinstance(draft, str) else draft)

    def select_blank(self, blank: str = "") -> None:
        """Select the first blank of the draft, or the first ``blank``, to be typed over."""
        self._area.blanks.select_first(blank)

    def give_back(self, *drafts: Draft) -> None:
        """Put ``drafts`` that were not sent before the present one."""
        self._area.give_back(drafts)

    def give_back_selected(self, draft: Draft) -> None:
        """Put ``draft`` back; what is typed next takes its place, unless there is a draft."""
        self._area.give_back_selected(draft)

    def cut(self) -> bool:
        """Cut what is selected; whether something was, and the prompt has the focus."""
        if not self.has_focus_within or self._area.selection.is_empty:
            return False
        self._area.action_cut()
        return True

    def insert(self, text: str) -> None:
        """Put ``text`` at the cursor, as a chip when it is large."""
        self._area.insert_text(text)

    def focus(self, scroll_visible: bool = True) -> Prompt:
        """Give the focus to the text area."""
        self._area.focus(scroll_visible)
        return self

    def focus_at_once(self) -> Prompt:
        """Give the focus to the text area before the next event, which `focus` leaves to a turn."""
        self.screen.set_focus(self._area)
        return self

    def on_resize(self) -> None:
        """Post `Resized`."""
        self.post_message(self.Resized())

    def watch_queue(self, queue: Sequence[str]) -> None:
        """Show the queue."""
        self._queue.waiting = tuple(queue)
        self._area.has_queue = bool(queue)

    def watch_held(self, held: bool) -> None:
        """Show it in the queue."""
        self._queue.held = held

    def watch_mode(self) -> None:
        """Show the mode, whether nothing is stored, and blanks that need a value in the border."""
        modes = ["private"] * self.private + [single_line(self.mode)] * bool(self.mode)
        if self._unfilled:
            modes.append(tr("fill in {blanks}", blanks=" ".join(self._unfilled)))
        self._area.border_title = Content(" · ".join(modes)) if modes else None
        self._area.set_class(self.private, "-private")

    watch_private = watch_mode

    @on(TextArea.Changed)
    def _post_change(self, event: TextArea.Changed) -> None:
        event.stop()
        draft = self._area.draft
        if draft.unfilled != self._unfilled:
            self._unfilled = draft.unfilled
            self.watch_mode()
        self.post_message(self.Changed(draft))

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
