"""``tchat sessions import`` of other programs' chats: what it prints, tells and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell, tchat
from tests.sessions.importers.imports import archive, document, lines
from tests.sessions.importers.test_chatgpt import FORKED
from tests.sessions.importers.test_databases import OTERM, database


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.zip"
    other = {**FORKED, "conversation_id": "c-2", "title": "Winds\x1b[31m"}
    path.write_bytes(archive({"conversations.json": document([FORKED, other])}))
    return path


def test_ids_are_printed_and_the_rest_is_told(shell: Shell, home: Path, export: Path) -> None:
    ran = shell("sessions", "import", str(export))
    assert (ran.code, len(ran.out.split())) == (0, 2)
    assert ran.err == "tchat: imported from ChatGPT: 2 new sessions; 10 messages\n"
    again = shell("sessions", "import", str(export))
    assert (again.code, again.out) == (0, ran.out)
    assert again.err == "tchat: imported from ChatGPT: 2 unchanged; 0 messages\n"
    shown = shell("sessions", "show", ran.out.split()[0])
    assert "## User\n\nask\n\n## Assistant\n\nfirst\n" in shown.out


def test_a_dry_run_stores_nothing(shell: Shell, home: Path, export: Path) -> None:
    ran = shell("sessions", "import", "--dry-run", str(export))
    assert ran.code == 0
    assert [line.split("\t")[1:] for line in ran.out.splitlines()] == [
        ["5", "Tides"],
        ["5", "Winds␛[31m"],
    ]
    assert ran.err == "tchat: would import from ChatGPT: 2 new sessions; 10 messages\n"
    assert not (home / "sessions.db").exists()
    shell("sessions", "import", str(export))
    before = (home / "sessions.db").read_bytes()
    ran = shell("sessions", "import", "--dry-run", "--json", str(export))
    found = json.loads(ran.out)
    assert [(each["new"], each["added"], each["messages"]) for each in found] == [
        (False, 0, 5),
        (False, 0, 5),
    ]
    with SessionStore(home / "sessions.db") as store:
        assert len(store.sessions()) == 2
    assert len((home / "sessions.db").read_bytes()) == len(before)


def test_files_of_several_programs_at_once(shell: Shell, tmp_path: Path, export: Path) -> None:
    messages = tmp_path / "chat.jsonl"
    messages.write_bytes(lines({"messages": [{"role": "user", "content": "Hi."}]}))
    store = database(tmp_path / "store.db", OTERM)
    ran = shell("sessions", "import", str(export), str(messages), str(store))
    assert ran.code == 0
    told = "imported from ChatGPT, OpenAI messages, oterm: 4 new sessions; 13 messages"
    assert told in ran.err
    assert "left out: 1 image, 1 empty chat" in ran.err


def test_an_archive_through_a_pipe(home: Path, export: Path) -> None:
    ran = tchat("sessions", "import", stdin=export.read_bytes())
    assert (ran.code, len(ran.out.split())) == (0, 2)


def test_one_file_of_no_program_stores_nothing_of_all(
    shell: Shell, home: Path, tmp_path: Path, export: Path
) -> None:
    other = tmp_path / "notes\x1b.txt"
    other.write_text("Nothing.")
    ran = shell("sessions", "import", str(export), str(other))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "notes␛.txt: it holds no chats that tchat knows" in ran.err
    assert "import reads what these write: tchat's JSON, tchat's Markdown, ChatGPT" in ran.err
    with SessionStore(home / "sessions.db") as store:
        assert store.sessions() == []


def test_an_imported_chat_goes_on(shell: Shell, home: Path, export: Path) -> None:
    [first, _] = shell("sessions", "import", str(export)).out.split()
    assert shell("--cid", first, "and then?").code == 0
    (chat,) = shell.chats
    assert chat.settings.model == "starter"  # not ChatGPT's, which is not here
    with SessionStore(home / "sessions.db") as store:
        asked = store.branch(first)[-1].id
        facts = {"model": "own", "sampling": {"seed": 1}}
        store.add(first, Role.ASSISTANT, "Own.", parent_id=asked, **facts)  # type: ignore[arg-type]
    assert shell("--cid", first, "more").code == 0
    assert shell.chats[-1].settings.model == "own"
    with SessionStore(home / "sessions.db") as store:
        texts = [each.text for each in store.branch(first)][:6]
    assert texts == ["ask", "first", "more", "answer", "and then?", "and then?"]
