"""Replies of a server that end in the middle, each behind the text `WRITTEN`."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tests.servers.fake_server import Answer, piece, sse

WRITTEN = "It is"
TIMEOUT = 0.5  # seconds, of the server's setting


@dataclass(frozen=True)
class Cut:
    """One way to end.

    Attributes:
        answer: What is sent.
        says: What the user is told.
    """

    answer: Answer
    says: str


_BEGUN = sse(piece(WRITTEN), done=False)
_WHOLE = sse(piece(" blü"), done=False)[0]
_HALF = _WHOLE[: _WHOLE.index("ü".encode()) + 1]
_ERROR = {"error": {"message": "CUDA out of memory", "type": "server_error"}}

CUTS = {
    "reset": Cut(Answer(_BEGUN, resets=True), "the connection to lab was cut"),
    "closed": Cut(Answer(_BEGUN, is_open=True), "the connection to lab was cut"),
    "error": Cut(
        Answer(sse(piece(WRITTEN), _ERROR, done=False)),
        "lab ended the reply: CUDA out of memory",
    ),
    "page": Cut(
        Answer([*_BEGUN, b"<html><title>502 Bad Gateway</title>\n<h1>502</h1>\n</html>\n"]),
        "the connection to lab was cut",
    ),
    "page as data": Cut(
        Answer([*_BEGUN, b"data: <html>502 Bad Gateway</html>\n\n"]),
        "lab sends no answer that can be read",
    ),
    "half a character": Cut(Answer([*_BEGUN, _HALF], cut=True), "the connection to lab was cut"),
    "half a character, closed": Cut(
        Answer([*_BEGUN, _HALF], is_open=True), "the connection to lab was cut"
    ),
    "silence": Cut(
        Answer(_BEGUN, hold=threading.Event(), seconds=4 * TIMEOUT),
        f"lab sent nothing for {TIMEOUT:g} seconds",
    ),
}
