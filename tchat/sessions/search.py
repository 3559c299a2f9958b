"""Full-text search: every word of the query must occur, upper and lower case alike.

The trigram index says where to look, and comparing the texts decides. Words shorter than three
characters (most of Chinese and Japanese, an emoji) have no trigram: for them all texts are
compared, about 1 ms for each MB.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

from tchat.sessions import lookup
from tchat.sessions.records import Hit, Session
from tchat.sessions.rows import storable, to_message

BEFORE, AFTER = 40, 120  # characters of the snippet around the start of the first hit
_MOST_TRIGRAMS = 64
_WORD = re.compile(r'"([^"]+)"|(\S+)')
_ONE_LINE = str.maketrans("\n\r\t\v\f", "     ")


def parse(query: str) -> list[str]:
    """The words of a query; what stands in double quotes is one word.

    Nothing else has a meaning of its own, so any text can be searched for as it is.
    """
    words = [quoted or bare for quoted, bare in _WORD.findall(storable(query))]
    return list(dict.fromkeys(word for word in words if word.strip()))


def search(connection: sqlite3.Connection, query: str, limit: int) -> list[Hit]:
    """Messages that contain every word of ``query``, the latest first.

    A reply that is still growing is not found.
    """
    words = parse(query)
    if not words:
        return []
    folded = [word.casefold() for word in words]
    connection.create_function(
        "holds_words", 1, lambda text: _holds(text, folded), deterministic=True
    )
    sessions: dict[str, Session] = {}
    hits = []
    for row in _candidates(connection, _trigrams(words), limit):
        message = to_message(row)
        if message.session_id not in sessions:
            sessions[message.session_id] = lookup.by_id(connection, message.session_id)
        snippet, spans = excerpt(message.text, folded)
        session = sessions[message.session_id]
        hits.append(Hit(session=session, message=message, snippet=snippet, spans=spans))
    return hits


def _holds(text: str, folded_words: Sequence[str]) -> bool:
    folded = text.casefold()
    return all(word in folded for word in folded_words)


def _trigrams(words: Sequence[str]) -> list[str]:
    found = {word[at : at + 3] for word in words for at in range(len(word) - 2)}
    # SQLite's full-text index ends a text at NUL.
    return sorted(trigram for trigram in found if "\0" not in trigram)[:_MOST_TRIGRAMS]


def _candidates(
    connection: sqlite3.Connection, trigrams: Sequence[str], limit: int
) -> list[sqlite3.Row]:
    if not trigrams:
        return connection.execute(
            """
            SELECT * FROM messages WHERE status <> 'streaming' AND holds_words(text)
            ORDER BY id DESC LIMIT ?
            """,
            (limit,),
        ).fetchall()
    match = " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams)
    return connection.execute(
        """
        SELECT messages.* FROM search_index JOIN messages ON messages.id = search_index.rowid
        WHERE search_index MATCH ? AND holds_words(messages.text)
        ORDER BY search_index.rowid DESC LIMIT ?
        """,
        (match, limit),
    ).fetchall()


def excerpt(text: str, words: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A piece of ``text`` on one line around the first hit, and the places of ``words`` in it.

    ``words`` are casefolded.
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
    """Where ``words`` (casefolded) are in ``text``, ascending and apart."""
    folded = text.casefold()
    origin = range(len(text)) if len(folded) == len(text) else _origins(text)
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    places: list[tuple[int, int]] = []
    for match in re.finditer(pattern, folded):
        start, end = origin[match.start()], origin[match.end() - 1] + 1
        if not places or start >= places[-1][1]:
            places.append((start, end))
    return places


def _origins(text: str) -> list[int]:
    """For each character of the casefolded text, which may be longer, its place in ``text``."""
    return [at for at, character in enumerate(text) for _ in character.casefold()]
