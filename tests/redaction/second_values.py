"""Values for the second set of held-out sentences, with true checksums, and their look-alikes."""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TypeAlias

from stdnum import iban, luhn
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir

Draw: TypeAlias = Callable[[random.Random], str]

_LETTERS = string.ascii_letters
_ALNUM = string.ascii_letters + string.digits


def some(rng: random.Random, count: int, alphabet: str = string.digits) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _web_token(rng: random.Random) -> str:
    parts = ({"alg": "RS256", "kid": some(rng, 6)}, {"iss": "auth", "sub": some(rng, 9)})
    head, claims = (
        base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts
    )
    return f"{head}.{claims}.{some(rng, 64, _ALNUM + '-_')}"


_TOKENS: tuple[Draw, ...] = (
    lambda r: "ghp_" + some(r, 36, _ALNUM),
    lambda r: "github_pat_" + some(r, 22, _ALNUM) + "_" + some(r, 59, _ALNUM),
    lambda r: "glpat-" + some(r, 20, _ALNUM),
    lambda r: "sk-proj-" + some(r, 48, _ALNUM),
    lambda r: "sk-ant-api03-" + some(r, 80, _ALNUM + "-_") + "AA",
    lambda r: "hf_" + some(r, 34, _LETTERS),
    lambda r: "AKIA" + some(r, 16, string.ascii_uppercase + "234567"),
    lambda r: "xoxb-" + some(r, 12) + "-" + some(r, 12) + "-" + some(r, 24, _ALNUM),
    lambda r: "AIza" + some(r, 35, _ALNUM + "-_"),
    lambda r: "npm_" + some(r, 36, _ALNUM),
    lambda r: "pypi-AgEIcHlwaS5vcmc" + some(r, 140, _ALNUM + "-_"),
    lambda r: "rk_live_" + some(r, 24, _ALNUM),
    _web_token,
)

_PASSWORDS: tuple[Draw, ...] = (
    lambda r: r.choice(("Lampe", "tiger", "Otono", "Mistral")) + some(r, 3) + r.choice("!?#$"),
    lambda r: some(r, 12, _ALNUM) + r.choice("!*+") + some(r, 2),
    lambda r: "-".join(some(r, 4, string.ascii_lowercase + string.digits) + "7" for _ in range(3)),
    lambda r: "S3cr3t" + r.choice("@_^") + some(r, 5, _ALNUM),
)


def _email(rng: random.Random) -> str:
    first = rng.choice(("amelie", "j.koch", "li-na", "o'brien", "maria_jose", "k.dubois", "zhao88"))
    tag = rng.choice(("", "", "+billing", "+2024"))
    domain = rng.choice(
        ("mairie-lyon.fr", "uni-jena.de", "correo.com.mx", "163.com", "sub.firm.co.uk", "gmx.net")
    )
    return f"{first}{tag}@{domain}"


_PHONES: Mapping[str, tuple[Draw, ...]] = {
    "en": (
        lambda r: f"(312) 55{some(r, 1)}-0{some(r, 3)}",
        lambda r: f"+1 206-45{some(r, 1)}-{some(r, 4)}",
        lambda r: f"020 7946 0{some(r, 3)}",
        lambda r: f"+44 7{r.choice('479')}00 {some(r, 6)}",
        lambda r: f"415.73{some(r, 1)}.{some(r, 4)}",
    ),
    "de": (
        lambda r: f"+49 151 {some(r, 8)}",
        lambda r: f"030 / 2{some(r, 7)}",
        lambda r: f"0176-{r.choice('234')}{some(r, 7)}",
        lambda r: f"+43 664 {r.choice('1234')}{some(r, 6)}",
        lambda r: f"(0221) 4{some(r, 6)}",
    ),
    "fr": (
        lambda r: f"06 {some(r, 2)} {some(r, 2)} {some(r, 2)} {some(r, 2)}",
        lambda r: f"01.4{some(r, 1)}.{some(r, 2)}.{some(r, 2)}.{some(r, 2)}",
        lambda r: f"+33 6 {some(r, 2)} {some(r, 2)} {some(r, 2)} {some(r, 2)}",
        lambda r: f"+32 2 5{some(r, 2)} {some(r, 2)} {some(r, 2)}",
        lambda r: f"0033 4 7{some(r, 1)} {some(r, 2)} {some(r, 2)} {some(r, 2)}",
    ),
    "es": (
        lambda r: f"6{r.choice('0123456789')}{some(r, 1)} {some(r, 3)} {some(r, 3)}",
        lambda r: f"+34 91{some(r, 1)} {some(r, 2)} {some(r, 2)} {some(r, 2)}",
        lambda r: f"+52 55 {r.choice('1234')}{some(r, 3)} {some(r, 4)}",
        lambda r: f"+34 6{some(r, 8)}",
    ),
    "zh": (
        lambda r: f"1{r.choice(('38', '59', '86', '77'))}{some(r, 8)}",
        lambda r: f"+86 1{r.choice(('36', '52'))} {some(r, 4)} {some(r, 4)}",
        lambda r: f"010-6{some(r, 7)}",
        lambda r: f"0755-8{some(r, 7)}",
        lambda r: f"1{r.choice(('39', '58'))}-{some(r, 4)}-{some(r, 4)}",
    ),
}


