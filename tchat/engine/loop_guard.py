"""Notice a reply that repeats itself, while it is generated, and where that began.

Two signs, each with a state that a token changes in constant time:

- The same run of tokens comes again and again: each token equals the one a period before it.
- Nothing new comes: every run of some tokens was there twice before, in whatever order. So do
  texts loop whose rounds are shuffled, or slightly different from one another.

Tables, code, logs and songs repeat themselves too. But something new interrupts each of their
rounds: a number, a name, the next line. What is no prose, such as an empty HTML table or a matrix
of zeros, is given more time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

RUN = 5  # tokens of a run by which a period is found
LEAST = 90  # tokens that must have been repeated, however short the period is
LONG = 110  # repeated tokens from which a third round need not be whole
OVERLAP = 24  # tokens of a third round, at least
KNOWN, KNOWN_ROWS = 6, 12  # tokens of a run that was there before: of prose, of rows and code
STALE = 95  # such runs without a new one
FRESH = 4  # known runs that a new one cancels
SECOND_ROUND = 0.95  # share of runs from the second round on that were there before
PROSE, MARKUP = 0.5, 0.05  # share of tokens with letters
PATIENCE = 1.6  # with which markup is looked at
WORDLESS = 4.0  # and what has no words
LETTER = re.compile(rb"[A-Za-z\x80-\xff]")


class LoopGuard:
    """Looks at the tokens of one text."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._letters = [0]  # tokens with letters before each index
        self._last: dict[tuple[int, ...], int] = {}  # where a run ended last
        self._period = 0
        self._repeated = 0  # tokens that equal the one a period before
        self._prose, self._rows = _Novelty(KNOWN), _Novelty(KNOWN_ROWS)

    def feed(self, token: int, piece: bytes) -> bool:
        """Add a token with its text; returns whether the text loops."""
        tokens = self._tokens
        here = len(tokens)
        tokens.append(token)
        self._letters.append(self._letters[-1] + (LETTER.search(piece) is not None))
        if here < RUN:
            return False
        run = tuple(tokens[-RUN:])
        before = self._last.get(run)
        self._last[run] = here
        if self._period and token == tokens[here - self._period]:
            self._repeated += 1
        else:
            self._period = here - before if before is not None else 0
            self._repeated = RUN
        self._prose.add(tokens)
        self._rows.add(tokens)
        if self._repeated < LEAST and self._prose.stale < STALE and self._rows.stale < STALE:
            return False
        return self._is_periodic(here) or self._is_stale(here)

    def _is_periodic(self, here: int) -> bool:
        period = self._period
        if not period:
            return False
        enough = max(LEAST, min(2 * period, max(LONG, period + OVERLAP)))
        share = self._share_with_letters(here - period, here)
        patience = 1.0 if share >= PROSE else PATIENCE if share >= MARKUP else WORDLESS
        return self._repeated >= enough * patience

    def _is_stale(self, here: int) -> bool:
        prose, rows = self._prose, self._rows
        if prose.stale >= STALE and self._share_with_letters(prose.start, here) >= PROSE:
            return True
        is_markup = self._share_with_letters(rows.start, here) >= MARKUP
        return rows.stale >= STALE * (PATIENCE if is_markup else WORDLESS)

    def _share_with_letters(self, start: int, end: int) -> float:
        return (self._letters[end + 1] - self._letters[start + 1]) / max(1, end - start)

    @property
    def second_round(self) -> int:
        """The index of the token from which on nearly nothing is new, once `feed` found a loop."""
        return second_round(self._tokens)


class _Novelty:
    """Counts the runs of some tokens that were there twice before, less those that were not.

    Attributes:
        stale: How many there are since the last new ones.
        start: The index at which that began.
    """

    def __init__(self, run: int) -> None:
        self.stale = self.start = 0
        self._run = run
        self._times: dict[tuple[int, ...], int] = {}

    def add(self, tokens: Sequence[int]) -> None:
        """Look at the run that ends with the last of ``tokens``."""
        run = tuple(tokens[-self._run :])
        times = self._times.get(run, 0)
        self._times[run] = times + 1
        if times > 1:
            if not self.stale:
                self.start = len(tokens) - 1
            self.stale += 1
        elif self.stale:
            self.stale = max(0, self.stale - (1 if times else FRESH))


def second_round(tokens: Sequence[int]) -> int:
    """Index of the token from which on nearly every run was there before."""
    first: set[tuple[int, ...]] = set()
    old: list[bool] = []
    for start in range(len(tokens) - KNOWN + 1):
        run = tuple(tokens[start : start + KNOWN])
        old.append(run in first)
        first.add(run)
    found, count = len(tokens), 0
    for start in range(len(old) - 1, -1, -1):
        count += old[start]
        if old[start] and count >= SECOND_ROUND * (len(old) - start):
            found = start
    return found


_END = re.compile(r"\n|[.!?…]+[\"'”’)*_]*(?=\s|$)|[。！？]+[”’」』）]*")
REACH = 400  # characters within which a sentence is completed
WORD = re.compile(r"\w{0,24}(?!\w)")


def round_end(text: str, start: int) -> int:
    """Where to cut ``text``, whose second round begins at ``start``: behind a whole sentence.

    At the last end of a sentence or a line where nothing but space follows it, else at the next.
    """
    kept = len(text[:start].rstrip())
    if any(end.end() >= kept for end in _END.finditer(text, max(0, kept - 8), start)):
        return kept
    if (after := _END.search(text, start, start + REACH)) is not None:
        return len(text[: after.end()].rstrip())
    word = WORD.match(text, start)
    return word.end() if word and text[start - 1 : start].isalnum() else kept
