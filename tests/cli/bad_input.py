"""One bad input: what is typed, what lies around, and what has to be said about it."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine.test_adapters import write_control_vector, write_lora
from tests.models.gguf_builder import but, gguf
from tests.tiny import N_EMBD, bpe_vocabulary, write_tiny

Make = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One call that must fail.

    Args:
        args: What is typed.
        code: The exit code.
        told: Words that the one line on standard error holds.
        stdin: What is piped in; None closes standard input.
        env: Variables, besides those of every call.
        files: What lies in the folder of the call, by name: bytes, or what makes it.
        home: The same in ``TCHAT_HOME``, put over what is there.
    """

    args: tuple[str, ...]
    code: int
    told: tuple[str, ...]
    stdin: bytes | None = b""
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes | Make] = field(default_factory=dict)
    home: Mapping[str, bytes | Make] = field(default_factory=dict)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    """A socket; by its relative name, which fits where the absolute one is too long."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def unreadable(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)


def newer_schema(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()


def tiny(**options: object) -> Make:
    """A tiny model with something wrong about it."""
    return lambda path: write_tiny(path, **options)  # type: ignore[arg-type]


def cut(path: Path) -> None:
    """A model whose download broke off."""
    write_tiny(path)
    os.truncate(path, path.stat().st_size // 2)


def doubled_tokens(path: Path) -> None:
    tokens = bpe_vocabulary().tokens
    write_tiny(path, metadata={"tokenizer.ggml.tokens": [tokens[0]] * 4 + list(tokens[4:])})


def other_width(path: Path) -> None:
    write_lora(path, N_EMBD // 2)


def other_direction(path: Path) -> None:
    write_control_vector(path, N_EMBD // 2)


def model(content: bytes | Make, *told: str) -> Bad:
    """A file that is no model which can chat."""
    return Bad(args=("-m", "x.gguf", "hi"), code=3, told=told, files={"x.gguf": content})


def header(*keys: bytes) -> bytes:
    """A model file of a few bytes, sound but for ``keys``."""
    return gguf(but(*keys))
