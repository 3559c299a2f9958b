"""The export of ChatGPT: its tree, hidden messages, reasoning, and links that lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.sessions.records import Role, Status
from tests.sessions.importers.imports import Imports, archive, document, in_memory


def node(
    key: str,
    parent: str | None,
    role: str = "",
    text: str | None = None,
    *,
    content: dict[str, Any] | None = None,
    **message: Any,
) -> dict[str, Any]:
    made: dict[str, Any] = {"id": key, "parent": parent, "children": [], "message": None}
    if role:
        parts = {"content_type": "text", "parts": [text if text is not None else key]}
        made["message"] = {
            "id": key,
            "author": {"role": role, "name": None, "metadata": {}},
            "create_time": 1_700_000_100.0 + len(key),
            "content": content or parts,
            "status": "finished_successfully",
            "weight": 1.0,
            "metadata": {},
            "recipient": "all",
            "channel": None,
            **message,
        }
    return made


def conversation(*nodes: dict[str, Any], tip: str = "", **facts: Any) -> dict[str, Any]:
    mapping = {each["id"]: each for each in nodes}
    for each in nodes:
        if each["parent"] in mapping:
            mapping[each["parent"]]["children"].append(each["id"])
    return {
        "title": "Tides",
        "create_time": 1_700_000_000.5,
        "update_time": 1_700_000_900.0,
        "mapping": mapping,
        "current_node": tip or nodes[-1]["id"],
        "conversation_id": "c-1",
        "default_model_slug": "gpt-5",
        **facts,
    }


FORKED = conversation(
    node("root", None),
    node("system", "root", "system", "", weight=0.0),
    node("ask", "system", "user"),
    node("first", "ask", "assistant", metadata={"model_slug": "gpt-4o"}),
    node("second", "ask", "assistant"),
    node("more", "first", "user"),
    node("answer", "more", "assistant"),
    tip="answer",
)


def test_every_branch_is_there_and_the_shown_one_is_active(imports: Imports) -> None:
    session = imports.one(document([FORKED]))
    assert imports.tree(session) == [
        "*user: ask",
        " *assistant: first",
        "  *user: more",
        "   *assistant: answer",
        " assistant: second",
    ]
    assert (session.title, session.created_at) == ("Tides", 1_700_000_000.5)
    assert session.updated_at == 1_700_000_900.0
    first, second = imports.store.siblings(imports.store.branch(session.id)[1].id)
    assert (first.model, second.model) == ("gpt-4o", "gpt-5")
    assert first.created_at == 1_700_000_105.0
    assert imports.said() == ""


def test_a_second_import_adds_nothing_and_a_later_one_what_is_new(imports: Imports) -> None:
    imports(document([FORKED]))
    (again,) = imports(document([FORKED]))
    assert (again.added, again.is_new) == (0, False)
    grown = conversation(*FORKED["mapping"].values(), node("next", "answer", "user"))
    (later,) = imports(document([grown]))
    assert (later.added, later.is_new) == (1, False)
    assert imports.branch(later.session)[-1] == "user: next"
    assert len(imports.store.sessions()) == 1


def test_a_reply_in_pieces_becomes_one_message_up_to_a_result(imports: Imports) -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Look", "content": "at it"}]}
    session = imports.one(
        document(
            [
                conversation(
                    node("ask", None, "user"),
                    node("think", "ask", "assistant", content=thoughts),
                    node("plan", "think", "assistant", "I will count.", channel="commentary"),
                    node("said", "plan", "assistant", "Let me see."),
                    node(
                        *("call", "said", "assistant"),
                        content={"content_type": "code", "text": "print(1)"},
                        recipient="python",
                    ),
                    node(
                        *("result", "call", "tool"),
                        content={"content_type": "execution_output", "text": "1"},
                        author={"role": "tool", "name": "python"},
                    ),
                    node("final", "result", "assistant", "It is 1."),
                )
            ]
        )
    )
    assert imports.branch(session) == [
        "user: ask",
        'assistant: Let me see. [python {"input": "print(1)"}]',
        "tool python: 1",
        "assistant: It is 1.",
    ]
    _, reply, result, _ = imports.store.branch(session.id)
    assert reply.reasoning == "**Look**\n\nat it\n\nI will count."
    assert result.tool_outcome is not None
    assert result.tool_outcome.call_id == reply.tool_calls[0].id == "call"
    assert imports.said() == ""


def test_reasoning_without_an_answer_stays_a_reply(imports: Imports) -> None:
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "", "content": "hm"}]}
    session = imports.one(
        document(
            [
                conversation(
                    node("ask", None, "user"),
                    node("think", "ask", "assistant", content=thoughts, status="in_progress"),
                    node("again", "think", "user"),
                )
            ]
        )
    )
    assert imports.branch(session) == ["user: ask", "assistant: ", "user: again"]
    reply = imports.store.branch(session.id)[1]
    assert (reply.reasoning, reply.status) == ("hm", Status.INTERRUPTED)


def test_hidden_messages_and_pictures_are_counted_and_instructions_kept(imports: Imports) -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    spoken = {"content_type": "audio_transcription", "text": "spoken words"}
    session = imports.one(
        document(
            [
                conversation(
                    node(
                        *("own", None, "user"),
                        content={
                            "content_type": "user_editable_context",
                            "user_profile": "A sailor.",
                            "user_instructions": "Be brief.",
                        },
                        metadata={"is_visually_hidden_from_conversation": True},
                    ),
                    node("secret", "own", "assistant", "not shown", weight=0),
                    node(
                        *("ask", "secret", "user"),
                        content={
                            "content_type": "multimodal_text",
                            "parts": [picture, spoken, "What is this?"],
                        },
                        metadata={"attachments": [{"name": "a.pdf"}]},
                    ),
                    node("a", "ask", "assistant", "A boat.\ue200cite\ue202turn0search1\ue201"),
                )
            ]
        )
    )
    assert session.system == "A sailor.\n\nBe brief."
    assert imports.branch(session) == [
        "user: spoken words\n\nWhat is this?",
        "assistant: A boat.",
    ]
    for told in ("1 hidden message", "1 image", "1 attached file", "1 citation mark"):
        assert told in imports.said()


def test_archives_hold_one_file_or_many(imports: Imports) -> None:
    other = {**FORKED, "conversation_id": "c-2", "title": "Winds"}
    whole = archive({"conversations.json": document([FORKED, other]), "user.json": b"{}"})
    assert len(imports(whole)) == 2
    split = archive(
        {
            "export/conversations-000.json": document([FORKED]),
            "export/conversations-001.json": document([other]),
            "export/export_manifest.json": b"{}",
        }
    )
    assert [each.added for each in imports(split)] == [0, 0]


def test_an_order_of_nodes_that_is_not_theirs_changes_nothing(imports: Imports) -> None:
    turned = {**FORKED, "mapping": dict(reversed(FORKED["mapping"].items()))}
    session = imports.one(document([turned]))
    assert imports.tree(session)[1] == " *assistant: first"
    (again,) = imports(document([FORKED]))
    assert again.added == 0


def test_circles_and_missing_parents_lose_no_text(imports: Imports) -> None:
    around = conversation(
        node("a", "b", "user"), node("b", "a", "user"), node("lost", "gone", "user")
    )
    session = imports.one(document([around]))
    texts = {each.text for each in imports.store.tree(session.id).messages}
    assert texts == {"a", "b", "lost"}
    assert "2 messages without their parents" in imports.said()


def test_a_chat_of_ten_thousand_messages_in_a_row(imports: Imports) -> None:
    nodes = [node("0", None, "user")]
    nodes += [node(str(n), str(n - 1), "user") for n in range(1, 10_000)]
    session = imports.one(document([conversation(*nodes)]))
    assert session.messages == 10_000


@pytest.mark.parametrize(
    "broken",
    [
        {"mapping": []},
        {"mapping": {}},
        {
            "mapping": {
                "a": 3,
                "b": {"message": "x"},
                "c": {"message": {"author": [], "content": 5}},
            }
        },
        {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": [None]}}}}},
        {"title": 7, "mapping": {"a": None}, "create_time": "never", "current_node": {}},
        3,
        None,
    ],
)
def test_a_conversation_of_no_use_does_not_keep_the_others_out(
    imports: Imports, broken: object
) -> None:
    imported = imports(document([FORKED, broken]))
    assert imported[0].session.title == "Tides"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
links = st.none() | st.sampled_from("abcd")
messages = st.none() | st.fixed_dictionaries(
    {
        "author": st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "tool"])}),
        "content": st.fixed_dictionaries({"parts": st.lists(st.text(max_size=3) | values)}),
        "create_time": values,
        "weight": st.sampled_from([0, 1, 1, 1]),
    }
)
mappings = st.dictionaries(
    st.sampled_from("abcd"),
    st.fixed_dictionaries({"parent": links, "message": messages, "children": values}),
    min_size=1,
)


@settings(max_examples=50)
@given(mappings, links)
def test_whatever_the_links_are_it_ends_and_twice_is_once(
    mapping: dict[str, Any], tip: str | None
) -> None:
    found = document([{"mapping": mapping, "current_node": tip, "conversation_id": "x"}])
    for imports in in_memory():
        imported = imports(found)
        assert all(each.added == 0 for each in imports(found))
        for each in imported:
            tree = imports.store.tree(each.session.id)
            users = sum(message.role is Role.USER for message in tree.messages)
            assert users == sum(
                bool(node["message"])
                and node["message"]["author"]["role"] == "user"
                and node["message"]["weight"] != 0
                for node in mapping.values()
            )
