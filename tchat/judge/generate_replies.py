"""Batch tasks that generate replies to prompts, and a cache of the replies on disk."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from tchat.engine.batch import BatchResult, BatchTask
from tchat.engine.events import Finished
from tchat.engine.prompt import ChatMessage
from tchat.errors import DoesNotFit, TchatError
from tchat.paths import private_file


def reply_task(index: int, prompt: str, seed: int) -> BatchTask:
    """A batch task that answers a prompt with its own seed."""
    chat = [ChatMessage("user", prompt)]
    return BatchTask(index, lambda: chat, seed)


def reply_text(outcome: BatchResult) -> str:
    """The reply of a task; empty if there is none, or the prompt does not fit.

    Raises:
        TchatError: It failed.
    """
    if isinstance(outcome.result, TchatError) and not isinstance(outcome.result, DoesNotFit):
        raise outcome.result
    return outcome.result.text.strip() if isinstance(outcome.result, Finished) else ""


class ReplyCache:
    """An append-only JSONL file of replies by prompt and number.

    Skips a line truncated by a crash.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, int], str] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                self._learn(line)

    def get(self, prompt: str, number: int) -> str | None:
        """The ``number``-th reply to ``prompt``; None if it is not cached."""
        return self._known.get((_key(prompt), number))

    def put(self, prompt: str, number: int, reply: str) -> None:
        """Cache a reply."""
        row = {"prompt": _key(prompt), "number": number, "reply": reply}
        with private_file(self._path).open("ab") as file:
            if file.tell() and not _ends_in_newline(self._path):
                file.write(b"\n")
            file.write(json.dumps(row).encode() + b"\n")
        self._known[_key(prompt), number] = reply

    def _learn(self, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._known[str(row["prompt"]), int(row["number"])] = str(row["reply"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return


def _key(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:32]


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
