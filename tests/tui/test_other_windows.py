"""One session in two windows: nothing of either is lost or mixed, and each tells of the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tchat.paths import Paths
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.tui.chat_stage import Shown, opened

TOLD = "continued in another window"
WRITING = "A reply is being written in another window"


class OtherWindow:
    """Another tchat with the same session open, by what it stores."""

    def __init__(self, store: SessionStore) -> None:
        self.store = store

    @property
    def session(self) -> str:
        session = self.store.latest()
        assert session is not None
        return session.id

    def ask(self, text: str) -> Message:
        """Store a question at the end, and begin its reply."""
        last = self.store.branch(self.session)[-1]
        question = self.store.add(self.session, Role.USER, text, parent_id=last.id)
        return self.store.add(
            self.session,
            Role.ASSISTANT,
            "half of",
            parent_id=question.id,
            status=Status.STREAMING,
        )

    def finish(self, reply: Message) -> None:
        self.store.finish(reply.id, status=Status.DONE, text="half of a reply and the rest")


@pytest.fixture
def other(paths: Paths) -> Iterator[OtherWindow]:
    with SessionStore(paths.sessions_db) as store:
        yield OtherWindow(store)


def texts(shown: Shown) -> list[str]:
    return [text for _, text in shown.entries]


async def test_what_another_window_wrote_is_told_once_and_shown_on_demand(
    settings: Settings, paths: Paths, other: OtherWindow
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("mine")
        other.finish(other.ask("yours"))
        await shown.until(lambda: TOLD in shown.notices)
        other.finish(other.ask("yours again"))
        await shown.pilot.pause(2.5)
        assert shown.notices.count(TOLD) == 1
        assert "yours" not in texts(shown)
        await shown.type("/reload")
        await shown.until(lambda: texts(shown)[-2:-1] == ["yours again"])
        assert TOLD not in shown.notices
        assert shown.entries == shown.branch


async def test_a_prompt_does_not_follow_messages_that_are_not_shown(
    settings: Settings, paths: Paths, other: OtherWindow
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("mine")
        other.finish(other.ask("yours"))
        before = other.store.branch(other.session)
        await shown.type("a prompt")
        await shown.until(lambda: shown.screen.prompt.draft.text == "a prompt")
        assert TOLD in shown.toasts
        assert shown.entries == shown.branch
        assert other.store.branch(other.session) == before
        await shown.ask("a prompt, after having read it")
        assert texts(shown)[2:5:2] == ["yours", "a prompt, after having read it"]


async def test_no_other_reply_is_written_to_a_question_that_is_not_shown(
    settings: Settings, paths: Paths, other: OtherWindow
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("mine")
        other.finish(other.ask("yours"))
        before = len(other.store.tree(other.session).messages)
        await shown.pilot.press("alt+r")
        await shown.until(lambda: "yours" in texts(shown))
        await shown.idle()
        assert TOLD in shown.toasts
        assert len(other.store.tree(other.session).messages) == before


async def test_a_prompt_waits_for_the_reply_of_another_window(
    settings: Settings, paths: Paths, other: OtherWindow
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("mine")
        reply = other.ask("yours")
        await shown.type("/reload")
        await shown.until(lambda: "half of" in texts(shown))
        await shown.type("too early")
        await shown.until(lambda: shown.screen.prompt.draft.text == "too early")
        assert WRITING in shown.toasts
        other.finish(reply)
        await shown.until(lambda: texts(shown)[-1] == "half of a reply and the rest")
        await shown.ask("in time")
        assert texts(shown)[4] == "in time"
        assert shown.entries == shown.branch


async def test_a_reply_that_a_dead_window_left_is_no_obstacle(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("mine")
        dying = SessionStore(paths.sessions_db)
        OtherWindow(dying).ask("yours")
        dying.close()
        await shown.type("/reload")
        await shown.until(lambda: "half of" in texts(shown))
        await shown.ask("after it")
        assert texts(shown)[4] == "after it"
        assert shown.messages[3].status is Status.INTERRUPTED


async def test_messages_that_another_window_deleted_are_told(
    settings: Settings, paths: Paths, other: OtherWindow
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.ask("two")
        other.store.delete_message(shown.messages[2].id)
        await shown.type("three")
        await shown.until(lambda: shown.screen.prompt.draft.text == "three")
        assert "two" not in texts(shown)
        assert shown.entries == shown.branch


async def test_other_sessions_of_another_window_do_not_matter(
    settings: Settings, paths: Paths, other: OtherWindow
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("mine")
        other.store.begin("another chat")
        await shown.pilot.pause(2.5)
        await shown.ask("on and on")
        assert TOLD not in shown.notices + shown.toasts
        assert texts(shown)[::2] == ["mine", "on and on"]
