"""The details of a GGUF header, for `tchat models show`. Texts are raw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tchat.models.gguf.header import Array, Header, Tensor, Value, is_integer
from tchat.models.gguf.header_parser import STRING, read_model_header, read_strings

TOKENS = "tokenizer.ggml.tokens"
ID_ENDING = "_token_id"
TEMPLATE = "tokenizer.chat_template"
LICENCE = ("general.license.name", "general.license", "general.license.link")

ReadStrings = Callable[[Array, Iterable[int]], Mapping[int, str]]


class SpecialToken(NamedTuple):
    """A special token: ``bos``, ``eos``, ``padding``; ``text`` is None for an invalid id."""

    role: str
    id: int
    text: str | None


class TensorGroup(NamedTuple):
    """The tensors of one type."""

    type: str
    tensors: int
    weights: int
    size: int


@dataclass(frozen=True, slots=True)
class HeaderDetails:
    """The details of a header.

    Attributes:
        licence: As declared; empty when not declared.
        template: Chat template; empty when there is none.
        templates: Names of further templates, such as ``tool_use``.
        special: Special tokens.
        adds: Whether the tokenizer adds ``bos`` before and ``eos`` behind a prompt; None when the
            header does not say.
        tensors: By type, the most bytes first.
        metadata: All keys except the template, in the order of the file.
    """

    version: int
    licence: str
    template: str
    templates: tuple[str, ...]
    special: tuple[SpecialToken, ...]
    adds: Mapping[str, bool | None]
    tensors: tuple[TensorGroup, ...]
    metadata: Mapping[str, Value]


def read_details(path: Path) -> HeaderDetails:
    """Read the details from the header of ``path`` and its further parts.

    Raises:
        ModelNotFound: The file, or a part of it, is not there.
        ModelInvalid: It is not a GGUF file, or is damaged.
    """
    header, _ = read_model_header(path)
    return extract_details(header, lambda array, indexes: read_strings(path, array, indexes))


def extract_details(header: Header, strings: ReadStrings) -> HeaderDetails:
    """The details of a header with the tensors of all parts.

    ``strings`` reads elements of a long array of strings by index.
    """
    return HeaderDetails(
        version=header.version,
        licence=next(filter(None, map(header.text, LICENCE)), ""),
        template=header.chat_template,
        templates=tuple(
            key.removeprefix(f"{TEMPLATE}.")
            for key in header.metadata
            if key.startswith(f"{TEMPLATE}.")
        ),
        special=tuple(_special(header, strings)),
        adds={mark: _flag(header, f"tokenizer.ggml.add_{mark}_token") for mark in ("bos", "eos")},
        tensors=_by_type(header.tensors),
        metadata={key: value for key, value in header.metadata.items() if key != TEMPLATE},
    )


def _special(header: Header, strings: ReadStrings) -> Iterator[SpecialToken]:
    numbers = {
        key.rpartition(".")[2].removesuffix(ID_ENDING): value
        for key, value in header.metadata.items()
        if key.startswith("tokenizer.ggml.") and key.endswith(ID_ENDING) and is_integer(value)
    }
    tokens = header.metadata.get(TOKENS)
    texts: Mapping[int, str] = {}
    if isinstance(tokens, Array) and tokens.type == STRING:
        texts = strings(tokens, numbers.values())
    for role, number in numbers.items():
        yield SpecialToken(role, number, texts.get(number))


def _flag(header: Header, key: str) -> bool | None:
    value = header.metadata.get(key)
    return value if isinstance(value, bool) else None


def _by_type(tensors: Iterable[Tensor]) -> tuple[TensorGroup, ...]:
    groups: dict[str, list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.type].append(tensor)
    counted = (
        TensorGroup(kind, len(group), sum(t.elements for t in group), sum(t.size for t in group))
        for kind, group in groups.items()
    )
    return tuple(sorted(counted, key=lambda group: -group.size))
