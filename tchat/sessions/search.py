"""Full-text search: every word of the query must occur, upper and lower case alike.

There is no index: texts are read a few at a time, and folded and compared in between, so that a
search holds up nobody who writes. It takes 2 to 3 ms for each MB of ASCII, and 7 to 12 of others.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from itertools import islice

from tchat.errors import UsageError
from tchat.sessions import message_tree, session_queries
from tchat.sessions.records import SearchHit, Session
from tchat.sessions.serialization import storable, to_message

Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]
AT_ONCE = 100_000  # characters that are read before others may write
_ABOVE_ALL = (1 << 63) - 1
BEFORE, AFTER = 40, 120  # characters of the snippet around the start of the first hit
_WORD = re.compile(r'"([^"]+)"|(\S+)')
_ONE_LINE = str.maketrans("\n\r\t\v\f", "     ")
_JAMO = range(0x1160, 0x1200)  # vowels and finals of Hangul, which join what is before them


def parse_query(query: str) -> list[str]:
    """The words of a query; what stands in double quotes is one word.

    Nothing else has a meaning of its own, so any text can be searched for as it is.
    """
    words = [quoted or bare for quoted, bare in _WORD.findall(storable(query))]
    return list(dict.fromkeys(word for word in words if word.strip()))


def fold(text: str) -> str:
    """``text`` so that spellings are equal which a reader calls the same.

    Upper and lower case (``STRASSE`` and ``Straße``, every Greek sigma, every Turkish i), composed
    and decomposed characters (Hangul too).
    """
    if text.isascii():
        return text.lower()
    folded = _composed(text).casefold().replace("i\u0307", "i").replace("ı", "i")
    return _composed(folded)


def _composed(text: str) -> str:
    # Asking first is ten times faster for what is composed already, as nearly all texts are.
    composed = unicodedata.is_normalized("NFC", text)
    return text if composed else unicodedata.normalize("NFC", text)


def search(
    reading: Reading, query: str, limit: int, stopped: Callable[[], bool] = lambda: False
) -> list[SearchHit]:
    """Sessions by their titles, then messages, that contain every word of ``query``.

    Those used last and the latest come first. A reply that is still growing is not found.
    ``stopped`` is asked between a few texts and the next, and ends the search with what was found.
    """
    words = [fold(word) for word in parse_query(query)]
    if not words:
        return []

    def holds_words(text: str) -> bool:
        folded = fold(text)
        return all(word in folded for word in words)

    hits = []
    for session in _titled(reading, holds_words, limit):
        snippet, spans = excerpt(session.title, words)
        hits.append(SearchHit(session=session, message=None, snippet=snippet, spans=spans))
    sessions: dict[str, Session] = {}
    for message_id in _written(reading, holds_words, stopped):
        if len(hits) >= limit:
            break
        with suppress(UsageError):  # deleted meanwhile
            with reading() as connection:
                message = to_message(message_tree.row(connection, message_id))
                if message.session_id not in sessions:
                    found = session_queries.by_id(connection, message.session_id)
                    sessions[message.session_id] = found
            snippet, spans = excerpt(message.text, words)
            session = sessions[message.session_id]
            hits.append(SearchHit(session=session, message=message, snippet=snippet, spans=spans))
    return hits


def _titled(reading: Reading, holds_words: Callable[[str], bool], limit: int) -> list[Session]:
    """The sessions whose titles hold the words, the one used last first."""
    with reading() as connection:
        titles = connection.execute(
            "SELECT id, title FROM sessions ORDER BY used DESC, updated_at DESC"
        ).fetchall()
    found = islice((row["id"] for row in titles if holds_words(row["title"])), limit)
    sessions = []
    for session_id in found:
        with suppress(UsageError), reading() as connection:  # deleted meanwhile
            sessions.append(session_queries.by_id(connection, session_id))
    return sessions


def _written(
    reading: Reading, holds_words: Callable[[str], bool], stopped: Callable[[], bool]
) -> Iterator[int]:
    """The ids of the messages that hold the words, the latest first."""
    before = _ABOVE_ALL
    while not stopped():
        with reading() as connection:
            texts = _some(connection, before)
        yield from (number for number, text in texts if holds_words(text))
        if not texts:
            return
        before = texts[-1][0]


def _some(connection: sqlite3.Connection, before: int) -> list[tuple[int, str]]:
    """The messages before one, the latest first, up to `AT_ONCE` characters."""
    rows = connection.execute(
        "SELECT id, text FROM messages WHERE status <> 'streaming' AND id < ? ORDER BY id DESC",
        (before,),
    )
    texts, size = [], 0
    with closing(rows):
        for row in rows:
            texts.append((row["id"], row["text"]))
            size += len(row["text"]) + 100  # what an empty one costs
            if size > AT_ONCE:
                break
    return texts


def excerpt(text: str, words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A snippet of ``text`` on one line around the first hit, and the spans of ``words`` in it.

    ``words`` are folded.
    """
    found = _find_words(text, words)
    first = found[0][0] if found else 0
    start, end = max(0, first - BEFORE), min(len(text), first + AFTER)
    lead, tail = "…" * (start > 0), "…" * (end < len(text))
    snippet = lead + text[start:end].translate(_ONE_LINE) + tail
    shift = len(lead) - start
    spans = tuple((a + shift, min(b, end) + shift) for a, b in found if a < end)
    return snippet, spans


def _find_words(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where ``words`` (folded) are in ``text``, ascending and apart."""
    folded = fold(text)
    starts, ends = _origins(text, folded)
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    found: list[tuple[int, int]] = []
    for match in re.finditer(pattern, folded):
        start, end = starts[match.start()], ends[match.end() - 1]
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


def _origins(text: str, folded: str) -> tuple[Sequence[int], Sequence[int]]:
    """For each character of the folded text, the start and end of its origin in ``text``."""
    # In composed text only a character that becomes several changes the length.
    if len(folded) == len(text) and _composed(text) is text and "\u0307" not in text:
        return range(len(text)), range(1, len(text) + 1)
    starts: list[int] = []
    ends: list[int] = []
    begin = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and _joins(text[end]):
            continue
        size = len(fold(text[begin:end]))
        starts += [begin] * size
        ends += [end] * size
        begin = end
    return starts, ends


def _joins(character: str) -> bool:
    """Whether a character may become one with what is before it."""
    return not character.isascii() and (
        ord(character) in _JAMO or unicodedata.category(character).startswith("M")
    )


def without_repeats(hits: Sequence[SearchHit]) -> list[SearchHit]:
    """``hits`` without the titles of sessions of which a message was found too."""
    found = {hit.session.id for hit in hits if hit.message is not None}
    return [hit for hit in hits if hit.message is not None or hit.session.id not in found]
