"""The tool ``search_chats``: messages of the user's own sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from tchat.sanitize import single_line
from tchat.tools.tool import Arguments, Effect, Tool, object_schema

DEFAULT = 10
MOST = 50
SHOWN = 500  # characters of a message


class ChatHit(NamedTuple):
    """A message that was found."""

    session: str
    title: str
    date: str
    role: str
    text: str


def search_chats_tool(search: Callable[[str, int], Iterable[ChatHit]]) -> Tool:
    """The tool; ``search`` finds at most so many messages for a text."""

    def run(arguments: Arguments) -> str:
        most = arguments.get("count", DEFAULT)
        hits = islice(search(arguments["text"], most), most)
        return "\n".join(map(_line, hits)) or "[Nothing was found.]"

    return Tool(
        name="search_chats",
        description="Search the user's earlier chats for a text.",
        parameters=object_schema(
            ("text",),
            text={"type": "string", "minLength": 1, "maxLength": 1000},
            count={"type": "integer", "minimum": 1, "maximum": MOST},
        ),
        run=run,
        effects=frozenset({Effect.READS_FILES}),
        is_untrusted=True,
    )


def _line(hit: ChatHit) -> str:
    title = single_line(hit.title)
    return f"{hit.session} {hit.date} {title} | {hit.role}: {single_line(hit.text, limit=SHOWN)}"
