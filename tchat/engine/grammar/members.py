"""The members of an object: pairs with commas between, which may be missing or in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tchat.engine.grammar.json_rules import WS
from tchat.engine.grammar.rules import (
    EMPTY,
    Expression,
    Ref,
    Rules,
    Text,
    chain,
    choice,
)

# As many properties may stand in any order: their rules double with each.
MOST_IN_ANY_ORDER = 7
_MOST_STATES = 4000


class _MemberState(NamedTuple):
    """A place among the members: what kind of rule, which pairs are left, how many were written."""

    kind: str  # first: after {; enter: a pair must follow; take: of the named; rest: a comma or }
    left: int  # in order, the next pair; in any order, the bits of those not yet written
    written: int


@dataclass(slots=True)
class Members:
    """Writes the rules of one object's members.

    Args:
        rules: Gets the rules.
        name: What the rules are called.
        pairs: Rules of the named pairs without the opening quote, and whether each is required.
        extras: Rules of other pairs.
        least: Fewest pairs.
        most: Most pairs; None is without end.
    """

    rules: Rules
    name: str
    pairs: Sequence[tuple[Expression, bool]]
    extras: Sequence[Expression]
    least: int = 0
    most: int | None = None
    counted: bool = field(init=False)  # whether least and most are held
    _any_order: bool = field(init=False)
    _known: dict[_MemberState, str] = field(init=False, default_factory=dict)
    _waiting: list[_MemberState] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        required = sum(needed for _, needed in self.pairs)
        below = self.most is not None and (bool(self.extras) or self.most < len(self.pairs))
        asked = self.least > required or below
        top = max(self.least, self.most or 0) + 1
        self.counted = asked and len(self.pairs) * top <= _MOST_STATES and top <= _MOST_STATES
        self.counted = self.counted or not asked
        sets = 1 << len(self.pairs)
        self._any_order = 1 < len(self.pairs) <= MOST_IN_ANY_ORDER and sets <= self.rules.sets
        if self._any_order:
            self.rules.sets -= sets
        if not asked or not self.counted:
            self.least, self.most = 0, None

    def expression(self) -> Expression:
        """What stands between the braces."""
        everything = (1 << len(self.pairs)) - 1 if self._any_order else 0
        start = self._rule(_MemberState("first", everything, 0))
        while self._waiting:
            state = self._waiting.pop()
            self.rules.bodies[self._known[state]] = self._body(state)
        return start

    def _rule(self, state: _MemberState) -> Expression:
        if state not in self._known:
            self._known[state] = self.rules.reserve(f"{self.name}-{state.kind}")
            self._waiting.append(state)
        return Ref(self._known[state])

    def _body(self, state: _MemberState) -> Expression:
        kind, left, written = state
        if kind == "take":
            return choice(self._taken(left, written))
        if kind == "enter":
            return self._entered(left, written)
        ends = [EMPTY] if self._may_end(left, written) else []
        if self._is_full(written) or not (self.extras or self._left(left)):
            return choice(ends)
        # Extras make what follows long, and two rules go on with it.
        enter = state._replace(kind="enter")
        pair = self._rule(enter) if self.extras else self._entered(left, written)
        return choice([*ends, chain(Text(","), WS, pair) if kind == "rest" else pair])

    def _entered(self, left: int, written: int) -> Expression:
        """A pair, from its opening quote on, and what follows it."""
        following = (
            self._rule(_MemberState("rest", left, self._after(written))) if self.extras else EMPTY
        )
        branches = [chain(extra, following) for extra in self.extras]
        if self._left(left):
            taken = self._taken(left, written) if self._any_order else []
            branches += taken or [self._rule(_MemberState("take", left, written))]
        return chain(Text('"'), choice(branches))

    def _taken(self, left: int, count: int) -> list[Expression]:
        """The next named pair and what follows it, or in order a later one."""
        after = self._after(count)
        if self._any_order:
            return [
                chain(pair, self._rule(_MemberState("rest", left & ~(1 << number), after)))
                for number, (pair, _) in enumerate(self.pairs)
                if left & (1 << number)
            ]
        pair, required = self.pairs[left]
        taken = chain(pair, self._rule(_MemberState("rest", left + 1, after)))
        if required or left + 1 == len(self.pairs):
            return [taken]
        return [taken, self._rule(_MemberState("take", left + 1, count))]

    def _left(self, left: int) -> bool:
        """Whether named pairs are left."""
        return left != 0 if self._any_order else left < len(self.pairs)

    def _may_end(self, left: int, count: int) -> bool:
        if self._any_order:
            missing = any(
                needed and left & (1 << number) for number, (_, needed) in enumerate(self.pairs)
            )
        else:
            missing = any(needed for _, needed in self.pairs[left:])
        return not missing and count >= self.least

    def _is_full(self, count: int) -> bool:
        return self.most is not None and count >= self.most

    def _after(self, count: int) -> int:
        if self.most is not None:
            return count + 1
        return min(count + 1, self.least)
