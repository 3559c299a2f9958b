"""The text area of the prompt: keys, chips, pastes, completion and earlier prompts."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Protocol

from rich.text import Text
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult, Location, Selection

from tchat.sanitize import printable
from tchat.translation import N_
from tchat.tui.keys import REDO_KEYS, UNDO_KEYS
from tchat.tui.textual_patches import carry_out_binding
from tchat.tui.widgets.completion import Accepted, Completion, word_at
from tchat.tui.widgets.prompt_draft import (
    BLANK,
    CHIP,
    Chips,
    Draft,
    KillRing,
    Recall,
    is_large,
    plain_newlines,
)
from tchat.tui.widgets.template_blanks import TemplateBlanks


def _key(keys: str, action: str, name: str, help_text: str) -> Binding:
    return Binding(keys, action, help_text, id=name, show=False)


class KeyModes(Protocol):
    """Modes in which keys do something else than edit."""

    async def handle(self, event: Key) -> bool:
        """Whether ``event`` was a key of the mode."""


class _Did(Enum):
    """What a key did, for the next one."""

    KILL = auto()
    YANK = auto()
    DELETE = auto()
    OTHER = auto()


_CLUSTER = re.compile(  # roughly what a user sees as one character
    r"\r\n|[\U0001f1e6-\U0001f1ff]{2}|.(?:[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]|(?<=\u200d).)*"
)


class PromptArea(TextArea):
    """A text area that sends on Enter, shown by a `Prompt`.

    Its text holds the labels of chips. Labels are looked up in the lines that are drawn or edited,
    so undo, redo and wrapping stay those of `TextArea`. Fits Textual 8.2: it overrides `edit`,
    `_validate_selection`, `_on_key` and `_on_paste`.

    Attributes:
        blanks: The blanks of a template in it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {CHIP, BLANK}

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("enter", "submit", "prompt.send", N_("Send")),
        _key("ctrl+j,shift+enter,alt+enter", "newline", "prompt.newline", N_("New line")),
        _key("up,ctrl+p", "up", "prompt.up", N_("Up, or an earlier prompt")),
        _key("down,ctrl+n", "down", "prompt.down", N_("Down, or a later prompt")),
        _key("tab", "complete", "prompt.complete", N_("Complete, or the next blank")),
        _key("shift+tab", "previous_blank", "prompt.previous-blank", N_("The previous blank")),
        _key("escape", "dismiss", "prompt.dismiss", N_("Close the completions")),
        _key("ctrl+c,super+c", "copy_or_clear", "prompt.clear", N_("Copy the selection, or clear")),
        _key("ctrl+g,leader e,leader ctrl+e", "open_editor", "prompt.editor",
             N_("Edit in $EDITOR")),
        _key(f"{UNDO_KEYS},leader u", "undo", "prompt.undo", N_("Undo")),
        _key(REDO_KEYS, "redo", "prompt.redo", N_("Redo")),
        _key("ctrl+d", "delete_or_quit", "prompt.delete",
             N_("Delete forward; quit when the prompt is empty")),
        _key("question_mark", "help_or_type", "prompt.help",
             N_("Keys and commands, when the prompt is empty")),
        _key("ctrl+w", "kill_big_word_left", "prompt.kill-word-left",
             N_("Delete back to a space")),
        _key("alt+backspace,ctrl+backspace", "delete_word_left", "prompt.kill-word-part-left",
             N_("Delete the word before the cursor")),
        _key("alt+d,alt+delete,ctrl+delete", "delete_word_right", "prompt.kill-word-right",
             N_("Delete the word after the cursor")),
        _key("ctrl+u,super+backspace", "kill_to_start", "prompt.kill-to-start",
             N_("Delete to the start of the line")),
        _key("ctrl+k", "kill_to_end", "prompt.kill-to-end", N_("Delete to the end of the line")),
        _key("ctrl+y", "yank", "prompt.yank", N_("Put back what was deleted last")),
        _key("alt+y", "yank_older", "prompt.yank-older",
             N_("After that: what was deleted before")),
        _key("ctrl+t", "transpose", "prompt.transpose", N_("Swap two characters")),
        _key("left", "cursor_left", "prompt.left", N_("A character to the left")),
        _key("right,ctrl+f", "cursor_right", "prompt.right", N_("A character to the right")),
        _key("ctrl+left,alt+b,alt+left", "cursor_word_left", "prompt.word-left",
             N_("A word to the left")),
        _key("ctrl+right,alt+f,alt+right", "cursor_word_right", "prompt.word-right",
             N_("A word to the right")),
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

    class EnterPressed(Message, namespace="prompt"):
        """Enter was pressed in the empty prompt, and nothing is queued."""

    class QueueReleased(Message, namespace="prompt"):
        """The user wants the next queued prompt to be sent; the prompt is empty."""

    class HelpRequested(Message, namespace="prompt"):
        """The user wants to see the keys; the prompt is empty."""

    class QuitRequested(Message, namespace="prompt"):
        """The user ended an empty prompt."""

    def __init__(self, completion: Completion) -> None:
        self._chips = Chips()
        self.blanks = TemplateBlanks(self, self._chips)
        self._styled: object = None  # the theme whose styles are those of the style sheet
        super().__init__(tab_behavior="focus", highlight_cursor_line=False)
        self._completion = completion
        self._recall = Recall()
        self.modes: KeyModes | None = None  # such as those of Vim, where they are wanted
        self._kill_ring = KillRing()
        self._yanked: tuple[Location, Location] | None = None  # where the last yank is
        self._before = self._now = _Did.OTHER  # what the key before this one did, and what this
        self._mentions: dict[str, None] = {}  # files that may be there, in the order typed
        self.has_queue = False
        self._replaceable = ""  # what was given back to be typed over

    # The draft

    @property
    def draft(self) -> Draft:
        """The present draft."""
        return self._chips.draft(self.text)

    def load(self, draft: Draft) -> None:
        """Replace the draft by ``draft``, made printable, with the cursor at its end."""
        self._put(draft)
        self.move_cursor(self.document.end)

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

    def give_back_selected(self, draft: Draft) -> None:
        """Put ``draft`` back; what is typed next takes its place, unless there is a draft."""
        is_alone = not self.text.strip()
        self.give_back((draft,))
        if is_alone:
            self.select_all()
            self._replaceable = self.text

    def remember(self, drafts: Iterable[Draft]) -> None:
        """Let Up go back through ``drafts``, the newest last."""
        self._recall = Recall(drafts)

    @property
    def is_completing(self) -> bool:
        """Whether completions are offered."""
        return self._completion.is_open

    @property
    def remembered(self) -> list[Draft]:
        """The prompts that Up goes back through, the newest last."""
        return self._recall.entries

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Change the draft and all texts that keys bring back; what was undone is forgotten."""
        draft, self._replaceable = self.draft.rewritten(change), change(self._replaceable)
        self._recall.rewrite(change)
        self._kill_ring.rewrite(change)
        self._chips.clear()
        self.load_text("")
        self.load(draft)

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
        self.blanks.fill_alike()
        self._mention_typed()
        await self._look_up_mentions()
        draft = self.draft
        if not draft.text.strip():
            empty = self.QueueReleased() if self.has_queue else self.EnterPressed()
            self.post_message(empty)
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
        self._before, self._now = self._now, _Did.OTHER
        if self.modes is not None and await self.modes.handle(event):
            event.prevent_default()
            event.stop()
            self._restart_blink()
        elif await carry_out_binding(self, event):
            self._restart_blink()
        elif event.key.startswith("alt+"):
            event.prevent_default()  # it stands for no character

    def action_newline(self) -> None:
        """Insert a newline."""
        self._replace_via_keyboard("\n", *self.selection)

    def action_complete(self) -> None:
        """Take the chosen completion; without one select the next blank of a template."""
        if (chosen := self._completion.chosen) is not None:
            self.accept(chosen)
        elif self.text:
            self.blanks.select()
        else:
            self.post_message(self.TabPressed())

    def action_previous_blank(self) -> None:
        """Select the previous blank of a template; without any the focus moves."""
        if not self.draft.blanks:
            raise SkipAction
        self.blanks.select(-1)

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

        A selected blank, or a draft given back, is there to be typed over, not to be copied.
        """
        selected = self.get_text_range(*sorted(self.selection))
        if selected and selected not in (*self.draft.blanks, self._replaceable):
            self.action_copy()
        elif self.text:
            self.clear()
        else:
            raise SkipAction

    def action_open_editor(self) -> None:
        """Ask for an editor."""
        self.post_message(self.EditorRequested(self.draft))

    def action_help_or_type(self) -> None:
        """Ask for help when the prompt is empty; else the key is typed."""
        if self.text:
            raise SkipAction
        self.post_message(self.HelpRequested())

    def action_delete_or_quit(self) -> None:
        """Delete forward; quit when the prompt is empty, but not where this key emptied it."""
        if self.text:
            self.action_delete_right()
            self._now = _Did.DELETE
        elif self._before is _Did.DELETE:
            self._now = _Did.DELETE
        else:
            self.post_message(self.QuitRequested())

    # Killing and yanking

    def action_cut(self) -> None:
        """Cut what is selected; without a selection the screen gets the key."""
        start, end = sorted(self.selection)
        if start == end:
            raise SkipAction
        self.app.copy_to_clipboard(self.selected_text)
        self._kill(start, end)

    def action_kill_big_word_left(self) -> None:
        """Kill back to a space, at the start of a line the newline before it."""
        row, column = self.cursor_location
        before = self.document[row][:column].rstrip()
        word = len(before) - len(before.split()[-1]) if before else 0
        self._kill_to((row, word) if column else self._left_of_line(row), before=True)

    def action_delete_word_left(self) -> None:
        """Kill the word before the cursor."""
        self._kill_to(self.get_cursor_word_left_location(), before=True)

    def action_delete_word_right(self) -> None:
        """Kill to the end of the word after the cursor."""
        row, column = self.cursor_location
        line = self.document[row]
        if column == len(line):
            self._kill_to(self._right_of_line(row))
            return
        word = re.compile(r"\W*\w+|\W+").match(line, column)
        self._kill_to((row, word.end() if word else len(line)))

    def action_kill_to_start(self) -> None:
        """Kill to the start of the line; there, the newline before it."""
        row, column = self.cursor_location
        self._kill_to((row, 0) if column else self._left_of_line(row), before=True)

    def action_kill_to_end(self) -> None:
        """Kill to the end of the line; there, the newline."""
        row, column = self.cursor_location
        end = len(self.document[row])
        self._kill_to((row, end) if column < end else self._right_of_line(row))

    def action_yank(self) -> None:
        """Put back what was killed last."""
        if (draft := self._kill_ring.latest) is not None:
            self._yank(draft, *sorted(self.selection))

    def action_yank_older(self) -> None:
        """Directly after a yank: replace what it put back by what was killed before that."""
        if self._before is _Did.YANK and self._yanked:
            self._kill_ring.rotate()
            if (draft := self._kill_ring.latest) is not None:
                self._yank(draft, *self._yanked)

    def action_transpose(self) -> None:
        """Swap the characters around the cursor, at the end of a line the last two."""
        row, column = self.cursor_location
        line = self.document[row]
        ends = [0, *(match.end() for match in _CLUSTER.finditer(line))]
        at = bisect_left(ends, column)
        middle = min(at, len(ends) - 2)
        if middle < 1:
            return
        first, second, end = ends[middle - 1], ends[middle], ends[middle + 1]
        if any(start < end and first < stop for start, stop in self._chips.spans(line)):
            return
        swapped = line[second:end] + line[first:second]
        self._replace_via_keyboard(swapped, (row, first), (row, end))

    def remember_killed(self, start: Location, end: Location) -> Draft:
        """Let the text between two places, which stays there, be yanked; return it."""
        start, end = self._chip_around(start)[0], self._chip_around(end)[1]
        self._kill_ring.add(killed := self._chips.draft(self.get_text_range(start, end)))
        return killed

    def with_chips(self, draft: Draft) -> str:
        """The text of ``draft``, whose chips are those of the prompt once it is put there."""
        return self._chips.load(draft).text

    def delete_whole(self, start: Location, end: Location) -> None:
        """Delete whole chips and text, not to be yanked."""
        self._delete_via_keyboard(self._chip_around(start)[0], self._chip_around(end)[1])

    def _left_of_line(self, row: int) -> Location:
        return (row - 1, len(self.document[row - 1])) if row else (0, 0)

    def _right_of_line(self, row: int) -> Location:
        is_last = row == self.document.line_count - 1
        return (row, len(self.document[row])) if is_last else (row + 1, 0)

    def _kill_to(self, location: Location, *, before: bool = False) -> None:
        """Kill what is selected, else from the cursor to ``location``."""
        start, end = sorted(self.selection)
        if start == end:
            start, end = sorted((location, self.cursor_location))
        self._kill(start, end, before=before)

    def _kill(self, start: Location, end: Location, *, before: bool = False) -> None:
        """Delete whole chips and text; kills in a row become one."""
        start, end = self._chip_around(start)[0], self._chip_around(end)[1]
        self._now = _Did.KILL
        if start != end:
            killed = self._chips.draft(self.get_text_range(start, end))
            self._kill_ring.add(killed, join=self._before is _Did.KILL, before=before)
            self._delete_via_keyboard(start, end)

    def _yank(self, draft: Draft, start: Location, end: Location) -> None:
        result = self._replace_via_keyboard(self._chips.load(draft).text, start, end)
        if result is not None:
            self._yanked = start, result.end_location
            self._now = _Did.YANK

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

        `TextArea` derives its styles from the style sheet each time, which takes more than half of
        the time to draw them. They change with the style sheet only.
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
