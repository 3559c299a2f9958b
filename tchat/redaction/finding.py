"""What a detector finds: a span of a text, and the kind of data in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Kind(StrEnum):
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


@dataclass(frozen=True, slots=True)
class Finding:
    """``text[start:end]`` is data of a kind."""

    start: int
    end: int
    kind: Kind


Detector: TypeAlias = Callable[[str], Iterable[Finding]]


def without_overlaps(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings in order of place; of two that overlap, the one that came first.

    A later one that reaches past it keeps the part behind, so that nothing of it stays in clear.
    """
    taken: list[Finding] = []
    for finding in findings:
        start, end = finding.start, finding.end
        for other in taken:
            if other.start <= start < other.end:
                start = other.end
            if other.start < end <= other.end:
                end = other.start
        if start < end and not any(start < other.end and other.start < end for other in taken):
            taken.append(Finding(start, end, finding.kind))
    return iter(sorted(taken, key=lambda each: each.start))
