"""Prompt lookup: guessing what comes next from where the same tokens stood before.

A reply that rewrites, quotes or extracts repeats long runs of its prompt. Whether a guess would
have been right costs nothing to find out: every token that is written tells, whether or not it was
guessed in earnest. So the odds are learnt all the time, by how long the run is already.
"""

from __future__ import annotations

from collections.abc import Sequence

GRAM = 3  # tokens that must be the same before a run begins
LONGEST = 64  # tokens of a run that are counted when it begins
WINDOW = 300.0  # guesses that the odds remember

# By the length of the run: up to, share of right guesses to begin with, weight of that in guesses.
_PRIOR = ((4, 0.5, 4.0), (8, 0.65, 4.0), (16, 0.8, 4.0), (32, 0.9, 4.0), (1 << 30, 0.95, 4.0))


class AcceptanceStats:
    """How often guesses were right, by the length of the run they came from."""

    def __init__(self) -> None:
        self._right = [share * weight for _, share, weight in _PRIOR]
        self._tried = [weight for _, _, weight in _PRIOR]

    def note(self, run: int, *, right: bool) -> None:
        """Note that the guess after a run of ``run`` tokens was right or not."""
        place = _place(run)
        if self._tried[place] > WINDOW:
            self._tried[place] /= 2
            self._right[place] /= 2
        self._tried[place] += 1
        self._right[place] += right

    def of(self, run: int) -> float:
        """Probability that the guess after a run of ``run`` tokens is right."""
        place = _place(run)
        return self._right[place] / self._tried[place]

    def expected(self, run: int, count: int) -> float:
        """How many of ``count`` guesses in a row are right before the first wrong one."""
        total, chance = 0.0, 1.0
        for offset in range(count):
            chance *= self.of(run + offset)
            total += chance
        return total


class PromptLookup:
    """The tokens of a prompt and its reply, and where its end stood in them before.

    Args:
        tokens: The prompt.
        odds: Learn from every token.

    Attributes:
        run: Tokens at the end that are the same as those before the place; 0 when there is none.
    """

    def __init__(self, tokens: Sequence[int], odds: AcceptanceStats) -> None:
        self._tokens, self._odds = list(tokens), odds
        # Where the last of each run of three was followed by something.
        grams = zip(tokens, tokens[1:], tokens[2:], strict=False)
        places = zip(grams, range(GRAM, len(tokens)), strict=False)
        self._after: dict[tuple[int, ...], int] = dict(places)
        self._place = 0
        self.run = 0

    def append(self, token: int) -> None:
        """Go on by one token."""
        tokens = self._tokens
        if self.run:
            right = tokens[self._place] == token
            self._odds.note(self.run, right=right)
            self._place, self.run = (self._place + 1, self.run + 1) if right else (0, 0)
        tokens.append(token)
        gram = tuple(tokens[-GRAM:])
        if not self.run:
            self._place = self._after.get(gram, 0)
            self.run = self._same(self._place) if self._place else 0
        self._after[gram] = len(tokens)

    def guess(self, count: int) -> list[int]:
        """The next ``count`` tokens, if the run goes on."""
        guessed: list[int] = []
        for place in range(self._place, self._place + count if self.run else 0):
            behind = place - len(self._tokens)  # where the run has caught up with the end
            guessed.append(guessed[behind] if behind >= 0 else self._tokens[place])
        return guessed

    def _same(self, place: int) -> int:
        """How many tokens before ``place`` are those at the end."""
        tokens, count = self._tokens, 0
        end = len(tokens)
        while count < min(LONGEST, place) and tokens[place - 1 - count] == tokens[end - 1 - count]:
            count += 1
        return count


def _place(run: int) -> int:
    return next(place for place, (end, _, _) in enumerate(_PRIOR) if run <= end)
