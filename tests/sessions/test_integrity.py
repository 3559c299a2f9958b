"""A file that tchat did not make, or not like this, is set aside before anything in it runs."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tchat.errors import StorageError
from tchat.sessions import schema
from tchat.sessions.database import DatabaseDamaged
from tchat.sessions.records import Role, ToolCall, ToolOutcome, ToolState
from tchat.sessions.store import SessionStore
from tests.sessions.trees import to_json

pytestmark = pytest.mark.timeout(60)  # nothing endless is run
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
VIEW = f"""
    CREATE VIEW {{name}} AS SELECT CAST(i AS TEXT) AS id, 's' AS session_id, 'user' AS role,
    'x' AS text, 'x' AS title FROM ({ENDLESS})
"""


@pytest.fixture
def file(home: Path) -> Path:
    """A file with two chats."""
    path = home / "sessions.db"
    with SessionStore(path) as store:
        for title in ("first", "second"):
            session, question = store.begin(f"question of {title}", title=title)
            store.add(
                session.id, Role.ASSISTANT, "an answer", parent_id=question.id, usage={"n": 1}
            )
    return path


def harm(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def texts(store: SessionStore) -> list[list[str]]:
    return [[m.text for m in store.branch(each.id)] for each in reversed(store.sessions())]


WHOLE = [["question of first", "an answer"], ["question of second", "an answer"]]
FOREIGN = [
    "CREATE TRIGGER t AFTER UPDATE ON sessions BEGIN DELETE FROM messages; END",
    f"CREATE TRIGGER t AFTER INSERT ON messages WHEN (SELECT max(i) FROM ({ENDLESS})) BEGIN "
    "SELECT 1; END",
    f"CREATE VIEW v AS {ENDLESS}",
    "CREATE TABLE mine (x)",
    "CREATE VIRTUAL TABLE v USING fts5 (text)",
    "CREATE INDEX i ON messages (text)",
    "CREATE UNIQUE INDEX i ON messages (session_id, id)",
    "ALTER TABLE sessions ADD COLUMN more TEXT",
    "DROP INDEX messages_of_session",
    "UPDATE sqlite_master SET sql = replace(sql, 'role IN', 'role NOT IN') WHERE name = 'messages'",
    "UPDATE sqlite_master SET name = 'sqlite_evil' WHERE name = 'messages_of_session'",
    "PRAGMA user_version = -1",
]


@pytest.mark.parametrize("statement", FOREIGN)
def test_a_schema_that_is_not_ours_is_set_aside_and_its_rows_saved(
    file: Path, statement: str
) -> None:
    harm(file, statement)
    with SessionStore(file) as store:
        assert "a new one holds 2 sessions with 4 messages" in store.notices[0]
        assert texts(store) == WHOLE
        store.begin("goes on")
        assert len(store.search("question")) == 2
    assert len(list(file.parent.glob("*.corrupt-*"))) == 1
    with SessionStore(file) as store:
        assert store.notices == []


def test_another_comment_in_the_schema_is_no_damage(file: Path) -> None:
    harm(file, "UPDATE sqlite_master SET sql = replace(sql, '-- JSON', '-- as in writers.py')")
    with SessionStore(file) as store:
        assert store.notices == []
        assert texts(store) == WHOLE


@pytest.mark.parametrize("name", ["sessions", "messages"])
def test_an_endless_view_in_the_place_of_a_table_is_not_read(file: Path, name: str) -> None:
    harm(file, f"ALTER TABLE {name} RENAME TO hidden", VIEW.format(name=name))
    with SessionStore(file) as store:
        assert "was damaged" in store.notices[0]
        assert len(store.sessions()) in (0, 2)
        store.begin("goes on")


def test_a_virtual_table_in_the_place_of_a_table_is_not_read(file: Path) -> None:
    harm(
        file,
        "ALTER TABLE sessions RENAME TO hidden",
        "CREATE VIRTUAL TABLE sessions USING fts5 (id, title)",
    )
    with SessionStore(file) as store:
        assert "was damaged" in store.notices[0]
        assert sorted(each.title for each in store.sessions()) == ["Salvaged", "Salvaged"]


WRONG = [
    "UPDATE messages SET text = x'ff00' WHERE id = 2",
    "UPDATE messages SET text = 5.5, reasoning = x'00' WHERE id = 2",
    "UPDATE messages SET role = 'robot' WHERE id = 2",
    "UPDATE messages SET status = 'dreaming' WHERE id = 2",
    "UPDATE messages SET usage = '[1]' WHERE id = 2",
    "UPDATE messages SET usage = '{' WHERE id = 2",
    "UPDATE messages SET sampling = '3' WHERE id = 2",
    "UPDATE messages SET created_at = 'never' WHERE id = 2",
    "UPDATE messages SET created_at = 1e300 WHERE id = 2",
    "UPDATE messages SET picked_at = -1 WHERE id = 2",
    "UPDATE messages SET pinned = 'yes' WHERE id = 2",
    "UPDATE messages SET rating = x'01' WHERE id = 2",
    "UPDATE messages SET tool_calls = '{}' WHERE id = 2",
    "UPDATE messages SET tool_calls = '[' WHERE id = 2",
    "UPDATE messages SET tool_calls = x'5b5d' WHERE id = 2",
    "UPDATE messages SET tool_outcome = 'done' WHERE id = 2",
    "UPDATE messages SET tool_outcome = '[1]' WHERE id = 2",
    "UPDATE messages SET tool_calls = CAST(x'5b22ff225d' AS TEXT) WHERE id = 2",
    "UPDATE messages SET tool_outcome = CAST(x'7b2261ff223a317d' AS TEXT) WHERE id = 2",
    "UPDATE messages SET parent_id = 2 WHERE id = 1",  # a circle
    "UPDATE messages SET parent_id = 2 WHERE id = 2",
    "UPDATE messages SET parent_id = 'one' WHERE id = 2",
    "UPDATE messages SET parent_id = 999 WHERE id = 4",
    "UPDATE messages SET session_id = 'gone' WHERE id = 4",
    "UPDATE messages SET id = 9223372036854775807, parent_id = NULL WHERE id = 2",
    "UPDATE messages SET id = -1 WHERE id = 2",
    "UPDATE sessions SET settings = '[]' WHERE title = 'first'",
    "UPDATE sessions SET title = x'ff' WHERE title = 'first'",
    "UPDATE sessions SET updated_at = 1e18 WHERE title = 'first'",
    "UPDATE sessions SET active_root = 'x' WHERE title = 'first'",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    "UPDATE sqlite_sequence SET seq = 'many'",
    "UPDATE messages SET text = CAST(x'ff' AS TEXT) WHERE id = 2",
    "UPDATE messages SET reasoning = CAST(x'61eda080' AS TEXT) WHERE id = 2",  # a lone surrogate
    "UPDATE messages SET usage = CAST(x'7b2261ff223a317d' AS TEXT) WHERE id = 2",
    "UPDATE messages SET model = CAST(x'c3' AS TEXT) WHERE id = 2",
    "UPDATE sessions SET title = CAST(x'ff' AS TEXT) WHERE title = 'first'",
    "UPDATE sessions SET settings = CAST(x'7b2261ff223a317d' AS TEXT) WHERE title = 'first'",
    "UPDATE messages SET session_id = (SELECT min(id) FROM sessions)",
    "UPDATE messages SET session_id = (SELECT id FROM sessions WHERE title = 'first') WHERE id = 4",
    "UPDATE messages SET session_id = (SELECT id FROM sessions WHERE title = 'first') WHERE id = 3",
    "UPDATE sessions SET active_root = 3 WHERE title = 'first'",  # of the other session
    "UPDATE sessions SET active_root = 2 WHERE title = 'first'",  # no first message
]


@pytest.mark.parametrize("statement", WRONG)
def test_rows_that_tchat_did_not_write_are_mended_or_left_out(file: Path, statement: str) -> None:
    harm(file, statement)
    with SessionStore(file) as store:
        assert "was damaged" in store.notices[0]
        everything = [
            [store.path_to(m.id) for m in store.tree(each.id).messages] for each in store.sessions()
        ]
        assert 3 <= sum(map(len, everything)) <= 4
        store.search("question")
        branch = next(filter(None, (store.branch(each.id) for each in store.sessions())))
        store.delete_message(branch[0].id)
        for each in store.sessions():
            store.delete(each.id)
        store.begin("goes on")
    with SessionStore(file) as store:
        assert store.notices == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET text = CAST(x'6162ff' AS TEXT) WHERE id = 2",
        "UPDATE sessions SET title = CAST(x'6162ff' AS TEXT) WHERE title = 'first'",
    ],
)
def test_of_text_that_is_not_utf8_what_can_be_read_is_kept(file: Path, statement: str) -> None:
    harm(file, statement)
    with SessionStore(file) as store:
        assert "a new one holds 2 sessions with 4 messages" in store.notices[0]
        found = [each.title for each in store.sessions()]
        for branch in texts(store):
            found += branch
        assert [text for text in found if text.startswith("ab")] == ["ab\ufffd"]


def test_text_that_stops_being_utf8_while_it_is_used_is_damage(file: Path) -> None:
    with SessionStore(file) as store:
        session = store.sessions()[0]
        harm(file, "UPDATE messages SET text = CAST(x'ff' AS TEXT)")
        with pytest.raises(DatabaseDamaged, match="damaged"):
            store.branch(session.id)
    with SessionStore(file) as store:
        assert "was damaged" in store.notices[0]


def test_numbers_alone_are_read_where_numbers_belong(file: Path) -> None:
    """SQL does not look into JSON; what is in it must not break a sum."""
    harm(file, """UPDATE messages SET usage = '{"n": [1], "completion": 3}' WHERE id = 2""")
    with SessionStore(file) as store:
        assert store.notices == []
        assert store.message(2).usage == {"completion": 3}


@pytest.mark.parametrize(
    ("calls", "outcome"),
    [
        ('[1, null, {}, [], {"name": 3}]', "{}"),
        ('[{"id": "c"}]', '{"state": [1]}'),
        ('["x"]', '{"state": "asleep", "name": "x"}'),
        (f"[{'[' * 900}{']' * 900}]", f'{{"state": {"[" * 900}{"]" * 900}}}'),
    ],
)
def test_calls_and_outcomes_that_make_no_sense_cost_no_more_than_themselves(
    file: Path, calls: str, outcome: str
) -> None:
    harm(file, f"UPDATE messages SET tool_calls = '{calls}', tool_outcome = '{outcome}'")
    with SessionStore(file) as store:
        assert store.notices == []
        assert texts(store) == WHOLE
        assert (store.message(2).tool_calls, store.message(2).tool_outcome) == ((), None)
        trees = [store.tree(each.id) for each in store.sessions()]
        assert len(json.loads(to_json(trees))["sessions"]) == 2


def test_of_a_call_what_makes_sense_is_kept(file: Path) -> None:
    huge = "9" * 5000
    harm(
        file,
        f"""UPDATE messages SET tool_calls = '[5, {{"name": "look", "arguments":
        {{"n": {huge}, "path": "a"}}}}, {{"id": 7, "name": "list", "arguments": [1]}}]'""",
        """UPDATE messages SET tool_outcome = '{"state": "failed", "name": 5, "seconds": -1}'""",
    )
    with SessionStore(file) as store:
        assert store.notices == []
        message = store.message(2)
        assert message.tool_calls == (
            ToolCall(id="", name="look", arguments={"path": "a"}),
            ToolCall(id="", name="list", arguments={}),
        )
        assert message.tool_outcome == ToolOutcome(call_id="", name="", state=ToolState.FAILED)


