"""Values for the held-out sentences: drawn from a seed, with right checksums, nobody's."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable, Mapping

_LETTERS = string.ascii_letters
_ALNUM = string.ascii_letters + string.digits
_UPPER = string.ascii_uppercase + string.digits
_HEX = "0123456789abcdef"
_URL_SAFE = _ALNUM + "-_"

Draw = Callable[[random.Random], str]


def _some(rng: random.Random, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _digits(rng: random.Random, count: int) -> str:
    return _some(rng, string.digits, count)


def _jwt(rng: random.Random) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').decode().rstrip("=")
    body = f'{{"sub":"{_digits(rng, 8)}","exp":17{_digits(rng, 8)}}}'
    middle = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
    return f"{head}.{middle}.{_some(rng, _URL_SAFE, 43)}"


# Prefixes are in pieces, so that no scanner takes this file for a leak.
_TOKENS: tuple[Draw, ...] = (
    lambda r: "sk-" + "proj-" + _some(r, _URL_SAFE, 48),
    lambda r: "sk-" + "ant-api03-" + _some(r, _URL_SAFE, 60),
    lambda r: "gh" + "o_" + _some(r, _ALNUM, 36),
    lambda r: "github" + "_pat_" + _some(r, _ALNUM, 22) + "_" + _some(r, _ALNUM, 59),
    lambda r: "AS" + "IA" + _some(r, string.ascii_uppercase + "234567", 16),
    lambda r: _some(r, _ALNUM + "/+", 40),  # an AWS secret key has no prefix
    lambda r: "S" + "G." + _some(r, _URL_SAFE, 22) + "." + _some(r, _URL_SAFE, 43),
    lambda r: "S" + "K" + _some(r, _HEX, 32),  # Twilio
    lambda r: "pypi" + "-AgEIcHlwaS5vcmc" + _some(r, _URL_SAFE, 70),
    lambda r: "gs" + "k_" + _some(r, _ALNUM, 52),
    lambda r: "xox" + "p-" + _digits(r, 12) + "-" + _digits(r, 12) + "-" + _some(r, _HEX, 32),
    lambda r: f"{_digits(r, 9)}:AA" + _some(r, _URL_SAFE, 33),  # Telegram
    lambda r: "sk" + "_test_" + _some(r, _ALNUM, 24),
    lambda r: "whs" + "ec_" + _some(r, _ALNUM, 32),
    lambda r: "AIza" + "Sy" + _some(r, _URL_SAFE, 33),
    lambda r: "ya29" + ".a0" + _some(r, _URL_SAFE, 60),
    lambda r: "AGE-SECRET" + "-KEY-1" + _some(r, "023456789ACDEFGHJKLMNPQRSTUVWXYZ", 58),
    lambda r: "dckr" + "_pat_" + _some(r, _URL_SAFE, 27),
    lambda r: "shp" + "at_" + _some(r, _HEX, 32),
    lambda r: "lin" + "_api_" + _some(r, _ALNUM, 40),
    lambda r: "tskey" + "-auth-" + _some(r, _ALNUM, 16) + "-" + _some(r, _ALNUM, 32),
    lambda r: "nv" + "api-" + _some(r, _URL_SAFE, 64),
    _jwt,
    lambda r: _some(r, _HEX, 48),
)


def _password(rng: random.Random) -> str:
    word = rng.choice(("Kirsche", "winter", "Falcon", "tiger", "Solana", "pelota", "Dragon"))
    return rng.choice(
        (
            f"{word}{_digits(rng, 3)}!",
            f"{word}#{_digits(rng, 2)}",
            f"{_some(rng, _ALNUM, 5)}${_some(rng, _ALNUM, 4)}{_digits(rng, 1)}",
            f"{_digits(rng, 2)}{word}_{_some(rng, _LETTERS, 3)}",
        )
    )


_NAMES = ("nora", "okafor", "t.brandt", "wang.fang", "lucia", "peer", "m_schulz", "ruiz", "hvidt")
_DOMAINS = (
    "example.net",
    "post.example.org",
    "kanzlei-weber.example",
    "uni.example.edu",
    "correo.example.es",
    "example.com.cn",
)


def _email(rng: random.Random) -> str:
    name, domain = rng.choice(_NAMES), rng.choice(_DOMAINS)
    return rng.choice(
        (
            f"{name}@{domain}",
            f"{name}{_digits(rng, 2)}@{domain}",
            f"{name}+{rng.choice(('shop', 'lists', 'tax'))}@{domain}",
            f"{name.upper()}@{domain.upper()}",
            f"{name} [at] {domain}",
        )
    )


_PHONES: Mapping[str, tuple[Draw, ...]] = {
    "en": (
        lambda r: f"+1 (617) 555-01{_digits(r, 2)}",
        lambda r: f"503-555-01{_digits(r, 2)}",
        lambda r: f"+44 20 7946 0{_digits(r, 3)}",
        lambda r: f"07700 900{_digits(r, 3)}",
        lambda r: f"+61 2 5550 {_digits(r, 4)}",
        lambda r: f"206.555.01{_digits(r, 2)}",
        lambda r: f"+1312555{_digits(r, 4)}",
    ),
    "de": (
        lambda r: f"+49 171 {r.randint(2, 9)}{_digits(r, 6)}",
        lambda r: f"0221 47{_digits(r, 5)}",
        lambda r: f"(089) 35{_digits(r, 4)}-{_digits(r, 2)}",
        lambda r: f"0176/{r.randint(2, 9)}{_digits(r, 7)}",
        lambda r: f"0043 1 58{_digits(r, 5)}",
        lambda r: f"+41 79 {r.randint(200, 999)} {_digits(r, 2)} {_digits(r, 2)}",
    ),
    "es": (
        lambda r: f"+34 6{_digits(r, 2)} {_digits(r, 3)} {_digits(r, 3)}",
        lambda r: f"91 {r.randint(200, 799)} {_digits(r, 2)} {_digits(r, 2)}",
        lambda r: f"6{_digits(r, 2)} {_digits(r, 2)} {_digits(r, 2)} {_digits(r, 2)}",
        lambda r: f"0034 93{r.randint(2, 7)}{_digits(r, 6)}",
        lambda r: f"+52 55 {r.randint(1000, 8999)} {_digits(r, 4)}",
        lambda r: f"6{_digits(r, 2)}-{_digits(r, 3)}-{_digits(r, 3)}",
    ),
    "zh": (
        lambda r: f"1{r.choice(('35', '86', '50', '77', '98'))}{_digits(r, 8)}",
        lambda r: f"+86 1{r.choice(('33', '88'))} {_digits(r, 4)} {_digits(r, 4)}",
        lambda r: f"021-{r.randint(50, 69)}{_digits(r, 6)}",
        lambda r: f"(0755) 8{_digits(r, 3)} {_digits(r, 4)}",
        lambda r: f"0086-1{r.choice(('52', '87'))}{_digits(r, 8)}",
        lambda r: f"400-{_digits(r, 3)}-{_digits(r, 4)}",
    ),
}


def _iban(rng: random.Random) -> str:
    country, length, letters = rng.choice(
        (("DE", 18, 0), ("ES", 20, 0), ("PL", 24, 0), ("SE", 20, 0), ("BE", 12, 0), ("IE", 14, 4))
    )
    body = _some(rng, string.ascii_uppercase, letters) + _digits(rng, length)
    number = int("".join(str(int(each, 36)) for each in f"{body}{country}00"))
    whole = f"{country}{98 - number % 97:02}{body}"
    spaced = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return rng.choice((whole, spaced, spaced))


def _card(rng: random.Random) -> str:
    prefix, length = rng.choice(
        (("4", 16), ("51", 16), ("2223", 16), ("37", 15), ("62", 16), ("6011", 16), ("3530", 16))
    )
    body = prefix + _digits(rng, length - len(prefix) - 1)
    total = sum(
        sum(divmod(int(digit) * (2 if at % 2 == 0 else 1), 10))
        for at, digit in enumerate(reversed(body))
    )
    whole = f"{body}{-total % 10}"
    if length == 15:
        return rng.choice((whole, f"{whole[:4]} {whole[4:10]} {whole[10:]}"))
    groups = [whole[at : at + 4] for at in range(0, 16, 4)]
    return rng.choice((whole, " ".join(groups), "-".join(groups)))


def _no_card(rng: random.Random) -> str:
    """Draw sixteen digits that fail Luhn's checksum."""
    whole = _card(rng).replace(" ", "").replace("-", "").ljust(16, "3")
    return f"{whole[:15]}{(int(whole[15]) + 1) % 10}"


