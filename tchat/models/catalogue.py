"""The catalogue: some twenty recommended models with short names such as ``qwen3:0.6b``.

Each is looked up by its name, and recommended for a machine: which quantization, whether it fits,
how fast it runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from tchat.errors import ModelError
from tchat.humanize import count_text
from tchat.models.hub.repository import HubName, ModelNotDownloaded
from tchat.models.memory import Machine, ModelDimensions
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.starter import STARTER, is_starter, starter_file
from tchat.paths import Paths
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.models.fit_report import FitVerdict
    from tchat.models.metadata import MetadataCache

FILE = Path(__file__).with_name("catalogue.toml")
TOKEN_STRING = 40  # bytes of one entry of the vocabulary in a file


class Bits(NamedTuple):
    """Bits per weight, by the tensor."""

    blocks: float
    output: float
    input: float


# Bits per weight of llama.cpp's quantizations, measured from file sizes on the hub.
BITS = MappingProxyType(
    {
        "Q8_0": Bits(8.5, 8.5, 8.5),
        "Q6_K": Bits(6.57, 6.5625, 6.5625),
        "Q5_K_M": Bits(5.67, 6.5625, 5.5),
        "Q4_K_M": Bits(4.82, 6.5625, 4.5),
        "Q3_K_M": Bits(3.85, 6.5625, 3.4375),
        "Q2_K": Bits(2.95, 6.5625, 2.625),
        "MXFP4": Bits(4.4, 8.5, 8.5),
    }
)


ABILITIES = ("chat", "code", "reasoning", "vision", "tools")
COMFORTABLE = 8.0  # tokens per second: about as fast as people read


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A model of the catalogue, called ``family:tag``.

    ``quantizations`` are those in its repository, the largest first. ``parameters`` counts weights,
    ``context`` tokens that it was trained for. ``starter`` is the model that comes with tchat. The
    other fields are those of ``catalogue.toml``; see `ModelDimensions`.
    """

    family: str
    tag: str
    title: str
    maker: str
    licence: str
    languages: str
    purpose: str
    abilities: tuple[str, ...]
    repo: str
    quantizations: tuple[str, ...]
    parameters: int
    context: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    feed_forward: int = 0
    tied: bool = False
    window: int = 0
    whole_every: int = 1
    experts: int = 0
    experts_used: int = 0
    expert_width: int = 0
    starter: bool = False

    @property
    def name(self) -> str:
        """Its short name: ``qwen3:0.6b``."""
        return f"{self.family}:{self.tag}"

    @property
    def active(self) -> int:
        """Weights used for one token: all, less the idle experts."""
        idle = self.experts - self.experts_used
        return self.parameters - self._expert_weights * idle // max(self.experts, 1)

    @property
    def weights(self) -> str:
        """The number of weights as text: ``8.2B``, ``31B, 3.4B active``."""
        active = tr(", {active} active", active=count_text(self.active)) if self.experts else ""
        return count_text(self.parameters) + active

    @property
    def files(self) -> tuple[QuantizedFile, ...]:
        """Its quantizations with their estimated file sizes, right within a few per cent."""
        return tuple(
            QuantizedFile(each, self.dimensions(each).weights + self.vocabulary * TOKEN_STRING)
            for each in self.quantizations
        )

    def dimensions(self, quantization: str) -> ModelDimensions:
        """Its dimensions in a quantization of `BITS`."""
        bits = BITS[quantization]
        embedding = self.vocabulary * self.width
        whole = self.layers // self.whole_every
        kv_width = 2 * self.kv_heads * self.head
        blocks = self.parameters - embedding * (1 if self.tied else 2)
        return ModelDimensions(
            layers=self.layers,
            width=self.width,
            feed_forward=self.feed_forward or self.experts_used * self.expert_width,
            heads=self.heads,
            kv_width=whole * kv_width,
            window_width=(self.layers - whole) * kv_width,
            window=self.window,
            vocabulary=self.vocabulary,
            merges=self.vocabulary,
            input=_bytes(embedding, bits.output if self.tied else bits.input),
            output=0 if self.tied else _bytes(embedding, bits.output),
            blocks=_bytes(blocks, bits.blocks),
            experts=_bytes(self._expert_weights, bits.blocks),
            expert_share=self.experts_used / self.experts if self.experts else 0.0,
        )

    @property
    def _expert_weights(self) -> int:
        return self.layers * self.experts * 3 * self.width * self.expert_width


class QuantizedFile(NamedTuple):
    """A file of a model: its quantization, and its size in bytes."""

    quantization: str
    size: int


@cache
def load_catalogue() -> Mapping[str, CatalogueEntry]:
    """All models by name, the smallest first. Read at the first call, some 3 ms."""
    import tomllib

    families = tomllib.loads(FILE.read_text(encoding="utf-8"))
    entries = [
        CatalogueEntry(family=family, **_merged(facts, size))
        for family, facts in families.items()
        for size in facts["sizes"]
    ]
    ordered = sorted(entries, key=lambda entry: entry.parameters)
    return MappingProxyType({entry.name: entry for entry in ordered})


def find_entry(name: str) -> tuple[CatalogueEntry, HubName] | None:
    """The entry named ``FAMILY:SIZE`` or ``FAMILY:SIZE:QUANT``, and its name on the hub."""
    family, _, rest = name.partition(":")
    tag, _, quantization = rest.partition(":")
    entry = load_catalogue().get(f"{family}:{tag}".lower())
    return (entry, HubName(entry.repo, quantization=quantization)) if entry else None


