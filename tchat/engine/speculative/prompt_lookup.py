"""Prompt lookup: draft tokens from where the same tokens stood before.

A reply that rewrites, quotes or extracts repeats long parts of its prompt. Every token written
shows whether a draft would have been accepted, used or not, so the statistics always learn.
"""

from __future__ import annotations

from collections.abc import Sequence

from tchat.engine.speculative.acceptance import AcceptanceStats, DecodeTimes

NGRAM = 3  # tokens that must be the same before a match begins
LONGEST = 64  # tokens of a match that are counted when it begins


class PromptLookup:
    """The tokens of a prompt and its reply, and where their end stood before.

    Args:
        tokens: The prompt.
        stats: Learn from every token.

    Attributes:
        match: Tokens at the end that also stand before the place found; 0 when there is none.
    """

    def __init__(self, tokens: Sequence[int], stats: AcceptanceStats) -> None:
        self._tokens, self._stats = list(tokens), stats
        # What position follows each n-gram.
        ngrams = zip(tokens, tokens[1:], tokens[2:], strict=False)
        places = zip(ngrams, range(NGRAM, len(tokens)), strict=False)
        self._after: dict[tuple[int, ...], int] = dict(places)
        self._place = 0
        self.match = 0

    def append(self, token: int) -> None:
        """Add one token."""
        tokens = self._tokens
        if self.match:
            accepted = tokens[self._place] == token
            self._stats.record(self.match, accepted=accepted)
            self._place, self.match = (self._place + 1, self.match + 1) if accepted else (0, 0)
        tokens.append(token)
        ngram = tuple(tokens[-NGRAM:])
        if not self.match:
            self._place = self._after.get(ngram, 0)
            self.match = self._match_length(self._place) if self._place else 0
        self._after[ngram] = len(tokens)

    def draft(self, count: int) -> list[int]:
        """The next ``count`` tokens, if the match continues."""
        drafted: list[int] = []
        for place in range(self._place, self._place + count if self.match else 0):
            behind = place - len(self._tokens)  # where the match has caught up with the end
            drafted.append(drafted[behind] if behind >= 0 else self._tokens[place])
        return drafted

    def _match_length(self, place: int) -> int:
        """How many tokens before ``place`` are those at the end."""
        tokens, count = self._tokens, 0
        end = len(tokens)
        while count < min(LONGEST, place) and tokens[place - 1 - count] == tokens[end - 1 - count]:
            count += 1
        return count


class PromptLookupDrafter:
    """A `Drafter` by `PromptLookup`.

    Args:
        tokens: The prompt.
        stats: Of all replies of the model.
    """

    def __init__(self, tokens: Sequence[int], stats: AcceptanceStats) -> None:
        self._lookup, self._stats = PromptLookup(tokens, stats), stats
        self.append, self.draft = self._lookup.append, self._lookup.draft

    @property
    def has_draft(self) -> bool:
        """As of `Drafter`."""
        return self._lookup.match > 0

    def gain(self, size: int, times: DecodeTimes) -> float:
        """As of `Drafter`."""
        if not self.has_draft:
            return 0.0
        expected = 1 + self._stats.expected(self._lookup.match, size - 1)
        return expected * times.of(1) / times.of(size)

    def record(self, drafted: int, accepted: int) -> None:
        """Nothing: the statistics learn from the tokens themselves."""
