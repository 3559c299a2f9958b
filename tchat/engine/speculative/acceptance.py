"""Whether drafts pay: the times of decodes by size, how often drafted tokens are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

MEASURED_PREFILL = 64  # tokens that must have been prefilled for their speed to count
PREFILL_SHARE = 0.7  # of a single token's time, for each further one, until it is measured
WEIGHT = 0.3  # of a new time in the mean
DECAY = 0.995  # of an old time, with each single token since

WINDOW = 300.0  # drafted tokens that the statistics remember
# By the length of the match: up to, acceptance rate at first, weight of that in tokens.
_PRIOR = ((4, 0.5, 4.0), (8, 0.65, 4.0), (16, 0.8, 4.0), (32, 0.9, 4.0), (1 << 30, 0.95, 4.0))


class DecodeTimes:
    """Mean seconds of decodes, by their number of tokens."""

    def __init__(self) -> None:
        self._single = 0.0
        self._costs: dict[int, tuple[float, int]] = {}  # in single tokens; and when recorded
        self._each = 0.0  # seconds of each token in a prefill
        self._count = 0  # decodes of single tokens

    def record(self, size: int, seconds: float) -> None:
        """Record a decode."""
        if size == 1:
            self._count += 1
            mean = self._single or seconds
            # A pause of the whole process is no time of the decode.
            self._single = mean + WEIGHT * (min(seconds, 3 * mean) - mean)
        elif self._single:
            known = self._cost(size)
            cost = min(seconds / self._single, 2 * known)
            self._costs[size] = known + WEIGHT * (cost - known), self._count

    def record_prefill(self, tokens: int, seconds: float) -> None:
        """Record the prefill of a prompt."""
        if tokens >= MEASURED_PREFILL:
            self._each = seconds / tokens

    def of(self, size: int) -> float:
        """Seconds of a decode of ``size`` tokens, estimated where unmeasured; 0 when unknown."""
        return self._single if size == 1 else self._single * self._cost(size)

    def _cost(self, size: int) -> float:
        """A decode's time in single tokens; old measurements count little."""
        each = min(self._each / self._single, 1.0) if self._each and self._single else PREFILL_SHARE
        estimate = 1 + (size - 1) * each
        if size not in self._costs:
            return estimate
        cost, recorded = self._costs[size]
        return estimate + (cost - estimate) * DECAY ** (self._count - recorded)


class AcceptanceStats:
    """How often drafted tokens are accepted, by the length of the match that they come from."""

    def __init__(self) -> None:
        self._accepted = [rate * weight for _, rate, weight in _PRIOR]
        self._drafted = [weight for _, _, weight in _PRIOR]

    def record(self, match: int, *, accepted: bool) -> None:
        """Record whether the token drafted from a match of ``match`` tokens was accepted."""
        place = _bucket(match)
        if self._drafted[place] > WINDOW:
            self._drafted[place] /= 2
            self._accepted[place] /= 2
        self._drafted[place] += 1
        self._accepted[place] += accepted

    def rate(self, match: int) -> float:
        """Probability that a token drafted from a match of ``match`` tokens is accepted."""
        place = _bucket(match)
        return self._accepted[place] / self._drafted[place]

    def expected(self, match: int, count: int) -> float:
        """How many of ``count`` drafted tokens are accepted before the first rejection."""
        total, chance = 0.0, 1.0
        for offset in range(count):
            chance *= self.rate(match + offset)
            total += chance
        return total


def _bucket(match: int) -> int:
    return next(place for place, (end, _, _) in enumerate(_PRIOR) if match <= end)


class Drafter(Protocol):
    """Drafts tokens for one reply."""

    @property
    def has_draft(self) -> bool:
        """Whether there may be a draft now; `gain` says what it is worth."""

    def append(self, token: int) -> None:
        """Add a token of the reply."""

    def gain(self, size: int, times: DecodeTimes) -> float:
        """Expected speed-up of a decode of ``size`` tokens; 0 without a draft."""

    def draft(self, count: int) -> Sequence[int]:
        """Up to ``count`` tokens that may come next."""

    def record(self, drafted: int, accepted: int) -> None:
        """Record how many drafted tokens were accepted before the first rejection."""
