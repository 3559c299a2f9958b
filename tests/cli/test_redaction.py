"""``tchat sessions export --redact``: what leaves holds placeholders; the table stays here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.paths import user_paths
from tchat.sessions.records import Role, ToolCall
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell

MAIL, HOST, CUSTOMER = "ann.lee@example.com", "db1.prod.example.com", "Brightwater"
USER = "annlee"


@pytest.fixture
def session_id(home: Path) -> str:
    with SessionStore(user_paths().sessions_db) as store:
        session, question = store.begin(
            f"Write to {MAIL} about {CUSTOMER}.", title=f"Mail to {MAIL}", system=f"We run {HOST}."
        )
        arguments = {"url": f"http://{HOST}/", "n": [MAIL], MAIL: 1}
        call = ToolCall(id="1", name="fetch_url", arguments=arguments)
        store.add(
            session.id,
            Role.ASSISTANT,
            f"Done: {MAIL}.",
            parent_id=question.id,
            reasoning=f"The user means {HOST}.",
            tool_calls=(call,),
            model="/home/annlee/models/tiny.gguf",
        )
    return session.id


@pytest.mark.parametrize("form", ["md", "json", "html", "openai"])
def test_no_format_holds_a_value(shell: Shell, session_id: str, form: str) -> None:
    (user_paths().config / "config.toml").write_text(f'redact_words = ["{CUSTOMER}"]\n')
    ran = shell("sessions", "export", session_id, "--format", form, "--redact", "--show-reasoning")
    assert ran.code == 0
    assert not [value for value in (MAIL, HOST, CUSTOMER, USER) if value in ran.out]
    assert "[EMAIL_1]" in ran.out
    assert "redaction replaced 4 values" in ran.err


@pytest.mark.parametrize("form", ["md", "json", "html", "openai"])
def test_paths_of_models_and_keys_of_arguments_are_redacted(
    shell: Shell, home: Path, form: str
) -> None:
    card = 4111111111111111
    with SessionStore(user_paths().sessions_db) as store:
        session, question = store.begin("Send it.")
        arguments = {MAIL: 1, "count": 3, "card": card}
        store.add(
            session.id,
            Role.ASSISTANT,
            "Done.",
            parent_id=question.id,
            model="/home/alice/models/m.gguf",
            tool_calls=(ToolCall(id="1", name="send", arguments=arguments),),
        )
    ran = shell("sessions", "export", session.id, "--format", form, "--redact")
    assert ran.code == 0
    assert not [value for value in ("alice", MAIL, str(card)) if value in ran.out]
    if form == "json":
        assert '"count": 3' in ran.out


def test_the_table_tells_what_was_replaced(shell: Shell, session_id: str, tmp_path: Path) -> None:
    out, table = tmp_path / "chat.json", tmp_path / "table.json"
    ran = shell(
        *("sessions", "export", session_id, "-o", str(out), "--redact"),
        *("--redact-table", str(table)),
    )
    assert ran.code == 0
    assert json.loads(table.read_text()) == {"[EMAIL_1]": MAIL, "[HOST_1]": HOST, "[USER_1]": USER}
    assert table.stat().st_mode & 0o077 == 0
    assert MAIL not in out.read_text()


def test_a_table_needs_a_redaction(shell: Shell, session_id: str, tmp_path: Path) -> None:
    ran = shell("sessions", "export", session_id, "--redact-table", str(tmp_path / "table.json"))
    assert ran.code == 2
    assert "add --redact" in ran.err
    assert not (tmp_path / "table.json").exists()


def test_without_the_libraries_nothing_is_written(
    shell: Shell, session_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    out = tmp_path / "chat.md"
    ran = shell("sessions", "export", session_id, "-o", str(out), "--redact")
    assert ran.code == 2
    assert "pip install 'tchat[redact]'" in ran.err
    assert not out.exists()
