"""The help: all keys and commands, as they are declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from tchat.chat.commands import SlashCommand
from tchat.tui.dialogs.dialog import CLOSE, Hint
from tchat.tui.dialogs.picker import Picker
from tchat.tui.keys import KeyAction, Scope
from tchat.tui.widgets.fuzzy_item import Item

MOST_KEYS = 2  # of one action on its line; the line below the list has all


class HelpScreen(Picker):
    """Keys and commands with a filter.

    It ends with a command such as ``/regen`` when one was chosen, for the prompt.

    Args:
        actions: The keys in force, see `with_keymap`.
        commands: The commands of the screen.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", "use the command"), CLOSE)

    def __init__(self, actions: Sequence[KeyAction], commands: Sequence[SlashCommand]) -> None:
        super().__init__("Help", help_items(actions, commands))

    def choose(self, key: str) -> None:
        """End with the command; of a key there is only to read."""
        self.finish(key if key.startswith("/") else None)


def help_items(actions: Sequence[KeyAction], commands: Sequence[SlashCommand]) -> Iterator[Item]:
    """One item for each key and command, under where it works."""
    order = list(Scope)
    for action in sorted(actions, key=lambda each: order.index(each.scope)):
        yield Item(
            key=action.id,
            title=" ".join(action.shown.split()[:MOST_KEYS]),
            columns=(action.help,),
            also=f"{action.help} {action.id}",
            group=f"Keys · {action.scope}",
            about=f'In config.toml, under [keys]: {action.id} = "{action.keys}"',
        )
    for command in commands:
        yield Item(
            key=f"/{command.name}",
            title=command.usage,
            columns=(command.help,),
            also=command.help,
            group="Commands",
        )
