"""Removing everything: all that tchat writes, and nothing that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tchat.egress.egress_log import Purpose
from tchat.encryption.stored_kinds import Content
from tchat.errors import StorageError, UsageError
from tchat.paths import Paths, user_paths
from tchat.privacy import wipe as wipe_module
from tchat.privacy.stored_data import Protection, find_data, other_entries
from tchat.privacy.wipe import ALL, require_alone, wipe
from tests.cli.locked_store import script
from tests.egress.user_log import user_log
from tests.encryption.locks import make_lock

CONFIGURATION = ("config.toml", "prompts/mine.toml", "mcp.json")
WRITTEN = (
    *("sessions.db", "sessions.db-journal", "sessions.db.backup-v3", "sessions.db.corrupt-1"),
    *("sessions.db.writers/seen", "history.jsonl", "history", ".history.jsonl.123.part"),
    *("judge/a/model.npz", "tool-log.jsonl", "tool-log.jsonl.1", "tool-undo/x", "snapshot.key"),
    *("egress.jsonl", "egress.jsonl.1", "egress-hosts.json", "lock-tries.json"),
    *("cache/snapshots/a.kv", "cache/tchat.log", "cache/models.db", "cache/palette.json"),
)
FOREIGN = ("letter.txt", "cache/other", "my-models/a.gguf")


@pytest.fixture
def filled(home: Path) -> Path:
    for name in (*CONFIGURATION, *WRITTEN, *FOREIGN):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("saffron walrus")
    return home


def names(home: Path) -> set[str]:
    return {str(each.relative_to(home)) for each in home.rglob("*") if each.is_file()}


def test_data_goes_and_the_rest_stays(filled: Path) -> None:
    wiped = wipe(user_paths())
    assert names(filled) == {*CONFIGURATION, *FOREIGN}
    assert (wiped.files, wiped.is_key_destroyed) == (len(WRITTEN), False)


def test_configuration_goes_too_when_all_is_to_go(filled: Path) -> None:
    assert other_entries(user_paths()) == sorted(
        filled / each for each in ("cache/other", "letter.txt", "my-models")
    )
    wipe(user_paths(), ALL)
    assert names(filled) == set(FOREIGN)


def test_folders_go_when_nothing_is_left(home: Path) -> None:
    user_log().begin(Purpose.HUB, "a.example").end()
    wipe(user_paths())
    assert not home.exists()
    assert wipe(user_paths()).files == 0


def test_a_wipe_that_was_interrupted_is_finished_by_the_next(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_lock(user_paths())
    removed: list[Path] = []
    remove = wipe_module._remove

    def stop_soon(path: Path) -> None:
        if len(removed) == 3:
            raise KeyboardInterrupt
        removed.append(path)
        remove(path)

    monkeypatch.setattr(wipe_module, "_remove", stop_soon)
    with pytest.raises(KeyboardInterrupt):
        wipe(user_paths())
    assert [path.name for path in removed[:2]] == ["lock.json", "lock.json.copy"]
    monkeypatch.setattr(wipe_module, "_remove", remove)
    wipe(user_paths())
    assert names(filled) == {*CONFIGURATION, *FOREIGN}


def test_what_cannot_be_removed_keeps_nothing_else(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = wipe_module._remove

    def refuse(path: Path) -> None:
        if path.name == "judge":
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr(wipe_module, "_remove", refuse)
    with pytest.raises(StorageError, match="judge"):
        wipe(user_paths())
    assert names(filled) == {*CONFIGURATION, *FOREIGN, "judge/a/model.npz"}


def test_links_are_removed_and_not_followed(home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    home.mkdir()
    (home / "judge").symlink_to(outside)
    assert wipe(user_paths()).left == (outside,)
    assert (outside / "kept").exists()
    assert not (home / "judge").is_symlink()


def test_own_files_that_links_lead_to_are_removed_with_what_lies_beside(
    home: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    home.mkdir()
    own = ("sessions.db", "history.jsonl", "egress.jsonl", "lock.json")
    beside = ("sessions.db-wal", "sessions.db.backup-v3", ".sessions.db.converting")
    for name in (*own, *beside, "letter.txt", "sessions.dbx"):
        (disk / name).write_text("saffron walrus")
    for name in own:
        (home / name).symlink_to(disk / name)
    (disk / "sessions.db.writers").mkdir()
    (disk / "sessions.db.writers" / "seen").touch()
    wiped = wipe(user_paths())
    assert wiped.left == ()
    assert wiped.is_key_destroyed
    assert {path.name for path in disk.iterdir()} == {"letter.txt", "sessions.dbx"}
    assert not home.exists()


@pytest.mark.parametrize("place", ["history", "judge/model/generations.jsonl", "config.toml"])
def test_what_links_lead_to_under_another_name_stays_and_is_named(
    home: Path, tmp_path: Path, place: str
) -> None:
    target = tmp_path / "notes"
    target.write_text("saffron walrus")
    (home / place).parent.mkdir(parents=True)
    (home / place).symlink_to(target)
    dangling = home / "history.jsonl"
    dangling.symlink_to(tmp_path / "nothing")
    ran = script("privacy", "wipe", "--all", "--yes")
    assert ran.code == 0
    assert f"what they led to stays; remove it if it is yours: {target}\n" in ran.err
    assert target.exists()
    assert not os.path.lexists(home / place)
    assert not os.path.lexists(dangling)


def test_a_wipe_that_is_interrupted_between_a_file_and_its_link_is_finished(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, home_db = tmp_path / "disk", home / "sessions.db"
    disk.mkdir()
    home.mkdir()
    for name in ("sessions.db", "sessions.db-wal"):
        (disk / name).write_text("saffron walrus")
    home_db.symlink_to(disk / "sessions.db")
    remove = wipe_module._remove

    def stop(path: Path) -> None:
        remove(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(wipe_module, "_remove", stop)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            wipe(user_paths())
    assert not list(disk.iterdir())
    assert not home_db.is_symlink()


@contextmanager
def running(home: Path, code: str) -> Iterator[int]:
    """A process whose arguments are those of tchat."""
    environ = {**os.environ, "TCHAT_HOME": str(home)}
    process = subprocess.Popen(
        ["tchat", "-c", f"{code}\nprint(flush=True)\nimport time; time.sleep(60)"],
        executable=sys.executable,
        env=environ,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_another_process_is_named(filled: Path) -> None:
    with running(filled, "") as pid, pytest.raises(UsageError, match=str(pid)):
        require_alone(user_paths())
    require_alone(user_paths())


def test_a_process_with_another_folder_is_no_hindrance(filled: Path, tmp_path: Path) -> None:
    with running(tmp_path / "other", ""):
        require_alone(user_paths())


def test_an_open_store_is_a_hindrance_where_processes_are_not_known(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wipe_module, "find_processes", lambda: None)
    code = "from tchat.sessions.store import SessionStore; from tchat.paths import user_paths; "
    code += "store = SessionStore(user_paths().sessions_db)"
    with running(home, code), pytest.raises(UsageError, match="uses the sessions"):
        require_alone(user_paths())
    require_alone(user_paths())


def test_files_are_looked_at_to_tell_whether_they_are_encrypted(home: Path) -> None:
    home.mkdir()
    encryption = make_lock(user_paths())
    paths = user_paths()
    log = user_log()
    (home / "sessions.db").write_bytes(b"SQLite format 3\x00...")
    (home / "history.jsonl").write_bytes(b'{"text": "hi"}\n')
    encryption.unlock("correct horse battery staple")
    assert paths.encryption is not None
    paths.encryption.unlock("correct horse battery staple")
    log.begin(Purpose.HUB, "a.example").end()
    found = {each.kind.name: each.protection for each in find_data(paths)}
    assert found["egress"] is Protection.ENCRYPTED
    assert found["sessions"] is Protection.CLEAR
    assert found["prompts"] is Protection.CLEAR
    assert found["judge"] is Protection.NOTHING
    (home / "history").write_bytes(b"tchatENC1\n...")
    found = {each.kind.name: each.protection for each in find_data(paths)}
    assert found["prompts"] is Protection.MIXED


def test_every_path_of_tchat_has_a_kind(tmp_path: Path) -> None:
    """A new file of tchat that is not in the list would survive a wipe."""
    paths = Paths(tmp_path / "config", tmp_path / "cache")
    own = {
        value
        for name in dir(Paths)
        if isinstance(getattr(Paths, name), property)
        and isinstance(value := getattr(paths, name), Path)
    }
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    assert other_entries(paths) == []
    assert {each.kind.content for each in find_data(paths) if each.files} == set(Content)
