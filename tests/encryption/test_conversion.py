"""Turning the encryption of a whole store on and off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tchat.chat.store_conversion import kinds_of, require_convertible, turn_off, turn_on
from tchat.encrypted_sqlite import OtherKey
from tchat.encryption import conversion
from tchat.encryption.file_cipher import is_encrypted
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.replacing import erase_file, remove_leftovers, replace_file
from tchat.encryption.stored_kinds import HEADS
from tchat.errors import ExitCode, StorageError
from tchat.paths import Paths, user_paths
from tchat.sessions.store import SessionStore
from tchat.tools import undo_history
from tests.cli.locked_store import script
from tests.encryption.converting import (
    WORD,
    check_clear,
    check_encrypted,
    content_of,
    fill,
    finish,
    readable,
)
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.sessions.stores import new_session

LONG_KILLS, SHORT_KILLS = 300, 6


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir(mode=0o700)
    return user_paths()


def test_on_and_off_and_on_again(paths: Paths) -> None:
    content = fill(paths)
    assert readable(paths)
    for _ in range(2):
        encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
        finish(turn_on, paths, encryption)
        check_encrypted(paths, encryption, content)
        finish(turn_on, paths, encryption)  # changes nothing
        check_encrypted(paths, encryption, content)
        finish(turn_off, paths, encryption)
        check_clear(paths, content)


def test_a_copy_of_a_damaged_encrypted_database_is_readable_in_the_end(paths: Paths) -> None:
    content = fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    with paths.sessions_db.open("r+b") as raw:
        raw.seek(20 * 4096 + 9)
        raw.write(b"\0" * 9)
    finish(turn_off, paths, encryption)
    with SessionStore(paths.sessions_db) as store:
        assert store.notices == []
        assert sum(each.messages for each in store.sessions()) > 0.9 * len(content)
    newest = max(paths.config.glob("*.corrupt-*"), key=lambda path: path.stat().st_mtime)
    assert WORD.encode() in newest.read_bytes()


@pytest.mark.parametrize("end", [-4096, -10_000, 5000, 100, 1])
def test_a_cut_off_database_is_decrypted(paths: Paths, end: int) -> None:
    content = fill(paths)
    finish(turn_on, paths, make_lock(paths, state=EncryptionState.TURNING_ON))
    paths.sessions_db.write_bytes(paths.sessions_db.read_bytes()[:end])
    encryption = user_paths().encryption
    assert encryption is not None
    encryption.unlock(PASSPHRASE)
    finish(turn_off, paths, encryption)
    assert not paths.lock_file.exists()
    with SessionStore(paths.sessions_db) as store:
        assert content_of(store).items() <= content.items()
        assert len(content_of(store)) > (0.9 * len(content) if end < 0 else -1)


def test_a_database_of_another_key_is_kept_aside(paths: Paths, tmp_path: Path) -> None:
    fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    foreign = tmp_path / "other" / "sessions.db"
    with SessionStore(foreign, make_lock(Paths(foreign.parent, tmp_path))) as store:
        new_session(store)
    paths.sessions_db.write_bytes(foreign.read_bytes())
    *_, last = turn_off(paths, encryption)
    (kept,) = last.damaged
    assert kept.read_bytes() == foreign.read_bytes()
    assert not paths.lock_file.exists()
    with SessionStore(paths.sessions_db) as store:
        assert store.sessions() == []


def test_a_database_of_another_key_is_not_encrypted_once_more(paths: Paths, tmp_path: Path) -> None:
    fill(paths)
    finish(turn_on, paths, make_lock(paths, state=EncryptionState.TURNING_ON))
    before = {path: path.read_bytes() for path in paths.config.glob("sessions.db*")
              if path.is_file()}  # fmt: skip
    for lock in (paths.lock_file, paths.lock_copy):
        lock.rename(tmp_path / lock.name)
    other = make_lock(paths, state=EncryptionState.TURNING_ON)
    with pytest.raises(OtherKey, match="another key"):
        finish(turn_on, paths, other)
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_database_in_clear_is_salvaged_on_the_way(paths: Paths) -> None:
    content = fill(paths)
    with paths.sessions_db.open("r+b") as raw:
        raw.write(os.urandom(100))
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    check_encrypted(paths, encryption, content)


def test_another_open_tchat_stops_it_before_anything_is_changed(paths: Paths) -> None:
    fill(paths)
    code = (
        "import sys; from pathlib import Path; from tchat.sessions.store import SessionStore\n"
        "with SessionStore(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(paths.sessions_db)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StorageError, match="close every other tchat"):
            require_convertible(paths)
        before = paths.sessions_db.read_bytes()
        encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
        with pytest.raises(StorageError, match="close every other tchat"):
            finish(turn_on, paths, encryption)
        assert paths.sessions_db.read_bytes() == before
    finally:
        other.communicate("")
    require_convertible(paths)


def test_a_disk_without_room_stops_it_before_anything_is_changed(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(paths)
    monkeypatch.setattr(conversion, "_SPARE", 1 << 60)
    with pytest.raises(StorageError, match="of free space, and there is"):
        require_convertible(paths)


def test_a_linked_database_leaves_nothing_beside_it(paths: Paths, tmp_path: Path) -> None:
    content = fill(paths)
    place = tmp_path / "other-disk" / "chats.db"
    place.parent.mkdir(mode=0o700)
    paths.sessions_db.rename(place)
    paths.sessions_db.symlink_to(place)
    place.with_name(".chats.db.converted").write_text(WORD)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    with SessionStore(paths.sessions_db, encryption) as store:
        assert content_of(store) == content
    assert paths.sessions_db.is_symlink()
    found = [path for path in place.parent.rglob("*") if path.is_file()]
    assert WORD.encode() not in b"".join(path.read_bytes() for path in found)


def test_a_damaged_file_stays_as_it_is_and_the_rest_is_decrypted(paths: Paths) -> None:
    fill(paths)
    finish(turn_on, paths, make_lock(paths, state=EncryptionState.TURNING_ON))
    damaged = [
        *paths.tool_undo.glob(f"*{undo_history.SAVED}"),
        *(path for name in HEADS for path in paths.judge.glob(f"*/{name}")),
    ]
    assert {path.parent.parent for path in damaged} == {paths.config, paths.judge}
    before = {}
    for path in damaged:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        before[path.with_name(f"{path.name}.damaged")] = bytes(data)
    ran = script("--unlock-fd", "{fd}", "lock", "off", "-y", given=PASSPHRASE)
    assert ran.code == ExitCode.STORAGE
    assert "the store is in clear" in ran.err
    for path, kept in before.items():
        assert path.read_bytes() == kept
        assert str(path) in ran.err
    assert not any(path.exists() for path in damaged)
    assert not paths.lock_file.exists()
    kinds = kinds_of(user_paths())
    assert not any(is_encrypted(path.read_bytes()) for kind in kinds for path in kind.paths())


def test_an_empty_store_is_converted_too(paths: Paths) -> None:
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    check_encrypted(paths, encryption, {})
    finish(turn_off, paths, encryption)
    assert not paths.lock_file.exists()


@pytest.mark.parametrize("is_copied", [False, True])
def test_what_was_before_is_overwritten_unless_it_is_a_copy(
    tmp_path: Path, is_copied: bool
) -> None:
    path, copy = tmp_path / "words", tmp_path / "copy"
    path.write_bytes(WORD.encode() * 99_999)
    if is_copied:
        copy.hardlink_to(path)
    with path.open("rb") as before:
        replace_file(path, [b"new ", b"content"], overwrite=True)
        assert (WORD.encode() in before.read()) == is_copied
        assert path.read_bytes() == b"new content"
    copy.unlink(missing_ok=True)
    assert [each.name for each in tmp_path.iterdir()] == ["words"]


@pytest.mark.parametrize("name", [".words.77.part", ".words.converting", ".words.converted-wal"])
def test_leftovers_are_removed_and_nothing_else(tmp_path: Path, name: str) -> None:
    leftover, words = tmp_path / "folder" / name, tmp_path / "folder" / "words.77.part"
    others = tmp_path / "folder" / name.replace("words", "other"), tmp_path / name
    leftover.parent.mkdir()
    words.write_text(WORD)
    leftover.hardlink_to(words)
    for other in others:
        other.write_text(WORD)
    remove_leftovers([], [leftover.with_name("words")])
    assert not leftover.exists()
    assert all(other.exists() for other in others)
    remove_leftovers([leftover.parent])
    assert not others[0].exists()
    assert others[1].exists()  # in a folder above
    assert words.read_text() == WORD  # it has another name: nothing is overwritten


def test_erasing_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text(WORD)
    with path.open("rb") as still_open:
        erase_file(path)
        assert set(still_open.read()) == {0}
    assert not path.exists()


def killing(folder: Path, kills: int, seed: int) -> dict[str, int]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.encryption.converting", str(folder), str(kills), str(seed)],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, int] = json.loads(ran.stdout)
    return found


def test_a_kill_leaves_a_whole_store(paths: Paths) -> None:
    assert killing(paths.config, SHORT_KILLS, 5)["killed"] == SHORT_KILLS


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kills_at_300_points_leave_a_whole_store(
    paths: Paths, record: Callable[[str, int], None]
) -> None:
    figures = killing(paths.config, LONG_KILLS, 11)
    assert figures["killed"] == LONG_KILLS
    record("kills of a conversion", figures["killed"])


def test_a_disk_without_any_room_is_told_in_bytes(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(paths)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(StorageError, match="of free space, and there is 0 B; free some space"):
        finish(turn_on, paths, make_lock(paths, state=EncryptionState.TURNING_ON))