def _iban(rng: random.Random) -> str:
    country, body = rng.choice(
        (
            ("DE", some(rng, 18)),
            ("FR", some(rng, 10) + some(rng, 11, string.digits + "ABC") + some(rng, 2)),
            ("ES", some(rng, 20)),
            ("NL", "RABO" + some(rng, 10)),
            ("GB", "BARC" + some(rng, 14)),
            ("CH", some(rng, 17)),
            ("BE", some(rng, 12)),
        )
    )
    number = country + iban.calc_check_digits(f"{country}00{body}") + body
    style = rng.choice(("whole", "fours", "fours", "lower"))
    if style == "fours":
        return " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    return number.lower() if style == "lower" else number


def _card(rng: random.Random) -> str:
    start, length = rng.choice(
        (("4", 16), ("51", 16), ("54", 16), ("37", 15), ("6011", 16), ("6221", 16), ("2223", 16))
    )
    body = start + some(rng, length - 1 - len(start))
    number = body + luhn.calc_check_digit(body)
    if length == 15:
        return rng.choice((number, f"{number[:4]} {number[4:10]} {number[10:]}"))
    between = rng.choice(("", " ", "-"))
    return between.join(number[at : at + 4] for at in range(0, 16, 4))


def _tax_number(rng: random.Random) -> str:
    while True:
        digits = some(rng, 10)
        for last in string.digits:
            if idnr.is_valid(digits + last):
                whole = digits + last
                return rng.choice((whole, f"{whole[:2]} {whole[2:5]} {whole[5:8]} {whole[8:]}"))


def _social_number(rng: random.Random) -> str:
    body = (
        f"{rng.choice('12')}{rng.randrange(40, 99)}{rng.randrange(1, 13):02}"
        f"{rng.choice(('75', '69', '13', '33'))}{rng.randrange(1, 400):03}"
        f"{rng.randrange(1, 500):03}"
    )
    whole = body + nir.calc_check_digits(body)
    cuts = (0, 1, 3, 5, 7, 10, 13, 15)
    spaced = " ".join(whole[a:b] for a, b in pairwise(cuts))
    return rng.choice((whole, spaced))


def _resident(rng: random.Random) -> str:
    body = (
        f"{rng.choice(('110105', '310104', '440305', '510107', '330106'))}"
        f"{rng.randrange(1955, 2006)}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"
        f"{some(rng, 3)}"
    )
    return body + ric.calc_check_digit(body + "0")


def _spanish(rng: random.Random) -> str:
    if rng.random() < 0.5:
        body = some(rng, 8)
        return body + rng.choice(("", "-")) + dni.calc_check_digit(body)
    body = rng.choice("XYZ") + some(rng, 7)
    return body + nie.calc_check_digit(body)


def _american(rng: random.Random) -> str:
    return f"{rng.randrange(100, 665)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}"


_IDS: Mapping[str, Draw] = {
    "en": _american,
    "de": _tax_number,
    "fr": _social_number,
    "es": _spanish,
    "zh": _resident,
}