@pytest.mark.parametrize("junk", ["9" * 5000, "[" * 900 + "]" * 900], ids=["digits", "depth"])
def test_json_that_python_cannot_read_costs_no_more_than_itself(file: Path, junk: str) -> None:
    value = f"""'{{"x": {junk}, "n": 3}}'"""
    harm(
        file,
        f"UPDATE messages SET usage = {value}, timings = {value}, sampling = {value}",
        f"UPDATE sessions SET settings = {value}",
    )
    with SessionStore(file) as store:
        assert store.notices == []
        assert [each.settings["n"] for each in store.sessions()] == [3, 3]
        message = store.message(2)
        assert (message.usage, message.timings, message.sampling["n"]) == ({"n": 3}, {"n": 3}, 3)
        trees = [store.tree(each.id) for each in store.sessions()]
        assert len(json.loads(to_json(trees))["sessions"]) == 2


@pytest.mark.parametrize("number", ["9e999", "1e300", "9" * 400])
def test_numbers_of_no_measurement_are_left_out(file: Path, number: str) -> None:
    harm(file, f"""UPDATE messages SET usage = '{{"n": {number}, "completion": 3}}'""")
    with SessionStore(file) as store:
        assert store.message(2).usage == {"completion": 3}


def nested(levels: int) -> list[object]:
    made: list[object] = []
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"temp": math.nan, "seed": 5}, {"seed": 5}),
        ({"temp": math.inf, "seed": 5}, {"seed": 5}),
        ({"a": [1.5, -math.inf, {"b": math.nan, "c": 2}]}, {"a": [1.5, {"c": 2}]}),
        ({"a": nested(150), "seed": 5}, {"a": nested(150), "seed": 5}),
        ({"a": nested(900), "seed": 5}, None),
        ({"a": nested(5000), "seed": 5}, None),
        ({"a": 10**5000, "b": [10**5000, 1], "seed": 5}, {"b": [1], "seed": 5}),
    ],
)
def test_what_json_cannot_hold_is_left_out_and_damages_nothing(
    home: Path, values: dict[str, object], kept: dict[str, object] | None
) -> None:
    path = home / "sessions.db"
    with SessionStore(path) as store:
        session, question = store.begin("a question", settings=values)
        reply = store.add(
            session.id, Role.ASSISTANT, "a", parent_id=question.id, sampling=values, usage={"n": 1}
        )
        store.record_scores({reply.id: {"taste": math.nan, "likelihood": -1.5}})
    harm(path, "UPDATE messages SET pinned = pinned")  # so that every row is looked at
    with SessionStore(path) as store:
        assert store.notices == []
        found, message = store.get(session.id), store.message(reply.id)
        assert message.scores == {"likelihood": -1.5}
        if kept is not None:
            assert found.settings == message.sampling == kept
        assert found.settings.get("seed") == message.sampling.get("seed") == values.get("seed")
        assert json.loads(to_json([store.tree(session.id)]))["sessions"]


def test_rows_are_looked_at_when_something_else_wrote_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    check = schema.check

    def noted(database: object, *, rows: bool, pages: bool) -> None:
        looked.append(rows)
        check(database, rows=rows)  # type: ignore[arg-type]

    monkeypatch.setattr(schema, "check", noted)
    SessionStore(file).close()
    with SessionStore(file) as store:
        store.begin("more")
    SessionStore(file).close()
    harm(file, "UPDATE messages SET pinned = 1 WHERE id = 1")
    SessionStore(file).close()
    SessionStore(file).close()
    assert looked == [False, False, False, True, False]


def test_what_analyze_leaves_is_no_damage(file: Path) -> None:
    harm(file, "ANALYZE")
    with SessionStore(file) as store:
        assert store.notices == []


def test_another_programs_file_is_left_alone_and_nothing_in_it_runs(home: Path) -> None:
    home.mkdir()
    path = home / "sessions.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(VIEW.format(name="messages"))
    with pytest.raises(StorageError, match="another program"):
        SessionStore(path)
