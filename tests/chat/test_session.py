"""What the screen and the line chat share: the open session's store and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat.session import SessionState
from tchat.errors import UsageError
from tchat.sessions.store import SessionStore
from tchat.settings import Settings


def test_a_session_brings_its_own_settings_and_a_new_one_begins_with_the_base(
    tmp_path: Path,
) -> None:
    with SessionStore(tmp_path / "sessions.db") as store:
        session, _ = store.begin(
            "Hello", title="", system="", settings={"temp": 0.3, "think": "on"}
        )
        state = SessionState(Settings(), store)
        with state.switch(session, model="other", typed=["think"]):
            assert state.settings.sampling.temp == 0.3
            assert (state.settings.think, state.settings.model) == (Settings().think, "other")
        assert not state.change({"seed": 7})
        assert state.save_settings(session, ["seed"]).settings == {**session.settings, "seed": 7}
        with state.switch(None, model="other"):
            assert state.settings == replace(Settings(), model="other")
        state.close()


def test_a_stored_session_ends_private_mode(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "sessions.db") as store:
        stored, _ = store.begin("Hello", title="", system="", settings={})
        state = SessionState(Settings(), store)
        with state.switch(None, model="m", private=True):
            private, _ = state.store.begin("Secret", title="", system="", settings={})
        assert state.is_private
        assert state.is_lost_when_left(private)
        with state.switch(None, model="m"):
            assert state.is_private
        with state.switch(stored, model="m"):
            assert not state.is_private
        assert [each.id for each in store.sessions()] == [stored.id]
        state.close()


def test_without_stored_sessions_private_mode_cannot_be_left() -> None:
    with SessionStore.in_memory() as store:
        state = SessionState(Settings(), store)
        assert state.is_private
        with pytest.raises(UsageError, match="opened without stored sessions"):
            state.require_stored_sessions()
        state.close()
