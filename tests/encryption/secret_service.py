"""A Secret Service, as a Linux desktop has one; what it holds is in memory.

`Service` answers calls, and `running` puts it on a real bus of its own, for other processes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUS = "DBUS_SESSION_BUS_ADDRESS"
NAME = "org.freedesktop.secrets"
COLLECTION = "/org/freedesktop/secrets/collection/login"
ERROR = "org.freedesktop.DBus.Error.UnknownMethod"
NONE = "/"


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """The environment of programs that shall use the service, while it runs.

    Raises:
        FileNotFoundError: There is no `dbus-daemon`.
    """
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it may not raise its own limits
        text=True,
    )
    try:
        assert bus.stdout is not None
        environment = {BUS: bus.stdout.readline().strip()}
        service = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == "ready\n"
            yield environment
        finally:
            _end(service)
    finally:
        _end(bus)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


class Service:
    """Answers the calls that `secretstorage` makes."""

    def __init__(self) -> None:
        self.is_locked = False
        self._sessions: dict[str, Any] = {}
        self._items: dict[str, tuple[dict[str, str], bytes]] = {}
        self._made = 0

    def add(self, attributes: dict[str, str], secret: bytes) -> None:
        """Hold an item."""
        self._items[self._new_path("collection/login")] = (attributes, secret)

    def answer(self, path: str, method: str, body: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        """The signature and the body of the answer; KeyError for what is unknown."""
        if path.startswith(f"{COLLECTION}/") and path not in self._items:
            raise KeyError(path)
        if method == "Get":
            return "v", ({"Label": ("s", "a label"), "Locked": ("b", self.is_locked)}[body[1]],)
        if method == "OpenSession":
            return self._open_session(body[1][1])
        if method == "SearchItems":
            found = self._found(body[0])
            is_of_all = path == "/org/freedesktop/secrets"
            both = ([], found) if self.is_locked else (found, [])
            return ("aoao", both) if is_of_all else ("ao", (found,))
        if method == "Unlock":
            return "aoo", (body[0], NONE)
        if method == "CreateItem":
            return self._create(*body)
        if method == "GetSecret":
            return self._secret(path, body[0])
        if method == "Delete":
            del self._items[path]
            return "o", (NONE,)
        raise KeyError(method)

    def _found(self, wanted: dict[str, str]) -> list[str]:
        return [path for path, (own, _) in self._items.items() if wanted.items() <= own.items()]

    def _open_session(self, public_key: bytes) -> tuple[str, tuple[Any, ...]]:
        from secretstorage.dhcrypto import Session

        session = Session()
        session.set_server_public_key(int.from_bytes(public_key, "big"))
        path = session.object_path = self._new_path("session")
        self._sessions[path] = session
        return "vo", (("ay", session.my_public_key.to_bytes(128, "big")), path)

    def _create(
        self, properties: dict[str, Any], secret: tuple[Any, ...], replace: bool
    ) -> tuple[str, tuple[Any, ...]]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        session, vector, sealed, _ = secret
        key = algorithms.AES(self._sessions[session].aes_key)
        cipher = Cipher(key, modes.CBC(bytes(vector))).decryptor()
        padded = cipher.update(bytes(sealed)) + cipher.finalize()
        attributes = properties[f"{NAME.replace('secrets', 'Secret')}.Item.Attributes"][1]
        for path in self._found(attributes) if replace else ():
            del self._items[path]
        self.add(attributes, padded[: -padded[-1]])
        return "oo", (self._found(attributes)[-1], NONE)

    def _secret(self, path: str, session: str) -> tuple[str, tuple[Any, ...]]:
        from secretstorage.util import format_secret

        found = format_secret(self._sessions[session], self._items[path][1], "text/plain")
        return "(oayays)", (found,)

    def _new_path(self, kind: str) -> str:
        self._made += 1
        return f"/org/freedesktop/secrets/{kind}/{self._made}"


def reply_to(service: Service, call: Any) -> Any:
    """The message that answers the message ``call``."""
    from jeepney import HeaderFields, new_error, new_method_return

    fields = call.header.fields
    try:
        answer = service.answer(fields[HeaderFields.path], fields[HeaderFields.member], call.body)
    except KeyError as error:
        return new_error(call, ERROR, "s", (str(error),))
    return new_method_return(call, *answer)


def main() -> None:
    """Serve until the process is ended."""
    from jeepney import MessageType
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import open_dbus_connection

    service = Service()
    with open_dbus_connection() as bus:
        bus.send_and_get_reply(message_bus.RequestName(NAME))
        print("ready", flush=True)
        while True:
            call = bus.receive()
            if call.header.message_type is MessageType.method_call:
                bus.send(reply_to(service, call))


if __name__ == "__main__":
    main()
