"""Choosing among fixed replies by their exact probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tchat.engine.context import Context
from tchat.engine.kv import KVCache
from tchat.engine.model import Model

if TYPE_CHECKING:
    import numpy

    Row = numpy.ndarray[Any, numpy.dtype[numpy.float64]]


class Choice:
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
        self._ended = any(a != b and b[: len(a)] == a for a in self._spelled for b in self._spelled)
        self._scores = [0.0] * len(labels)
        self._at = -1  # the label that is weighed; before the first, the prompt's output is due
        self._taken = 0  # outputs after tokens of this label

    @property
    def longest(self) -> int:
        """Tokens of the longest label."""
        return max(map(len, self._spelled))

    @property
    def done(self) -> bool:
        """Whether every label is weighed."""
        return self._at == len(self._labels)

    @property
    def wanted(self) -> tuple[int, ...]:
        """The tokens to decode next, behind the prompt; the outputs after each are wanted."""
        return self._decoded(self._at)

    def take(self, row: Row) -> None:
        """Take the output after the prompt, and then those after each token of `wanted`.

        Args:
            row: Natural logarithms of probabilities, as of `log_probabilities`.
        """
        if self._at < 0:
            for place, tokens in enumerate(self._spelled):
                self._scores[place] = float(row[tokens[0]]) if tokens else _end(self._model, row)
            self._go_on()
            return
        self._taken += 1
        tokens = self._spelled[self._at]
        if self._taken < len(tokens):
            self._scores[self._at] += float(row[tokens[self._taken]])
        if self._taken == len(self.wanted):
            self._scores[self._at] += _end(self._model, row) if self._ended else 0.0
            self._go_on()

    @property
    def probabilities(self) -> tuple[tuple[str, float], ...]:
        """Probability of each label, the likeliest first; only when it is `done`."""
        import numpy

        weights = numpy.exp(numpy.array(self._scores) - max(self._scores))
        shares = weights / weights.sum()
        ranked = sorted(zip(self._labels, shares.tolist(), strict=True), key=lambda pair: -pair[1])
        return tuple(ranked)

    def _go_on(self) -> None:
        """Go to the next label that the outputs so far do not weigh."""
        self._at, self._taken = self._at + 1, 0
        while not self.done and not self._decoded(self._at):
            self._at += 1

    def _decoded(self, place: int) -> tuple[int, ...]:
        tokens = self._spelled[place]
        return tokens if self._ended else tokens[:-1]


def choose(
    model: Model, context: Context, kv: KVCache, labels: Sequence[str]
) -> tuple[tuple[str, float], ...] | None:
    """Probability of each label as the reply to the prompt in the cache, the likeliest first.

    Args:
        model: Tokenizes the labels.
        context: Has just decoded the prompt, with the logits of its last token.
        kv: Holds the prompt; afterwards a part of a label too.
        labels: As of `Choice`.

    Returns:
        None when the cancel flag was set meanwhile.
    """
    prompt, choice = list(kv.tokens), Choice(model, labels)
    choice.take(log_probabilities(model, context, -1))
    while not choice.done:
        tokens = choice.wanted
        for count in range(1, len(tokens) + 1):
            whole = [*prompt, *tokens[:count]]
            if not all(kv.read(whole[kv.reuse(whole) :])):
                return None
            choice.take(log_probabilities(model, context, -1))
    return choice.probabilities


def log_probabilities(model: Model, context: Context, index: int) -> Row:
    """The ``index``-th output row as natural logarithms of probabilities, shape (vocabulary,)."""
    import numpy

    logits = numpy.ctypeslib.as_array(context.logits(index), shape=(model.facts.vocabulary,))
    row = logits.astype(numpy.float64)
    row -= row.max()
    result: Row = row - numpy.log(numpy.exp(row).sum())
    return result


def _end(model: Model, row: Row) -> float:
    """Log-probability that the reply ends here."""
    import numpy

    return float(numpy.logaddexp.reduce(row[list(model.end_tokens)]))
