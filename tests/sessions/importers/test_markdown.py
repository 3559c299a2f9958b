"""Markdown that tchat exported comes back as it was, whatever stands in the messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.sessions.formats import MARKDOWN
from tchat.sessions.records import Role, Session, Status
from tchat.sessions.store import SessionStore, Store
from tests.sessions.importers.imports import Imports, in_memory
from tests.sessions.stores import new_session


def exported(store: Store, *sessions: Session) -> bytes:
    return "".join(MARKDOWN.export(store, sessions, show_reasoning=True)).encode()


def told(
    store: Store, texts: list[str], *, title: str = "T", system: str = "", reasoning: str = ""
) -> Session:
    session = new_session(store, title=title, system=system)
    parent = None
    for number, text in enumerate(texts):
        role = (Role.USER, Role.ASSISTANT)[number % 2]
        said = {"reasoning": reasoning, "model": "m"} if role is Role.ASSISTANT else {}
        parent = store.add(session.id, role, text, parent_id=parent, **said).id  # type: ignore[arg-type]
    return store.get(session.id)


def test_a_session_comes_back(store: SessionStore, imports: Imports) -> None:
    session = told(store, ["Why?", "Because.\n\n```\n# x\n```"], system="Be brief.", reasoning="hm")
    found = imports.one(exported(store, session))
    assert imports.branch(found) == ["user: Why?", "assistant: Because.\n\n```\n# x\n```"]
    assert (found.title, found.system) == ("T", "Be brief.")
    assert found.created_at == session.created_at // 60 * 60
    reply = imports.store.branch(found.id)[1]
    assert (reply.reasoning, reply.model) == ("hm", "m")


def test_several_sessions_and_a_second_import(store: SessionStore, imports: Imports) -> None:
    first = told(store, ["a", "b"], title="One")
    second = told(store, ["c"], title="")
    content = exported(store, first, second)
    assert [each.added for each in imports(content)] == [2, 1]
    assert [each.added for each in imports(content)] == [0, 0]
    store.add(first.id, Role.USER, "more", parent_id=store.branch(first.id)[-1].id)
    assert [each.added for each in imports(exported(store, first))] == [1]


def test_a_million_empty_lines_are_read_at_once(store: SessionStore, imports: Imports) -> None:
    content = exported(store, told(store, ["Hi."])).replace(b"Hi.", b"\n" * 1_000_000 + b"Hi.")
    assert imports.branch(imports.one(content)) == ["user: Hi."]


def test_how_a_reply_ended_is_kept(store: SessionStore, imports: Imports) -> None:
    session = told(store, ["a"])
    asked = store.branch(session.id)[-1].id
    store.add(session.id, Role.ASSISTANT, "cut", parent_id=asked, status=Status.STOPPED)
    found = imports.one(exported(store, session))
    assert imports.store.branch(found.id)[1].status is Status.STOPPED


OWN = [
    "## User",
    "\\## Assistant",
    "\\\\## Assistant (stopped)",
    "# T\n\n*1234567890, 2025-01-01 10:00 UTC, m*",
    "*1234567890, 2025-01-01 10:00 UTC*",
    "<details><summary>Reasoning</summary>\n\nx\n\n</details>",
    "</details>",
    "## Users and\n## System\n# ",
]


@pytest.mark.parametrize("text", OWN)
def test_text_that_looks_like_ours_is_text(
    store: SessionStore, imports: Imports, text: str
) -> None:
    session = told(store, [text, text], system=text, reasoning=text)
    found = imports.one(exported(store, session))
    expected = text.strip("\n")
    assert [each.text for each in imports.store.branch(found.id)] == [expected, expected]
    assert found.system == expected
    assert imports.store.branch(found.id)[1].reasoning == expected


lines = st.lists(st.sampled_from([*OWN, "", "a", "# a", "#", "    x", "```"]), max_size=6)


@settings(max_examples=60)
@given(st.lists(lines.map("\n".join), min_size=1, max_size=3))
def test_any_text_comes_back(texts: list[str]) -> None:
    for imports in in_memory():
        with SessionStore.in_memory() as store:
            session = told(store, texts)
            found = imports.one(exported(store, session))
            said = [each.text for each in imports.store.branch(found.id)]
            kept = [text.strip("\n") for text in texts]
            assert said == kept
