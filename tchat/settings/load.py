"""Load settings: defaults < config.toml < ``TCHAT_*`` < flags; and write them to config.toml."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tchat.errors import StorageError, UsageError, with_hint
from tchat.paths import Paths, is_file
from tchat.private_files import write_private
from tchat.settings.keys import (
    FORMER_THEMES,
    SECTIONS,
    Key,
    Value,
    check,
    former_names,
    full_name,
    keys,
    nearest,
    nearest_key,
    parse,
    renamed,
    renamed_theme,
    spell,
    variable_of,
)
from tchat.settings.schema import CONFIG_FILE, ENVIRONMENT, FLAG, SERVERS, Settings
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

KEY_BINDINGS = "keys"
NOT_SETTINGS = frozenset({"TCHAT_HOME", "TCHAT_PASSPHRASE_COMMAND"})
VERY_NEAR = 0.9  # of names that have `TCHAT_` in common, by `difflib`
LONGEST = 14_000  # bits of an integer; Python shows one of 4,300 digits
EDIT_HINT = N_("correct it with an editor; nothing was changed")


class Loaded(NamedTuple):
    """Settings, warnings for the user, and the origin of each value."""

    settings: Settings
    warnings: tuple[str, ...]
    origins: Mapping[str, str]


def load(
    paths: Paths,
    environ: Mapping[str, str] = os.environ,
    typed: Mapping[str, Value] | None = None,
) -> Loaded:
    """The settings in force; ``typed``, values of flags, win over everything.

    Raises:
        UsageError: A value is of the wrong type or out of bounds, or the file is not TOML.
        StorageError: The file is there and cannot be read.
    """
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    document = parse_toml(read_text(paths.config_file), paths.config_file)
    from_file, warnings = check_document(document, paths.config_file)
    for origin, layer in (
        (CONFIG_FILE, from_file),
        (ENVIRONMENT, _from_environment(environ, warnings)),
        (FLAG, dict(typed or {})),
    ):
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    warnings += _rename_theme(values, origins, paths)
    settings = replace(
        assemble(values),
        keys=_key_bindings(document, paths.config_file),
        servers=document.get(SERVERS, {}),
        fixed=frozenset(name for name, origin in origins.items() if origin != CONFIG_FILE),
        origins=origins,
    )
    return Loaded(settings, tuple(warnings), origins)


def assemble(values: Mapping[str, Value]) -> Settings:
    """Settings with ``values`` (by name, checked before) over the defaults."""
    tables: dict[str, dict[str, Any]] = {section: {} for section in ("", *SECTIONS)}
    for name, value in values.items():
        key = keys()[name]
        tables[key.section][key.plain_name] = value
    made = {section: table(**tables[section]) for section, table in SECTIONS.items()}
    return Settings(**tables[""], **made)


def read_text(path: Path) -> str:
    """The text of the user's TOML file ``path``; empty when there is none.

    Raises:
        UsageError: It is not UTF-8, or not a regular file.
        StorageError: It cannot be read.
    """
    try:
        if not path.exists():
            return ""
        if not path.is_file():
            raise UsageError(tr("{path} is not a file", path=path), tr("move it away"))
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            tr("{path}: line {line} is not UTF-8", path=path, line=line), tr(EDIT_HINT)
        ) from None
    except OSError as error:
        raise StorageError(
            tr("cannot read {path}: {reason}", path=path, reason=error.strerror),
            tr("check its permissions"),
        ) from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """``text`` as TOML.

    Raises:
        UsageError: It is not TOML; names the file, the line and the column.
    """
    if not text.strip():
        return {}
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}, {_position(str(error), text)}", tr(EDIT_HINT)) from None
    except RecursionError:
        raise UsageError(tr("{path} is nested too deeply", path=path), tr(EDIT_HINT)) from None
    except ValueError:  # Python's limit against endless conversions
        raise UsageError(
            tr("{path}: an integer has too many digits", path=path), tr(EDIT_HINT)
        ) from None
    if _holds_long(document):
        raise UsageError(tr("{path}: an integer has too many digits", path=path), tr(EDIT_HINT))
    return document


def _holds_long(value: object) -> bool:
    """Whether it contains an integer too long to print, as hexadecimal allows."""
    if isinstance(value, dict):
        return any(map(_holds_long, value.values()))
    if isinstance(value, list):
        return any(map(_holds_long, value))
    return isinstance(value, int) and value.bit_length() > LONGEST


def check_document(document: Mapping[str, Any], path: Path) -> tuple[dict[str, Value], list[str]]:
    """The values that a parsed ``config.toml`` sets, and warnings about what it should not hold.

    Raises:
        UsageError: A value is of the wrong type or out of bounds.
    """
    values: dict[str, Value] = {}
    warnings: list[str] = []
    for section in (*SECTIONS, KEY_BINDINGS, SERVERS):
        if not isinstance(document.get(section, {}), dict):
            raise UsageError(
                tr(
                    "`{section}` (in {path}) must be a table, written [{section}]",
                    section=section,
                    path=path,
                )
            )
    _key_bindings(document, path)
    former: dict[str, Value] = {}
    for section, name, value in _walk(document):
        key = keys().get(full_name(section, name))
        if key is None and not section and name in former_names():
            key = former_names()[name]
            former[key.name] = check(key, value, tr("in {path}", path=path))
            import shlex

            call = shlex.join(["tchat", "config", "set", key.name, spell(former[key.name])])
            warnings.append(
                tr(
                    "{name}: {renamed}; replace it: {call}",
                    name=path.name,
                    renamed=renamed(name),
                    call=call,
                )
            )
        elif key is None or key.section != section:
            warnings.append(
                tr("{name}: {reason}", name=path.name, reason=_stranger(section, name, key))
            )
        else:
            values[key.name] = check(key, value, tr("in {path}", path=path))
    return former | values, warnings


def _position(fault: str, text: str) -> str:
    """tomllib's message with the position in front; "at end of document" becomes numbers too."""
    what, _, position = fault.rstrip(")").rpartition(" (at ")
    if not position.startswith("line"):
        lines = text.rstrip("\n").split("\n")
        position = tr("line {line}, column {column}", line=len(lines), column=len(lines[-1]) + 1)
    return tr("{name}: {reason}", name=position, reason=what)


