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
from tchat.cli.console import Console
from tchat.errors import ExitCode, UsageError
from tchat.settings.keys import FOREIGN_NAMES, did_you_mean, keys, nearest

JSON = typer.Option(False, "--json", help="Print JSON")
ALWAYS_JSON = typer.Option(False, "--json", help="Accepted; the output is always JSON lines")
ROOT_OPTIONS = frozenset({"--help", "-h", "--version", "--install-completion", "--show-completion"})
EPILOG = """\
\b
Examples:
  tchat "Why is the sky blue?"
  git diff --staged | tchat -t commit
  tchat -f 'docs/*.md' "What is missing here?"
  tchat --yes-no "Is this a complaint?" < mail.txt
  tchat -c "And shorter?"
\b
`tchat ask --help` lists every flag of a prompt. `tchat -- WORD` sends a prompt
that looks like a command.
"""


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
            unknown = None if ctx.resilient_parsing else unknown_command(args)
            if unknown is not None:
                raise UsageError(f"there is no command `{unknown[0]}`", unknown[1])
            args = ["ask", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[1]) for name, entry in COMMANDS.items()])

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
    return typer.main.get_command(getattr(importlib.import_module(module), attribute or "app"))


def call(argv: Sequence[str], console: Console) -> int:
    """Run ``argv`` through Typer and return the exit code.

    Raises:
        UsageError: The arguments are wrong; names the nearest option or command.
        KeyboardInterrupt: A question was answered with Ctrl-C.
    """
    root = typer.main.get_command(_application())
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
        epilog=EPILOG,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        options_metavar="[OPTIONS]",
        subcommand_metavar="[PROMPT | COMMAND]",
    )
    app.callback(invoke_without_command=True)(_root)
    return app


def _root(
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
    hint = f"`{command} --help` tells more"
    message = error.format_message().rstrip(".").replace("\n", " ")
    if isinstance(error, click.NoSuchOption):
        message = f"there is no option {error.option_name}"
        hint = _nearest_option(error.option_name, ctx) or hint
    # All options of two values take a pair, see `setting_options`; click names no context here.
    message = message.replace("requires 2 arguments", "takes NAME VALUE")
    message = _RANGE.sub(_range_words, message)
    return UsageError(message[:1].lower() + message[1:], hint)


_RANGE = re.compile(r"is not in the range (?:(\S+)<=)?x(?:<=(\S+)|>=(\S+))?")


def _range_words(found: re.Match[str]) -> str:
    """click's ``x>=1`` and ``0<=x<=16`` in words."""
    low, high = found[1] or found[3], found[2]
    if low and high:
        return f"is not from {low} to {high}"
    return f"is below {low}" if low else f"is above {high}"


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
    return f"did you mean {best}?" if best else ""


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
                f"`{ctx.command_path}` has no command `{args[0]}`",
                did_you_mean(args[0], names) or f"it has {', '.join(names)}",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands with full first sentences, which click would cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        rows = [
            (n, c.get_short_help_str(SENTENCE)) for n, c in commands.items() if c and not c.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def single_command() -> typer.Typer:
    """A Typer application for a command without subcommands."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def command_group(help: str) -> typer.Typer:  # noqa: A002
    """A Typer application for one command group."""
    return typer.Typer(
        cls=CommandGroup,
        help=help,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
