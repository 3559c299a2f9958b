"""What is typed is never lost and never sent by surprise, whatever has the focus."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key

from tchat.chat import reply_journal
from tchat.chat.reply_journal import ReplyJournal
from tchat.paths import Paths
from tchat.sessions.fallback_store import FallbackStore
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tui.dialogs.models import ModelPicker
from tchat.tui.dialogs.sessions import SessionsScreen
from tchat.tui.widgets.candidates import Candidates
from tchat.tui.widgets.fuzzy_list import Filter
from tests.sessions.stores import new_session

from .chat_stage import ENDLESS, Shown, opened
from .stage import shows, text

# Whatever has the focus


@pytest.mark.parametrize(
    ("typed", "key", "sent", "left"),
    [
        ("Hello\r", "alt+n", ["Hello"], "x"),
        ("Hello\rmore", "alt+n", ["Hello"], "morex"),
        ("Hello\r/new\r", "end", ["Hello"], "x"),
        ("say yes", "alt+t", ["say yes"], "x"),
        ("draft", "f9", [], "draftx"),
    ],
)
async def test_a_key_of_the_screen_acts_after_what_was_typed_before_it(
    settings: Settings, paths: Paths, typed: str, key: str, sent: list[str], left: str
) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, *typed, key, "x")
        await shown.idle()
        await shown.until(lambda: shown.screen.prompt.draft.text == left)
        await shown.idle()
        assert asked(shown) == sent


def burst(shown: Shown, *keys: str) -> None:
    """Type keys faster than any of them is acted on; a character is the key of that name."""
    for key in keys:
        name, character = ("enter", None) if key == "\r" else (key, key if len(key) == 1 else None)
        shown.pilot.app.post_message(events.Key(name, character))


def asked(shown: Shown) -> list[str]:
    """The stored prompts of all sessions."""
    stored = [shown.store.branch(each.id) for each in shown.store.sessions()]
    return [each.text for path in stored for each in path if each.role is Role.USER]


async def test_the_new_session_begins_empty_while_the_prompt_stays_in_its_own(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("first")
        burst(shown, *"second\r", "alt+n", *"third\r")
        await shown.until(
            lambda: [text for role, text in shown.branch if role == "user"] == ["third"]
        )
        await shown.idle()
        assert shown.entries == shown.branch
        _, old = shown.store.sessions()
        assert [each.text for each in shown.store.branch(old.id) if each.role is Role.USER] == [
            "first",
            "second",
        ]


async def test_a_prompt_stopped_as_soon_as_it_is_sent_is_nowhere_twice(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, *"Hello\r", "escape", "x")
        await shown.until(lambda: "x" in shown.screen.prompt.draft.text)
        await shown.idle()
        kept = "\n".join([*asked(shown), shown.screen.prompt.draft.text])
        assert kept.count("Hello") == kept.count("x") == 1


@pytest.mark.parametrize(("key", "dialog"), [("ctrl+o", SessionsScreen), ("f2", ModelPicker)])
async def test_what_is_typed_behind_the_key_of_a_dialog_goes_there(
    settings: Settings, paths: Paths, key: str, dialog: type[SessionsScreen | ModelPicker]
) -> None:
    async with opened(settings, paths) as shown:
        burst(shown, *"Hello\r", key, *"zqx")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, dialog))
        await shown.until(
            lambda: [each.value for each in shown.pilot.app.screen.query(Filter)] == ["zqx"]
        )
        await shown.pilot.press("escape")
        await shown.idle()
        assert asked(shown) == ["Hello"]
        assert len(shown.branch) == 2
        assert shown.screen.prompt.draft.text == ""


async def test_tab_keeps_the_focus_in_the_prompt(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        for _ in range(3):
            await shown.pilot.press("tab")
        await shown.pilot.press(*"typed")
        assert shown.screen.prompt.has_focus_within
        assert shown.screen.prompt.draft.text == "typed"


@pytest.mark.parametrize("typed", ["edge rjk", "c", "Über", "d+-<>", "?"])
async def test_letters_typed_over_the_messages_go_to_the_prompt(
    settings: Settings, paths: Paths, typed: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        shown.screen.controllers.transcript.view.focus()
        before = shown.branch
        for character in typed:
            key = events.Key(character, character)
            await shown.pilot.press("space" if character == " " else key.key)
        await shown.pilot.pause()
        assert shown.screen.prompt.draft.text == typed
        assert shown.screen.prompt.has_focus_within
        assert shown.branch == before


async def test_keys_of_a_message_act_while_it_has_the_cursor_and_others_are_typed(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        await shown.point_at(1)
        await shown.pilot.press("p")
        await shown.until(lambda: shown.messages[1].pinned)
        assert shown.screen.prompt.draft.text == ""
        await shown.pilot.press("z", "p")
        assert shown.screen.prompt.draft.text == "zp"
        await shown.pilot.pause()
        assert shown.messages[1].pinned


async def test_letters_typed_beside_candidates_go_to_the_prompt(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: not shown.screen.controllers.turn.is_busy)
        await shown.pilot.press("w", "c", "2")
        assert shown.screen.prompt.draft.text == "wc2"


@pytest.mark.parametrize("typed", ["/compare starter jsk", "w2c", "/nothing here\r"])
async def test_text_typed_fast_beside_candidates_arrives_whole(
    settings: Settings, paths: Paths, typed: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.idle()
        for character in typed:
            key = "enter" if character == "\r" else _character_to_key(character)
            shown.pilot.app.post_message(events.Key(key, character))
        await shown.pilot.pause()
        await shown.pilot.pause()
        prompt = shown.screen.prompt
        assert prompt.draft.text == typed.strip("\r")  # an unknown command comes back
        assert bool(shown.screen.query(Candidates))


async def test_text_typed_fast_over_a_chosen_message_arrives_whole(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        await shown.point_at(1)
        before = shown.branch
        for character in "zdper":
            shown.pilot.app.post_message(events.Key(character, character))
        await shown.pilot.pause()
        await shown.until(lambda: shown.screen.prompt.draft.text == "zdper")
        assert shown.branch == before
        assert not shown.messages[1].pinned


async def test_a_reply_is_kept_before_text_typed_right_after(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.idle()
        for key in ("2", "enter", "w", "c"):
            shown.pilot.app.post_message(events.Key(key, key if len(key) == 1 else "\r"))
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.until(lambda: shown.screen.prompt.draft.text == "wc")
        await shown.idle()
        assert len(shown.branch) == 2
        assert shown.last.sibling == (2, 2)


async def test_what_is_pasted_over_the_messages_goes_to_the_prompt(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        shown.screen.controllers.transcript.view.focus()
        shown.pilot.app.post_message(events.Paste("pasted\ntext"))
        await shown.until(lambda: shown.screen.prompt.draft.text == "pasted\ntext")


# Ctrl+Z


async def test_ctrl_z_only_suspends_and_undo_has_its_own_keys(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[bool] = []
    async with opened(settings, paths) as shown:
        app = shown.pilot.app
        monkeypatch.setattr(app, "action_suspend_process", lambda: left.append(True))
        await shown.pilot.press("a", "ctrl+z")
        assert shown.screen.prompt.draft.text == "a"
        assert len(left) == 1
        await shown.pilot.press(*["ctrl+underscore"] * 4)
        assert shown.screen.prompt.draft.text == ""
        await shown.pilot.press("alt+slash")
        assert shown.screen.prompt.draft.text == "a"
        await shown.pilot.press("f1", "ctrl+z")  # in a dialog
        await shown.pilot.press("escape")
        shown.screen.controllers.transcript.view.focus()
        await shown.pilot.press("ctrl+z")
        assert len(left) == 3


# The queue


async def waiting(shown: Shown, *prompts: str) -> None:
    await shown.type("one")
    await shown.until(lambda: any(r == "assistant" and t for r, t in shown.entries))
    for prompt in prompts:
        await shown.type(prompt)


@pytest.mark.usefixtures("slowly")
@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_stop_holds_what_waits_and_says_how_to_go_on(
    settings: Settings, paths: Paths, key: str
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await waiting(shown, "two", "three")
        await shown.pilot.press(key)
        await shown.idle()
        assert shown.screen.prompt.queue == ["two", "three"]
        assert len(shown.branch) == 2
        await shows(shown.pilot.app, "waiting: Enter sends the next one")
        await shown.pilot.press("up")
        assert shown.screen.prompt.draft.text == "three"
        await shown.pilot.press("ctrl+c", "enter")
        await shown.until(lambda: len(shown.branch) == 4)
        assert "held" not in text(shown.pilot.app)
        await shown.pilot.press("escape")


@pytest.mark.usefixtures("slowly")
async def test_a_prompt_sent_while_others_are_held_goes_first(
    settings: Settings, paths: Paths
) -> None:
    async with opened(replace(settings, sampling=ENDLESS), paths) as shown:
        await waiting(shown, "two")
        await shown.pilot.press("escape")
        await shown.idle()
        await shown.type("instead")
        await shown.until(lambda: len(shown.branch) == 4)
        assert shown.branch[2] == ("user", "instead")
        assert shown.screen.prompt.queue == ["two"]
        await shown.pilot.press("escape")
        await shown.idle()
        assert shown.screen.prompt.queue == ["two"]


async def test_a_prompt_stopped_before_its_reply_stays_in_sight(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, stopped = threading.Event(), threading.Event()
    open_journal = ReplyJournal.open

    def late(*args: Any, **kwargs: Any) -> ReplyJournal:
        reached.set()
        assert stopped.wait(20)
        return open_journal(*args, **kwargs)

    async with opened(settings, paths) as shown:
        monkeypatch.setattr(ReplyJournal, "open", late)
        await shown.type("stopped")
        await shown.until(reached.is_set)
        await shown.pilot.press("escape")
        stopped.set()
        await shown.idle()
        assert shown.entries == shown.branch == [("user", "stopped")]
        await shows(shown.pilot.app, "stopped before a reply")
        await shown.ask("second")
        assert [role for role, _ in shown.branch] == ["user", "user", "assistant"]
        assert shown.entries == shown.branch
        assert (
            shown.screen.controllers.transcript.view.entry(shown.messages[0].id).status == "stopped"
        )


async def stop_in_two_steps(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, owner: Any, second: str, begin: str
) -> None:
    """Stop what ``begin`` starts before its first token; the screen reads the session again
    after the row of the reply is deleted, and before ``second`` of ``owner`` is called.

    The screen does so since it looks for the reply only when its row is gone.
    """
    reached, stopped, deleted, overtaken = (threading.Event() for _ in range(4))
    open_journal, write, reload, message = (
        ReplyJournal.open,
        getattr(owner, second),
        shown.screen.controllers.transcript.reload,
        shown.screen.context.messages.message,
    )

    def late(*args: Any, **kwargs: Any) -> ReplyJournal:
        reached.set()
        assert stopped.wait(20)
        return open_journal(*args, **kwargs)

    def held(*args: Any, **kwargs: Any) -> Any:
        deleted.set()
        assert overtaken.wait(20)
        return write(*args, **kwargs)

    async def looked_up(message_id: int) -> Message:
        assert await asyncio.to_thread(deleted.wait, 20)
        return await message(message_id)

    async def reloaded() -> None:
        await reload()
        overtaken.set()

    monkeypatch.setattr(ReplyJournal, "open", late)
    monkeypatch.setattr(owner, second, held)
    monkeypatch.setattr(shown.screen.context.messages, "message", looked_up)
    monkeypatch.setattr(shown.screen.controllers.transcript, "reload", reloaded)
    await shown.type(begin)
    await shown.until(reached.is_set)
    await shown.pilot.press("escape")
    stopped.set()
    await shown.idle()
    monkeypatch.undo()


async def test_the_mark_of_a_stopped_prompt_is_seen_when_a_reload_overtakes_it(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        await stop_in_two_steps(shown, monkeypatch, reply_journal, "mark_unanswered", "stopped")
        assert shown.entries == shown.branch == [("user", "stopped")]
        await shows(shown.pilot.app, "stopped before a reply")


async def test_the_reply_from_before_is_seen_when_a_reload_overtakes_its_return(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        first = shown.messages[1].id
        await shown.type("/regen")
        await shown.until(lambda: shown.messages[1].id != first)
        await shown.idle()
        await shown.screen.context.messages.activate(first)
        await shown.screen.controllers.transcript.reload()
        await stop_in_two_steps(shown, monkeypatch, FallbackStore, "activate", "/regen")
        assert shown.messages[1].id == first
        assert [each.key for each in shown.all_entries] == [each.id for each in shown.messages]


async def test_a_stopped_prompt_that_is_answered_after_all_is_no_stopped_one(
    settings: Settings, paths: Paths
) -> None:
    with SessionStore(paths.sessions_db) as store:
        session = new_session(store, title="x")
        asked = store.add(session.id, Role.USER, "stopped", parent_id=None, status=Status.STOPPED)
    async with opened(settings, paths, session=session) as shown:
        await shown.until(lambda: "stopped before a reply" in text(shown.pilot.app))
        await shown.type("/continue")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.messages[0].status == "done"
        assert shown.screen.controllers.transcript.view.entry(asked.id).status == "done"


# What has nothing to act on

WITHOUT = (
    *("/continue", "/edit", "/edit new", "/regen", "/retry", "/prefill So", "/prefill", "/undo"),
    *("/delete", "/pin", "/copy", "/good", "/bad", "/try", "/try 3", "/best", "/best 3", "/best 1"),
    *("/title", "/title x", "/export", "/stats", "/open nope", "/set", "/set temp", "/set x 1"),
    *("/set temp hot", "/file", "/file nope", "/prompt nope", "/theme nope", "/model nope"),
    *(f"/file {'x' * 300}", f"/file x/{'é' * 5000}", "/file a\0b", "/file /", "/file /dev/zero"),
    *("/think maybe", "/show nope", "/nope", "/copy that"),
)
KEYS = ("alt+r", "alt+g", "alt+c", "alt+z", "alt+t")


async def test_what_has_nothing_to_act_on_is_a_passing_notice(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        for each in (*WITHOUT, *KEYS):
            shown.pilot.app.clear_notifications()
            await (shown.pilot.press(each) if each in KEYS else shown.type(each))
            await shown.until(lambda: bool(shown.toasts))
            await shown.idle()
            assert shown.all_entries == [], each
            assert shown.branch == []
            shown.screen.prompt.load("")
