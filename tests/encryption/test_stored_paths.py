"""What cannot be read is never "not there": where files are found, and where keys are removed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tchat.chat.store_conversion import turn_off, turn_on
from tchat.encryption.lock_file import EncryptionState, read_lock_file
from tchat.encryption.permissions import repair_permissions
from tchat.encryption.replacing import new_file, overwriting, replace_file
from tchat.encryption.stored_paths import find_files, find_folders, first_bytes, is_file
from tchat.errors import StorageError
from tchat.paths import Paths, user_paths
from tchat.sessions.store import SessionStore
from tests.chat.test_stored_files import WRITTEN, read_all
from tests.encryption.converting import (
    WORD,
    check_clear,
    check_encrypted,
    content_of,
    fill,
    finish,
)
from tests.encryption.locks import make_lock


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir(mode=0o700)
    return user_paths()


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[None]:
    """Reading files and folders of these names fails, as of a disk that is going bad."""

    def failing(method: str) -> Callable[..., object]:
        real = getattr(Path, method)

        def fail(self: Path, *args: object, **options: object) -> object:
            if self.name in names:
                raise OSError(5, "Input/output error", str(self))
            return real(self, *args, **options)

        return fail

    with monkeypatch.context() as patched:
        for method in ("open", "iterdir"):
            patched.setattr(Path, method, failing(method))
        yield


UNREADABLE = (
    *("sessions.db", "sessions.db.backup-v5", "sessions.db.corrupt-20260102-000000"),
    *("history.jsonl", "changes.jsonl", "human.npz", "game.npz", "tchat.log", "palette.json"),
    *("tool-undo", "judge", "games", "tool-log.jsonl", "egress.jsonl"),
)


def readable_content(paths: Paths) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in paths.config.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_keeps_the_keys(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content = fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    with broken(monkeypatch, name), pytest.raises(StorageError, match=f"cannot read .*{name}"):
        finish(turn_on, paths, encryption)
    assert read_lock_file(paths.lock_file).state is EncryptionState.TURNING_ON
    finish(turn_on, paths, encryption)
    check_encrypted(paths, encryption, content)
    before = readable_content(paths)
    with broken(monkeypatch, name), pytest.raises(StorageError, match=f"cannot read .*{name}"):
        finish(turn_off, paths, encryption)
    assert paths.lock_file in before
    assert read_lock_file(paths.lock_file).state is not EncryptionState.ON or (
        readable_content(paths) == before
    )
    finish(turn_off, paths, encryption)
    check_clear(paths, content)


@pytest.mark.parametrize("name", ["sessions.db", "history.jsonl", "judge", "judge/tiny"])
def test_a_link_to_a_disk_that_is_not_mounted_keeps_the_keys(
    paths: Paths, tmp_path: Path, name: str
) -> None:
    content = fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    if name == "sessions.db":
        for copy in find_files(paths.config, "sessions.db.*"):
            copy.unlink()  # they are looked for where the link leads
    mounted, away = tmp_path / "disk" / "data", tmp_path / "away"
    mounted.parent.mkdir()
    (paths.config / name).rename(mounted)
    (paths.config / name).symlink_to(mounted)
    mounted.rename(away)
    with pytest.raises(StorageError, match="cannot read"):
        finish(turn_off, paths, encryption)
    assert paths.lock_file.exists()
    away.rename(mounted)
    finish(turn_off, paths, encryption)
    assert read_all(paths, None) == WRITTEN
    with SessionStore(paths.sessions_db) as store:
        assert content_of(store) == content


def test_a_file_of_an_unknown_name_keeps_the_key_that_opens_it(paths: Paths) -> None:
    content = fill(paths)
    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    finish(turn_on, paths, encryption)
    for source in ("sessions.db", "history.jsonl", "tool-undo/changes.jsonl"):
        mine = paths.config / f"mine-{Path(source).name}"
        mine.write_bytes((paths.config / source).read_bytes())
        with pytest.raises(StorageError, match=f"{mine.name} is still encrypted"):
            finish(turn_off, paths, encryption)
        mine.unlink()
        finish(turn_on, paths, encryption)
    (paths.config / "of-another-store").write_bytes(b"tchatENC1\n" + bytes(2000))
    finish(turn_off, paths, encryption)
    check_clear(paths, content)


def test_a_file_that_stays_in_clear_keeps_the_store_from_being_called_encrypted(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(paths)
    from tchat.encryption import convertible_files

    encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
    with monkeypatch.context() as patched:
        patched.setattr(convertible_files, "replace_file", lambda *_, **__: None)
        with pytest.raises(StorageError, match="is not encrypted yet"):
            finish(turn_on, paths, encryption)
    assert read_lock_file(paths.lock_file).state is EncryptionState.TURNING_ON


def test_files_are_found_where_they_are(tmp_path: Path) -> None:
    for name in ("a/x.npz", "b/x.npz", "b/c/x.npz", "b/y.txt", "x.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert find_files(tmp_path, "*/x.npz", "*/*.npz") == [
        tmp_path / "a" / "x.npz",
        tmp_path / "b" / "x.npz",
    ]
    assert find_files(tmp_path / "x.npz", "*") == find_files(tmp_path / "none", "*") == []
    assert find_folders(tmp_path / "b") == [tmp_path / "b", tmp_path / "b" / "c"]
    assert find_folders(tmp_path / "none") == []
    assert first_bytes(tmp_path / "x.npz", 3) == b"x.n"
    assert first_bytes(tmp_path / "none", 3) == b""
    assert not is_file(tmp_path / "b")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match="cannot read"):
        is_file(tmp_path / "loop")


def test_a_failure_leaves_no_clear_text_beside_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"encrypted")

    def pieces() -> Iterator[bytes]:
        yield WORD.encode()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, pieces(), overwrite=False)

    def fail() -> None:
        with new_file(path) as new:
            new.write_text(WORD)
            new.with_name(f"{new.name}-journal").write_text(WORD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["words"]
    assert path.read_bytes() == b"encrypted"


@pytest.mark.parametrize("is_removed", [True, False])
def test_what_is_removed_in_a_block_is_overwritten(tmp_path: Path, is_removed: bool) -> None:
    path, others = tmp_path / "log", tmp_path / "none"
    path.write_text(WORD)
    with path.open("rb") as before:
        with overwriting([path, others]):
            if is_removed:
                path.unlink()
        assert (WORD.encode() in before.read()) is not is_removed
    assert list(tmp_path.iterdir()) == ([] if is_removed else [path])


def test_what_tchat_stores_is_closed_and_nothing_else(tmp_path: Path) -> None:
    config, cache = tmp_path, tmp_path / "cache"
    closed = ("egress-hosts.json", "egress.jsonl", "judge/", "history", ".history.1.part")
    cached = ("rpc/", "ray-models/", "snapshots/", "tchat.log", "palette.json")
    kept = ("config.toml", "mcp.json", "prompts/", "letter.txt", "letters/")
    named = [*(config / name for name in (*closed, *kept)), *(cache / name for name in cached)]
    for name, path in zip((*closed, *kept, *cached), named, strict=True):
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("x")
        path.chmod(0o755)
    target = tmp_path / "letter.txt"
    (config / "tool-log.jsonl").symlink_to(target)
    cache.chmod(0o755)
    os.umask(os.umask(0o022))
    changed = repair_permissions(config, cache, with_folders=False)
    assert set(changed) == {cache, *(config / each for each in closed)} | {
        cache / each for each in cached
    }
    for path in named:
        is_open = bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
        assert is_open is any(path == config / each for each in kept), path
    assert repair_permissions(config, cache, with_folders=False) == []