def _key_bindings(document: Mapping[str, Any], path: Path) -> dict[str, str]:
    """The table ``[keys]``; one in it is written flat, so ``chat.quit`` needs no quotes in TOML."""
    table = document.get(KEY_BINDINGS, {})
    if not isinstance(table, dict):
        raise UsageError(
            tr(
                "`{key_bindings}` (in {path}) must be a table, written [{key_bindings}]",
                key_bindings=KEY_BINDINGS,
                path=path,
            )
        )
    flat: dict[str, str] = {}
    for name, value in table.items():
        inner = value if isinstance(value, dict) else {"": value}
        for last, key in inner.items():
            full = f"{name}.{last}".rstrip(".")
            if not isinstance(key, str):
                where = tr(
                    "`{key_bindings}.{full}` (in {path})",
                    key_bindings=KEY_BINDINGS,
                    full=full,
                    path=path,
                )
                raise UsageError(
                    tr("{where} must be a key", where=where), tr('write it like "ctrl+x"')
                )
            flat[full] = key
    return flat


def _from_environment(environ: Mapping[str, str], warnings: list[str]) -> dict[str, Value]:
    known = {key.variable: key for key in keys().values()}
    renames = {variable_of(name): key for name, key in former_names().items()}
    values: dict[str, Value] = {}
    former: dict[str, Value] = {}
    for variable, text in environ.items():
        if not variable.startswith("TCHAT_") or variable in NOT_SETTINGS:
            continue
        if key := known.get(variable):
            values[key.name] = parse(
                key, text, tr("environment variable {variable}", variable=variable)
            )
        elif key := renames.get(variable):
            former[key.name] = parse(
                key, text, tr("environment variable {variable}", variable=variable)
            )
            warnings.append(tr("environment variable {renamed}", renamed=renamed(variable)))
        else:
            # A key is short: what is as near to one may be nearer to a longer name.
            named = nearest(variable, NOT_SETTINGS, cutoff=VERY_NEAR)
            near = nearest_key(variable.removeprefix("TCHAT_"))
            meant = named or (variable_of(near) if near else "")
            hint = tr("did you mean `{variable_of}`?", variable_of=meant) if meant else ""
            unknown = tr("unknown environment variable {variable}", variable=variable)
            warnings.append(with_hint(unknown, hint))
    return former | values


