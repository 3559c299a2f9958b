"""The user's ``models.toml``: aliases, registered files, and settings of single models.

::

    registered = ["/srv/models/Qwen3-4B-Q4_K_M.gguf"]

    [alias]
    small = "qwen3:0.6b"

    [settings.starter]
    file = "/srv/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    cache_type = "q8_0"

Settings of a model win over ``config.toml``; environment variables and flags win over both.

All functions raise `UsageError` when the file is broken, naming the line, and `StorageError` when
it cannot be read or written; a failed change leaves the file unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.paths import Paths, expanded
from tchat.private_files import write_private
from tchat.settings import Key, Settings, Value, find_key, former_names, keys
from tchat.settings.keys import check, did_you_mean, parse
from tchat.settings.load import EDIT_HINT, parse_toml, read_text
from tchat.settings.schema import MODELS_FILE
from tchat.translation import tr

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

ALIAS, REGISTERED = "alias", "registered"
TABLE, FILE = "settings", "file"
NOT_OF_MODELS = frozenset({"grammar", "seed"})
MODEL_SETTINGS = (
    *("ctx_size", "threads", "batch_size", "gpu_layers", "tensor_split", "cache_type"),
    *("flash_attn", "swa_full", "mmap", "mlock", "force", "control_vector"),
    *("prompt_lookup", "draft_model", "rpc", "rpc_timeout", "insecure_address"),
    *(key.name for key in keys().values() if key.is_sampling and key.name not in NOT_OF_MODELS),
)


def read(paths: Paths) -> Mapping[str, Any]:
    """The parsed file; empty when there is none."""
    # Without the file, which is the usual case, this costs one `stat` at start-up.
    if not os.path.lexists(paths.models_file):
        return {}
    return parse_toml(read_text(paths.models_file), paths.models_file)


def table(document: Mapping[str, Any], name: str, paths: Paths) -> Mapping[str, Any]:
    """The table ``[name]``; empty when there is none."""
    value = document.get(name, {})
    if not isinstance(value, dict):
        raise UsageError(
            tr(
                "`{name}` (in {models_file}) must be a table, written [{name}]",
                name=name,
                models_file=paths.models_file,
            )
        )
    return value


def aliases(paths: Paths) -> dict[str, str]:
    """The aliases and what each stands for."""
    found = table(read(paths), ALIAS, paths)
    for name, target in found.items():
        if not isinstance(target, str):
            raise UsageError(
                tr(
                    "`{alias}.{name}` (in {models_file}) must be text",
                    alias=ALIAS,
                    name=name,
                    models_file=paths.models_file,
                ),
                tr(EDIT_HINT),
            )
    return dict(found)


def registered(paths: Paths) -> tuple[Path, ...]:
    """The registered files and folders."""
    found = read(paths).get(REGISTERED, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        origin = tr(
            "`{registered}` (in {models_file})",
            registered=REGISTERED,
            models_file=paths.models_file,
        )
        raise UsageError(tr("{origin} must be a list of texts", origin=origin), tr(EDIT_HINT))
    return tuple(map(expanded, found))


def change(paths: Paths, edit: Callable[[TOMLDocument], object]) -> None:
    """Edit the file with ``edit`` and replace it atomically; comments and order stay."""
    import tomlkit

    read(paths)
    document = tomlkit.parse(read_text(paths.models_file))
    edit(document)
    write_private(paths.models_file, tomlkit.dumps(document).encode())


def register(paths: Paths, entries: Sequence[Path]) -> None:
    """Register model files or folders by their absolute paths; a file is checked first."""
    from tchat.models.gguf.header_parser import read_model_header

    for entry in entries:
        if not entry.is_dir():
            read_model_header(entry)
    _set_registered(paths, [*registered(paths), *(entry.absolute() for entry in entries)])


def forget(paths: Paths, entries: Sequence[Path]) -> None:
    """Unregister files or folders; nothing is deleted."""
    known = registered(paths)
    for entry in entries:
        if entry.absolute() not in known:
            raise UsageError(
                tr("{entry} is not registered", entry=entry),
                did_you_mean(str(entry), map(str, known)),
            )
    gone = {entry.absolute() for entry in entries}
    _set_registered(paths, [entry for entry in known if entry not in gone])


def _set_registered(paths: Paths, entries: Sequence[Path]) -> None:
    listed = list(dict.fromkeys(map(str, entries)))
    change(paths, lambda document: document.update({REGISTERED: listed}))


def set_alias(paths: Paths, name: str, target: str | None) -> None:
    """Set the alias ``name`` to ``target``; None removes it."""
    import tomlkit

    def edit(document: TOMLDocument) -> None:
        names = document.setdefault(ALIAS, tomlkit.table())
        if target is None:
            names.pop(name, None)
        else:
            names[name] = target

    aliases(paths)
    change(paths, edit)


def settings_for(settings: Settings, paths: Paths, path: Path) -> Settings:
    """``settings`` with the overrides of the model in ``path``; its sampling is applied apart."""
    values = {
        name: value
        for name, value in model_settings(settings, paths, path).items()
        if name not in settings.fixed and not keys()[name].is_sampling
    }
    if not values:
        return settings
    origins = {**settings.origins, **dict.fromkeys(values, MODELS_FILE)}
    return replace(settings, origins=origins, **values)  # type: ignore[arg-type]  # checked


def model_settings(settings: Settings, paths: Paths, path: Path) -> Mapping[str, Value]:
    """What the file sets for the model in ``path``, sampling included."""
    document = read(paths)
    return _own(document, settings.model, path, paths) if TABLE in document else {}


def model_setting(name: str) -> Key:
    """The key of a setting that single models may override."""
    key = find_key(name)
    if key.name not in MODEL_SETTINGS:
        raise UsageError(
            tr("`{name}` is not set for single models", name=key.name),
            tr("these are: {model_settings}", model_settings=", ".join(MODEL_SETTINGS)),
        )
    return key


def set_model_setting(
    paths: Paths, model: str, path: Path, key: Key, text: str | None
) -> Value | None:
    """Override a setting for the model in ``path``, called ``model``; None removes the override."""
    value = None if text is None else parse(key, text, "models set")
    found = _name_of(read(paths), model, path, paths)
    name = found or model

    def edit(document: TOMLDocument) -> None:
        import tomlkit

        tables = document.setdefault(TABLE, tomlkit.table(is_super_table=True))
        own = tables.setdefault(name, tomlkit.table())
        if found is None:
            own[FILE] = str(path.absolute())
        if value is None:
            own.pop(key.name, None)
        else:
            own[key.name] = list(value) if isinstance(value, tuple) else value
        own.pop(key.former, None)

    if value is not None or found is not None:
        change(paths, edit)
    return value


def _own(document: Mapping[str, Any], model: str, path: Path, paths: Paths) -> Mapping[str, Value]:
    name = _name_of(document, model, path, paths)
    if name is None:
        return {}
    values: dict[str, Value] = {}
    former: dict[str, Value] = {}
    for written, value in document[TABLE][name].items():
        if written == FILE:
            continue
        key = former_names().get(written) or keys().get(written)
        if key is None or key.name not in MODEL_SETTINGS:
            raise UsageError(
                tr(
                    "`{table}.{name}.{written}` (in {models_file}) is not a setting for models",
                    table=TABLE,
                    name=name,
                    written=written,
                    models_file=paths.models_file,
                ),
                tr("these are: {model_settings}", model_settings=", ".join(MODEL_SETTINGS)),
            )
        found = values if written == key.name else former
        found[key.name] = check(
            key, value, tr("{name}, in {models_file}", name=name, models_file=paths.models_file)
        )
    return former | values


def _name_of(document: Mapping[str, Any], model: str, path: Path, paths: Paths) -> str | None:
    """The name of the model's table: its own name, else the one with its file."""
    tables = table(document, TABLE, paths)
    for name, own in tables.items():
        if not isinstance(own, dict):
            origin = tr(
                "`{table}.{name}` (in {models_file})",
                table=TABLE,
                name=name,
                models_file=paths.models_file,
            )
            raise UsageError(tr("{origin} must be a table", origin=origin), tr(EDIT_HINT))
    if model in tables:
        return model
    file = path.absolute()
    for name, own in tables.items():
        if expanded(str(own.get(FILE, name))) == file:
            return str(name)
    return None
