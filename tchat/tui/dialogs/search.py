"""What a full-text search found, as lines of a list."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tchat.sanitize import single_line
from tchat.sessions.records import SearchHit
from tchat.tui.widgets.fuzzy_item import Item, one_line
from tchat.tui.widgets.sidebar import UNTITLED, clock_text, day_text, local_time

SPEAKERS = {"user": "you", "assistant": "model", "system": "system"}


class Snippet(NamedTuple):
    """Safe text, and the character positions in it that the search was for."""

    text: str
    places: tuple[int, ...]


def hit_items(hits: Sequence[SearchHit], now: float = 0) -> Iterator[Item]:
    """One item for each hit, under the title of its session; ``key`` is its place in ``hits``.

    Args:
        hits: In the order of the search; those of one session are brought together.
        now: Seconds since the epoch; 0 is the clock's.
    """
    today = local_time(now or time.time())
    together = sorted(range(len(hits)), key=lambda at: _first_of_session(hits, at))
    for at in together:
        hit = hits[at]
        snippet = safe_snippet(hit.snippet, hit.spans)
        message = hit.message
        used = local_time(message.created_at if message else hit.session.updated_at)
        speaker = SPEAKERS.get(message.role, message.role) if message else "title"
        day = day_text(local_time(hit.session.updated_at), today)
        yield Item(
            key=str(at),
            title=snippet.text,
            places=snippet.places,
            columns=(speaker, clock_text(used, today)),
            group=f"{single_line(hit.session.title, 60) or UNTITLED} · {day}",
        )


def safe_snippet(text: str, spans: Sequence[tuple[int, int]]) -> Snippet:
    """The raw snippet made safe, with its spans where they are afterwards."""
    shown = ""
    places: list[int] = []
    at = 0
    for start, end in spans:
        shown += one_line(text[at:start])
        found = one_line(text[start:end])
        places += range(len(shown), len(shown) + len(found))
        shown += found
        at = end
    return Snippet(shown + one_line(text[at:]), tuple(places))


def _first_of_session(hits: Sequence[SearchHit], at: int) -> int:
    """Where the first hit in the same session is."""
    wanted = hits[at].session.id
    return next(place for place, hit in enumerate(hits) if hit.session.id == wanted)