def _rename_theme(
    values: dict[str, Value], origins: Mapping[str, str], paths: Paths
) -> Iterator[str]:
    """Replace the former name of a theme, unless the user has a theme of it; yields a notice."""
    name = str(values.get("theme", ""))
    if name not in FORMER_THEMES or is_file(str(paths.themes / f"{name}.toml")):
        return
    values["theme"] = FORMER_THEMES[name]
    notice = renamed_theme(name)
    if origins["theme"] == CONFIG_FILE:
        notice = tr("{name}: {reason}", name=CONFIG_FILE, reason=notice)
    elif origins["theme"] == ENVIRONMENT:
        variable = tr("environment variable {variable}", variable="TCHAT_THEME")
        notice = tr("{name}: {reason}", name=variable, reason=notice)
    yield notice


def _walk(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for name, value in document.items():
        if name in SECTIONS:
            for inner, inner_value in value.items():
                yield name, inner, inner_value
        elif name not in (KEY_BINDINGS, SERVERS):
            yield "", name, value


def _stranger(section: str, name: str, key: Key | None) -> str:
    shown = f"{section}.{name}" if section else name
    if key is not None:
        where = (
            tr("under [{section}]", section=key.section)
            if key.section
            else tr("above [{section}]", section=section)
        )
        return tr("`{shown}` is ignored here; it belongs {where}", shown=shown, where=where)
    near = nearest(name, [*SECTIONS, KEY_BINDINGS, SERVERS]) or nearest_key(
        full_name(section, name)
    )
    hint = tr("did you mean `{near}`?", near=near) if near else ""
    return with_hint(tr("unknown setting `{shown}` is ignored", shown=shown), hint)


def set_value(path: Path, key: Key, text: str) -> Value:
    """Write ``key = text`` into the file at ``path``, and return the value.

    Raises:
        UsageError: ``text`` spells no allowed value, or the file is broken; it is left as it is.
        StorageError: The file cannot be written; it is left as it is.
    """
    value = parse(key, text, "config set")

    def change(document: TOMLDocument) -> None:
        table = _table(document, key)
        table[key.plain_name] = list(value) if isinstance(value, tuple) else value
        table.pop(key.former, None)

    rewrite(path, change)
    return value


def unset_value(path: Path, key: Key) -> None:
    """Remove ``key`` from the file at ``path``, which restores its default; as `set_value`."""

    def change(document: TOMLDocument) -> None:
        for name in (key.plain_name, key.former):
            _table(document, key).pop(name, None)

    rewrite(path, change)


def rewrite(path: Path, change: Callable[[TOMLDocument], object]) -> None:
    """Edit the ``config.toml`` at ``path`` and replace it atomically; comments are kept.

    Raises:
        UsageError: It is broken before or after ``change``; it is left as it is.
        StorageError: The file cannot be written; it is left as it is.
    """
    import tomlkit

    text = read_text(path)
    check_document(parse_toml(text, path), path)
    document = tomlkit.parse(text)
    change(document)
    written = tomlkit.dumps(document)
    check_document(parse_toml(written, path), path)
    write_private(path, written.encode())


def _table(document: TOMLDocument, key: Key) -> Any:
    if not key.section:
        return document
    import tomlkit

    if key.section not in document:
        document[key.section] = tomlkit.table()
    return document[key.section]
