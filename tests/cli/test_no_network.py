"""Nothing leaves the machine: no command that chats or lists opens a socket or looks up a name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.shell import tchat
from tests.tiny import write_tiny

# Python runs this before anything else, in the probes that tchat starts too.
WATCH = """
import os, sys

def watch(event, args):
    if event.startswith("socket."):
        with open(os.environ["SOCKETS_SEEN"], "a") as file:
            file.write(f"{event} {args}\\n")

sys.addaudithook(watch)
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that every use of a socket, in any Python started from here, is written to."""
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    path = os.environ.get("PYTHONPATH", "")
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), root, path))))
    record = tmp_path / "seen"
    record.write_bytes(b"")
    monkeypatch.setenv("SOCKETS_SEEN", str(record))
    return record


SHORT = ("--max-tokens", "2")


@pytest.mark.parametrize(
    "args",
    [
        ("hi", *SHORT),
        ("-f", "notes.md", "What is missing?", *SHORT),
        ("-c", "more", *SHORT),
        ("--json", "--choose", "a,b", "hi"),
        ("--schema", '{"type": "boolean"}', "hi"),
        ("-t", "proofread", "hi", *SHORT),
        ("--plain",),
        ("sessions", "ls"),
        ("sessions", "search", "hi"),
        ("sessions", "export"),
        ("config", "show"),
        ("prompts", "ls"),
        ("models", "ls"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_no_socket_is_opened(
    args: tuple[str, ...],
    seen: Path,
    tiny_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").write_text("one\n", encoding="utf-8")
    monkeypatch.setenv("TCHAT_MAX_TOKENS", "4")
    if "-c" in args:
        assert tchat("one").code == 0
    ran = tchat(*args, stdin=b"hello\n" if "--plain" in args else b"")
    assert ran.code == 0, ran
    assert seen.read_text(encoding="utf-8") == ""


def test_no_socket_is_opened_by_the_check_of_a_new_file(
    seen: Path, home: Path, tmp_path: Path
) -> None:
    model = write_tiny(tmp_path / "new.gguf")
    assert tchat("-m", str(model), "hi", *SHORT).code == 0
    assert seen.read_text(encoding="utf-8") == ""


def test_a_socket_would_be_seen(seen: Path) -> None:
    program = "import socket; socket.socket().close(); socket.getaddrinfo('127.0.0.1', 80)"
    assert tchat(command=(sys.executable, "-c", program)).code == 0
    recorded = seen.read_text(encoding="utf-8")
    assert "socket.__new__" in recorded
    assert "socket.getaddrinfo" in recorded
