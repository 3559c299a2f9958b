"""Waiting after wrong passphrases: how long, and that nothing but time and a right one end it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.encryption.unlock_sources import from_command
from tchat.encryption.wrong_tries import LONGEST, WrongTries
from tchat.errors import WrongPassphrase
from tchat.paths import user_paths
from tests.encryption.locks import PASSPHRASE, make_lock


class Clock:
    """Goes on only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tries(tmp_path: Path, clock: Clock) -> WrongTries:
    return WrongTries(tmp_path / "tries.json", clock)


def test_each_wrong_try_waits_twice_as_long_as_the_one_before(
    tries: WrongTries, clock: Clock
) -> None:
    waits = []
    for _ in range(10):
        waits.append(tries.wait())
        clock.seconds += tries.wait()
        assert tries.begin() == 0
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, LONGEST, LONGEST]


def test_a_try_that_comes_too_early_is_not_counted(tries: WrongTries, clock: Clock) -> None:
    for _ in range(3):
        clock.seconds += tries.wait()
        tries.begin()
    assert [tries.begin() for _ in range(5)] == [2.0] * 5
    clock.seconds += 1.5
    assert tries.begin() == 0.5
    clock.seconds += 0.5
    assert tries.begin() == 0


def test_a_restart_does_not_shorten_it_and_a_right_one_ends_it(
    tries: WrongTries, clock: Clock
) -> None:
    for _ in range(4):
        clock.seconds += tries.wait()
        tries.begin()
    again = WrongTries(tries.path, clock)
    assert again.wait() == 4
    again.clear()
    assert tries.wait() == 0
    assert list(tries.path.parent.iterdir()) == []


def test_a_clock_that_was_set_back_locks_nobody_out(tries: WrongTries, clock: Clock) -> None:
    for _ in range(3):
        clock.seconds += tries.wait()
        tries.begin()
    clock.seconds -= 1e5
    assert tries.wait() == 0  # nobody knows how long it was
    assert tries.begin() == 0
    assert tries.wait() == 4


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"[" * 5000, b"\xff", b'{"wrong": "9", "at": 0}', b'{"wrong": 9}',
        b'{"wrong": -1, "at": 0}', b'{"wrong": 9, "at": NaN}', b'{"wrong": 9, "at": Infinity}',
        b'{"wrong": 9, "at": 1e999}', b'{"wrong": ' + b"9" * 900 + b', "at": 0}',
    ],
)  # fmt: skip
def test_a_damaged_file_locks_nobody_out(tries: WrongTries, data: bytes) -> None:
    tries.path.write_bytes(data)
    assert 0 <= tries.wait() <= LONGEST
    assert 0 <= tries.begin() <= LONGEST


def test_a_folder_that_cannot_be_written_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    tries = WrongTries(tmp_path / "file" / "tries.json")
    assert tries.begin() == tries.begin() == 0


@pytest.mark.parametrize(
    "at", ["9" * 400, "-" + "9" * 400, "1e999", "-1e999", "NaN", "2000000", "true", "null", '"x"']
)
@pytest.mark.parametrize("wrong", ["5", "9" * 400, "-1", "1.5", "NaN"])
def test_a_hostile_record_locks_nobody_out(tries: WrongTries, at: str, wrong: str) -> None:
    tries.path.write_text(f'{{"wrong": {wrong}, "at": {at}}}')
    assert tries.wait() == 0
    assert tries.begin() == 0


def test_tries_side_by_side_are_one_after_the_other(tries: WrongTries) -> None:
    begun = []
    threads = [threading.Thread(target=lambda: begun.append(tries.begin())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun.count(0) == 2


def test_a_right_passphrase_is_not_looked_at_too_early(clock: Clock) -> None:
    made = make_lock(user_paths())
    encryption = Encryption(made.lock_file)
    encryption.tries = WrongTries(encryption.tries.path, clock)
    for _ in range(2):
        with pytest.raises(WrongPassphrase) as caught:
            encryption.unlock("wrong")
        assert not caught.value.is_early
    assert caught.value.wait == encryption.wait == 1
    with pytest.raises(WrongPassphrase, match="too many wrong passphrases; try again in 1 second"):
        encryption.unlock(PASSPHRASE)
    clock.seconds += 1
    encryption.unlock(PASSPHRASE)
    assert encryption.wait == 0


def test_a_script_waits_by_itself(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    def sleep(seconds: float) -> None:
        clock.seconds += seconds

    made = make_lock(user_paths())
    encryption = Encryption(made.lock_file)
    encryption.tries = WrongTries(encryption.tries.path, clock)
    for _ in range(2):
        with pytest.raises(WrongPassphrase):
            encryption.unlock("wrong")
    monkeypatch.setattr("tchat.encryption.unlock_sources.time.sleep", sleep)
    encryption.sources = (from_command({"TCHAT_PASSPHRASE_COMMAND": f"echo '{PASSPHRASE}'"}),)
    assert encryption.unlock_unattended()
    assert encryption.keys()
