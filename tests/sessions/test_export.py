"""Export to Markdown and JSON, import of the JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.errors import UsageError
from tchat.sessions.formats import MARKDOWN
from tchat.sessions.records import Role, Session, SessionTree, Status
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.sessions.trees import from_json, insert_tree, to_json


@pytest.fixture
def session(store: SessionStore) -> Session:
    """Two turns, the second answered twice."""
    session = new_session(
        store, title="Why\nis it blue?", system="Be brief.", settings={"temp": 0.5}
    )
    asked = store.add(session.id, Role.USER, "Why is the sky blue?", parent_id=None)
    store.add(session.id, Role.ASSISTANT, "It is not.", parent_id=asked.id)
    store.add(
        session.id,
        Role.ASSISTANT,
        "Rayleigh\n\n```py\nx\n```\n",
        parent_id=asked.id,
        status=Status.STOPPED,
        reasoning="Light scatters.",
        model="starter",
        sampling={"seed": 7},
        usage={"completion": 4},
    )
    return session


def markdown(store: SessionStore, session: Session, *, show_reasoning: bool = False) -> str:
    return "".join(MARKDOWN.export(store, [session], show_reasoning=show_reasoning))


def test_markdown_is_the_active_path(store: SessionStore, session: Session) -> None:
    text = markdown(store, session)
    assert text.startswith(f"# Why is it blue?\n\n*{session.id}, 20")
    assert "starter*\n" in text
    assert text.index("## System\n\nBe brief.") < text.index("## User\n\nWhy is the sky blue?")
    assert "## Assistant (stopped)\n\nRayleigh\n\n```py\nx\n```\n" in text
    assert "It is not." not in text
    assert "scatters" not in text


def test_markdown_with_reasoning(store: SessionStore, session: Session) -> None:
    text = markdown(store, session, show_reasoning=True)
    assert "<details><summary>Reasoning</summary>\n\nLight scatters.\n\n</details>" in text


def test_markdown_of_nothing_has_the_id_for_a_title(store: SessionStore) -> None:
    session = new_session(store)
    assert markdown(store, session).startswith(f"# {session.id}\n")


def test_json_names_its_format_and_every_branch(store: SessionStore, session: Session) -> None:
    document = json.loads(to_json([store.tree(session.id)]))
    assert (document["format"], document["version"]) == ("tchat-sessions", 1)
    (written,) = document["sessions"]
    assert written["settings"] == {"temp": 0.5}
    assert [message["active"] for message in written["messages"]] == [True, False, True]
    assert written["messages"][2]["sampling"] == {"seed": 7}


def test_an_import_beside_the_original_gets_another_id(
    store: SessionStore, session: Session
) -> None:
    original = store.tree(session.id)
    (tree,) = from_json(to_json([original]))
    copied = insert_tree(store, tree)
    assert copied.id != session.id
    assert shape(store.tree(copied.id)) == shape(original)
    assert store.tree(session.id) == original
    assert len(store.search("Rayleigh")) == 2


def test_an_import_elsewhere_keeps_its_id(store: SessionStore, session: Session) -> None:
    (tree,) = from_json(to_json([store.tree(session.id)]))
    with SessionStore.in_memory() as other:
        assert insert_tree(other, tree) == store.get(session.id)
        assert [m.text for m in other.branch(session.id)] == [
            m.text for m in store.branch(session.id)
        ]


def test_what_was_streaming_is_interrupted(store: SessionStore) -> None:
    session = new_session(store)
    store.add(session.id, Role.ASSISTANT, "so f", parent_id=None, status=Status.STREAMING)
    (tree,) = from_json(to_json([store.tree(session.id)]))
    copied = insert_tree(store, tree)
    assert store.branch(copied.id)[0].status == Status.INTERRUPTED


def shape(tree: SessionTree) -> tuple[object, ...]:
    """A tree without the ids that an import may change."""
    places = {message.id: place for place, message in enumerate(tree.messages)}
    messages = [
        replace(
            message,
            id=places[message.id],
            session_id="",
            parent_id=None if message.parent_id is None else places[message.parent_id],
        )
        for message in tree.messages
    ]
    return replace(tree.session, id=""), messages, {places[number] for number in tree.active}


texts = st.text(st.characters(exclude_categories=[]), max_size=20)
objects = st.dictionaries(texts, st.none() | st.integers() | texts | st.lists(texts), max_size=3)
nodes = st.fixed_dictionaries(
    {
        "role": st.sampled_from(Role),
        "text": texts,
        "reasoning": texts,
        "status": st.sampled_from(sorted(set(Status) - {Status.STREAMING})),
        "model": texts,
        "sampling": objects,
        "usage": st.dictionaries(st.sampled_from("ab"), st.integers(0, 2**40)),
        "timings": st.dictionaries(st.sampled_from("ab"), st.floats(0, 1e6)),
    }
)
# Each node hangs on the root (0) or one of those before it.
forests = st.lists(st.tuples(nodes, st.integers(0, 30)), max_size=8)


@settings(max_examples=80)
@given(texts, texts, objects, forests, st.integers(0, 30), st.integers(0, 30))
def test_json_carries_the_whole_tree(
    title: str,
    system: str,
    overrides: dict[str, Any],
    forest: list[tuple[dict[str, Any], int]],
    activated: int,
    deleted: int,
) -> None:
    with SessionStore.in_memory() as store, SessionStore.in_memory() as other:
        session = new_session(store, title=title, system=system, settings=overrides)
        ids: list[int] = []
        for node, place in forest:
            parent = [None, *ids][place % (len(ids) + 1)]
            ids.append(store.add(session.id, parent_id=parent, **node).id)
        if ids:
            store.activate(ids[activated % len(ids)])
            if deleted % 2:
                store.delete_message(ids[deleted % len(ids)])
        original = store.tree(session.id)
        (read,) = from_json(to_json([original]))
        assert read == original
        insert_tree(other, read)
        assert shape(other.tree(session.id)) == shape(original)
        assert shape(from_json(to_json([other.tree(session.id)]))[0]) == shape(original)


def good() -> dict[str, Any]:
    """A document with one session of two messages."""
    with SessionStore.in_memory() as store:
        session = new_session(store)
        first = store.add(session.id, Role.USER, "q", parent_id=None)
        store.add(session.id, Role.ASSISTANT, "a", parent_id=first.id)
        document: dict[str, Any] = json.loads(to_json([store.tree(session.id)]))
        return document


def in_session(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["sessions"][0].update({name: value})


def in_message(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["sessions"][0]["messages"][1].update({name: value})


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document.update(format="other"),
        lambda document: document.update(version="1"),
        lambda document: document.update(version=2),
        lambda document: document.pop("sessions"),
        lambda document: document.update(sessions=[3]),
        in_session("id", None),
        in_session("title", 3),
        in_session("created_at", "now"),
        in_session("created_at", float("nan")),
        in_session("updated_at", 1e300),
        in_session("settings", []),
        in_session("settings", {"temp": float("nan")}),
        in_message("sampling", {"temp": [float("inf")]}),
        in_message("scores", {"taste": float("-inf")}),
        in_session("messages", {}),
        in_session("messages", [1]),
        in_message("id", "2"),
        in_message("id", True),
        in_message("id", 1),
        in_message("parent_id", 2),
        in_message("parent_id", 99),
        in_message("parent_id", "1"),
        in_message("role", "robot"),
        in_message("status", "dreaming"),
        in_message("text", None),
        in_message("usage", 1),
        in_message("active", 1),
        in_message("created_at", True),
        in_message("created_at", 10**400),
        in_message("picked_at", 10**400),
        in_message("picked_at", -1),
        in_session("created_at", 10**400),
        in_session("updated_at", -(10**400)),
        in_message("parent_id", 10**400),
        in_message("rating", 10**400),
    ],
)
def test_a_document_that_does_not_hold_together_is_refused(
    damage: Callable[[dict[str, Any]], None],
) -> None:
    document = good()
    assert len(from_json(json.dumps(document))) == 1
    damage(document)
    with pytest.raises(UsageError, match="export") as caught:
        from_json(json.dumps(document))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, "1" * 5000, '{"format": 1}'])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an export of tchat"):
        from_json(text)


def deep(levels: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    "change",
    [
        in_message("usage", {"a": deep(800), "n": 1}),
        in_message("timings", {"a": deep(900)}),
        in_message("sampling", {"a": deep(800)}),
        in_message("scores", {"a": deep(800)}),
        in_session("settings", {"a": deep(800)}),
        in_message("usage", {"a": 10**4000, "n": 1}),
        in_message("sampling", {"seed": 10**4000}),
        in_message("id", 10**400),
    ],
)
def test_values_of_no_use_stand_in_the_way_of_no_import(
    store: SessionStore, change: Callable[[dict[str, Any]], None]
) -> None:
    document = good()
    change(document)
    (tree,) = from_json(json.dumps(document))
    stored = store.tree(insert_tree(store, tree).id)
    assert [message.text for message in stored.messages] == ["q", "a"]
    assert from_json(to_json([stored]))[0].messages[1].text == "a"


def test_an_integer_of_too_many_digits_is_told_in_plain_words() -> None:
    text = json.dumps(good()).replace('"version": 1', f'"version": {"9" * 5000}')
    with pytest.raises(UsageError, match="an integer of 5,000 digits is too long"):
        from_json(text)


def test_an_id_from_outside_must_look_like_one(store: SessionStore) -> None:
    document = good()
    document["sessions"][0]["id"] = "../x; DROP"
    (tree,) = from_json(json.dumps(document))
    assert insert_tree(store, tree).id != "../x; DROP"


def test_every_pointer_leads_somewhere_after_an_import(store: SessionStore) -> None:
    document = good()
    for message in document["sessions"][0]["messages"]:
        message["active"] = False
    (tree,) = from_json(json.dumps(document))
    session = insert_tree(store, tree)
    assert [message.text for message in store.branch(session.id)] == ["q", "a"]
