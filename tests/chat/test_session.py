"""What the screen and the line chat share: the open session's store and settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat.session import OpenSession
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
        opened = OpenSession(Settings(), store)
        with opened.switch(session, model="other", typed=["think"]):
            assert opened.settings.sampling.temp == 0.3
            assert (opened.settings.think, opened.settings.model) == (Settings().think, "other")
        assert not opened.change({"seed": 7})
        assert opened.save_settings(session, ["seed"]).settings == {**session.settings, "seed": 7}
        with opened.switch(None, model="other"):
            assert opened.settings == replace(Settings(), model="other")
        opened.close()


def test_a_stored_session_ends_private_mode(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "sessions.db") as store:
        stored, _ = store.begin("Hello", title="", system="", settings={})
        opened = OpenSession(Settings(), store)
        with opened.switch(None, model="m", private=True):
            private, _ = opened.store.begin("Secret", title="", system="", settings={})
        assert opened.is_private
        assert opened.is_lost_when_left(private)
        with opened.switch(None, model="m"):
            assert opened.is_private
        with opened.switch(stored, model="m"):
            assert not opened.is_private
        assert [each.id for each in store.sessions()] == [stored.id]
        opened.close()


def test_without_stored_sessions_private_mode_cannot_be_left() -> None:
    with SessionStore.in_memory() as store:
        opened = OpenSession(Settings(), store)
        assert opened.is_private
        with pytest.raises(UsageError, match="opened with -n"):
            opened.require_stored_sessions()
        opened.close()
