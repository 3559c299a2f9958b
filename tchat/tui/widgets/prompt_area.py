"""The text area of the prompt: keys, chips, pastes, completion and earlier prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.document._document import EditResult, Location, Selection
from textual.document._edit import Edit
from textual.events import Key, Paste
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widgets import TextArea

from tchat.sanitize import printable
from tchat.translation import N_
from tchat.tui.textual_patches import carry_out_binding
from tchat.tui.widgets.completion import Accepted, Completion, word_at
from tchat.tui.widgets.prompt_draft import (
    BLANK,
    CHIP,
    Chips,
    Draft,
    Recall,
    is_large,
    plain_newlines,
)


class PromptArea(TextArea):
    """A text area that sends on Enter, shown by a `Prompt`.

    Its text holds the labels of chips. Labels are looked up in the lines that are drawn or edited,
    so undo, redo and wrapping stay those of `TextArea`. Fits Textual 8.2: it overrides `edit`,
    `_validate_selection`, `_on_key` and `_on_paste`.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {CHIP, BLANK}

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", id="prompt.send", show=False),
        Binding("ctrl+j,shift+enter,alt+enter", "newline", "New line", id="prompt.newline",
                show=False),
        Binding("up", "up", "Up, or an earlier prompt", id="prompt.up", show=False),
        Binding("down", "down", "Down, or a later prompt", id="prompt.down", show=False),
        Binding("tab", "complete", "Complete, or the next blank", id="prompt.complete",
                show=False),
        Binding("shift+tab", "previous_blank", N_("The previous blank"),
                id="prompt.previous-blank", show=False),
        Binding("escape", "dismiss", "Close the completions", id="prompt.dismiss", show=False),
        Binding("ctrl+c,super+c", "copy_or_clear", "Copy the selection, or clear",
                id="prompt.clear", show=False),
        Binding("ctrl+o,ctrl+g", "open_editor", "Edit in $EDITOR", id="prompt.editor", show=False),
        Binding("ctrl+z,super+z,ctrl+underscore", "undo", "Undo", id="prompt.undo", show=False),
        Binding("ctrl+y,super+y", "redo", "Redo", id="prompt.redo", show=False),
    ]  # fmt: skip

    @dataclass
    class Submitted(Message, namespace="prompt"):
        """The user sent the draft; the prompt is empty again."""

        draft: Draft

    @dataclass
    class EditorRequested(Message, namespace="prompt"):
        """The user wants to edit the draft in an editor."""

        draft: Draft

    class QueueTaken(Message, namespace="prompt"):
        """The user wants the last queued prompt back; the prompt is empty."""

    class BlankLeft(Message, namespace="prompt"):
        """The draft cannot be sent: a blank of a template is not filled in."""

    class TabPressed(Message, namespace="prompt"):
        """Tab was pressed in the empty prompt."""

    class QueueReleased(Message, namespace="prompt"):
        """The user wants the next queued prompt to be sent; the prompt is empty."""

    def __init__(self, completion: Completion) -> None:
        self._chips = Chips()
        self._styled: object = None  # the theme whose styles are those of the style sheet
        super().__init__(tab_behavior="focus", highlight_cursor_line=False)
        self._completion = completion
        self._recall = Recall()
        self._mentions: dict[str, None] = {}  # files that may be there, in the order typed
        self.has_queue = False

    # The draft

    @property
    def draft(self) -> Draft:
        """The present draft."""
        return self._chips.draft(self.text)

    def load(self, draft: Draft) -> None:
        """Replace the draft by ``draft``, made printable, with the cursor at its end."""
        self._put(draft)
        self.move_cursor(self.document.end)

    def select_blank(self, step: int = 1) -> None:
        """Select the next blank of a template, or the previous one, to be typed over."""
        places = self._blanks()
        if not places:
            return
        at = sorted(self.selection)
        if step > 0:
            behind = [place for place in places if place[0] >= at[1]] or places
            self.selection = Selection(*behind[0])
        else:
            before = [place for place in places if place[1] <= at[0]] or places
            self.selection = Selection(*before[-1])

    def select_first_blank(self, blank: str = "") -> None:
        """Select the first blank, or the first one labelled ``blank``."""
        for start, end in self._blanks():
            if not blank or self.get_text_range(start, end) == blank:
                self.selection = Selection(start, end)
                return

    def _blanks(self) -> list[tuple[Location, Location]]:
        """Start and end of each blank, in their order."""
        blanks = self.draft.blanks
        return [
            ((row, start), (row, end))
            for row, line in enumerate(self.document.lines if blanks else ())
            for start, end in self._chips.spans(line)
            if line[start:end] in blanks
        ]

    def give_back(self, drafts: Iterable[Draft]) -> None:
        """Put ``drafts`` with their chips before the present one."""
        given = [self._chips.load(draft) for draft in drafts]
        if not given:
            return
        parts = [*given, self.draft] if self.text.strip() else given
        pastes = tuple(pair for draft in parts for pair in draft.pastes)
        files = tuple(pair for draft in parts for pair in draft.files)
        blanks = tuple(blank for draft in parts for blank in draft.blanks)
        self.load(Draft("\n\n".join(draft.text for draft in parts), pastes, files, blanks))

    def remember(self, drafts: Iterable[Draft]) -> None:
        """Let Up go back through ``drafts``, the newest last."""
        self._recall = Recall(drafts)

    def insert_text(self, text: str) -> None:
        """Put ``text`` at the cursor as if pasted: made printable, or a chip when it is large."""
        text = plain_newlines(text)
        shown = self._chips.add_paste(text) if is_large(text) else printable(text)
        self._replace_via_keyboard(shown, *self.selection)

    def accept(self, accepted: Accepted) -> None:
        """Replace the word by a completion; a file becomes a chip."""
        row = self.cursor_location[0]
        word = accepted.word
        if accepted.is_file:
            text = self._chips.add_file(accepted.name)
        else:
            text = word.kind.value + printable(accepted.name)
        self._completion.entered = accepted.name if accepted.is_folder else ""
        following = self.document[row][word.end : word.end + 1]
        if not accepted.is_folder and not following.isspace():
            text += " "
        self._replace_via_keyboard(text, (row, word.start), (row, word.end))

    # Keys

    async def action_submit(self) -> None:
        """Send the draft, or take the chosen completion."""
        if self._completion.should_accept:
            self.action_complete()
            return
        self._mention_typed()
        await self._look_up_mentions()
        draft = self.draft
        if not draft.text.strip():
            if self.has_queue:
                self.post_message(self.QueueReleased())
            return
        if draft.unfilled:
            self.post_message(self.BlankLeft())
            return
        self._completion.update_word(None)
        self._recall.add(draft)
        self.load_text("")
        self._chips.clear()
        self.post_message(self.Submitted(draft.with_defaults()))

    async def _on_key(self, event: Key) -> None:
        """Carry out the key's binding at once, so that keys act in the order typed.

        Textual lets it bubble: a binding then acts after letters that were typed later; a priority
        binding acts before letters that were typed earlier.
        """
        if await carry_out_binding(self, event):
            self._restart_blink()

    def action_newline(self) -> None:
        """Insert a newline."""
        self._replace_via_keyboard("\n", *self.selection)

    def action_complete(self) -> None:
        """Take the chosen completion; without one select the next blank of a template."""
        if (chosen := self._completion.chosen) is not None:
            self.accept(chosen)
        elif self.text:
            self.select_blank()
        else:
            self.post_message(self.TabPressed())

    def action_previous_blank(self) -> None:
        """Select the previous blank of a template; without any the focus moves."""
        if not self.draft.blanks:
            raise SkipAction
        self.select_blank(-1)

    def action_dismiss(self) -> None:
        """Close the completions; without any the screen gets the key."""
        if not self._completion.is_open:
            raise SkipAction
        self._completion.dismiss()

    def action_up(self) -> None:
        """One row up; on the first one a prompt back, and from an empty one the last queued."""
        if self._completion.is_open:
            self._completion.move(-1)
        elif not self.navigator.is_first_wrapped_line(self.cursor_location):
            self.action_cursor_up()
        elif self.has_queue and not self.text:
            self.post_message(self.QueueTaken())
        elif (draft := self._recall.older(self.draft)) is not None:
            self._put(draft)
            # On the first row, so that Up goes on; its end is where one types.
            self.move_cursor(self._end_of_first_row())
        else:
            self.action_cursor_up()

    def action_down(self) -> None:
        """One row down; on the last one a prompt forward, at last the unsent draft."""
        if self._completion.is_open:
            self._completion.move(1)
        elif not self.navigator.is_last_wrapped_line(self.cursor_location):
            self.action_cursor_down()
        elif (draft := self._recall.newer(self.draft)) is not None:
            self.load(draft)
        else:
            self.action_cursor_down()

    def action_copy_or_clear(self) -> None:
        """Copy the selection, else clear the prompt; if it is empty the screen gets the key.

        A selected blank is there to be typed over, not to be copied.
        """
        selected = self.get_text_range(*sorted(self.selection))
        if selected and selected not in self.draft.blanks:
            self.action_copy()
        elif self.text:
            self.clear()
        else:
            raise SkipAction

    def action_undo(self) -> None:
        """Undo the last edits. Without any the key does nothing, and never suspends tchat."""
        self.undo()

    def action_open_editor(self) -> None:
        """Ask for an editor."""
        self.post_message(self.EditorRequested(self.draft))

    def action_paste(self) -> None:
        """Paste what was copied in tchat."""
        self.insert_text(self.app.clipboard)

    async def _on_paste(self, event: Paste) -> None:
        event.prevent_default()
        event.stop()
        self.insert_text(event.text)

    # Completion

    def update_suggestion(self) -> None:
        """Complete the word at the cursor; `TextArea` calls this after each edit."""
        if not self.is_mounted:
            return
        row, column = self.cursor_location
        line = self.document[row]
        if line[column - 1 : column].isspace():
            self._mention_typed()
        at_chip = any(start < column <= end for start, end in self._chips.spans(line))
        word = None if at_chip else word_at(line, row, column, self._completion.entered)
        cells = self.get_column_width(row, word.start) if word else 0
        self._completion.room = self.region.y
        self._completion.update_word(word, cells % max(1, self.wrap_width))

    def _mention_typed(self) -> None:
        """Make a file name typed in full a chip; one not offered yet is looked up later."""
        typed = self._completion.typed
        if typed is not None and typed.is_file:
            self._chips.add_file(typed.name)
        elif self._completion.mention:
            self._mentions[self._completion.mention] = None

    async def _look_up_mentions(self) -> None:
        """Make names of existing files chips that were typed before files were offered."""
        names, self._mentions = list(self._mentions), {}
        if names and self._completion.existing is not None:
            for name in await asyncio.to_thread(self._completion.existing, names):
                self._chips.add_file(name)

    def _put(self, draft: Draft) -> None:
        draft = self._chips.load(draft)
        text = printable(draft.text)
        if is_large(text) and not draft.pastes:
            text = self._chips.add_paste(draft.text)
        self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)
        self._completion.update_word(None)

    def _end_of_first_row(self) -> Location:
        wraps = self.wrapped_document.get_offsets(0)
        return 0, wraps[0] - 1 if wraps else len(self.document[0])

    # Drawing

    def notify_style_update(self) -> None:
        """Derive the styles of the text anew when it is drawn next."""
        super().notify_style_update()
        self._styled = None

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips of the rows in ``crop``.

        `TextArea` derives seven styles from the style sheet before each; that takes a third of the
        time from a key to its echo. They change with the style sheet only.
        """
        if self._styled is self._theme:
            return super(TextArea, self).render_lines(crop)
        self._styled = self._theme
        return super().render_lines(crop)

    # Chips

    @property
    def selected_text(self) -> str:
        """The selected text with the content of pastes."""
        return self._chips.draft(super().selected_text).full_text

    def get_line(self, line_index: int) -> Text:
        """A line with its chips marked."""
        line = super().get_line(line_index)
        for start, end in self._chips.spans(line.plain):
            is_blank = self._chips.is_blank(line.plain[start:end])
            style = self.get_component_rich_style(BLANK if is_blank else CHIP, partial=True)
            line.stylize(style, start, end)
        return line

    def edit(self, edit: Edit) -> EditResult:
        """Edit, but a chip only as a whole."""
        top, bottom = edit.top, edit.bottom
        edit.from_location, _ = self._chip_around(top)
        _, edit.to_location = self._chip_around(bottom)
        if bottom == top:
            edit.to_location = edit.from_location
        rows = self.virtual_size.height
        result = super().edit(edit)
        if self.virtual_size.height != rows:
            self.scroll_cursor_visible()  # TextArea scrolled before it knew of the new row
        return result

    def _validate_selection(self, selection: Selection) -> Selection:
        start, end = super()._validate_selection(selection)
        return Selection(self._beside_chip(start, self.selection.start),
                         self._beside_chip(end, self.selection.end))  # fmt: skip

    def _beside_chip(self, location: Location, before: Location) -> Location:
        """``location``, or the end of the chip around it away from ``before``."""
        start, end = self._chip_around(location)
        if before == start:
            return end
        is_nearer_start = location[1] - start[1] <= end[1] - location[1]
        return start if before == end or is_nearer_start else end

    def _chip_around(self, location: Location) -> tuple[Location, Location]:
        """Start and end of the chip around ``location``; without one both are ``location``."""
        row, column = location
        if row < self.document.line_count:
            for start, end in self._chips.spans(self.document[row]):
                if start < column < end:
                    return (row, start), (row, end)
        return location, location
