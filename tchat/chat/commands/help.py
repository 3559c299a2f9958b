"""The text of ``/help``: all commands by group, the commands of a group, or one command.

It is for the line chat, so that the list of all fits into a terminal of 24 lines.
"""

from __future__ import annotations

from collections.abc import Sequence

from tchat.chat.commands.command import Group, SlashCommand
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean
from tchat.translation import tr


def command_help(commands: Sequence[SlashCommand], name: str) -> str:
    """Explain ``name``, a command or a group; all commands by group if it is empty.

    Raises:
        UsageError: There is neither a command nor a group of that name.
    """
    wanted = name.strip().removeprefix("/").lower()
    if not wanted:
        return _overview(commands)
    groups = _grouped(commands)
    if wanted in {*Group}:
        return "\n".join(_line(each) for each in groups[Group(wanted)])
    for command in commands:
        if wanted in command.names:
            return f"{command.usage}\n{command.help}."
    shown = single_line(name, 40)
    near = did_you_mean(wanted, [*groups, *(each for known in commands for each in known.names)])
    raise UsageError(
        tr("there is no command /{name}", name=shown), near or tr("/help lists the commands")
    )


def _overview(commands: Sequence[SlashCommand]) -> str:
    lines = []
    for group, members in _grouped(commands).items():
        names = " ".join(f"/{name}" for command in members for name in command.names)
        lines.append(f"{group.heading}:  {names}")
    lines.append(
        tr(
            "/help COMMAND explains a command, for example /help try. /help replies, messages, "
            "settings, sessions or other explains a group."
        )
    )
    return "\n".join(lines)


def _grouped(commands: Sequence[SlashCommand]) -> dict[Group, list[SlashCommand]]:
    return {group: [each for each in commands if each.group is group] for group in Group}


def _line(command: SlashCommand) -> str:
    takes = f" {command.takes}" if command.takes else ""
    return f"/{command.name}{takes}  {command.help}"


def manual_text(words: str) -> str:
    """The page of the manual that ``words`` name, the sections that have them, or all topics.

    Raises:
        UsageError: No section has all the words.
    """
    from tchat.manual import TOPICS, find_sections, page

    wanted = words.strip().lower()
    if wanted in TOPICS:
        return page(wanted).strip()
    if not wanted:
        return tr("Topics of the manual: {topics}.", topics=", ".join(TOPICS))
    found = list(find_sections(wanted))
    if not found:
        raise UsageError(
            tr("no section of the manual has all of these words: {words}", words=words.strip()),
            tr("/manual lists the topics"),
        )
    if len(found) == 1:
        return found[0].text
    lines = (f"{each.topic}: {each.heading or each.title}" for each in found)
    return "\n".join([tr("Found in these sections; /manual TOPIC shows a page:"), *lines])
