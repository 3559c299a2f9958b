"""The command palette: every key's action and every command, by what it does.

Textual's own palette reads its lines as markup, so ``/title [TEXT]`` loses a word there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from tchat.chat.commands import SlashCommand
from tchat.tui.dialogs.dialog import CLOSE, Hint
from tchat.tui.dialogs.picker import Picker
from tchat.tui.keys import KeyAction
from tchat.tui.widgets.fuzzy_item import Item


class Palette(Picker):
    """What can be done; it ends with the ``id`` of an action, or a command such as ``/regen``.

    Args:
        actions: The keys in force that work from the chat, see `with_keymap`.
        commands: The commands of the screen.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", "do it"), CLOSE)

    def __init__(self, actions: Sequence[KeyAction], commands: Sequence[SlashCommand]) -> None:
        super().__init__(
            "Commands",
            palette_items(actions, commands),
            placeholder="What do you want to do?",
        )


def palette_items(actions: Sequence[KeyAction], commands: Sequence[SlashCommand]) -> Iterator[Item]:
    """One item for each action and command, by its help, with the way to get it without this."""
    for action in actions:
        yield Item(key=action.id, title=action.help, columns=(action.shown,), also=action.id)
    for command in commands:
        yield Item(
            key=f"/{command.name}",
            title=command.help,
            columns=(command.usage,),
            also=" ".join(command.names),
        )