def sizes_of(family: str) -> list[str]:
    """The names of all sizes of a family; empty for an unknown family."""
    return [each.name for each in load_catalogue().values() if each.family == family.lower()]


def similar_in_catalogue(name: str) -> list[str]:
    """Catalogue names close to ``name``: the sizes of a family, similar or longer names."""
    from difflib import get_close_matches

    lower, known = name.lower(), list(load_catalogue())
    similar = [each for each in known if each.startswith(lower)] if len(lower) > 2 else []
    return (sizes_of(name) or get_close_matches(lower, known, cutoff=0.7) or similar)[:3]


def _merged(family: Mapping[str, Any], size: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a size, completed by those of its family."""
    facts = {**family, **size}
    lists = {name: tuple(facts[name]) for name in ("quantizations", "abilities")}
    del facts["sizes"]
    return facts | lists


def _bytes(weights: int, bits: float) -> int:
    return int(weights * bits / 8)


def downloaded(name: str, hub_cache: HubCacheSource) -> Path | None:
    """The file of a model of the catalogue; None when the catalogue does not have the name.

    Raises:
        ModelNotDownloaded: There is no file.
    """
    found = find_entry(name)
    if found is None:
        return None
    entry, remote = found
    path = hub_cache.find(str(remote))
    if path is None and entry.starter and not remote.quantization:
        with contextlib.suppress(ModelError):
            path = starter_file()
    if path is None:
        raise ModelNotDownloaded(name, remote)
    return path


@dataclass(frozen=True, slots=True)
class Recommendation:
    """How a model of the catalogue runs on a machine.

    Attributes:
        file: The quantization on this disk, else the best for the machine, with its size.
        speed: Decode speed with a short context in tokens per second; 0 when unknown.
        known: Whether the speed was measured in use.
        path: Its file; None when it is not on this disk.
    """

    entry: CatalogueEntry
    file: QuantizedFile
    fit: FitVerdict
    speed: float
    known: bool = False
    path: Path | None = None

    @property
    def name(self) -> str:
        """Its short name; that of the starter model where this is its file."""
        return STARTER if self.path is not None and is_starter(self.path) else self.entry.name


def recommend(
    machine: Machine,
    metadata_cache: MetadataCache,
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
) -> list[Recommendation]:
    """All models of the catalogue, the smallest first."""
    hub_cache = HubCacheSource(paths, environ)
    return [
        _downloaded(entry, hub_cache, machine, metadata_cache) or _not_downloaded(entry, machine)
        for entry in load_catalogue().values()
    ]


def best_for_chat(models: Iterable[Recommendation]) -> Recommendation | None:
    """The largest chat model that fits well and is fast enough to read along; None where none does.

    Where no speed is known, the fit decides. Of two that are alike, one on this disk is better.
    """
    fitting = [each for each in models if each.fit.good and "chat" in each.entry.abilities]
    fast = [each for each in fitting if not each.speed or each.speed >= COMFORTABLE]
    return max(fast, key=lambda each: (each.entry.parameters, each.path is not None), default=None)


def _downloaded(
    entry: CatalogueEntry,
    hub_cache: HubCacheSource,
    machine: Machine,
    metadata_cache: MetadataCache,
) -> Recommendation | None:
    try:
        path = downloaded(entry.name, hub_cache)
        metadata = metadata_cache.metadata(path) if path else None
    except ModelError:
        return None
    if metadata is None:
        return None
    fit, speed = _judged(metadata.dimensions, metadata.context_length, machine)
    known = metadata_cache.speed(metadata)
    file = QuantizedFile(metadata.quantization, metadata.size)
    return Recommendation(entry, file, fit, known or speed, known > 0, path)


def _not_downloaded(entry: CatalogueEntry, machine: Machine) -> Recommendation:
    from tchat.models.fit_report import choose_quantization  # not needed to look up a name

    files = entry.files
    dimensions = entry.dimensions(files[0].quantization)
    best, _ = choose_quantization(files, dimensions, files[0], entry.context, machine)
    return Recommendation(
        entry, best, *_judged(entry.dimensions(best.quantization), entry.context, machine)
    )


def _judged(
    dimensions: ModelDimensions, context: int, machine: Machine
) -> tuple[FitVerdict, float]:
    from tchat.models.fit_report import assess_fit, default_plan, expected_speed

    plan = default_plan(dimensions, context, machine)
    return assess_fit(dimensions, context, machine), expected_speed(dimensions, plan, machine)


_CODERS = ("coder", "code-", "codestral", "codegemma", "codellama", "starcoder", "devstral")
_THINKERS = ("-r1", "qwq", "thinking", "reasoning", "magistral")
_SEERS = ("-vl", "vision", "llava", "minicpm-v", "pixtral", "moondream", "smolvlm")
_THINKING = ("<think>", "enable_thinking", "reasoning_effort", "reasoning_content")


def guess_abilities(name: str, chat_template: str) -> tuple[str, ...]:
    """What a model that is not in the catalogue is good for, by its name and its chat template."""
    folded = name.casefold()

    def named(words: tuple[str, ...]) -> bool:
        return any(word in folded for word in words)

    is_coder = named(_CODERS)
    found = {
        "chat": not is_coder,
        "code": is_coder,
        "reasoning": named(_THINKERS) or any(word in chat_template for word in _THINKING),
        "vision": named(_SEERS),
        "tools": "tools" in chat_template,
    }
    return tuple(each for each in ABILITIES if found[each])
