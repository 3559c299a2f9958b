"""An entry of the catalogue: a model with its facts, and the files that follow from its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple

from tchat.humanize import count_text
from tchat.models.hyperparameters import Hyperparameters
from tchat.models.memory import ModelDimensions
from tchat.translation import tr

TOKEN_STRING = 40  # bytes of one entry of the vocabulary in a file
ABILITIES = ("chat", "code", "reasoning", "vision", "tools")
EMBEDDING = "embedding"  # of models that cannot chat
ALL_ABILITIES = (*ABILITIES, EMBEDDING)
SHAPE = frozenset(each.name for each in fields(Hyperparameters))
SIZES = "sizes"
DEFAULT_TAG = "latest"


class QuantizedFile(NamedTuple):
    """A file of a model: its quantization, and its size in bytes."""

    quantization: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A model of the catalogue, called ``family:tag``.

    The fields are those of ``catalogue.toml``.

    Attributes:
        quantizations: Those in its repository, the largest first.
        parameters: Number of weights.
        context: Tokens that it was trained for.
        year: Of its release; 0 when unknown.
        mmproj: The file that reads pictures, of the repository or as ``OWNER/REPO/FILE``.
        draft: The draft model (MTP), likewise.
        sampling: What its maker recommends, by llama.cpp's names; may be empty.
        starter: Whether it is the model that comes with tchat.
        own: Whether the user wrote it.
    """

    family: str
    tag: str
    repo: str
    quantizations: tuple[str, ...]
    hparams: Hyperparameters
    title: str = ""
    maker: str = ""
    licence: str = ""
    languages: str = ""
    purpose: str = ""
    abilities: tuple[str, ...] = ("chat",)
    parameters: int = 0
    context: int = 0
    year: int = 0
    mmproj: str = ""
    draft: str = ""
    source: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    starter: bool = False
    own: bool = False

    @property
    def name(self) -> str:
        """Its short name: ``qwen3:0.6b``."""
        return f"{self.family}:{self.tag}"

    @property
    def active(self) -> int:
        """Weights used for one token: all, less the idle experts."""
        idle = self.hparams.experts - self.hparams.experts_used
        return self.parameters - self.hparams.expert_weights * idle // max(self.hparams.experts, 1)

    @property
    def weights(self) -> str:
        """The number of weights as text: ``8.2B``, ``31B, 3.4B active``."""
        weights = count_text(self.parameters)
        if not self.hparams.experts:
            return weights
        return tr("{weights}, {active} active", weights=weights, active=count_text(self.active))

    @property
    def files(self) -> tuple[QuantizedFile, ...]:
        """Its quantizations with their estimated file sizes, right within a few per cent."""
        strings = self.hparams.vocabulary * TOKEN_STRING
        return tuple(
            QuantizedFile(each, self.dimensions(each).weights + strings)
            for each in self.quantizations
        )

    def dimensions(self, quantization: str) -> ModelDimensions:
        """Its dimensions in a quantization."""
        return self.hparams.dimensions(quantization, self.parameters)


def entries_of(document: Mapping[str, Any]) -> Iterator[CatalogueEntry]:
    """The entries of a document whose types are right."""
    for family, facts in document.items():
        for size in facts.get(SIZES, [{}]):
            yield entry_of(family, merged(facts, size))


def merged(family: Mapping[str, Any], size: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a size, completed by those of its family."""
    found = {**family, **size}
    found.pop(SIZES, None)
    return found


def entry_of(family: str, facts: Mapping[str, Any], *, own: bool = False) -> CatalogueEntry:
    """The entry with these facts."""
    hparams = Hyperparameters(**{name: value for name, value in facts.items() if name in SHAPE})
    rest = {name: value for name, value in facts.items() if name not in SHAPE}
    for name in ("quantizations", "abilities"):
        if name in rest:
            rest[name] = tuple(rest[name])
    rest["sampling"] = MappingProxyType(dict(rest.get("sampling", {})))
    rest["parameters"] = rest.get("parameters", 0) or hparams.parameters
    rest.setdefault("tag", DEFAULT_TAG)
    return CatalogueEntry(family=family, hparams=hparams, own=own, **rest)
