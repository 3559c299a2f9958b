"""Snapshots in an encrypted store reopen chats as others do, and tell nothing without a key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.engine.engine import Engine
from tchat.engine.loading import EngineOptions
from tchat.engine.snapshots.index import pack_tokens
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.engine.snapshots.store import SnapshotStore
from tchat.models.metadata import read_metadata
from tchat.paths import Paths, user_paths
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.engine.conftest import finished
from tests.engine.snapshots.conftest import LONG
from tests.engine.snapshots.test_restore_check import restored
from tests.engine.snapshots.test_snapshots import GREEDY


@pytest.fixture
def encryption() -> Encryption:
    """An unlocked store."""
    return make_lock(user_paths())


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    """Engines that are closed at the end."""
    opened: list[Engine] = []
    yield opened
    for engine in opened:
        engine.close()


def opened(engines: list[Engine], model: Path, encryption: Encryption, paths: Paths) -> Engine:
    store = SnapshotStore(paths.snapshots, paths.snapshot_key, encryption)
    options = EngineOptions(path=model, template=read_metadata(model).chat_template, threads=1)
    engines.append(Engine(options, snapshots=Snapshots(store, "key", "Tiny", 1 << 30)))
    engines[-1].bind_session("one")
    return engines[-1]


def states(paths: Paths) -> list[Path]:
    return sorted(paths.snapshots.glob("*.kv"))


def test_a_chat_reopens_at_once(
    engines: list[Engine], encryption: Encryption, tiny_model: Path
) -> None:
    paths, model = user_paths(), tiny_model
    first = opened(engines, model, encryption, paths)
    text = finished(first.generate(LONG, GREEDY)).text
    assert first.save() > 0
    tokens = list(first.loaded.kv.tokens) if first.loaded else []
    first.close()
    events = list(opened(engines, model, encryption, paths).generate(LONG, GREEDY))
    assert restored(events) > 0
    assert finished(iter(events)).text == text
    some = pack_tokens(tokens[20:28])
    for path in paths.cache.rglob("*"):
        assert path.is_dir() or some not in path.read_bytes(), path
    assert not paths.snapshot_key.exists()


def test_a_damaged_byte_costs_its_segment_only(
    engines: list[Engine], encryption: Encryption, tiny_model: Path
) -> None:
    paths = user_paths()
    first = opened(engines, tiny_model, encryption, paths)
    text = finished(first.generate(LONG, GREEDY)).text
    first.save()
    first.close()
    whole = len(states(paths))
    last = max(states(paths), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    second = opened(engines, tiny_model, encryption, paths)
    assert finished(second.generate(LONG, GREEDY)).text == text
    assert not last.exists()
    assert len(states(paths)) == whole - 1


def test_a_file_of_another_place_is_refused(
    engines: list[Engine], encryption: Encryption, tiny_model: Path
) -> None:
    paths = user_paths()
    first = opened(engines, tiny_model, encryption, paths)
    text = finished(first.generate(LONG, GREEDY)).text
    first.save()
    first.close()
    one, *others = states(paths)
    for other in others:
        other.write_bytes(one.read_bytes())
    second = opened(engines, tiny_model, encryption, paths)
    assert finished(second.generate(LONG, GREEDY)).text == text


def test_while_the_store_is_locked_there_is_none_and_nobody_is_asked(
    engines: list[Engine], encryption: Encryption, tiny_model: Path
) -> None:
    paths = user_paths()
    first = opened(engines, tiny_model, encryption, paths)
    finished(first.generate(LONG, GREEDY))
    first.save()
    first.close()
    asked: list[Encryption] = []

    def ask(locked: Encryption) -> bool:
        asked.append(locked)
        return False

    locked = Encryption(paths.lock_file)
    locked.sources = (ask,)
    second = opened(engines, tiny_model, locked, paths)
    second.bind_session("")
    assert restored(list(second.generate(LONG, GREEDY))) == 0
    second.close()
    assert not asked
    assert states(paths)
    locked.unlock(PASSPHRASE)
    assert restored(list(opened(engines, tiny_model, locked, paths).generate(LONG, GREEDY))) > 0
