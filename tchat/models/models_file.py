"""The user's ``models.toml``: aliases, registered files, and settings of single models.

::

    registered = ["/srv/models/Qwen3-4B-Q4_K_M.gguf"]

    [alias]
    small = "qwen3:0.6b"

What a module keeps in a table of its own is read with `table` and written with `change`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.paths import Paths, expanded
from tchat.settings.load import EDIT_HINT, parse_toml, read_text

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


def register(paths: Paths, files: Sequence[Path]) -> None:
    """Add ``files`` to the registered ones, by their absolute paths.

    Raises:
        ModelError: One is not there, or no model.
        UsageError: models.toml is broken.
        StorageError: It cannot be written.
    """
    from tchat.models.facts import read_facts

    known = registered(paths)
    fresh = [path.absolute() for path in files if path.absolute() not in known]
    for path in fresh:
        read_facts(path)
    change(paths, lambda document: document.update({REGISTERED: [*map(str, (*known, *fresh))]}))
