"""From a typed line to a command and its argument, or to a prompt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from tchat.chat.commands.host import CommandHost, Surface
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean


class SlashCommand(NamedTuple):
    """One command.

    Attributes:
        name: What it is called by in code and in the list of commands.
        takes: Its argument for the reader; ``[…]`` may be left out, empty takes none.
        help: What it does, on one line.
        handler: Carries it out, with the text behind it.
        aliases: Other names.
        surface: Where it is served.
        takes_prompt: Whether its argument holds a prompt, so that it begins a turn at once.
    """

    name: str
    takes: str
    help: str
    handler: Callable[[CommandHost, str], Awaitable[None]]
    aliases: tuple[str, ...] = ()
    surface: Surface = Surface.BOTH
    takes_prompt: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to, the first one first."""
        return (self.name, *self.aliases)

    @property
    def usage(self) -> str:
        """Names and argument as they are typed: ``/export, /save [FILE]``."""
        return f"{', '.join(f'/{name}' for name in self.names)} {self.takes}".strip()


class CommandCall(NamedTuple):
    """A command as it was typed: which one, and the text behind it."""

    command: SlashCommand
    argument: str

    async def run(self, host: CommandHost) -> None:
        """Carry it out.

        Raises:
            TchatError: It cannot be carried out.
        """
        await self.command.handler(host, self.argument)

    def run_now(self, host: CommandHost) -> None:
        """Carry it out without an event loop; for a command that does not suspend in this host.

        Raises:
            TchatError: It cannot be carried out.
            RuntimeError: It suspends.
        """
        work = self.run(host)
        try:
            work.send(None)
        except StopIteration:
            return
        finally:
            work.close()
        raise RuntimeError(f"/{self.command.name} waits for an event loop")


def parse_input(text: str, commands: Iterable[SlashCommand]) -> CommandCall | str:
    """A command, or the text of a prompt.

    A line that begins with two slashes is text that begins with one. So is a path: no command has
    a slash in its name.

    Raises:
        UsageError: There is no such command, or it takes no argument; names the nearest.
    """
    if not text.startswith("/"):
        return text
    if text.startswith("//"):
        return text[1:]
    name, argument = _split(text)
    if "/" in name:
        return text
    known = {each: command for command in commands for each in command.names}
    command = known.get(name.lower())
    if command is None:
        shown = single_line(name, 40)
        names = [f"/{each}" for each in known]
        hint = did_you_mean(f"/{name.lower()}", names) or "/help lists the commands"
        raise UsageError(f"there is no command /{shown}", f"{hint} (//{shown} sends it as text)")
    if argument and not command.takes:
        raise UsageError(f"/{name} takes no argument", f"//{name} sends the line as text")
    return CommandCall(command, argument)


def _split(text: str) -> tuple[str, str]:
    """Name and argument of a command line; any white space parts them."""
    words = text[1:].split(maxsplit=1)
    if not words or text[1].isspace():
        return "", text[1:].strip()
    return words[0], words[1].strip() if len(words) > 1 else ""
