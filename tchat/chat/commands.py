"""The commands that can be typed into a chat: one registry for the screen and for plain lines.

Declarations and parsing only; each front end gives the commands that it serves their behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Flag, auto
from typing import NamedTuple

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings.nearest import did_you_mean


class Surface(Flag):
    """Where a command can be typed."""

    LINES = auto()
    SCREEN = auto()
    BOTH = LINES | SCREEN


_SCREEN = Surface.SCREEN


class SlashCommand(NamedTuple):
    """One command.

    Attributes:
        name: What it is called by in code and in the list of commands.
        takes: Its argument for the reader; ``[…]`` may be left out, empty takes none.
        help: What it does, on one line.
        aliases: Other names.
        surface: Where it is served.
    """

    name: str
    takes: str
    help: str
    aliases: tuple[str, ...] = ()
    surface: Surface = Surface.BOTH

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


COMMANDS = (
    SlashCommand("help", "", "This list", ("?",)),
    SlashCommand("new", "", "Begin a new session", ("clear",)),
    SlashCommand("regen", "", "Another reply to the last message", ("retry",)),
    SlashCommand("try", "[N] [TEXT]", "Several replies side by side"),
    SlashCommand("best", "[N] [TEXT]", "The best of several replies"),
    SlashCommand("pick", "N", "Go on with another of several replies", surface=Surface.LINES),
    SlashCommand("good", "", "Call the last reply good; the judge learns from it"),
    SlashCommand("bad", "", "Call the last reply bad"),
    SlashCommand("mine", "TEXT", "Your own reply in place of the last", surface=Surface.LINES),
    SlashCommand("continue", "", "Go on with a reply that was stopped"),
    SlashCommand("edit", "[TEXT]", "Replace your last message"),
    SlashCommand("prefill", "TEXT", "Another reply, which begins with TEXT", surface=_SCREEN),
    SlashCommand("pin", "", "Keep your last message in the context, or not", surface=_SCREEN),
    SlashCommand("delete", "", "Delete the last message", surface=_SCREEN),
    SlashCommand("undo", "", "Bring back what was deleted", surface=_SCREEN),
    SlashCommand("branches", "", "All branches of the session", ("tree",), surface=_SCREEN),
    SlashCommand("copy", "", "Copy the last reply", surface=_SCREEN),
    SlashCommand("file", "PATH", "Put a file before the next message", ("read",)),
    SlashCommand("prompt", "[NAME]", "Insert a prompt template", surface=_SCREEN),
    SlashCommand("system", "[TEXT]", "Show or set the system prompt"),
    SlashCommand("model", "[NAME]", "Show or change the model"),
    SlashCommand("set", "NAME VALUE", "Change a setting for this chat"),
    SlashCommand("show", "[NAME]", "Show the settings"),
    SlashCommand("think", "[auto|on|off]", "Reasoning"),
    SlashCommand("title", "[TEXT]", "Show or set the session's title"),
    SlashCommand("sessions", "", "List the latest sessions"),
    SlashCommand("open", "[ID]", "Go on with another session"),
    SlashCommand("search", "[WORDS]", "Find messages in all sessions", surface=_SCREEN),
    SlashCommand("export", "[FILE]", "Write the session as Markdown", ("save",)),
    SlashCommand("stats", "", "Tokens and times"),
    SlashCommand("details", "", "Times and token counts, on and off", surface=_SCREEN),
    SlashCommand("judge", "", "What the judge learnt; training, the game", surface=_SCREEN),
    SlashCommand("private", "", "Store nothing from here on, or again", surface=_SCREEN),
    SlashCommand("theme", "[NAME]", "Choose the colours", surface=_SCREEN),
    SlashCommand("version", "", "Version of tchat"),
    SlashCommand("quit", "", "End the chat", ("exit", "bye")),
)


def commands_for(surface: Surface) -> tuple[SlashCommand, ...]:
    """The commands served by ``surface``, in the order in which they are listed."""
    return tuple(command for command in COMMANDS if command.surface & surface)


def parse_input(text: str, commands: Iterable[SlashCommand] = COMMANDS) -> CommandCall | str:
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
        raise UsageError(f"/{name} takes nothing behind it", f"//{name} sends the line as text")
    return CommandCall(command, argument)


def _split(text: str) -> tuple[str, str]:
    """Name and argument of a command line; any white space parts them."""
    words = text[1:].split(maxsplit=1)
    if not words or text[1].isspace():
        return "", text[1:].strip()
    return words[0], words[1].strip() if len(words) > 1 else ""
