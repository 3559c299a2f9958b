"""What a parsed pattern matches: as a language, or as grammar rules of its own structure.

The rules are for patterns whose automaton would be too large. Groups become rules of their own,
since llama.cpp's parser refuses nested repetitions whose product is large.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tchat.engine.grammar import regex
from tchat.engine.grammar.automata import ANY, BEGIN, END, WORD, CharSet, Language, Languages
from tchat.engine.grammar.regex import (
    Alternation,
    Anchor,
    Backreference,
    CaptureGroup,
    CharNode,
    Concatenation,
    Lookaround,
    Pattern,
    PatternUnsupported,
    Repetition,
)
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

_MOST_SPLIT = 64  # alternatives that are written out around a condition


def marked(languages: Languages, text: Language) -> Language:
    """``text`` between BEGIN and END."""
    begin, end = (languages.char(((mark, mark),)) for mark in (BEGIN, END))
    return languages.sequence([begin, text, end])


def match_language(languages: Languages, tree: Pattern) -> Language:
    """The texts, between BEGIN and END, that a pattern matches anywhere.

    Raises:
        PatternUnsupported: A backreference, or a condition inside a repetition.
    """
    begin, end = (languages.char(((mark, mark),)) for mark in (BEGIN, END))
    filling = languages.repeat(languages.char(ANY), 0)
    suffix = languages.union([languages.empty, languages.sequence([filling, end])])
    before = languages.union([languages.empty, languages.sequence([begin, filling])])
    found = _Matcher(languages, suffix).walk([tree], before)
    return languages.intersection([found, marked(languages, filling)])


@dataclass(slots=True)
class _Matcher:
    """Walks a pattern, with the language of the text before it."""

    languages: Languages
    suffix: Language
    split: int = 0

    def walk(  # noqa: PLR0911  one for each kind
        self, nodes: list[Pattern], before: Language, *, starts: bool = False
    ) -> Language:
        """``before``, then ``nodes``, then the suffix; ``starts`` is right behind a ``^``."""
        make = self.languages
        for index, node in enumerate(nodes):
            rest = nodes[index + 1 :]
            if not _has_condition(node):
                before = make.sequence([before, self.plain(node)])
                starts = node == Anchor("^")
                continue
            match node:
                case CaptureGroup(part):
                    return self.walk([part, *rest], before, starts=starts)
                case Concatenation(parts):
                    return self.walk([*parts, *rest], before, starts=starts)
                case Alternation(parts):
                    self.split += len(parts)
                    if self.split > _MOST_SPLIT:
                        raise PatternUnsupported("too many alternatives with conditions")
                    return make.union(
                        [self.walk([part, *rest], before, starts=starts) for part in parts]
                    )
                case Repetition(part, least, most) if 0 <= most <= 1:
                    return make.union(
                        [
                            self.walk([part, *rest], before, starts=starts),
                            *([self.walk(rest, before, starts=starts)] if not least else []),
                        ]
                    )
                case Lookaround():
                    return self._look(node, rest, before, starts=starts)
                case Anchor(kind):
                    return self._boundary(rest, before, inside=kind == "B")
                case _:
                    raise PatternUnsupported("a condition inside a repetition")
        return make.sequence([before, self.suffix])

    def plain(self, node: Pattern) -> Language:
        """The language of a part without conditions."""
        make = self.languages
        match node:
            case CharNode(chars):
                return make.char(chars)
            case Concatenation(parts):
                return make.sequence([self.plain(part) for part in parts])
            case Alternation(parts):
                return make.union([self.plain(part) for part in parts])
            case Repetition(part, least, most):
                return make.repeat(self.plain(part), least, most)
            case CaptureGroup(part):
                return self.plain(part)
            case Anchor(kind) if kind in "^$":
                mark = BEGIN if kind == "^" else END
                return make.char(((mark, mark),))
            case _:
                raise PatternUnsupported("a back reference")

    def _look(
        self, node: Lookaround, rest: list[Pattern], before: Language, *, starts: bool
    ) -> Language:
        make = self.languages
        if starts and node.ahead:  # a second ^ adds nothing
            node = Lookaround(_without_start(node.part), node.ahead, node.negative)
        if _has_condition(node.part) or _has_anchor(node.part, "^" if node.ahead else "$"):
            raise PatternUnsupported("a condition inside a condition")
        if node.ahead:
            seen = make.sequence([self.plain(node.part), self.suffix])
            after = self.walk(rest, make.empty, starts=starts)
            allowed = make.complement(seen) if node.negative else seen
            return make.sequence([before, make.intersection([allowed, after])])
        begin = make.char(((BEGIN, BEGIN),))
        start = make.sequence([begin, make.repeat(make.char(ANY), 0)])
        seen = make.sequence([make.union([make.empty, start]), self.plain(node.part)])
        before = make.intersection([make.complement(seen) if node.negative else seen, before])
        return self.walk(rest, before, starts=starts)

    def _boundary(self, rest: list[Pattern], before: Language, *, inside: bool) -> Language:
        make = self.languages
        everything, word = make.everything, make.char(WORD)
        ends = make.sequence([everything, word])
        begins = make.sequence([word, everything])
        after = self.walk(rest, make.empty)
        pairs = [(ends, begins), (make.complement(ends), make.complement(begins))]
        if not inside:
            pairs = [(ends, make.complement(begins)), (make.complement(ends), begins)]
        return make.union(
            [
                make.sequence(
                    [make.intersection([left, before]), make.intersection([right, after])]
                )
                for left, right in pairs
            ]
        )


def _without_start(node: Pattern) -> Pattern:
    """``node`` without ``^`` at its start."""
    match node:
        case Anchor("^"):
            return Concatenation(())
        case Concatenation((first, *others)):
            return Concatenation((_without_start(first), *others))
        case CaptureGroup(part):
            return _without_start(part)
        case Alternation(parts):
            return Alternation(tuple(_without_start(part) for part in parts))
        case _:
            return node


def _has_condition(node: Pattern) -> bool:
    match node:
        case Lookaround():
            return True
        case Anchor(kind):
            return kind in "bB"
        case Concatenation(parts) | Alternation(parts):
            return any(map(_has_condition, parts))
        case Repetition(part) | CaptureGroup(part):
            return _has_condition(part)
        case CharNode() | Backreference():
            return False


def _has_anchor(node: Pattern, kind: str) -> bool:
    match node:
        case Anchor(other):
            return other == kind
        case Concatenation(parts) | Alternation(parts):
            return any(_has_anchor(part, kind) for part in parts)
        case Repetition(part) | CaptureGroup(part):
            return _has_anchor(part, kind)
        case _:
            return False


def lengths(languages: Languages, least: int, most: int | None) -> Language:
    """Texts with a length in these limits, between BEGIN and END."""
    any_char = languages.char(ANY)
    return marked(languages, languages.repeat(any_char, least, -1 if most is None else most))


def structural_rule(
    rules: Rules, name: str, tree: Pattern, write: Callable[[CharSet], Expression]
) -> Expression:
    """The texts that a pattern matches anywhere, by rules for its groups.

    Args:
        rules: The rules are added to these.
        name: Prefix of their names.
        tree: The pattern.
        write: Makes the expression of a character set.

    Raises:
        PatternUnsupported: It has conditions, backreferences, or anchors inside.
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
    # A rule, or it would be repeated in the text for every repetition around it.
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
