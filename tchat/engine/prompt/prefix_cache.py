"""Tokens of prompts that begin alike: only what is new of a prompt is tokenized.

llama.cpp cuts a text at its special tokens before it tokenizes what lies between. So two texts
that are equal up to the end of a special token have equal tokens up to it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Span = tuple[int, int]  # start and end in a text

MAX_PROMPTS = 4  # that are remembered


class _Mark(NamedTuple):
    """A special token: where it starts and ends in the text, and its place among the tokens."""

    start: int
    end: int
    place: int


@dataclass(frozen=True, slots=True)
class _KnownPrompt:
    text: str
    tokens: Sequence[int]
    marks: tuple[_Mark, ...] = ()


_NOTHING = _KnownPrompt("", ())


class PrefixCache:
    """A cache of the last prompts of one model. Threads may share it.

    Args:
        tokenize: Tokenizes a text, special tokens written out in it.
        strings: The texts of all special and user-defined tokens.
    """

    def __init__(
        self, tokenize: Callable[[str], list[int]], strings: Callable[[], frozenset[str]]
    ) -> None:
        self._tokenize, self._strings = tokenize, strings
        self._known: tuple[_KnownPrompt, ...] = ()
        self._ids: dict[str, int | None] = {}  # of special tokens, by their texts
        self._divides: bool | None = None  # whether cutting a prompt left its tokens as they were

    def tokenize(self, text: str, spans_from: Callable[[int], Sequence[Span]]) -> list[int]:
        """The tokens of a prompt, special tokens written out in it.

        Args:
            text: The prompt.
            spans_from: The places of its special strings from a place on, ascending, without
                overlaps.
        """
        known, marks = self._longest(text)
        start, place = (marks[-1].start, marks[-1].place) if marks else (0, 0)
        tokens = [*known.tokens[:place], *self._tokenize(text[start:])]
        found = self._marks(text, spans_from(start), tokens, place)
        if marks and not found:  # its special tokens are not where they were
            return self._tokenize(text)
        if self._divides is None and len(found) > 1:
            last = found[-1]  # mostly the head of the reply: next to nothing is tokenized twice
            self._divides = self._tokenize(text[last.start :]) == tokens[last.place :]
        if found and self._divides:
            self._remember(_KnownPrompt(text, tuple(tokens), (*marks[:-1], *found)))
        return tokens

    def _longest(self, text: str) -> tuple[_KnownPrompt, tuple[_Mark, ...]]:
        """The prompt that shares the longest beginning with ``text``, and its marks in that."""
        best, shared = _NOTHING, _NOTHING.marks
        for known in self._known:
            common = _common_prefix(known.text, text)
            marks = known.marks[: bisect_right(known.marks, common, key=lambda mark: mark.end)]
            if marks and (not shared or marks[-1] > shared[-1]):
                best, shared = known, marks
        return best, shared

    def _remember(self, prompt: _KnownPrompt) -> None:
        others = (each for each in self._known if each.text != prompt.text)
        self._known = (prompt, *others)[:MAX_PROMPTS]

    def _marks(
        self, text: str, spans: Sequence[Span], tokens: Sequence[int], place: int
    ) -> tuple[_Mark, ...]:
        """The special tokens at ``spans``; none where they cannot be told from other tokens."""
        ids = [self._id(text[start:end]) for start, end in spans]
        cuts = [(span, each) for span, each in zip(spans, ids, strict=True) if each is not None]
        wanted = frozenset(ids)
        places = [at for at in range(place, len(tokens)) if tokens[at] in wanted]
        if [tokens[at] for at in places] != [each for _, each in cuts]:
            return ()
        pairs = zip(cuts, places, strict=True)
        return tuple(_Mark(start, end, at) for ((start, end), _), at in pairs)

    def _id(self, mark: str) -> int | None:
        """The token of a special string; None where a text cannot be cut at it."""
        if mark not in self._ids:
            self._ids[mark] = self._token(mark)
        return self._ids[mark]

    def _token(self, mark: str) -> int | None:
        strings = self._strings()
        # A longer one that holds it would take its place where the text goes on so.
        if mark not in strings or any(mark in string[1:] for string in strings):
            return None
        tokens = self._tokenize(mark)
        return tokens[0] if len(tokens) == 1 else None


def _common_prefix(left: str, right: str) -> int:
    """How many characters two texts begin with in common."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # that many are common; no more than that many are
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
