"""What unlocks a store: each source once, and nobody waits for it but who needs the keys."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from tchat.egress.egress_log import Purpose, open_egress_log
from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import create_lock
from tchat.encryption.key_slots import SlotKind
from tchat.encryption.lock_copies import remove_lock_files
from tchat.encryption.unlock_sources import from_command, from_descriptor, without_wait
from tchat.errors import StorageError, StoreLocked, UsageError, WrongPassphrase
from tchat.paths import user_paths
from tests.encryption.locks import PASSPHRASE, cheap_derivation, make_lock

WRONG = "another passphrase"


def locked_store(passphrase: str = PASSPHRASE) -> Encryption:
    """An encrypted store that is locked."""
    return Encryption(make_lock(user_paths(), passphrase).lock_file)


def descriptor_with(data: bytes) -> int:
    """A descriptor that gives ``data``."""
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


def test_a_descriptor_is_read_once_whatever_has_its_number_later() -> None:
    encryption = locked_store()
    number = descriptor_with(f"{WRONG}\n".encode())
    encryption.sources = (from_descriptor(number),)
    assert not encryption.unlock_unattended()
    other = descriptor_with(f"{PASSPHRASE}\nanother line\n".encode())
    if other != number:
        os.dup2(other, number)
        os.close(other)
    assert not encryption.unlock_unattended()
    with pytest.raises(WrongPassphrase):  # why it is locked is told each time
        encryption.keys()
    with pytest.raises(WrongPassphrase):
        encryption.keys()
    assert os.read(number, 100) == f"{PASSPHRASE}\nanother line\n".encode()
    os.close(number)
    assert encryption.tries.wait() == 0  # one try was counted, not four


@pytest.mark.parametrize("command", ["echo wrong", "false"])
def test_a_command_runs_once(tmp_path: Path, command: str) -> None:
    encryption, runs = locked_store(), tmp_path / "runs"
    script = f'sh -c "echo x >> {runs}; {command}"'
    encryption.sources = (from_command({"TCHAT_PASSPHRASE_COMMAND": script}),)
    for _ in range(4):
        assert not encryption.unlock_unattended()
    with pytest.raises(StorageError):
        encryption.keys()
    assert runs.read_text() == "x\n"


def test_sources_are_asked_again_for_another_store_in_its_place() -> None:
    encryption = locked_store()
    asked = []

    def ask(_: Encryption) -> bool:
        asked.append(1)
        return False

    encryption.sources = (ask,)
    assert not encryption.unlock_unattended()
    remove_lock_files(encryption.lock_file)
    create_lock(encryption.lock_file, PASSPHRASE, calibration=cheap_derivation)
    assert not encryption.unlock_unattended()
    assert len(asked) == 2


def test_what_leaves_is_logged_without_asking_anybody(tmp_path: Path) -> None:
    paths = user_paths()
    make_lock(paths)
    encryption, runs = Encryption(paths.lock_file), tmp_path / "runs"
    command = f"sh -c \"echo x >> {runs}; echo '{PASSPHRASE}'\""
    encryption.sources = (from_command({"TCHAT_PASSPHRASE_COMMAND": command}),)
    encryption.question = lambda _: pytest.fail("asked")
    log = open_egress_log(type(paths)(paths.config, paths.cache, encryption))
    log.begin(Purpose.SERVER, "a.example").end()
    assert "the store is locked" in log.take_problem()
    assert not runs.exists()
    assert encryption.keys()  # the command was not used up
    log.begin(Purpose.SERVER, "a.example").end()
    assert [each.host for each in log.requests()] == ["a.example"]


def test_nobody_waits_for_a_line_of_the_log() -> None:
    encryption = locked_store()
    for _ in range(3):
        encryption.tries.begin()
    given = from_descriptor(descriptor_with(PASSPHRASE.encode()))
    encryption.silent_sources = (without_wait(given),)
    assert not encryption.unlock_silently()
    encryption.tries.clear()
    encryption.sources = (given,)
    assert encryption.keys()


def test_the_lock_can_be_looked_at_while_somebody_is_asked() -> None:
    encryption = locked_store()
    is_asked, is_answered = threading.Event(), threading.Event()

    def ask(_: Encryption) -> bool:
        is_asked.set()
        assert is_answered.wait(30)
        encryption.unlock(PASSPHRASE)
        return True

    encryption.sources = (ask,)
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(encryption.keys()), daemon=True)
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert is_asked.wait(30)

    def look() -> None:
        assert encryption.has_passphrase
        assert encryption.state == "on"
        assert not encryption.is_unlocked
        is_answered.set()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(30)
    assert is_answered.is_set()
    for thread in threads:
        thread.join(30)
    assert results == [encryption.keys()] * 2  # one was asked, and both have them


def test_a_source_that_ends_after_the_store_was_locked_does_not_open_it() -> None:
    encryption = locked_store()

    def ask(_: Encryption) -> bool:
        encryption.forget()  # the user locks the screen while a command runs
        encryption.unlock(PASSPHRASE)
        return True

    encryption.sources = (ask,)
    with pytest.raises(StoreLocked):
        encryption.keys()
    assert not encryption.is_unlocked


def test_the_question_comes_after_a_source_that_failed() -> None:
    encryption = locked_store()
    told = []

    def question(_: Encryption) -> bool:
        told.append(str(encryption.failure))
        encryption.unlock(PASSPHRASE)
        return True

    encryption.sources = (from_command({"TCHAT_PASSPHRASE_COMMAND": "false"}),)
    encryption.question = question
    assert encryption.keys()
    assert told == ["TCHAT_PASSPHRASE_COMMAND failed with exit code 1; try it in the shell"]


@pytest.mark.parametrize(
    "passphrase",
    [
        hashlib.sha1(b"a").hexdigest(),
        "sable orbit magic tepid clove fresh acorns x",
        "0" * 40,
    ],
)
def test_a_passphrase_that_looks_like_a_recovery_key_opens(home: Path, passphrase: str) -> None:
    made = create_lock(home / "lock.json", passphrase, calibration=cheap_derivation)
    encryption = Encryption(made.encryption.lock_file)
    encryption.unlock(passphrase)
    assert encryption.kind_of(passphrase) is SlotKind.PASSPHRASE
    assert encryption.kind_of(made.recovery_key) is SlotKind.RECOVERY


@pytest.mark.parametrize("keyring_only", [False, True])
def test_a_slip_in_the_recovery_key_is_still_named(home: Path, keyring_only: bool) -> None:
    made = create_lock(
        home / "lock.json", None if keyring_only else PASSPHRASE, calibration=cheap_derivation
    )
    last = made.recovery_key[-1]
    typed = made.recovery_key[:-1] + ("0" if last != "0" else "1")
    with pytest.raises(UsageError, match="typing mistake in group 8"):
        Encryption(made.encryption.lock_file).unlock(typed)
