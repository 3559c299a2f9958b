"""The files that hold words besides the sessions, for encrypting and decrypting a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.private_files import BESIDE
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.convertible_files import ConvertibleFiles, RemovedFiles
    from tchat.paths import Paths

TYPED_LINES = "history"  # the file of the lines typed in chats on lines, beside the sessions
TYPED_LINES_PURPOSE, PALETTE_PURPOSE = "typed lines", "palette"
HEADS = ("human.npz", "reading.npz", "preference.npz")


def convertible_files(paths: Paths) -> Sequence[ConvertibleFiles | RemovedFiles]:
    """Them, by kind; see `tchat.encryption.conversion`."""
    from tchat import log_file
    from tchat.chat import prompt_history
    from tchat.egress.egress_log import STORED_AS, open_egress_log
    from tchat.encryption.convertible_files import ConvertibleFiles, Form, RemovedFiles
    from tchat.judge.discriminator import PURPOSE as JUDGE_PURPOSE
    from tchat.tools import audit_log, undo_history

    judge = paths.judge
    left, older_left, hosts = open_egress_log(paths).files()
    return (
        ConvertibleFiles(
            tr("earlier prompts"),
            prompt_history.PURPOSE,
            Form.LINES,
            lambda: [paths.config / prompt_history.FILE],
        ),
        ConvertibleFiles(
            tr("typed lines"), TYPED_LINES_PURPOSE, Form.WHOLE, lambda: [paths.config / TYPED_LINES]
        ),
        ConvertibleFiles(
            tr("calls of tools"),
            audit_log.PURPOSE,
            Form.LINES,
            lambda: [paths.tool_log, paths.tool_log.with_name(f"{paths.tool_log.name}.1")],
        ),
        ConvertibleFiles(
            tr("files before tools changed them"),
            undo_history.PURPOSE,
            Form.WHOLE,
            lambda: [
                paths.tool_undo / undo_history.INDEX,
                *_found(paths.tool_undo, f"*{undo_history.SAVED}"),
            ],
        ),
        ConvertibleFiles(
            tr("replies for the judge"),
            JUDGE_PURPOSE,
            Form.LINES,
            lambda: _found(judge, "*/generations.jsonl"),
        ),
        ConvertibleFiles(
            tr("judges"),
            JUDGE_PURPOSE,
            Form.WHOLE,
            lambda: [
                *(path for name in HEADS for path in _found(judge, f"*/{name}")),
                *_found(judge, "*/games/*/game.npz"),
                *_found(judge, "*/games/*/report.md"),
            ],
        ),
        ConvertibleFiles(tr("palette"), PALETTE_PURPOSE, Form.WHOLE, lambda: [paths.palette_file]),
        ConvertibleFiles(tr("log of what left"), STORED_AS, Form.LINES, lambda: [left, older_left]),
        ConvertibleFiles(tr("hosts"), STORED_AS, Form.WHOLE, lambda: [hosts]),
        ConvertibleFiles(tr("log"), log_file.PURPOSE, Form.PIECES, lambda: [paths.log_file]),
        RemovedFiles(tr("snapshots"), lambda: _snapshots(paths)),
    )


def _found(folder: Path, pattern: str) -> Iterable[Path]:
    return sorted(folder.glob(pattern))


def _snapshots(paths: Paths) -> Iterable[Path]:
    """Snapshots and their index; chats are read once more."""
    index = paths.snapshots / "index.db"
    yield from (index.with_name(index.name + suffix) for suffix in BESIDE)
    yield from _found(paths.snapshots, "*.kv")
    yield from _found(paths.snapshots, "*.part")
    yield paths.snapshot_key
