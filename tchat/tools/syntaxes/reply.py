"""Replies that are text, with marks around reasoning and calls: what most families write.

A mark counts only where the model would write it: reasoning at the head of a reply or behind a
call, calls outside code fences and not in backticks. `CallReader` says how a call is written.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from tchat.tools.syntaxes.arguments import storable
from tchat.tools.syntaxes.protocol import (
    CallBroken,
    CallEvent,
    CallFinished,
    CallParser,
    CallStarted,
    ReasoningPiece,
    ReplyStart,
    Schemas,
    TextPiece,
)
from tchat.tools.syntaxes.reader import BrokenCall, NotACall, Parse, Reader, Steps
from tchat.translation import tr

_FENCE = "```"


class InReasoning(Enum):
    """Whether a call in the reasoning is one, and ends the reasoning."""

    NEVER = "never"
    AT_LINE_START = "at the start of a line"
    ANYWHERE = "anywhere"


class Calls:
    """Where calls are reported to as they are read."""

    def __init__(
        self, tools: Schemas, events: list[CallEvent], reader: Reader | None = None
    ) -> None:
        self.tools = tools
        self._events = events
        self._reader = reader
        self._index = 0
        self._name = ""

    @property
    def has_started(self) -> bool:
        """Whether a call has a name and is not finished."""
        return bool(self._name)

    def schema(self, name: str) -> Any:
        """The schema of a tool's parameters; empty for an unknown one."""
        return self.tools.get(name, {})

    def start(self, name: str) -> None:
        """A call of the tool ``name`` begins."""
        if not name:
            raise BrokenCall(tr("it names no tool"))
        self._name = storable(name)
        if self._reader is not None:
            self._reader.name = self._name
        self._events.append(CallStarted(self._index, self._name))

    def finish(self, arguments: dict[str, Any], id: str = "") -> None:  # noqa: A002 - the field's name
        """The call that was started is complete."""
        found = storable(arguments)
        self._events.append(CallFinished(self._index, self._name, found, storable(id)))
        self._name = ""
        self._index += 1

    def fail(self, raw: str, reason: str) -> None:
        """The call, whether it has a name or not, cannot be read."""
        self._events.append(CallBroken(self._index, self._name, raw, reason))
        self._name = ""
        self._index += 1


