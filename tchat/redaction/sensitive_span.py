"""What a detector finds: a span of a text, and the kind of data in it."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class DataKind(StrEnum):
    """A kind of personal data or secret; the value is the word in its placeholder."""

    WORD = "WORD"  # one of the user's own words
    KEY = "KEY"  # API keys, tokens, passwords, private keys
    EMAIL = "EMAIL"
    IBAN = "IBAN"
    CARD = "CARD"
    ID = "ID"  # of a person, by a country
    PHONE = "PHONE"
    ADDRESS = "ADDRESS"  # postal
    HOST = "HOST"  # names of machines, and IP addresses
    USER = "USER"  # the user's name in a path
    # What a model guesses: names have no form.
    PERSON = "PERSON"
    PLACE = "PLACE"
    ORGANIZATION = "ORGANIZATION"

    @property
    def is_guess(self) -> bool:
        """Whether a model found it, and no form."""
        return self in (DataKind.PERSON, DataKind.PLACE, DataKind.ORGANIZATION)


@dataclass(frozen=True, slots=True)
class SensitiveSpan:
    """``text[start:end]`` is data of a kind."""

    start: int
    end: int
    kind: DataKind


# Chinese and Japanese letters, for a set of a pattern. Their text has no blanks around a value, so
# that ``\w`` and ``\b`` do not tell where one begins.
CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# Where a word of another script may begin and end.
WORD_START = rf"(?<![^\W{CJK}])"
WORD_END = rf"(?![^\W{CJK}])"

Detector: TypeAlias = Callable[[str], Iterable[SensitiveSpan]]


def outside_of(
    words: Iterable[SensitiveSpan], others: Iterable[SensitiveSpan]
) -> Iterator[SensitiveSpan]:
    """Those of ``words``, in order of place, that are no part of a longer one of ``others``."""
    begun = sorted(others, key=lambda each: each.start)
    at = 0
    furthest = SensitiveSpan(-1, -1, DataKind.WORD)  # of those that begin no later than the word
    for word in words:
        while at < len(begun) and begun[at].start <= word.start:
            furthest = max(furthest, begun[at], key=lambda each: each.end)
            at += 1
        is_whole = (furthest.start, furthest.end) == (word.start, word.end)
        if is_whole or furthest.end < word.end:
            yield word


def without_overlaps(findings: Iterable[SensitiveSpan]) -> list[SensitiveSpan]:
    """The findings in order of place; where two overlap, the one that came first keeps its span.

    Of a later one what is beside it stays, so that no part of a value is left in clear.
    """
    taken: list[SensitiveSpan] = []  # by place
    for finding in findings:
        at = bisect_right(taken, finding.start, key=lambda each: each.end)
        start = finding.start
        rest: list[SensitiveSpan] = []
        while at < len(taken) and start < finding.end:
            other = taken[at]
            if other.start >= finding.end:
                break
            if start < other.start:
                rest.append(SensitiveSpan(start, other.start, finding.kind))
            start = max(start, other.end)
            at += 1
        if start < finding.end:
            rest.append(SensitiveSpan(start, finding.end, finding.kind))
        for each in rest:
            insort(taken, each, key=lambda one: one.start)
    return taken
