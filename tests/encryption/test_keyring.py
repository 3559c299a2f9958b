"""Keys in the system's keyring: Linux's own service first, then whatever `keyring` finds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from tchat.encryption import system_keyring
from tchat.errors import UsageError
from tests.encryption.secret_service import Service, reply_to

SECRET = bytes(range(32))
OWN = bytes(range(32, 64))  # what the service holds


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


class Bus:
    """A connection to a service in this process."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def send_and_get_reply(self, call: Any, *, timeout: float) -> Any:
        assert timeout
        return reply_to(self._service, call)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingKeyring]:
    monkeypatch.delenv(system_keyring.BACKEND, raising=False)
    before, made = keyring.get_keyring(), RecordingKeyring()  # type: ignore[no-untyped-call]
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def use_service(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """Put ``service`` in the place of the session's."""
    monkeypatch.setattr("jeepney.io.blocking.open_dbus_connection", lambda: Bus(service))
    monkeypatch.setattr(sys, "platform", "linux")


def holding(secret: bytes, *, account: str = "lock a", is_locked: bool = False) -> Service:
    service = Service()
    service.add({"service": "tchat", "username": account, "application": "keyring"}, secret)
    service.is_locked = is_locked
    return service


def test_linuxs_own_service_answers_alone(
    ring: RecordingKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_service(monkeypatch, holding(OWN.hex().encode()))
    assert system_keyring.find_secret("lock a") == OWN
    assert ring.asked == 0


class KnownKey(Service):
    """Answers with a public key that makes the shared one known to who listens."""

    def answer(self, path: str, method: str, body: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        signature, found = super().answer(path, method, body)
        return signature, (("ay", bytes([1])), found[1]) if method == "OpenSession" else found


class Failing(Service):
    """Knows no call."""

    def answer(self, path: str, method: str, body: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        raise KeyError(method)


def known_key() -> Service:
    service = KnownKey()
    service.add({"service": "tchat", "username": "lock a"}, OWN.hex().encode())
    return service


@pytest.mark.parametrize(
    "make",
    [
        Failing,
        Service,
        known_key,
        lambda: holding(OWN.hex().encode(), is_locked=True),
        lambda: holding(OWN.hex().encode(), account="lock b"),
        lambda: holding("ä".encode()),
    ],
)
def test_where_it_has_nothing_the_package_is_asked(
    ring: RecordingKeyring, monkeypatch: pytest.MonkeyPatch, make: Callable[[], Service]
) -> None:
    use_service(monkeypatch, make())
    assert system_keyring.find_secret("lock a") == SECRET
    assert ring.asked == 1


def test_the_users_choice_of_another_keyring_counts(
    ring: RecordingKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_service(monkeypatch, holding(OWN.hex().encode()))
    monkeypatch.setenv(system_keyring.BACKEND, "another.Keyring")
    assert system_keyring.find_secret("lock a") == SECRET


def test_no_message_of_a_backend_shows_a_key(
    ring: RecordingKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "priority", 5, raising=False)
    with pytest.raises(UsageError) as caught:
        system_keyring.save_secret("lock a", SECRET)
    assert SECRET.hex() not in str(caught.value)


class ForgetfulKeyring(RecordingKeyring):
    """Takes keys, and keeps none."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Forget it."""


@pytest.mark.parametrize("account", ["lock a", "lock b"])
def test_a_keyring_that_keeps_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, ring: RecordingKeyring, account: str
) -> None:
    forgetful = ForgetfulKeyring()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(forgetful, "priority", 5, raising=False)
    keyring.set_keyring(forgetful)
    with pytest.raises(UsageError, match="keeps nothing"):
        system_keyring.save_secret(account, bytes(32))


def test_a_keyring_in_clear_is_refused_unless_the_user_chose_it(
    monkeypatch: pytest.MonkeyPatch, ring: RecordingKeyring
) -> None:
    class Clear(RecordingKeyring):
        kept = ""

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept = password

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept or None

    clear = Clear()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(clear, "priority", 0.5, raising=False)
    keyring.set_keyring(clear)
    with pytest.raises(UsageError, match="does not protect"):
        system_keyring.save_secret("lock b", SECRET)
    assert clear.kept == ""
    monkeypatch.setenv(system_keyring.BACKEND, "its.Name")
    system_keyring.save_secret("lock b", SECRET)
    assert clear.kept == SECRET.hex()
