from __future__ import annotations

import socket
from typing import Any

import pytest

ELSEWHERE = ".elsewhere.test"  # hosts of this ending are not this machine by their names


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hosts elsewhere be servers of this test."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        is_elsewhere = isinstance(name, str) and name.endswith(ELSEWHERE)
        return look_up("127.0.0.1" if is_elsewhere else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
