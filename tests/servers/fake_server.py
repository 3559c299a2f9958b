"""A server on loopback that answers as it is told: the shapes of real ones, and every fault.

The shapes are those of the documentation: of vLLM ("OpenAI-Compatible Server"), SGLang ("OpenAI
APIs"), llama.cpp (``tools/server/README.md``), Ollama ("OpenAI compatibility"), LM Studio ("REST
API").
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

EVENTS = "text/event-stream"
CHAT = "/v1/chat/completions"
SOON = 5.0  # seconds


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        body: What is sent, piece by piece; each in a write of its own.
        cut: Whether the connection is closed without the end of the body.
        hold: Waits for this after the pieces, before the end.
        is_open: Whether the body has no length and ends with the connection.
        resets: Whether the connection is reset after the pieces.
        seconds: Waits for ``hold`` so long at most.
    """

    body: Iterable[bytes] = ()
    status: int = 200
    media_type: str = EVENTS
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    hold: threading.Event | None = None
    is_open: bool = False
    resets: bool = False
    seconds: float = 30.0


def json_answer(value: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer([json.dumps(value).encode()], status, "application/json", named)


def sse(*chunks: object, done: bool = True, newline: bytes = b"\n") -> list[bytes]:
    """The events of a stream, each as a piece."""
    texts = [json.dumps(chunk, ensure_ascii=False) for chunk in chunks] + ["[DONE]"] * done
    return [b"data: " + text.encode() + newline * 2 for text in texts]


def piece(text: str | None = None, end: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk of the first choice."""
    if text is not None:
        delta["content"] = text
    choice = {"index": 0, "delta": delta, "finish_reason": end}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}


def reply(text: str, *, done: bool = True, **usage: Any) -> Answer:
    """A whole reply, a word a chunk."""
    words = text.split(" ")
    chunks = [piece("", role="assistant")]
    chunks += [piece(word if n == 0 else " " + word) for n, word in enumerate(words)]
    chunks.append(piece(end="stop"))
    if usage:
        chunks.append({"choices": [], "usage": usage})
    return Answer(sse(*chunks, done=done))


def models(*ids: str, owner: str = "someone", **more: Any) -> Answer:
    data = [{"id": each, "object": "model", "owned_by": owner, **more} for each in ids]
    return json_answer({"object": "list", "data": data})


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    connection: int


class FakeServer:
    """Answers by path: the next of several, and the last again and again.

    Attributes:
        seen: The requests.
        connections: How many were opened.
        open: How many are.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self.connections = self.open = 0
        self._lock = threading.Lock()
        self._answers: dict[str, deque[Answer | Callable[[Seen], Answer]]] = defaultdict(deque)
        self.put("/v1/models", models("tiny"))

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def count(self, change: int) -> int:
        """Count a connection that was opened or closed; returns the number of the newest."""
        with self._lock:
            self.open += change
            self.connections += change > 0
            return self.connections

    def wait_for_closed(self) -> None:
        """Wait until the client has closed all its connections."""
        end = time.monotonic() + SOON
        while self.open and time.monotonic() < end:
            time.sleep(0.005)
        assert not self.open, f"{self.open} of {self.connections} connections are left open"

    def put(self, path: str, *answers: Answer | Callable[[Seen], Answer]) -> None:
        """Answer ``path`` with these, one after another."""
        self._answers[path] = deque(answers)

    def chat(self, *answers: Answer | Callable[[Seen], Answer]) -> None:
        self.put(CHAT, *answers)

    def bodies(self, path: str = CHAT) -> list[Any]:
        return [each.body for each in self.seen if each.path == path]

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        waiting = self._answers.get(seen.path)
        if not waiting:
            return json_answer({"error": {"message": "not found", "code": 404}}, 404)
        found = waiting[0] if len(waiting) == 1 else waiting.popleft()
        return found(seen) if callable(found) else found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up, or refuses the certificate


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.number = self.server.fake.count(1)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.fake.count(-1)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.loads(data) if data else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, body, self.number)
        try:
            self._send(self.server.fake.answer(seen))
        except OSError:  # the client is gone
            self.close_connection = True

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        if answer.media_type:
            self.send_header("content-type", answer.media_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        ends = ("connection", "close") if answer.is_open else ("transfer-encoding", "chunked")
        self.send_header(*ends)
        self.end_headers()
        for data in answer.body:
            self.wfile.write(data if answer.is_open else b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        if answer.hold is not None:
            answer.hold.wait(answer.seconds)
        if answer.resets:
            time.sleep(0.2)  # what was sent would be lost with it, if it came at once
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return
        if answer.cut or answer.is_open:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def serving(tls: Any = None) -> Iterator[FakeServer]:
    """A running fake, whose connections must be closed in the end.

    ``tls`` is the context of one with a certificate.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    scheme = "http"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    server.fake = FakeServer(f"{scheme}://127.0.0.1:{server.server_address[1]}/v1")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.fake
        server.fake.wait_for_closed()
    finally:
        server.shutdown()
        server.server_close()
