"""What can be done with one message of a chat."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest

from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Sampling, Settings
from tchat.tui.dialogs.dialog import Confirm, Picker
from tchat.tui.widgets.prompt_draft import Draft

from .chat_stage import ENDLESS, Shown, opened
from .stage import lines, shows, text

HOT = Sampling(temp=2, max_tokens=12)


async def test_an_edited_reply_is_kept_beside_the_first(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        first = shown.branch
        await shown.point_at(1)
        await shown.pilot.press("e")
        await shown.until(lambda: shown.screen.prompt.draft.text == printable(first[1][1]))
        await shown.type("better")
        await shown.until(lambda: shown.branch == [first[0], ("assistant", "better")])
        await shown.until(lambda: shown.entries == shown.branch)
        assert shown.last.sibling == (2, 2)
        assert shown.screen.prompt.mode == ""


async def test_the_model_goes_on_with_an_edited_reply(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        first = shown.branch[1]
        await shown.point_at(1)
        await shown.pilot.press("e")
        await shown.until(lambda: shown.screen.prompt.draft.text == printable(first[1]))
        shown.screen.prompt.load("Better:")
        await shown.pilot.press("alt+g")
        await shown.until(lambda: shown.branch[1] != first)
        await shown.idle()
        assert shown.branch[1][1].startswith("Better:")
        assert len(shown.branch[1][1]) > len("Better:")
        assert shown.screen.prompt.draft.text == ""


async def test_a_reply_is_begun_for_the_model(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/prefill Well then,")
        await shown.until(lambda: shown.branch[1][1].startswith("Well then,"))
        await shown.idle()
        assert shown.last.sibling == (2, 2)
        assert shown.entries == shown.branch


async def test_an_edit_can_be_left(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.point_at(0)
        await shown.pilot.press("e")
        await shown.until(lambda: "editing" in shown.screen.prompt.mode)
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        assert shown.screen.prompt.mode == ""
        assert shown.screen.prompt.draft.text == ""
        await shown.ask("two")
        assert [text for role, text in shown.branch if role == "user"] == ["one", "two"]


@pytest.mark.parametrize("key", ["escape", "enter"])
async def test_an_edit_gives_the_draft_back(settings: Settings, paths: Paths, key: str) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        shown.screen.prompt.load("a draft")
        await shown.point_at(0)
        await shown.pilot.press("e")
        await shown.until(lambda: shown.screen.prompt.draft.text == "one")
        await shown.pilot.press("x", key)
        await shown.until(lambda: shown.screen.prompt.mode == "")
        await shown.until(lambda: shown.screen.prompt.draft.text == "a draft")
        if key == "enter":
            await shown.until(lambda: shown.branch[:1] == [("user", "onex")])
        await shown.idle()
        assert shown.screen.prompt.draft.text == "a draft"


async def test_an_edit_that_cannot_be_sent_goes_on(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        shown.screen.prompt.load("a draft")
        await shown.point_at(0)
        await shown.pilot.press("e")
        await shown.until(lambda: shown.screen.prompt.draft.text == "one")
        shown.screen.prompt.load(Draft("@gone", files=(("@gone", "/nowhere/gone"),)))
        await shown.pilot.press("enter")
        await shown.until(lambda: bool(shown.toasts or shown.errors))
        await shown.idle()
        assert "editing" in shown.screen.prompt.mode
        assert shown.screen.prompt.draft.text == "@gone"
        await shown.pilot.press("escape")
        assert shown.screen.prompt.draft.text == "a draft"


@pytest.mark.parametrize("key", ["b", "e"])
async def test_deleting_its_message_ends_an_edit_or_a_branch_and_keeps_the_draft(
    settings: Settings, paths: Paths, key: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.ask("two")
        await shown.point_at(3)
        await shown.pilot.press(key)
        await shown.until(lambda: shown.screen.prompt.mode != "")
        shown.screen.prompt.load("my draft")
        await shown.point_at(2)
        await shown.pilot.press("d")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.until(lambda: shown.screen.prompt.mode == "")
        assert shown.screen.prompt.draft.text == "my draft"
        shown.screen.prompt.focus()
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
        assert shown.branch[2] == ("user", "my draft")


async def test_deleting_a_later_message_leaves_an_edit(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.point_at(0)
        await shown.pilot.press("e")
        await shown.until(lambda: "editing" in shown.screen.prompt.mode)
        await shown.point_at(1)
        await shown.pilot.press("d")
        await shown.until(lambda: len(shown.branch) == 1)
        assert "editing" in shown.screen.prompt.mode


@pytest.mark.parametrize(("place", "questions"), [(0, ["new"]), (1, ["one", "new"])])
async def test_a_branch_begins_at_a_question_or_behind_a_reply(
    settings: Settings, paths: Paths, place: int, questions: list[str]
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.ask("two")
        await shown.point_at(place)
        await shown.pilot.press("b")
        await shown.until(lambda: "branch" in shown.screen.prompt.mode)
        await shown.type("new")
        await shown.until(lambda: [t for r, t in shown.branch if r == "user"] == questions)
        await shown.idle()
        assert shown.entries == shown.branch


async def test_a_pinned_message_says_so_and_stays_pinned(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.point_at(0)
        await shown.pilot.press("p")
        await shown.until(lambda: shown.messages[0].pinned and shown.cursor.pinned)
        await shown.pilot.press("escape")
        await shown.type("/pin")
        await shown.until(lambda: not shown.messages[0].pinned)


def is_sibling(shown: Shown, number: int) -> bool:
    return shown.last.sibling == (number, number)


async def test_flipping_stays_on_the_sibling(settings: Settings, paths: Paths) -> None:
    async with opened(replace(settings, sampling=HOT), paths) as shown:
        await shown.ask("one")
        for siblings in (2, 3):
            await shown.pilot.press("alt+r")
            await shown.until(partial(is_sibling, shown, siblings))
            await shown.idle()
        await shown.point_at(1)
        await shown.pilot.press("less_than_sign")
        await shown.until(lambda: shown.cursor.sibling == (2, 3))
        await shown.pilot.press("left")
        await shown.until(lambda: shown.cursor.sibling == (1, 3))
        await shown.pilot.press("less_than_sign", "greater_than_sign")
        await shown.until(lambda: shown.cursor.sibling == (2, 3))
        assert shown.entries == shown.branch


async def test_an_earlier_reply_is_continued_where_it_stands(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.ask("two")
        first = shown.branch[1][1]
        await shown.point_at(1)
        await shown.pilot.press("m")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.branch[1][1].startswith(first)
        assert len(shown.branch[1][1]) > len(first)
        assert shown.entries == shown.branch


async def test_a_message_is_copied_without_what_acts_on_a_terminal(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("red \x1b[31mred")
        await shown.point_at(0)
        await shown.pilot.press("c")
        await shown.until(lambda: shown.pilot.app.clipboard == "red ␛[31mred")


async def test_nothing_is_changed_under_a_reply_that_is_being_written(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("one")
        await shown.until(lambda: any(text for _, text in shown.entries[-1:]))
        await shown.point_at(0)
        await shown.pilot.press("d")
        await shown.until(lambda: "A reply is being written: wait" in shown.toasts)
        assert len(shown.messages) == 2
        await shown.pilot.press("e")
        await shown.until(lambda: shown.screen.prompt.draft.text == "one")
        await shown.type("uno")
        assert shown.screen.prompt.draft.text == "uno"  # not lost
        await stop(shown)


async def test_another_session_ends_an_edit_and_its_undo(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/delete")
        await shown.until(lambda: len(shown.messages) == 1)
        await shown.type("/edit")
        await shown.until(lambda: "editing" in shown.screen.prompt.mode)
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.until(lambda: shown.screen.prompt.mode == "")
        await shown.type("/undo")
        await shown.until(lambda: "Nothing was deleted" in shown.toasts)


async def test_a_session_opened_meanwhile_gets_neither_reply_nor_queue(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("one")
        await shown.until(lambda: any(text for _, text in shown.entries[-1:]))
        await shown.type("two")
        first = shown.screen.conversation.session
        assert first is not None
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.idle()
        assert shown.entries == []
        assert shown.screen.prompt.draft.text == "two"
        stopped = shown.store.branch(first.id)
        assert [m.status for m in stopped] == ["done", "stopped"]


async def stop(shown: Shown) -> None:
    shown.screen.controllers.turn.stop()
    await shown.idle()


async def test_a_reply_is_rated_and_says_so(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.point_at(1)
        await shown.pilot.press("plus")
        await shown.until(lambda: shown.last.rating == shown.messages[1].rating == 1)
        await shown.pilot.press("minus")
        await shown.until(lambda: shown.last.rating == shown.messages[1].rating == -1)
        await shown.pilot.press("minus")
        await shown.until(lambda: shown.last.rating == shown.messages[1].rating == 0)
        await shown.pilot.press("escape")
        await shown.type("/good")
        await shown.until(lambda: shown.messages[1].rating == 1)
        await shown.point_at(0)
        await shown.pilot.press("plus")
        await shown.pilot.pause()
        assert shown.messages[0].rating == 0


async def test_a_judged_reply_shows_its_score(settings: Settings, paths: Paths) -> None:
    async with opened(replace(settings, show_scores=True, ranker="logprob"), paths) as shown:
        await shown.ask("one")
        await shown.until(lambda: bool(shown.last.scores))
        [(name, score)] = shown.last.scores
        assert (name, {name: score}) == ("logprob", shown.messages[1].scores)


async def test_one_of_anything_is_told_as_one(settings: Settings, paths: Paths) -> None:
    one = replace(settings, sampling=replace(ENDLESS, max_tokens=1))
    async with opened(one, paths) as shown:
        await shown.ask("Hello")
        await shown.type("/stats")
        await shown.until(lambda: "1 token written in" in shown.notices)
        assert "\n" not in shown.notices.splitlines()[-1]
        assert not re.search(r"(?<![\d,.])1 tokens", shown.notices)
        await shown.type("/delete")
        await shown.until(lambda: "Deleted 1 message." in shown.toasts)


async def test_a_reply_that_is_being_written_offers_to_be_copied_and_stopped(
    settings: Settings, paths: Paths, slowly: None
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await shown.type("one")
        await shown.until(lambda: bool(shown.entries[1:] and shown.entries[1][1]))
        await shown.pilot.press("alt+up")
        await shown.until(lambda: "s stop" in text(shown.pilot.app))
        screen = text(shown.pilot.app)
        assert "y copy" in screen
        assert not any(word in screen for word in ("regen", "e edit", "branch", "delete"))
        for key in ("e", "d", "b", "r", "plus"):
            await shown.pilot.press(key)
            await shown.until(lambda: "A reply is being written" in shown.toasts)
            assert shown.screen.prompt.mode == ""
            shown.pilot.app.clear_notifications()
        await shown.pilot.press("y")
        await shown.until(lambda: shown.pilot.app.clipboard != "")
        assert shown.last.text.startswith(shown.pilot.app.clipboard[:5])
        await shown.pilot.press("s")
        await shown.until(lambda: not shown.screen.controllers.turn.is_busy)
        await shown.until(lambda: "r regenerate" in text(shown.pilot.app))
        assert shown.last.status == "stopped"


@pytest.mark.parametrize("typed", ["branch from", "transcript.branch"])
async def test_the_palette_branches_from_the_last_message(
    settings: Settings, paths: Paths, typed: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await palette(shown, typed)
        await shows(shown.pilot.app, "Last message: Branch from here")
        await shown.pilot.press("enter")
        await shown.until(lambda: "new branch from here" in shown.screen.prompt.mode)


async def palette(shown: Shown, typed: str) -> None:
    """Open the palette, and type into its filter."""
    await shown.pilot.press("alt+x")
    await shown.until(lambda: isinstance(shown.pilot.app.screen, Picker))
    await shown.pilot.press(*("space" if each == " " else each for each in typed))
    await shown.pilot.pause()


async def test_the_palette_tells_that_there_is_no_message_and_finds_ratings(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await palette(shown, "branch")
        await shows(shown.pilot.app, "Last message: Branch from here")
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        await palette(shown, "rate")
        await shows(shown.pilot.app, "Rate the last reply as good")
        await shown.pilot.press("escape")
        await shown.pilot.pause()
        await palette(shown, "branch from")
        await shown.pilot.press("enter")
        await shown.until(lambda: "There is no message yet." in shown.toasts)


async def test_only_the_message_under_the_cursor_is_redacted(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("write to ann@example.com")
        await shown.ask("or to bob@example.com")
        await shown.point_at(2)
        await shown.pilot.press("x")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shows(shown.pilot.app, "[EMAIL_1]  bob@example.com")
        assert "[EMAIL_2]" not in text(shown.pilot.app)
        await shown.pilot.press("y")
        await shown.until(lambda: shown.branch[2] == ("user", "or to [EMAIL_1]"))
        await shown.until(lambda: shown.entries == shown.branch)
        assert shown.branch[0] == ("user", "write to ann@example.com")
        await shown.point_at(2)
        await shown.pilot.press("x")
        await shown.until(lambda: "nothing to replace in this message" in shown.notices)


async def test_selected_text_is_redacted_wherever_it_stands(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("the **Kestrel** flies")
        await shown.ask("and Kestrel lands")
        await shown.point_at(0)
        await shown.pilot.pause()
        drawn = lines(shown.pilot.app)
        row = next(place for place, each in enumerate(drawn) if "Kestrel lands" in each)
        column = drawn[row].index("Kestrel lands")
        await shown.pilot.mouse_down(offset=(column, row))
        await shown.pilot.hover(offset=(column + 7, row))
        await shown.pilot.mouse_up(offset=(column + 7, row))
        await shown.until(lambda: shown.screen.get_selected_text() == "Kestrel")
        await shown.pilot.press("x")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shows(shown.pilot.app, "[WORD_1]  Kestrel")
        await shown.pilot.press("y")
        await shown.until(lambda: shown.branch[2] == ("user", "and [WORD_1] lands"))
        assert shown.branch[0] == ("user", "the **[WORD_1]** flies")
        await shown.until(lambda: not shown.screen.get_selected_text())


async def test_a_secret_is_replaced_after_a_question(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("write to ann@example.com")
        await shown.type("/redact")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        await shows(shown.pilot.app, "[EMAIL_1]  ann@example.com")
        await shown.pilot.press("y")
        await shown.until(lambda: shown.branch[0] == ("user", "write to [EMAIL_1]"))
        await shown.until(lambda: shown.entries == shown.branch)
        await shown.until(lambda: "write to [EMAIL_1]" in text(shown.pilot.app))
        assert "ann@example.com" not in text(shown.pilot.app)
        await shown.ask("two")
        assert len(shown.branch) == 4
    assert b"ann@example.com" not in paths.sessions_db.read_bytes()


async def test_no_key_brings_back_what_was_replaced(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        prompt = shown.screen.prompt
        await shown.ask("write to ann@example.com")
        prompt.load("killed ann@example.com")
        await shown.pilot.press("ctrl+u")
        await shown.type("/redact")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, Confirm))
        prompt.load("a draft for ann@example.com")
        shown.pilot.app._clipboard = "ann@example.com"
        await shown.pilot.press("y")
        await shown.until(lambda: prompt.draft.text == "a draft for [EMAIL_1]")
        assert [each.text for each in prompt.remembered] == ["write to [EMAIL_1]", "/redact"]
        assert shown.pilot.app.clipboard == "[EMAIL_1]"
        prompt.focus()
        for key in ("ctrl+y", "ctrl+underscore", "ctrl+underscore", "ctrl+underscore"):
            await shown.pilot.press(key)
            assert "ann@example.com" not in prompt.draft.text
        prompt.load("")
        await shown.pilot.press("ctrl+r")
        await shown.until(lambda: "write to [EMAIL_1]" in text(shown.pilot.app))
        assert "ann@example.com" not in text(shown.pilot.app)
