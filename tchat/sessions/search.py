"""Full-text search: every word of the query must occur, upper and lower case alike.

There is no index: texts are folded and compared as they are read, about 1 ms for each MB of ASCII
and 6 ms of others.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Sequence

from tchat.sessions import lookup
from tchat.sessions.records import Hit, Session
from tchat.sessions.rows import storable, to_message, to_session

BEFORE, AFTER = 40, 120  # characters of the snippet around the start of the first hit
_WORD = re.compile(r'"([^"]+)"|(\S+)')
_ONE_LINE = str.maketrans("\n\r\t\v\f", "     ")
_JAMO = range(0x1160, 0x1200)  # vowels and finals of Hangul, which join what is before them


def parse(query: str) -> list[str]:
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


def search(connection: sqlite3.Connection, query: str, limit: int) -> list[Hit]:
    """Sessions by their titles, then messages, that contain every word of ``query``.

    Those used last and the latest come first. A reply that is still growing is not found.
    """
    words = [fold(word) for word in parse(query)]
    if not words:
        return []

    def holds_words(text: str) -> bool:
        folded = fold(text)
        return all(word in folded for word in words)

    connection.create_function("holds_words", 1, holds_words, deterministic=True)
    hits = []
    for session in _titled(connection, limit):
        snippet, spans = excerpt(session.title, words)
        hits.append(Hit(session=session, message=None, snippet=snippet, spans=spans))
    sessions: dict[str, Session] = {}
    for row in _written(connection, limit - len(hits)):
        message = to_message(row)
        if message.session_id not in sessions:
            sessions[message.session_id] = lookup.by_id(connection, message.session_id)
        snippet, spans = excerpt(message.text, words)
        session = sessions[message.session_id]
        hits.append(Hit(session=session, message=message, snippet=snippet, spans=spans))
    return hits


def _titled(connection: sqlite3.Connection, limit: int) -> list[Session]:
    rows = connection.execute(
        """
        SELECT s.*, (SELECT count(*) FROM messages WHERE session_id = s.id) AS messages
        FROM sessions s WHERE holds_words(title) ORDER BY used DESC, updated_at DESC LIMIT ?
        """,
        (limit,),
    )
    return [to_session(row) for row in rows]


def _written(connection: sqlite3.Connection, limit: int) -> list[sqlite3.Row]:
    return connection.execute(
        """
        SELECT * FROM messages WHERE status <> 'streaming' AND holds_words(text)
        ORDER BY id DESC LIMIT ?
        """,
        (limit,),
    ).fetchall()


def excerpt(text: str, words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A piece of ``text`` on one line around the first hit, and the places of ``words`` in it.

    ``words`` are folded.
    """
    places = _places(text, words)
    first = places[0][0] if places else 0
    start, end = max(0, first - BEFORE), min(len(text), first + AFTER)
    lead, tail = "…" * (start > 0), "…" * (end < len(text))
    snippet = lead + text[start:end].translate(_ONE_LINE) + tail
    shift = len(lead) - start
    spans = tuple((a + shift, min(b, end) + shift) for a, b in places if a < end)
    return snippet, spans


def _places(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Where ``words`` (folded) are in ``text``, ascending and apart."""
    folded = fold(text)
    starts, ends = _origins(text, folded)
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    places: list[tuple[int, int]] = []
    for match in re.finditer(pattern, folded):
        start, end = starts[match.start()], ends[match.end() - 1]
        if not places or start >= places[-1][1]:
            places.append((start, end))
    return places


def _origins(text: str, folded: str) -> tuple[Sequence[int], Sequence[int]]:
    """For each character of the folded text, the begin and the end of what it stands for."""
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
