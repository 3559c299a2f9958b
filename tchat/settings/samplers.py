"""The order of samplers, written as llama.cpp writes it: ``top_k;top_p;temperature``."""

from __future__ import annotations

from types import MappingProxyType

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

NAMES = (
    *("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc"),
    *("temperature", "adaptive_p"),
)
ALIASES = MappingProxyType({"nucleus": "top_p", "temp": "temperature", "typ": "typ_p"})


def parse_samplers(text: str) -> tuple[str, ...]:
    """The samplers that ``text`` names, in its order.

    Raises:
        UsageError: It names none, one twice, or one that does not exist.
    """
    words = [word.strip() for word in text.split(";")]
    names = tuple(map(_name, filter(None, words)))
    if not names:
        raise UsageError(
            tr("`samplers` names no sampler"), tr("write for example top_k;top_p;temperature")
        )
    if len(set(names)) < len(names):
        raise UsageError(
            tr("`samplers` names a sampler twice: {text}", text=single_line(text, 80)),
            tr("name each once"),
        )
    return names


def _name(word: str) -> str:
    plain = word.lower().replace("-", "_")
    without = {name.replace("_", ""): name for name in NAMES}
    name = ALIASES.get(plain, without.get(plain.replace("_", "")))
    if name is None:
        raise UsageError(
            tr("there is no sampler `{word}`", word=single_line(word, 40)),
            tr("these are: {names}", names=", ".join(NAMES)),
        )
    return name
