"""The databases of `llm` and oterm: read as they are, and never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.sessions.importers import ImportReport
from tchat.sessions.importers.files import ImportFile, read_file
from tests.sessions.importers.imports import Imports

RESPONSES = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE responses (
    id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
    options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT,
    duration_ms INTEGER, datetime_utc TEXT
);
INSERT INTO conversations VALUES ('c1', 'Rivers', 'gpt');
INSERT INTO responses (id, model, prompt, system, response, conversation_id, datetime_utc) VALUES
    ('r2', 'gpt', 'And wide?', NULL, 'Very.', 'c1', '2025-01-01T10:01:00+00:00'),
    ('r1', 'gpt', 'Long?', 'Be brief.', 'Yes.', 'c1', '2025-01-01T10:00:00+00:00');
"""
FRAGMENTS = """
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, source TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE system_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
ALTER TABLE responses ADD COLUMN reasoning TEXT;
ALTER TABLE responses ADD COLUMN resolved_model TEXT;
INSERT INTO fragments VALUES (1, 'h', 'A map.', NULL);
INSERT INTO prompt_fragments VALUES ('r1', 1, 0);
INSERT INTO prompt_attachments VALUES ('r1', 'x', 0), ('r1', 'y', 1);
UPDATE responses SET reasoning = 'water', resolved_model = 'gpt-x' WHERE id = 'r1';
"""
THREADS = """
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT,
    text TEXT, payload TEXT
);
CREATE TABLE threads (
    id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT
);
CREATE TABLE turns (
    id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT,
    model TEXT, resolved_model TEXT, datetime_utc TEXT
);
INSERT INTO messages VALUES
    ('s', NULL, 'system', NULL), ('a', 's', 'user', NULL), ('b', 'a', 'assistant', NULL),
    ('c', 'b', 'tool', NULL), ('d', 'c', 'assistant', NULL), ('e', 'a', 'assistant', NULL);
INSERT INTO parts (message_hash, position, type, tool_name, text, payload) VALUES
    ('s', 0, 'text', NULL, 'Be brief.', NULL),
    ('a', 0, 'text', NULL, NULL, '{"text_ref": [{"fragment": 1}, {"literal": " Sum?"}]}'),
    ('a', 1, 'attachment', NULL, NULL, '{"attachment": {"id": "x"}}'),
    ('b', 0, 'reasoning', NULL, 'add', NULL),
    ('b', 1, 'tool_call', 'add', NULL, '{"name": "add", "arguments": {"a": 1}}'),
    ('c', 0, 'tool_result', 'add', NULL, '{"name": "add", "output": "3"}'),
    ('d', 0, 'text', NULL, 'Three.', NULL),
    ('e', 0, 'text', NULL, 'No idea.', NULL);
INSERT INTO threads VALUES
    ('t1', 'Sums', 'd', NULL, '2026-01-01T00:00:00+00:00'),
    ('t2', 'Sums again', 'e', 't1', '2026-01-02T00:00:00+00:00');
INSERT INTO turns VALUES
    ('1', 't1', 'a', 'b', 'm', NULL, '2026-01-01T00:00:01+00:00'),
    ('2', 't1', 'c', 'd', 'm', 'm-1', '2026-01-01T00:00:02+00:00'),
    ('3', 't2', 'a', 'e', 'n', NULL, '2026-01-02T00:00:03+00:00');
"""
OTERM = """
CREATE TABLE "chat" (
    "id" INTEGER, "name" TEXT, "model" TEXT NOT NULL, "system" TEXT, "parameters" TEXT,
    PRIMARY KEY("id" AUTOINCREMENT)
);
CREATE TABLE "message" (
    "id" INTEGER, "chat_id" INTEGER NOT NULL, "author" TEXT NOT NULL, "text" TEXT NOT NULL,
    "images" TEXT DEFAULT "[]", PRIMARY KEY("id" AUTOINCREMENT)
);
INSERT INTO chat VALUES (1, 'Cats', 'llama3', 'Purr.', '{}'), (2, NULL, 'x', NULL, NULL);
INSERT INTO message VALUES
    (1, 1, 'user', 'Meow?', '["AAAA"]'), (2, 1, 'assistant', 'Meow.', '[]');
"""


