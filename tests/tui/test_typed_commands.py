"""Commands that are typed: in order, refused, given back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.paths import Paths
from tchat.sessions.records import Role
from tchat.settings import Settings
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft

from .chat_stage import ENDLESS, opened


async def test_a_path_is_text_and_no_command(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("/usr/bin/x is what?")
        assert shown.branch[0] == ("user", "/usr/bin/x is what?")


@pytest.mark.parametrize("before", [("one",), ()])
async def test_what_is_typed_behind_private_is_stored_nowhere(
    settings: Settings, paths: Paths, before: tuple[str, ...]
) -> None:
    async with opened(settings, paths) as shown:
        for each in before:
            await shown.ask(each)
        for line in ("/private", "a secret"):
            shown.screen.prompt.post_message(Prompt.Submitted(Draft(line)))
        await shown.until(lambda: ("user", "a secret") in shown.entries)
        await shown.idle()
        assert shown.screen.conversation.private
        stored = [each for every in shown.store.sessions() for each in shown.store.branch(every.id)]
        assert [each.text for each in stored if each.role is Role.USER] == [*before]


@pytest.mark.parametrize("command", ["/new", "/private", "/set top_k 7"])
async def test_prompts_behind_a_command_wait_for_it_in_order(
    settings: Settings, paths: Paths, command: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        first = shown.screen.conversation.session
        for line in (command, "two", "three"):
            shown.screen.prompt.post_message(Prompt.Submitted(Draft(line)))
        await shown.until(lambda: ("user", "three") in shown.entries)
        await shown.idle()
        asked = [text for role, text in shown.branch if role == "user"]
        assert asked == (["two", "three"] if command != "/set top_k 7" else ["one", "two", "three"])
        assert first is not None
        kept = [each.text for each in shown.store.branch(first.id) if each.role is Role.USER]
        assert kept[0] == "one"
        assert ("two" in kept) == (command == "/set top_k 7")


@pytest.mark.parametrize("line", ["/model nosuch", "/title A title", "/set temp warm"])
async def test_a_command_that_is_refused_comes_back_to_be_mended(
    settings: Settings, paths: Paths, line: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type(line)
        await shown.until(lambda: shown.screen.prompt.draft.text == line)


async def test_words_of_a_command_come_back_while_a_reply_is_written(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("one")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.type("/prefill My own words")
        await shown.until(lambda: shown.screen.prompt.draft.text == "/prefill My own words")


async def test_a_folder_comes_into_the_draft_as_one_chip(
    settings: Settings, paths: Paths, tmp_path: Path
) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    for name in ("a.py", "b.py"):
        (folder / name).write_text(f"{name} = 1\n", encoding="utf-8")
    async with opened(settings, paths) as shown:
        await shown.type(f"/file {folder}")
        await shown.until(lambda: "2 files" in shown.screen.prompt.draft.text)
        draft = shown.screen.prompt.draft
        assert draft.text.startswith(f"[{folder}: 2 files, ")
        assert draft.full_text.startswith(f"File {folder}/a.py:\n```\na.py = 1\n```\n\nFile ")
