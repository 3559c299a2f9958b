"""Settings of single models, in models.toml: how a model is loaded, whatever it is called.

::

    [settings.starter]
    file = "/srv/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    cache_type = "q8_0"

They win over ``config.toml``; the environment and flags win over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.errors import UsageError
from tchat.models.models_file import change, read, table
from tchat.paths import Paths, expanded
from tchat.settings import Key, Settings, Value, find_key, former_names, keys
from tchat.settings.coerce import check, parse
from tchat.settings.load import EDIT_HINT

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

TABLE, FILE = "settings", "file"
MODEL_SETTINGS = (
    *("ctx_size", "threads", "batch_size", "gpu_layers", "tensor_split", "cache_type"),
    *("flash_attn", "swa_full", "mmap", "mlock", "force", "control_vector"),
    *("prompt_lookup", "draft_model"),
)


def settings_for(settings: Settings, paths: Paths, path: Path) -> Settings:
    """``settings`` as the model in ``path`` wants them.

    Raises:
        UsageError: models.toml is broken, or a value in it is not allowed.
        StorageError: It cannot be read.
    """
    document = read(paths)
    if TABLE not in document:
        return settings
    own = _own(document, settings.model, path, paths)
    values = {name: value for name, value in own.items() if name not in settings.fixed}
    return replace(settings, **values)  # type: ignore[arg-type]  # checked by its key


def model_setting(name: str) -> Key:
    """The setting called ``name``, which a model may have for itself.

    Raises:
        UsageError: There is none, or it belongs to all models.
    """
    key = find_key(name)
    if key.name not in MODEL_SETTINGS:
        raise UsageError(
            f"`{key.name}` is not set for single models", f"these are: {', '.join(MODEL_SETTINGS)}"
        )
    return key


def set_model_setting(
    paths: Paths, model: str, path: Path, key: Key, text: str | None
) -> Value | None:
    """Give the model in ``path``, called ``model``, a value of its own; None takes it away.

    Raises:
        UsageError: ``text`` spells no allowed value, or models.toml is broken.
        StorageError: It cannot be written.
    """
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
            own[key.name] = value
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
                f"`{TABLE}.{name}.{written}` (in {paths.models_file}) is no setting of a model",
                f"these are: {', '.join(MODEL_SETTINGS)}",
            )
        found = values if written == key.name else former
        found[key.name] = check(key, value, f"{name}, in {paths.models_file}")
    return former | values


def _name_of(document: Mapping[str, Any], model: str, path: Path, paths: Paths) -> str | None:
    """The table of the model: by its name, else by its file."""
    tables = table(document, TABLE, paths)
    for name, own in tables.items():
        if not isinstance(own, dict):
            place = f"`{TABLE}.{name}` (in {paths.models_file})"
            raise UsageError(f"{place} must be a table", EDIT_HINT)
    if model in tables:
        return model
    file = path.absolute()
    for name, own in tables.items():
        if expanded(str(own.get(FILE, name))) == file:
            return str(name)
    return None
