"""A store that is encrypted and decrypted, and killed: ``python -m tests.encryption.converting``.

Arguments: a folder, how many kills, a seed. Each converter is forked, and dies by SIGKILL at a
moment or at a step that changes the disk; then the store must be whole, and finished by the next
one. A process of its own, because forking one with threads is not sound.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tchat.chat.store_conversion import turn_off, turn_on
from tchat.encryption.conversion import ConversionProgress
from tchat.encryption.encryption import Encryption
from tchat.encryption.lock_file import EncryptionState, read_lock_file
from tchat.paths import Paths
from tchat.private_files import write_private
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.chat.test_stored_files import WORD as OTHER_WORD
from tests.chat.test_stored_files import WRITTEN, read_all, write_all
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.sessions.stores import new_session

WORD = "heronweir"  # in everything that is written
CHATS, MESSAGES = 30, 12
STEPS = 200  # of a conversion, or some more
CHANGES = {"open", "os.rename", "os.remove", "os.link", "os.truncate", "sqlcipher3.dbapi2.connect"}

Convert = Callable[[Paths, Encryption], Iterator[ConversionProgress]]
Content = dict[int, tuple[str, str]]


def fill(paths: Paths) -> Content:
    """Write chats in clear, copies of the database beside it, and what a kill left."""
    with SessionStore(paths.sessions_db) as store:
        store._database._connection.execute("PRAGMA synchronous = OFF")
        for chat in range(CHATS):
            session, parent = new_session(store, title=f"{WORD} {chat}", system=WORD), None
            for number in range(MESSAGES):
                text = f"{WORD} {number} of {chat} " * (number + 1)
                parent = store.add(session.id, Role.USER, text, parent_id=parent).id
        found = content_of(store)
    sound = paths.sessions_db.read_bytes()
    beside(paths, ".backup-v5").write_bytes(sound)
    beside(paths, ".corrupt-20260101-000000").write_bytes(WORD.encode() * 9999)
    beside(paths, ".corrupt-20260102-000000").write_bytes(sound[:20_000] + bytes(5000))
    beside(paths, ".salvaged").write_bytes(sound)
    paths.config.joinpath(".history.4194305.part").write_text(WORD)
    write_all(paths, None)
    for name in ("index.db", "0123.kv"):
        write_private(paths.snapshots / name, WORD.encode() * 9999)
    return found


def beside(paths: Paths, ending: str) -> Path:
    return paths.sessions_db.with_name(paths.sessions_db.name + ending)


def content_of(store: SessionStore) -> Content:
    return {
        message.id: (session.id, message.text)
        for session in store.sessions()
        for message in store.tree(session.id).messages
    }


def finish(convert: Convert, paths: Paths, encryption: Encryption) -> None:
    for _ in convert(paths, encryption):
        pass


def readable(paths: Paths) -> list[Path]:
    """The files that show a word."""
    files = (path for path in paths.config.rglob("*") if path.is_file())
    words = (WORD.encode(), OTHER_WORD.encode())
    return [path for path in files if any(word in path.read_bytes() for word in words)]


def check_encrypted(paths: Paths, encryption: Encryption, content: Content) -> None:
    assert read_lock_file(paths.lock_file).state is EncryptionState.ON
    assert not readable(paths), readable(paths)
    with SessionStore(paths.sessions_db, encryption) as store:
        assert store.notices == []
        assert content_of(store) == content
    assert not list(paths.snapshots.glob("*"))
    if content:
        assert read_all(paths, encryption) == WRITTEN


def check_clear(paths: Paths, content: Content) -> None:
    assert not paths.lock_file.exists()
    with SessionStore(paths.sessions_db) as store:
        assert store.notices == []
        assert content_of(store) == content
    assert read_all(paths, None) == WRITTEN
    garbage = beside(paths, ".corrupt-20260101-000000").read_bytes()
    assert garbage == WORD.encode() * 9999
    assert not [path for path in paths.config.rglob(".*") if path.is_file()]


def killed(work: Callable[[], Any], step: int | None, seconds: float) -> bool:
    """Do ``work`` in a child that dies at a step or after some time; whether it died of that."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            if step is not None:
                die_at(step)
            work()
            os._exit(0)
        os._exit(1)
    if step is None:
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, ending = os.waitpid(child, 0)
    if os.WIFSIGNALED(ending):
        assert os.WTERMSIG(ending) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(ending) == 0, "the conversion failed"
    return False


def die_at(step: int) -> None:
    """Die before the step of that number that may change the disk."""
    left = step

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event in CHANGES:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def run(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill ``kills`` conversions; each is finished, or turned back, by the next one."""
    chance = random.Random(seed)
    paths = Paths(folder, folder / "cache")
    content = fill(paths)
    died = turned_back = 0
    longest = 0.3  # seconds, until one was measured
    is_clear = True
    while died < kills:
        if not paths.lock_file.exists():
            encryption = make_lock(paths, state=EncryptionState.TURNING_ON)
        convert: Convert = turn_on if is_clear else turn_off
        step = chance.randrange(STEPS) if chance.random() < 0.5 else None
        was_killed = killed(
            lambda: finish(convert, paths, encryption),  # noqa: B023 - called at once
            step,
            chance.uniform(0, longest),
        )
        died += was_killed
        if paths.lock_file.exists():
            encryption.forget()  # the next process begins with the passphrase
            encryption.unlock(PASSPHRASE)
            if was_killed and chance.random() < 0.3:
                convert = turn_off if is_clear else turn_on
                turned_back += 1
            began = time.monotonic()
            finish(convert, paths, encryption)
            longest = max(longest, 1.2 * (time.monotonic() - began))
        is_clear = not paths.lock_file.exists()
        if is_clear:
            encryption.forget()
            check_clear(paths, content)
        else:
            check_encrypted(paths, encryption, content)
    return {"killed": died, "turned back": turned_back, "messages": len(content)}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
