"""The shapes of Claude, Open WebUI, LM Studio, llama.cpp, SillyTavern and OpenAI messages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sessions.importers.imports import Imports, archive, document, lines

# Claude


def claude(**changes: Any) -> dict[str, Any]:
    root = "00000000-0000-4000-8000-000000000000"
    return {
        "uuid": "c-1",
        "name": "Bread",
        "summary": "",
        "model": "claude-x",
        "created_at": "2025-03-01T10:00:00.500000Z",
        "updated_at": "2025-03-01T11:00:00Z",
        "account": {"uuid": "me"},
        "chat_messages": [
            {
                "uuid": "m-1",
                "text": "ignored",
                "content": [{"type": "text", "text": "How long does it rise?"}],
                "sender": "human",
                "created_at": "2025-03-01T10:00:01Z",
                "attachments": [{"file_name": "a b.txt", "extracted_content": "flour"}],
                "files": [{"file_name": "photo.png"}],
                "parent_message_uuid": root,
            },
            {
                "uuid": "m-2",
                "text": "",
                "content": [
                    {"type": "thinking", "thinking": "Hours."},
                    {"type": "tool_use", "name": "search", "input": {"q": "rise"}},
                    {
                        "type": "tool_result",
                        "content": [{"type": "text", "text": "8 h"}],
                        "is_error": True,
                    },
                    {"type": "text", "text": "Eight hours."},
                ],
                "sender": "assistant",
                "created_at": "2025-03-01T10:00:02Z",
                "parent_message_uuid": "m-1",
            },
            {
                "uuid": "m-3",
                "content": [{"type": "text", "text": "Overnight."}],
                "sender": "assistant",
                "created_at": "2025-03-01T10:05:00Z",
                "parent_message_uuid": "m-1",
            },
        ],
        **changes,
    }


def test_claude(imports: Imports) -> None:
    session = imports.one(document([claude()]))
    assert imports.tree(session) == [
        "*user: File a b.txt:\n```\nflour\n```\n\nHow long does it rise?",
        ' assistant:  [search {"q": "rise"}]',
        "  *tool search failed: 8 h",
        "   *assistant: Eight hours.",
        " *assistant: Overnight.",
    ]
    assert (session.title, session.created_at) == ("Bread", 1740823200.5)
    reply = imports.store.siblings(imports.store.branch(session.id)[-1].id)[0]
    assert reply.reasoning == "Hours."
    assert (reply.created_at, reply.model) == (1740823202.0, "claude-x")
    assert "1 attached file" in imports.said()


def test_claude_without_parents_is_one_branch(imports: Imports) -> None:
    old = claude()
    for message in old["chat_messages"]:
        del message["parent_message_uuid"]
    session = imports.one(archive({"conversations.json": document([old])}))
    assert imports.branch(session)[1:] == [
        'assistant:  [search {"q": "rise"}]',
        "tool search failed: 8 h",
        "assistant: Eight hours.\n\nOvernight.",
    ]


# Open WebUI


def test_open_webui(imports: Imports) -> None:
    folded = (
        '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds'
        "</summary>\n> Is it?\n> It is.\n</details>\nYes, a &lt;b&gt;."
    )
    found: dict[str, Any] = {
        "id": "w-1",
        "user_id": "u",
        "title": "Sky",
        "created_at": 1_700_000_000,
        "updated_at": 1_700_000_500,
        "chat": {
            "title": "Sky",
            "models": ["llama3"],
            "params": {"system": "Be kind."},
            "history": {
                "currentId": "b",
                "messages": {
                    "a": {"id": "a", "parentId": None, "role": "user", "content": "Blue?"},
                    "b": {
                        "id": "b",
                        "parentId": "a",
                        "role": "assistant",
                        "content": folded,
                        "model": "llama3",
                        "timestamp": 1_700_000_010,
                    },
                    "c": {
                        "id": "c",
                        "parentId": "a",
                        "role": "assistant",
                        "content": "No.",
                        "files": [{"type": "image", "url": "x"}],
                        "done": False,
                    },
                },
            },
            "messages": [],
        },
    }
    session = imports.one(document([found]))
    assert imports.tree(session) == [
        "*user: Blue?",
        " *assistant: Yes, a &lt;b&gt;.",
        " assistant: No.",
    ]
    assert session.system == "Be kind."
    reply = imports.store.branch(session.id)[1]
    assert (reply.model, reply.reasoning) == ("llama3", "Is it?\nIt is.")
    assert reply.created_at == 1_700_000_010
    assert imports.said() == "left out: 1 image"
    (again,) = imports(document(found["chat"] | {"id": "w-1"}))
    assert (again.is_new, again.added) == (False, 0)


def test_open_webui_with_calls(imports: Imports) -> None:
    """Each call is folded in the text, with its result."""
    call = (
        '<details type="tool_calls" done="{done}" id="{id}" name="look" '
        'arguments="&quot;{{\\&quot;at\\&quot;: {at}}}&quot;"{result}>\n'
        "<summary>Tool Executed</summary>\n</details>\n"
    )
    text = (
        '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> Hm.\n</details>\n'
        "Let me see.\n"
        + call.format(done="true", id="c1", at=1, result=' result="&quot;blue&quot;"')
        + call.format(done="true", id="c2", at=2, result=' result="a &lt;b&gt;"')
        + "It is blue.\n"
        + call.format(done="false", id="c3", at=3, result="")
    )
    messages = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "Blue?"},
        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": text},
        "c": {"id": "c", "parentId": "b", "role": "user", "content": "Thanks."},
    }
    found = {"id": "w-2", "chat": {"history": {"currentId": "c", "messages": messages}}}
    session = imports.one(document([found]))
    assert imports.branch(session) == [
        "user: Blue?",
        'assistant: Let me see. [look {"at": 1}]',
        "tool look: blue",
        'assistant:  [look {"at": 2}]',
        "tool look: a <b>",
        'assistant: It is blue. [look {"at": 3}]',
        "user: Thanks.",
    ]
    reply, result = imports.store.branch(session.id)[1:3]
    assert (reply.reasoning, reply.tool_calls[0].id) == ("Hm.", "c1")
    assert result.tool_outcome is not None
    assert result.tool_outcome.call_id == "c1"
    assert imports(document([found]))[0].added == 0


@pytest.mark.parametrize(
    "text",
    [
        '<details type="reasoning">' * 20_000,
        '<details type="reasoning"' * 20_000 + "</details>",
        f'<details type="tool_calls" {"a" * 300_000}></details>.',
    ],
)
def test_open_webui_with_text_that_would_be_searched_for_hours(imports: Imports, text: str) -> None:
    said = {"id": "a", "role": "assistant", "content": text}
    (imported,) = imports(document({"chat": {"history": {"messages": {"a": said}}}}))
    assert imported.added == 1


# LM Studio


def test_lm_studio(imports: Imports) -> None:
    def user(text: str) -> dict[str, Any]:
        content = [{"type": "text", "text": text}]
        return {"type": "singleStep", "role": "user", "content": content}

    def said(text: str, style: str = "") -> dict[str, Any]:
        block = {"type": "contentBlock", "content": [{"type": "text", "text": text}]}
        return block | ({"style": {"type": style}} if style else {})

    def model(*steps: dict[str, Any]) -> dict[str, Any]:
        sender = {"senderName": "qwen3"}
        return {"type": "multiStep", "role": "assistant", "senderInfo": sender, "steps": steps}

    found: dict[str, Any] = {
        "name": "Names",
        "createdAt": 1_700_000_000_123,
        "systemPrompt": "Short.",
        "tokenCount": 9,
        "messages": [
            {"versions": [user("A name?"), user("A cat's name?")], "currentlySelected": 1},
            {
                "versions": [model(said("Tom.")), model(said("cats…", "thinking"), said("Mia."))],
                "currentlySelected": 1,
            },
            {"versions": [user("Thanks.")], "currentlySelected": 0},
        ],
    }
    session = imports.one(document(found))
    assert imports.tree(session) == [
        "user: A name?",
        "*user: A cat's name?",
        " assistant: Tom.",
        " *assistant: Mia.",
        "  *user: Thanks.",
    ]
    assert (session.title, session.system) == ("Names", "Short.")
    assert session.created_at == 1_700_000_000.123
    reply = imports.store.branch(session.id)[1]
    assert (reply.model, reply.reasoning) == ("qwen3", "cats…")
    assert imports(document(found))[0].added == 0
    found["messages"][0]["versions"][0]["content"][0]["text"] = "long " * 50_000
    imports(document(found))
    assert imports.report.programs.keys() == {"LM Studio"}


def test_lm_studio_with_calls(imports: Imports) -> None:
    def block(*parts: dict[str, Any]) -> dict[str, Any]:
        return {"type": "contentBlock", "content": list(parts)}

    asked = {"type": "toolCallRequest", "callId": 1, "name": "look", "parameters": {"at": 1}}
    steps = [
        block({"type": "text", "text": "Let me see."}, asked),
        {"type": "toolStatus"},
        block({"type": "toolCallResult", "toolCallId": 1, "content": '["blue"]'}),
        block({"type": "text", "text": "It is blue."}),
    ]
    user = {"role": "user", "content": [{"type": "text", "text": "Blue?"}]}
    found = {
        "name": "Sky",
        "createdAt": 1_700_000_000_123,
        "messages": [
            {"versions": [user], "currentlySelected": 0},
            {
                "versions": [{"role": "assistant", "type": "multiStep", "steps": steps}],
                "currentlySelected": 0,
            },
            {"versions": [user], "currentlySelected": 0},
        ],
    }
    session = imports.one(document(found))
    assert imports.branch(session) == [
        "user: Blue?",
        'assistant: Let me see. [look {"at": 1}]',
        'tool look: ["blue"]',
        "assistant: It is blue.",
        "user: Blue?",
    ]
    assert imports.said() == ""


# llama.cpp


def record(key: str, parent: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    base = {"id": key, "convId": "l-1", "type": "text", "timestamp": 1_700_000_000_000}
    base |= {"role": role, "content": text, "parent": parent, "children": []}
    return {"type": "message", "message": base | more}


LLAMA = (
    {"harness": "llama.app", "type": "session", "currNode": "b", "id": "l-1", "name": "Files"},
    record("r", None, "system", "", type="root"),
    record("s", "r", "system", "Be exact."),
    record("a", "s", "user", "Sum?", extra=[{"type": "TEXT", "name": "n.txt", "content": "1 2"}]),
    record("b", "a", "assistant", "3", reasoningContent="1 + 2", model="gemma"),
    record(
        "c",
        "a",
        "assistant",
        "",
        toolCalls=[{"function": {"name": "add", "arguments": "[1, 2]"}}],
    ),
    record("d", "c", "tool", "3"),
    record("e", "d", "assistant", "It is 3.", extra=[{"type": "IMAGE", "name": "i.png"}]),
)


def check_llama(imports: Imports, content: bytes) -> None:
    session = imports.one(content)
    assert imports.tree(session) == [
        "*user: File n.txt:\n```\n1 2\n```\n\nSum?",
        " *assistant: 3",
        ' assistant:  [add {"input": "[1, 2]"}]',
        "  *tool add: 3",
        "   *assistant: It is 3.",
    ]
    assert (session.title, session.system) == ("Files", "Be exact.")
    reply, _ = imports.store.siblings(imports.store.branch(session.id)[1].id)
    assert (reply.model, reply.reasoning, reply.created_at) == ("gemma", "1 + 2", 1_700_000_000)
    assert "1 image" in imports.said()


def test_llama_cpp_as_json_lines_in_an_archive_and_as_json(imports: Imports) -> None:
    check_llama(imports, lines(*LLAMA))
    packed = archive({"2026_conv_1.jsonl": lines(*LLAMA), "2026_conv_2.jsonl": lines(*LLAMA)})
    assert [each.added for each in imports(packed)] == [0, 0]
    conversation = {name: value for name, value in LLAMA[0].items() if name != "type"}
    whole = {"conv": conversation, "messages": [each["message"] for each in LLAMA[1:]]}
    for content in (document(whole), document([whole])):
        assert imports(content)[0].added == 0


def test_chats_without_a_name_of_their_own_are_told_by_what_they_hold(imports: Imports) -> None:
    chats = [
        {"conv": {"name": "x"}, "messages": [record("a", None, "user", text)["message"]]}
        for text in ("one", "two", "one")
    ]
    assert [each.is_new for each in imports(document(chats))] == [True, True, False]
    assert [each.added for each in imports(document(chats))] == [0, 0, 0]


# SillyTavern


def test_swipes_are_siblings(imports: Imports) -> None:
    content = lines(
        {
            "user_name": "Ann",
            "character_name": "Bob",
            "create_date": "2024-3-9 @14h 05m 09s 123ms",
            "chat_metadata": {"integrity": "i-1"},
        },
        {"name": "Bob", "is_user": False, "mes": "Hello.", "send_date": "March 9, 2024 2:05pm"},
        {"name": "Ann", "is_user": True, "mes": "Hi.", "send_date": 1_709_993_200_000},
        {
            "name": "Bob",
            "is_user": False,
            "mes": "Well met!",
            "swipes": ["Well met!", "Well met!", "Hm."],
            "swipe_id": 1,
            "swipe_info": [{}, {"extra": {"reasoning": "greet", "model": "m1"}}, {}],
            "extra": {"image": "x.png"},
        },
        {"name": "Ann", "is_user": True, "mes": "Bye."},
    )
    session = imports.one(content)
    assert imports.tree(session) == [
        "*assistant: Hello.",
        " *user: Hi.",
        "  assistant: Well met!",
        "  *assistant: Well met!",
        "   *user: Bye.",
        "  assistant: Hm.",
    ]
    assert session.title == "Bob"
    assert session.created_at == 1_709_993_109.123
    reply = imports.store.branch(session.id)[2]
    assert (reply.model, reply.reasoning) == ("m1", "greet")
    assert imports(content)[0].added == 0  # although two of them are equal


# OpenAI messages

MESSAGES = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Weather?"},
            {"type": "image_url", "image_url": {"url": "data:"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t", "function": {"name": "sky", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "t", "content": "blue"},
    {"role": "assistant", "content": "Fine.", "reasoning_content": "blue is fine"},
]


@pytest.mark.parametrize(
    "content",
    [
        document(MESSAGES),
        document({"model": "gpt-x", "messages": MESSAGES}),
        lines({"messages": MESSAGES}, {"messages": MESSAGES[:2]}),
        document([{"messages": MESSAGES}]),
    ],
)
def test_openai_messages(imports: Imports, content: bytes) -> None:
    session = imports(content)[0].session
    assert imports.branch(session) == [
        "user: Weather?",
        "assistant:  [sky {}]",
        "tool sky: blue",
        "assistant: Fine.",
    ]
    assert session.system == "Be brief."
    assert session.title == "Weather?"
    assert session.created_at > 1.7e9  # the time of the import, where none is known
    assert imports.store.branch(session.id)[3].reasoning == "blue is fine"
    assert " image" in imports.said()
    assert all(each.added == 0 for each in imports(content))
    assert len(imports.store.sessions()) == (2 if b"\n" in content else 1)


CALLS = [
    {"role": "user", "content": "Compare."},
    {
        "role": "assistant",
        "content": "Both.",
        "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}},
            {"id": "y", "function": {"name": "count", "arguments": {"b": 2}}},
            {"id": "z", "function": {"name": "odd", "arguments": "not JSON"}},
            {"id": "w", "function": {"arguments": "{}"}},
            7,
        ],
    },
    {"role": "tool", "tool_call_id": "y", "content": "two"},
    {"role": "tool", "tool_call_id": "x", "content": [{"type": "text", "text": "one"}]},
    {"role": "tool", "tool_call_id": "nobody", "content": "stray"},
    {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}, "content": None},
    {"role": "function", "name": "old", "content": "way"},
    {"role": "assistant", "content": "Same."},
]


def test_openai_calls_in_every_form(imports: Imports) -> None:
    session = imports.one(document(CALLS))
    assert imports.branch(session) == [
        "user: Compare.",
        'assistant: Both. [look {"a": 1}] [count {"b": 2}] [odd {"input": "not JSON"}]',
        "tool count: two",
        "tool look: one",
        "tool : stray",
        "assistant:  [old {}]",
        "tool old: way",
        "assistant: Same.",
    ]
    old, way = imports.store.branch(session.id)[5:7]
    assert way.tool_outcome is not None
    assert way.tool_outcome.call_id == old.tool_calls[0].id != ""


@pytest.mark.parametrize(
    "content",
    [
        document([{"chat_messages": [3, None, {"sender": 5, "content": "x", "attachments": [1]}]}]),
        document([{"chat": {"history": {"messages": {"a": None, "b": {"parentId": "b"}}}}}]),
        document({"messages": [{"versions": [1], "currentlySelected": "x"}, {"versions": 2}]}),
        lines({"type": "session", "id": None, "currNode": []}, {"type": "message", "message": 3}),
        lines({"chat_metadata": []}, {"mes": 3, "swipes": [1], "swipe_info": {}}, 5, []),
        document({"messages": [1, {"role": "user", "content": {}}, {"role": []}]}),
    ],
)
def test_what_is_of_the_wrong_type_is_as_good_as_absent(imports: Imports, content: bytes) -> None:
    imports(content)
    assert all(each.added == 0 for each in imports(content))
