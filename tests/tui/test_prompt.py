"""The prompt: what its keys do, chips, completions, the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.keys import key_to_character
from textual.message import Message
from textual.pilot import Pilot
from textual.theme import Theme

from tchat.chat.attachments import existing_files
from tchat.tui.themes import variable_defaults
from tchat.tui.widgets.completion import Completion
from tchat.tui.widgets.fuzzy_match import Candidate
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.prompt_draft import Draft
from tests.tui.stage import HOSTILE, is_tame, shows, text, until

SIZE = (60, 20)
COMMANDS = [Candidate("regen", "another reply"), Candidate("new", "a new session"),
            Candidate("quit", "leave", ("exit",))]  # fmt: skip
FILES = ("notes.md", "src/", "src/main.py")


def named(typed: str) -> Sequence[str]:
    """The files in the folder that was typed."""
    folder = typed.rpartition("/")[0]
    return [name for name in FILES if name.rstrip("/").rpartition("/")[0] == folder]


class Stage(App[None]):
    """The prompt alone; it keeps what the prompt says."""

    ENABLE_COMMAND_PALETTE = False  # as in tchat

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Message] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.current_theme)

    def compose(self) -> ComposeResult:
        yield Prompt()

    def on_mount(self) -> None:
        prompt = self.query_one(Prompt)
        prompt.styles.dock = "bottom"
        prompt.offer(COMMANDS, named)
        prompt.remember([Draft("first"), Draft("second")])
        prompt.focus()

    def on_prompt_submitted(self, message: PromptArea.Submitted) -> None:
        self.heard.append(message)

    def on_prompt_editor_requested(self, message: PromptArea.EditorRequested) -> None:
        self.heard.append(message)

    def on_prompt_quit_requested(self, message: PromptArea.QuitRequested) -> None:
        self.heard.append(message)

    def on_prompt_queue_taken(self, message: PromptArea.QueueTaken) -> None:
        self.heard.append(message)

    @property
    def sent(self) -> list[str]:
        return [each.draft.full_text for each in self.heard if isinstance(each, Prompt.Submitted)]


@asynccontextmanager
async def staged(
    size: tuple[int, int] = SIZE,
) -> AsyncIterator[tuple[Prompt, Pilot[None], Stage]]:
    app = Stage()
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield app.query_one(Prompt), pilot, app


async def paste(pilot: Pilot[None], pasted: str) -> None:
    area = pilot.app.query_one(PromptArea)
    area.post_message(events.Paste(pasted))
    await pilot.pause()


async def test_enter_sends_and_empties() -> None:
    async with staged() as (prompt, pilot, app):
        await pilot.press(*"hello", "enter")
        assert app.sent == ["hello"]
        assert prompt.draft == Draft()
        await pilot.press("space", "enter")
        assert app.sent == ["hello"]


async def test_three_keys_begin_another_line() -> None:
    async with staged() as (prompt, pilot, app):
        await pilot.press("a", "ctrl+j", "b", "alt+enter", "c", "shift+enter", "d")
        assert prompt.draft.text == "a\nb\nc\nd"
        assert app.sent == []


async def test_up_goes_back_and_down_returns_to_the_draft() -> None:
    async with staged() as (prompt, pilot, _):
        await pilot.press(*"half")
        seen = []
        for key in ("up", "up", "up", "down", "down"):
            await pilot.press(key)
            seen.append(prompt.draft.text)
        assert seen == ["second", "first", "first", "second", "half"]


async def test_up_moves_inside_a_text_before_it_goes_back() -> None:
    async with staged() as (prompt, pilot, app):
        await pilot.press("a", "ctrl+j", "b", "up")
        assert prompt.draft.text == "a\nb"
        assert app.query_one(PromptArea).cursor_location[0] == 0
        await pilot.press("up")
        assert prompt.draft.text == "second"


async def test_what_was_sent_is_remembered() -> None:
    async with staged() as (prompt, pilot, _):
        await pilot.press(*"third", "enter", "up")
        assert prompt.draft.text == "third"


@pytest.mark.parametrize(
    ("pasted", "label"),
    [("line\n" * 60, "[pasted 60 lines]"), ("x" * 100_000, "[pasted 100,000 characters]")],
)
async def test_a_large_paste_is_a_chip_and_is_sent_whole(pasted: str, label: str) -> None:
    async with staged() as (prompt, pilot, app):
        await pilot.press("a", "space")
        await paste(pilot, pasted)
        assert prompt.draft.text == f"a {label}"
        await pilot.press("enter")
        assert app.sent == [f"a {pasted}"]


async def test_a_chip_is_deleted_whole_and_undo_brings_it_back() -> None:
    async with staged() as (prompt, pilot, _):
        await paste(pilot, "line\n" * 60)
        await pilot.press("backspace")
        assert prompt.draft == Draft()
        await pilot.press("ctrl+underscore")
        assert prompt.draft.full_text == "line\n" * 60


async def test_a_small_paste_is_text_and_is_made_safe() -> None:
    async with staged() as (prompt, pilot, app):
        await paste(pilot, "one\r\ntwo\x1b[2J")
        assert prompt.draft.text == "one\ntwo␛[2J"
        assert is_tame(app)


async def test_the_row_that_is_typed_in_stays_in_view() -> None:
    async with staged() as (_, pilot, app):
        await paste(pilot, "word " * 200)
        area = app.query_one(PromptArea)
        for _ in range(8):  # at one of these the word goes to a row of its own
            await pilot.press("x")
            row = area.cursor_screen_offset.y - area.region.y
            assert 0 < row <= area.size.height


async def test_a_command_is_completed_by_tab_and_by_enter() -> None:
    async with staged() as (prompt, pilot, app):
        for key in ("tab", "enter"):
            await pilot.press("slash", "r", "e")
            assert app.query_one(Completion).is_open
            await pilot.press(key)
            assert prompt.draft.text == "/regen "
            prompt.load("")
        assert app.sent == []


async def test_a_command_that_is_typed_in_full_is_sent() -> None:
    async with staged() as (_, pilot, app):
        await pilot.press("slash", *"exit", "enter")
        assert app.sent == ["/exit"]


async def test_escape_closes_the_completions_and_keeps_the_text() -> None:
    async with staged() as (prompt, pilot, app):
        await pilot.press("slash", "r", "escape")
        assert not app.query_one(Completion).is_open
        assert prompt.draft.text == "/r"


async def test_a_file_is_completed_through_its_folder_and_attached() -> None:
    async with staged() as (prompt, pilot, app):
        popup = app.query_one(Completion)
        await pilot.press(*"see ", "@", "s")
        await until(pilot, lambda: popup.is_open)
        await pilot.press("tab")
        assert prompt.draft.text == "see @src/"
        await until(pilot, lambda: bool(popup.chosen and "main" in popup.chosen.name))
        await pilot.press("tab")
        assert prompt.draft.text == "see @src/main.py "
        assert prompt.draft.attachments == ("src/main.py",)


async def test_it_grows_to_two_fifths_of_the_screen() -> None:
    async with staged((60, 40)) as (prompt, pilot, app):
        area = app.query_one(PromptArea)
        assert area.size.height == 1
        prompt.load("one\ntwo\nthree")
        await pilot.pause()
        assert area.size.height == 3
        prompt.load("\n".join("x" * 40))
        await pilot.pause()
        assert area.outer_size.height == 16


async def test_the_editor_gets_the_draft() -> None:
    async with staged() as (_, pilot, app):
        await pilot.press(*"text", "ctrl+g")
        request = app.heard[-1]
        assert isinstance(request, Prompt.EditorRequested)
        assert request.draft.text == "text"


async def test_waiting_prompts_are_shown_and_the_last_is_taken_back() -> None:
    async with staged() as (prompt, pilot, app):
        prompt.queue = ["one", "two", "three", "four"]
        await pilot.pause()
        assert [f"queued {each}" in text(app) for each in prompt.queue] == [True] * 3 + [False]
        await shows(app, "and 1 more")
        await pilot.press("up")
        assert isinstance(app.heard[-1], Prompt.QueueTaken)
        prompt.queue = []
        await pilot.pause()
        assert "queued" not in text(app)


async def test_modes_are_told_in_the_border() -> None:
    async with staged() as (prompt, pilot, app):
        prompt.private = True
        prompt.mode = "editing"
        await pilot.pause()
        await shows(app, "private · editing")


async def test_hostile_text_acts_on_nothing() -> None:
    async with staged() as (prompt, pilot, app):
        prompt.mode = HOSTILE
        prompt.queue = [HOSTILE]
        prompt.load(HOSTILE)
        await pilot.pause()
        assert is_tame(app)
        await shows(app, "[/foo]")


@pytest.mark.parametrize(
    ("keys", "sent", "left"),
    [
        (["a", "b", "backspace", "c"], [], "ac"),
        (["a", "ctrl+j", "b", "ctrl+j", "c"], [], "a\nb\nc"),
        (["a", "enter", "b", "enter", "c"], ["a", "b"], "c"),
        (["a", "space", "b", "ctrl+w", "c"], [], "a c"),
        (["a", "b", "left", "c", "home", "d", "end", "e"], [], "dacbe"),
        (["a", "ctrl+c", "b"], [], "b"),
        (["a", "enter", "up", "b"], ["a"], "ab"),
        (["a", "b", "ctrl+underscore", "c", "delete"], [], "c"),
    ],
)
async def test_keys_that_arrive_at_once_act_in_the_order_typed(
    keys: list[str], sent: list[str], left: str
) -> None:
    async with staged() as (prompt, pilot, app):
        for key in keys:
            app.post_message(events.Key(key, key_to_character(key)))
        await pilot.pause()
        await pilot.pause()
        assert (app.sent, prompt.draft.text) == (sent, left)


@pytest.mark.parametrize(
    ("typed", "files"),
    [
        ("@{0}/late.md what", ["late.md"]),
        ("what is @{0}/late.md", ["late.md"]),
        ("@{0}/late.md, (@{0}/.other.md): what?", ["late.md", ".other.md"]),
        ("@{0} @{0}/none.md me@{0}/late.md what", []),
    ],
)
async def test_a_file_typed_faster_than_files_are_offered_is_attached(
    typed: str, files: list[str], tmp_path: Path
) -> None:
    for name in ("late.md", ".other.md"):
        (tmp_path / name).touch()
    async with staged() as (prompt, pilot, app):
        prompt.offer(COMMANDS, lambda _: [], existing_files)
        for character in typed.format(tmp_path):
            app.post_message(events.Key(character, character))
        app.post_message(events.Key("enter", "\r"))
        await until(pilot, lambda: bool(app.sent))
        (submitted,) = app.heard
        assert isinstance(submitted, Prompt.Submitted)
        assert submitted.draft.text == typed.format(tmp_path)
        assert list(submitted.draft.attachments) == [f"{tmp_path}/{name}" for name in files]


async def test_the_text_is_drawn_in_the_colours_of_the_theme() -> None:
    async with staged() as (prompt, pilot, app):
        area = prompt.query_one(PromptArea)
        prompt.load("some text")

        async def shown() -> Style | None:
            await pilot.pause()
            strips = area.render_lines(area.outer_size.region)
            segments = [segment for strip in strips for segment in strip]
            return next(each.style for each in segments if each.text.startswith("some text"))

        before = await shown()
        app.theme = "textual-light"
        light = await shown()
        assert light
        assert light != before
        assert light.color == area.rich_style.color
        # As when the file of the theme in use is saved.
        app.register_theme(Theme("textual-light", "#004578", foreground="#102030", dark=False))
        app._invalidate_css()
        app.refresh_css(animate=False)
        changed = await shown()
        assert changed
        assert changed.color
        assert changed.color.name == "#102030"
