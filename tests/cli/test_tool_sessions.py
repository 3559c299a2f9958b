"""Calls of tools and their results where the command prints sessions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell
from tests.sessions.tool_turns import add_call_turn

HOSTILE = "forty\x1b]52;c;x\x07 \u202etwo\u200b"


@pytest.fixture
def session_id(home: Path) -> str:
    with SessionStore(user_paths().sessions_db) as store:
        session, _ = store.begin("look", title="Tools")
        add_call_turn(store, session.id, HOSTILE, answer="Done.")
    return session.id


def test_what_is_hidden_in_a_result_is_shown(shell: Shell, session_id: str) -> None:
    ran = shell("sessions", "show", session_id)
    assert ran.code == 0
    assert "Call: look" in ran.out
    assert "## Tool result: look" in ran.out
    assert "forty␛]52;c;x␇ ⟦U+202E⟧two⟦U+200B⟧" in ran.out


def test_a_search_names_results(shell: Shell, session_id: str) -> None:
    ran = shell("sessions", "search", "forty")
    assert ran.code == 0
    assert "⟦U+202E⟧two" in ran.out
    assert "tool" in ran.out
    [hit] = json.loads(shell("sessions", "search", "forty", "--json").out)
    assert (hit["role"], hit["session"] if "session" in hit else hit["id"]) == ("tool", session_id)
