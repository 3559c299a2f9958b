"""Pickers of what can be done: keys and commands, the command palette, prompt templates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from tchat.chat.commands import SlashCommand
from tchat.chat.templates import PromptTemplate
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr
from tchat.tui.dialogs.dialog import CLOSE, Hint, ListDialog, Picker
from tchat.tui.keys import KeyAction, Scope
from tchat.tui.widgets.item_view import Item

MOST_KEYS = 2  # of one action on its line; the line below the list has all


# What moves through the screen stands last in the palette.
NAVIGATION = frozenset(
    f"chat.{name}"
    for name in (
        "message-up",
        "message-down",
        "page-up",
        "page-down",
        "top",
        "end",
        "leader",
        "stop",
        "interrupt",
        "palette",
    )
)


class HelpScreen(ListDialog):
    """Keys and commands with a filter; the keys of ``scope`` come first.

    It ends with a command such as ``/regen`` when one was chosen, for the prompt.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("enter", N_("use the command")), CLOSE)

    def __init__(
        self,
        actions: Sequence[KeyAction],
        commands: Sequence[SlashCommand],
        scope: Scope = Scope.CHAT,
    ) -> None:
        super().__init__(
            tr("Help"),
            help_items(actions, commands, scope),
            placeholder=tr("Type to search keys and commands"),
        )

    def choose(self, key: str) -> None:
        """End with the command; of a key there is only to read."""
        self.finish(key if key.startswith("/") else None)

    def action_help(self) -> None:
        """Close it: its key is that of the help."""
        self.action_close()


def help_items(
    actions: Sequence[KeyAction], commands: Sequence[SlashCommand], scope: Scope = Scope.CHAT
) -> Iterator[Item]:
    """One item for each key and command, under where it works, ``scope`` first."""
    order = [scope, *(each for each in Scope if each is not scope)]
    for action in sorted(actions, key=lambda each: order.index(each.scope)):
        yield Item(
            key=action.id,
            title=", ".join(action.shown_keys[:MOST_KEYS]),
            columns=(tr(action.help),),
            also=f"{tr(action.help)} {action.help} {action.id} {other_words(action)}",
            group=tr("Keys · {scope}", scope=tr(action.scope)),
            about=tr(
                "In config.toml, under [keys]: {setting}", setting=f'{action.id} = "{action.keys}"'
            ),
        )
    for command in commands:
        yield Item(
            key=f"/{command.name}",
            title=command.usage,
            columns=(tr(command.help),),
            also=f"{tr(command.help)} {command.help}",
            group=tr("Commands"),
        )


def other_words(action: KeyAction) -> str:
    """What an action is searched for by, beside its help: translated, and as it is declared."""
    return f"{tr(action.also)} {action.also}" if action.also else ""


def command_palette(
    actions: Sequence[KeyAction], commands: Sequence[SlashCommand], first: Sequence[str] = ()
) -> Picker:
    """What can be done; it ends with the ``id`` of an action, or a command such as ``/regen``.

    ``first`` are those to show first, the best first.
    """
    items = palette_items(actions, commands, first)
    return Picker(tr("Commands"), items, placeholder=tr("Search keys and commands"))


def palette_items(
    actions: Sequence[KeyAction], commands: Sequence[SlashCommand], first: Sequence[str] = ()
) -> list[Item]:
    """One item for each action and command, by its help, with the way to get it without this."""
    items = [
        Item(
            key=action.id,
            title=tr(action.help),
            columns=(", ".join(action.shown_keys[:MOST_KEYS]),),
            also=f"{action.id} {action.help} {other_words(action)}",
            group=tr("Navigation") if action.id in NAVIGATION else tr("Actions"),
        )
        for action in sorted(actions, key=lambda each: each.id in NAVIGATION)
    ]
    at = sum(action.id not in NAVIGATION for action in actions)
    items[at:at] = [
        Item(
            key=f"/{command.name}",
            title=tr(command.help),
            columns=(command.usage,),
            also=" ".join(f"/{name}" for name in command.names),
            group=tr("Commands"),
        )
        for command in commands
    ]
    by_key = {item.key: item for item in items}
    used = [replace(by_key[key], group=tr("Used recently")) for key in first if key in by_key]
    return [*used, *(item for item in items if item.key not in first)]


NOTHING = N_("There is no prompt template; `tchat prompts new NAME` creates one.")


def template_picker(templates: Sequence[PromptTemplate]) -> Picker:
    """Prompt templates; it ends with the name of the one chosen."""
    return Picker(tr("Prompt templates"), [_item(each) for each in templates], empty=tr(NOTHING))


def _item(template: PromptTemplate) -> Item:
    return Item(
        key=template.name,
        title=template.name,
        columns=(
            "" if template.is_builtin else tr("yours"),
            single_line(template.shown_description),
        ),
        also=f"{template.shown_description} {' '.join(template.variables)}",
        about=printable(template.prompt.strip()),
    )
