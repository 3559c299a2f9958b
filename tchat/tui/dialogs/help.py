"""Pickers of what can be done: keys and commands, the command palette, prompt templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on

from tchat.chat.commands import SlashCommand
from tchat.chat.templates import PromptTemplate
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr
from tchat.tui.dialogs.dialog import CLOSE, Hint, ListDialog, Picker
from tchat.tui.keys import KeyAction, Scope
from tchat.tui.widgets.fuzzy_list import FuzzyList
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


# Keys of the message cursor that the palette offers for the last message: no command does the same.
ON_LAST_MESSAGE = frozenset(
    f"transcript.{name}"
    for name in ("edit", "branch", "copy-code", "older", "newer", "fold", "redact")
)


# What edits a line as everywhere else stands last in the help.
LINE_EDITING = frozenset(
    f"prompt.{name}"
    for name in (
        "kill-word-left",
        "kill-word-part-left",
        "kill-word-right",
        "kill-to-start",
        "kill-to-end",
        "yank",
        "yank-older",
        "transpose",
        "left",
        "right",
        "word-left",
        "word-right",
    )
)
WHILE_WRITING = ("chat.stop", "chat.interrupt", "chat.page-up", "chat.end")
TYPED = (("/", N_("A command: a list opens")), ("@", N_("Attach a file: type its name")))
TYPED_AFTER = "prompt.newline"
IN_CHAT = (Scope.CHAT, Scope.PROMPT, Scope.MESSAGES, Scope.CANDIDATES)

USE, RUN = Hint("enter", N_("use the command")), Hint("enter", N_("do it"))


class HelpScreen(ListDialog):
    """Keys and commands with a filter; what can be done now comes first, see `help_items`.

    It ends with a command such as ``/regen`` for the prompt, or with the id of an action of the
    chat; the other keys are there to read. Over another dialog, ``only_read``, all of them are.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (CLOSE,)
    DEFAULT_CSS = """
    HelpScreen.-narrow FuzzyList > .about { max-height: 5; }
    """

    def __init__(
        self,
        actions: Sequence[KeyAction],
        commands: Sequence[SlashCommand],
        scope: Scope = Scope.CHAT,
        *,
        writing: bool = False,
        only_read: bool = False,
    ) -> None:
        super().__init__(
            tr("Help"),
            help_items(actions, commands, scope, writing=writing),
            placeholder=tr("Type to search keys and commands"),
        )
        chat = (each.id for each in actions if each.scope is Scope.CHAT)
        self._runs = frozenset() if only_read else frozenset(chat)
        self._only_read = only_read

    def opened(self) -> None:
        """Tell what Enter does."""
        super().opened()
        self._show_enter()

    @on(FuzzyList.Highlighted)
    @on(FuzzyList.Filtered)
    def _show_enter(self) -> None:
        item = self.list.item
        enter = self._enter(item.key) if item else None
        self.show_hints((enter, *self.HINTS) if enter else self.HINTS)

    def _enter(self, key: str) -> Hint | None:
        """What Enter does on an item; None where it is only there to read."""
        if key in self._runs:
            return RUN
        return USE if key.startswith("/") and not self._only_read else None

    def choose(self, key: str) -> None:
        """End with the command or the action; of another key there is only to read."""
        if self._enter(key):
            self.finish(key)

    def action_help(self) -> None:
        """Close it: its key is that of the help."""
        self.action_close()


def help_items(
    actions: Sequence[KeyAction],
    commands: Sequence[SlashCommand],
    scope: Scope = Scope.CHAT,
    *,
    writing: bool = False,
) -> Iterator[Item]:
    """One item for each key and command, in groups: what can be done now comes first.

    That is what stops and shows a reply while it is written, with ``writing``, then the keys of
    ``scope``, and those that work beside them. What edits a line comes last.
    """
    groups: dict[str, list[Item]] = {name: [] for name in _group_names(scope)}
    for action in actions:
        group = groups[_group_name(action, writing=writing)]
        group.append(_key_item(action))
        if action.id == TYPED_AFTER:
            group += [
                Item(
                    key=f"typed {each}",
                    title=each,
                    columns=(tr(does),),
                    also=f"{tr(does)} {does}",
                    about=tr(does),
                )
                for each, does in TYPED
            ]
    for command in commands:
        groups[_COMMANDS].append(
            Item(
                key=f"/{command.name}",
                title=command.usage,
                columns=(tr(command.help),),
                also=f"{tr(command.help)} {command.help}",
                about=tr(command.help),
            )
        )
    groups[_WRITING].sort(key=lambda item: WHILE_WRITING.index(item.key))
    for name, items in groups.items():
        heading = tr(name) if name == _COMMANDS else tr("Keys · {scope}", scope=tr(name))
        yield from (replace(item, group=heading) for item in items)