class CallReader(Protocol):
    """How calls are written."""

    @property
    def openings(self) -> tuple[str, ...]:
        """Marks of which one begins a call, or several."""
        ...

    @property
    def closings(self) -> tuple[str, ...]:
        """Marks that end a call; one that cannot be read ends there."""
        ...

    @property
    def at_start(self) -> tuple[str, ...]:
        """What begins a call at the head of a reply only."""
        ...

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """Read what stands behind ``opening``, the whole of one call or of several.

        Raises:
            NotACall: It is text. Nothing was reported to ``calls``.
            BrokenCall: It cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """The marks of a reply around its calls.

    Args:
        reasoning: Pairs of marks around reasoning, the model's own first.
        sections: Marks before the first of several calls.
        separators: Marks between and behind calls.
        answers: Marks that begin an answer; one ends reasoning that was left open.
        ignored: Other marks in the answer that mean nothing to a reader.
        in_reasoning: Whether calls in the reasoning count.
        thinks_anywhere: Whether reasoning may begin in the middle of an answer.
    """

    reasoning: tuple[tuple[str, str], ...] = (("<think>", "</think>"),)
    sections: tuple[str, ...] = ()
    separators: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    in_reasoning: InReasoning = InReasoning.NEVER
    thinks_anywhere: bool = False


@dataclass(frozen=True, slots=True)
class MarkedSyntax:
    """A `CallSyntax` of replies with marks."""

    name: str
    form: ReplyForm
    calls: CallReader

    @property
    def triggers(self) -> tuple[str, ...]:
        """See `CallSyntax`."""
        return (*self.form.sections, *self.calls.openings)

    @property
    def head_triggers(self) -> tuple[str, ...]:
        """See `CallSyntax`."""
        return self.calls.at_start

    def start_after(self, prompt: str) -> ReplyStart:
        """See `CallSyntax`."""
        tail = prompt[-200:].rstrip()
        opened = any(tail.endswith(opening.rstrip()) for opening, _ in self.form.reasoning)
        return ReplyStart.REASONING if opened else ReplyStart.OPEN

    def parser(self, tools: Schemas, start: ReplyStart = ReplyStart.OPEN) -> CallParser:
        """See `CallSyntax`."""
        events: list[CallEvent] = []
        reader = Reader()
        steps = _MarkedReply(self.form, self.calls, reader, tools, events).read(start)
        return Parse(reader, events, steps)


class PieceWriter:
    """Writes pieces of text, without whitespace before and behind what is no text."""

    def __init__(self, events: list[CallEvent], piece: Callable[[str], CallEvent]) -> None:
        self._events = events
        self._piece = piece
        self._held = ""  # whitespace of which it is not known whether text follows
        self._line = ""  # the last characters of the line so far
        self._trimmed = ""  # whitespace that is no text at the beginning

    @property
    def is_at_line_start(self) -> bool:
        """Whether only spaces stand before what comes next."""
        return not self._line.strip(" ")

    @property
    def is_quoted(self) -> bool:
        """Whether a backtick stands before what comes next."""
        return self._line.endswith("`")

    def write(self, text: str) -> None:
        """Add text."""
        self._line = (self._line + text).rpartition("\n")[2][-8:]
        text = self._held + text
        kept = text.rstrip()
        self._held = text[len(kept) :]
        if kept:
            self._events.append(self._piece(kept.lstrip(self._trimmed) if self._trimmed else kept))
            self._trimmed = ""

    def cut(self, behind: str = string.whitespace) -> None:
        """Something else stands here: whitespace before it, and ``behind`` it, is no text."""
        self._held = self._line = ""
        self._trimmed = behind

    def close(self) -> None:
        """Nothing follows."""
        if self._held and not self._trimmed:
            self._events.append(self._piece(self._held))
        self._held = ""


class _MarkedReply:
    """Reads one reply."""

    def __init__(
        self,
        form: ReplyForm,
        call_reader: CallReader,
        reader: Reader,
        tools: Schemas,
        events: list[CallEvent],
    ) -> None:
        self._form = form
        self._call_reader = call_reader
        self._reader = reader
        self._calls = Calls(tools, events, reader)
        self._text = PieceWriter(events, TextPiece)
        self._thought = PieceWriter(events, ReasoningPiece)
        # Without tools, nothing is a call.
        self._openings = (*form.sections, *call_reader.openings) if tools else ()
        self._closing_of = dict(form.reasoning)

    def read(self, start: ReplyStart) -> Steps[None]:
        if start is ReplyStart.REASONING:
            # A reply that goes on in the middle of a sentence begins with a space of its own.
            yield from self._reasoning(tuple(self._closing_of.values()), trimmed="\n")
        elif start is ReplyStart.OPEN:
            yield from self._head()
        yield from self._answer()

    def _head(self) -> Steps[None]:
        """The beginning of a reply that may start with anything."""
        reader = self._reader
        space = yield from reader.space()
        closings = tuple(self._closing_of.values())
        mark = yield from reader.literal(*self._closing_of, *closings)
        if mark in self._closing_of:
            yield from self._reasoning((self._closing_of[mark],))
        elif mark:  # the end of reasoning that was left out
            self._text.cut()
        else:
            self._text.write(space)
            at_start = self._call_reader.at_start if self._calls.tools else ()
            opening = yield from reader.literal(*at_start)
            if opening:
                yield from self._call(opening, self._text)

    def _reasoning(
        self, closings: tuple[str, ...], trimmed: str = string.whitespace
    ) -> Steps[None]:
        self._thought.cut(trimmed)
        self._reader.in_reasoning = True
        counts = self._form.in_reasoning
        openings = (*self._openings, _FENCE) if counts is not InReasoning.NEVER else ()
        ends = (*closings, *self._form.answers)
        while mark := (yield from self._reader.until((*ends, *openings), self._thought.write)):
            if mark in ends:
                break
            if mark == _FENCE:
                yield from self._fence(self._thought, ends)
            elif counts is InReasoning.AT_LINE_START and not self._thought.is_at_line_start:
                self._thought.write(mark)
            elif (yield from self._call(mark, self._thought)):
                break
        self._reader.in_reasoning = False
        self._text.cut()
        if not mark:
            self._thought.close()

    def _answer(self) -> Steps[None]:
        form = self._form
        thoughts = tuple(self._closing_of) if form.thinks_anywhere else ()
        ignored = (*form.answers, *form.ignored)
        marks = (*self._openings, *ignored, *thoughts, _FENCE)
        while mark := (yield from self._reader.until(marks, self._text.write)):
            if mark == _FENCE:
                yield from self._fence(self._text, ())
            elif mark in ignored:
                self._text.cut()
            elif mark in thoughts:
                yield from self._reasoning((self._closing_of[mark],))
            elif self._text.is_quoted:
                self._text.write(mark)
            else:
                yield from self._call(mark, self._text)
        self._text.close()

    def _fence(self, writer: PieceWriter, ends: tuple[str, ...]) -> Steps[None]:
        """A code block, where marks are text, but for ``ends``."""
        is_block = writer.is_at_line_start
        writer.write(_FENCE)
        while is_block and (mark := (yield from self._reader.until((_FENCE, *ends), writer.write))):
            if mark in ends:
                self._reader.at -= len(mark)
                return
            is_block = not writer.is_at_line_start
            writer.write(_FENCE)

    def _call(self, mark: str, before: PieceWriter) -> Steps[bool]:
        """Calls that begin with ``mark``; if there are none, it is text. Whether there are."""
        found = False
        while mark and (yield from self._one_call(mark, self._text if found else before)):
            found = True
            mark = yield from self._next_opening()
        return found

    def _one_call(self, mark: str, before: PieceWriter) -> Steps[bool]:
        reader, calls = self._reader, self._call_reader
        reader.at -= len(mark)
        reader.forget()
        reader.at = len(mark)
        reader.in_call = True
        try:
            opening = yield from self._behind_section(mark)
            yield from calls.read(reader, self._calls, opening)
        except NotACall:
            reader.at = len(mark)
            before.write(mark)
            return False
        except BrokenCall as problem:
            # What remains of it is passed over: it is no text for a person.
            yield from reader.until((*calls.closings, *self._form.separators))
            self._calls.fail(reader.since(0), str(problem))
        finally:
            reader.leave_call()
        before.cut()
        self._text.cut()
        return True

    def _behind_section(self, mark: str) -> Steps[str]:
        """The opening of a call, which follows ``mark`` where that begins several."""
        calls = self._call_reader
        if mark in (*calls.openings, *calls.at_start):
            return mark
        yield from self._reader.space()
        opening = yield from self._reader.literal(*calls.openings, *calls.at_start)
        if not opening:
            raise NotACall
        return opening

    def _next_opening(self) -> Steps[str]:
        """Pass over what stands behind a call; what begins another one, or empty."""
        reader, form = self._reader, self._form
        while True:
            yield from reader.space()
            mark = yield from reader.literal(
                *form.separators, *form.sections, *self._call_reader.openings
            )
            if not mark:
                break
            if mark not in form.separators:
                return mark
            reader.forget()
        thought = yield from reader.literal(*self._closing_of)
        if thought:
            yield from self._reasoning((self._closing_of[thought],))
        return ""
