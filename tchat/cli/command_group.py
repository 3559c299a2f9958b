"""What all command groups share."""

from __future__ import annotations

import click
import typer
from typer.core import TyperGroup

from tchat.errors import UsageError
from tchat.settings.nearest import did_you_mean

SENTENCE = 1000  # characters, more than any has


class CommandGroup(TyperGroup):
    """A command group that answers a mistyped subcommand with the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that ``args`` begin with.

        Raises:
            UsageError: There is none.
        """
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            names = ", ".join(self.commands)
            raise UsageError(
                f"`{ctx.command_path}` has no command `{args[0]}`",
                did_you_mean(args[0], self.commands) or f"it has {names}",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands with their whole first sentences; click cuts them to a line."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        told = [
            (n, c.get_short_help_str(SENTENCE)) for n, c in commands.items() if c and not c.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(told)


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
