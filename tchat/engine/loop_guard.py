"""Detect that a reply repeats itself while it is generated, and where the repetition began.

Two signs; a token updates the state of each in constant time:

- Periodic: the same n-grams come in the same order, each token equal to the one a period before.
- Stale: no new n-gram comes, in whatever order. Loops whose rounds are shuffled, or differ slightly
  from one another, look so.

Tables, code, logs and songs repeat themselves too, but something new interrupts each round: a
number, a name, the next line. Text with few letters, such as an empty HTML table or a matrix of
zeros, may repeat itself longer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NGRAM = 5  # tokens by which a period is found
MIN_REPEATED = 90  # tokens that must have been repeated, however short the period is
LONG = 110  # repeated tokens from which a third round need not be complete
OVERLAP = 24  # tokens of a third round, at least
PROSE_NGRAM, MARKUP_NGRAM = 6, 12  # tokens of an n-gram whose novelty is counted
MAX_STALE = 95  # known n-grams without a new one
FRESH = 4  # known n-grams that a new one cancels
SECOND_ROUND = 0.95  # share of known n-grams from the second round on
PROSE, MARKUP = 0.5, 0.05  # least share of tokens with letters
MARKUP_PATIENCE = 1.6  # times as much repetition as in prose is allowed in markup
WORDLESS_PATIENCE = 4.0  # and in what has no words
WORDS = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+"
)  # a word, or a character of CJK
# A count of ten and more, or a word for repeating
ASKED = re.compile(
    r"\b\d{2,}\b|\b(?:times|repeat\w*|hundred|thousand|refrain|mal|wiederhol\w*|fois|veces)\b"
    r"|重复|[次遍回]",
    re.IGNORECASE,
)
LETTER = re.compile(rb"[A-Za-z\x80-\xff]")


class LoopGuard:
    """Detects a loop in the tokens of one text."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._pieces: list[bytes] = []
        self._letters = [0]  # tokens with letters before each index
        self._last: dict[tuple[int, ...], int] = {}  # where an n-gram ended last
        self._period = 0
        self._repeated = 0  # tokens that equal the one a period before
        self._prose, self._markup = _Novelty(PROSE_NGRAM), _Novelty(MARKUP_NGRAM)

    def feed(self, token: int, piece: bytes) -> bool:
        """Add a token with its text; returns whether the text loops."""
        tokens = self._tokens
        here = len(tokens)
        tokens.append(token)
        self._pieces.append(piece)
        self._letters.append(self._letters[-1] + (LETTER.search(piece) is not None))
        if here < NGRAM:
            return False
        ngram = tuple(tokens[-NGRAM:])
        before = self._last.get(ngram)
        self._last[ngram] = here
        if self._period and token == tokens[here - self._period]:
            self._repeated += 1
        else:
            self._period = here - before if before is not None else 0
            self._repeated = NGRAM
        self._prose.add(tokens)
        self._markup.add(tokens)
        stale = max(self._prose.stale, self._markup.stale)
        if self._repeated < MIN_REPEATED and stale < MAX_STALE:
            return False
        return self._is_periodic(here) or self._is_stale(here)

    def _is_periodic(self, here: int) -> bool:
        period = self._period
        if not period:
            return False
        enough = max(MIN_REPEATED, min(2 * period, max(LONG, period + OVERLAP)))
        share = self._share_with_letters(here - period, here)
        patience = MARKUP_PATIENCE if share >= MARKUP else WORDLESS_PATIENCE
        return self._repeated >= enough * (1.0 if share >= PROSE else patience)

    def _is_stale(self, here: int) -> bool:
        prose, markup = self._prose, self._markup
        if prose.stale >= MAX_STALE and self._share_with_letters(prose.start, here) >= PROSE:
            return True
        is_markup = self._share_with_letters(markup.start, here) >= MARKUP
        return markup.stale >= MAX_STALE * (MARKUP_PATIENCE if is_markup else WORDLESS_PATIENCE)

    def _share_with_letters(self, start: int, end: int) -> float:
        return (self._letters[end + 1] - self._letters[start + 1]) / max(1, end - start)

    def repeats_what_is_asked(self, prompt: str) -> bool:
        """Whether ``prompt`` asks to repeat, and has every word that is repeated."""
        if not self._period or not ASKED.search(prompt):
            return False
        again = b"".join(self._pieces[-self._period :]).decode("utf-8", "replace")
        return set(WORDS.findall(again.casefold())) <= set(WORDS.findall(prompt.casefold()))

    @property
    def second_round(self) -> int:
        """The index of the token from which on nearly nothing is new, once `feed` found a loop."""
        return second_round(self._tokens)


class _Novelty:
    """Counts the n-grams that were there twice before, less those that were not.

    Attributes:
        stale: The count, never below 0.
        start: The index of the token at which it last rose from 0.
    """

    def __init__(self, size: int) -> None:
        self.stale = self.start = 0
        self._size = size
        self._times: dict[tuple[int, ...], int] = {}

    def add(self, tokens: Sequence[int]) -> None:
        """Count the n-gram that ends with the last of ``tokens``."""
        ngram = tuple(tokens[-self._size :])
        times = self._times.get(ngram, 0)
        self._times[ngram] = times + 1
        if times > 1:
            if not self.stale:
                self.start = len(tokens) - 1
            self.stale += 1
        elif self.stale:
            self.stale = max(0, self.stale - (1 if times else FRESH))


def second_round(tokens: Sequence[int]) -> int:
    """Index of the token from which on nearly every n-gram was there before."""
    first: set[tuple[int, ...]] = set()
    old: list[bool] = []
    for start in range(len(tokens) - PROSE_NGRAM + 1):
        ngram = tuple(tokens[start : start + PROSE_NGRAM])
        old.append(ngram in first)
        first.add(ngram)
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
    """Where to cut ``text``, whose second round begins at ``start``.

    At ``start`` if a sentence or a line ends there, else at the end of that sentence, else at the
    end of the word.
    """
    kept = len(text[:start].rstrip())
    if any(end.end() >= kept for end in _END.finditer(text, max(0, kept - 8), start)):
        return kept
    if (after := _END.search(text, start, start + REACH)) is not None:
        return len(text[: after.end()].rstrip())
    word = WORD.match(text, start)
    return word.end() if word and text[start - 1 : start].isalnum() else kept
