"""Command-line flags generated from the declarations of the settings."""

from __future__ import annotations

import math
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import click
import typer
from typer.core import TyperCommand

from tchat.cli.commands import is_dashed_text
from tchat.errors import UsageError
from tchat.settings import Key, Value, find_key, keys, renamed
from tchat.settings.keys import parse
from tchat.translation import N_, tr

TYPED = "tchat.typed-settings"
VALUES = "tchat.template-values"
NOTICES = "tchat.notices"
SECTIONS = (
    (N_("Model and context"), ""),
    (N_("Sampling"), "sampling"),
    (N_("Tools"), "tools"),
)
METAVARS = {int: "N", float: "X", str: "TEXT", tuple: "TEXT"}


class SettingsCommand(TyperCommand, ABC):
    """A command with a flag for each setting."""

    def __init__(
        self, *args: Any, params: list[click.Parameter] | None = None, **kwargs: Any
    ) -> None:
        generated = [SettingOption(key) for key in keys().values() if key.flags]
        former = [
            SettingOption(key, former=True) for key in keys().values() if key.former and key.flags
        ]
        own = [*(params or []), *self.pairs()]
        super().__init__(*args, params=[*own, *generated, *former], **kwargs)

    @abstractmethod
    def pairs(self) -> list[click.Parameter]:
        """Options of a name and a value."""

    def make_parser(self, ctx: click.Context) -> Any:
        """A parser that takes ``- eggs`` for an argument: no flag has white space behind dashes.

        click has no public hook that sees an argument before it is taken for a flag.
        """
        parser = super().make_parser(ctx)
        process = parser._process_opts

        def process_options(argument: str, state: Any) -> None:
            if is_dashed_text(argument):
                state.largs.append(argument)
            else:
                process(argument, state)

        parser._process_opts = process_options  # type: ignore[method-assign,assignment]
        return parser

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help in sections: arguments and options, then the settings."""
        arguments = [param for param in self.get_params(ctx) if isinstance(param, click.Argument)]
        _write_section(ctx, formatter, tr("Arguments"), arguments)
        own = [
            param
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and not isinstance(param, SettingOption)
        ]
        _write_section(ctx, formatter, tr("Options"), own)
        for title, section in SECTIONS:
            generated = [
                param
                for param in self.params
                if isinstance(param, SettingOption) and param.key.section == section
            ]
            _write_section(ctx, formatter, tr(title), generated)


class PromptCommand(SettingsCommand):
    """``tchat ask``: ``-o NAME VALUE`` for all settings, and ``-p NAME VALUE``."""

    def pairs(self) -> list[click.Parameter]:
        """``-p`` and ``-o``."""
        return [
            _pair(
                ["template_value", "-p", "--param"],
                N_("Set a variable of the template; repeatable"),
                lambda ctx, name, text: template_values(ctx).__setitem__(name, text),
            ),
            _pair(
                ["any_setting", "-o", "--option"],
                N_("Set any setting by name, see `tchat config show`; repeatable"),
                _keep_any,
            ),
        ]


class SettingOption(click.Option):
    """The flag of a setting; its value is stored in the context, see `typed_settings`.

    With ``former``, the hidden flag of the name that it had before, which gives a notice.
    """

    def __init__(self, key: Key, *, former: bool = False) -> None:
        self.key = key
        self.former = former
        name = key.former if former else key.name
        flags = [f"--{name.replace('_', '-')}"] if former else key.flags
        switch = key.kind is bool
        names = [f"{flag}/--no-{flag[2:]}" for flag in flags] if switch else list(flags)
        super().__init__(
            [name.replace(".", "_"), *names],
            hidden=former,
            is_flag=switch,
            default=None,
            multiple=key.kind is tuple,
            type=None if switch else str,
            metavar=None if switch else "|".join(key.choices) or METAVARS[key.kind],
            help=_help(key),
            expose_value=False,
            callback=_remember,
            shell_complete=lambda ctx, param, incomplete: [  # noqa: ARG005 - click names them
                choice for choice in key.choices if choice.startswith(incomplete)
            ],
        )


def typed_settings(ctx: click.Context) -> dict[str, Value]:
    """The settings typed as flags in this call, by name, checked."""
    typed: dict[str, Value] = ctx.meta.setdefault(TYPED, {})
    return typed


def typed_notices(ctx: click.Context) -> tuple[str, ...]:
    """Notices about the flags of this call: those typed by a former name."""
    return tuple(ctx.meta.get(NOTICES, ()))


def template_values(ctx: click.Context) -> dict[str, str]:
    """The variables of a template typed with ``-p`` in this call, by name."""
    values: dict[str, str] = ctx.meta.setdefault(VALUES, {})
    return values


def require_value(param: typer.CallbackParam, value: str | None) -> str:
    """The value of a flag; empty if it was not given.

    An empty value is most likely an unset shell variable, and must not be ignored.

    Raises:
        UsageError: It was given and is empty.
    """
    if value is not None and not value.strip():
        raise UsageError(
            tr("{flag} is empty", flag=param.opts[-1]), tr("give it a value, or leave it out")
        )
    return value or ""


def require_values(param: typer.CallbackParam, values: list[str] | None) -> list[str]:
    """The values of a repeatable flag, each as `require_value` takes it."""
    return [require_value(param, value) for value in values or ()]


def require_finite(param: typer.CallbackParam, value: float | None) -> float | None:
    """The number of a flag; rejects NaN, which ranges let through.

    Raises:
        UsageError: It is NaN or infinite.
    """
    if value is not None and not math.isfinite(value):
        raise UsageError(
            tr("{flag} must be a number, not `{value}`", flag=param.opts[-1], value=value),
            tr("for example {value}", value=0.6),
        )
    return value


# Flags of `ask` and `map`.
QUIET = typer.Option(False, "-q", "--quiet", help="Suppress notices; errors are still printed")
SCHEMA = typer.Option(
    None,
    metavar="FILE|JSON",
    help="Constrain the reply to a JSON schema, and validate it",
    callback=require_value,
)
GRAMMAR = typer.Option(
    None, metavar="FILE", help="Constrain the reply to a GBNF grammar", callback=require_value
)
CHOOSE = typer.Option(
    None,
    metavar="A,B,C",
    help="Choose one of these labels; repeat it, or give a JSON list, for labels with commas",
    callback=require_values,
)
THRESHOLD = typer.Option(
    None,
    metavar="P",
    min=0.5,
    max=1.0,
    help="Minimum probability for yes or no (0.6); below it the answer is unsure",
    callback=require_finite,
)


def _keep_any(ctx: click.Context, name: str, text: str) -> None:
    _keep(ctx, find_key(name), (text,), "-o")
    _keep_notice(ctx, name)


def _keep_notice(ctx: click.Context, name: str) -> None:
    """Keep the notice for a setting or flag that was typed by its former name.

    It is printed later: ``--quiet`` may follow.
    """
    if notice := renamed(name):
        ctx.meta.setdefault(NOTICES, {})[notice] = None


def _pair(
    names: list[str],
    help: str,  # noqa: A002
    keep: Callable[[click.Context, str, str], None],
) -> click.Option:
    """A repeatable option that takes a name and a value; Typer has none for this."""

    def remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        for name, text in () if ctx.resilient_parsing else value or ():
            _require_no_equals(param.opts[0], name)
            keep(ctx, name, text)

    return click.Option(
        names,
        nargs=2,
        multiple=True,
        type=str,
        metavar="NAME VALUE",
        help=help,
        expose_value=False,
        callback=remember,
    )


def _require_no_equals(flag: str, name: str) -> None:
    before, equals, value = name.partition("=")
    if before and equals:
        shown = shlex.join([flag, before, value])
        raise UsageError(
            tr("{flag} takes NAME VALUE, not NAME=VALUE", flag=flag),
            tr("write {call}", call=shown),
        )


def _help(key: Key) -> str:
    text = tr(key.help)
    if key.kind is bool or key.default in ("", ()):
        return text
    return f"{text}  [{tr('default: {default}', default=key.default)}]"


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    assert isinstance(param, SettingOption)  # noqa: S101 - it is given to no other
    if value is None or value == () or ctx.resilient_parsing:
        return
    place = param.opts[-1]
    if param.former:
        _keep_notice(ctx, place)
    if isinstance(value, bool):
        typed_settings(ctx)[param.key.name] = value
        return
    _keep(ctx, param.key, value if isinstance(value, tuple) else (value,), place)


def _keep(ctx: click.Context, key: Key, texts: Iterable[str], place: str) -> None:
    typed = typed_settings(ctx)
    for text in texts:
        value = parse(key, text, place)
        before = typed.get(key.name)
        both = isinstance(before, tuple) and isinstance(value, tuple)
        typed[key.name] = (*before, *value) if both else value  # type: ignore[misc]


def _write_section(
    ctx: click.Context,
    formatter: click.HelpFormatter,
    title: str,
    params: Iterable[click.Parameter],
) -> None:
    records = [record for param in params if (record := param.get_help_record(ctx))]
    if records:
        with formatter.section(title):
            formatter.write_dl(records)
