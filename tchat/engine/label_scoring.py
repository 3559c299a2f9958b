"""Choosing among fixed replies by their exact probabilities."""

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
    """The weighing of labels as the reply to a prompt, output by output.

    A label's weight is the product of its tokens' probabilities under the unmodified distribution
    (no temperature, no truncation); the weights are scaled to sum to 1. Where one label is the
    beginning of another, each is weighed with the end of the reply after it, since otherwise the
    shorter could never lose.

    Args:
        model: Tokenizes the labels.
        labels: At least one; no duplicates.
    """

    def __init__(self, model: Model, labels: Sequence[str]) -> None:
        self._model, self._labels = model, labels
        self._spelled = [tuple(model.tokenize(label, special=False)) for label in labels]
        ordered = sorted(self._spelled)
        self._ended = any(a != b and b[: len(a)] == a for a, b in pairwise(ordered))
        self._scores = [0.0] * len(labels)
        # The labels share beginnings: an output is taken once for all that go on from it.
        self._behind: dict[tuple[int, ...], list[int]] = {}
        for place, tokens in enumerate(self._spelled):
            for count in range(len(tokens) + self._ended or 1):
                self._behind.setdefault(tokens[:count], []).append(place)
        starts = sorted(self._behind)
        ends = (
            start
            for start, following in zip(starts, [*starts[1:], ()], strict=True)
            if following[: len(start)] != start
        )
        self._runs = deque(start for start in ends if start)
        self._taken = -1  # outputs after tokens of this run; before the first, the prompt's is due

    @property
    def longest(self) -> int:
        """Tokens of the longest label."""
        return max(map(len, self._spelled))

    @property
    def done(self) -> bool:
        """Whether every label is weighed."""
        return self._taken >= 0 and not self._runs

    @property
    def wanted(self) -> tuple[int, ...]:
        """The tokens to decode next, behind the prompt; the outputs after each are wanted."""
        return self._runs[0] if self._runs else ()

    @property
    def is_known(self) -> bool:
        """Whether the output after the next token of `wanted` was taken before."""
        return self.wanted[: self._taken + 1] not in self._behind

    def take(self, row: Row | None) -> None:
        """Take the output after the prompt, and then those after each token of `wanted`.

        Args:
            row: Natural logarithms of probabilities, as of `log_probabilities`; None for one
                that `is_known`.
        """
        self._taken += 1
        start = self.wanted[: self._taken]
        for place in self._behind.pop(start, ()):
            if row is not None:
                tokens = self._spelled[place]
                ends = len(start) == len(tokens)
                self._scores[place] += (
                    _end(self._model, row) if ends else float(row[tokens[len(start)]])
                )
        if self._runs and self._taken == len(self.wanted):
            self._runs.popleft()
            self._taken = 0

    @property
    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """Probability of each label, the likeliest first; only when it is `done`."""
        import numpy

        weights = numpy.exp(numpy.array(self._scores) - max(self._scores))
        shares = weights / weights.sum()
        ranked = sorted(zip(self._labels, shares.tolist(), strict=True), key=lambda pair: -pair[1])
        return tuple(ranked)


def score_labels(
    model: Model, context: Context, kv: KVCache, labels: Sequence[str]
) -> tuple[tuple[str, float], ...] | None:
    """Probability of each label as the reply to the prompt in the cache, the likeliest first.

    Args:
        model: Tokenizes the labels.
        context: Has just decoded the prompt, with the logits of its last token.
        kv: Holds the prompt; afterwards a part of a label too.
        labels: As of `LabelScorer`.

    Returns:
        None when the cancel flag was set meanwhile.
    """
    prompt, choice = list(kv.tokens), LabelScorer(model, labels)
    choice.take(log_probabilities(model, context, -1))
    while not choice.done:
        tokens = choice.wanted
        for count in range(1, len(tokens) + 1):
            if choice.is_known:
                choice.take(None)
                continue
            whole = [*prompt, *tokens[:count]]
            if not all(kv.read(whole[kv.reuse(whole) :])):
                return None
            choice.take(log_probabilities(model, context, -1))
    return choice.probabilities


def log_probabilities(model: Model, context: Context, index: int) -> Row:
    """The ``index``-th output row as natural logarithms of probabilities, shape (vocabulary,)."""
    import numpy

    logits = numpy.ctypeslib.as_array(context.logits(index), shape=(model.shape.n_vocab,))
    row = logits.astype(numpy.float64)
    row -= row.max()
    result: Row = row - numpy.log(numpy.exp(row).sum())
    return result


def _end(model: Model, row: Row) -> float:
    """Log-probability that the reply ends here."""
    import numpy

    return float(numpy.logaddexp.reduce(row[list(model.end_tokens)]))
