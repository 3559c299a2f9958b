"""String formats of JSON Schema: each a pattern, for the grammar and for validation.

Where a format is no regular language, a check in Python follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tchat.engine.grammar.regex import PatternUnsupported, parse_pattern, python_pattern

_MONTHS = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
_LEAP = "([0-9][0-9](0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
DATE = f"([0-9]{{4}}-({_MONTHS}|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
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
