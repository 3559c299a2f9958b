"""Several processes, and killed ones: never a wrong reply, and no files left over."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tchat.engine.snapshots import store as snapshot_files
from tchat.engine.snapshots.store import SnapshotStore
from tchat.paths import Paths
from tests.engine.conftest import OpenEngine, finished
from tests.engine.snapshots.saving import CHATS, SHORT, chat, open_engine


def start(model: Path, name: str, rounds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.engine.snapshots.saving", str(model), name, str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def expected(open_engine: OpenEngine, model: Path) -> list[str]:
    engine = open_engine(model)
    return [finished(engine.generate(chat(number), SHORT)).text for number in range(CHATS)]


def replies(model: Path) -> list[str]:
    texts = []
    for number in range(CHATS):
        with open_engine(model, "reader") as engine:
            texts.append(finished(engine.generate(chat(number), SHORT)).text)
    return texts


def test_processes_share_the_snapshots(
    open_engine: OpenEngine, tiny_model: Path, store: SnapshotStore, paths: Paths
) -> None:
    children = [start(tiny_model, str(number), 9) for number in range(3)]
    right = expected(open_engine, tiny_model)
    assert replies(tiny_model) == right
    assert [child.communicate() and child.returncode for child in children] == [0, 0, 0]
    assert replies(tiny_model) == right
    assert 0 < store.size() <= 1 << 20
    on_disk = {path.name for path in paths.snapshots.glob("*.kv")}
    assert store.index.strays(list(on_disk)) == []


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.long)])
def test_after_a_kill_everything_is_right(
    open_engine: OpenEngine,
    tiny_model: Path,
    store: SnapshotStore,
    paths: Paths,
    kills: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = expected(open_engine, tiny_model)
    chance = random.Random(kills)
    for _ in range(kills):
        child = start(tiny_model, "killed", 1000)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.random() * 0.3)  # somewhere in reading, saving or forgetting
        child.kill()
        child.communicate()
        assert replies(tiny_model) == right
    monkeypatch.setattr(snapshot_files, "STALE_SECONDS", 0.0)
    for path in paths.snapshots.glob("*.part"):
        os.utime(path, (0, 0))
    store.tidy()
    on_disk = {path.name for path in paths.snapshots.iterdir()} - {"index.db", "index.db-journal"}
    assert store.index.strays(sorted(on_disk)) == []
    store.clear()
    assert {path.suffix for path in paths.snapshots.iterdir()} <= {".db", ".db-journal"}
