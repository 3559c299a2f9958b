"""The Typer application: command groups imported on demand; anything else is a prompt."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from typing import Any

import click
import typer
from typer.core import TyperGroup

from tchat.cli.commands import COMMANDS, help_arguments, unknown_command
from tchat.cli.console import Console, with_output_settings
from tchat.cli.translated_help import VERBATIM, translated
from tchat.errors import ExitCode, UsageError
from tchat.manual import TOPICS
from tchat.settings.keys import FOREIGN_NAMES, did_you_mean, keys, nearest
from tchat.translation import (
    LANGUAGES,
    LOCALE,
    N_,
    tr,
    translate_libraries,
)

JSON = typer.Option(False, "--json", help="Print JSON")
DRY_RUN = typer.Option(False, "--dry-run", help="Show what would be deleted; delete nothing")
ALWAYS_JSON = typer.Option(False, "--json", help="Accepted; the output is always JSON lines")
ROOT_OPTIONS = frozenset({"--help", "-h", "--version", "--install-completion", "--show-completion"})
EXAMPLES = N_("""\
Examples:
  tchat "Why is the sky blue?"
  git diff --staged | tchat -t commit
  tchat -f 'docs/*.md' "What is missing here?"
  tchat --yes-no "Is this a complaint?" < mail.txt
  tchat -c "And shorter?\"""")
POINTERS = N_(
    "`tchat ask --help` lists every flag of a prompt. `tchat -- WORD` sends a prompt that looks "
    "like a command."
)


