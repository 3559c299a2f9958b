"""A hub on loopback: the API, the files behind a redirect to another port, and every fault.

Endpoints as huggingface.co serves them: ``/api/models`` (search), ``/api/models/R`` and its
``revision/V`` and ``tree/V``, ``/R/resolve/V/FILE`` (HEAD and GET; a redirect to the storage for
files in the large file storage). The storage takes no token, knows Range, and signs its links.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from tests.models.gguf_builder import gguf

Place = Literal["api", "resolve", "storage"]
PIECE = 1 << 14  # bytes of one write
SIGNATURE = "X-Signature=s3cr3t-link"
GATED = ("GatedRepo", "Access to model is restricted.")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        status: Answer with this instead.
        headers: With these besides.
        body: And with this.
        cut: Close the connection after so many bytes of the body.
        stall: Send nothing more after so many bytes of the body, until the server closes.
        flip: Invert this byte of the file.
        no_range: Answer 200 with the whole file.
        size: Tell this size.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    stall: int | None = None
    flip: int | None = None
    no_range: bool = False
    size: int | None = None


PORTAL = Fault(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>")


def limited(seconds: int | None = None) -> Fault:
    return Fault(429, {} if seconds is None else {"Retry-After": str(seconds)})


@dataclass
class Seen:
    """One request, and the bytes of a file that were sent for it."""

    place: Place
    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass
class Repository:
    """A repository at one commit."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    tags: list[str] = field(default_factory=lambda: ["gguf", "license:apache-2.0"])
    gated: bool = False
    private: bool = False
    downloads: int = 100
    small: set[str] = field(default_factory=set)  # not in the large file storage
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        listed = "".join(f"{name} {len(data)}" for name, data in sorted(self.files.items()))
        return hashlib.sha1((self.name + listed).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """What the API tells about it."""
        return {
            "id": self.name,
            "sha": self.commit,
            "gated": "manual" if self.gated else False,
            "downloads": self.downloads,
            "likes": 7,
            "lastModified": "2025-04-28T09:12:11.000Z",
            "tags": self.tags,
            "siblings": [self.entry(name) for name in sorted(self.files)],
            "gguf": {"total": 596_049_920, "architecture": "qwen3", "context_length": 40960},
            **self.extra,
        }

    def entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        facts: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": oid(data)}
        if name not in self.small:
            facts["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
        return facts


@functools.lru_cache(maxsize=64)
def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=64)
def oid(data: bytes) -> str:
    """Git's hash of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubServer:
    """Two HTTP servers on loopback: the hub at ``url`` and its storage at ``storage_url``.

    Attributes:
        seen: Every request, in the order of arrival.
        token: The one that is accepted.
        pace: Seconds between two pieces of 16 KiB that the storage sends.
        small_buffers: Let the storage's system buffer no more than it must.
    """

    def __init__(self, *, pace: float = 0.0, small_buffers: bool = False) -> None:
        self.repositories: dict[str, Repository] = {}
        self.faults: dict[Place, deque[Fault]] = {"api": deque(), "resolve": deque()}
        self.faults["storage"] = deque()
        self.seen: list[Seen] = []
        self.token = "hf_test_token"
        self.pace = pace
        self.small_buffers = small_buffers
        self.closing = threading.Event()
        self.arrived = threading.Condition()
        self._hub = _serve(self, _HubHandler)
        self._storage = _serve(self, _StorageHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._hub.server_port}"

    @property
    def storage_url(self) -> str:
        return f"http://localhost:{self._storage.server_port}"

    def add(self, repo: str, files: Mapping[str, bytes], **facts: Any) -> Repository:
        """Hold ``files`` under ``repo``."""
        self.repositories[repo] = Repository(repo, dict(files), **facts)
        return self.repositories[repo]

    def fail(self, place: Place, *faults: Fault) -> None:
        """Let the next requests to ``place`` fail, one fault each."""
        self.faults[place].extend(faults)

    def sent(self) -> int:
        """Bytes of files that were sent so far."""
        return sum(request.sent for request in self.seen)

    def requests(self, place: Place) -> list[Seen]:
        return [request for request in self.seen if request.place == place]

    def wait_until_sent(self, count: int, seconds: float = 30.0) -> None:
        """Return when ``count`` bytes of files were sent."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.sent() >= count, seconds)

    def close(self) -> None:
        self.closing.set()
        for server in (self._hub, self._storage):
            server.shutdown()
            server.server_close()

    def by_hash(self, digest: str) -> bytes | None:
        for repository in self.repositories.values():
            for data in repository.files.values():
                if sha256(data) == digest:
                    return data
        return None


@contextmanager
def serving(**options: Any) -> Iterator[HubServer]:
    """A server for the time of a block."""
    server = HubServer(**options)
    try:
        yield server
    finally:
        server.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


def _serve(owner: HubServer, handler: type[BaseHTTPRequestHandler]) -> _Server:
    server = _Server(("127.0.0.1", 0), handler)
    server.owner = owner
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def hub(self) -> HubServer:
        return self.server.owner

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def note(self, place: Place) -> tuple[Seen, Fault]:
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(place, self.command, self.path, headers)
        self.hub.seen.append(seen)
        waiting = self.hub.faults[place]
        return seen, waiting.popleft() if waiting else Fault()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_json(self, value: Any) -> None:
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.answer(status, {key: value for key, value in headers.items() if value})

    def send_file(self, seen: Seen, fault: Fault, data: bytes, headers: dict[str, str]) -> None:
        """``data``, or the range asked for, with what goes wrong."""
        size = len(data) if fault.size is None else fault.size
        start, end, status = 0, len(data), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and not fault.no_range:
            start, status = int(asked[1]), 206
            end = min(int(asked[2]) + 1, len(data)) if asked[2] else len(data)
            if start >= len(data):
                self.answer(416, {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.send_response(status)
        length = size if status == 200 else end - start
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(seen, fault, memoryview(data)[start:end], start)

    def _send_body(self, seen: Seen, fault: Fault, body: memoryview, start: int) -> None:
        if fault.flip is not None and 0 <= fault.flip - start < len(body):
            changed = bytearray(body)
            changed[fault.flip - start] ^= 0xFF
            body = memoryview(changed)
        limits = [limit for limit in (fault.cut, fault.stall) if limit is not None]
        end = min([len(body), *limits])
        piece = PIECE if self.hub.pace or self.hub.small_buffers or limits else 1 << 20
        for at in range(0, end, piece):
            part = body[at : min(at + piece, end)]
            self.wfile.write(part)
            with self.hub.arrived:
                seen.sent += len(part)
                self.hub.arrived.notify_all()
            if self.hub.pace:
                time.sleep(self.hub.pace)
        if fault.stall is not None:
            self._wait_for_the_client()
        if limits:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _wait_for_the_client(self) -> None:
        """Until it gives up or the server closes."""
        self.connection.settimeout(0.1)
        while not self.hub.closing.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue
            except OSError:
                return


class _HubHandler(_Handler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)  # a proxy gets the whole address, a server the path
        path = unquote(url.path)
        seen, fault = self.note("api" if path.startswith("/api/") else "resolve")
        if fault.status:
            self.answer(fault.status, fault.headers, fault.body)
        elif path == "/api/models":
            self._search(parse_qs(url.query))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            self._describe(match[1], match[2] or "revision", match[3] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(seen, fault, match[1], match[2], match[3])
        else:
            self.answer(404, {})

    do_HEAD = do_GET  # noqa: N815 - http.server names it

    def _search(self, query: dict[str, list[str]]) -> None:
        words = query.get("search", [""])[0].lower()
        found = [r for r in self.hub.repositories.values() if words in r.name.lower()]
        found.sort(key=lambda repository: -repository.downloads)
        listed = [r.record() for r in found[: int(query.get("limit", ["100"])[0])]]
        self.answer_json([{k: v for k, v in each.items() if k != "siblings"} for each in listed])

    def _open(self, name: str, revision: str, *, content: bool = False) -> Repository | None:
        """The repository, when it may be seen; else the refusal is sent."""
        repository = self.hub.repositories.get(name)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token != self.hub.token:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and not token):
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif content and repository.gated and not token:
            self.refuse(401, *GATED)
        elif revision not in ("main", repository.commit):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repository
        return None

    def _describe(self, name: str, kind: str, revision: str) -> None:
        repository = self._open(name, revision)
        if repository is None:
            return
        if kind == "revision":
            self.answer_json(repository.record())
            return
        entries = (repository.entry(file) for file in sorted(repository.files))
        self.answer_json(
            [
                {
                    "type": "file",
                    "path": entry["rfilename"],
                    "size": entry["size"],
                    "oid": entry["blobId"],
                    **(
                        {"lfs": {**entry["lfs"], "oid": entry["lfs"]["sha256"]}}
                        if "lfs" in entry
                        else {}
                    ),
                }
                for entry in entries
            ]
        )

    def _resolve(self, seen: Seen, fault: Fault, name: str, revision: str, file: str) -> None:
        repository = self._open(name, revision, content=True)
        if repository is None:
            return
        data = repository.files.get(file)
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if file in repository.small:
            self.send_file(seen, fault, data, headers | {"ETag": f'"{oid(data)}"'})
            return
        digest = sha256(data)
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data))}
        headers["Location"] = f"{self.hub.storage_url}/{digest}?{SIGNATURE}"
        self.answer(302, headers)


class _StorageHandler(_Handler):
    def setup(self) -> None:
        super().setup()
        if self.hub.small_buffers:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)

    def do_GET(self) -> None:
        seen, fault = self.note("storage")
        url = urlsplit(self.path)
        data = self.hub.by_hash(url.path.strip("/"))
        if fault.status:
            self.answer(fault.status, fault.headers, fault.body)
        elif data is None or url.query != SIGNATURE or "Authorization" in self.headers:
            self.answer(403, {"Content-Type": "application/xml"}, b"<Error>AccessDenied</Error>")
        else:
            headers = {"ETag": f'"{sha256(data)[:32]}"', "Accept-Ranges": "bytes"}
            self.send_file(seen, fault, data, headers)

    do_HEAD = do_GET  # noqa: N815 - http.server names it


def serve_model(repo: str, file: str, size: int) -> None:
    """Serve a model with weights of noise in a process of its own, until standard input ends."""
    piece = random.Random(0).randbytes(1 << 24)
    with serving() as server:
        server.add(repo, {file: (gguf() + piece * (size // len(piece) + 1))[:size]})
        server.repositories[repo].record()  # the hashes are ready before anybody waits for them
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve_model(sys.argv[1], sys.argv[2], int(sys.argv[3]))
