"""A damaged or crafted cache folder: nothing else is read or deleted, and chats go on."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tchat.engine.snapshots.store import HEADER_SIZE, SnapshotStore
from tchat.paths import Paths
from tchat.settings import Sampling
from tests.engine.conftest import finished
from tests.engine.snapshots.conftest import LONG, OpenSaved

GREEDY = Sampling(temp=0, max_tokens=4)
HUGE = (1 << 63) - 1
Harm = Callable[[Path], None]


@pytest.fixture
def victim(paths: Paths, tmp_path: Path) -> Iterator[Path]:
    """A file of the user's outside of the cache."""
    path = tmp_path / "victim.kv"
    path.write_bytes(b"mine")
    yield path
    assert path.read_bytes() == b"mine"


def sql(*statements: str) -> Harm:
    """Change the index behind tchat's back."""

    def harm(folder: Path) -> None:
        connection = sqlite3.connect(folder / "index.db", isolation_level=None)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return harm


def segment(**values: str) -> Harm:
    """One value or more of all segments, as SQL."""
    return sql(f"UPDATE segments SET {', '.join(f'{k} = {v}' for k, v in values.items())}")


def schema(change: str) -> Harm:
    """Change how the schema is written, not what it does."""
    return sql(
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = {change} WHERE name = 'segments'",
    )


def written(name: str, content: bytes) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return harm


def cut(share: float) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / "index.db"
        os.truncate(path, int(path.stat().st_size * share))

    return harm


