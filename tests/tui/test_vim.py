"""The preset ``vim``: the prompt has Vim's modes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.history import HistoryScreen

from .chat_stage import opened
from .stage import text
from .test_prompt import staged


def keys_of(typed: str) -> list[str]:
    """The keys of ``typed``, in which ``<escape>`` is one."""
    keys = []
    while typed:
        if typed[0] == "<" and ">" in typed:
            name, _, typed = typed[1:].partition(">")
            keys.append(name)
        else:
            names = {" ": "space", "$": "dollar_sign", "^": "circumflex_accent"}
            keys.append(names.get(typed[0], typed[0]))
            typed = typed[1:]
    return keys


@pytest.mark.parametrize(
    ("before", "typed", "after"),
    [
        # Inserting
        ("", "hjkl", "hjkl"),
        ("abc", "<escape>ix", "abxc"),
        ("abc", "<escape>ax", "abcx"),
        ("  abc", "<escape>Ix", "  xabc"),
        ("abc", "<escape>0Ax", "abcx"),
        ("a\nb", "<escape>kox", "a\nx\nb"),
        ("a\nb", "<escape>Ox", "a\nx\nb"),
        # Moving
        ("abc", "<escape>hhix", "xabc"),
        ("abc", "<escape>0lix", "axbc"),
        ("one two three", "<escape>0wwix", "one two xthree"),
        ("one two three", "<escape>bbix", "one xtwo three"),
        ("one, two", "<escape>0wix", "onex, two"),
        ("one two", "<escape>0ea!", "one! two"),
        ("one two", "<escape>0$a!", "one two!"),
        ("  one", "<escape>^ix", "  xone"),
        ("a\nb\nc", "<escape>ggix", "xa\nb\nc"),
        ("a\nb\nc", "<escape>ggGix", "a\nb\nxc"),
        ("one two three", "<escape>02wix", "one two xthree"),
        # Deleting, changing, putting
        ("abc", "<escape>x", "ab"),
        ("abc", "<escape>02x", "c"),
        ("abc", "<escape>X", "ac"),
        ("one two three", "<escape>0wdw", "one three"),
        ("one two three", "<escape>0d2w", "three"),
        ("one two three", "<escape>02dw", "three"),
        ("one\ntwo", "<escape>k0dw", "\ntwo"),
        ("one two", "<escape>0wd$", "one "),
        ("one two", "<escape>0wD", "one "),
        ("one two three", "<escape>bd0", "three"),
        ("a\nb\nc", "<escape>kdd", "a\nc"),
        ("a\nb\nc", "<escape>dd", "a\nb"),
        ("a\nb\nc", "<escape>gg2dd", "c"),
        ("a\nb\nc", "<escape>kdG", "a"),
        ("a\nb\nc", "<escape>ggdj", "c"),
        ("one two", "<escape>0cwx", "x two"),
        ("one two", "<escape>0wcwx", "one x"),
        ("a two", "<escape>0cwx", "x two"),
        ("a\nb", "<escape>ccx", "a\nx"),
        ("one two", "<escape>0wCx", "one x"),
        ("abc", "<escape>0rx", "xbc"),
        ("one two", "<escape>0dwp", "tone wo"),
        ("one two", "<escape>0dwP", "one two"),
        ("one two", "<escape>0dw$p", "twoone "),
        ("a\nb", "<escape>ddp", "a\nb"),
        ("a\nb", "<escape>kddp", "b\na"),
        ("a\nb", "<escape>yyP", "a\nb\nb"),
        ("ab", "<escape>0xp", "ba"),
        ("one two", "<escape>0yw$p", "one twoone "),
        # Undoing, the visual mode, what is no command
        ("one two", "<escape>0dwu", "one two"),
        ("one two", "<escape>0dwu<ctrl+r>", "two"),
        ("abc", "<escape>0vld", "c"),
        ("abc", "<escape>vhcx", "ax"),
        ("abc", "<escape>0vlyp", "aabbc"),
        ("abc", "<escape>qZ<escape>d<escape>x", "ab"),
        ("abc", "<escape>0d<escape>x", "bc"),
    ],
)
async def test_commands(before: str, typed: str, after: str) -> None:
    async with staged() as (prompt, pilot, _):
        prompt.edit_with_vim()
        prompt.load(before)
        await pilot.press(*keys_of(typed))
        assert prompt.draft.text == after


async def test_enter_sends_in_both_modes() -> None:
    async with staged() as (prompt, pilot, app):
        prompt.edit_with_vim()
        await pilot.press(*"one", "enter", *"two", "escape", "enter")
        assert app.sent == ["one", "two"]


async def test_the_mode_is_shown_and_ctrl_r_redoes_only_in_the_normal_mode(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, keymap="vim"), paths) as shown:
        app = shown.pilot.app
        assert "INSERT" in text(app)
        await shown.pilot.press(*"abc", "escape")
        await shown.pilot.pause()
        assert "NORMAL" in text(app)
        await shown.pilot.press("x", "u", "ctrl+r")
        assert shown.screen.prompt.draft.text == "ab"
        # Esc and a letter at once are Alt and the letter where the terminal cannot tell.
        await shown.pilot.press("A", "d")
        app.post_message(events.Key("alt+k", "k"))
        await shown.pilot.press("x")
        await shown.until(lambda: shown.screen.prompt.draft.text == "ab")
        await shown.pilot.press("i", "ctrl+r")
        await shown.until(lambda: isinstance(app.screen, HistoryScreen))


async def test_j_and_k_select_messages_when_the_prompt_is_empty(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, keymap="vim"), paths) as shown:
        await shown.ask("Hello")
        await shown.pilot.press("escape", "k")
        await shown.until(lambda: shown.cursor.text == shown.branch[1][1])
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.screen.prompt.has_focus_within)