def database(path: Path, *scripts: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for script in scripts:
            connection.executescript(script)
        connection.commit()
    return path


@pytest.mark.parametrize("scripts", [(RESPONSES,), (RESPONSES, FRAGMENTS)])
def test_llm_with_responses(imports: Imports, tmp_path: Path, scripts: Iterable[str]) -> None:
    path = database(tmp_path / "logs.db", *scripts)
    before = path.read_bytes()
    session = imports.one(path)
    asked = "A map.\nLong?" if FRAGMENTS in scripts else "Long?"
    assert imports.branch(session) == [
        f"user: {asked}",
        "assistant: Yes.",
        "user: And wide?",
        "assistant: Very.",
    ]
    assert (session.title, session.system) == ("Rivers", "Be brief.")
    reply = imports.store.branch(session.id)[1]
    assert reply.created_at == session.created_at == 1_735_725_600
    if FRAGMENTS in scripts:
        assert (reply.model, reply.reasoning) == ("gpt-x", "water")
        assert imports.said() == "left out: 2 attached files"
    assert imports(path)[0].added == 0
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["logs.db"]


def test_llm_with_threads(imports: Imports, tmp_path: Path) -> None:
    path = database(tmp_path / "logs.db", RESPONSES, FRAGMENTS, THREADS)
    threads, responses = imports(path)
    assert responses.session.title == "Rivers"
    assert imports.tree(threads.session) == [
        "*user: A map. Sum?",
        ' assistant:  [add {"a": 1}]',
        "  *tool add: 3",
        "   *assistant: Three.",
        " *assistant: No idea.",
    ]
    assert (threads.session.title, threads.session.system) == ("Sums", "Be brief.")
    asked, no_idea = imports.store.siblings(imports.store.branch(threads.session.id)[1].id)
    assert (asked.model, no_idea.model) == ("m", "n")
    assert asked.reasoning == "add"
    assert asked.created_at == 1_767_225_601
    assert [each.added for each in imports(path)] == [0, 0]


def test_a_conversation_that_went_on_as_a_thread_is_there_once(
    imports: Imports, tmp_path: Path
) -> None:
    renamed = "UPDATE threads SET id = 'c1' WHERE id = 't1'; UPDATE threads SET forked_from = 'c1' "
    path = database(
        tmp_path / "logs.db",
        RESPONSES,
        FRAGMENTS,
        THREADS,
        f"{renamed}WHERE id = 't2'; UPDATE turns SET thread_id = 'c1' WHERE thread_id = 't1'",
    )
    assert imports.one(path).title == "Sums"


def test_a_chain_of_hashes_that_is_a_circle_ends(imports: Imports, tmp_path: Path) -> None:
    around = "UPDATE messages SET parent_hash = 'd' WHERE hash = 's'"
    path = database(tmp_path / "logs.db", FRAGMENTS.partition("ALTER")[0], THREADS, around)
    texts = {each.text for each in imports.store.tree(imports.one(path).id).messages}
    assert {"Three.", "No idea."} <= texts


def test_oterm(imports: Imports, tmp_path: Path) -> None:
    path = database(tmp_path / "store.db", OTERM)
    session = imports.one(path)
    assert imports.branch(session) == ["user: Meow?", "assistant: Meow."]
    assert (session.title, session.system) == ("Cats", "Purr.")
    assert imports.store.branch(session.id)[1].model == "llama3"
    assert imports.said() == "left out: 1 image, 1 empty chat"
    database(path, "INSERT INTO message VALUES (3, 1, 'user', 'More?', '[]')")
    database(path, "UPDATE message SET images = '[]'; DELETE FROM chat WHERE id = 2")
    (later,) = imports(path)
    assert imports.said() == ""
    assert (later.added, later.session.id) == (1, session.id)


def test_what_is_still_in_the_log_is_read_and_left_there(imports: Imports, tmp_path: Path) -> None:
    path = database(tmp_path / "store.db", OTERM)
    with closing(sqlite3.connect(path)) as program:
        program.execute("PRAGMA journal_mode = WAL")
        program.execute("INSERT INTO message VALUES (3, 1, 'user', 'New?', '[]')")
        program.commit()
        log = path.with_name("store.db-wal")
        before = path.read_bytes(), log.read_bytes()
        session = imports.one(path)
        assert imports.branch(session)[-1] == "user: New?"
        assert (path.read_bytes(), log.read_bytes()) == before
        link = tmp_path / "elsewhere" / "link.db"
        link.parent.mkdir()
        link.symlink_to(path)
        program.execute("INSERT INTO message VALUES (4, 1, 'user', 'Newer?', '[]')")
        program.commit()
        assert [each.added for each in imports(link)] == [1]


def test_a_database_that_is_written_meanwhile_is_refused(imports: Imports, tmp_path: Path) -> None:
    path = database(tmp_path / "store.db", OTERM)
    with path.open("rb") as file:
        sessions = read_file(ImportFile(path.name, file, path), ImportReport())
        next(sessions)
        database(path, "INSERT INTO message VALUES (3, 1, 'user', 'New?', '[]')")
        with pytest.raises(UsageError, match="writes to it meanwhile"):
            list(sessions)


HOSTILE = """
CREATE VIEW message AS
    WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
    SELECT id, 1 AS chat_id, 'user' AS author, 'x' AS text FROM n;
CREATE TABLE chat (id INTEGER, name TEXT, model TEXT);
INSERT INTO chat VALUES (1, 'x', 'x');
"""


def test_a_view_is_no_table(imports: Imports, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"store\.db: it holds no chats"):
        imports(database(tmp_path / "store.db", HOSTILE))


def test_other_databases_and_damaged_ones_are_refused(imports: Imports, tmp_path: Path) -> None:
    other = database(tmp_path / "other.db", "CREATE TABLE t (x)")
    with pytest.raises(UsageError, match="holds no chats") as caught:
        imports(other)
    assert "oterm" in caught.value.hint
    path = database(tmp_path / "store.db", OTERM)
    path.write_bytes(path.read_bytes()[:5000] + b"\xff" * 3000)
    with pytest.raises(UsageError, match="the database cannot be read"):
        imports(path)
    assert imports.store.sessions() == []
    with pytest.raises(UsageError, match="not read from a pipe"):
        imports(other.read_bytes())
