"""A chat with a model on a server: stored, counted and continued as any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.chat.chat import Chat
from tchat.engine.events import Finished, Reason, TextDelta
from tchat.errors import PromptTooLong, UsageError
from tchat.paths import Paths, user_paths
from tchat.servers.errors import ServerError
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.servers.fake_server import Answer, FakeServer, json_answer, piece, reply, serving, sse


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir()
    return user_paths()


@pytest.fixture
def store(paths: Paths) -> Iterator[SessionStore]:
    with SessionStore(paths.sessions_db) as opened:
        yield opened


def settings_for(fake: FakeServer, **more: object) -> Settings:
    return Settings(model="box", servers={"box": {"url": fake.url, "ctx_size": 1000, **more}})


@pytest.fixture
def chat(fake: FakeServer, paths: Paths, store: SessionStore) -> Iterator[Chat]:
    with Chat(settings_for(fake), paths, store) as opened:
        yield opened


def texts(store: SessionStore, chat: Chat) -> list[tuple[Role, str, Status]]:
    assert chat.session is not None
    return [(each.role, each.text, each.status) for each in store.branch(chat.session.id)]


def test_a_turn_is_stored(fake: FakeServer, chat: Chat, store: SessionStore) -> None:
    fake.chat(reply("It is blue", prompt_tokens=12, completion_tokens=3))
    events = list(chat.send("why?"))
    assert isinstance(events[-1], Finished)
    assert texts(store, chat) == [
        (Role.USER, "why?", Status.DONE),
        (Role.ASSISTANT, "It is blue", Status.DONE),
    ]
    fake.chat(reply("Still blue"))
    list(chat.send("and now?"))
    assert [each["content"] for each in fake.bodies()[-1]["messages"]] == [
        "why?",
        "It is blue",
        "and now?",
    ]


def test_a_cut_reply_is_kept_and_continued(
    fake: FakeServer, chat: Chat, store: SessionStore
) -> None:
    fake.chat(Answer(sse(piece("It is"), done=False), cut=True))
    with pytest.raises(ServerError, match="was cut"):
        list(chat.send("why?"))
    assert texts(store, chat)[-1] == (Role.ASSISTANT, "It is", Status.INTERRUPTED)
    fake.chat(reply(" blue"))
    list(chat.continue_reply())
    assert texts(store, chat)[-1] == (Role.ASSISTANT, "It is blue", Status.DONE)


def test_a_server_that_is_not_there_leaves_the_question(
    fake: FakeServer, chat: Chat, store: SessionStore
) -> None:
    fake.chat(json_answer({"error": "out of order"}, 500))
    with pytest.raises(ServerError):
        list(chat.send("why?"))
    assert [role for role, _, _ in texts(store, chat)] == [Role.USER]
    fake.chat(reply("It is blue"))
    list(chat.continue_reply())
    assert texts(store, chat)[-1][1] == "It is blue"


def test_a_stopped_reply_is_kept(fake: FakeServer, chat: Chat, store: SessionStore) -> None:
    fake.chat(Answer(sse(*[piece(f" {n}") for n in range(900)], done=False)))
    for event in chat.send("count"):
        if isinstance(event, TextDelta):
            chat.cancel.set()
    assert isinstance(event, Finished)
    assert event.reason is Reason.CANCELLED
    assert texts(store, chat)[-1][2] is Status.STOPPED


def test_what_is_too_long_is_not_stored(fake: FakeServer, chat: Chat, store: SessionStore) -> None:
    with pytest.raises(PromptTooLong):
        list(chat.send("word " * 5000))
    assert chat.session is None
    fake.chat(json_answer({"error": {"message": "maximum context length is 9"}}, 400))
    with pytest.raises(PromptTooLong):
        list(chat.send("why?"))
    assert fake.bodies()
    assert list(store.sessions()) == []


def test_old_turns_leave_the_context(fake: FakeServer, chat: Chat) -> None:
    fake.chat(reply("word " * 100))
    for n in range(12):
        list(chat.send(f"question {n}: " + "word " * 100))
    sent = [each["content"] for each in fake.bodies()[-1]["messages"]]
    assert not sent[0].startswith("question 0")
    assert sent[-1].startswith("question 11")


def test_a_draft_is_counted_without_sending_it(fake: FakeServer, chat: Chat) -> None:
    fake.chat(reply("It is blue"))
    assert chat.count_draft("hello") is None
    list(chat.send("why?"))
    before = len(fake.seen)
    count = chat.count_draft("a secret")
    assert count is not None
    assert 0 < count.draft < count.used < count.context_size == 1000
    assert list(chat.prefill_draft("a secret", lambda: True)) == []
    assert chat.prefill_cost("a secret") is None
    assert chat.write_title(lambda: True) == ""
    assert chat.save_snapshot() == 0
    assert len(fake.seen) == before


def test_a_private_chat_is_not_sent_unless_the_server_may_have_it(
    fake: FakeServer, paths: Paths
) -> None:
    fake.chat(reply("It is blue"))
    with SessionStore(None) as store:
        with (
            Chat(settings_for(fake), paths, store) as chat,
            pytest.raises(UsageError, match="this session is private"),
        ):
            list(chat.send("a secret"))
        url = Settings(model=fake.url)
        with Chat(url, paths, store) as chat, pytest.raises(UsageError, match="is private"):
            list(chat.send("a secret"))
        assert fake.seen == []
        with Chat(settings_for(fake, private=True), paths, store) as chat:
            list(chat.send("hello"))
    assert len(fake.bodies()) == 1


def test_what_needs_the_engine_says_so(fake: FakeServer, chat: Chat) -> None:
    fake.chat(reply("It is blue"))
    model = chat.require_model()
    with pytest.raises(UsageError, match="box is on a server"):
        model.require_engine()
    with pytest.raises(UsageError, match="box is on a server"):
        list(chat.candidates(2, "why?", ranker="human"))
    assert fake.bodies() == []


def test_candidates_are_stored_and_ranked(
    fake: FakeServer, paths: Paths, store: SessionStore
) -> None:
    def chunk(index: int, text: str, value: float) -> dict[str, object]:
        token = {"token": text, "logprob": value}
        delta = {"content": text}
        choice = {"index": index, "delta": delta, "logprobs": {"content": [token]}}
        return {"choices": [{**choice, "finish_reason": "stop"}]}

    fake.chat(Answer(sse(chunk(0, "Red", -3.0), chunk(1, "Blue", -0.1))))
    with Chat(settings_for(fake, kind="vllm"), paths, store) as chat:
        list(chat.candidates(2, "why?", ranker="logprob"))
        assert texts(store, chat)[-1][1] == "Blue"