_COMMANDS, _WRITING, _EDITING = N_("Commands"), N_("While a reply is written"), N_("Line editing")


def _group_names(scope: Scope) -> Iterable[str]:
    """The groups in their order."""
    beside = (Scope.CHAT, _COMMANDS) if scope in IN_CHAT else (Scope.LISTS, Scope.DIALOGS)
    return dict.fromkeys((_WRITING, scope, *beside, Scope.CHAT, _COMMANDS, *Scope, _EDITING))


def _group_name(action: KeyAction, *, writing: bool) -> str:
    if writing and action.id in WHILE_WRITING:
        return _WRITING
    return _EDITING if action.id in LINE_EDITING else action.scope


def _key_item(action: KeyAction) -> Item:
    setting = tr(
        "In config.toml, under [keys]: {setting}", setting=f'{action.id} = "{action.keys}"'
    )
    return Item(
        key=action.id,
        title=", ".join(action.shown_keys[:MOST_KEYS]),
        columns=(tr(action.help),),
        also=f"{tr(action.help)} {action.help} {action.id} {other_words(action)}",
        about="\n".join((tr(action.help), setting)),  # a narrow list cuts what it does
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
    return Picker(tr("All actions"), items, placeholder=tr("Search keys and commands"))


def palette_items(
    actions: Sequence[KeyAction], commands: Sequence[SlashCommand], first: Sequence[str] = ()
) -> list[Item]:
    """One item for each thing that can be done, by its help, with its keys and its command."""
    served = {action.command: action for action in actions if action.command}
    by_name = {command.name: command for command in commands}
    items = [
        Item(
            key=action.id,
            title=_palette_title(action),
            columns=(
                ", ".join(action.shown_keys[:MOST_KEYS]),
                f"/{action.command}" if action.command in by_name else "",
            ),
            also=" ".join(
                (action.id, action.help, other_words(action), _words(by_name.get(action.command)))
            ),
            group=tr(_palette_group(action)),
        )
        for action in sorted(actions, key=lambda each: _GROUPS.index(_palette_group(each)))
    ]
    at = sum(_palette_group(action) == _GROUPS[0] for action in actions)
    items[at:at] = [
        Item(
            key=f"/{command.name}",
            title=tr(command.help),
            columns=("", f"/{command.name} {command.takes}".strip()),
            also=_words(command),
            group=tr("Commands"),
        )
        for command in commands
        if command.name not in served
    ]
    by_key = {item.key: item for item in items}
    # What was used as a command may have been recorded before it had a key.
    keys = [served[key[1:]].id if key[1:] in served else key for key in first]
    used = [
        replace(by_key[key], group=tr("Used recently"))
        for key in dict.fromkeys(keys)
        if key in by_key
    ]
    return [*used, *(item for item in items if item.key not in keys)]


_GROUPS = N_("Actions"), N_("Last message"), N_("Navigation")


def _palette_group(action: KeyAction) -> str:
    if action.scope is Scope.MESSAGES:
        return _GROUPS[1]
    return _GROUPS[2] if action.id in NAVIGATION else _GROUPS[0]


def _palette_title(action: KeyAction) -> str:
    if action.scope is Scope.MESSAGES:
        return tr("Last message: {action}", action=tr(action.help))
    return tr(action.help)


def _words(command: SlashCommand | None) -> str:
    """What a command is searched for by, beside the title of its item."""
    if command is None:
        return ""
    return " ".join((*(f"/{name}" for name in command.names), command.help, command.summary))


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