class RootGroup(TyperGroup):
    """The root group; arguments that name no command go to ``ask``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now; `None` when there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = load_command(cmd_name)
        command.name = cmd_name
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Prepend ``ask`` unless the first argument is a command or a root option."""
        args = help_arguments(args) or args
        if args and args[0] not in COMMANDS and args[0].split("=")[0] not in ROOT_OPTIONS:
            if not ctx.resilient_parsing:
                self._refuse_other_commands(ctx, args)
            args = ["ask", *args]
        return super().parse_args(ctx, args)

    def _refuse_other_commands(self, ctx: click.Context, args: list[str]) -> None:
        """Raise UsageError where the words of a prompt are a call, also where flags precede it."""
        words = args if args[0][:1] != "-" else self._words_behind_flags(ctx, args)
        if unknown := unknown_command(words):
            raise UsageError(tr("there is no command `{name}`", name=unknown[0]), unknown[1])
        if words and words[0] in COMMANDS and {*words[1:2]} <= {*COMMANDS[words[0]][2]}:
            raise UsageError(
                tr("the command `{name}` must come first", name=words[0]),
                tr(
                    "run `tchat {command}`; `tchat -- {command}` sends it as a prompt",
                    command=" ".join(words),
                ),
            )

    def _words_behind_flags(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The prompt of ``ask`` in ``args``; empty for one behind ``--``, which is never a call."""
        ask = self.get_command(ctx, "ask")
        if ask is None or "--" in args:
            return []
        try:
            values, _, _ = ask.make_parser(click.Context(ask, parent=ctx)).parse_args(list(args))
        except click.UsageError:  # told where it is parsed for use
            return []
        words = values.get("words")
        return list(words) if isinstance(words, list | tuple) else []  # unset without any

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands without importing them."""
        with formatter.section(tr("Commands")):
            formatter.write_dl([(name, tr(entry[1])) for name, entry in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and the pages of the manual."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        text = tr("Manual: `tchat help TOPIC`. Topics: {topics}.", topics=", ".join(TOPICS))
        formatter.write_text(text)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Commands, and the flags of ``ask``, which need no command in front."""
        found = super().shell_complete(ctx, incomplete)
        ask = self.get_command(ctx, "ask")
        if ask is not None and incomplete.startswith("-"):
            own = {item.value for item in found}
            more = ask.shell_complete(click.Context(ask, parent=ctx), incomplete)
            found += [item for item in more if item.value not in own]
        return found


def load_command(name: str) -> click.Command:
    """Import the command ``name`` of `COMMANDS`."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    application = getattr(importlib.import_module(module), attribute or "app")
    return translated(typer.main.get_command(application))


def call(argv: Sequence[str], console: Console) -> int:
    """Run ``argv`` through Typer and return the exit code.

    Raises:
        UsageError: The arguments are wrong; names the nearest option or command.
        KeyboardInterrupt: A question was answered with Ctrl-C.
    """
    console = with_output_settings(console)
    translate_libraries()
    root = translated(typer.main.get_command(_application()))
    if "_TCHAT_COMPLETE" in console.environ:
        root.main(list(argv), prog_name="tchat", obj=console)
    try:
        with root.make_context("tchat", list(argv), obj=console) as ctx:
            return int(root.invoke(ctx) or 0)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.exceptions.NoArgsIsHelpError as error:
        console.stderr.write(error.format_message() + "\n")
        return ExitCode.USAGE
    except click.ClickException as error:
        raise _usage(error, argv) from None


def _application() -> typer.Typer:
    app = typer.Typer(
        cls=RootGroup,
        help="Chat with local language models. Without a prompt, `tchat` opens a chat.",
        epilog=f"{VERBATIM}\n{tr(EXAMPLES)}\n\n{tr(POINTERS)}",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        options_metavar="[OPTIONS]",
        subcommand_metavar="[PROMPT | COMMAND]",
    )
    app.callback(invoke_without_command=True)(_root)
    return app


def _root(
    lang: str = typer.Option(  # noqa: ARG001 - taken by `tchat.cli.main`, from every call
        LOCALE, "--lang", metavar="|".join((LOCALE, *LANGUAGES)), help="Language of all texts"
    ),
    unlock_fd: int = typer.Option(  # noqa: ARG001 - as --lang
        None, "--unlock-fd", metavar="N", help="Read the passphrase of the store from descriptor N"
    ),
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit"),
) -> None:
    if version:
        from tchat import __version__

        typer.echo(f"tchat {__version__}")
        raise typer.Exit


def _usage(error: click.ClickException, argv: Sequence[str]) -> UsageError:
    """A click error as a UsageError, with the nearest name or a pointer to the help."""
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path if ctx else _command_path(argv)
    hint = tr("`{command} --help` tells more", command=command)
    if isinstance(error, click.NoSuchOption):
        message = tr("there is no option {name}", name=error.option_name)
        return UsageError(message, _nearest_option(error.option_name, ctx) or hint)
    return UsageError(_message(error), hint)


def _message(error: click.ClickException) -> str:
    """A click error in our words. click's own messages are English: no catalog holds them."""
    words = error.format_message().rstrip(".").replace("\n", " ")
    if isinstance(error, click.BadOptionUsage):
        return _option_error(f"'{error.option_name}'", words)
    if isinstance(error, click.BadParameter) and error.param is not None and error.ctx is not None:
        name = error.param.get_error_hint(error.ctx)
        if not isinstance(error, click.MissingParameter):
            return tr("invalid value for {name}: {reason}", name=name, reason=_value_error(error))
        if isinstance(error.param, click.Argument):
            return tr("missing argument {name}", name=name)
        return tr("missing option {name}", name=name)
    if extra := _EXTRA.search(words):
        return tr("unexpected argument: {argument}", argument=extra[1])
    return words[:1].lower() + words[1:]


def _option_error(name: str, words: str) -> str:
    if "does not take" in words:
        return tr("option {name} does not take a value", name=name)
    if "2 arguments" in words:  # all options of two values take a pair, see `setting_options`
        return tr("option {name} takes NAME VALUE", name=name)
    return tr("option {name} requires an argument", name=name)


_EXTRA = re.compile(r"unexpected extra arguments? \((.*)\)")


def _value_error(error: click.BadParameter) -> str:
    """What is wrong with the value of a flag."""
    kind = error.param.type if error.param is not None else None
    value = error.message.split(" ")[0]
    if (
        not isinstance(kind, (click.IntRange, click.FloatRange))
        or " is not in " not in error.message
    ):
        return error.message.rstrip(".").replace("\n", " ")
    low, high = kind.min, kind.max
    if low is not None and high is not None:
        return tr("{value} is not from {low} to {high}", value=value, low=low, high=high)
    if low is not None:
        return tr("{value} is below {low}", value=value, low=low)
    return tr("{value} is above {high}", value=value, high=high)


def _command_path(argv: Sequence[str]) -> str:
    """The command that ``argv`` call, for errors that click gives no context."""
    command, subcommand = [*argv, "", ""][:2]
    if command not in COMMANDS:
        return "tchat ask"
    under = subcommand if subcommand in COMMANDS[command][2] else ""
    return f"tchat {command} {under}".rstrip()


def _nearest_option(name: str, ctx: Any) -> str:
    """A suggestion for a mistyped flag, or one that other programs have."""
    params = ctx.command.get_params(ctx) if ctx else []
    shown = (param for param in params if not getattr(param, "hidden", False))
    names = [opt for param in shown for opt in (*param.opts, *param.secondary_opts)]
    foreign = {f"--{other.replace('_', '-')}": own for other, own in FOREIGN_NAMES.items()}
    best = nearest(name.replace("_", "-"), [*foreign, *names])
    if best not in names:
        key = keys().get(foreign.get(best, ""))
        best = key.flags[-1] if key and key.flags and key.flags[-1] in names else ""
    return tr("did you mean {name}?", name=best) if best else ""


SENTENCE = 1000  # characters, more than any has


class CommandGroup(TyperGroup):
    """A command group that suggests the nearest subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that ``args`` begin with."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            names = [name for name, command in self.commands.items() if not command.hidden]
            raise UsageError(
                tr("`{group}` has no command `{name}`", group=ctx.command_path, name=args[0]),
                did_you_mean(args[0], names) or tr("it has {names}", names=", ".join(names)),
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands with full first sentences, which click would cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [
            (n, c.get_short_help_str(SENTENCE)) for n, c in commands.items() if c and not c.hidden
        ]
        with formatter.section(tr("Commands")):
            formatter.write_dl(rows)


def single_command() -> typer.Typer:
    """A Typer application for a command without subcommands."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def command_group(help: str, *, alone: bool = False) -> typer.Typer:  # noqa: A002
    """A Typer application for one command group, which can be ``alone`` without a subcommand."""
    return typer.Typer(
        cls=CommandGroup,
        help=help,
        no_args_is_help=not alone,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
