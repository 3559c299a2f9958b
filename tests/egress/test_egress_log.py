"""The log of what left this machine: its lines, its sums, and what it does when it cannot write."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from tchat.egress import egress_log
from tchat.egress.egress_log import EgressLog, Purpose, open_egress_log
from tchat.encryption.lock_copies import remove_lock_files
from tchat.errors import StoreLocked
from tchat.paths import user_paths
from tchat.settings.endpoints import is_loopback_name
from tests.egress.user_log import user_log
from tests.encryption.locks import make_lock

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def log(home: Path) -> EgressLog:
    seconds = count()
    path = home / "egress.jsonl"
    return EgressLog(path, now=lambda: START + timedelta(seconds=next(seconds)))


def test_a_request_is_logged_before_and_after(log: EgressLog, home: Path) -> None:
    transfer = log.begin(Purpose.SERVER, "a.example", name="box", session="s1", sent=7)
    (begun,) = log.requests()
    assert (begun.host, begun.name, begun.session, begun.sent) == ("a.example", "box", "s1", 7)
    assert not begun.is_ended
    transfer.received = 9
    transfer.end()
    transfer.end()
    (ended,) = log.requests()
    assert (ended.sent, ended.received, ended.is_ended, ended.time) == (7, 9, True, START)
    assert len((home / "egress.jsonl").read_bytes().splitlines()) == 2
    assert (home / "egress.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "a.localhost", "LOCALHOST."]
)
def test_this_machine_is_not_logged(log: EgressLog, home: Path, host: str) -> None:
    log.begin(Purpose.SERVER, host).end()
    assert is_loopback_name(host)
    assert not home.exists()


@pytest.mark.parametrize("host", ["127.0.0.1.example", "localhost.example", "0.0.0.0", "10.0.0.1"])
def test_what_looks_like_this_machine_is_logged(log: EgressLog, host: str) -> None:
    log.begin(Purpose.TOOL, host)
    assert [each.host for each in log.requests()] == [host]


def test_nothing_is_there_before_something_leaves() -> None:
    log = open_egress_log(user_paths())
    assert list(log.requests()) == []
    assert log.totals() == []
    assert not any(path.exists() for path in log.files())


def test_hosts_are_summed_up_and_stay_when_lines_go(
    log: EgressLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_log, "MAX_SIZE", 2000)
    for n in range(200):
        transfer = log.begin(Purpose.TOOL, "b.example" if n % 2 else "a.example", sent=10)
        transfer.received = 3
        transfer.end()
    log.note_connection(Purpose.RPC, "worker")
    kept = list(log.requests())
    assert 0 < len(kept) < 100
    worker, b, a = log.totals()
    assert (worker.host, worker.requests, worker.uncounted) == ("worker", 1, 1)
    assert (b.requests, b.sent, b.received) == (100, 1000, 300)
    assert (a.requests, a.sent, a.received, a.uncounted) == (100, 1000, 300, 0)
    assert (a.first, b.purposes) == (START, {Purpose.TOOL})
    assert sum(path.stat().st_size for path in log.files()) < 6000


def test_a_crash_while_a_file_begins_counts_nothing_twice(
    log: EgressLog, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_log, "MAX_SIZE", 600)
    replaced = Path.replace
    crashes = iter([False, True])

    def replace(path: Path, target: Path) -> Path:
        if path.name == "egress.jsonl" and next(crashes, False):
            raise KeyboardInterrupt
        return replaced(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    sent = 0
    for _ in range(40):
        try:
            log.begin(Purpose.HUB, "a.example", sent=1)
        except KeyboardInterrupt:
            continue
        sent += 1
    (total,) = log.totals()
    assert (total.requests, total.sent) == (sent, sent)
    assert sent == 39


def test_threads_lose_no_line(log: EgressLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_log, "MAX_SIZE", 1 << 30)

    def send() -> None:
        for _ in range(50):
            user_log().begin(Purpose.TOOL, "a.example", sent=1).end()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (total,) = log.totals()
    assert (total.requests, total.sent) == (200, 200)


def test_damaged_lines_are_left_out(log: EgressLog, home: Path) -> None:
    log.begin(Purpose.HUB, "a.example")
    with (home / "egress.jsonl").open("ab") as file:
        file.write(b'\xff{"id": 1}\n[]\n{"id": "x", "for": "nothing", "host": "b"}\nhalf a li')
    log.begin(Purpose.HUB, "c.example")
    assert [each.host for each in log.requests()] == ["a.example", "c.example"]
    (home / "egress-hosts.json").write_text("[")
    assert len(log.totals()) == 2


def test_hosts_are_made_printable(log: EgressLog, home: Path) -> None:
    log.begin(Purpose.MCP, "a\x1b[31m.example", name="x" * 1000)
    (line,) = (home / "egress.jsonl").read_text().splitlines()
    assert "\x1b" not in json.loads(line)["host"]
    assert len(line) < 400


def test_a_log_that_cannot_be_written_is_told_once(home: Path) -> None:
    (home / "egress.jsonl").mkdir(parents=True)
    log = user_log()
    assert log.take_problem() == ""
    log.begin(Purpose.SERVER, "a.example").end()
    assert "not logged" in log.take_problem()
    log.begin(Purpose.SERVER, "a.example").end()
    assert log.take_problem() == ""


def test_an_encrypted_store_has_an_encrypted_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    monkeypatch.setattr(egress_log, "MAX_SIZE", 800)
    encryption = make_lock(user_paths())
    log = EgressLog(home / "egress.jsonl", encryption)
    for _ in range(20):
        log.begin(Purpose.TOOL, "saffron.example", sent=2).end()
    (total,) = log.totals()
    assert (total.requests, total.sent) == (20, 40)
    for path in log.files():
        assert b"saffron" not in path.read_bytes()
        assert path.read_bytes().startswith(b"tchat")


def test_a_locked_store_gets_no_line_and_is_not_asked_for(home: Path) -> None:
    home.mkdir()
    encryption = make_lock(user_paths())
    encryption.forget()
    log = EgressLog(home / "egress.jsonl", encryption)
    log.begin(Purpose.TOOL, "saffron.example", sent=2).end()
    assert "the store is locked" in log.take_problem()
    assert not (home / "egress.jsonl").exists()
    (home / "egress.jsonl").write_bytes(b"tchat1:x\n")
    with pytest.raises(StoreLocked):
        log.totals()


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"[]",
        lambda data: b"[" * 100_000,
        lambda data: data.replace(b'"requests": ', b'"requests": -'),
        lambda data: data.replace(b"+00:00", b""),
    ],
)
def test_damaged_sums_begin_again_and_no_request_is_lost(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytes], bytes],
    encrypted: bool,
) -> None:
    monkeypatch.setattr(egress_log, "MAX_SIZE", 800)
    encryption = make_lock(user_paths()) if encrypted else None
    log = EgressLog(home / "egress.jsonl", encryption)
    for _ in range(20):
        log.begin(Purpose.TOOL, "saffron.example", sent=2).end()
    sums = home / "egress-hosts.json"
    sums.write_bytes(damage(sums.read_bytes()))
    log = EgressLog(home / "egress.jsonl", encryption)
    assert log.totals()
    for number in range(20):
        log.begin(Purpose.TOOL, f"{number}.example", sent=2).end()
    assert {f"{number}.example" for number in range(20)} <= {each.host for each in log.totals()}
    assert log.take_problem().count("\n") == 0


def test_a_request_is_logged_where_the_log_cannot_begin_a_new_file(
    log: EgressLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_log, "MAX_SIZE", 100)
    for fault in (NotImplementedError("no locks here"), PermissionError(1, "refused")):

        def acquire(*_: object, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr(egress_log, "acquire_lock", acquire)
        for _ in range(5):
            log.begin(Purpose.TOOL, "a.example")
    assert len(list(log.requests())) == 10
    assert "no locks here" in log.take_problem()


def test_an_encrypted_log_gets_no_line_in_clear_where_the_lock_file_is_missing(home: Path) -> None:
    path = home / "egress.jsonl"
    EgressLog(path, make_lock(user_paths())).begin(Purpose.HUB, "hub.example").end()
    before = path.read_bytes()
    remove_lock_files(home / "lock.json")
    log = EgressLog(path)
    log.begin(Purpose.HUB, "hub.example").end()
    assert path.read_bytes() == before
    assert "the lock file that opens it is missing" in log.take_problem()
    assert not log.take_problem()
