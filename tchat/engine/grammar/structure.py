"""Patterns as rules by their own structure, for those whose automaton would be too large.

Groups become rules of their own, since llama.cpp's parser refuses nested repetitions whose product
is large.
"""

from __future__ import annotations

from collections.abc import Callable

from tchat.engine.grammar import regex
from tchat.engine.grammar.charset import ANY, CharSet
from tchat.engine.grammar.regex import Pattern, PatternUnsupported
from tchat.engine.grammar.rules import (
    EMPTY,
    Alternatives,
    Chain,
    Expression,
    Ref,
    Repeat,
    Rules,
    chain,
    choice,
    is_nullable,
    repeated,
)


def structure(
    rules: Rules, name: str, tree: Pattern, write: Callable[[CharSet], Expression]
) -> Expression:
    """The texts in which a pattern matches somewhere.

    Args:
        rules: Gets the rules of groups.
        name: What they are called.
        tree: The pattern.
        write: How a character stands in the text.

    Raises:
        PatternUnsupported: It has conditions, back references, or anchors inside.
    """
    filling = repeated(write(ANY), 0, None)
    branches = tree.parts if isinstance(tree, regex.Alternation) else (tree,)
    whole: list[Expression] = []
    for branch in branches:
        parts = branch.parts if isinstance(branch, regex.Concatenation) else (branch,)
        first = bool(parts) and parts[0] == regex.Anchor("^")
        last = bool(parts) and parts[-1] == regex.Anchor("$") and len(parts) > first
        inner = parts[first : len(parts) - last]
        expressions = [_expression(rules, name, part, write) for part in inner]
        whole.append(
            chain(*([] if first else [filling]), *expressions, *([] if last else [filling]))
        )
    return rules.add(name, choice(whole))


def _expression(
    rules: Rules, name: str, tree: Pattern, write: Callable[[CharSet], Expression]
) -> Expression:
    match tree:
        case regex.CharNode(chars):
            return write(chars)
        case regex.Concatenation(parts):
            return chain(*(_expression(rules, name, part, write) for part in parts))
        case regex.Alternation(parts):
            return choice(_expression(rules, name, part, write) for part in parts)
        case regex.CaptureGroup(part):
            return _expression(rules, name, part, write)
        case regex.Repetition(part, least, most):
            inner = _expression(rules, name, part, write)
            if is_nullable(inner, lambda _: False):  # endless repetition of nothing
                inner, least = _not_empty(inner), 0
            if not isinstance(inner, Ref):
                inner = rules.add(name, inner)
            return _times(rules, name, inner, least, None if most < 0 else most)
        case _:
            raise PatternUnsupported("a condition inside the pattern")


def _times(rules: Rules, name: str, inner: Expression, least: int, most: int | None) -> Expression:
    times = repeated(inner, least, most)
    # Named, or it would be written out once more for every repetition around it.
    nullable = least == 0
    return times if nullable else rules.add(name, times)


def _not_empty(body: Expression) -> Expression:
    """``body`` without the empty text."""
    match body:
        case Alternatives(parts):
            return choice(_not_empty(part) for part in parts if part != EMPTY)
        case Repeat(part, least, most):
            if is_nullable(part, lambda _: False):
                return repeated(_not_empty(part), 1, most)
            return repeated(part, max(least, 1), most)
        case Chain(parts):
            if not is_nullable(body, lambda _: False):
                return body
            head, tail = parts[0], chain(*parts[1:])
            return choice([chain(_not_empty(head), tail), _not_empty(tail)])
        case _:
            return body