_ADDRESSES: Mapping[str, Draw] = {
    "en": lambda r: (
        f"{r.randrange(2, 4000)} {r.choice(('Maple', 'Harbour View', 'Old Mill', 'N 5th'))} "
        f"{r.choice(('Street', 'Rd', 'Avenue', 'Lane', 'Blvd'))}"
        + r.choice(("", ", Apt 4B", ", Springfield, IL 62704"))
    ),
    "de": lambda r: (
        f"{r.choice(('Lindenstraße', 'Am Markt', 'Goethestr.', 'Kirchweg', 'Berliner Allee'))} "
        f"{r.randrange(1, 190)}{r.choice(('', 'a', ' b'))}, "
        f"{r.choice(('50667 Köln', '04109 Leipzig', '80331 München'))}"
    ),
    "fr": lambda r: (
        f"{r.randrange(1, 180)}{r.choice(('', ' bis', ','))} "
        f"{r.choice(('rue de la République', 'avenue Jean Jaurès', 'boulevard Voltaire'))}, "
        f"{r.choice(('69002 Lyon', '75011 Paris', '13006 Marseille'))}"
    ),
    "es": lambda r: (
        f"{r.choice(('Calle de Alcalá', 'C/ Mayor', 'Avenida de la Constitución', 'Plaza Nueva'))}"
        f"{r.choice((', ', ' '))}{r.randrange(1, 200)}{r.choice(('', ', 2º B', ', 28013 Madrid'))}"
    ),
    "zh": lambda r: (
        f"{r.choice(('北京市朝阳区建国路', '上海市徐汇区漕溪北路', '深圳市南山区科技园南路'))}"
        f"{r.randrange(1, 999)}号{r.choice(('', '2单元501室', '3栋'))}"
    ),
}


def _host(rng: random.Random) -> str:
    octets = [rng.randrange(1, 254) for _ in range(4)]
    return rng.choice(
        (
            f"10.{octets[1]}.{octets[2]}.{octets[3]}",
            f"192.168.{octets[2]}.{octets[3]}",
            f"{rng.choice((51, 93, 185))}.{octets[1]}.{octets[2]}.{octets[3]}",
            f"fd{some(rng, 2, '0123456789abcdef')}:1234::{rng.randrange(1, 9000):x}",
            f"2001:db8:{rng.randrange(1, 9000):x}:12::{rng.randrange(1, 9000):x}",
            f"{rng.choice(('db', 'worker', 'nas'))}-{some(rng, 2)}.corp.internal",
            f"{rng.choice(('printer', 'build7', 'media'))}.lan",
            f"{rng.choice(('pi', 'laptop-anna'))}.local",
            f"redis.{rng.choice(('staging', 'prod'))}.svc.cluster.local",
            f"vpn{some(rng, 1)}.intra.mittelbau.example",
        )
    )


def _user(rng: random.Random) -> str:
    return rng.choice(("aroussel", "jkoch", "lina.zhao", "mgarcia", "tom_b", "s-weber", "pierre"))


OWN_WORDS = ("Operation Blaubeere", "Helvion", "Madame Okoye", "青松项目", "RZ-Delta")


def value(kind: str, language: str, rng: random.Random) -> str:
    """Return a value of `kind` as people of `language` write it."""
    draws: Mapping[str, Draw] = {
        "token": lambda r: r.choice(_TOKENS)(r),
        "password": lambda r: r.choice(_PASSWORDS)(r),
        "email": _email,
        "phone": lambda r: r.choice(_PHONES[language])(r),
        "iban": _iban,
        "card": _card,
        "id": _IDS[language],
        "address": _ADDRESSES[language],
        "host": _host,
        "user": _user,
        "word": lambda r: r.choice(OWN_WORDS),
    }
    return draws[kind](rng)


def _bad_card(rng: random.Random) -> str:
    number = "4" + some(rng, 14)
    right = luhn.calc_check_digit(number)
    return number + str((int(right) + 3) % 10)


LOOK_ALIKES: Mapping[str, Draw] = {
    "uuid": lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)),
    "sha1": lambda r: some(r, 40, "0123456789abcdef"),
    "sha256": lambda r: some(r, 64, "0123456789abcdef"),
    "version": lambda r: f"{r.randrange(20)}.{r.randrange(30)}.{r.randrange(99)}",
    "bad_card": _bad_card,
    "stamp": lambda r: f"17{some(r, 8)}",
    "millis": lambda r: f"17{some(r, 11)}",
    "clock": lambda r: f"{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02}",
    "date": lambda r: f"20{r.randrange(10, 30)}-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}",
    "order": lambda r: f"{some(r, 3)}-{some(r, 7)}-{some(r, 7)}",
    "float": lambda r: f"{r.random():.12f}",
    "count": lambda r: f"{r.randrange(10**6, 10**8):,}",
    "isbn": lambda r: f"978-3-{some(r, 5)}-{some(r, 3)}-{some(r, 1)}",
    "n": lambda r: str(r.randrange(2, 900)),
}
