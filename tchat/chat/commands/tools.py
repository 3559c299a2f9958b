"""The command `/tools`: which tools the model may call in this session."""

from __future__ import annotations

from collections.abc import Collection

from tchat.chat.commands.command import CommandDialog, CommandHost
from tchat.chat.tool_list import ListedTool, effects_text, list_tools, server_of
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean
from tchat.translation import tr

ALL_OFF = "off"
ENABLED = "tools.enabled"
DESCRIBED = 100  # characters of what a tool does


async def choose_tools(host: CommandHost, argument: str) -> None:
    """List the tools, or turn those that are named on or off for this session."""
    words = argument.replace(",", " ").split()
    if not words and host.open_dialog(CommandDialog.TOOLS):
        return
    settings, paths = host.settings, host.paths
    listed = await host.read_all(lambda _: list_tools(settings, paths))
    if not words:
        host.show(_told(listed))
        return
    on = [] if words == [ALL_OFF] else _toggled(words, listed, settings.tools.enabled)
    await host.change({ENABLED: tuple(on)})
    host.acknowledge(enabled_text(on))


def enabled_text(names: Collection[str]) -> str:
    """Which tools are on."""
    if not names:
        return tr("All tools are off.")
    return tr("Tools that are on: {names}.", names=single_line(", ".join(names)))


def _toggled(words: list[str], listed: list[ListedTool], enabled: Collection[str]) -> list[str]:
    """The names that are on, once each of ``words`` is turned on or off."""
    known = {each.name: each for each in listed}
    on = dict.fromkeys(enabled)
    for word in words:
        tool = known.get(word)
        if tool is None and word not in on and not server_of(word, listed):
            raise UsageError(
                tr("there is no tool {name}", name=single_line(word)),
                did_you_mean(word, known) or tr("/tools lists them"),
            )
        if word in on:
            del on[word]
        elif tool is not None and tool.problem:
            raise UsageError(tr("{name} cannot be used: {reason}", name=word, reason=tool.problem))
        else:
            on[word] = None
    return list(on)


def _told(listed: list[ListedTool]) -> str:
    lines = [_line(each) for each in listed]
    return "\n".join([*lines, tr("/tools NAME turns one on or off; /tools off turns all off.")])


def _line(tool: ListedTool) -> str:
    state = tr("on") if tool.is_on else tr("off")
    told = single_line(tool.problem or tool.description, DESCRIBED)
    effects = effects_text(tool)
    told = tr("{effects}: {meaning}", effects=effects, meaning=told) if effects else told
    return f"  {single_line(tool.name):<14} {state:<4} {told}"
