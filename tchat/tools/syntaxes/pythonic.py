"""Calls as Python writes them: ``[get_time(city="Paris"), now()]`` (LFM2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tchat.tools.syntaxes.literals import PYTHON, read_members
from tchat.tools.syntaxes.reader import BrokenCall, NotACall, Reader, Steps, ended
from tchat.tools.syntaxes.reply import Calls
from tchat.translation import tr

_NAME = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class PythonicCalls:
    """A `CallReader` of a list of Python calls with keyword arguments."""

    openings: tuple[str, ...]
    closings: tuple[str, ...] = ()
    at_start: tuple[str, ...] = ()

    def read(self, reader: Reader, calls: Calls, opening: str) -> Steps[None]:
        """See `CallReader`."""
        is_bare = opening in self.at_start
        if opening[-1] == "[":
            reader.at -= 1
        yield from reader.space()
        has_list = yield from reader.literal("[")
        has_calls = False
        while True:
            yield from reader.space()
            if has_list and (yield from reader.literal("]")):
                return
            name = yield from reader.run(_NAME)
            if not name or not (yield from reader.literal("(")):
                if has_calls and not (yield from reader.peek()):
                    return
                raise BrokenCall(tr("it names no tool")) if has_calls else NotACall
            if is_bare and not has_calls and name not in calls.tools:
                raise NotACall
            calls.start(name)
            calls.finish((yield from read_members(reader, PYTHON, "=", ")")))
            has_calls = True
            yield from reader.space()
            if not (yield from reader.literal(",")) and not has_list:
                return


def keywords_of(text: str) -> dict[str, Any]:
    """Keyword arguments as they stand between a call's brackets."""
    reader = Reader()
    reader.add(text + ")")
    reader.finish()
    return ended(read_members(reader, PYTHON, "=", ")"))
