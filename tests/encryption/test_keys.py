"""Locks: who opens them, hostile lock files, and what a crash leaves."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.encryption.derivation import (
    ARGON2ID,
    LEAST_MEMORY,
    SALT_SIZE,
    SCRYPT,
    KeyDerivation,
    calibrated,
)
from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import (
    change_passphrase,
    change_recovery_key,
    change_state,
    create_lock,
)
from tchat.encryption.key_slots import SlotKind
from tchat.encryption.lock_copies import copy_of, remove_lock_files
from tchat.encryption.lock_file import EncryptionState, read_lock_file
from tchat.encryption.recovery_key import (
    is_recovery_key,
    new_recovery_key,
    recovery_bytes,
    recovery_text,
)
from tchat.errors import StorageError, StoreLocked, UsageError, WrongPassphrase
from tchat.paths import user_paths
from tests.encryption.locks import PASSPHRASE, cheap_derivation, make_lock, rewrite

Change = Callable[[dict[str, Any]], object]


def opened_again(encryption: Encryption) -> Encryption:
    """The lock as another process finds it."""
    return Encryption(encryption.lock_file)


def unlock_with_passphrase(encryption: Encryption) -> bool:
    encryption.unlock(PASSPHRASE)
    return True


def test_a_passphrase_and_the_recovery_key_give_the_same_keys(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    keys = []
    for text in (PASSPHRASE, made.recovery_key, made.recovery_key.lower().replace("-", " ")):
        encryption = opened_again(made.encryption)
        with pytest.raises(StoreLocked, match="the store is locked"):
            encryption.keys()
        encryption.unlock(text)
        keys.append(encryption.keys().database_key("sessions"))
    assert keys[0] == keys[1] == keys[2] == made.encryption.keys().database_key("sessions")
    assert keys[0] != made.encryption.keys().database_key("models")


def test_accents_are_the_same_however_the_keyboard_makes_them() -> None:
    encryption = opened_again(make_lock(user_paths(), "pass\u00e9 simple"))
    encryption.unlock("passe\u0301 simple")


def test_a_wrong_passphrase_opens_nothing() -> None:
    encryption = opened_again(make_lock(user_paths()))
    for wrong in ("wrong", "", PASSPHRASE + " "):
        encryption.tries.clear()
        with pytest.raises(WrongPassphrase):
            encryption.unlock(wrong)
        assert not encryption.is_unlocked


def test_a_changed_passphrase_replaces_the_old_one_and_keeps_the_recovery_key(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    change_passphrase(made.encryption, "another passphrase", cheap_derivation)
    encryption = opened_again(made.encryption)
    with pytest.raises(WrongPassphrase):
        encryption.unlock(PASSPHRASE)
    encryption.unlock("another passphrase")
    opened_again(encryption).unlock(made.recovery_key)
    newer = change_recovery_key(encryption)
    opened_again(encryption).unlock(newer)
    with pytest.raises(WrongPassphrase):
        opened_again(encryption).unlock(made.recovery_key)


def test_a_lock_is_never_made_over_another() -> None:
    encryption = make_lock(user_paths())
    with pytest.raises(UsageError, match="encrypted already"):
        create_lock(encryption.lock_file, PASSPHRASE, calibration=cheap_derivation)
    opened_again(encryption).unlock(PASSPHRASE)


def test_nothing_in_the_lock_file_is_a_secret() -> None:
    encryption = make_lock(user_paths())
    data = encryption.lock_file.read_text()
    assert encryption.keys().data_key().hex() not in data
    assert PASSPHRASE not in data
    assert encryption.lock_file.stat().st_mode & 0o077 == 0


def test_forgotten_keys_are_gone_until_somebody_unlocks() -> None:
    encryption = make_lock(user_paths())
    encryption.sources = (unlock_with_passphrase,)
    keys = encryption.keys()
    files = keys.files()
    encryption.forget()
    for use in (encryption.keys, keys.files, lambda: keys.database_key("a"), keys.data_key):
        with pytest.raises(StoreLocked):
            use()
    assert not encryption.unlock_unattended()
    encryption.unlock(PASSPHRASE)
    assert encryption.keys().files().decrypt(b"".join(files.encrypt(b"a", "a")), "a") == b"a"


def test_who_needs_the_keys_waits_for_the_source_that_is_asked_already() -> None:
    encryption = opened_again(make_lock(user_paths()))
    is_asked, may_answer = threading.Event(), threading.Event()
    asking: list[str] = []

    def unlock_slowly(encryption: Encryption) -> bool:
        asking.append(threading.current_thread().name)
        is_asked.set()
        may_answer.wait()
        return unlock_with_passphrase(encryption)

    encryption.sources = (unlock_slowly,)
    encryption.start_unlocking()
    is_asked.wait()
    threading.Timer(0.1, may_answer.set).start()
    encryption.keys()
    assert asking == ["unlock"]


def test_what_failed_early_is_told_to_who_needs_the_keys() -> None:
    encryption = opened_again(make_lock(user_paths()))

    def fail(_: Encryption) -> bool:
        raise StorageError("it fails")

    encryption.sources = (fail,)
    encryption.start_unlocking()
    with pytest.raises(StorageError, match="it fails"):
        encryption.keys()


def test_a_store_that_was_locked_by_its_user_is_not_unlocked_early() -> None:
    encryption = make_lock(user_paths())
    encryption.sources = (unlock_with_passphrase,)
    encryption.forget()
    encryption.start_unlocking()
    with pytest.raises(StoreLocked):
        encryption.keys()


def test_a_store_in_conversion_is_closed_to_all_but_the_conversion() -> None:
    encryption = make_lock(user_paths(), state=EncryptionState.TURNING_ON)
    with pytest.raises(StoreLocked, match="tchat lock on"):
        encryption.keys()
    assert encryption.conversion_keys().data_key()
    change_state(encryption, EncryptionState.ON)
    assert encryption.keys()
    other = opened_again(encryption)
    other.unlock(PASSPHRASE)
    change_state(encryption, EncryptionState.TURNING_OFF)  # the other notices
    with pytest.raises(StoreLocked, match="tchat lock off"):
        other.keys()


def test_another_lock_in_its_place_is_not_opened_with_the_old_keys() -> None:
    encryption = make_lock(user_paths())
    remove_lock_files(encryption.lock_file)
    with pytest.raises(StorageError, match="it is gone"):
        encryption.keys()
    create_lock(encryption.lock_file, "another passphrase", calibration=cheap_derivation)
    other = opened_again(encryption)
    with pytest.raises(WrongPassphrase):
        other.unlock(PASSPHRASE)


def put(*path: object) -> Change:
    """Sets what is at ``path`` but its last element to that."""
    *names, last, value = path

    def change(record: dict[str, Any]) -> None:
        for name in names:
            record = record[name]  # type: ignore[index]
        record[last] = value  # type: ignore[index]

    return change


DERIVATION = ("slots", 1, "derivation")


@pytest.mark.parametrize(
    "change",
    [
        put(*DERIVATION, "memory_kib", 1 << 30),
        put(*DERIVATION, "memory_kib", 10**30),
        put(*DERIVATION, "memory_kib", "64"),
        put(*DERIVATION, "memory_kib", 1.5),
        put(*DERIVATION, "memory_kib", True),
        put(*DERIVATION, "memory_kib", -1),
        put(*DERIVATION, "iterations", 0),
        put(*DERIVATION, "iterations", 1 << 40),
        put(*DERIVATION, "lanes", 1 << 20),
        put(*DERIVATION, "salt", ""),
        put(*DERIVATION, "salt", "zz"),
        put(*DERIVATION, "name", "md5"),
        put("slots", 1, "derivation", None),
        put("slots", 0, "kind", "passphrase"),
        put("slots", 0, "kind", 7),
        put("slots", 0, "nonce", "00"),
        put("slots", 0, "wrapped", ""),
        put("slots", 0, "wrapped", None),
        put("slots", 0, []),
        put("slots", []),
        put("slots", {}),
        put("slots", [{}] * 10_000),
        put("state", "half"),
        put("state", None),
        put("seal", "00"),
        put("id", "00"),
        put("id", 7),
        put("version", 0),
        put("version", "1"),
        put("version", 99),
        lambda record: record.clear(),
    ],
)
def test_a_hostile_lock_file_is_refused_in_one_line(change: Change) -> None:
    encryption = make_lock(user_paths())
    record = json.loads(encryption.lock_file.read_text())
    change(record)
    rewrite(encryption.lock_file, record)
    with pytest.raises(StorageError) as caught:
        opened_again(encryption).unlock(PASSPHRASE)
    assert "lock file" in caught.value.message
    assert not isinstance(caught.value, StoreLocked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"version":' + b"9" * 50_000 + b"}", b"0" * 70_000],
)
def test_a_lock_file_that_is_no_json_of_ours_is_refused(data: bytes) -> None:
    encryption = make_lock(user_paths())
    for path in (encryption.lock_file, copy_of(encryption.lock_file)):
        path.write_bytes(data)
    with pytest.raises(StorageError, match="cannot use the lock file"):
        opened_again(encryption).unlock(PASSPHRASE)


def test_a_lock_file_that_is_no_file_is_refused() -> None:
    encryption = make_lock(user_paths())
    remove_lock_files(encryption.lock_file)
    for make in (os.mkfifo, os.mkdir):
        make(encryption.lock_file)
        with pytest.raises(StorageError, match=r"lock\.json"):
            opened_again(encryption).unlock(PASSPHRASE)
        encryption.lock_file.unlink() if make is os.mkfifo else encryption.lock_file.rmdir()


def test_a_lock_file_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encryption = make_lock(user_paths())
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StorageError, match="belongs to another user"):
        opened_again(encryption).unlock(PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        put("state", "turning on"),
        put("seal", "00" * 32),
    ],
)
def test_a_state_that_somebody_else_wrote_is_refused(change: Change) -> None:
    encryption = make_lock(user_paths())
    record = json.loads(encryption.lock_file.read_text())
    change(record)
    rewrite(encryption.lock_file, record)
    with pytest.raises(StorageError, match="was not written by tchat"):
        opened_again(encryption).unlock(PASSPHRASE)
    with pytest.raises(StorageError, match="was not written by tchat"):
        encryption.conversion_keys()  # unlocked before it was changed


@pytest.mark.parametrize(
    "change",
    [
        put(*DERIVATION, "iterations", 2),
        put(*DERIVATION, "salt", "00" * SALT_SIZE),
        put("id", "00" * 16),
    ],
)
def test_a_slot_is_bound_to_its_parameters_and_its_lock(change: Change) -> None:
    encryption = make_lock(user_paths())
    record = json.loads(encryption.lock_file.read_text())
    change(record)
    rewrite(encryption.lock_file, record)
    with pytest.raises(WrongPassphrase):
        opened_again(encryption).unlock(PASSPHRASE)


def test_a_calibrated_derivation_costs_memory_and_can_be_read_back(home: Path) -> None:
    derivation = calibrated(seconds=0.01)
    assert derivation.memory >= LEAST_MEMORY
    assert derivation.fault() == ""
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=lambda: derivation)
    slot = read_lock_file(made.encryption.lock_file).slot(SlotKind.PASSPHRASE)
    assert slot is not None
    assert slot.derivation == derivation


def test_scrypt_serves_where_argon2id_is_missing(home: Path) -> None:
    scrypt = KeyDerivation(SCRYPT, os.urandom(SALT_SIZE), 1024, 1, 1)
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=lambda: scrypt)
    opened_again(made.encryption).unlock(PASSPHRASE)
    argon2id = replace(scrypt, name=ARGON2ID)
    assert scrypt.derive(PASSPHRASE) != argon2id.derive(PASSPHRASE)


def test_a_passphrase_that_is_no_passphrase_is_refused() -> None:
    encryption = opened_again(make_lock(user_paths()))
    for text in ("x" * 2000, "\udc80"):
        with pytest.raises(UsageError):
            encryption.unlock(text)


def test_recovery_keys_find_typing_mistakes() -> None:
    chance = random.Random(17)
    told = []
    for _ in range(300):
        key = new_recovery_key()
        place = chance.choice([index for index, letter in enumerate(key) if letter != "-"])
        other = chance.choice("0123456789ABCDEFGHJKMNPQRSTVWXYZ".replace(key[place], ""))
        wrong = key[:place] + other + key[place + 1 :]
        assert is_recovery_key(wrong)
        try:
            recovery_bytes(wrong)
        except UsageError as error:
            told.append((error.message[-1], str(key[:place].count("-") + 1)))
    assert len(told) >= 280  # one of 32 has the same check character
    assert all(group == mistaken for group, mistaken in told)


def test_a_recovery_key_is_read_as_it_is_written_by_hand() -> None:
    key = bytes(range(20))
    text = recovery_text(key)
    for typed in (text, text.lower(), text.replace("-", " "), f"  {text}\n", text.replace("-", "")):
        assert recovery_bytes(typed) == key
    assert recovery_bytes(text.replace("0", "O").replace("1", "l")) == key
    for other in ("", "correct horse battery staple", text[:-1], text + "0"):
        assert not is_recovery_key(other)


CHANGES = """
import sys
from pathlib import Path
from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import change_passphrase, change_recovery_key
from tests.encryption.locks import PASSPHRASE, cheap_derivation

encryption = Encryption(Path(sys.argv[1]))
encryption.unlock(PASSPHRASE)
print("ready", flush=True)
while True:
    change_passphrase(encryption, PASSPHRASE, cheap_derivation)
"""


def test_a_crash_while_the_lock_file_is_written_loses_no_slot(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    chance = random.Random(3)
    for _ in range(12):
        command = [sys.executable, "-c", CHANGES, str(made.encryption.lock_file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0, 0.02))
            child.send_signal(signal.SIGKILL)
        for text in (PASSPHRASE, made.recovery_key):
            opened_again(made.encryption).unlock(text)


def test_two_processes_change_one_lock_in_turn(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    command = [sys.executable, "-c", CHANGES, str(made.encryption.lock_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        newest = [change_recovery_key(made.encryption) for _ in range(20)][-1]
        child.kill()
    opened_again(made.encryption).unlock(newest)
    opened_again(made.encryption).unlock(PASSPHRASE)
