"""``tchat sessions export --redact``: what leaves holds placeholders; the table stays here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.chat.prompt_history import HistoryEntry, PromptHistory
from tchat.chat.stored_files import TYPED_LINES
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


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    )


def test_a_stored_session_is_redacted_for_good(shell: Shell, home: Path, session_id: str) -> None:
    history = PromptHistory(user_paths().config)
    history.add(HistoryEntry(f"Write to {MAIL}.", (("[paste]", f"x {MAIL}"),)), private=False)
    (user_paths().config / TYPED_LINES).write_text(f"Ask {MAIL}\nother\n")
    ran = shell("sessions", "redact", session_id, "--dry-run")
    assert ran.code == 0
    assert f"[EMAIL_1]  {MAIL}" in ran.out
    assert MAIL in shell("sessions", "export", session_id).out
    assert shell("sessions", "redact", session_id).code == 2  # nobody can be asked
    ran = shell("sessions", "redact", session_id, "--yes")
    assert "input history" not in ran.err  # the values were replaced there, too
    assert ran.code == 0
    assert "Replaced 2 values in 2 messages." in ran.err
    assert files_with(home, MAIL) == []
    assert files_with(home, HOST) == []
    assert shell("sessions", "search", "ann.lee").out == ""
    exported = shell("sessions", "export", session_id).out
    assert "Write to [EMAIL_1] about" in exported
    assert "Mail to [EMAIL_1]" in exported
    assert json.loads(exported)["sessions"][0]["system"] == "We run [HOST_1]."
    assert "/home/annlee/models/tiny.gguf" in exported  # what wrote the reply stays known
    assert "nothing was replaced" in shell("sessions", "redact", session_id, "--yes").err


@pytest.mark.parametrize(
    ("text", "typed"),
    [("acme", "Ask ACME and Acme."), ("Ann Lee", "ann lee was here"), ("a.b", "axb a.b")],
)
def test_a_text_leaves_the_histories_however_it_is_written(
    shell: Shell, home: Path, session_id: str, text: str, typed: str
) -> None:
    with SessionStore(user_paths().sessions_db) as store:
        session, _ = store.begin(f"Is {text} {text.upper()} there?")
    history = PromptHistory(user_paths().config)
    history.add(HistoryEntry(typed), private=False)
    (user_paths().config / TYPED_LINES).write_text(f"{typed}\n")
    assert shell("sessions", "redact", session.id, "--text", text, "--yes").code == 0
    [entry] = history.entries()
    for left in (entry.text, (user_paths().config / TYPED_LINES).read_text()):
        assert text.casefold() not in left.casefold()
        assert "[WORD_" in left
    assert ("axb" in typed) == ("axb" in entry.text)


def test_a_longer_value_is_replaced_before_a_part_of_it(
    shell: Shell, home: Path, session_id: str
) -> None:
    (user_paths().config / "config.toml").write_text('redact_words = ["Ann", "Ann Lee"]\n')
    with SessionStore(user_paths().sessions_db) as store:
        session, _ = store.begin("Ann and Ann Lee met.")
    history = PromptHistory(user_paths().config)
    history.add(HistoryEntry("Write to Ann Lee, not to Ann."), private=False)
    assert shell("sessions", "redact", session.id, "--yes").code == 0
    [entry] = history.entries()
    assert not {"Ann", "Lee"} & set(entry.text.replace(",", "").replace(".", "").split())


def test_a_text_or_a_message_is_redacted_alone(shell: Shell, session_id: str) -> None:
    ran = shell("sessions", "redact", session_id, "--text", CUSTOMER, "--yes")
    assert ran.code == 0
    exported = json.loads(shell("sessions", "export", session_id).out)
    [question, answer] = exported["sessions"][0]["messages"]
    assert question["text"] == f"Write to {MAIL} about [WORD_1]."
    ran = shell("sessions", "redact", session_id, "--message", str(answer["id"]), "--yes")
    assert ran.code == 0
    exported = json.loads(shell("sessions", "export", session_id).out)
    [question, answer] = exported["sessions"][0]["messages"]
    assert question["text"] == f"Write to {MAIL} about [WORD_1]."
    assert answer["text"] == "Done: [EMAIL_1]."
    ran = shell("sessions", "redact", session_id, "--message", str(question["id"]), "--yes")
    assert ran.code == 0
    [exported] = json.loads(shell("sessions", "export", session_id).out)["sessions"]
    assert exported["title"] == "Mail to [EMAIL_1]"  # it began as that message
    ran = shell("sessions", "redact", session_id, "--message", "999", "--yes")
    assert ran.code == 2


def test_a_placeholder_of_the_chat_is_given_to_nothing_else(shell: Shell, home: Path) -> None:
    with SessionStore(user_paths().sessions_db) as store:
        session, first = store.begin("I am bob@example.com.")
        store.add(session.id, Role.USER, f"[EMAIL_1] is not {MAIL}.", parent_id=first.id)
    assert shell("sessions", "redact", session.id, "--yes").code == 0
    exported = shell("sessions", "export", session.id, "--format", "md").out
    assert "I am [EMAIL_2]." in exported
    assert "[EMAIL_1] is not [EMAIL_3]." in exported


def test_what_stood_for_a_replaced_value_is_forgotten(shell: Shell, session_id: str) -> None:
    with SessionStore(user_paths().sessions_db) as store:
        store.keep_placeholders(session_id, {"[EMAIL_1]": MAIL, "[EMAIL_2]": "x@example.com"})
    assert shell("sessions", "redact", session_id, "--yes").code == 0
    with SessionStore(user_paths().sessions_db) as store:
        assert store.placeholders(session_id) == {"[EMAIL_2]": "x@example.com"}


def test_names_are_guessed_by_the_model_in_this_process(
    shell: Shell, home: Path, tmp_path: Path
) -> None:
    with SessionStore(user_paths().sessions_db) as store:
        session, _ = store.begin(f"Please write to Nora Feldman about {MAIL}.", title="mail")
    table = tmp_path / "table.json"
    options = ("--redact", "--names", "--redact-table", str(table))
    ran = shell("sessions", "export", session.id, *options)
    assert ran.code == 0
    assert "Nora Feldman" not in ran.out
    assert "that the model guessed" in ran.err
    marked = json.loads(table.read_text())
    assert marked["[EMAIL_1]"] == MAIL
    assert {"value": "Nora Feldman", "guess": True} in marked.values()
    assert shell("sessions", "export", session.id, "--names").code == 2
    ran = shell("sessions", "redact", session.id, "--names", "--yes")
    assert ran.code == 0
    with SessionStore(user_paths().sessions_db) as store:
        assert "Feldman" not in store.branch(session.id)[0].text


def test_names_are_not_looked_for_on_a_server(shell: Shell, session_id: str) -> None:
    (user_paths().config / "config.toml").write_text(
        'model = "box"\n[servers.box]\nurl = "http://127.0.0.1:9/v1"\n'
    )
    ran = shell("sessions", "export", session_id, "--redact", "--names")
    assert ran.code == 2
    assert "by a model in this process only" in ran.err