def _resident(rng: random.Random) -> str:
    region = rng.choice(("320102", "510104", "330106", "420111", "610113"))
    birth = f"{rng.randint(1950, 2005)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
    body = f"{region}{birth}{_digits(rng, 3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    check = sum(int(each) * weight for each, weight in zip(body, weights, strict=True)) % 11
    return body + "10X98765432"[check]


def _dni(rng: random.Random) -> str:
    number = rng.randint(10_000_000, 79_999_999)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]
    return rng.choice((f"{number}{letter}", f"{number}-{letter}"))


def _nie(rng: random.Random) -> str:
    first, rest = rng.choice("XYZ"), _digits(rng, 7)
    number = int(f"{'XYZ'.index(first)}{rest}")
    return f"{first}{rest}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _tax_id(rng: random.Random) -> str:
    """Make a German tax number: ten digits of which one stands twice, and ISO 7064 mod 11,10."""
    some = rng.sample(range(10), 9)
    digits = [*some, some[rng.randrange(9)]]
    rng.shuffle(digits)
    digits[0], other = digits[0] or 5, digits[0]
    if other == 0:
        return _tax_id(rng)
    product = 10
    for each in digits:
        product = ((each + product) % 10 or 10) * 2 % 11
    whole = "".join(map(str, digits)) + str((11 - product) % 10)
    return rng.choice((whole, f"{whole[:2]} {whole[2:5]} {whole[5:8]} {whole[8:]}"))


