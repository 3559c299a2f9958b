"""Files that hold words: whole, secret and useful in an encrypted store, and on the way there."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy
import pytest

from tchat import log_file
from tchat.chat import prompt_history
from tchat.chat.prompt_history import HistoryEntry, PromptHistory
from tchat.chat.store_conversion import folders_of
from tchat.chat.stored_files import (
    PALETTE_PURPOSE,
    TYPED_LINES,
    TYPED_LINES_PURPOSE,
    convertible_files,
)
from tchat.egress import egress_log
from tchat.egress.egress_log import EgressLog, Purpose
from tchat.encryption import replacing
from tchat.encryption.encryption import Encryption
from tchat.encryption.file_cipher import DamagedFile
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.stored_kinds import KINDS
from tchat.encryption.unlock_sources import from_command
from tchat.errors import StorageError, StoreLocked
from tchat.judge import discriminator
from tchat.judge.discriminator import read_arrays, write_arrays
from tchat.judge.training import ReplyCache
from tchat.log_file import LogFile
from tchat.paths import Paths, user_paths
from tchat.tools import audit_log, undo_history
from tchat.tools.approval import Decider, Decision
from tchat.tools.approval_rule import Verdict
from tchat.tools.audit_log import AuditLog
from tchat.tools.undo_history import UndoHistory
from tchat.tui.services.palette import PaletteUse
from tests.encryption.locks import PASSPHRASE, make_lock

WORD = "quetzalcoatl"  # stands in everything that is written
ALLOWED = Decision(Verdict.ALLOW, Decider.USER)


def write_all(paths: Paths, encryption: Encryption | None) -> None:
    """Write to every file that holds words."""
    PromptHistory(paths.config, encryption).add(HistoryEntry(WORD), private=False)
    log = AuditLog(paths.tool_log, now=lambda: datetime.now(UTC), encryption=encryption)
    log.add_call("read_file", {"path": WORD}, ALLOWED)
    UndoHistory(paths.tool_undo, encryption).add(Path(WORD), WORD.encode(), "0")
    PaletteUse(paths.palette_file, encryption).record(WORD)
    ReplyCache(paths.judge / "tiny" / "generations.jsonl", encryption).put("p", 1, WORD)
    facts, arrays = {"replies": [WORD]}, {"w": numpy.arange(3.0)}
    for name in ("human.npz", "games/duel/game.npz"):
        write_arrays(paths.judge / "tiny" / name, facts, arrays, encryption)
    LogFile(paths.log_file, encryption).append(f"{WORD}\nhalf a line")
    left = EgressLog(paths.egress_log, encryption)
    left.note_connection(Purpose.RPC, WORD)


def read_all(paths: Paths, encryption: Encryption | None) -> list[object]:
    """What is read back from them."""
    undo = UndoHistory(paths.tool_undo, encryption)
    cache = ReplyCache(paths.judge / "tiny" / "generations.jsonl", encryption)
    arrays = [
        read_arrays(paths.judge / "tiny" / name, encryption)
        for name in ("human.npz", "games/duel/game.npz")
    ]
    return [
        [entry.text for entry in PromptHistory(paths.config, encryption).entries()],
        [line["arguments"] for line in AuditLog(paths.tool_log, encryption=encryption).lines()],
        [(entry.path, undo.content_of(entry)) for entry in undo.entries()],
        PaletteUse(paths.palette_file, encryption).first(),
        cache.get("p", 1),
        [(facts, found["w"].tolist()) for facts, found in arrays],
        "".join(LogFile(paths.log_file, encryption).pieces()).rstrip("\n"),
        [each.host for each in EgressLog(paths.egress_log, encryption).requests()],
    ]


WRITTEN = [
    [WORD],
    [{"path": WORD}],
    [(Path(WORD), WORD.encode())],
    [WORD],
    WORD,
    [({"replies": [WORD]}, [0.0, 1.0, 2.0])] * 2,
    f"{WORD}\nhalf a line",
    [WORD],
]


def files(paths: Paths) -> list[Path]:
    """All files but the lock and what is beside it."""
    found = {*paths.config.rglob("*"), *paths.cache.rglob("*")}
    return sorted(each for each in found if each.is_file() and not each.name.startswith("lock"))


def found_in(paths: Paths) -> list[str]:
    """The files that hold the word, in a form that one could look for."""
    forms = [WORD.encode(code) for code in ("utf-8", "utf-16-le", "utf-32-le")]
    return [each.name for each in files(paths) if any(form in each.read_bytes() for form in forms)]


def convert(paths: Paths, encryption: Encryption, *, back: bool = False) -> None:
    """Convert all files."""
    for kind in convertible_files(paths):
        (kind.decrypt if back else kind.encrypt)(encryption.conversion_keys())


def test_what_is_written_is_read_and_no_word_is_on_the_disk() -> None:
    encryption = make_lock(user_paths())
    paths = user_paths()
    write_all(paths, encryption)
    assert not found_in(paths)
    assert read_all(paths, encryption) == WRITTEN


def test_a_store_in_clear_is_as_it_was() -> None:
    paths = user_paths()
    write_all(paths, None)
    assert len(found_in(paths)) == 10
    assert read_all(paths, None) == WRITTEN


def test_files_are_converted_and_back_with_the_same_content() -> None:
    write_all(user_paths(), None)
    before = {path: path.read_bytes() for path in files(user_paths())}
    encryption = make_lock(user_paths())
    paths = user_paths()
    for _ in range(2):
        convert(paths, encryption)
        assert not found_in(paths)
        assert read_all(paths, encryption) == WRITTEN
    for _ in range(2):
        convert(paths, encryption, back=True)
    assert {path: path.read_bytes().rstrip(b"\n") for path in before} == {
        path: data.rstrip(b"\n") for path, data in before.items()
    }


@pytest.mark.parametrize("back", [False, True], ids=["on", "off"])
def test_a_conversion_that_is_killed_anywhere_goes_on(
    monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    write_all(user_paths(), None)
    encryption = make_lock(user_paths())
    paths = user_paths()
    if back:
        convert(paths, encryption)
    left = 0
    real: Callable[..., None] = replacing.put_in_place

    def killed(*args: object, **options: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        real(*args, **options)

    monkeypatch.setattr(replacing, "put_in_place", killed)
    kills = 0
    for _ in range(40):
        left = 1
        try:
            convert(paths, encryption, back=back)
        except KeyboardInterrupt:
            kills += 1
            continue
        break
    assert 5 < kills < 39
    replacing.remove_leftovers(folders_of(paths))
    assert bool(found_in(paths)) is back
    assert read_all(paths, None if back else encryption) == WRITTEN


def test_a_damaged_line_costs_that_line_and_a_damaged_file_itself() -> None:
    encryption = make_lock(user_paths())
    paths = user_paths()
    history = PromptHistory(paths.config, encryption)
    for text in ("one", "two", "three"):
        history.add(HistoryEntry(text), private=False)
    stored = paths.config / "history.jsonl"
    lines = stored.read_bytes().splitlines()
    lines[1] = lines[1][:-9] + b"AAAAAAAA="
    stored.write_bytes(b"\n".join(lines[:2]) + b"\n" + lines[2][:30])  # and half a line
    history.add(HistoryEntry("four"), private=False)
    assert [entry.text for entry in history.entries()] == ["one", "four"]

    head = paths.judge / "human.npz"
    write_arrays(head, {}, {"w": numpy.arange(3.0)}, encryption)
    data = bytearray(head.read_bytes())
    data[-1] ^= 1
    head.write_bytes(data)
    with pytest.raises(DamagedFile, match=r"human\.npz is damaged: segment 1 "):
        read_arrays(head, encryption)


def test_files_in_clear_are_not_read_in_an_encrypted_store() -> None:
    write_all(user_paths(), None)
    encryption = make_lock(user_paths())
    paths = user_paths()
    assert PromptHistory(paths.config, encryption).entries() == []
    assert list(AuditLog(paths.tool_log, encryption=encryption).lines()) == []
    with pytest.raises(StorageError, match="not encrypted"):
        UndoHistory(paths.tool_undo, encryption).entries()


def test_a_locked_store_has_no_history_and_asks_nobody() -> None:
    paths = user_paths()
    encryption = make_lock(paths)
    write_all(paths, encryption)
    locked = Encryption(paths.lock_file)
    locked.sources = (lambda _: pytest.fail("asked"),)
    history = PromptHistory(paths.config, locked)
    history.add(HistoryEntry("later"), private=False)
    assert history.entries() == []
    AuditLog(paths.tool_log, is_private=True, encryption=locked).add_call("t", {}, ALLOWED)
    assert not LogFile(paths.log_file, locked).append(WORD)
    with pytest.raises(StoreLocked, match="cannot be kept: the store is locked"):
        UndoHistory(paths.tool_undo, locked).add(Path("file"), b"before", "0")
    locked.sources = ()
    locked.unlock(PASSPHRASE)
    assert [entry.text for entry in history.entries()] == [WORD]


def _append(home: Path, number: int) -> None:
    paths = Paths(home, home / "cache")
    encryption = Encryption(home / "lock.json")
    # As a command: it waits for the tries of the others.
    encryption.sources = (from_command({"TCHAT_PASSPHRASE_COMMAND": f"echo '{PASSPHRASE}'"}),)
    assert encryption.unlock_unattended()
    log = AuditLog(paths.tool_log, encryption=encryption)
    for index in range(50):
        log.add_call(f"tool-{number}-{index}", {"text": "x" * 500}, ALLOWED)


def test_lines_of_several_processes_stay_whole(home: Path) -> None:
    encryption = make_lock(user_paths())
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append, args=(home, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log = AuditLog(user_paths().tool_log, encryption=encryption)
    assert len({json.dumps(line) for line in log.lines()}) == 200


def test_snapshots_are_removed_when_the_store_is_encrypted() -> None:
    encryption = make_lock(user_paths(), state=EncryptionState.TURNING_ON)
    paths = user_paths()
    paths.snapshots.mkdir(parents=True)
    (paths.snapshots / f"{'0' * 16}.kv").write_bytes(WORD.encode())
    (paths.snapshots / "index.db").write_bytes(WORD.encode())
    paths.snapshot_key.write_bytes(bytes(32))
    convert(paths, encryption)
    assert not found_in(paths)
    assert not list(paths.snapshots.iterdir())
    assert not paths.snapshot_key.exists()


def test_files_are_converted_for_the_purpose_that_they_are_read_with() -> None:
    listed = {
        pattern: each.purpose
        for kind in KINDS
        for each in kind.encrypted
        for pattern in each.patterns
    }
    rooms = {
        "history.jsonl": prompt_history.PURPOSE,
        TYPED_LINES: TYPED_LINES_PURPOSE,
        "judge/*/generations.jsonl": discriminator.PURPOSE,
        "judge/*/human.npz": discriminator.PURPOSE,
        "judge/*/games/*/report.md": discriminator.PURPOSE,
        "tool-log.jsonl": audit_log.PURPOSE,
        f"tool-undo/{undo_history.INDEX}": undo_history.PURPOSE,
        f"tool-undo/*{undo_history.SAVED}": undo_history.PURPOSE,
        "egress.jsonl": egress_log.STORED_AS,
        "egress-hosts.json": egress_log.STORED_AS,
        "tchat.log": log_file.PURPOSE,
        "palette.json": PALETTE_PURPOSE,
    }
    assert listed | rooms == listed
