"""The slash commands of a chat: declared once and carried out once, for every front end.

A front end parses a line with `parse_input`, and awaits `CommandCall.run` with a `CommandHost` of
its own. To add a command for all of them, write its handler and its line of `COMMANDS` in
`tchat.chat.commands.builtin`.
"""

from tchat.chat.commands.builtin import commands_for
from tchat.chat.commands.command import (
    CommandCall,
    CommandDialog,
    CommandHost,
    SlashCommand,
    Surface,
    parse_input,
)

__all__ = [
    "CommandCall",
    "CommandDialog",
    "CommandHost",
    "SlashCommand",
    "Surface",
    "commands_for",
    "parse_input",
]