def _ahv(rng: random.Random) -> str:
    body = "756" + _digits(rng, 9)
    total = sum(int(each) * (3 if at % 2 else 1) for at, each in enumerate(body))
    whole = body + str(-total % 10)
    return f"{whole[:3]}.{whole[3:7]}.{whole[7:11]}.{whole[11:]}"


def _ssn(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def _nino(rng: random.Random) -> str:
    first = rng.choice(("AB", "CE", "HJ", "LM", "PR", "SX"))
    return f"{first} {_digits(rng, 2)} {_digits(rng, 2)} {_digits(rng, 2)} {rng.choice('ABCD')}"


def _sin(rng: random.Random) -> str:
    """Make a Canadian social insurance number."""
    body = rng.choice("1234567") + _digits(rng, 7)
    total = sum(sum(divmod(int(each) * (1 + at % 2), 10)) for at, each in enumerate(body))
    whole = f"{body}{-total % 10}"
    return f"{whole[:3]} {whole[3:6]} {whole[6:]}"


_NATIONAL: Mapping[str, tuple[Draw, ...]] = {
    "en": (_ssn, _nino, _sin),
    "de": (_tax_id, _ahv),
    "es": (_dni, _nie),
    "zh": (_resident,),
}


def _address_en(rng: random.Random) -> str:
    number, zip_code = rng.randint(3, 9800), f"{rng.randint(10, 98)}{_digits(rng, 3)}"
    street = rng.choice(
        ("Maple Avenue", "Oak Dr", "Harbour Road", "Kingsway Court", "W 43rd Street", "Church Ln")
    )
    return rng.choice(
        (
            f"{number} {street}, Portland, OR {zip_code}",
            f"{number} {street}, Apt {rng.randint(1, 40)}",
            f"{number} {street}",
            f"{rng.randint(1, 90)} {street}, Leeds LS{rng.randint(1, 9)} {rng.randint(1, 9)}AB",
        )
    )


def _address_de(rng: random.Random) -> str:
    number, code = rng.randint(1, 180), f"{rng.randint(10, 98)}{_digits(rng, 3)}"
    street = rng.choice(
        ("Schillerstraße", "Kastanienallee", "Am Mühlbach", "Bergstr.", "Rosenweg", "Marktplatz")
    )
    return rng.choice(
        (
            f"{street} {number}, {code} Kassel",
            f"{street} {number}",
            f"{street} {number}a, {code} Ulm",
        )
    )


def _address_es(rng: random.Random) -> str:
    number, code = rng.randint(1, 180), f"{rng.randint(10, 49)}{_digits(rng, 3)}"
    street = rng.choice(
        (
            "Calle de Alcalá",
            "C/ Mayor",
            "Avenida de la Constitución",
            "Plaza de España",
            "Paseo del Prado",
        )
    )
    return rng.choice(
        (
            f"{street} {number}, {code} Madrid",
            f"{street}, {number}, 2º B, {code} Sevilla",
            f"{street} {number}",
        )
    )


def _address_zh(rng: random.Random) -> str:
    place = rng.choice(
        (
            "江苏省南京市鼓楼区中山北路",
            "湖北省武汉市洪山区珞喻路",
            "西安市雁塔区小寨东路",
            "重庆市渝中区解放碑步行街",
            "苏州市姑苏区平江路",
        )
    )
    number = rng.randint(2, 900)
    return rng.choice(
        (
            f"{place}{number}号",
            f"{place}{number}号{rng.randint(1, 9)}单元{rng.randint(101, 1805)}室",
        )
    )


_ADDRESSES: Mapping[str, Draw] = {
    "en": _address_en,
    "de": _address_de,
    "es": _address_es,
    "zh": _address_zh,
}


def _host(rng: random.Random) -> str:
    return rng.choice(
        (
            f"172.{rng.randint(16, 31)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}",
            f"198.51.100.{rng.randint(1, 254)}",
            f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}",
            f"fe80::{_some(rng, _HEX[1:], 4)}:2bff:fe{_some(rng, _HEX, 2)}:1",
            f"2001:db8:{_some(rng, _HEX[1:], 4)}::{rng.randint(1, 99)}",
            f"{rng.choice(('web', 'db', 'gpu', 'kafka'))}{rng.randint(1, 40):02}.fra.example.net",
            f"{rng.choice(('vault', 'wiki', 'jenkins'))}.internal",
            f"{rng.choice(('drucker', 'pi4', 'homeassistant'))}.local",
            f"{rng.choice(('erp', 'ldap', 'sap'))}.corp.example.com",
            f"{rng.choice(('ceph', 'proxmox'))}-{rng.randint(1, 9)}.lan",
        )
    )


