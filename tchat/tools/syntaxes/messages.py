"""Replies of messages with a header that names a channel or a recipient: gpt-oss, Muse.

A call of gpt-oss is ``<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}``,
one of Muse has tags around its arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tchat.tools.syntaxes.arguments import arguments_of
from tchat.tools.syntaxes.json_calls import code_arguments
from tchat.tools.syntaxes.protocol import (
    CallEvent,
    CallParser,
    ReasoningPiece,
    ReplyStart,
    Schemas,
    TextPiece,
)
from tchat.tools.syntaxes.reader import BrokenCall, NotACall, Parse, Reader, Steps
from tchat.tools.syntaxes.reply import Calls, PieceWriter
from tchat.tools.syntaxes.tagged_calls import TaggedCalls

_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_HEADER_SIGNS = ("to=", _CHANNEL, _START, _MESSAGE, "<|constrain|>")
_RECIPIENT = re.compile(r"to=([^\s<]+)")
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_MARK = "<|"
_NO_TOOLS = ("assistant", "user", "self")
_PREFIX = "functions."


@dataclass(frozen=True, slots=True)
class MessageSyntax:
    """A `CallSyntax` of messages with headers.

    Args:
        name: See `CallSyntax`.
        ends: Marks that end a message.
        tags: How calls are written that are no JSON.
        triggers: See `CallSyntax`.
        head_triggers: See `CallSyntax`.
    """

    name: str
    ends: tuple[str, ...]
    tags: TaggedCalls | None = None
    triggers: tuple[str, ...] = ("to=",)
    head_triggers: tuple[str, ...] = ()

    def start_after(self, prompt: str) -> ReplyStart:
        """See `CallSyntax`."""
        header, found, body = prompt[prompt.rfind(_START) :].rpartition(_MESSAGE)
        if not found or any(end in body for end in self.ends):
            return ReplyStart.OPEN
        return ReplyStart.REASONING if _is_reasoning(header) else ReplyStart.ANSWER

    def parser(self, tools: Schemas, start: ReplyStart = ReplyStart.OPEN) -> CallParser:
        """See `CallSyntax`."""
        events: list[CallEvent] = []
        reader = Reader()
        return Parse(reader, events, _Messages(self, reader, tools, events).read(start))


def _is_reasoning(header: str) -> bool:
    channels = _CHANNEL_NAME.findall(header)
    return channels[-1:] == ["analysis"] or _RECIPIENT.findall(header)[-1:] == ["self"]


class _Messages:
    """Reads the messages of one reply."""

    def __init__(
        self, syntax: MessageSyntax, reader: Reader, tools: Schemas, events: list[CallEvent]
    ) -> None:
        self._tags = syntax.tags
        self._ends = (*syntax.ends, _START)
        self._reader = reader
        self._calls = Calls(tools, events, reader)
        self._text = PieceWriter(events, TextPiece)
        self._thought = PieceWriter(events, ReasoningPiece)

    def read(self, start: ReplyStart) -> Steps[None]:
        reader = self._reader
        end = ""
        if start is not ReplyStart.OPEN:
            end = yield from self._body(is_reasoning=start is ReplyStart.REASONING)
        while end or (yield from reader.peek()):
            space = yield from reader.space()
            if end != _START and not (yield from self._has_header()):
                self._text.write(space)  # a model that writes no headers
                end = yield from self._body(is_reasoning=False)
            else:
                end = yield from self._message()
            if not end:
                break
        self._text.close()

    def _has_header(self) -> Steps[bool]:
        here = self._reader.at
        found = yield from self._reader.literal(*_HEADER_SIGNS)
        self._reader.at = here
        return bool(found) or not (yield from self._reader.peek())

    def _message(self) -> Steps[str]:
        """Read a message; the mark that ends it."""
        reader = self._reader
        reader.forget()
        mark = yield from reader.until((_MESSAGE,))
        header = reader.since(0).removesuffix(mark)
        if not mark:
            if not header.startswith(_MARK):
                self._text.write(header)
            return ""
        recipient = _RECIPIENT.findall(header)
        name = recipient[-1] if recipient and recipient[-1] not in _NO_TOOLS else ""
        if name and self._calls.tools:
            tags = self._tags
            return (yield from self._call(name) if tags is None else self._tagged_calls(tags))
        if name:  # nobody can be called: it is neither an answer nor a call
            return (yield from reader.until(self._ends))
        return (yield from self._body(is_reasoning=_is_reasoning(header)))

    def _body(self, *, is_reasoning: bool) -> Steps[str]:
        writer = self._thought if is_reasoning else self._text
        self._reader.in_reasoning = is_reasoning
        end = yield from self._reader.until(self._ends, writer.write)
        self._reader.in_reasoning = False
        if end:
            writer.cut()
        else:
            writer.close()
        return end

    def _call(self, recipient: str) -> Steps[str]:
        reader, calls = self._reader, self._calls
        reader.forget()
        name, end = recipient.removeprefix(_PREFIX), ""
        try:
            calls.start(name)
            reader.in_arguments = True
            yield from reader.space()
            if (yield from reader.peek()) == "{":
                arguments = arguments_of((yield from reader.json_text()))
                reader.leave_call()
                end = yield from reader.until(self._ends)
            else:
                end = yield from reader.until(self._ends)
                code = reader.since(0).removesuffix(end)
                is_empty = bool(end) and not code.strip()
                arguments = {} if is_empty else code_arguments(code, name, calls)
            calls.finish(arguments)
        except BrokenCall as problem:
            end = end or (yield from reader.until(self._ends))
            calls.fail(reader.since(0), str(problem))
        finally:
            reader.leave_call()
        return end

    def _tagged_calls(self, tags: TaggedCalls) -> Steps[str]:
        """The calls of one message; the mark that ends it."""
        reader, calls = self._reader, self._calls
        marks = (*tags.openings, *self._ends)
        while (mark := (yield from reader.until(marks))) in tags.openings:
            start = reader.at - len(mark)
            try:
                yield from tags.read(reader, calls, mark)
            except NotACall:
                continue
            except BrokenCall as problem:
                mark = yield from reader.until((*tags.closings, *self._ends))
                calls.fail(reader.since(start), str(problem))
                if mark in self._ends:
                    break
        return mark
