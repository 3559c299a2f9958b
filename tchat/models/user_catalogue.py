"""The user's own ``catalogue.toml``, in the form of the catalogue that comes with tchat.

::

    [house]
    tag = "7b"
    repo = "acme/House-7B-GGUF"
    quantizations = ["Q8_0", "Q4_K_M"]
    parameters = 7_600_000_000
    abilities = ["chat", "tools"]

With the keys of `tchat.models.hyperparameters` the memory of its context is known too. A name of
tchat's catalogue is refused unless the entry says ``replaces = true``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields
from typing import Any

from tchat.errors import UsageError
from tchat.models.catalogue_entry import (
    ALL_ABILITIES,
    DEFAULT_TAG,
    SHAPE,
    SIZES,
    CatalogueEntry,
    entry_of,
    merged,
)
from tchat.models.hub.repository import is_safe_path, parse_hub_name
from tchat.models.hyperparameters import MIXERS, Hyperparameters, known_quantization
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.settings.keys import FOREIGN_NAMES, keys
from tchat.settings.load import EDIT_HINT, parse_toml, read_text
from tchat.translation import tr

NAME = re.compile(r"\w[\w.-]{0,59}")
REPLACES = "replaces"
TEXTS = frozenset({"title", "maker", "licence", "languages", "purpose", "source"})
FILES = frozenset({"mmproj", "draft"})
LISTS = frozenset({"quantizations", "abilities"})
COUNTS = frozenset({"parameters", "context", "year"})
OTHERS = frozenset({"tag", "repo", "sampling", REPLACES})
KEYS = TEXTS | FILES | LISTS | COUNTS | OTHERS | SHAPE
FLAGS = frozenset(each.name for each in fields(Hyperparameters) if each.type == "bool") | {REPLACES}
MOST_LAYERS = 10_000
MOST_SIZE = 10**8  # of a dimension
MOST_WEIGHTS = 10**14
MOST_SAMPLING = 10.0**6


def own_entries(paths: Paths, known: Collection[str]) -> list[CatalogueEntry]:
    """The entries of the user's file; ``known`` are the names of tchat's catalogue.

    Raises:
        UsageError: The file is broken; names the entry and what is wrong with it.
        StorageError: It cannot be read.
    """
    # Without the file, which is the usual case, this costs one `stat`.
    if not os.path.lexists(paths.catalogue_file):
        return []
    document = parse_toml(read_text(paths.catalogue_file), paths.catalogue_file)
    found: dict[str, CatalogueEntry] = {}
    for family, facts in document.items():
        for entry, replaces in _entries(family, facts, paths):
            if entry.name in found:
                raise _broken(paths, entry.name, tr("it is there twice"))
            if entry.name in known and not replaces:
                problem = tr("tchat's catalogue has this name; rename it, or set replaces = true")
                raise _broken(paths, entry.name, problem)
            found[entry.name] = entry
    return list(found.values())


def _entries(family: str, facts: object, paths: Paths) -> Iterator[tuple[CatalogueEntry, bool]]:
    shown = single_line(family, 60)
    if not NAME.fullmatch(family) or family != family.lower():
        problem = tr("a name is of lower-case letters, digits and . _ -")
        raise _broken(paths, shown, problem)
    if not isinstance(facts, dict):
        raise _broken(paths, shown, tr("it must be a table, written [{name}]", name=shown))
    sizes = facts.get(SIZES, [{}])
    if not isinstance(sizes, list) or not all(isinstance(each, dict) for each in sizes):
        problem = tr("its sizes must be tables, written [[{name}.sizes]]", name=shown)
        raise _broken(paths, shown, problem)
    for size in sizes:
        own = merged(facts, size)
        tag = own.get("tag", DEFAULT_TAG)
        name = f"{shown}:{single_line(str(tag), 60)}"
        problem = next(_problems(own), "")
        if problem:
            raise _broken(paths, name, problem)
        replaces = own.pop(REPLACES, False)
        texts = {key: single_line(own[key], 200) for key in TEXTS & own.keys()}
        yield entry_of(family, {"title": shown, **own, **texts}, own=True), replaces


def _problems(facts: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with an entry, the first thing first."""
    for key, value in facts.items():
        yield from _problems_of(key, value)
    tag = facts.get("tag", DEFAULT_TAG)
    if not NAME.fullmatch(tag) or tag != tag.lower():
        yield tr("its tag must be of lower-case letters, digits and . _ -")
    remote = parse_hub_name(facts.get("repo", ""))
    if remote is None or remote.quantization or remote.file:
        yield tr("its repo must be written OWNER/REPO")
    if not facts.get("quantizations"):
        yield tr('it needs quantizations, as in ["Q8_0", "Q4_K_M"]')
    if not facts.get("parameters") and not facts.get("layers"):
        yield tr("it needs its number of weights: parameters")
    if facts.get("layers", 0) > MOST_LAYERS:
        yield tr("it has too many layers")
    mixer = facts.get("mixer", "")
    if mixer and mixer not in MIXERS:
        yield tr("its mixer must be one of {names}", names=", ".join(MIXERS))


def _problems_of(key: str, value: object) -> Iterator[str]:
    shown = single_line(key, 60)
    if key not in KEYS:
        yield tr("there is no key {key}", key=shown)
    elif key in LISTS:
        yield from _problems_of_list(key, value)
    elif key == "sampling":
        yield from _problems_of_sampling(value)
    elif key in FLAGS:
        if not isinstance(value, bool):
            yield tr("{key} must be true or false", key=shown)
    elif key in TEXTS | FILES | OTHERS or key == "mixer":
        if not isinstance(value, str) or (key in FILES and not is_safe_path(value)):
            yield tr("{key} must be a text", key=shown)
    else:
        most = MOST_WEIGHTS if key in COUNTS else MOST_SIZE
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 0 <= value <= most:  # type: ignore[operator]  # it is a whole number
            yield tr("{key} must be a whole number of at most {most}", key=shown, most=most)


def _problems_of_list(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        yield tr("{key} must be a list of texts", key=key)
        return
    for each in value:
        shown = single_line(each, 40)
        if key == "abilities" and each not in ALL_ABILITIES:
            names = ", ".join(ALL_ABILITIES)
            yield tr("there is no ability {name}; there are {names}", name=shown, names=names)
        if key == "quantizations" and not known_quantization(each):
            yield tr("the quantization {name} is not known", name=shown)


def _problems_of_sampling(value: object) -> Iterator[str]:
    if not isinstance(value, dict):
        yield tr("sampling must be a table")
        return
    for name, number in value.items():
        plain = isinstance(number, (int, float)) and not isinstance(number, bool)
        shown = single_line(name, 60)
        if not plain or not abs(number) <= MOST_SAMPLING:  # NaN is refused too
            yield tr("{name} of its sampling must be a number", name=shown)
        key = keys().get(FOREIGN_NAMES.get(name, name) or "")
        if key is None or not key.is_sampling:
            yield tr("{name} is no setting of sampling", name=shown)


def _broken(paths: Paths, name: str, problem: str) -> UsageError:
    told = tr("{file}, {name}: {problem}", file=paths.catalogue_file, name=name, problem=problem)
    return UsageError(told, tr(EDIT_HINT))
