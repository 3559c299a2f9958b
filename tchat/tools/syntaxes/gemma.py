"""Calls of Gemma 4: ``<|tool_call>call:NAME{key:<|"|>text<|"|>,n:1}<tool_call|>``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tchat.tools.syntaxes.literals import GEMMA, read_members
from tchat.tools.syntaxes.reader import NotACall, Reader, Steps
from tchat.tools.syntaxes.reply import Calls

_NAME = re.compile(r"[\w.:/-]*")


@dataclass(frozen=True, slots=True)
class GemmaCalls:
    """A `CallReader` of names with arguments in Gemma's notation."""

    openings: tuple[str, ...] = ("<|tool_call>",)
    closings: tuple[str, ...] = ("<tool_call|>",)
    at_start: tuple[str, ...] = ()

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """See `CallReader`."""
        del opening
        yield from reader.space()
        yield from reader.literal("call:")
        name = yield from reader.run(_NAME)
        yield from reader.space()
        if not name or not (yield from reader.literal("{")):
            raise NotACall
        calls.start(name)
        calls.finish((yield from read_members(reader, GEMMA, ":", "}")))