def _user(rng: random.Random) -> str:
    return rng.choice(
        ("nokafor", "tbrandt", "wangfang", "lucia.ruiz", "Peer", "m_schulz", "hvidt2", "Jana-Lea")
    )


WORDS = ("Projekt Nordwind", "Acme Biotech", "Kestrel", "海燕计划", "Señor Vidal", "TX-Omega")


def draw(kind: str, language: str, rng: random.Random) -> str:
    """Return a value of `kind` as people of `language` write it."""
    one: Mapping[str, Draw] = {
        "token": lambda r: r.choice(_TOKENS)(r),
        "password": _password,
        "email": _email,
        "phone": lambda r: r.choice(_PHONES[language])(r),
        "iban": _iban,
        "card": _card,
        "id": lambda r: r.choice(_NATIONAL[language])(r),
        "address": _ADDRESSES[language],
        "host": _host,
        "user": _user,
        "word": lambda r: r.choice(WORDS),
    }
    return one[kind](rng)


def _isbn(rng: random.Random) -> str:
    body = "978" + _digits(rng, 9)
    total = sum(int(each) * (3 if at % 2 else 1) for at, each in enumerate(body))
    whole = body + str(-total % 10)
    return f"{whole[:3]}-{whole[3]}-{whole[4:7]}-{whole[7:12]}-{whole[12]}"


# What has the look of a value and is none.
HARMLESS: Mapping[str, Draw] = {
    "version": lambda r: f"{r.randint(0, 30)}.{r.randint(0, 40)}.{r.randint(0, 99)}",
    "build": lambda r: (
        f"{r.randint(1, 9)}.{r.randint(0, 9)}.{r.randint(1000, 9999)}.{r.randint(0, 9)}"
    ),
    "commit": lambda r: _some(r, _HEX, 40),
    "short": lambda r: _some(r, _HEX, 8),
    "sha": lambda r: "sha256:" + _some(r, _HEX, 64),
    "uuid": lambda r: "-".join(_some(r, _HEX, n) for n in (8, 4, 4, 4, 12)),
    "isbn": _isbn,
    "order": lambda r: f"{r.choice('ABKR')}-{_digits(r, 4)}-{_digits(r, 5)}",
    "date": lambda r: f"20{r.randint(10, 29)}-{r.randint(1, 12):02}-{r.randint(1, 28):02}",
    "stamp": lambda r: f"20{_digits(r, 2)}{r.randint(10, 12)}{r.randint(10, 28)}T{_digits(r, 6)}Z",
    "epoch": lambda r: f"17{_digits(r, 8)}",
    "price": lambda r: f"{r.randint(1, 9)},{_digits(r, 3)},{_digits(r, 3)}.{_digits(r, 2)}",
    "big": _no_card,
    "float": lambda r: f"0.{_digits(r, 12)}",
}
