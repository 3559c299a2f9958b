"""Editing in the prompt with the keys of GNU Readline and Emacs."""

from __future__ import annotations

import pytest

from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft
from tests.tui.test_prompt import paste, staged


@pytest.mark.parametrize(
    ("typed", "keys", "left"),
    [
        # Ctrl+W kills back to a space, Alt+Backspace a word; Ctrl+Y puts it back.
        ("ls /usr/share", ["ctrl+w"], "ls "),
        ("ls /usr/share", ["alt+backspace"], "ls /usr/"),
        ("ls /usr/share", ["ctrl+w", "ctrl+y", "ctrl+y"], "ls /usr/share/usr/share"),
        ("one two", ["ctrl+a", "alt+d"], " two"),
        ("one two", ["ctrl+a", "alt+d", "alt+d"], ""),
        ("one two", ["alt+b", "ctrl+k"], "one "),
        ("one two", ["alt+b", "ctrl+u"], "two"),
        # Kills in a row are one text, in the order of the text.
        ("one two three", ["ctrl+w", "ctrl+w", "ctrl+y"], "one two three"),
        ("one two three", ["ctrl+w", "ctrl+w", "ctrl+a", "ctrl+y"], "two threeone "),
        ("one two", ["ctrl+a", "alt+d", "alt+d", "ctrl+y"], "one two"),
        ("one two", ["alt+b", "ctrl+u", "ctrl+k", "ctrl+y"], "one two"),
        # A key in between begins another one; Alt+Y goes back through them, and round.
        ("one two", ["ctrl+w", "backspace", "ctrl+w", "ctrl+y"], "one"),
        ("one two", ["ctrl+w", "backspace", "ctrl+w", "ctrl+y", "alt+y"], "two"),
        ("one two", ["ctrl+w", "backspace", "ctrl+w", "ctrl+y", "alt+y", "alt+y"], "one"),
        ("one", ["alt+y"], "one"),
        ("one", ["ctrl+y"], "one"),
        ("one", ["ctrl+w", "ctrl+y", "x", "alt+y"], "onex"),
        # Undo and redo.
        ("one two", ["ctrl+w", "ctrl+underscore"], "one two"),
        ("one two", ["ctrl+w", "ctrl+slash", "alt+slash"], "one "),
        # Lines.
        ("a\nb", ["ctrl+u", "ctrl+u", "ctrl+u"], ""),
        ("a\nb", ["up", "home", "ctrl+k", "x"], "x\nb"),
        ("a\nb", ["up", "ctrl+e", "ctrl+k"], "ab"),
        ("a\nb", ["home", "ctrl+w"], "ab"),
        # Transposing.
        ("ab", ["ctrl+t"], "ba"),
        ("abc", ["left", "ctrl+t"], "acb"),
        ("abc", ["left", "left", "ctrl+t", "ctrl+t"], "bca"),
        ("a", ["ctrl+t"], "a"),
        ("ab", ["ctrl+a", "ctrl+t"], "ab"),
        ("e\u0301x", ["ctrl+t"], "xe\u0301"),
        ("👩\u200d👩x", ["ctrl+t"], "x👩\u200d👩"),
        ("名前", ["ctrl+t"], "前名"),
        # Deleting forward, moving.
        ("abc", ["ctrl+a", "ctrl+d"], "bc"),
        ("abc", ["ctrl+a", "ctrl+f", "x"], "axbc"),
        ("one two", ["alt+b", "x"], "one xtwo"),
        ("one two", ["ctrl+a", "alt+f", "x"], "onex two"),
        # What is selected is killed or cut.
        ("abc", ["shift+left", "ctrl+w"], "ab"),
        ("abc", ["alt+q"], "abc"),
        ("ab?", [], "ab?"),
    ],
)
async def test_keys_edit_as_in_a_shell(typed: str, keys: list[str], left: str) -> None:
    async with staged() as (prompt, pilot, _):
        prompt.load(typed)
        await pilot.press(*keys)
        assert prompt.draft.text == left


async def test_a_killed_paste_comes_back_whole_even_after_it_was_sent() -> None:
    async with staged() as (prompt, pilot, app):
        await paste(pilot, "line\n" * 60)
        await pilot.press("ctrl+u")
        assert prompt.draft == Draft()
        await pilot.press("x", "enter", "ctrl+y")
        assert prompt.draft.full_text == "line\n" * 60
        assert app.sent == ["x"]


async def test_characters_of_a_chip_are_not_swapped() -> None:
    async with staged() as (prompt, pilot, _):
        await paste(pilot, "line\n" * 60)
        before = prompt.draft
        await pilot.press("ctrl+t")
        assert prompt.draft == before


async def test_ctrl_p_and_ctrl_n_move_inside_and_go_through_the_history_at_the_edges() -> None:
    async with staged() as (prompt, pilot, app):
        await pilot.press("a", "ctrl+j", "b", "ctrl+p")
        assert prompt.draft.text == "a\nb"
        assert app.query_one(PromptArea).cursor_location[0] == 0
        seen = []
        for key in ("ctrl+p", "ctrl+p", "ctrl+n", "ctrl+n"):
            await pilot.press(key)
            seen.append(prompt.draft.text)
        assert seen == ["second", "first", "second", "a\nb"]
