"""The transcript's widget: it gets entries, and posts what the user asks for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip

from tchat.sanitize import printable
from tchat.translation import N_, tr
from tchat.tui.textual_patches import carry_out_binding
from tchat.tui.widgets.transcript.caret import Caret
from tchat.tui.widgets.transcript.column import decoded, selected_text, whole
from tchat.tui.widgets.transcript.document import CODE
from tchat.tui.widgets.transcript.entry import Entry, Key
from tchat.tui.widgets.transcript.find import Hit, Query
from tchat.tui.widgets.transcript.layout import FOLD, REASONING, TEXT, Fold
from tchat.tui.widgets.transcript.lines import COMPONENTS, LINK
from tchat.tui.widgets.transcript.painting import PILL, Painter, words
from tchat.tui.widgets.transcript.role_line import ACTION
from tchat.tui.widgets.transcript.scrolling import ColumnView


class Transcript(ColumnView, can_focus=True):
    """A conversation: prompts, replies in Markdown, reasoning, steps, notices and errors.

    Texts are raw; they are made printable here. A method that takes the key of an entry raises
    `KeyError` if there is none.

    Args:
        roles: Whether a line above each message says who speaks.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    DEFAULT_CSS = """
    Transcript {
        height: 1fr;
        background: $background;
        color: $assistant;
        overflow: hidden auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
        scrollbar-color: $muted 50%;
        scrollbar-color-hover: $muted;
        scrollbar-color-active: $primary;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        & > .transcript--user { color: $foreground; background: $user-background; }
        & > .transcript--user-bar { color: $user; background: $user-background; text-style: bold; }
        & > .transcript--role { color: $heading; text-style: bold; }
        & > .transcript--system { color: $muted; text-style: italic; }
        & > .transcript--reasoning { color: $reasoning; text-style: italic; }
        & > .transcript--muted { color: $muted; }
        & > .transcript--notice { color: $notice; }
        & > .transcript--error { color: $text-error; }
        & > .transcript--heading { color: $heading; text-style: bold; }
        & > .transcript--bullet { color: $heading; }
        & > .transcript--link { color: $link; text-style: underline; }
        & > .transcript--quote { color: $muted; }
        & > .transcript--rule { color: $muted 60%; }
        & > .transcript--inline-code { color: $code; background: $code-background; }
        & > .transcript--code { color: $code; background: $code-background; }
        & > .transcript--code-header { color: $muted; background: $panel; }
        & > .transcript--syntax-comment { color: $syntax-comment; text-style: italic; }
        & > .transcript--syntax-keyword { color: $syntax-keyword; text-style: bold; }
        & > .transcript--syntax-string { color: $syntax-string; }
        & > .transcript--syntax-number { color: $syntax-number; }
        & > .transcript--syntax-function { color: $syntax-function; }
        & > .transcript--syntax-type { color: $syntax-type; }
        & > .transcript--syntax-error { color: $syntax-error; }
        & > .transcript--action { color: $link; text-style: underline; }
        & > .transcript--cursor { color: $accent; text-style: bold; }
        & > .transcript--hit { color: $background; background: $match; text-style: bold underline; }
        & > .transcript--pill { color: $background; background: $accent; text-style: bold; }
        &:nocolor > .transcript--inline-code { text-style: bold; }
        & > .transcript--selection { color: $selection; background: $selection-background; }
    }
    """
    FOCUS_ON_CLICK = False  # a click leaves the typing where it is
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", N_("Previous message"), id="transcript.previous"),
        Binding("down,j", "step(1)", N_("Next message"), id="transcript.next"),
        Binding("g", "first", N_("First message"), id="transcript.first"),
        Binding("G", "last", N_("Last message"), id="transcript.last"),
        Binding("slash", "find", N_("Find text in this chat"), id="transcript.find"),
        Binding("n", "find_step(1)", N_("Next place where it is found"), id="transcript.find-next"),
        Binding("N", "find_step(-1)", N_("Previous such place"), id="transcript.find-previous"),
        Binding("y,c", "ask('copy')", N_("Copy the message"), id="transcript.copy"),
        Binding(
            "C", "copy_code", N_("Copy its code; again: next block"), id="transcript.copy-code"
        ),
        Binding("e,enter", "ask('edit')", N_("Edit it in a new branch"), id="transcript.edit"),
        Binding("s", "ask('stop')", N_("Stop the reply"), id="transcript.stop"),
        Binding("r", "ask('regenerate')", N_("Regenerate"), id="transcript.regenerate"),
        Binding("m", "ask('continue')", N_("Continue it"), id="transcript.continue"),
        Binding("b", "ask('branch')", N_("Branch from here"), id="transcript.branch"),
        Binding(
            "d,delete", "ask('delete')", N_("Delete it and what follows"), id="transcript.delete"
        ),
        Binding(
            "plus", "ask('good')", N_("Rate it good, or remove the rating"), id="transcript.good"
        ),
        Binding(
            "minus", "ask('bad')", N_("Rate it bad, or remove the rating"), id="transcript.bad"
        ),
        Binding("p", "ask('pin')", N_("Pin it in the context, or unpin it"), id="transcript.pin"),
        Binding(
            "less_than_sign,left", "ask('previous')", N_("Previous sibling"), id="transcript.older"
        ),
        Binding(
            "greater_than_sign,right", "ask('next')", N_("Next sibling"), id="transcript.newer"
        ),
        Binding(
            "x", "ask('redact')", N_("Redact it, or the selected text"), id="transcript.redact"
        ),
        Binding("space", "fold", N_("Fold or unfold a long message"), id="transcript.fold"),
        Binding("t", "reasoning", N_("Show or hide its reasoning"), id="transcript.reasoning"),
        Binding("escape", "leave", N_("Leave the messages"), show=False, id="transcript.leave"),
    ]

    @dataclass
    class ActionRequested(Message):
        """The user wants an action on a message.

        ``action`` is copy, edit, regenerate, branch, delete, pin, good, bad, previous, next
        (sibling), continue, stop, retry or redact.
        """

        key: Key
        action: str

    class FindRequested(Message):
        """The user wants to type a text to be found."""

    @dataclass
    class FindStepped(Message):
        """The user wants the next place where the text is found, or the one before."""

        step: int

    @dataclass
    class CodeCopyRequested(Message):
        """The user wants a block of code; ``text`` is printable, without a last newline."""

        text: str

    @dataclass
    class LinkClicked(Message):
        """The user clicked a web or mail address, which was visible in full."""

        url: str

    @dataclass
    class CursorMoved(Message):
        """The message cursor is on another message, or on none."""

        key: Key | None

    def __init__(self, *, roles: bool = True) -> None:
        super().__init__()
        self.column.form = replace(self.column.form, roles=roles)
        self._hovered: Key | None = None
        self._clicked_on: Key | None = None
        self._caret = Caret(self)
        self._painter = Painter(self, self._caret)
        self._copied: tuple[Key | None, int] = (None, 0)  # message and block copied last by key

    async def _on_key(self, event: events.Key) -> None:
        """Carry out the key's binding at once, so that keys act in the order typed."""
        await carry_out_binding(self, event)

    # Painting.

    def on_mount(self) -> None:
        """Take the colours of the style sheet; a reply may have begun already."""
        self._painter.update_palette()
        self._caret.start()

    def notify_style_update(self) -> None:
        """Take the colours of a changed style sheet once the components have theirs."""
        super().notify_style_update()
        if self.is_mounted:
            self.call_next(self._painter.update_palette)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips of the rows in ``crop``."""
        if any(self.styles.gutter) or self.opacity < 1:
            return super().render_lines(crop)
        return self._painter.paint(crop)

    def render_line(self, y: int) -> Strip:
        """The strip of row ``y`` of the view."""
        return next(self._painter.strips(y, 1))

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text under ``selection``."""
        return selected_text(self.column, selection), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002
        """Draw the selection."""
        self.refresh()

    def _refresh_from(self, position: int) -> None:
        """Draw the rows from ``position`` to the last again."""
        first = max(position, self._top)
        self.refresh_lines(first, max(1, self._top + self._rows - first))

    # Entries.

    def show(self, entries: Iterable[Entry]) -> None:
        """Replace all entries, and go to the end."""
        self._painter.cursor, self._painter.found = None, None
        self._point_at(None, None)
        if self.is_attached:
            self.screen.clear_selection()
        self.column.show(entries)
        self.follow()

    def prepend(self, entries: Iterable[Entry]) -> None:
        """Add entries before all others; what is in view stays where it is."""
        if self.text_selection is not None:  # its coordinates name places, which have changed
            self.screen.clear_selection()
        self._on_prepended(self.column.prepend(entries))
        self.refresh()

    def append(self, entry: Entry) -> None:
        """Add an entry at the end."""
        self.column.append(entry)
        self._on_appended(self.column.measure(len(self.column) - 1))
        self.refresh()

    def begin(self, entry: Entry) -> None:
        """Add a reply that streams in; replies before it that were read fold."""
        self._caret.begin(entry.key)
        self.append(replace(entry, status="streaming"))
        with self._keep_top_line():
            self.column.fold_read(self._top, self._rows)

    def feed(self, key: Key, text: str = "", reasoning: str = "") -> None:
        """Add text to a reply; call it some 30 times a second, not for each token."""
        place = self.column.place(key)
        before = self.column.layout(place)
        height, first = before.height, min(before.settled, before.end)
        self._caret.advance()
        self.column.feed(key, text, reasoning)
        self._on_appended(self.column.layout(place).height - height)
        self._refresh_from(self.column.top(place) + first)

    def update(self, entry: Entry) -> None:
        """Replace the entry with the key of ``entry``."""
        with self._keep_top_line():
            self.column.update(entry)

    def drop(self, key: Key) -> None:
        """Remove an entry. (`remove` removes the widget.)"""
        if self._painter.cursor == key:
            self._put_cursor(None)
        self.screen.clear_selection()
        self.column.remove(key)
        self._arrange()
        self.refresh()

    def reveal(self, key: Key, query: str = "") -> None:
        """Scroll to the entry ``key``, with the words of ``query`` in it marked."""
        place = self.column.place(key)
        pattern = words(printable(query))
        self._painter.found = (key, pattern) if pattern else None
        number = self._first_hit(place, pattern) if pattern else 0
        self._jump(place, number, above=self._rows // 3 if number else 0)

    def _first_hit(self, place: int, pattern: re.Pattern[str]) -> int:
        layout = self.column.layout(place)
        entry = self.column.entry(place)
        in_text = pattern.search(entry.text)
        if not in_text and layout.is_folded(REASONING) and pattern.search(entry.reasoning):
            self.column.fold(entry.key, REASONING, folded=False)
        if in_text and layout.is_folded(TEXT):
            self.column.fold(entry.key, TEXT, folded=False)
        layout = self.column.layout(place)
        numbered = itertools.islice(enumerate(layout.lines()), layout.start, None)
        hits = (n for n, row in numbered if pattern.search(row.text))
        return next(hits, 0)

    def toggle_reasoning(self, key: Key) -> None:
        """Fold the reasoning of an entry to one line, or show all of it."""
        self.toggle_fold(key, REASONING)

    def toggle_fold(self, key: Key, fold: Fold) -> None:
        """Fold or unfold a part of an entry; the line on top stays where it is."""
        layout = self.column.layout(self.column.place(key))
        if not layout.can_fold(fold):
            return
        with self._keep_view(follow=layout.entry.status == "streaming"):
            self.column.fold(key, fold, folded=not layout.is_folded(fold))

    def show_details(self, shown: bool) -> None:
        """Show or hide models, times and token counts."""
        self.reformat(replace(self.column.form, details=shown))

    def show_scores(self, shown: bool) -> None:
        """Show or hide the judges' scores."""
        self.reformat(replace(self.column.form, scores=shown))

    def replace(self, key: Key, entry: Entry) -> None:
        """Replace the entry ``key`` by ``entry``, which has another key."""
        with self._keep_top_line():
            self.column.replace(key, entry)
        if self._painter.cursor == key:
            self._put_cursor(entry.key)

    def mark(self, query: Query | None, hit: Hit | None) -> None:
        """Mark what is found in all entries, and go to one of its places; unfold it if needed."""
        self._painter.query, self._painter.hit = query, hit
        self._painter.found = None
        if query and hit and hit.key in self.column:
            place = self.column.place(hit.key)
            if self.column.layout(place).is_folded(hit.part):
                fold = REASONING if hit.part == REASONING else TEXT
                self.column.fold(hit.key, fold, folded=False)
            number = query.line(self.column.layout(place), hit)
            self._put_cursor(hit.key)
            self._jump(place, number, above=self._rows // 3)
        self.refresh()

    def has(self, key: Key) -> bool:
        """Whether there is an entry ``key``."""
        return key in self.column

    @property
    def last_message(self) -> int | None:
        """The key of the last message, which is no notice or error; None without any."""
        return next((key for key in self.column.backwards() if isinstance(key, int)), None)

    def entry(self, key: Key) -> Entry:
        """The entry ``key`` with the text that came so far."""
        return self.column.entry(self.column.place(key))

    # The message cursor.

    @property
    def cursor(self) -> Key | None:
        """The key of the message that the cursor is on."""
        return self._painter.cursor

    def move_cursor(self, step: int) -> None:
        """Move the message cursor down or up a message; the first move goes to the last in view.

        Notices and errors are skipped.
        """
        if self._painter.cursor is None:
            place, _ = self.column.find(self._top + self._rows - 1) if len(self.column) else (0, 0)
        else:
            place = self.column.place(self._painter.cursor) + step
        direction = -1 if self._painter.cursor is None or step < 0 else 1
        while 0 <= place < len(self.column):
            entry = self.column.entry(place)
            if entry.role not in ("notice", "error") and self.column.measure(place):
                self._put_cursor(entry.key)
                self._show_entry(place)
                return
            place += direction

    def point_at(self, key: Key) -> None:
        """Put the message cursor on the entry ``key``, and bring it into view."""
        place = self.column.place(key)
        self._put_cursor(key)
        self._show_entry(place)

    def leave(self) -> None:
        """Take the cursor off the messages."""
        self._put_cursor(None)

    def _put_cursor(self, key: Key | None) -> None:
        if key != self._painter.cursor:
            self._painter.cursor = key
            self.post_message(self.CursorMoved(key))
            self.refresh()

    def _show_entry(self, place: int) -> None:
        """Bring the entry at ``place`` into view, its start if it is too tall."""
        height = self.column.measure(place)
        top = self.column.top(place)
        if top < self._top or height > self._rows:
            self._jump(place)
        elif top + height > self._top + self._rows:
            self._jump(place, above=self._rows - height)

    def _key_at_cursor(self) -> Key:
        """The key of the message that the cursor is on; without one another widget acts."""
        if self._painter.cursor is None:
            raise SkipAction
        return self._painter.cursor

    def action_step(self, step: int) -> None:
        """Move the message cursor; without one, scroll a line."""
        if self._painter.cursor is not None:
            self.move_cursor(step)
        else:
            self._scroll_by(step)

    def action_first(self) -> None:
        """Put the message cursor on the first message."""
        self._key_at_cursor()
        self._move_to(range(len(self.column)))

    def action_last(self) -> None:
        """Put the message cursor on the last message."""
        self._key_at_cursor()
        self._move_to(reversed(range(len(self.column))))
        self.follow()

    def _move_to(self, places: Iterable[int]) -> None:
        """Put the message cursor on the first of ``places`` that is a message."""
        for place in places:
            layout = self.column.layout(place)
            if layout.entry.role not in ("notice", "error") and layout.height:
                self.point_at(self.column.layout(place).entry.key)
                return

    def action_find(self) -> None:
        """Ask for the text to be found."""
        self._key_at_cursor()
        self.post_message(self.FindRequested())

    def action_find_step(self, step: int) -> None:
        """Go to the next place where the text is found, or to the one before."""
        self._key_at_cursor()
        self.post_message(self.FindStepped(step))

    def action_ask(self, action: str) -> None:
        """Ask for ``action`` on the message that the cursor is on; a step folds, not edited."""
        key = self._key_at_cursor()
        if action == "edit" and self.entry(key).step is not None:
            self.toggle_fold(key, TEXT)
        else:
            self.post_message(self.ActionRequested(key, action))

    def action_copy_code(self) -> None:
        """Copy the first code block of the message that the cursor is on; again, the next one."""
        from tchat.markdown.code_blocks import code_blocks

        cursor = self._key_at_cursor()
        blocks = code_blocks(printable(self.entry(cursor).text))
        if not blocks:
            self.notify(tr("There is no code block in this message."), markup=False)
            return
        key, number = self._copied
        number = (number + 1) % len(blocks) if key == cursor else 0
        self._copied = (cursor, number)
        self.post_message(self.CodeCopyRequested(blocks[number].code))

    def action_fold(self) -> None:
        """Fold or unfold the text of the message that the cursor is on, else its reasoning."""
        key = self._key_at_cursor()
        can_fold = self.column.layout(self.column.place(key)).can_fold(TEXT)
        self.toggle_fold(key, TEXT if can_fold else REASONING)

    def action_reasoning(self) -> None:
        """Fold or show the reasoning of the message that the cursor is on."""
        self.toggle_reasoning(self._key_at_cursor())

    def action_leave(self) -> None:
        """Take the cursor off the messages."""
        self._key_at_cursor()
        self.leave()

    # The mouse.

    def on_click(self, event: events.Click) -> None:
        """Act on the character under the pointer; three clicks select a message."""
        meta = event.style.meta
        if event.chain > 1:
            # By default two clicks select, and three copy, the whole transcript.
            event.prevent_default()
            if event.chain == 3 and (place := self._entry_place(meta)) is not None:
                height, joined = self.column.measure(place), self.column.layout(place).shape.joined
                self.screen.selections = {self: whole(place, height, joined=joined)}
        elif PILL in meta:
            self.follow()
        elif self.text_selection is None:
            self._clicked(meta)

    def _clicked(self, meta: dict[str, object]) -> None:
        if (place := self._entry_place(meta)) is None:
            return
        key = self.column.entry(place).key
        if LINK in meta:
            self.post_message(self.LinkClicked(str(meta[LINK])))
        elif isinstance(number := meta.get(CODE), int):
            self._copy_code(place, number)
        elif FOLD in meta:
            self.toggle_fold(key, TEXT if meta[FOLD] == TEXT.name else REASONING)
        elif ACTION in meta:
            self.post_message(self.ActionRequested(key, str(meta[ACTION])))
        else:
            self._point_at(self._hovered, None if key == self._clicked_on else key)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Show facts and actions of the message under the pointer."""
        position = self._top + event.y
        key = None
        if position < self.column.height:
            entry = self.column.layout(self.column.find(position)[0]).entry
            key = entry.key
        self._point_at(key, self._clicked_on)

    def on_leave(self) -> None:
        """The pointer is elsewhere."""
        self._point_at(None, self._clicked_on)

    def _point_at(self, hovered: Key | None, clicked: Key | None) -> None:
        """Show facts and actions of the message under the pointer and of the one clicked."""
        if (hovered, clicked) != (self._hovered, self._clicked_on):
            self._hovered, self._clicked_on = hovered, clicked
            self._painter.pointed = (hovered, clicked)
            self.refresh()

    def _entry_place(self, meta: dict[str, object]) -> int | None:
        """The place of the entry that a character belongs to; None if it is gone."""
        if not isinstance(offset := meta.get("offset"), tuple):
            return None
        place, _ = decoded(offset[1])
        return place if place < len(self.column) else None

    def _copy_code(self, place: int, number: int) -> None:
        fences = self.column.layout(place).fences
        if 0 <= number < len(fences):
            self.post_message(self.CodeCopyRequested("\n".join(fences[number].source)))
