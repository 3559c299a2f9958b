"""Strings and numbers of a schema, as rules.

A string format is a pattern, for the grammar and for validation; where it is no regular language, a
check in Python follows. Bounds and multiples of numbers are languages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Any

from tchat.engine.grammar.automata import Language, Languages, TooManyStates, charset
from tchat.engine.grammar.regex import (
    PatternUnsupported,
    lengths,
    marked,
    match_language,
    parse_pattern,
    python_pattern,
    structural_rule,
)
from tchat.engine.grammar.rules import (
    CHAR,
    IMPOSSIBLE,
    INTEGER,
    NUMBER,
    STRING,
    AutomatonRules,
    Expression,
    Text,
    chain,
    repeated,
)
from tchat.engine.grammar.schema import (
    UNEQUAL,
    UNLIKE,
    SchemaConverter,
    Subschema,
    all_values,
    lower_limit,
    mark_unchecked,
    upper_limit,
)
from tchat.translation import tr

_MOST_DIGITS = 64
_MOST_DECIMALS = 20
_MOST_MULTIPLE = 1000  # states of the automaton
_EXACT_DIGITS = 15  # of a 64-bit float; with more a number could round to an excluded bound


class MultipleUnsupported(ValueError):
    """The divisor has too many digits for an automaton."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Inclusive or exclusive bounds, and divisors."""

    lows: tuple[tuple[Decimal, bool], ...] = ()  # bound, whether it is excluded
    highs: tuple[tuple[Decimal, bool], ...] = ()
    multiples: tuple[Decimal, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it allows every number."""
        return not (self.lows or self.highs or self.multiples)

    @property
    def keeps_sign_only(self) -> bool:
        """Whether only the sign is bounded, so that exponents change nothing."""
        return not self.multiples and all(bound == 0 for bound, _ in (*self.lows, *self.highs))

    @property
    def within_reach(self) -> Bounds:
        """Without the bounds that have more digits than the grammar writes."""
        lows, highs = (
            tuple(end for end in ends if end[0].adjusted() < _MOST_DIGITS)
            for ends in (self.lows, self.highs)
        )
        return replace(self, lows=lows, highs=highs)


def bounds_of(schemas: Iterable[Mapping[str, Any]]) -> Bounds:
    """The bounds of a number by all of the schemas."""
    lows: list[tuple[Decimal, bool]] = []
    highs: list[tuple[Decimal, bool]] = []
    multiples: list[Decimal] = []
    for schema in schemas:
        for name, ends in (("inimum", lows), ("aximum", highs)):
            bound = schema.get("m" + name)
            exclusive = schema.get("exclusiveM" + name)
            if bound is not None:
                ends.append((decimal(bound), exclusive is True))  # a boolean in draft 4
            if exclusive is not None and not isinstance(exclusive, bool):
                ends.append((decimal(exclusive), True))
        if "multipleOf" in schema:
            multiples.append(decimal(schema["multipleOf"]))
    return Bounds(tuple(lows), tuple(highs), tuple(multiples))


def decimal(number: float) -> Decimal:
    """A JSON number, exactly as it is written: 1e30 is 10 to the 30th, 0.07 is 7 hundredths."""
    return Decimal(repr(number))


@dataclass(slots=True)
class Numbers:
    """Builds the languages of numbers without exponents."""

    make: Languages

    def within(self, bounds: Bounds, *, integer: bool) -> Language:
        """The numbers, as JSON writes them, that ``bounds`` allow.

        Each bound allows other texts too, which are no numbers.

        Raises:
            MultipleUnsupported: See there.
        """
        parts = [self._syntax(bounds, integer=integer)]
        parts += [self._over(bound, excluded=out) for bound, out in bounds.lows]
        parts += [self._under(bound, excluded=out) for bound, out in bounds.highs]
        parts += [self._multiple(one) for one in bounds.multiples]
        return self.make.intersection(parts)

    def with_exponent(self, bounds: Bounds) -> Language:
        """As `within`, with an exponent behind; only where that keeps the sign only."""
        sign = self._optional(self._one("+-"))
        exponent = self.make.sequence([self._one("eE"), sign, self._digits(1, 2)])
        number = self.within(bounds, integer=False)
        return self.make.sequence([number, self._optional(exponent)])

    def _syntax(self, bounds: Bounds, *, integer: bool) -> Language:
        make = self.make
        longest = _MOST_DIGITS if not bounds.multiples else _EXACT_DIGITS
        natural = make.union(
            [self._one("0"), make.sequence([self._one("123456789"), self._digits(0, longest - 1)])]
        )
        sign = self._optional(self._one("-"))
        if integer:
            return make.sequence([sign, natural])
        decimals = _MOST_DECIMALS
        ends = (*bounds.lows, *bounds.highs)
        if any(out and bound for bound, out in ends) or bounds.multiples:
            whole = max((len(str(abs(int(bound)))) for bound, _ in ends), default=1)
            decimals = max(1, _EXACT_DIGITS - whole)
        return make.sequence([sign, natural, self._fraction(self._digits(1, decimals))])

    def _over(self, bound: Decimal, *, excluded: bool) -> Language:
        if bound > 0 or (bound == 0 and excluded):
            return self._least(bound, excluded=excluded)
        if bound == 0:  # without -0
            return self._unsigned()
        below = self.make.complement(self._least(bound.copy_negate(), excluded=not excluded))
        return self.make.union([self._negative(below), self._unsigned()])

    def _under(self, bound: Decimal, *, excluded: bool) -> Language:
        if bound > 0 or (bound == 0 and not excluded):
            return self.make.complement(self._least(bound, excluded=not excluded))
        return self._negative(self._least(bound.copy_negate(), excluded=excluded))

    def _multiple(self, of: Decimal) -> Language:
        numerator, exponent = int(of.scaleb(-_exponent(of))), _exponent(of)
        if exponent > 0:
            numerator, exponent = numerator * 10**exponent, 0
        if numerator > _MOST_MULTIPLE or -exponent > _EXACT_DIGITS:
            raise MultipleUnsupported(str(of))
        return self.make.multiple(numerator, -exponent)

    def _least(self, bound: Decimal, *, excluded: bool) -> Language:
        """Unsigned numbers from ``bound`` on."""
        make, (whole, rest) = self.make, _digits_of(bound)
        longer = make.sequence([self._one("123456789"), self._digits(len(whole), -1)])
        fraction = self._fraction(self._digits(1, -1))
        branches = [make.sequence([longer, fraction])]
        for place, digit in enumerate(whole):
            above, behind = self._between(int(digit) + 1, 9), len(whole) - place - 1
            tail = self._digits(behind, behind)
            branches.append(make.sequence([make.text(whole[:place]), above, tail, fraction]))
        zeros, any_digits = make.repeat(self._one("0"), 0), self._digits(0, -1)
        some = make.sequence([zeros, self._between(1, 9), any_digits])
        more = [
            make.sequence([make.text(rest[:place]), self._between(int(d) + 1, 9), any_digits])
            for place, d in enumerate(rest)
        ]
        more.append(make.sequence([make.text(rest), some if excluded else any_digits]))
        equal = make.sequence([self._one("."), make.union(more)])
        if not rest and not excluded:
            equal = self._optional(equal)
        branches.append(make.sequence([make.text(whole), equal]))
        return make.union(branches)

    def _negative(self, unsigned: Language) -> Language:
        return self.make.sequence([self._one("-"), unsigned])

    def _unsigned(self) -> Language:
        return self.make.sequence([self._one("0123456789"), self.make.everything])

    def _fraction(self, digits: Language) -> Language:
        return self._optional(self.make.sequence([self._one("."), digits]))

    def _optional(self, part: Language) -> Language:
        return self.make.union([self.make.empty, part])

    def _digits(self, least: int, most: int) -> Language:
        return self.make.repeat(self._one("0123456789"), least, most)

    def _between(self, low: int, high: int) -> Language:
        return self._one("0123456789"[low : high + 1])

    def _one(self, characters: str) -> Language:
        return self.make.char(charset((ord(one), ord(one)) for one in characters))


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _digits_of(bound: Decimal) -> tuple[str, str]:
    """The digits before and behind the point, the latter without trailing zeros."""
    whole, _, rest = format(bound, "f").partition(".")
    return str(int(whole)), rest.rstrip("0")


_MOST_STATES = 1500
_SMALL = 3  # states of an automaton that gets no shared rule
_LENGTHS = ("minLength", "maxLength")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def string_rule(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The strings that all of ``parts`` allow, with their quotes."""
    least, most = lower_limit(parts, "minLength"), upper_limit(parts, "maxLength")
    languages = string_languages(converter, parts)
    if not languages:
        if not least and most is None:
            return STRING
        return chain(Text('"'), repeated(CHAR, least, most), Text('"'))
    measured = [lengths(converter.languages, least, most)] if least or most is not None else []
    inner = text_rule(converter, [*languages, *measured], name)
    if inner is None and measured:
        inner = text_rule(converter, languages, name)
        mark_unchecked(converter, parts, _LENGTHS if inner is not None else ())
    if inner is None:
        inner = _structured(converter, parts, name)
    return chain(Text('"'), inner, Text('"'))


def string_languages(converter: SchemaConverter, parts: Sequence[Subschema]) -> list[Language]:
    """The languages of a string by all but its length; reports what no language expresses."""
    make = converter.languages
    found: list[Language] = []
    for pattern in all_values(parts, "pattern"):
        try:
            found.append(match_language(make, parse_pattern(pattern)))
        except (PatternUnsupported, RecursionError):
            converter.mark_unchecked("pattern")
    for name in all_values(parts, "format"):
        if name in FORMATS and name != "regex":
            found.append(match_language(make, parse_pattern(FORMATS[name].anchored)))
        if name in FORMATS and not FORMATS[name].is_regular:
            converter.mark_unchecked(tr("format ({name})", name=name))
    for values in all_values(parts, UNEQUAL):
        texts = [value for value in values if isinstance(value, str)]
        found += [make.complement(marked(make, make.text(text))) for text in texts]
    for pattern in all_values(parts, UNLIKE):
        found.append(make.complement(match_language(make, parse_pattern(pattern))))
    return found


def text_rule(
    converter: SchemaConverter, languages: Sequence[Language], name: str, *, in_string: bool = True
) -> Expression | None:
    """The texts of the intersection; None when the automaton would be too large."""
    whole = converter.languages.intersection(languages)
    if (whole, in_string) in converter.texts:
        return converter.texts[whole, in_string]
    try:
        states = converter.languages.automaton(whole, _MOST_STATES)
    except (TooManyStates, RecursionError):
        return None
    if states is None:
        return IMPOSSIBLE
    rule = AutomatonRules(converter.rules, name, states, in_string).expression()
    if len(states) > _SMALL:
        rule = converter.rules.add(name, rule)
        converter.texts[whole, in_string] = rule
    return rule


def _structured(converter: SchemaConverter, parts: Sequence[Subschema], name: str) -> Expression:
    """The only pattern by its own structure, without lengths."""
    mark_unchecked(converter, parts, _LENGTHS)
    if all_values(parts, UNLIKE) or all_values(parts, UNEQUAL):
        converter.mark_unchecked("not")
    for form in all_values(parts, "format"):
        if form in FORMATS:
            converter.mark_unchecked(tr("format ({form})", form=form))
    patterns = all_values(parts, "pattern")
    if len(patterns) == 1:
        try:
            return structural_rule(converter.rules, name, parse_pattern(patterns[0]))
        except PatternUnsupported:
            pass
    if patterns:
        converter.mark_unchecked("pattern")
    return repeated(CHAR, 0, None)


def number_rule(
    converter: SchemaConverter, parts: Sequence[Subschema], name: str, *, integer: bool
) -> Expression:
    """The numbers that all of ``parts`` allow."""
    given = bounds_of(part.keywords for part in parts)
    bounds = given.within_reach
    if bounds != given:
        mark_unchecked(converter, parts, _BOUNDS)
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
        language = make.within(replace(bounds, multiples=()), integer=integer)
    whole = [int(value) for value in numbers if value == int(value)] if integer else []
    texts = [text for value in whole for text in (str(value), *(["-0"] if not value else []))]
    languages = converter.languages
    allowed = [language, *(languages.complement(languages.text(text)) for text in texts)]
    rule = text_rule(
        converter, [marked(languages, languages.intersection(allowed))], name, in_string=False
    )
    if rule is None:
        mark_unchecked(converter, parts, (*_BOUNDS, "multipleOf"))
        return INTEGER if integer else NUMBER
    return rule


_MONTHS = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
_FOURTH = "(0[48]|[2468][048]|[13579][26])"
_LEAP = f"([0-9][0-9]{_FOURTH}|{_FOURTH}00)"
# RFC 3339 has a year 0, which hardly a library knows, Python's own not either.
_YEAR = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
DATE = f"({_YEAR}-({_MONTHS}|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
TIME = rf"{_CLOCK}:[0-5][0-9](\.[0-9]{{1,20}})?([Zz]|[+-]{_CLOCK})"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = rf"{_OCTET}(\.{_OCTET}){{3}}"
_H16 = "[0-9A-Fa-f]{1,4}"
_LAST = f"({_H16}:{_H16}|{IPV4})"
IPV6 = "|".join(
    [
        f"({_H16}:){{6}}{_LAST}",
        f"::({_H16}:){{5}}{_LAST}",
        f"({_H16})?::({_H16}:){{4}}{_LAST}",
        f"(({_H16}:){{0,1}}{_H16})?::({_H16}:){{3}}{_LAST}",
        f"(({_H16}:){{0,2}}{_H16})?::({_H16}:){{2}}{_LAST}",
        f"(({_H16}:){{0,3}}{_H16})?::{_H16}:{_LAST}",
        f"(({_H16}:){{0,4}}{_H16})?::{_LAST}",
        f"(({_H16}:){{0,5}}{_H16})?::{_H16}",
        f"(({_H16}:){{0,6}}{_H16})?::",
    ]
)
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = rf"{_LABEL}(\.{_LABEL})*"
_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = rf'({_ATEXT}(\.{_ATEXT})*|"([ !#-\[\]-~]|\\[ -~])*")'
EMAIL = rf"{_LOCAL}@({_LABEL}(\.{_LABEL})*|\[({IPV4}|IPv6:[0-9A-Fa-f:.]+)\])"
_WIDE_LABEL = r"[^\x00-,./:-@\[-`{-\x9f]+"
IDN_EMAIL = r"[^\x00- @\x7f]+@" + rf"({_WIDE_LABEL}(\.{_WIDE_LABEL})*)"
# RFC 3986, with RFC 3987's characters for IRIs.
_HEXED = "%[0-9A-Fa-f]{2}"
_WIDE = r"\xa0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef\u{10000}-\u{10fffd}"


def _uri(extra: str, *, relative: bool) -> str:
    unreserved = rf"A-Za-z0-9._~{extra}\-"
    pchar = f"([{unreserved}!$&'()*+,;=:@]|{_HEXED})"
    no_colon = f"([{unreserved}!$&'()*+,;=@]|{_HEXED})"
    user = f"(([{unreserved}!$&'()*+,;=:]|{_HEXED})*@)?"
    future = rf"[vV][0-9A-Fa-f]+\.[{unreserved}!$&'()*+,;=:]+"
    host = rf"(\[({IPV6}|{future})\]|([{unreserved}!$&'()*+,;=]|{_HEXED})*)"
    authority = f"{user}{host}(:[0-9]*)?"
    tail = rf"(\?({pchar}|[/?])*)?(#({pchar}|[/?])*)?"
    absolute = f"/({pchar}+(/{pchar}*)*)?"
    rooted = f"//{authority}(/{pchar}*)*|{absolute}"
    whole = f"[A-Za-z][A-Za-z0-9+.-]*:({rooted}|({pchar}+(/{pchar}*)*)?){tail}"
    if not relative:
        return whole
    return f"{whole}|({rooted}|({no_colon}+(/{pchar}*)*)?){tail}"


_POINTER = "(/([^~/]|~[01])*)*"
_VARIABLE = rf"([A-Za-z0-9_]|{_HEXED})(\.?([A-Za-z0-9_]|{_HEXED}))*(:[1-9][0-9]{{0,3}}|\*)?"
URI_TEMPLATE = (
    rf"""([^\x00- "%<>\\^`{{|}}\x7f]|{_HEXED}|\{{[+#./;?&=,!@|]?{_VARIABLE}(,{_VARIABLE})*\}})*"""
)
_TIMED = r"T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S)"
_DATED = r"([0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D)"
DURATION = rf"P({_DATED}({_TIMED})?|{_TIMED}|[0-9]+W)"
UUID = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"


@dataclass(frozen=True, slots=True)
class StringFormat:
    """A format: the pattern of the whole text, and a check of what it cannot express."""

    pattern: str
    check: Callable[[str], bool] | None = None
    wider: str = ""  # the pattern of validation, where it allows more

    @property
    def anchored(self) -> str:
        """The pattern of whole texts."""
        return f"^({self.pattern})$"

    @property
    def is_regular(self) -> bool:
        """Whether the pattern is exact."""
        return self.check is None or bool(self.wider)


def _short_labels(text: str) -> bool:
    host = text.rpartition("@")[2]
    return len(host) <= 253 and all(len(label) <= 63 for label in host.split("."))


def _is_regex(text: str) -> bool:
    if re.search(r"(?<!\\)(\\\\)*\\[aeAZz]|\(\?P|^\(\?i\)", text):
        return False  # of other dialects
    try:
        parse_pattern(text)
    except PatternUnsupported:
        return False
    return True


def _is_host(text: str) -> bool:
    # RFC 5891: "--" at the third place is for A-labels.
    labels = text.split(".")
    odd = any(label[2:4] == "--" and not _is_a_label(label) for label in labels)
    return _short_labels(text) and not odd


def _is_a_label(label: str) -> bool:
    import idna

    try:
        idna.ulabel(label.lower()) if label.lower().startswith("xn--") else idna.check_label(label)
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        return False
    return True


def _is_wide_host(text: str) -> bool:
    labels = re.split("[.\u3002\uff0e\uff61]", text)
    try:
        coded = (
            one if one.isascii() else f"xn--{one.encode('punycode').decode()}" for one in labels
        )
        short = _short_labels(".".join(coded))
    except UnicodeError:
        return False
    return short and all(map(_is_a_label, labels))


_LEAP_SECOND = re.compile(
    r"([0-9]{2}):([0-9]{2}):60(?:\.[0-9]+)?([zZ]|([+-])([0-9]{2}):([0-9]{2}))$"
)


def _is_moment(text: str) -> bool:
    """Whether a leap second, where there is one, is the last of a UTC day."""
    found = _LEAP_SECOND.search(text)
    if found is None:
        return True
    minutes = int(found[1]) * 60 + int(found[2])
    if found[4]:
        offset = int(found[5]) * 60 + int(found[6])
        minutes += offset if found[4] == "-" else -offset
    return minutes % 1440 == 1439


_LEAP_TIME = TIME.replace("[0-5][0-9](", "([0-5][0-9]|60)(", 1)

FORMATS: dict[str, StringFormat] = {
    "date": StringFormat(DATE),
    "time": StringFormat(TIME, _is_moment, wider=_LEAP_TIME),
    "date-time": StringFormat(f"{DATE}[Tt]{TIME}", _is_moment, wider=f"{DATE}[Tt]{_LEAP_TIME}"),
    "duration": StringFormat(DURATION),
    "uuid": StringFormat(UUID),
    "ipv4": StringFormat(IPV4),
    "ipv6": StringFormat(IPV6),
    "hostname": StringFormat(HOSTNAME, _is_host),
    "idn-hostname": StringFormat(r"[^\x00-,/:-@\[-`{-\x9f]+", _is_wide_host),
    "email": StringFormat(EMAIL),
    "idn-email": StringFormat(IDN_EMAIL),
    "uri": StringFormat(_uri("", relative=False)),
    "uri-reference": StringFormat(_uri("", relative=True)),
    "iri": StringFormat(_uri(_WIDE, relative=False)),
    "iri-reference": StringFormat(_uri(_WIDE, relative=True)),
    "uri-template": StringFormat(URI_TEMPLATE),
    "json-pointer": StringFormat(_POINTER),
    "relative-json-pointer": StringFormat(f"(0|[1-9][0-9]*)(#|{_POINTER})"),
    "regex": StringFormat(r"[\s\S]*", _is_regex),
}
# Other names in use.
FORMATS |= {
    "ip-address": FORMATS["ipv4"],
    "host-name": FORMATS["hostname"],
    "guid": FORMATS["uuid"],
}
# Every text has these formats.
FREE = frozenset(["password", "binary", "byte", "markdown", "html", "textarea", "text", "string"])


def has_format(name: str, text: str) -> bool:
    """Whether a text has a format; every text has an unknown one."""
    form = FORMATS.get(name)
    if form is None:
        return True
    if _compiled(form.wider or form.pattern).search(text) is None:
        return False
    return form.check is None or form.check(text)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """One of the patterns above, for whole texts."""
    return re.compile(python_pattern(f"^({pattern})$"))
