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


def choose(
    model: Model, context: Context, kv: KVCache, labels: Sequence[str]
) -> tuple[tuple[str, float], ...] | None:
    """Probability of each label as the reply to the prompt in the cache, the likeliest first.

    A label's weight is the product of its tokens' probabilities under the unmodified distribution
    (no temperature, no truncation); the weights are scaled to sum to 1. Where one label is the
    beginning of another, each is weighed with the end of the reply after it, since otherwise the
    shorter could never lose.

    Args:
        model: Tokenizes the labels.
        context: Has just decoded the prompt, with the logits of its last token.
        kv: Holds the prompt; afterwards a part of a label too.
        labels: At least one; no duplicates.

    Returns:
        None when the cancel flag was set meanwhile.
    """
    prompt = list(kv.tokens)
    first = _log_probabilities(model, context, -1)
    spelled = [tuple(model.tokenize(label, special=False)) for label in labels]
    ended = any(a != b and b[: len(a)] == a for a in spelled for b in spelled)
    scores = []
    for tokens in spelled:
        rows = _rows(model, context, kv, prompt, tokens if ended else tokens[:-1])
        if rows is None:
            return None
        rows = [first, *rows]
        score = sum(float(row[token]) for row, token in zip(rows, tokens, strict=False))
        scores.append(score + (_end(model, rows[-1]) if ended else 0.0))
    return _normalized(labels, scores)


def _rows(
    model: Model, context: Context, kv: KVCache, prompt: Sequence[int], tokens: Sequence[int]
) -> list[Row] | None:
    """Log-probabilities after each of ``tokens`` behind the prompt."""
    rows: list[Row] = []
    whole = [*prompt, *tokens]
    for token in tokens:
        held = kv.reuse([*whole[: len(prompt) + len(rows)], token])
        behind = [*prompt, *tokens[: len(rows) + 1]][held:]
        if not all(kv.read(behind)):
            return None
        rows.append(_log_probabilities(model, context, -1))
    return rows


def _log_probabilities(model: Model, context: Context, index: int) -> Row:
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


def _normalized(labels: Sequence[str], scores: Sequence[float]) -> tuple[tuple[str, float], ...]:
    import numpy

    weights = numpy.exp(numpy.array(scores) - max(scores))
    shares = weights / weights.sum()
    ranked = sorted(zip(labels, shares.tolist(), strict=True), key=lambda pair: -pair[1])
    return tuple(ranked)
