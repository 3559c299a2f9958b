"""Finds postal addresses with a house number, in English, German, French, Spanish and Chinese.

Every repetition is bounded: a text of any length takes time by its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tchat.redaction.sensitive_span import DataKind, SensitiveSpan

# 221B Baker Street, London NW1 6XE; 1600 Pennsylvania Avenue NW, Washington, DC 20500
_ENGLISH = re.compile(
    r"""
    \b\d{1,5}[A-Za-z]?\s
    (?:(?:N|S|E|W|NE|NW|SE|SW)\.?\s)?
    (?:[A-Z][\w'.-]{1,30}\s|\d{1,3}(?:st|nd|rd|th)\s){1,4}?
    (?:Street|Avenue|Road|Lane|Drive|Boulevard|Court|Square|Terrace|Close|Crescent|Gardens|Place
      |Parkway|Way|Highway|St|Ave|Rd|Ln|Dr|Blvd|Ct|Sq|Pl|Hwy)\b\.?
    (?:\s(?:N|S|E|W|NE|NW|SE|SW)\b)?
    (?:,?\s(?:Apt|Apartment|Suite|Unit|Flat|\#)\.?\s?\w{1,6})?
    (?:
        ,\s(?:[A-Z][\w'.-]{1,30},?\s){1,3}?
        (?:[A-Z]{2}\s\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s\d[A-Z]{2})\b   # ZIP or postcode
      | ,\s[A-Z][\w'.-]{1,30}(?:\s[A-Z][\w'.-]{1,30})?
    )?
    """,
    re.VERBOSE,
)
# Hauptstraße 12, 10115 Berlin; Am Markt 3a; Karl-Marx-Allee 34
_NO_STREET = (
    r"(?:Jahr|Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
    r"|Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag|Sonntag|Kapitel|Abschnitt|Alter|Artikel"
    r"|Sommer|Winter|Herbst|Frühjahr|Frühling|Tag|Monat|Schnitt|Schuljahr|Umfang|Wert)"
)
_GERMAN = re.compile(
    rf"""
    \b(?:
        [A-ZÄÖÜ][\wäöüß.-]{{0,30}}(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|ufer|ring|damm|chaussee)
      | [A-ZÄÖÜ]\w{{1,30}}(?:[ -][A-ZÄÖÜ]\w{{1,30}}){{0,3}}[ -]
        (?:Stra(?:ß|ss)e|Str\.|Weg|Platz|Allee|Gasse|Ring|Ufer|Damm|Chaussee)
      | (?:Am|An\ de[rn]|Im|In\ de[rn]|Auf\ de[rm]|Zum|Zur|Unter\ den)\s(?!{_NO_STREET}\b)
        [A-ZÄÖÜ][\wäöüß-]{{1,30}}
    )
    \s\d{{1,4}}(?:\s?[a-zA-Z]\b)?(?:\s?[-–/]\s?\d{{1,4}}\b)?
    (?:,?\s(?:[DA]-|CH-)?\d{{4,5}}\s[A-ZÄÖÜ][\wäöüß-]{{1,30}}
       (?:\s(?:am|an\ der|im|bei)\s[A-ZÄÖÜ]\w{{1,30}}|/[A-ZÄÖÜ]\w{{1,30}})?)?
    """,
    re.VERBOSE,
)
# 12 bis, rue de la Paix, 75002 Paris
_LINK = r"(?:(?:de|du|des|la|le|les|et|à|aux|au)\s|[dl]['’]){0,3}"
_NAME = r"[A-ZÉÈÀÂÎÔ][\w'’]{1,30}"
_FRENCH = re.compile(
    rf"""
    \b\d{{1,4}}(?:\s?(?:bis|ter|quater))?,?\s
    (?:rue|avenue|av\.|boulevard|bd|place|all[ée]es?|impasse|chemin|quai|cours|route|square)\s
    {_LINK}{_NAME}(?:[\s-]{_LINK}{_NAME}){{0,4}}
    (?:,?\s\d{{5}}\s{_NAME}(?:[\s-]{_NAME}){{0,3}})?
    """,
    re.VERBOSE,
)
# Calle de Alcalá 15, 2º B, 28014 Madrid; C/ Mayor, 4; Av. Reforma 222, 06600 Ciudad de México
_SPANISH_LINK = r"(?:(?:de|del|la|las|los|el|y)\s){0,3}"
_SPANISH_NAME = rf"{_SPANISH_LINK}[A-ZÁÉÍÓÚÑ][\w.]{{1,30}}"
_SPANISH = re.compile(
    rf"""
    \b(?:[Cc]alle|C/|[Aa]venida|Avda?\.|Av\.|[Pp]laza|Pza\.|[Pp]aseo|Pº|[Cc]amino|[Cc]arrera|[Rr]onda
      |[Tt]ravesía|[Cc]arretera|Ctra\.|[Rr]ambla|[Gg]lorieta|[Cc]uesta)
    \s?{_SPANISH_NAME}(?:\s{_SPANISH_NAME}){{0,4}}
    (?:,?\s(?:n\.?º|núm\.?|número|\#|No\.)\s?|,?\s)\d{{1,4}}(?:\s?bis)?\b(?!\s(?:de\s[a-z]|a\.|horas|personas))
    (?:,?\s(?:\d{{1,2}}\.?[ºª°]|bajo|piso\s\d+|[Dd]pto\.?\s?\w+|[Ii]nt\.?\s?\d+)(?:\s[A-Z]\b|\s(?:izq|dcha)\.?)?)?
    (?:,?\s\d{{5}}\s[A-ZÁÉÍÓÚÑ]\w{{1,30}}(?:\s{_SPANISH_NAME}){{0,3}})?
    """,
    re.VERBOSE,
)
# 北京市朝阳区建国路88号2单元301室: found by street and number, then read backwards.
_CHINESE = re.compile(
    r"(?:大道|大街|路|街|巷|弄|胡同|里|村|道)[东西南北中]?[一二三四五六]?段?\s?\d{1,5}(?:号|弄)"
    r"(?:院|楼|大厦)?(?:\s?\d{1,4}\s?(?:号楼|栋|幢|座|单元|室|层|楼|号)){0,5}"
)
_CHINESE_LEAD = re.compile(
    r"住在|住址[是为]?|地址[是为]?|位于|[寄送发搬来去回]到|寄往|设在|开在|[在到至是为从往]"
)
_CHINESE_SIZE = 30  # characters of an address before its street, at most


def find_postal_addresses(text: str) -> Iterator[SensitiveSpan]:
    """Postal addresses with a house number."""
    for pattern in (_ENGLISH, _GERMAN, _FRENCH, _SPANISH):
        for match in pattern.finditer(text):
            yield SensitiveSpan(match.start(), match.end(), DataKind.ADDRESS)
    for match in _CHINESE.finditer(text):
        start = match.start()
        while start > max(0, match.start() - _CHINESE_SIZE) and _is_chinese(text[start - 1]):
            start -= 1
        for lead in _CHINESE_LEAD.finditer(text, start, match.start()):
            if lead.end() < match.start():
                start = lead.end()
        yield SensitiveSpan(start, match.end(), DataKind.ADDRESS)


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"
