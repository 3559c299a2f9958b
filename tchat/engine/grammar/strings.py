"""Strings and numbers of a schema, as rules."""

from __future__ import annotations

from collections.abc import Sequence

from tchat.engine.grammar.automata import Language, TooManyStates
from tchat.engine.grammar.formats import FORMATS
from tchat.engine.grammar.json_rules import (
    CHAR,
    INTEGER,
    NUMBER,
    STRING,
    automaton_rules,
    json_chars,
)
from tchat.engine.grammar.numbers import MultipleUnsupported, Numbers, bounds_of
from tchat.engine.grammar.parts import (
    UNEQUAL,
    UNLIKE,
    SchemaConverter,
    all_values,
    least_of,
    most_of,
)
from tchat.engine.grammar.patterns import lengths, marked, matching
from tchat.engine.grammar.regex import PatternUnsupported, parse_pattern
from tchat.engine.grammar.rules import (
    IMPOSSIBLE,
    Expression,
    Text,
    chain,
    repeated,
)
from tchat.engine.grammar.schema_document import Subschema
from tchat.engine.grammar.structure import structure

_MOST_STATES = 1500
_SMALL = 3  # states that are written out wherever they are used
_LENGTHS = ("minLength", "maxLength")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def string_rule(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The strings, with their quotes, that all of ``parts`` allow."""
    least, most = least_of(parts, "minLength"), most_of(parts, "maxLength")
    languages = string_languages(converter, parts)
    if not languages:
        if not least and most is None:
            return STRING
        return chain(Text('"'), repeated(CHAR, least, most), Text('"'))
    measured = [lengths(converter.languages, least, most)] if least or most is not None else []
    inner = text_rule(converter, [*languages, *measured], name)
    if inner is None and measured:
        inner = text_rule(converter, languages, name)
        for keyword in _LENGTHS if inner is not None else ():
            if all_values(parts, keyword):
                converter.mark_unchecked(keyword)
    if inner is None:
        inner = _structured(converter, parts, name)
    return chain(Text('"'), inner, Text('"'))


def string_languages(converter: SchemaConverter, parts: Sequence[Subschema]) -> list[Language]:
    """What the parts ask of a string beside its length; names what no language says."""
    make = converter.languages
    found: list[Language] = []
    for pattern in all_values(parts, "pattern"):
        try:
            found.append(matching(make, parse_pattern(pattern)))
        except (PatternUnsupported, RecursionError):
            converter.mark_unchecked("pattern")
    for name in all_values(parts, "format"):
        if name in FORMATS and name != "regex":
            found.append(matching(make, parse_pattern(FORMATS[name].anchored)))
        if name in FORMATS and not FORMATS[name].is_regular:
            converter.mark_unchecked(f"format ({name})")
    for values in all_values(parts, UNEQUAL):
        texts = [value for value in values if isinstance(value, str)]
        found += [make.no(marked(make, make.text(text))) for text in texts]
    for pattern in all_values(parts, UNLIKE):
        found.append(make.no(matching(make, parse_pattern(pattern))))
    return found


def text_rule(
    converter: SchemaConverter, languages: Sequence[Language], name: str, *, in_string: bool = True
) -> Expression | None:
    """The texts that are in every language; None when the automaton would be too large."""
    whole = converter.languages.both(languages)
    if (whole, in_string) in converter.texts:
        return converter.texts[whole, in_string]
    try:
        states = converter.languages.automaton(whole, _MOST_STATES)
    except (TooManyStates, RecursionError):
        return None
    if states is None:
        return IMPOSSIBLE
    rule = automaton_rules(converter.rules, name, states, in_string=in_string)
    if len(states) > _SMALL:
        rule = converter.rules.add(name, rule)
        converter.texts[whole, in_string] = rule
    return rule


def _structured(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The first pattern by its own structure; the others and the lengths are left."""
    anything = chain(repeated(CHAR, 0, None))
    for keyword in (*_LENGTHS, UNLIKE, UNEQUAL):
        if all_values(parts, keyword):
            converter.mark_unchecked(keyword if keyword in _LENGTHS else "not")
    formats = [name for name in all_values(parts, "format") if name in FORMATS]
    for form in formats:
        converter.mark_unchecked(f"format ({form})")
    patterns = all_values(parts, "pattern")
    if len(patterns) == 1:
        try:
            return structure(converter.rules, name, parse_pattern(patterns[0]), json_chars)
        except PatternUnsupported:
            pass
    if patterns:
        converter.mark_unchecked("pattern")
    return anything


def number_rule(
    converter: SchemaConverter, parts: Sequence[Subschema], name: str, *, integer: bool
) -> Expression:
    """The numbers that all of ``parts`` allow."""
    asked = bounds_of(part.keywords for part in parts)
    bounds = asked.within_reach
    if bounds != asked:
        _mark_unchecked(converter, parts, _BOUNDS)
    excluded = [value for values in all_values(parts, UNEQUAL) for value in values]
    numbers = [value for value in excluded if isinstance(value, int | float)]
    if numbers and not integer:
        converter.mark_unchecked("not")
    if bounds.is_open and not (numbers and integer):
        return INTEGER if integer else NUMBER
    make = Numbers(converter.languages)
    try:
        if bounds.keeps_sign_only and not integer:
            language = make.with_exponent(bounds)
        else:
            language = make.within(bounds, integer=integer)
    except MultipleUnsupported:
        converter.mark_unchecked("multipleOf")
        language = make.within(bounds.without_multiples, integer=integer)
    whole = [int(value) for value in numbers if value == int(value)] if integer else []
    texts = [text for value in whole for text in (str(value), *(["-0"] if not value else []))]
    languages = converter.languages
    wanted = [language, *(languages.no(languages.text(text)) for text in texts)]
    rule = text_rule(converter, [marked(languages, languages.both(wanted))], name, in_string=False)
    if rule is None:
        _mark_unchecked(converter, parts, (*_BOUNDS, "multipleOf"))
        return INTEGER if integer else NUMBER
    return rule


def _mark_unchecked(
    converter: SchemaConverter, parts: Sequence[Subschema], keywords: Sequence[str]
) -> None:
    """Name those of ``keywords`` that the parts have as unchecked."""
    for keyword in keywords:
        if all_values(parts, keyword):
            converter.mark_unchecked(keyword)
