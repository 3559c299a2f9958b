"""Finds numbers of persons, accounts and cards, by their form and their checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from tchat.redaction.sensitive_span import DataKind, SensitiveSpan

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{1,4}){3,9}(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.,+-])(?:\d[ -]?){12,18}\d(?![\d-]|[.,]\d)")
# Visa, Mastercard, American Express, Diners Club, Discover, UnionPay, JCB: beginning and length.
_BRANDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12}"
)


def find_ibans(text: str) -> Iterator[SensitiveSpan]:
    """International bank account numbers whose checksum is right."""
    from stdnum import iban

    for match in _IBAN.finditer(text):
        # Words behind the number look like groups of it: the longest valid piece counts.
        found = match.group()
        for end in range(len(found), 14, -1):
            at_end = end == len(found) or not found[end].isalnum()
            if at_end and iban.is_valid(found[:end], check_country=False):
                yield SensitiveSpan(match.start(), match.start() + end, DataKind.IBAN)
                break


def find_cards(text: str) -> Iterator[SensitiveSpan]:
    """Numbers of payment cards: a known beginning, a length that is used, Luhn's checksum."""
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if _BRANDS.fullmatch(digits) and len(set(digits)) > 1 and luhn.is_valid(digits):
            yield SensitiveSpan(match.start(), match.end(), DataKind.CARD)


# By the module of python-stdnum that checks it: the form, and the words that must stand before it
# where too many other numbers have that form; empty where the form is its own.
_FORMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "stdnum.cn.ric": (r"\d{17}[\dXx]", ""),
        "stdnum.us.ssn": (r"\d{3}-\d{2}-\d{4}", ""),
        "stdnum.gb.nhs": (r"\d{3} \d{3} \d{4}", r"\bNHS\b"),
        "stdnum.fr.nir": (
            r"[12][ .]?\d{2}[ .]?\d{2}[ .]?(?:\d{2}|2[AB])[ .]?\d{3}[ .]?\d{3}[ .]?\d{2}",
            "",
        ),
        "stdnum.ca.sin": (
            r"\d{3}([ -])\d{3}\1\d{3}",
            r"\bS\.?[IS]\.?N\b|social (?:insurance|security)|assurance sociale",
        ),
        "stdnum.au.tfn": (r"\d{3} \d{3} \d{3}", r"\bTFN\b|tax file"),
        "stdnum.de.idnr": (
            r"\d{2} ?\d{3} ?\d{3} ?\d{3}",
            r"steuer|ident|idnr|\btax\b|fiscal|finanzamt|bescheid|ausweis|税",
        ),
        "stdnum.es.dni": (r"\d{8}-?[A-Z]", ""),
        "stdnum.es.nie": (r"[XYZ]-?\d{7}-?[A-Z]", ""),
        "stdnum.it.codicefiscale": (r"[A-Z]{6}\d{2}[A-EHLMPR-T]\d{2}[A-Z]\d{3}[A-Z]", ""),
        "stdnum.nl.bsn": (r"\d{9}|\d{4}\.\d{2}\.\d{3}", r"\bBSN\b|burgerservice"),
        "stdnum.be.nn": (r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", ""),
        "stdnum.ch.ssn": (r"756\.\d{4}\.\d{4}\.\d{2}", ""),
        "stdnum.at.vnr": (r"\d{4} \d{6}", r"sozialversicherung|\bSV"),
        "stdnum.pl.pesel": (r"\d{11}", r"PESEL"),
        "stdnum.se.personnummer": (r"(?:\d{2})?\d{6}[-+]\d{4}", ""),
        "stdnum.br.cpf": (r"\d{3}\.\d{3}\.\d{3}-\d{2}", ""),
        "stdnum.in_.aadhaar": (r"\d{4} \d{4} \d{4}", r"aadhaar"),
        "stdnum.kr.rrn": (r"\d{6}-\d{7}", ""),
    }
)
# National Insurance numbers have no checksum, but letters that are not used.
_NINO = re.compile(
    r"(?<![A-Za-z0-9])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?"
    r"(?:\d{2} ?){3}[A-D](?![A-Za-z0-9])"
)
_PASSPORT = re.compile(
    r"(?:passport|reisepass|passeport|personalausweis|ausweis|护照)\D{0,24}?(?<![A-Za-z0-9])"
    r"([A-Z]{1,2}\d{6,8}|[CFGHJKLMNPRTVWXYZ][0-9CFGHJKLMNPRTVWXYZ]{8}\d?)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_PATTERNS = tuple(
    (
        module,
        re.compile(rf"(?<![A-Za-z0-9_.+-])(?:{form})(?![A-Za-z0-9_-]|\.\d)"),
        words and re.compile(words, re.IGNORECASE),
    )
    for module, (form, words) in _FORMS.items()
)
_CONTEXT = 40  # characters beside a number in which its name stands


def find_person_ids(text: str) -> Iterator[SensitiveSpan]:
    """Numbers that countries give to persons: identity, tax, social security, passports."""
    for module, pattern, words in _PATTERNS:
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - _CONTEXT) : match.start()]
            after = text[match.end() : match.end() + _CONTEXT]
            if words and not (words.search(before) or words.search(after)):
                continue
            if _is_valid(module, match.group()):
                yield SensitiveSpan(match.start(), match.end(), DataKind.ID)
    for match in _NINO.finditer(text):
        yield SensitiveSpan(match.start(), match.end(), DataKind.ID)
    for match in _PASSPORT.finditer(text):
        if any(each.isdigit() for each in match.group(1)):
            yield SensitiveSpan(match.start(1), match.end(1), DataKind.ID)


def _is_valid(module: str, number: str) -> bool:
    checker = import_module(module)
    if module != "stdnum.cn.ric":
        return bool(checker.is_valid(number))
    # The library also asks whether the county had its number in the year of birth; people keep the
    # number of the county that registered them later.
    from stdnum.exceptions import ValidationError

    try:
        checker.get_birth_date(number)
    except ValidationError:
        return False
    return bool(checker.calc_check_digit(number) == number[-1].upper())
