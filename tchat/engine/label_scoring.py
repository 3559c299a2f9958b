"""Score labels: the exact probability of each of some fixed replies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tchat.engine.context import Context
from tchat.engine.kv_cache import KVCache
from tchat.engine.model import Model

if TYPE_CHECKING:
    import numpy

    Row = numpy.ndarray[Any, numpy.dtype[numpy.float64]]


class LabelScorer:
    """Scores labels as the reply to a prompt, output row by output row.

    A label's score is the product of its tokens' probabilities under the unmodified distribution
    (no temperature, no truncation); the scores are normalized to sum to 1. Where one label is a
    prefix of another, each is scored with the end of the reply after it, since the shorter could
    never lose otherwise.

    Args:
        model: Tokenizes the labels.
        labels: At least one; no duplicates.
    """

    def __init__(self, model: Model, labels: Sequence[str]) -> None:
        self._model, self._labels = model, labels
        self._tokens = [tuple(model.tokenize(label, special=False)) for label in labels]
        ordered = sorted(self._tokens)
        self._ended = any(a != b and b[: len(a)] == a for a, b in pairwise(ordered))
        self._scores = [0.0] * len(labels)
        # Labels share prefixes: a row serves all labels that continue the prefix before it.
        self._by_prefix: dict[tuple[int, ...], list[int]] = {}
        for place, tokens in enumerate(self._tokens):
            for count in range(len(tokens) + self._ended or 1):
                self._by_prefix.setdefault(tokens[:count], []).append(place)
        starts = sorted(self._by_prefix)
        ends = (
            start
            for start, following in zip(starts, [*starts[1:], ()], strict=True)
            if following[: len(start)] != start
        )
        self._runs = deque(start for start in ends if start)
        self._taken = -1  # rows of this run so far; at first, the row after the prompt is due

    @property
    def longest(self) -> int:
        """Tokens of the longest label."""
        return max(map(len, self._tokens))

    @property
    def done(self) -> bool:
        """Whether every label is scored."""
        return self._taken >= 0 and not self._runs

    @property
    def next_tokens(self) -> tuple[int, ...]:
        """The tokens to decode next, behind the prompt; `add_row` the row after each."""
        return self._runs[0] if self._runs else ()

    @property
    def is_known(self) -> bool:
        """Whether the row after the next token of `next_tokens` was taken before."""
        return self.next_tokens[: self._taken + 1] not in self._by_prefix

    def add_row(self, row: Row | None) -> None:
        """Take the row after the prompt, and then those after each token of `next_tokens`.

        Args:
            row: As of `log_probabilities`; None for one that `is_known`.
        """
        self._taken += 1
        start = self.next_tokens[: self._taken]
        for place in self._by_prefix.pop(start, ()):
            if row is not None:
                tokens = self._tokens[place]
                ends = len(start) == len(tokens)
                self._scores[place] += (
                    _end(self._model, row) if ends else float(row[tokens[len(start)]])
                )
        if self._runs and self._taken == len(self.next_tokens):
            self._runs.popleft()
            self._taken = 0

    @property
    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """Each label with its probability, the likeliest first; only when `done`."""
        import numpy

        weights = numpy.exp(numpy.array(self._scores) - max(self._scores))
        shares = weights / weights.sum()
        ranked = sorted(zip(self._labels, shares.tolist(), strict=True), key=lambda pair: -pair[1])
        return tuple(ranked)


def score_labels(
    model: Model, context: Context, kv: KVCache, labels: Sequence[str]
) -> tuple[tuple[str, float], ...] | None:
    """Each label with its probability as the reply to the prompt in the cache, likeliest first.

    Args:
        model: Tokenizes the labels.
        context: Has just decoded the prompt, with the logits of its last token.
        kv: Holds the prompt; afterwards a part of a label too.
        labels: As of `LabelScorer`.

    Returns:
        None when the cancel flag was set meanwhile.
    """
    prompt, scorer = list(kv.tokens), LabelScorer(model, labels)
    scorer.add_row(log_probabilities(context))
    while not scorer.done:
        tokens = scorer.next_tokens
        for count in range(1, len(tokens) + 1):
            if scorer.is_known:
                scorer.add_row(None)
                continue
            whole = [*prompt, *tokens[:count]]
            if not all(kv.prefill(whole[kv.reuse(whole) :])):
                return None
            scorer.add_row(log_probabilities(context))
    return scorer.probabilities


def log_probabilities(context: Context, index: int = -1) -> Row:
    """The ``index``-th output row as natural log-probabilities, shape (n_vocab,)."""
    import numpy

    row = context.logits_array(index).astype(numpy.float64)
    row -= row.max()
    result: Row = row - numpy.log(numpy.exp(row).sum())
    return result


def _end(model: Model, row: Row) -> float:
    """Log-probability that the reply ends here."""
    import numpy

    return float(numpy.logaddexp.reduce(row[list(model.end_tokens)]))


def log_probability(context: Context, row: int, token: int) -> float:
    """Log-probability (natural) of a token by the ``row``-th output row of the last decode."""
    import numpy

    logits = context.logits_array(row)
    shifted = logits - logits.max()
    own = shifted[token]
    return float(own - numpy.log(numpy.exp(shifted, out=shifted).sum()))
