"""Finds how a person is reached: e-mail addresses and telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tchat.redaction.sensitive_span import CJK, DataKind, SensitiveSpan

_CONTEXT = 40  # characters before a value in which a word tells what it is
_LETTER = rf"[^\W{CJK}]"  # or a digit, or an underscore
_ALNUM = rf"[^\W_{CJK}]"
_AT = "[@＠]|%40|&#64;|&#x40;|&commat;"  # as in URLs and HTML
_EMAIL = re.compile(
    rf"(?<!{_LETTER})(?<![.+%-])((?:{_LETTER}|[.+%'-]){{0,63}}(?:{_LETTER}|[+%]))(?:{_AT}|\s?[\[(]at[\])]\s?)"
    rf"((?:{_ALNUM}(?:(?:{_LETTER}|-){{0,61}}{_ALNUM})?(?:\.|\s?[\[(]dot[\])]\s?))+[^\W\d_{CJK}]{{2,24}})"
    rf"(?!{_LETTER}|-)"
)
_CREDENTIALS = re.compile(r"://[^\s/@:]*:\Z")  # of a URL, before its password and host
_REMOTE = re.compile(r":[\w~./-]+")  # behind the host of `git@host:path`


def find_emails(text: str) -> Iterator[SensitiveSpan]:
    """E-mail addresses; ``git@host:path`` is none, nor is a password and host in a URL."""
    for match in _EMAIL.finditer(text):
        is_remote = match.group(1) == "git" and _REMOTE.match(text, match.end())
        before = text[max(0, match.start() - _CONTEXT) : match.start()]
        if not is_remote and _CREDENTIALS.search(before) is None:
            yield SensitiveSpan(match.start(), match.end(), DataKind.EMAIL)


# Where a number without a country code may be from, the commoner in tchat's languages first.
REGIONS = ("US", "GB", "DE", "FR", "CN", "ES", "IT", "CH", "AT")
_MAY_BE_PHONE = re.compile(r"[+(（]?\d[\d\s().（）/‑–-]{5,22}\d")
_CHINESE_MOBILE = re.compile(
    r"(?<![\d+])(?:(?:\+|00)86[ -]?)?1[3-9]\d(?P<sign>[ -]?)\d{4}(?P=sign)\d{4}(?!\d)"
)
_INTERNATIONAL = re.compile(r"(?<![\w+])\+[1-9]\d{0,2}[ .(-]{1,2}\d(?:[ ().-]{0,2}\d){5,12}(?!\d)")
_SLASHED = re.compile(r"0\d{2,4} ?/ ?\d{4,9}")  # as in Germany and Austria
_FRACTION = re.compile(r"\d\.\Z|(?<!\d)0,\Z")  # before a number that is the rest of one
_CALLED = re.compile(
    r"(?:phone|call|tel|fax|mobile|mobil|cell|handy|ruf|anruf|telefon|t[ée]l[ée]phone|num[ée]ro|appel|"
    r"portable|whatsapp|sms|text me|dial|reach|erreichbar|joindre|notdienst|kontakt|contact|"
    r"tel[ée]fono|m[óo]vil|celular|llama|llám|n[úu]mero|\bnummer\b|contacto|cellulare|chiama|手机|电话|联系|致电|拨打|热线|号码)",
    re.IGNORECASE,
)
_NO_PHONE = re.compile(
    r"(?:isbn|issn|doi|order|bestell|commande|invoice|rechnung|facture|ticket|订单|发票|编号|"
    r"pedido|factura|versión|version|serial|tracking|article|artikel|artículo)\W{0,12}(?:\w+\W{1,3}){0,2}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}|\d{4}\s?[-–]\s?\d{4}")


def find_phones(text: str) -> Iterator[SensitiveSpan]:
    """Telephone numbers: international ones, Chinese mobiles, national ones by their form.

    A number without a country code needs a word for a telephone before it, or signs that group it.
    """
    for match in _CHINESE_MOBILE.finditer(text):
        yield SensitiveSpan(match.start(), match.end(), DataKind.PHONE)
    if _MAY_BE_PHONE.search(text) is None:
        return
    from phonenumbers import Leniency, PhoneNumberMatcher

    for region in REGIONS:
        for found in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            if _is_phone(text, found.start, found.raw_string):
                yield SensitiveSpan(found.start, found.end, DataKind.PHONE)
    # A number of a range that its country has not given out yet is one all the same.
    for match in _INTERNATIONAL.finditer(text):
        if _is_possible(match.group()):
            yield SensitiveSpan(match.start(), match.end(), DataKind.PHONE)


def _is_possible(number: str) -> bool:
    from phonenumbers import NumberParseException, is_possible_number, parse

    try:
        return is_possible_number(parse(number))
    except NumberParseException:
        return False


def _is_phone(text: str, start: int, number: str) -> bool:
    before = text[max(0, start - _CONTEXT) : start]
    if number.startswith("+"):
        return True
    if _FRACTION.search(before):
        return False
    return number.startswith("00") or _is_national(before, number)


def _is_national(before: str, number: str) -> bool:
    if re.search(r"[A-Za-z][-_#]?\Z", before) or re.fullmatch(r"\d\.\d+", number):
        return False  # a piece of a longer number, such as K-0603-80211, or a fraction
    if _DATE.fullmatch(number.strip()) or _NO_PHONE.search(before):
        return False
    if _CALLED.search(before):
        return True
    groups = re.split(r"\D+", number.strip("() "))
    is_grouped = len(groups) > 1 and number.lstrip("(").startswith(("0", "("))
    is_parted = is_grouped and "/" not in number[4:]
    is_american = re.fullmatch(r"\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}", number) is not None
    return is_parted or is_american or _SLASHED.fullmatch(number) is not None
