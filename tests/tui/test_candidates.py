"""Several replies side by side: shown, stopped, compared, and one taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.parallel import SequencePool
from tchat.paths import Paths
from tchat.sessions.records import Message
from tchat.settings import Sampling, Settings
from tchat.tui.widgets.candidates import Candidates, ReplyColumn, Stage
from tchat.tui.widgets.rows import PartsRow
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import shows, text

LONG = Sampling(seed=5, temp=1, max_tokens=80, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"))


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return Settings(model=str(tiny_model), threads=1, sampling=Sampling(seed=5, max_tokens=12))


@pytest.fixture
def slow(settings: Settings) -> Settings:
    """Long replies."""
    return replace(settings, sampling=LONG)


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, a token takes a twentieth of a second."""
    step, let_go = SequencePool.step, threading.Event()

    def slower(slots: SequencePool[Any]) -> Iterator[Any]:
        let_go.wait(0.05)
        yield from step(slots)

    monkeypatch.setattr(SequencePool, "step", slower)
    return let_go


def view(shown: Shown) -> Candidates:
    return shown.screen.query_one(Candidates)


def columns(shown: Shown) -> list[ReplyColumn]:
    return list(view(shown).query(ReplyColumn))


def replies(shown: Shown) -> list[Message]:
    """The stored replies to the last question."""
    return shown.store.siblings(shown.messages[-1].id)


async def tried(shown: Shown, typed: str) -> None:
    await shown.type(typed)
    await shown.until(lambda: bool(shown.screen.query(Candidates)))
    await shown.until(lambda: view(shown).ended and not shown.screen.controllers.turn.is_busy)
    await shown.idle()


