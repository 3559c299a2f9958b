"""Pickers of what can be done: keys and commands, the command palette, prompt templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from tchat.chat.commands import SlashCommand
from tchat.chat.templates import PromptTemplate
from tchat.sanitize import single_line
from tchat.translation import tr
from tchat.tui.dialogs.dialog import CLOSE, Hint, ListDialog, Picker
from tchat.tui.keys import KeyAction, Scope
from tchat.tui.widgets.item_view import Item

MOST_KEYS = 2  # of one action on its line; the line below the list has all


class HelpScreen(ListDialog):
    """Keys and commands with a filter.

    It ends with a command such as ``/regen`` when one was chosen, for the prompt.
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
            title=", ".join(action.shown_keys[:MOST_KEYS]),
            columns=(tr(action.help),),
            also=f"{tr(action.help)} {action.id}",
            group=tr("Keys · {scope}", scope=tr(action.scope)),
            about=tr(
                "In config.toml, under [keys]: {setting}", setting=f'{action.id} = "{action.keys}"'
            ),
        )
    for command in commands:
        yield Item(
            key=f"/{command.name}",
            title=command.usage,
            columns=(command.help,),
            also=command.help,
            group="Commands",
        )


def command_palette(actions: Sequence[KeyAction], commands: Sequence[SlashCommand]) -> Picker:
    """What can be done; it ends with the ``id`` of an action, or a command such as ``/regen``."""
    return Picker(
        "Commands", palette_items(actions, commands), placeholder="Search keys and commands"
    )


def palette_items(actions: Sequence[KeyAction], commands: Sequence[SlashCommand]) -> Iterator[Item]:
    """One item for each action and command, by its help, with the way to get it without this."""
    for action in actions:
        yield Item(
            key=action.id,
            title=tr(action.help),
            columns=(", ".join(action.shown_keys[:MOST_KEYS]),),
            also=action.id,
        )
    for command in commands:
        yield Item(
            key=f"/{command.name}",
            title=command.help,
            columns=(command.usage,),
            also=" ".join(f"/{name}" for name in command.names),
        )


SHOWN = 240  # characters of a template that are shown below the list
NOTHING = "There is no prompt template; `tchat prompts new NAME` creates one."


def template_picker(templates: Sequence[PromptTemplate]) -> Picker:
    """Prompt templates; it ends with the name of the one chosen."""
    return Picker("Prompt templates", [_item(each) for each in templates], empty=NOTHING)


def _item(template: PromptTemplate) -> Item:
    return Item(
        key=template.name,
        title=template.name,
        columns=("" if template.is_builtin else "yours", single_line(template.description)),
        also=f"{template.description} {' '.join(template.variables)}",
        about=single_line(template.prompt, SHOWN),
    )
