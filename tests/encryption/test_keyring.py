"""Keys in the system's keyring: Linux's own service first, then whatever `keyring` finds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import keyring
import pytest
from keyring.backend import KeyringBackend

from tchat.encryption import system_keyring
from tchat.errors import UsageError

SECRET = bytes(range(32))


class RecordingKeyring(KeyringBackend):
    """Holds one key, and counts who asks for it."""

    priority = 0
    asked = 0

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        return SECRET.hex() if (service, username) == ("tchat", "lock a") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise OSError(password)

    def delete_password(self, service: str, username: str) -> None:
        raise OSError


class Item:
    def __init__(self, secret: bytes, *, locked: bool = False) -> None:
        self._secret, self._locked = secret, locked

    def is_locked(self) -> bool:
        return self._locked

    def get_secret(self) -> bytes:
        assert not self._locked
        return self._secret


class Bus:
    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingKeyring]:
    monkeypatch.delenv(system_keyring.BACKEND, raising=False)
    before, made = keyring.get_keyring(), RecordingKeyring()  # type: ignore[no-untyped-call]
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def use_service(
    monkeypatch: pytest.MonkeyPatch, search: Callable[[object, dict[str, str]], list[Item]]
) -> None:
    """Put a Secret Service that answers with ``search`` in the place of the session's."""
    service = ModuleType("secretstorage")
    service.dbus_init = Bus  # type: ignore[attr-defined]
    service.search_items = search  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "secretstorage", service)
    monkeypatch.setattr(sys, "platform", "linux")


def test_linuxs_own_service_answers_alone(
    ring: RecordingKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = []

    def search(_: object, attributes: dict[str, str]) -> list[Item]:
        wanted.append(attributes)
        return [Item(b"", locked=True), Item(SECRET.hex().encode())]

    use_service(monkeypatch, search)
    assert system_keyring.find_secret("lock a") == SECRET
    assert wanted == [{"service": "tchat", "username": "lock a"}]
    assert ring.asked == 0


def failing(_: object, __: object) -> list[Item]:
    raise RuntimeError


@pytest.mark.parametrize(
    "search",
    [
        failing,
        lambda _, __: [],
        lambda _, __: [Item(b"", locked=True)],
        lambda _, __: [Item("ä".encode())],
    ],
)
def test_where_it_has_nothing_the_package_is_asked(
    ring: RecordingKeyring,
    monkeypatch: pytest.MonkeyPatch,
    search: Callable[[object, dict[str, str]], list[Item]],
) -> None:
    use_service(monkeypatch, search)
    assert system_keyring.find_secret("lock a") == SECRET
    assert ring.asked == 1


def test_the_users_choice_of_another_keyring_counts(
    ring: RecordingKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_service(monkeypatch, lambda _, __: [Item(b"00")])
    monkeypatch.setenv(system_keyring.BACKEND, "another.Keyring")
    assert system_keyring.find_secret("lock a") == SECRET


def test_no_message_of_a_backend_shows_a_key(ring: RecordingKeyring) -> None:
    with pytest.raises(UsageError) as caught:
        system_keyring.save_secret("lock a", SECRET)
    assert SECRET.hex() not in str(caught.value)
