"""The preset ``vim``: the prompt has Vim's modes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events

from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.dialogs.history import HistoryScreen
from tchat.tui.widgets.prompt_area import PromptArea

from .chat_stage import opened
from .stage import shows, text, until
from .test_prompt import staged


def keys_of(typed: str) -> list[str]:
    """The keys of ``typed``, in which ``<escape>`` is one."""
    keys = []
    while typed:
        if typed[0] == "<" and ">" in typed:
            name, _, typed = typed[1:].partition(">")
            keys.append(name)
        else:
            names = {" ": "space", "$": "dollar_sign", "^": "circumflex_accent", ":": "colon"}
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


@pytest.mark.parametrize(
    ("before", "typed", "after", "cursor"),
    [
        # To a line by its number
        ("a\n  b\nc", "2gg", "a\n  b\nc", (1, 2)),
        ("a\n  b\nc", "1G", "a\n  b\nc", (0, 0)),
        ("a\nb\nc", "9G", "a\nb\nc", (2, 0)),
        ("a\nb\nc", "10gg", "a\nb\nc", (2, 0)),
        ("a\nb\nc", "ggG", "a\nb\nc", (2, 0)),
        ("a\nb\nc", "kd1G", "c", (0, 0)),
        ("a\nb\nc\nd", "ggd2G", "c\nd", (0, 0)),
        ("a\nb\nc\nd", "d2gg", "a", (0, 0)),
        ("a\nb\nc\nd", "2Gd2G", "a\nc\nd", (1, 0)),
        ("a\nb\nc", "y1Gp", "a\na\nb\nc\nb\nc", (1, 0)),
        ("a\nb\nc", "2G:3<enter>", "a\nb\nc", (2, 0)),
        # The cursor after an undo
        ("one two three", "0wdwu", "one two three", (0, 4)),
        ("one two three", "0wdwu<ctrl+r>", "one three", (0, 4)),
        ("one two three", "bdbu", "one two three", (0, 4)),
        ("one two three", "0wcwxyz<escape>0u", "one two three", (0, 4)),
        ("one two three", "0wcwx<escape>u<ctrl+r>", "one x three", (0, 4)),
        ("one two three", "0wixyz<escape>$u", "one two three", (0, 4)),
        ("one two three", "0wAxyz<escape>0u", "one two three", (0, 12)),
        ("one two three", "0wIxyz<escape>u", "one two three", (0, 0)),
        ("abc def", "0wixy<escape>u<ctrl+r>", "abc xydef", (0, 4)),
        ("abc def", "0Axy<escape>0u<ctrl+r>", "abc defxy", (0, 7)),
        ("abc def", "0wiX<ctrl+j>Y<escape>u", "abc def", (0, 4)),
        ("a\nb\nc", "ddu", "a\nb\nc", (2, 0)),
        ("a\n  bcd\nc", "k$ddggu", "a\n  bcd\nc", (1, 2)),
        ("a\n  bcd\nc", "k$ddu<ctrl+r>", "a\nc", (1, 0)),
        ("a\n  bcd\nc", "k$ccx<escape>u", "a\n  bcd\nc", (1, 2)),
        ("abc\ndef", "k0loxy<escape>u", "abc\ndef", (0, 1)),
        ("abc\ndef", "k0loxy<escape>u<ctrl+r>", "abc\nxy\ndef", (0, 1)),
        ("abc\ndef", "$Oxy<escape>u<ctrl+r>", "abc\nxy\ndef", (1, 1)),
        ("abc\ndef", "ggyyj$pggu", "abc\ndef", (1, 2)),
        ("abc\ndef", "ggyyj$Pu<ctrl+r>", "abc\nabc\ndef", (1, 2)),
        ("one two", "0yw$pu<ctrl+r>", "one twoone ", (0, 6)),
        ("abc def", "0wvbdu", "abc def", (0, 0)),
        ("abc def", "$xxxuu<ctrl+r>", "abc d", (0, 4)),
        ("abc\ndef\nghi", "ggxGxuu", "abc\ndef\nghi", (0, 0)),
        ("one two", "0ixy<escape>wxuu<ctrl+r><ctrl+r>", "xyone wo", (0, 6)),
        ("one two", "0ix<escape>0iy<escape>uu<ctrl+r>", "xone two", (0, 0)),
        # Putting lines and words
        ("a\nb", "yyA foo<ctrl+w><escape>p", "a\nb \nb", (2, 0)),
        ("one two", "0wyyxp", "one wto", (0, 5)),
        ("a\nb", "ddixyz<ctrl+w><escape>p", "a\nb", (1, 0)),
        ("a\nb\nc", "kyy0xp", "a\nb\nc", (1, 0)),
        ("a\nb\nc", "yygg2p", "a\nc\nc\nb\nc", (1, 0)),
        ("a\nb\nc", "yygg2P", "c\nc\na\nb\nc", (0, 0)),
        ("  a\nb", "ggyyGp", "  a\nb\n  a", (2, 2)),
        ("a\nb\nc", "gg2yyGp", "a\nb\nc\na\nb", (3, 0)),
        ("abc\ndefg\nhij", "$ykp", "abc\ndefg\ndefg\nhij\nhij", (2, 0)),
        ("a b\nc", "ggywyyGp", "a b\nc\na b", (2, 0)),
        ("ab", "0x3p", "baaa", (0, 3)),
        ("ab", "0x3P", "aaab", (0, 2)),
        ("abc\ndef", "ggvjyGp", "abc\ndabc\ndef", (1, 1)),
        ("abc", "p", "abc", (0, 2)),
    ],
)
async def test_text_and_cursor_are_as_in_vim(
    before: str, typed: str, after: str, cursor: tuple[int, int]
) -> None:
    """Each of these was typed into Vim 9.0."""
    async with staged() as (prompt, pilot, app):
        prompt.edit_with_vim()
        prompt.load(before)
        await pilot.press("escape", *keys_of(typed))
        assert prompt.draft.text == after
        assert app.query_one(PromptArea).cursor_location == cursor


async def test_undo_keeps_what_was_there_before_the_cursor_was_moved_with_arrows() -> None:
    async with staged() as (prompt, pilot, _):
        prompt.edit_with_vim()
        await pilot.press("up")
        recalled = prompt.draft.text
        await pilot.press(*"xyz", "escape", "u")
        assert prompt.draft.text == recalled


@pytest.mark.parametrize(
    "typed",
    [
        ":q<enter>",
        ":q!<enter>",
        ":wq<enter>",
        "<escape>:q<enter>",
        "<escape>:x<enter>",
        "one<escape>:qa<enter>",
    ],
)
async def test_a_quit_of_vim_quits_and_sends_nothing(typed: str) -> None:
    async with staged() as (prompt, pilot, app):
        prompt.edit_with_vim()
        await pilot.press(*keys_of(typed))
        await pilot.pause()
        assert app.sent == []
        assert [type(each).__name__ for each in app.heard].count("QuitRequested") == 1
        assert prompt.draft.text == ("one" if "one" in typed else "")


@pytest.mark.parametrize("typed", [":w<enter>", "<escape>:w<enter>", "one<escape>:w<enter>"])
async def test_a_command_that_is_only_vims_is_told_not_to_exist(typed: str) -> None:
    async with staged() as (prompt, pilot, app):
        prompt.edit_with_vim()
        await pilot.press(*keys_of(typed))
        await pilot.pause()
        assert app.sent == []
        assert any(":w does not exist here" in each.message for each in app._notifications)
        assert prompt.draft.text == ("one" if "one" in typed else "")


async def test_the_command_line_is_shown_edited_and_left() -> None:
    async with staged() as (prompt, pilot, app):
        prompt.edit_with_vim()
        prompt.load("one")
        await pilot.press("escape", *keys_of(":wx<backspace>"))
        await until(pilot, lambda: ":w " in text(app))
        for left in ("<backspace><backspace>", ":q<escape>"):
            await pilot.press(*keys_of(left))
            await until(pilot, lambda: "NORMAL" in text(app))
        await pilot.press(*keys_of("x:<enter>ix"))
        assert prompt.draft.text == "oxn"
        assert app.sent == []


async def test_a_prompt_that_only_begins_like_a_command_is_sent() -> None:
    async with staged() as (prompt, pilot, app):
        prompt.edit_with_vim()
        for typed in (":smile", ":q is what?", "/regen now"):
            prompt.load(typed)
            await pilot.press("enter")
        assert app.sent == [":smile", ":q is what?", "/regen now"]


async def test_a_slash_in_the_empty_prompt_finds_text_in_the_chat(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, keymap="vim"), paths) as shown:
        await shown.ask("Hello")
        await shown.pilot.press("escape")
        for key in ("slash", *"Hel"):  # as fast as a terminal sends them
            app = shown.pilot.app
            app.post_message(events.Key(key, "/" if key == "slash" else key))
        await shown.until(lambda: "FIND Hel" in text(shown.pilot.app))
        await shown.pilot.press("escape")
        await shown.until(lambda: shown.screen.prompt.has_focus_within)
        await shows(shown.pilot.app, "NORMAL")


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
        await shows(app, "INSERT")
        await shown.pilot.press(*"abc", "escape")
        await shown.pilot.pause()
        await shows(app, "NORMAL")
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
