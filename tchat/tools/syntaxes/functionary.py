"""Replies of Functionary 3.2: recipients behind ``>>>``, of which ``all`` is the user."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tchat.tools.syntaxes.arguments import arguments_of
from tchat.tools.syntaxes.json_calls import code_arguments
from tchat.tools.syntaxes.protocol import CallEvent, CallParser, ReplyStart, Schemas, TextPiece
from tchat.tools.syntaxes.reader import BrokenCall, Parse, Reader, Steps
from tchat.tools.syntaxes.reply import Calls, PieceWriter

_MARK = ">>>"
_RECIPIENT = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class FunctionarySyntax:
    """A `CallSyntax` of parts with recipients; its prompts end in the first trigger."""

    name: str = "Functionary 3.2"
    triggers: tuple[str, ...] = (_MARK,)
    head_triggers: tuple[str, ...] = ()

    def start_after(self, prompt: str) -> ReplyStart:
        """See `CallSyntax`."""
        return ReplyStart.OPEN if prompt.rstrip().endswith(_MARK) else ReplyStart.ANSWER

    def parser(self, tools: Schemas, start: ReplyStart = ReplyStart.OPEN) -> CallParser:
        """See `CallSyntax`."""
        events: list[CallEvent] = []
        reader = Reader()
        return Parse(reader, events, _Parts(reader, tools, events).read(start))


class _Parts:
    """Reads the parts of one reply."""

    def __init__(self, reader: Reader, tools: Schemas, events: list[CallEvent]) -> None:
        self._reader = reader
        self._calls = Calls(tools, events, reader)
        self._text = PieceWriter(events, TextPiece)

    def read(self, start: ReplyStart) -> Steps[None]:
        reader = self._reader
        if start is ReplyStart.OPEN:
            yield from reader.literal(_MARK)
            yield from self._part("")  # prompts end in the first mark
        while mark := (yield from reader.until((_MARK,), self._text.write)):
            yield from self._part(mark)
        self._text.close()

    def _part(self, mark: str) -> Steps[None]:
        reader, calls = self._reader, self._calls
        reader.forget()
        name = yield from reader.run(_RECIPIENT)
        line = yield from reader.literal("\n")
        if name == "all" and line:
            self._text.cut()
            return
        here = yield from reader.peek()
        if name not in calls.tools or not (line or here == "{"):
            self._text.write(mark + reader.since(0))
            return
        self._text.cut()
        reader.forget()
        calls.start(name)
        end = ""
        reader.in_arguments = True
        try:
            yield from reader.space()
            if (yield from reader.peek()) == "{":
                calls.finish(arguments_of((yield from reader.json_text())))
                yield from reader.space()
                return
            end = yield from reader.until((_MARK,))
            code = reader.since(0).removesuffix(end).strip()
            calls.finish(code_arguments(code, name, calls) if code else {})
            reader.at -= len(end)
        except BrokenCall as problem:
            end = end or (yield from reader.until((_MARK,)))
            reader.at -= len(end)
            calls.fail(reader.since(0), str(problem))
        finally:
            reader.leave_call()
