"""Import while a chat is open: the store is held for moments, and an end is no loss."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tchat.chat import session_import
from tchat.chat.session import write_session
from tchat.chat.session_import import import_file
from tchat.errors import UsageError
from tchat.sessions.importers import ImportReport
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.sessions.importers.imports import document
from tests.sessions.stores import new_session

CHATS = [{"id": n, "messages": [{"role": "user", "content": f"chat {n}"}]} for n in range(40)]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "chats.json"
    path.write_bytes(document(CHATS))
    return path


def test_others_write_between_its_sessions(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_import, "_AT_A_TIME", 0)
    with SessionStore(tmp_path / "sessions.db") as store:
        seen: list[int] = []

        def progress(count: int) -> None:
            other = threading.Thread(target=store.begin, args=("mine",))
            other.start()
            other.join()
            seen.append(count)

        imported = import_file(store, export, ImportReport(), progress)
        assert len(imported) == 40
        assert seen[-1] == 40
        assert len(store.sessions()) == 40 + len(seen)


def test_an_import_that_is_stopped_goes_on_next_time(
    tmp_path: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_import, "_AT_A_TIME", 0)
    with SessionStore(tmp_path / "sessions.db") as store:

        def stopped() -> bool:
            return len(store.sessions()) >= 5

        first = import_file(store, export, ImportReport(), stopped=stopped)
        assert 5 <= len(first) < 10
        second = import_file(store, export, ImportReport())
        assert [each.is_new for each in second] == [False] * len(first) + [True] * (40 - len(first))


def test_a_fault_at_the_end_stores_nothing(tmp_path: Path, export: Path) -> None:
    export.write_bytes(export.read_bytes()[:-1])
    with SessionStore(tmp_path / "sessions.db") as store:
        with pytest.raises(UsageError, match=r"chats\.json: it is damaged"):
            import_file(store, export, ImportReport())
        assert store.sessions() == []


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with SessionStore(tmp_path / "sessions.db") as store:
        for path in (pipe, tmp_path, tmp_path / "none"):
            with pytest.raises(UsageError, match="there is no file"):
                import_file(store, path, ImportReport())


def test_an_imported_session_turns_no_tool_on(tmp_path: Path) -> None:
    path = tmp_path / "chats.json"
    with SessionStore(tmp_path / "sessions.db") as store:
        own = {"tools.enabled": ["run_command"], "temp": 0.5}
        session = new_session(store, title="Tools", settings=own)
        store.add(session.id, Role.USER, "Hi", parent_id=None)
        write_session(store, session.id, str(path))
    with SessionStore(tmp_path / "others.db") as other:
        import_file(other, path, ImportReport())
        assert [each.settings for each in other.sessions()] == [{"temp": 0.5}]
