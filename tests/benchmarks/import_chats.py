"""Import of a ChatGPT export of 200 MB, as whole processes: its time, its memory, its branches.

The export is made in the shape of real ones: trees with a hidden root, thoughts, calls of tools,
replies that were written again, and prompts that were edited.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tchat.sessions.store import SessionStore
from tests.benchmarks.rows import Row

MEGABYTES = 200
SECONDS, GROWTH = 60, 150  # allowed; MB
WORDS = (
    *("the", "model", "reads", "a", "prompt", "and", "writes", "replies", "—", "Grüße,", "模型"),
    *("`code`", "**bold**\n\n", "- one\n", "```py\nprint('hello')\n```\n"),
)

MEASURED = """
import re, sys
from pathlib import Path
from tchat.cli.main import run
sys.argv[0] = "tchat"
try:
    run()
finally:
    status = Path("/proc/self/status").read_text()
    print(int(re.search("VmHWM:\\\\s+(\\\\d+) kB", status)[1]) // 1024, file=sys.stderr)
"""


class Made(NamedTuple):
    """What an export contains."""

    chats: int
    messages: int
    branches: int
    size: int


class Measured(NamedTuple):
    """What one import took."""

    seconds: float
    megabytes: int


def rows() -> Iterator[Row]:
    """Each import in a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        export, small = Path(folder, "export.zip"), Path(folder, "small.json")
        made = write_export(export, MEGABYTES << 20)
        write_export(small, 1)
        home = Path(folder, "home")
        base = _import(small, Path(folder, "other"))
        first = _import(export, home)
        again = _import(export, home)
        found = _stored(home)
    what = f"import of {made.size >> 20} MB, {made.chats:,} chats, {made.messages:,} messages"
    for name, taken in (("", first), ("again: ", again)):
        growth = taken.megabytes - base.megabytes
        yield Row(
            f"{name}{what}", f"{taken.seconds:.0f} s", f"<= {SECONDS} s", taken.seconds <= SECONDS
        )
        yield Row(
            f"{name}memory over that of one chat",
            f"{growth} MB",
            f"<= {GROWTH} MB",
            growth <= GROWTH,
        )
    expected = made.chats, made.messages, made.branches
    yield Row(
        "chats, messages and branches that are there", str(found), str(expected), found == expected
    )


def _import(export: Path, home: Path) -> Measured:
    started = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, "sessions", "import", str(export)],
        env={**os.environ, "TCHAT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Measured(time.perf_counter() - started, int(ran.stderr.splitlines()[-1]))


def _stored(home: Path) -> tuple[int, int, int]:
    with SessionStore(home / "sessions.db") as store:
        sessions = store.sessions()
        leaves = 0
        for session in sessions:
            parents, numbers = set(), set()
            for message, _ in store.messages(session.id):
                numbers.add(message.id)
                parents.add(message.parent_id)
            leaves += len(numbers - parents)
        return len(sessions), sum(each.messages for each in sessions), leaves


def write_export(path: Path, size: int) -> Made:
    """Write an export of about ``size`` bytes of JSON, packed where the name ends in .zip."""
    if path.suffix == ".zip":
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
            packed.open("conversations.json", "w", force_zip64=True) as file,
        ):
            return _write(file, size)
    with path.open("wb") as file:
        return _write(file, size)


def _write(file: Any, size: int) -> Made:
    chance = random.Random(7)
    written = chats = messages = branches = 0
    file.write(b"[")
    while written < size:
        conversation = _Conversation(chance, chats)
        data = json.dumps(conversation.made()).encode()
        file.write((b", " if chats else b"") + data)
        written += len(data)
        chats += 1
        messages += conversation.messages
        branches += conversation.branches
    file.write(b"]")
    return Made(chats, messages, branches, written)


class _Conversation:
    """A tree of nodes as ChatGPT exports it, with the number of messages that it should become."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance = chance
        self._time = 1_700_000_000.0 + number * 1000
        self._number = number
        self._mapping: dict[str, Any] = {}
        self.messages = 0
        self.branches = 1

    def made(self) -> dict[str, Any]:
        """The conversation."""
        root = self._node(None, None)
        tip = self._node(root, "system", "", weight=0.0)
        for _ in range(self._chance.randint(1, 12)):
            tip = self._turn(tip)
        return {
            "title": self._text(5),
            "create_time": self._time,
            "update_time": self._time + 500,
            "mapping": self._mapping,
            "moderation_results": [],
            "current_node": tip,
            "plugin_ids": None,
            "conversation_id": f"{self._chance.getrandbits(128):032x}",
            "default_model_slug": "gpt-5",
        }

    def _turn(self, tip: str) -> str:
        """A prompt, sometimes edited, and its replies, sometimes several; the node of the last."""
        edits = 1 + (self._chance.random() < 0.1)
        self.branches += edits - 1
        reply = tip
        for _ in range(edits):
            asked = self._node(tip, "user", self._text(40))
            self.messages += 1
            replies = 1 + (self._chance.random() < 0.15)
            self.branches += replies - 1
            for _ in range(replies):
                reply = self._reply(asked)
        return reply

    def _reply(self, asked: str) -> str:
        self.messages += 1
        if self._chance.random() < 0.3:
            thought = {"summary": self._text(4), "content": self._text(60)}
            content = {"content_type": "thoughts", "thoughts": [thought]}
            asked = self._node(asked, "assistant", content=content)
        if self._chance.random() < 0.1:
            code = {"content_type": "code", "language": "python", "text": self._text(30)}
            asked = self._node(asked, "assistant", content=code, recipient="python")
            output = {"content_type": "execution_output", "text": self._text(20)}
            asked = self._node(asked, "tool", content=output)
        return self._node(asked, "assistant", self._text(250))

    def _node(
        self,
        parent: str | None,
        role: str | None,
        text: str = "",
        *,
        content: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        key = f"{self._chance.getrandbits(128):032x}"
        message = None
        if role is not None:
            self._time += 10
            message = {
                "id": key,
                "author": {"role": role, "name": None, "metadata": {}},
                "create_time": self._time,
                "update_time": None,
                "content": content or {"content_type": "text", "parts": [text]},
                "status": "finished_successfully",
                "end_turn": role == "assistant",
                "weight": 1.0,
                "metadata": {"model_slug": "gpt-5", "request_id": key, "timestamp_": "absolute"},
                "recipient": "all",
                "channel": None,
                **changes,
            }
        self._mapping[key] = {"id": key, "message": message, "parent": parent, "children": []}
        if parent is not None:
            self._mapping[parent]["children"].append(key)
        return key

    def _text(self, words: int) -> str:
        count = max(1, int(self._chance.gauss(words, words / 3)))
        return " ".join(self._chance.choices(WORDS, k=count))