def torn(folder: Path) -> None:
    """Overwrite each page but the first with noise."""
    path = folder / "index.db"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(range(256)) * (len(data[4096:]) // 256))


def replaced(make: Callable[[Path], object]) -> Harm:
    """Something else in the place of the index."""

    def harm(folder: Path) -> None:
        (folder / "index.db").unlink()
        make(folder / "index.db")

    return harm


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


ENDLESS = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i, 'x' FROM n"
HARMS: dict[str, Harm] = {
    "absolute name": segment(file="'/etc/hostname'"),
    "name that leads out": segment(file="'../../victim.kv'"),
    "name in a folder": segment(file="'x/0123456789abcdef.kv'"),
    "empty name": segment(file="''"),
    "name with a zero": segment(file="'0123456789abcdef.kv' || char(0)"),
    "name as a blob": segment(file="x'00ff'"),
    "name that is no text": segment(file="CAST(x'ff30' AS TEXT)"),
    "own parent": segment(parent="id"),
    "chain without end": sql(
        "INSERT INTO segments SELECT NULL, model, id, stop, stop + 1, x'01000000', "
        "lead, file, size, used FROM segments WHERE id = 2",
        *[
            f"INSERT INTO segments SELECT id + {1 << n}, model, id + {(1 << n) - 1}, "
            f"start + {1 << n}, stop + {1 << n}, tokens, lead, file, size, used "
            "FROM segments WHERE id > 2"
            for n in range(18)
        ],
    ),
    "circle of parents": sql(
        "UPDATE segments SET parent = (SELECT max(id) FROM segments), start = 1 WHERE id = 1"
    ),
    "missing parent": segment(parent="id + 1000", start="1"),
    "huge size": segment(size=str(HUGE)),
    "large size": segment(size="1 << 40"),
    "size of nothing": segment(size="0"),
    "negative size": segment(size="-1"),
    "size as text": segment(size="'many'"),
    "size as a fraction": segment(size="1.5"),
    "negative start": segment(start="-5"),
    "start as text": segment(start="'x'"),
    "stop before start": segment(stop="start"),
    "huge stop": segment(stop=str(HUGE)),
    "no tokens": segment(tokens="x''"),
    "half a token": segment(tokens="x'0102'"),
    "tokens as text": segment(tokens="'abc'"),
    "unknown tokens": segment(
        tokens="CAST(replace(hex(zeroblob(2 * (stop - start))), '0', char(127)) AS BLOB)"
    ),
    "used in no time": segment(used="'now'"),
    "used at the end of days": segment(used="9e999"),
    "model as text": segment(model="'x'"),
    "lead as text": segment(lead="'x'"),
    "id at the end": sql(f"UPDATE segments SET id = {HUGE} WHERE start > 0"),
    "no ids left": sql(f"UPDATE sqlite_sequence SET seq = {HUGE}"),
    "sequence as text": sql("UPDATE sqlite_sequence SET seq = 'x'"),
    "verdict as text": sql("UPDATE models SET exact = 'x'"),
    "speed as text": sql("UPDATE models SET reading = 'fast'"),
    "speed without end": sql("UPDATE models SET reading = 9e999"),
    "negative speed": sql("UPDATE models SET reading = -5.0"),
    "time of a verdict as text": sql("UPDATE models SET checked = 'x'"),
    "reason as a blob": sql("UPDATE models SET reason = x'ff'"),
    "name of a model as a number": sql("UPDATE models SET name = x'00'"),
    "session as a blob": sql("UPDATE holders SET session = x'ff'"),
    "long session": sql("UPDATE holders SET session = printf('%.200000c', 'x')"),
    "counts as text": sql("INSERT INTO counts VALUES ('restored', 'x')"),
    "huge count": sql(f"INSERT INTO counts VALUES ('restored', {HUGE})"),
    "trigger": sql("CREATE TRIGGER t AFTER INSERT ON segments BEGIN DELETE FROM segments; END"),
    "endless view": sql(
        "ALTER TABLE holders RENAME TO h", f"CREATE VIEW holders (segment, session) AS {ENDLESS}"
    ),
    "more columns": sql("ALTER TABLE segments ADD COLUMN x"),
    "missing column": sql("ALTER TABLE segments DROP COLUMN used"),
    "missing table": sql("DROP TABLE holders"),
    "missing index": sql("DROP INDEX segments_by_lead"),
    "no tables": sql(*(f"DROP TABLE {t}" for t in ("holders", "segments", "models", "counts"))),
    "unreadable schema": schema("'CREATE TABLE nonsense'"),
    "other schema": schema("replace(sql, 'BLOB', 'TEXT')"),
    "newer version": sql("PRAGMA user_version = 99"),
    "no version": sql("PRAGMA user_version = 0"),
    "other database": replaced(foreign_database),
    "empty": written("index.db", b""),
    "garbage": written("index.db", b"\xff" * 5000),
    "foreign journal": written(
        "index.db-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\x01" * 900
    ),
    "foreign log": written("index.db-wal", b"\x37\x7f\x06\x82" + b"\x01" * 900),
    "half": cut(0.5),
    "a tenth": cut(0.1),
    "torn": torn,
    "link to nothing": replaced(lambda path: path.symlink_to("nowhere")),
    "pipe": replaced(os.mkfifo),
    "folder": replaced(lambda path: path.mkdir()),
}


def saved(open_saved: OpenSaved, model: Path) -> str:
    """A chat in a few segments; returns its reply."""
    engine = open_saved(model)
    text = finished(engine.generate(LONG, GREEDY)).text
    assert engine.save() > 0
    engine.close()
    return text


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_an_index_that_tchat_did_not_write_is_replaced(
    open_saved: OpenSaved, tiny_model: Path, paths: Paths, victim: Path, harm: Harm
) -> None:
    expected = saved(open_saved, tiny_model)
    shutil.copy(victim, paths.cache / "victim.kv")
    harm(paths.snapshots)
    engine = open_saved(tiny_model)
    assert finished(engine.generate(LONG, GREEDY)).text == expected
    engine.save()
    engine.close()
    again = open_saved(tiny_model)
    assert finished(again.generate(LONG, GREEDY)).text == expected
    again.close()
    store = SnapshotStore(paths.snapshots, paths.snapshot_key)
    try:
        store.sessions()
        store.index.models()
        assert all(count >= 0 for count in store.counts().values())
        if not (paths.snapshots / "index.db").is_dir():
            store.sweep(lambda _: False)
            assert store.size() == 0
            assert not list(paths.snapshots.glob("*.kv"))
    finally:
        store.close()
    assert (paths.cache / "victim.kv").read_bytes() == b"mine"


def test_a_link_to_another_database_is_not_followed(
    open_saved: OpenSaved, tiny_model: Path, paths: Paths, tmp_path: Path
) -> None:
    expected = saved(open_saved, tiny_model)
    other = tmp_path / "other.db"
    foreign_database(other)
    before = other.read_bytes()
    (paths.snapshots / "index.db").unlink()
    (paths.snapshots / "index.db").symlink_to(other)
    assert saved(open_saved, tiny_model) == expected
    assert not (paths.snapshots / "index.db").is_symlink()
    assert other.read_bytes() == before


def test_a_size_that_fits_a_sparse_file_takes_no_memory(
    open_saved: OpenSaved, tiny_model: Path, paths: Paths, store: SnapshotStore
) -> None:
    """Both may be crafted; what is written with the user's key says its size too."""
    expected = saved(open_saved, tiny_model)
    size = 1 << 36
    sql(f"UPDATE segments SET size = {size} WHERE start = 0")(paths.snapshots)
    for path in paths.snapshots.glob("*.kv"):
        os.truncate(path, HEADER_SIZE + size)
    engine = open_saved(tiny_model, limit=1 << 40)
    assert finished(engine.generate(LONG, GREEDY)).text == expected
    assert store.counts()["refused"] >= 1


def test_foreign_files_in_the_folder_are_left_alone(
    open_saved: OpenSaved, tiny_model: Path, paths: Paths, store: SnapshotStore, victim: Path
) -> None:
    saved(open_saved, tiny_model)
    notes, link = paths.snapshots / "notes.kv", paths.snapshots / f"{'0' * 16}.kv"
    part = paths.snapshots / f"{'1' * 16}.part"
    notes.write_bytes(b"mine")
    link.symlink_to(victim)
    part.symlink_to(victim)
    os.utime(victim, (0, 0))
    (paths.snapshots / f"{'2' * 16}.kv").mkdir()
    store.tidy()
    assert notes.read_bytes() == b"mine"
    assert not link.is_symlink()
    assert part.is_symlink()  # a link made just now may be a file under way
    os.utime(part, (0, 0), follow_symlinks=False)
    store.tidy()
    assert not part.is_symlink()


def test_an_index_in_memory_deletes_no_files(
    open_saved: OpenSaved, tiny_model: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds it: to this one, all files seem to be nobody's."""
    saved(open_saved, tiny_model)
    before = sorted(paths.snapshots.glob("*.kv"))
    monkeypatch.setattr("tchat.sqlite_cache.BUSY_TIMEOUT", 0.05)
    blocker = sqlite3.connect(paths.snapshots / "index.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    engine = open_saved(tiny_model, session="two")
    finished(engine.generate(LONG, GREEDY))
    assert engine.save() == 0
    engine.close()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert sorted(paths.snapshots.glob("*.kv")) == before
