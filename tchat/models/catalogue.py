"""The catalogue: recommended models with short names such as ``qwen3:0.6b``, and the user's own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from tchat.errors import ModelError
from tchat.models.catalogue_entry import ABILITIES, CatalogueEntry, entries_of
from tchat.models.hub.repository import HubName, ModelNotDownloaded
from tchat.models.sources.hub_cache import HubCacheSource
from tchat.models.sources.starter import starter_file
from tchat.paths import Paths

FILE = Path(__file__).with_name("catalogue.toml")


def load_catalogue(paths: Paths | None = None) -> Mapping[str, CatalogueEntry]:
    """All models by name, the smallest first; with ``paths``, also those of the user's file.

    Raises:
        UsageError: The user's file is broken.
        StorageError: It cannot be read.
    """
    built_in = _built_in()
    if paths is None:
        return built_in
    from tchat.models.user_catalogue import own_entries

    own = {entry.name: entry for entry in own_entries(paths, built_in.keys())}
    return _by_size({**built_in, **own}) if own else built_in


@cache
def _built_in() -> Mapping[str, CatalogueEntry]:
    """The models that come with tchat. Read at the first call, some 10 ms."""
    import tomllib

    document = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return _by_size({entry.name: entry for entry in entries_of(document)})


def _by_size(entries: Mapping[str, CatalogueEntry]) -> Mapping[str, CatalogueEntry]:
    ordered = sorted(entries.values(), key=lambda entry: entry.parameters)
    return MappingProxyType({entry.name: entry for entry in ordered})


def find_entry(name: str, paths: Paths | None = None) -> tuple[CatalogueEntry, HubName] | None:
    """The entry named ``FAMILY:SIZE`` or ``FAMILY:SIZE:QUANT``, and its name on the hub."""
    family, _, rest = name.partition(":")
    tag, _, quantization = rest.partition(":")
    entry = load_catalogue(paths).get(f"{family}:{tag}".lower())
    return (entry, HubName(entry.repo, quantization=quantization)) if entry else None


def sizes_of(family: str, paths: Paths | None = None) -> list[str]:
    """The names of all sizes of a family; empty for an unknown family."""
    known = load_catalogue(paths).values()
    return [each.name for each in known if each.family == family.lower()]


def similar_in_catalogue(name: str, paths: Paths | None = None) -> list[str]:
    """Catalogue names close to ``name`` that can be pulled.

    They are the sizes of its family, longer names, similar ones, or the sizes of similar families.
    """
    from difflib import get_close_matches

    entries = [each for each in load_catalogue(paths).values() if not each.starter]
    lower, known = name.lower(), [each.name for each in entries]
    longer = [each for each in known if each.startswith(lower)] if len(lower) > 2 else []
    found = sizes_of(name, paths) or longer or get_close_matches(lower, known, cutoff=0.7)
    if not found:
        names = {each.family.lower() for each in entries}
        families = get_close_matches(lower.partition(":")[0], sorted(names), cutoff=0.7)
        found = [each.name for each in entries if each.family.lower() in families]
    return found[:3]


def entry_of_file(path: Path, paths: Paths | None = None) -> CatalogueEntry | None:
    """The entry whose file ``path`` is: the starter, or a file in the hub's cache; else None."""
    folders = {part.casefold() for part in path.parts if part.startswith("models--")}
    known = load_catalogue(paths).values()
    for entry in known:
        if f"models--{entry.repo.replace('/', '--')}".casefold() in folders:
            return entry
    with contextlib.suppress(ModelError):
        if path == starter_file():
            return next((entry for entry in known if entry.starter), None)
    return None


def downloaded(name: str, hub_cache: HubCacheSource, paths: Paths | None = None) -> Path | None:
    """The file of a model of the catalogue; None when the catalogue does not have the name.

    Raises:
        ModelNotDownloaded: There is no file.
    """
    found = find_entry(name, paths)
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
