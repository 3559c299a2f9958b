"""``tchat config``: show, get, set, unset, edit, path."""

from __future__ import annotations

import typer

from tchat.chat.editor import edit_file
from tchat.cli.app import JSON, command_group
from tchat.cli.console import Console
from tchat.cli.output.columns import print_json, print_rows
from tchat.cli.setting_options import require_value
from tchat.private_files import private_file
from tchat.sanitize import printable, single_line
from tchat.settings import Key, Settings, Value, find_key, keys, load, renamed, spell
from tchat.settings.keys import parse, renamed_theme
from tchat.settings.load import check_document, parse_toml, read_text, set_value, unset_value
from tchat.translation import N_, tr

app = command_group(
    "Show and change settings in config.toml; TCHAT_* variables and flags override them."
)


def _complete(incomplete: str) -> list[str]:
    return [name for name in keys() if name.startswith(incomplete)]


NAME = typer.Argument(..., help="Setting name, see `tchat config show`", autocompletion=_complete)


@app.command()
def show(
    ctx: typer.Context,
    name: str = typer.Argument(None, help="Show only this setting", autocompletion=_complete),
    *,
    model: str = typer.Option(
        None,
        "-m",
        "--model",
        metavar="MODEL",
        help="With what this model recommends, and what is set for it",
        callback=require_value,
    ),
    as_json: bool = JSON,
) -> None:
    """List all settings, or one, with their values and where each comes from.

    The first of these that names a value wins: flags and TCHAT_* variables, the session,
    models.toml, config.toml, the catalogue, the model file, the default.
    """
    console: Console = ctx.obj
    loaded = load(console.paths, console.environ, {"model": model} if model else {})
    for warning in loaded.warnings:
        console.say(tr("warning: {warning}", warning=warning))
    settings = _with_own_of_model(console, loaded.settings) if model else loaded.settings
    listed = [
        (key, key.value_in(settings), settings.origins.get(key.name, N_("default")))
        for key in ([_key(console, name)] if name else keys().values())
    ]
    if as_json:
        print_json(console, [_record(*entry) for entry in listed])
        return
    rows = [(key.name, spell(value), tr(origin), tr(key.help)) for key, value, origin in listed]
    print_rows(console, (N_("NAME"), N_("VALUE"), N_("FROM"), N_("MEANING")), rows, whole=True)


def _with_own_of_model(console: Console, settings: Settings) -> Settings:
    """``settings`` as they are in force for their model; says what of its file is not used."""
    if settings.server:
        return settings
    from tchat.models.metadata import MetadataCache
    from tchat.models.model_sampling import file_sampling, with_model_sampling
    from tchat.models.models_file import settings_for
    from tchat.models.resolve import resolve

    with MetadataCache(console.paths) as metadata_cache:
        path = resolve(settings.model, console.paths, console.environ)
        metadata = metadata_cache.metadata(path)
    for note in file_sampling(metadata.sampling).notes:
        console.say(tr("warning: {warning}", warning=note))
    settings = settings_for(settings, console.paths, path)
    return with_model_sampling(settings, console.paths, metadata)


@app.command()
def get(ctx: typer.Context, name: str = NAME) -> None:
    """Print the value of a setting."""
    console: Console = ctx.obj
    key = _key(console, name)
    settings = load(console.paths, console.environ).settings
    console.out(printable(spell(key.value_in(settings))))


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_(
    ctx: typer.Context,
    name: str = NAME,
    value: str = typer.Argument(..., help='Value; a list is one text or JSON: \'["a", "b"]\''),
) -> None:
    """Save a setting in config.toml; comments are kept."""
    console: Console = ctx.obj
    key = _key(console, name)
    if key.name == "theme":
        from tchat.tui.themes import require_theme

        theme = require_theme(console.paths, value)
        if theme != value:
            console.notice(renamed_theme(value))
        value = theme
    if key.section == "tools":
        from tchat.chat.tool_setup import narrow_rules, require_valid_rules

        changed = key.put(Settings(), parse(key, value, "config set"))
        require_valid_rules(changed, console.paths)
        for rule in narrow_rules(changed):
            console.notice(
                tr(
                    "`{rule}` leaves the file to other tools; `{wide}` denies it to all",
                    rule=single_line(rule),
                    wide=single_line(f"*({rule.partition('(')[2]}"),
                )
            )
    written = set_value(console.paths.config_file, key, value)
    shown = _shown(key, written)
    console.say(
        tr(
            "{name} = {shown} is saved in {config_file}",
            name=key.name,
            shown=shown,
            config_file=single_line(str(console.paths.config_file)),
        )
    )
    if key.variable in console.environ:
        console.say(
            tr("warning: the environment variable {variable} overrides it", variable=key.variable)
        )
    _report_open_chats(console)


def _report_open_chats(console: Console) -> None:
    """Tell that what runs now read the file before."""
    from tchat.privacy.processes import find_processes

    found = find_processes() or ()
    running = [
        each.pid for each in found if not each.is_own and each.config == console.paths.config
    ]
    if running:
        console.say(
            tr(
                "what runs now keeps its value until it is started again (process {pids}); F3 on "
                "the screen changes it at once",
                pids=", ".join(map(str, running)),
            )
        )


@app.command()
def unset(ctx: typer.Context, name: str = NAME) -> None:
    """Remove a setting from config.toml, which restores its default."""
    console: Console = ctx.obj
    key = _key(console, name)
    unset_value(console.paths.config_file, key)
    shown = _shown(key, key.default)
    console.say(
        tr("{name} is not set in config.toml; its default is {shown}", name=key.name, shown=shown)
    )


@app.command()
def edit(ctx: typer.Context) -> None:
    """Edit config.toml in $VISUAL or $EDITOR, then check it."""
    console: Console = ctx.obj
    path = private_file(console.paths.config_file)
    edit_file(path, console.environ)
    for warning in check_document(parse_toml(read_text(path), path), path)[1]:
        console.say(tr("warning: {warning}", warning=warning))


@app.command("path")
def path_(
    ctx: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="Print all paths of tchat as JSON"),
) -> None:
    """Print the path of config.toml."""
    console: Console = ctx.obj
    if as_json:
        print_json(console, {name: str(place) for name, place in console.paths})
        return
    console.out(printable(str(console.paths.config_file)))


def _key(console: Console, name: str) -> Key:
    """The setting called ``name``; a notice tells the new name of one that was renamed."""
    key = find_key(name)
    if notice := renamed(name):
        console.notice(notice)
    return key


def _shown(key: Key, value: Value) -> str:
    return single_line(spell(value)) or ("[]" if key.kind is tuple else '""')


def _record(key: Key, value: Value, origin: str) -> dict[str, object]:
    return {
        "name": key.name,
        "section": key.section,
        "value": list(value) if isinstance(value, tuple) else value,
        "default": list(key.default) if isinstance(key.default, tuple) else key.default,
        "from": origin,
        "variable": key.variable,
        "flags": list(key.flags),
        "help": key.help,
    }
