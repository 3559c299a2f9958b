"""A process that began while the store was in clear, and runs on after `tchat lock on`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from tchat.chat.prompt_history import HistoryEntry, PromptHistory
from tchat.chat.store_conversion import kinds_of, turn_on
from tchat.egress.egress_log import EgressLog, Purpose
from tchat.encryption.lock_file import EncryptionState
from tchat.errors import StorageError
from tchat.judge.discriminator import write_arrays
from tchat.judge.training import ReplyCache
from tchat.log_file import LogFile
from tchat.paths import Paths, user_paths
from tchat.tools.approval import Decider, Decision
from tchat.tools.approval_rule import Verdict
from tchat.tools.audit_log import AuditLog
from tchat.tools.undo_history import UndoHistory
from tchat.tui.services.palette import PaletteUse
from tests.chat.test_stored_files import WRITTEN, found_in, read_all, write_all
from tests.encryption.locks import make_lock

LATER = "axolotl"  # what is written after the store was encrypted
ALLOWED = Decision(Verdict.ALLOW, Decider.USER)

WRITERS: dict[str, Callable[[Paths], Any]] = {
    "prompts": lambda paths: PromptHistory(paths.config).add(HistoryEntry(LATER), private=False),
    "tools": lambda paths: AuditLog(paths.tool_log).add_call("a", {"path": LATER}, ALLOWED),
    "undo": lambda paths: UndoHistory(paths.tool_undo).add(Path(LATER), LATER.encode(), "0"),
    "palette": lambda paths: PaletteUse(paths.palette_file).record(LATER),
    "replies": lambda paths: ReplyCache(paths.judge / "tiny" / "generations.jsonl").put(
        "q", 1, LATER
    ),
    "judge": lambda paths: write_arrays(
        paths.judge / "tiny" / "human.npz", {LATER: LATER}, {"w": numpy.arange(3.0)}
    ),
    "new judge": lambda paths: write_arrays(
        paths.judge / "other" / "human.npz", {LATER: LATER}, {"w": numpy.arange(3.0)}
    ),
    "log": lambda paths: LogFile(paths.log_file).append(LATER),
    "left": lambda paths: EgressLog(paths.egress_log).note_connection(Purpose.RPC, LATER),
}

RUNNING = """
import sys
from contextlib import suppress
from tchat.errors import StorageError
from tchat.paths import user_paths
from tests.encryption.test_clear_process import WRITERS

paths = user_paths()
assert paths.encryption is None
print("ready", flush=True)
sys.stdin.readline()
for name, write in WRITERS.items():
    try:
        write(paths)
    except StorageError as error:
        print(name, error, flush=True)
"""


def files_with(paths: Paths, word: str) -> list[str]:
    found = (path for path in paths.config.rglob("*") if path.is_file())
    return [path.name for path in found if word.encode() in path.read_bytes()]


def test_it_writes_nothing_in_clear_any_more() -> None:
    write_all(user_paths(), None)
    command = [sys.executable, "-c", RUNNING]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        paths = user_paths()
        encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
        for _ in turn_on(paths, encryption):
            pass
        told, _ = child.communicate("\n", timeout=60)
    assert child.returncode == 0
    assert not files_with(paths, LATER)
    assert not found_in(paths)
    assert read_all(paths, encryption) == WRITTEN
    assert "the store was encrypted while tchat ran; end this tchat and start it again" in told


@pytest.mark.parametrize("name", WRITERS)
def test_no_file_is_begun_in_clear_either(name: str) -> None:
    paths = user_paths()
    make_lock(paths)
    assert not [path for kind in kinds_of(paths) for path in kind.paths()]
    try:
        WRITERS[name](paths)
    except StorageError as error:
        assert "the store was encrypted while tchat ran" in error.message  # noqa: PT017
    assert not files_with(paths, LATER)
