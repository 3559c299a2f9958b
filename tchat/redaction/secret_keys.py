"""Finds keys, tokens and passwords: by the shapes that services give them, by context, by entropy.

The shapes are those that the services document for secret scanning.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from tchat.redaction.sensitive_span import CJK, DataKind, SensitiveSpan

_SHAPES = re.compile(
    r"""
    (?<![A-Za-z0-9_-])(?:
        (?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,}          # Stripe
      | sk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}                    # OpenAI, Anthropic, OpenRouter
      | gh[pousr]_[A-Za-z0-9]{36,} | github_pat_\w{22,}      # GitHub
      | glpat-[\w-]{20,}                                     # GitLab
      | (?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}                  # AWS
      | AIza[\w-]{35} | ya29\.[\w-]{20,} | GOCSPX-[\w-]{20,} # Google
      | xox[abeoprs]-[A-Za-z0-9-]{10,} | xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{20,}   # Slack
      | hf_[A-Za-z0-9]{30,}                                  # Hugging Face
      | npm_[A-Za-z0-9]{36} | pypi-AgEI[\w-]{50,}            # npm, PyPI
      | SG\.[\w-]{16,32}\.[\w-]{32,64}                       # SendGrid
      | dop_v1_[a-f0-9]{64} | r8_[A-Za-z0-9]{30,} | gsk_[A-Za-z0-9]{40,}       # DigitalOcean …
      | xai-[A-Za-z0-9]{40,} | nvapi-[\w-]{40,} | tvly-[\w-]{20,}
      | \d{8,10}:AA[\w-]{33}                                 # Telegram
      | eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}                # JSON Web Token
      | shp(?:at|ca|pa|ss)_[a-f0-9]{32} | dapi[a-f0-9]{32}      # Shopify, Databricks
      | SK[a-f0-9]{32} | key-[a-f0-9]{32} | rubygems_[a-f0-9]{48}              # Twilio, Mailgun …
      | dckr_pat_[\w-]{20,} | lin_api_\w{30,} | ntn_\w{40,} | glsa_\w{32,}    # Docker, Linear …
      | hvs\.[\w-]{20,} | dp\.[a-z]{2}\.\w{40,} | figd_[\w-]{30,} | PMAK-[a-f0-9-]{40,}
      | tskey-[a-z]+-\w{10,}-\w{20,} | sbp_[a-f0-9]{40} | pat\w{14}\.[a-f0-9]{64}
      | age1[a-z0-9]{58} | AGE-SECRET-KEY-1[A-Z0-9]{58}
    )(?![A-Za-z0-9_-])
    | https://hooks\.slack\.com/(?:services|workflows)/[\w/]{20,}
    """,
    re.VERBOSE,
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9 ]* )?PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END (?:[A-Z0-9 ]* )?PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]*:([^\s/@]{3,})@")
_BEARER = re.compile(r"\b(?:Bearer|Basic|Token)\s+([A-Za-z0-9._~+/=-]{16,})")
# A word for a secret, a sign of assignment, a value: in configuration, code and plain sentences.
_NAMES = (
    r"(?:pass(?:word|wd|phrase|code)|passwort|kennwort|mot\ de\ passe|secret|api[ _-]?key|"
    r"access[ _-]?key|auth[ _-]?token|token|pin|contraseña|clave(?:\ de\ acceso|\ secreta|\ api)?|"
    r"senha|jeton|schlüssel|zugangscode|密码|口令|密钥|令牌|暗号)"
)
_ASSIGNED = re.compile(
    rf"""(?:(?<![A-Za-z0-9])|(?<=[_-])){_NAMES}(?:[_-][A-Za-z0-9_-]+)?["']?
    \s*(?:[:=：]=?|\bis\b|\bist\b|\blautet\b|\best\b|\bes\b|是|为)\s*
    (?:"([^"\n]{{4,}})"|'([^'\n]{{4,}})'|([^\s"'`,;(){{}}<>\[\]\u2018-\u201f\u3000-\u303f\uff00-\uff65{CJK}]{{4,}}+)(?!\())""",
    re.VERBOSE | re.IGNORECASE,
)
# Digits of a hash may be a secret where a word says so: "the token 3f9a…".
_NAMED_HEX = re.compile(
    rf"(?<![A-Za-z0-9]){_NAMES}\s(?=[a-f]*\d)([0-9a-f]{{32,128}})(?![A-Za-z0-9])",
    re.VERBOSE | re.IGNORECASE,
)
_PATH_PART = re.compile(r"[A-Z]?[a-z]*(?:[-_][A-Z]?[a-z]+)*|\d{1,4}")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_=.-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/_=-])")
_HASH = re.compile(r"[0-9a-f]+|[0-9A-F]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VOWEL_WORD = re.compile(r"[A-Z]?[a-z]{4,}")
MIN_ENTROPY = 4.0  # bits a character, of a token that stands alone


def find_secret_keys(text: str) -> Iterator[SensitiveSpan]:
    """Keys, tokens, passwords."""
    for pattern in (_PRIVATE_KEY, _SHAPES):
        for match in pattern.finditer(text):
            yield SensitiveSpan(match.start(), match.end(), DataKind.KEY)
    for pattern in (_URL_PASSWORD, _BEARER):
        for match in pattern.finditer(text):
            yield SensitiveSpan(match.start(1), match.end(1), DataKind.KEY)
    for match in _ASSIGNED.finditer(text):
        group = match.lastindex or 0
        value = match.group(group)
        start = match.start(group)
        bare = value.rstrip(".?:)") if group == 3 else value
        if _may_be_secret(bare):
            yield SensitiveSpan(start, start + len(bare), DataKind.KEY)
    for match in _NAMED_HEX.finditer(text):
        yield SensitiveSpan(match.start(1), match.end(1), DataKind.KEY)
    for match in _TOKEN.finditer(text):
        if is_random(match.group()):
            yield SensitiveSpan(match.start(), match.end(), DataKind.KEY)


def _may_be_secret(value: str) -> bool:
    """Whether a value that is called a password may be one: no plain word, no blank to fill."""
    if value.startswith(("$", "<", "{", "%", "os.", "env", "process.")) or len(value) < 4:
        return False
    if set(value) <= set("*.x•_-"):
        return False
    return any(not each.isalpha() for each in value) or (
        value.isascii() and not value.islower() and not value.istitle() and not value.isupper()
    )


def is_random(token: str) -> bool:
    """Whether a token looks drawn: letters of both cases and digits, and high entropy.

    Hashes and UUIDs are no secrets, and paths and names in code are made of words.
    """
    if _HASH.fullmatch(token) or not any(each.isdigit() for each in token):
        return False
    if not (any(each.islower() for each in token) and any(each.isupper() for each in token)):
        return False
    parts = token.split("/")
    if len(parts) > 2 and 2 * sum(map(bool, map(_PATH_PART.fullmatch, parts))) > len(parts):
        return False
    words = sum(len(each) for each in _VOWEL_WORD.findall(token))
    return words * 2 < len(token) and entropy(token) >= min(
        MIN_ENTROPY, math.log2(len(token)) - 0.8
    )


def entropy(text: str) -> float:
    """Shannon entropy of the characters of a text, in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())
