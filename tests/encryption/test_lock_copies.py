"""The lock file and its copy: what one of them loses, the other gives back."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import change_passphrase, create_lock, remove_lock
from tchat.encryption.lock_copies import copy_of, read_lock, repair_lock
from tchat.encryption.lock_file import checksum, read_lock_file
from tchat.errors import ExitCode, StorageError, UsageError, WrongPassphrase
from tchat.paths import user_paths
from tests.cli.locked_store import script
from tests.encryption.locks import PASSPHRASE, cheap_derivation, make_lock

OTHER = "another long passphrase"


@pytest.fixture
def lock_file() -> Path:
    """The lock file of a store that `PASSPHRASE` opens."""
    return make_lock(user_paths()).lock_file


def opens(lock_file: Path, passphrase: str = PASSPHRASE) -> bool:
    encryption = Encryption(lock_file)
    encryption.tries.clear()
    try:
        encryption.unlock(passphrase)
    except WrongPassphrase:
        return False
    return True


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


def test_any_changed_byte_of_one_of_them_loses_nothing(lock_file: Path) -> None:
    sound = lock_file.read_bytes()
    for path in (lock_file, copy_of(lock_file)):
        for position in range(0, len(sound), 3 if path == lock_file else 11):
            path.write_bytes(flipped(sound, position))
            assert opens(lock_file), position
            told = repair_lock(lock_file)
            assert f"{path} was damaged" in told, position
            assert repair_lock(lock_file) == ""  # told once
            assert path.read_bytes() == sound


@pytest.mark.parametrize("name", ["lock.json", "lock.json.copy"])
def test_one_that_is_missing_is_made_again(lock_file: Path, name: str) -> None:
    lock_file.with_name(name).unlink()
    assert user_paths().encryption is not None
    assert opens(lock_file)
    repair_lock(lock_file)
    assert read_lock_file(lock_file) == read_lock_file(copy_of(lock_file))


def test_a_command_tells_of_it_once_and_goes_on(lock_file: Path) -> None:
    lock_file.write_bytes(b"")
    told = script("--unlock-fd", "{fd}", "lock", "test", given=PASSPHRASE)
    assert told.code == 0
    assert "lock.json was damaged: restored from lock.json.copy" in told.err
    assert "damaged" not in script("lock", "status").err


@pytest.mark.parametrize("old", ["lock.json", "lock.json.copy"])
def test_an_old_one_brings_no_old_passphrase_back(lock_file: Path, old: str) -> None:
    before = lock_file.read_bytes()
    encryption = Encryption(lock_file)
    encryption.unlock(PASSPHRASE)
    change_passphrase(encryption, OTHER, cheap_derivation)
    lock_file.with_name(old).write_bytes(before)
    for _ in range(2):
        assert opens(lock_file, OTHER)
        assert not opens(lock_file)
        assert repair_lock(lock_file) == ""
    assert read_lock_file(lock_file) == read_lock_file(copy_of(lock_file))


def test_a_kill_between_them_leaves_a_lock_that_opens(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    changes = """
import sys
from pathlib import Path
from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import change_passphrase
from tests.encryption.locks import PASSPHRASE, cheap_derivation

encryption = Encryption(Path(sys.argv[1]))
encryption.unlock(PASSPHRASE)
print("ready", flush=True)
while True:
    change_passphrase(encryption, PASSPHRASE, cheap_derivation)
"""
    chance = random.Random(5)
    lock_file = made.encryption.lock_file
    for _ in range(8):
        command = [sys.executable, "-c", changes, str(lock_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        assert opens(lock_file)
        assert repair_lock(lock_file) == ""
        assert read_lock_file(lock_file) == read_lock_file(copy_of(lock_file))


def test_the_lock_of_another_store_is_not_mixed_with_the_copy(lock_file: Path, home: Path) -> None:
    other = create_lock(home / "other" / "lock.json", OTHER, calibration=cheap_derivation)
    mine = read_lock(lock_file)
    lock_file.write_bytes(other.encryption.lock_file.read_bytes())
    assert repair_lock(lock_file) == ""
    assert opens(lock_file, OTHER)
    assert read_lock_file(copy_of(lock_file)) == mine
    encryption = Encryption(lock_file)
    encryption.unlock(OTHER)
    change_passphrase(encryption, PASSPHRASE, cheap_derivation)
    kept = copy_of(lock_file).with_name(f"lock.json.copy-{mine.id[:8]}")
    assert read_lock_file(kept) == mine


def test_no_lock_is_made_beside_a_copy(lock_file: Path) -> None:
    lock_file.unlink()
    with pytest.raises(UsageError, match="encrypted already"):
        create_lock(lock_file, OTHER, calibration=cheap_derivation)


def test_both_go_with_the_lock(lock_file: Path) -> None:
    encryption = Encryption(lock_file)
    encryption.unlock(PASSPHRASE)
    remove_lock(encryption)
    assert not [path for path in lock_file.parent.iterdir() if path.name.startswith("lock.json")]
    assert user_paths().encryption is None


def test_two_damaged_ones_are_one_line(lock_file: Path) -> None:
    for path in (lock_file, copy_of(lock_file)):
        path.write_bytes(b"{}")
    with pytest.raises(StorageError, match="it is damaged"):
        opens(lock_file)
    ran = script("lock", "recovery")
    assert (ran.code, ran.err.count("\n")) == (ExitCode.STORAGE, 1)


def test_a_lock_of_a_newer_tchat_is_not_replaced_by_an_older_copy(lock_file: Path) -> None:
    record = json.loads(lock_file.read_text()) | {"version": 2}
    lock_file.write_text(json.dumps(record | {"checksum": checksum(record)}))
    newer = lock_file.read_bytes()
    assert repair_lock(lock_file) == ""
    assert lock_file.read_bytes() == newer
    with pytest.raises(StorageError, match="newer tchat"):
        opens(lock_file)


def test_one_that_cannot_be_repaired_is_told_and_not_used(lock_file: Path) -> None:
    lock_file.unlink()
    lock_file.mkdir()
    assert "cannot be written: lock.json.copy is used" in repair_lock(lock_file)
    assert opens(lock_file)
