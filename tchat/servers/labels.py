"""Probabilities of labels from the alternatives for the first token of a reply."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tchat.errors import UsageError
from tchat.translation import tr

ALTERNATIVES = 20  # the most that the API gives
LEAST_SHARE = 0.01  # of the probability, below which a token that begins two labels is ignored


def label_scores(
    tokens: Sequence[tuple[str, float]], labels: Sequence[str], name: str
) -> tuple[tuple[str, float], ...]:
    """Pairs of label and probability, the likeliest first; they sum to 1.

    Args:
        tokens: Alternatives for the first token, with their log-probabilities.
        labels: What may be chosen.
        name: The server, for messages.

    Raises:
        UsageError: There are no alternatives, none begins a label, or one begins several.
    """
    hint = tr("choose with a model in this process: -m MODEL")
    if not tokens:
        raise UsageError(
            tr("{name} gives no log-probabilities, which a choice needs", name=name), hint
        )
    sums = dict.fromkeys(labels, 0.0)
    for token, logprob in dict(tokens).items():
        text = token.strip()
        begun = [label for label in labels if text and label.startswith(text)]
        probability = math.exp(min(logprob, 0.0))
        if text in labels:
            begun = [text]
        if len(begun) > 1 and probability > LEAST_SHARE:
            raise UsageError(
                tr(
                    "{name} cannot tell {first} from {second}, which begin alike",
                    name=name,
                    first=begun[0],
                    second=begun[1],
                ),
                hint,
            )
        if len(begun) == 1:
            sums[begun[0]] += probability
    total = sum(sums.values())
    if not total:
        raise UsageError(tr("{name} would answer with none of the labels", name=name), hint)
    pairs = ((label, value / total) for label, value in sums.items())
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))
