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
    r"(?:pass(?:word|wd|phrase|code)|pwd?|passwort|kennwort|mot\ de\ passe|secret|api[ _-]?key|"
    r"access[ _-]?key|auth[ _-]?token|token|pin|contrase[ñn]a|"
    r"clave(?:\ de\ acceso|\ secreta|\ api)?|"
    r"senha|jeton|schl(?:ü|ue)ssel|zugangscode)"
)
_CHINESE_NAMES = r"(?:密码|口令|密钥|令牌|暗号)"  # "wifi密码" has no blank before
_NAME = rf"(?:(?:(?<![A-Za-z0-9])|(?<=[_-])){_NAMES}|{_CHINESE_NAMES})"
_IS = r"(?:\b(?:is|ist|lautet|est|es)\b|c['’]est\b|是|为)"
_BARE = rf"([^\s\"'`,;(){{}}<>\[\]\u2018-\u201f\u3000-\u303f\uff00-\uff65{CJK}]{{4,}}+)(?!\()"
_ASSIGNED = re.compile(
    rf"""{_NAME}(?:[_-][A-Za-z0-9_-]+)?["']?
    \s*(?P<sign>[:=：]=?|{_IS})\s*
    (?:"([^"\n]{{4,}})"|'([^'\n]{{4,}})'|{_BARE})""",
    re.VERBOSE | re.IGNORECASE,
)
# Words may say what it is for: "the password of the printer is …".
_ASSIGNED_FAR = re.compile(
    rf"""{_NAME}(?:\s(?:for|of|to|on|from|für|fürs|von|vom|zu|zum|zur|der|des|du|de|del|para|au|pour|a|al)
    (?:\s[\w.-]{{1,24}}){{1,4}}?|[的]?[{CJK}]{{0,6}}),?\s*{_IS}\s*["'“«]?\s?{_BARE}""",
    re.VERBOSE | re.IGNORECASE,
)
# A name of code that says what it holds: ``expected_token``, ``settings.password``.
_VARIABLE = re.compile(rf"(?:[a-z]+[._])+{_NAMES}", re.VERBOSE | re.IGNORECASE)
_IDENTIFIER = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)*")
# Digits of a hash may be a secret where a word says so: "the token 3f9a…".
_NAMED_HEX = re.compile(
    rf"(?:(?<![A-Za-z0-9]){_NAMES}|{_CHINESE_NAMES})\s(?=[a-f]*\d)([0-9a-f]{{32,128}})(?![A-Za-z0-9])",
    re.VERBOSE | re.IGNORECASE,
)
_PATH_PART = re.compile(r"[A-Z]?[a-z]*(?:[-_][A-Z]?[a-z]+)*|\d{1,4}")
_TOKEN = re.compile(r"(?<![A-Za-z0-9+/_=.-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/_=-])")
_HASH = re.compile(r"[0-9a-f]+|[0-9A-F]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_VOWEL_WORD = re.compile(r"[A-Z]?[a-z]{4,}")
_BARE_GROUP = 4  # of `_ASSIGNED`: a value without quotation marks
_SHORTEST_FAR = 6  # characters of a secret that does not stand beside its name
MIN_ENTROPY = 4.0  # bits a character, of a token that stands alone


def find_secret_keys(text: str) -> Iterator[SensitiveSpan]:
    """Keys, tokens, passwords."""
    for pattern in (_PRIVATE_KEY, _SHAPES):
        for match in pattern.finditer(text):
            yield SensitiveSpan(match.start(), match.end(), DataKind.KEY)
    for pattern in (_URL_PASSWORD, _BEARER):
        for match in pattern.finditer(text):
            yield SensitiveSpan(match.start(1), match.end(1), DataKind.KEY)
    yield from _assigned(text)
    for match in _NAMED_HEX.finditer(text):
        yield SensitiveSpan(match.start(1), match.end(1), DataKind.KEY)
    for match in _TOKEN.finditer(text):
        if is_random(match.group()):
            yield SensitiveSpan(match.start(), match.end(), DataKind.KEY)


def _assigned(text: str) -> Iterator[SensitiveSpan]:
    """Values that stand behind a word for a secret."""
    for match in _ASSIGNED.finditer(text):
        group = match.lastindex or 0
        value = match.group(group)
        start = match.start(group)
        bare = value
        if group == _BARE_GROUP:
            bare = value.rstrip(".?:)")
            if _is_variable(bare, match.group("sign")):
                continue
        if _may_be_secret(bare):
            # A question mark may end the sentence or the password.
            end = len(bare) + value.startswith("?", len(bare))
            yield SensitiveSpan(start, start + end, DataKind.KEY)
    for match in _ASSIGNED_FAR.finditer(text):
        bare = match.group(1).rstrip(".:)")
        if len(bare) >= _SHORTEST_FAR and any(each.isdigit() for each in bare):
            yield SensitiveSpan(match.start(1), match.start(1) + len(bare), DataKind.KEY)


def _is_variable(value: str, sign: str) -> bool:
    """Whether a value without quotation marks is a name of code."""
    pattern = _IDENTIFIER if sign == "==" else _VARIABLE
    return pattern.fullmatch(value) is not None


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