async def test_one_of_them_is_taken_and_the_others_stay_as_siblings(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(120, 30)) as shown:
        await tried(shown, "/try 3 why is the sky blue?")
        texts = [column.entry.text for column in columns(shown)]
        assert texts == [reply.text for reply in replies(shown)]
        assert len(set(texts)) == 3
        assert all(column.display for column in columns(shown))
        await shown.pilot.press("right", "enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        assert shown.branch == [("user", "why is the sky blue?"), ("assistant", texts[1])]
        assert shown.last.sibling == (2, 3)
        assert shown.screen.prompt.has_focus_within
        await shown.ask("and?")
        assert shown.branch[1] == ("assistant", texts[1])
        reused = shown.messages[-1].usage["reused"]
        assert reused > shown.messages[1].usage["prompt"]  # the one taken was not read again


async def test_what_is_typed_once_all_have_ended_begins_the_next_prompt(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await tried(shown, "/try 2 say yes")
        await shown.pilot.press(*"science12")
        assert shown.screen.prompt.draft.text == "science12"
        assert "Copied" not in shown.toasts


async def test_escape_keeps_the_first_of_a_new_question(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await tried(shown, "/try 2 Hello")
        first = columns(shown)[0].entry.text
        await shown.pilot.press("right", "escape")
        await shown.until(lambda: not shown.screen.query(Candidates))
        assert shown.branch == [("user", "Hello"), ("assistant", first)]
        assert shown.entries == shown.branch


async def test_escape_goes_back_to_the_reply_from_before(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        before = shown.messages
        await tried(shown, "/try 2")
        assert len(replies(shown)) == 3
        await shows(shown.pilot.app, "Esc goes back")
        await shown.pilot.press("right", "escape")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        assert [each.id for each in shown.messages] == [each.id for each in before]
        await shown.until(lambda: shown.entries == shown.branch)
        await shown.ask("and?")
        assert [each.id for each in shown.messages[:2]] == [each.id for each in before]


async def test_escape_leaves_nothing_of_replies_that_were_stopped(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    async with opened(slow, paths, size=(120, 30)) as shown:
        await shown.ask("Hello")
        session = shown.screen.conversation.session
        assert session is not None
        before = shown.store.tree(session.id).messages
        await shown.pilot.press("alt+t")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: all(column.entry.text for column in columns(shown)))
        await shown.pilot.press("escape")
        brake.set()
        await shown.until(lambda: not shown.screen.controllers.turn.is_busy)
        await shown.pilot.press("escape")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.until(lambda: shown.last.sibling == (1, 1))
        assert shown.store.tree(session.id).messages == before
        assert shown.entries == shown.branch


@pytest.mark.parametrize(
    ("typed", "ends"),
    [("/try 2 say yes", "escape"), ("/best 2 say yes", "enter"), ("alt+t", "alt+n")],
)
async def test_its_question_is_shown_once_and_stays_in_its_session(
    settings: Settings, paths: Paths, typed: str, ends: str
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        if typed == "alt+t":
            shown.screen.prompt.load("say yes")
            await shown.pilot.press("alt+t")
            await shown.until(lambda: bool(shown.screen.query(Candidates)))
            await shown.until(
                lambda: view(shown).ended and not shown.screen.controllers.turn.is_busy
            )
        else:
            await tried(shown, typed)
        await shown.pilot.press(ends)
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        if ends != "alt+n":
            assert [text for role, text in shown.entries if role == "user"] == ["Hello", "say yes"]
            assert shown.entries == shown.branch
            await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.idle()
        assert shown.entries == []


async def test_a_failure_while_replies_are_written_does_not_repeat_the_question(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: SequencePool[Any]) -> Iterator[Any]:
        raise RuntimeError("injected")
        yield

    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        monkeypatch.setattr(SequencePool, "step", fail)
        await shown.type("/try 2 say yes")
        await shown.until(lambda: bool(shown.errors))
        await shown.idle()
        assert [text for role, text in shown.entries if role == "user"] == ["Hello", "say yes"]


async def test_each_can_be_stopped_and_one_taken_while_it_is_written(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    async with opened(slow, paths, size=(120, 30)) as shown:
        await shown.type("/try 3 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: all(column.entry.text for column in columns(shown)))
        await shown.pilot.press("2", "s")
        await shown.until(lambda: columns(shown)[1].standing.stage is Stage.STOPPED)
        await shown.pilot.press("3", "enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        taken = shown.last
        assert taken.key == replies(shown)[2].id
        assert taken.status == "streaming"
        assert shown.screen.prompt.has_focus_within
        await shown.until(lambda: len(shown.last.text) > len(taken.text))
        brake.set()
        await shown.idle()
        statuses = [reply.status for reply in replies(shown)]
        assert statuses == ["stopped", "stopped", "done"]
        assert shown.messages[-1].id == taken.key
        assert shown.entries == shown.branch


async def test_one_that_has_ended_is_taken_while_others_are_written(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    async with opened(slow, paths, size=(120, 30)) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: all(column.entry.text for column in columns(shown)))
        await shown.pilot.press("2", "s")
        await shown.until(lambda: columns(shown)[1].standing.stage is Stage.STOPPED)
        wanted = columns(shown)[1].entry.text
        await shown.pilot.press("enter", *"and?", "enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        brake.set()
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
        assert shown.branch[1] == ("assistant", wanted)
        assert [reply.status for reply in shown.store.siblings(shown.messages[1].id)] == [
            "stopped",
            "stopped",
        ]
        assert shown.entries == shown.branch


async def test_escape_stops_all_and_lets_choose(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    async with opened(slow, paths, size=(120, 30)) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: all(column.entry.text for column in columns(shown)))
        await shown.pilot.press("escape")
        await shown.until(lambda: not shown.screen.controllers.turn.is_busy)
        assert [column.standing.stage for column in columns(shown)] == [Stage.STOPPED] * 2
        await shown.pilot.press("right", "enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        assert shown.last.sibling == (2, 2)


async def test_a_prompt_sent_meanwhile_waits_until_one_is_taken(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    async with opened(slow, paths) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        shown.screen.prompt.focus()
        await shown.type("and then?")
        brake.set()
        await shown.until(lambda: not shown.screen.controllers.turn.is_busy)
        assert len(shown.branch) == 2
        second = replies(shown)[1].id
        view(shown).focus()
        await shown.pilot.press("2", "enter")
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
        assert shown.messages[1].id == second


async def test_a_narrow_screen_shows_some_and_tells_of_all(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(60, 16)) as shown:
        shown.screen.prompt.load("Hello")
        await shown.pilot.press("alt+t")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: view(shown).ended and not shown.screen.controllers.turn.is_busy)
        assert [column.display for column in columns(shown)] == [True, False, False, False]
        await shown.pilot.press("4")
        assert [column.display for column in columns(shown)] == [False, False, False, True]
        tabs = view(shown).query_one("#tabs", PartsRow).render().plain
        assert tabs.count("■") == 4
        assert "❯4" in tabs


async def test_a_score_stands_in_the_head(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths, size=(120, 30)) as shown:
        await tried(shown, "/try 2 Hello")
        view(shown).label(1, "★ [b]human[/b] 0.91")
        assert columns(shown)[1].standing.label == "★ [b]human[/b] 0.91"
        head = columns(shown)[1].children[0].render()
        assert "★ [b]human[/b] 0.91" in head.plain  # type: ignore[union-attr]


async def test_a_count_out_of_bounds_is_told_and_comes_back(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/try 99 Hello")
        assert "2 to 16" in shown.toasts
        assert shown.screen.prompt.draft.text == "/try 99 Hello"
        assert shown.branch == []


async def test_the_cursor_stands_on_the_best_one_and_enter_takes_it(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(120, 30)) as shown:
        for seed in range(5, 25):
            sampling = replace(settings.sampling, seed=seed, temp=1.5)
            shown.screen.conversation.session_state.settings = replace(settings, sampling=sampling)
            await shown.screen.conversation.change({"seed": seed})
            await tried(shown, "/best 3 why is the sky blue?")
            heads = [column.standing.label for column in columns(shown)]
            best = next(place for place, label in enumerate(heads) if label.startswith("★"))
            if best:
                break
            await shown.pilot.press("escape")
        assert best, "the first one was always the best"
        assert all("logprob" in label for label in heads)  # no judge was trained
        assert "the log-probability of the replies decides" in shown.toasts
        await shows(shown.pilot.app, f"Esc keeps reply {best + 1}")
        wanted = columns(shown)[best].entry.text
        await shown.pilot.press("enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        assert shown.branch[-1] == ("assistant", wanted)


async def test_the_hints_name_the_keys_in_force(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    keys = {
        "candidates.take": "f12",
        "candidates.stop": "z",
        "candidates.copy": "f10",
        "candidates.next": "f11",
        "chat.stop": "ctrl+l",
    }
    async with opened(replace(slow, keys=keys), paths, size=(120, 30)) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: "F12 keeps this one" in text(shown.pilot.app))
        page = text(shown.pilot.app)
        for hint in ("← F11 1-9 select", "z stops this one", "Ctrl+L stops all"):
            assert hint in page
        brake.set()
        await shown.pilot.press("ctrl+l")
        await shown.idle()
        await shown.until(lambda: "F10 copies" in text(shown.pilot.app))
        await shows(shown.pilot.app, "Ctrl+L keeps reply 1")


async def test_a_cursor_that_the_user_moved_stays_where_it_is(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, size=(120, 30)) as shown:
        await tried(shown, "/try 3 Hello")
        await shown.pilot.press("3")
        view(shown).point_at(0)
        wanted = columns(shown)[2].entry.text
        await shown.pilot.press("enter")
        await shown.until(lambda: not shown.screen.query(Candidates))
        await shown.idle()
        assert shown.branch[-1] == ("assistant", wanted)


@pytest.mark.parametrize("typed", ["alt+t", "/try 3", "/best 3"])
async def test_escape_never_hides_a_whole_reply_behind_a_stub(
    slow: Settings, paths: Paths, brake: threading.Event, typed: str
) -> None:
    async with opened(slow, paths, size=(120, 30)) as shown:
        await shown.ask("Hello")
        before = shown.branch
        await (shown.pilot.press(typed) if "+" in typed else shown.type(typed))
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        await shown.until(lambda: any(column.entry.text for column in columns(shown)))
        await shown.pilot.press("escape")
        brake.set()
        await shown.idle()
        await shows(shown.pilot.app, "Esc goes back")
        await shown.pilot.press("escape")
        await shown.idle()
        assert not shown.screen.query(Candidates)
        assert shown.branch == shown.entries == before


async def test_escape_holds_a_prompt_that_waits_for_the_choice(
    slow: Settings, paths: Paths, brake: threading.Event
) -> None:
    async with opened(slow, paths) as shown:
        await shown.type("/try 2 Hello")
        await shown.until(lambda: bool(shown.screen.query(Candidates)))
        shown.screen.prompt.focus()
        await shown.type("and?")
        brake.set()
        await shown.until(lambda: view(shown).ended and not shown.screen.controllers.turn.is_busy)
        await shown.pilot.press("escape")
        await shown.idle()
        assert not shown.screen.query(Candidates)
        assert shown.screen.prompt.queue == ["and?"]
        assert len(shown.branch) == 2
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 4)
        await shown.idle()
