"""``tchat sessions rm``: deletes for good, and names what outlives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat.input_history import Entry, InputHistory
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell


@pytest.fixture
def full(home: Path) -> Path:
    """A home with two chats, copies of the database, and typed prompts."""
    with SessionStore(home / "sessions.db") as store:
        for number in range(2):
            store.begin(f"SECRET {number} " * 50, title=f"chat {number}")
    (home / "sessions.db.backup-v4").write_text("SECRET")
    (home / "sessions.db.corrupt-20260101-000000").write_text("SECRET")
    InputHistory(home).add(Entry("SECRET"), private=False)
    (home / "history").write_text("SECRET")
    return home


def secrets(home: Path) -> list[str]:
    return sorted(
        path.name for path in home.iterdir() if path.is_file() and b"SECRET" in path.read_bytes()
    )


COPIES = ["sessions.db.backup-v4", "sessions.db.corrupt-20260101-000000"]
HISTORIES = ["history", "history.jsonl"]


def test_what_outlives_the_sessions_is_named(shell: Shell, full: Path) -> None:
    ran = shell("sessions", "rm", "--all", "-y")
    assert ran.code == 0
    assert secrets(full) == [*HISTORIES, *COPIES]
    assert all(name in ran.err for name in [*COPIES, *HISTORIES])
    assert "--backups" in ran.err
    assert "--history" in ran.err
    assert shell("sessions", "ls").out == ""


@pytest.mark.parametrize(
    ("flags", "stay"),
    [
        (("--history",), COPIES),
        (("--backups",), HISTORIES),
        (("--history", "--backups"), []),
    ],
)
def test_everything_can_be_deleted(
    shell: Shell, full: Path, flags: tuple[str, ...], stay: list[str]
) -> None:
    ran = shell("sessions", "rm", "--all", "-y", *flags)
    assert ran.code == 0
    assert secrets(full) == stay
    assert bool(ran.err) == bool(stay)


def test_the_history_alone_can_be_deleted(shell: Shell, full: Path) -> None:
    assert shell("sessions", "rm", "--history", "-y").code == 0
    assert secrets(full) == ["sessions.db", *COPIES]


def test_one_of_them_leaves_the_other(shell: Shell, full: Path) -> None:
    assert shell("sessions", "rm", "last", "-y").code == 0
    assert b"SECRET 1" not in (full / "sessions.db").read_bytes()
    assert b"SECRET 0" in (full / "sessions.db").read_bytes()


def test_nothing_named_is_refused(shell: Shell, full: Path) -> None:
    ran = shell("sessions", "rm", "-y")
    assert ran.code == 2
    assert "--all" in ran.err
