"""The user's ``models.toml``: aliases, registered files, and settings of single models.

::

    registered = ["/srv/models/Qwen3-4B-Q4_K_M.gguf"]

    [alias]
    small = "qwen3:0.6b"

Other modules read their table with `table` and write it with `change`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.paths import Paths, expanded
from tchat.settings.load import EDIT_HINT, parse_toml, read_text
from tchat.settings.nearest import did_you_mean

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

ALIAS, REGISTERED = "alias", "registered"


def read(paths: Paths) -> Mapping[str, Any]:
    """All of the file; empty when there is none.

    Raises:
        UsageError: It is not TOML; names the line.
        StorageError: It cannot be read.
    """
    # Most users have none: one `stat` then is all that it costs at start-up.
    if not os.path.lexists(paths.models_file):
        return {}
    return parse_toml(read_text(paths.models_file), paths.models_file)


def table(document: Mapping[str, Any], name: str, paths: Paths) -> Mapping[str, Any]:
    """The table ``[name]``; empty when there is none.

    Raises:
        UsageError: It is no table.
    """
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise UsageError(f"`{name}` (in {paths.models_file}) must be a table, written [{name}]")
    return value


def aliases(paths: Paths) -> dict[str, str]:
    """What the user calls models, and what each name stands for.

    Raises:
        UsageError: The file is broken.
        StorageError: It cannot be read.
    """
    found = table(read(paths), ALIAS, paths)
    for name, target in found.items():
        if not isinstance(target, str):
            raise UsageError(f"`{ALIAS}.{name}` (in {paths.models_file}) must be text", EDIT_HINT)
    return dict(found)


def registered(paths: Paths) -> tuple[Path, ...]:
    """Files that the user registered where they lie.

    Raises:
        UsageError: The file is broken.
        StorageError: It cannot be read.
    """
    found = read(paths).get(REGISTERED, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        place = f"`{REGISTERED}` (in {paths.models_file})"
        raise UsageError(f"{place} must be a list of texts", EDIT_HINT)
    return tuple(map(expanded, found))


def change(paths: Paths, edit: Callable[[TOMLDocument], object]) -> None:
    """Let ``edit`` change the file; comments and order stay, and it is never half written.

    Raises:
        UsageError: The file is broken; it is left as it is.
        StorageError: It cannot be written; it is left as it is.
    """
    import tomlkit

    from tchat.settings.write import write_private

    read(paths)
    document = tomlkit.parse(read_text(paths.models_file))
    edit(document)
    write_private(paths.models_file, tomlkit.dumps(document).encode())


def register(paths: Paths, places: Sequence[Path]) -> None:
    """Add model files, or folders of them, to the registered ones, by their absolute paths.

    Raises:
        ModelError: One is not there, or no model.
        UsageError: models.toml is broken.
        StorageError: It cannot be written.
    """
    from tchat.models.metadata import read_metadata

    for place in places:
        if not place.is_dir():
            read_metadata(place)
    _set_registered(paths, [*registered(paths), *(place.absolute() for place in places)])


def forget(paths: Paths, places: Sequence[Path]) -> None:
    """Take files or folders out of the registered ones; they stay where they are.

    Raises:
        UsageError: One is not registered, or models.toml is broken.
        StorageError: It cannot be written.
    """
    known = registered(paths)
    for place in places:
        if place.absolute() not in known:
            raise UsageError(
                f"{place} is not registered", did_you_mean(str(place), map(str, known))
            )
    gone = {place.absolute() for place in places}
    _set_registered(paths, [place for place in known if place not in gone])


def _set_registered(paths: Paths, places: Sequence[Path]) -> None:
    listed = list(dict.fromkeys(map(str, places)))
    change(paths, lambda document: document.update({REGISTERED: listed}))


def set_alias(paths: Paths, name: str, target: str | None) -> None:
    """Let ``name`` stand for ``target`` from now on; None forgets it.

    Raises:
        UsageError: models.toml is broken.
        StorageError: It cannot be written.
    """
    import tomlkit

    def edit(document: TOMLDocument) -> None:
        names = document.setdefault(ALIAS, tomlkit.table())
        if target is None:
            names.pop(name, None)
        else:
            names[name] = target

    aliases(paths)
    change(paths, edit)
