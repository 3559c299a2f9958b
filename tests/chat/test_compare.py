"""Several models on one question: each reply is stored with its model, failures are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.chat.chat import Chat
from tchat.chat.compare import compare_models, parse_models
from tchat.engine.events import CandidateEvent, Event, Finished, Notice, Reason, TextDelta
from tchat.errors import DoesNotFit, ModelNotFound, UsageError
from tchat.models.metadata import ModelMetadata
from tchat.paths import Paths
from tchat.sessions.records import Message, Session, Status
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tests.servers.fake_server import Answer, FakeServer, json_answer, piece, reply, serving, sse

from .conftest import OpenChat


@pytest.fixture
def models(tiny_model: Path, tiny_spm: Path) -> list[str]:
    return [str(tiny_spm), str(tiny_model)]


def replies(events: list[Event]) -> dict[int, Finished]:
    return {
        each.index: each.event
        for each in events
        if isinstance(each, CandidateEvent) and isinstance(each.event, Finished)
    }


def notices(events: list[Event]) -> str:
    return "\n".join(each.text for each in events if isinstance(each, Notice))


def last_session(chat: Chat) -> Session:
    assert chat.session is not None
    return chat.session


def written(chat: Chat, store: SessionStore) -> list[Message]:
    tree = store.tree(last_session(chat).id).messages
    return [each for each in tree if each.role == "assistant"]


def stored_models(chat: Chat, store: SessionStore) -> list[str]:
    return [each.model for each in written(chat, store)]


def test_each_model_replies_and_is_stored_with_its_reply(
    open_chat: OpenChat, store: SessionStore, models: list[str]
) -> None:
    chat = open_chat()
    events = list(compare_models(chat, models, "Hello"))
    assert sorted(replies(events)) == [0, 1]
    assert stored_models(chat, store) == models
    assert chat.session is not None
    branch = store.branch(chat.session.id)
    assert [each.text for each in branch if each.role == "user"] == ["Hello"]
    assert branch[-1].model == models[0]  # the first one is the active one
    assert "One after the other: tiny-spm (317 kB), tiny (356 kB)" in notices(events)
    assert chat.model is not None
    assert str(chat.model.metadata.path) == chat.settings.model
    list(chat.send("And now?"))
    assert store.branch(chat.session.id)[-1].model == chat.settings.model


def test_the_last_question_is_answered_where_none_is_given(
    open_chat: OpenChat, store: SessionStore, models: list[str]
) -> None:
    chat = open_chat()
    list(chat.send("Hello"))
    list(compare_models(chat, models, ""))
    assert stored_models(chat, store) == [chat.settings.model, *models]


@pytest.mark.parametrize("broken", [0, 1])
def test_a_model_that_does_not_fit_is_told_and_the_others_go_on(
    open_chat: OpenChat,
    store: SessionStore,
    models: list[str],
    broken: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def require(settings: Settings, metadata: ModelMetadata) -> None:
        if settings.model == models[broken]:
            raise DoesNotFit("it needs 80 GB", "choose a smaller one")

    monkeypatch.setattr("tchat.chat.machine.require_memory", require)
    chat = open_chat(model=models[1 - broken])
    events = list(compare_models(chat, models, "Hello"))
    assert "is left out: it needs 80 GB" in notices(events)
    assert "then" in notices(events)
    assert stored_models(chat, store) == [models[1 - broken]]
    assert replies(events)[broken].reason is Reason.CANCELLED
    assert chat.session is not None
    assert [each.role for each in store.branch(chat.session.id)] == ["user", "assistant"]
    assert chat.model is not None  # loaded again


def test_an_error_is_raised_where_no_model_fits(
    open_chat: OpenChat, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(settings: Settings, metadata: ModelMetadata) -> None:
        raise DoesNotFit("it needs 80 GB")

    monkeypatch.setattr("tchat.chat.machine.require_memory", require)
    with pytest.raises(DoesNotFit, match="80 GB"):
        list(compare_models(open_chat(), models, "Hello"))


def test_stopping_one_goes_on_with_the_next(
    open_chat: OpenChat, store: SessionStore, models: list[str]
) -> None:
    chat, stopped, ends = open_chat(max_tokens=200), set[int](), {}
    for event in compare_models(chat, models, "Hello", stopped=stopped):
        if isinstance(event, CandidateEvent):
            if isinstance(event.event, TextDelta) and event.index == 0:
                stopped.add(0)
            if isinstance(event.event, Finished):
                ends[event.index] = event.event.reason
    assert ends[0] is Reason.CANCELLED
    assert ends[1] is not Reason.CANCELLED
    assert chat.session is not None
    assert store.branch(chat.session.id)[-1].model == models[1]


def test_cancelling_between_two_models_keeps_what_was_written(
    open_chat: OpenChat, store: SessionStore, models: list[str]
) -> None:
    chat = open_chat()
    events = []
    for event in compare_models(chat, models, "Hello"):
        events.append(event)
        if isinstance(event, CandidateEvent) and isinstance(event.event, Finished):
            chat.cancel.set()
    chat.cancel.clear()
    assert stored_models(chat, store) == models[:1]
    assert replies(events)[1].reason is Reason.CANCELLED
    list(chat.send("On"))
    assert chat.metadata is not None
    assert str(chat.metadata.path) == chat.settings.model


# Models on servers


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


def boxed(fake: FakeServer, **more: object) -> dict[str, dict[str, object]]:
    return {"box": {"url": fake.url, "ctx_size": 1000, **more}}


def test_models_here_and_on_servers_reply_to_one_question(
    open_chat: OpenChat, store: SessionStore, models: list[str], fake: FakeServer
) -> None:
    fake.chat(reply("It is blue"))
    chat = open_chat(servers=boxed(fake))
    names = [models[0], "box/tiny", f"{fake.url}/tiny"]
    events = list(compare_models(chat, names, "why?"))
    assert stored_models(chat, store) == names
    assert {replies(events)[index].text for index in (1, 2)} == {"It is blue"}
    assert [body["messages"][-1]["content"] for body in fake.bodies()] == ["why?", "why?"]
    assert f"tiny-spm (317 kB), box/tiny, {fake.host}/v1/tiny" in notices(events)
    chat.close()


def test_a_chat_on_a_server_compares_with_a_model_here(
    open_chat: OpenChat, store: SessionStore, models: list[str], fake: FakeServer
) -> None:
    fake.chat(reply("It is blue"))
    chat = open_chat(model="box", servers=boxed(fake))
    list(compare_models(chat, ["box", models[0]], "why?"))
    assert stored_models(chat, store) == ["box", models[0]]
    list(chat.send("and now?"))
    assert store.branch(last_session(chat).id)[-1].model == "box"
    chat.close()


@pytest.mark.parametrize(
    ("answers", "says", "kept"),
    [
        ([Answer(sse(piece("It is"), done=False), cut=True)], "ends here: the connection", "It is"),
        ([json_answer({"error": "no"}, 400)], "box/tiny is left out: box answers with", ""),
    ],
)
def test_a_server_that_fails_leaves_the_others(
    open_chat: OpenChat,
    store: SessionStore,
    models: list[str],
    fake: FakeServer,
    answers: list[Answer],
    says: str,
    kept: str,
) -> None:
    fake.chat(*answers)
    chat = open_chat(servers=boxed(fake))
    events = list(compare_models(chat, ["box/tiny", models[0]], "why?"))
    assert says in notices(events)
    assert replies(events)[0].text == kept
    stored = [(each.model, each.text, each.status) for each in written(chat, store)]
    assert [(each[1], each[2]) for each in stored if each[0] == "box/tiny"] == (
        [(kept, Status.INTERRUPTED)] if kept else []
    )
    assert stored[-1][0] == models[0]
    assert store.branch(last_session(chat).id)[-1].model == models[0]
    chat.close()


def test_a_private_chat_is_compared_with_no_server(
    paths: Paths, store: SessionStore, models: list[str], fake: FakeServer
) -> None:
    fake.chat(reply("It is blue"))
    settings = Settings(model=models[0], threads=1, servers=boxed(fake))
    with Chat(settings, paths, store, is_private=True) as chat:
        events = list(compare_models(chat, [models[0], "box/tiny"], "why?"))
    assert "box/tiny is left out: this session is private" in notices(events)
    assert fake.seen == []


def test_servers_are_named_as_other_models_are(
    paths: Paths, models: list[str], fake: FakeServer
) -> None:
    servers = boxed(fake, model="tiny")
    line = f"{models[0]} box box/other why is box/not/here"
    assert parse_models(line, paths, servers) == (
        [models[0], "box", "box/other"],
        "why is box/not/here",
    )
    assert parse_models(f"{models[0]} {fake.url}/tiny http://a.example says", paths, servers) == (
        [models[0], f"{fake.url}/tiny"],
        "http://a.example says",
    )
    with pytest.raises(UsageError, match="twice"):
        parse_models("box box/tiny", paths, servers)
    assert fake.seen == []


# The command's argument


def test_the_question_begins_behind_the_models(paths: Paths, models: list[str]) -> None:
    line = " ".join(models)
    assert parse_models(line, paths) == (models, "")
    assert parse_models(f"{line} Is this: a  test?\nYes", paths) == (
        models,
        "Is this: a  test?\nYes",
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_unknown_model_is_refused_before_any_is_loaded(
    paths: Paths, models: list[str], place: int
) -> None:
    names = [*models]
    names.insert(place, "nothing:4b")
    with pytest.raises(ModelNotFound):
        parse_models(" ".join(names), paths)


def test_one_model_is_not_enough_and_none_is_named_twice(paths: Paths, models: list[str]) -> None:
    with pytest.raises(UsageError, match="2 to 8"):
        parse_models(models[0], paths)
    with pytest.raises(UsageError, match="twice"):
        parse_models(f"{models[0]} {models[0]}", paths)
