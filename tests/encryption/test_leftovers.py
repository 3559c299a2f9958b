"""Nothing in clear is left behind by an encrypted store, whatever a file looks like."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tchat import encrypted_sqlite
from tchat.chat.store_conversion import turn_off, turn_on
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError
from tchat.paths import Paths, user_paths
from tchat.privacy.stored_data import find_data, other_entries
from tchat.privacy.wipe import wipe
from tchat.sessions.database import KEY_NAME
from tchat.tools.undo_history import PURPOSE as UNDO
from tests.encryption.converting import (
    WORD,
    beside,
    check_clear,
    check_encrypted,
    fill,
    finish,
    readable,
)
from tests.encryption.locks import make_lock


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir(mode=0o700)
    return user_paths()


def damaged_head(sound: bytes) -> bytes:
    return os.urandom(16) + sound[16:]


@pytest.mark.parametrize("ending", [".backup-v6", ".backup-v6-journal", ".backup-v6-wal"])
@pytest.mark.parametrize("head", [b"", b"tchat encrypted\n", b"tchatENC1\n", b"tchat1:"])
def test_copies_are_encrypted_whatever_they_begin_with(
    paths: Paths, ending: str, head: bytes
) -> None:
    content = fill(paths)
    copy = beside(paths, ending)
    text = (head or os.urandom(16)) + paths.sessions_db.read_bytes()[16:]
    copy.write_bytes(text)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    check_encrypted(paths, encryption, content)
    finish(turn_off, paths, encryption)
    check_clear(paths, content)
    assert copy.read_bytes() == text


def test_lines_and_files_that_look_encrypted_are_encrypted(paths: Paths) -> None:
    content = fill(paths)
    line = f"tchat1:{WORD} from a server\n"
    paths.log.append(f"\n{line}")
    undo = paths.tool_undo / "0123456789abcdef.before"
    undo.write_bytes(f"tchatENC1\n{WORD}".encode() * 99)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    assert not readable(paths)
    assert line in "".join(user_paths().log.pieces()) or paths.log_file.stat().st_size
    finish(turn_off, paths, encryption)
    assert line in paths.log_file.read_text()
    assert undo.read_bytes() == f"tchatENC1\n{WORD}".encode() * 99
    undo.unlink()
    assert content


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_journals_in_clear_are_overwritten(paths: Paths, tmp_path: Path, mode: str) -> None:
    fill(paths)
    journal = beside(paths, "-wal" if mode == "wal" else "-journal")
    with closing(sqlite3.connect(paths.sessions_db, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE messages SET text = text || '!'")
        if mode == "wal":
            connection.execute("COMMIT")
        for path in (paths.sessions_db, journal):
            shutil.copyfile(path, tmp_path / path.name)
    for path in (paths.sessions_db, journal):
        shutil.copyfile(tmp_path / path.name, path)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    with journal.open("rb") as before:
        assert WORD.encode() in before.read()
        before.seek(0)
        finish(turn_on, paths, encryption)
        assert WORD.encode() not in before.read()
    assert not journal.exists()
    assert not readable(paths)


KILLED = """
import os, signal, sys
from pathlib import Path
from tchat.chat.store_conversion import turn_off, turn_on
from tchat.encryption.lock_file import EncryptionState
from tchat.paths import user_paths
from tests.encryption.converting import fill, finish
from tests.encryption.locks import make_lock

paths = user_paths()
fill(paths)
encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
if sys.argv[2] == "off":
    finish(turn_on, paths, encryption)

def die(event, arguments):
    if event == "os.rename" and str(arguments[0]).endswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die)
finish(turn_on if sys.argv[2] == "on" else turn_off, paths, encryption)
"""


@pytest.mark.parametrize("direction", ["on", "off"])
@pytest.mark.parametrize("name", ["sessions.db", "sessions.db.backup-v5", "history.jsonl"])
def test_a_wipe_removes_what_a_killed_conversion_left(
    paths: Paths, name: str, direction: str
) -> None:
    (paths.config / ".letter.converting").write_text("mine")
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, f".{name}.converting", direction],
        check=False,
        timeout=100,
    )
    assert ran.returncode == -9
    left = {path.name for path in paths.config.glob(f".{name}.*")}
    assert f".{name}.converting" in left
    assert left <= {each.name for data in find_data(paths) for each in data.paths}
    assert other_entries(paths) == [paths.config / ".letter.converting"]
    wipe(user_paths())
    assert not readable(paths)
    assert [path.name for path in paths.config.iterdir()] == [".letter.converting"]


def test_leftovers_of_other_programs_are_left_alone(paths: Paths) -> None:
    content = fill(paths)
    foreign = [paths.config / name for name in (".letter.1.part", ".mine.converted")]
    foreign.append(paths.cache / ".other.converting")
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    own = [paths.config / ".history.9.part", paths.judge / "tiny" / ".human.npz.converted"]
    for path in own:
        path.write_text(WORD)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    finish(turn_off, paths, encryption)
    assert [path.read_text() for path in foreign] == ["mine"] * 3
    assert not any(path.exists() for path in own)
    assert content


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_copy_of_a_damaged_database_is_readable_with_its_journal(
    paths: Paths, tmp_path: Path, mode: str
) -> None:
    content = fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    key = encryption.keys().database_key(KEY_NAME)
    copy = beside(paths, ".corrupt-20260103-000000")
    suffix = "-wal" if mode == "wal" else "-journal"
    with closing(encrypted_sqlite.connect(tmp_path / "db", key, isolation_level=None)) as source:
        source.execute(f"PRAGMA journal_mode = {mode}")
        source.execute("CREATE TABLE words (text)")
        source.executemany("INSERT INTO words VALUES (?)", [(WORD + "x" * 3000,)] * 40)
        if mode == "wal":
            source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.execute("PRAGMA cache_size = 1")
        source.execute("BEGIN")
        source.execute("UPDATE words SET text = 'later ' || text")
        if mode == "wal":
            source.execute("COMMIT")
        for ending in ("", suffix):
            shutil.copyfile(tmp_path / f"db{ending}", f"{copy}{ending}")
    assert not readable(paths)
    finish(turn_off, paths, encryption)
    check_clear(paths, content)
    with closing(sqlite3.connect(copy)) as connection:
        rows = connection.execute("SELECT text FROM words").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    begin = "later " if mode == "wal" else ""
    assert rows == [(f"{begin}{WORD}{'x' * 3000}",)] * 40


def test_a_file_is_refused_under_the_name_of_another(tmp_path: Path) -> None:
    encryption = make_lock(user_paths())
    first, second = (
        StoredFile(tmp_path / name, encryption, UNDO) for name in ("1.before", "2.before")
    )
    first.write(b"one")
    second.write(b"two")
    first.path.rename(tmp_path / "3")
    second.path.rename(first.path)
    (tmp_path / "3").rename(second.path)
    for stored in (first, second):
        with pytest.raises(StorageError, match="is damaged"):
            stored.read()


def test_a_file_of_an_older_version_is_read_and_converted(paths: Paths) -> None:
    content = fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    saved = next(paths.tool_undo.glob("*.before"))
    text = StoredFile(saved, encryption, UNDO).read()
    saved.write_bytes(b"".join(encryption.keys().files().encrypt(text, UNDO)))
    assert StoredFile(saved, encryption, UNDO).read() == text
    finish(turn_off, paths, encryption)
    check_clear(paths, content)
