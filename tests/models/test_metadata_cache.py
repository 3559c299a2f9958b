"""The cache of headers and verdicts."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tchat.errors import ModelInvalid, ModelNotFound
from tchat.models import metadata as store_module
from tchat.models.metadata import MetadataCache, ProbeVerdict
from tchat.paths import Paths, user_paths
from tests.models.gguf.test_split_files import write_parts
from tests.tiny import write_tiny

BUILD = "b1"


@pytest.fixture
def paths(home: Path) -> Paths:
    return user_paths({"TCHAT_HOME": str(home)})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A tiny model that the test may change."""
    return write_tiny(tmp_path / "own.gguf")


def without_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, reading a header fails the test."""

    def forbidden(path: Path) -> None:
        raise AssertionError(f"read the header of {path}")

    monkeypatch.setattr(store_module, "read_metadata", forbidden)


def test_facts_come_from_the_cache_the_second_time(
    paths: Paths, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MetadataCache(paths) as store:
        first = store.metadata(tiny_model)
    without_headers(monkeypatch)
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model) == first
    assert first.architecture == "llama"
    assert first.name == "Tiny llama"


def test_a_changed_file_is_read_again(paths: Paths, own: Path) -> None:
    with MetadataCache(paths) as store:
        assert store.metadata(own).architecture == "llama"
        write_tiny(own, arch="mamba")
        assert store.metadata(own).architecture == "mamba"


def test_a_file_that_is_gone_is_not_found_though_cached(paths: Paths, own: Path) -> None:
    with MetadataCache(paths) as store:
        store.metadata(own)
        own.unlink()
        with pytest.raises(ModelNotFound):
            store.metadata(own)


def test_a_damaged_file_is_told_each_time(paths: Paths, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF")
    with MetadataCache(paths) as store:
        for _ in range(2):
            with pytest.raises(ModelInvalid):
                store.metadata(path)


def test_a_file_without_a_name_is_called_by_its_own(paths: Paths, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "nameless.gguf", metadata={"general.name": None})
    with MetadataCache(paths) as store:
        store.metadata(path)
        renamed = path.rename(tmp_path / "renamed.gguf")
        assert store.metadata(renamed).name == "renamed"


def test_split_models_are_cached_until_a_part_changes(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = write_parts(tmp_path)
    with MetadataCache(paths) as store:
        known = store.metadata(first)
        store.store_verdict(known, BUILD, ProbeVerdict("is odd"))
        with monkeypatch.context() as patch:
            without_headers(patch)
            assert store.metadata(first) == known
        os.utime(second, ns=(1, 1))
        assert store.metadata(first) == known
        assert store.verdict(known, BUILD) is None
        third.unlink()
        with pytest.raises(ModelNotFound, match="missing"):
            store.metadata(first)


def test_a_file_named_by_its_hash_tells_it(paths: Paths, tmp_path: Path) -> None:
    blob = write_tiny(tmp_path / ("ab" * 32))
    link = tmp_path / "snapshot.gguf"
    link.symlink_to(blob)
    with MetadataCache(paths) as store:
        assert store.metadata(link).sha256 == "ab" * 32


def test_verdicts_are_kept_by_file_and_build(paths: Paths, own: Path) -> None:
    with MetadataCache(paths) as store:
        facts = store.metadata(own)
        assert store.verdict(facts, BUILD) is None
        store.store_verdict(facts, BUILD, ProbeVerdict("is bad"))
        store.store_verdict(facts, "b2", ProbeVerdict())
    with MetadataCache(paths) as store:
        assert store.verdict(facts, BUILD) == ProbeVerdict("is bad")
        assert store.verdict(facts, "b2") == ProbeVerdict()
        os.utime(own, ns=(1, 1))
        assert store.verdict(store.metadata(own), BUILD) is None


def test_the_database_is_private(paths: Paths, tiny_model: Path) -> None:
    with MetadataCache(paths) as store:
        store.metadata(tiny_model)
    assert paths.models_db.stat().st_mode & 0o777 == 0o600
    assert paths.cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.timeout(20)
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("written", [False, True])
def test_a_pipe_in_the_place_of_a_file_of_the_database_is_removed(
    paths: Paths, tiny_model: Path, suffix: str, written: bool
) -> None:
    paths.cache.mkdir(parents=True)
    if written and suffix:
        with MetadataCache(paths) as store:
            store.store_verdict(store.metadata(tiny_model), BUILD, ProbeVerdict("is bad"))
    os.mkfifo(f"{paths.models_db}{suffix}")
    with MetadataCache(paths) as store:
        known = store.verdict(store.metadata(tiny_model), BUILD)
        assert known == (ProbeVerdict("is bad") if written and suffix else None)
        store.store_verdict(store.metadata(tiny_model), BUILD, ProbeVerdict())
    with MetadataCache(paths) as store:
        assert store.verdict(store.metadata(tiny_model), BUILD) == ProbeVerdict()


@pytest.mark.timeout(20)
def test_a_database_that_cannot_be_made_anew_is_not_read_with_a_pipe_as_journal(
    paths: Paths, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MetadataCache(paths) as store:
        store.metadata(tiny_model)
    os.mkfifo(f"{paths.models_db}-journal")

    def refused(file: Path) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("tchat.sqlite_cache._remove_if_special", refused)
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model).architecture == "llama"


@pytest.mark.parametrize("damage", [b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_database_is_replaced(paths: Paths, tiny_model: Path, damage: bytes) -> None:
    with MetadataCache(paths) as store:
        known = store.metadata(tiny_model)
    paths.models_db.write_bytes(damage)
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model) == known
        store.store_verdict(known, BUILD, ProbeVerdict())
    with sqlite3.connect(paths.models_db) as database:
        assert database.execute("SELECT count(*) FROM facts").fetchone() == (1,)
    database.close()


def test_a_database_of_another_version_is_replaced(paths: Paths, tiny_model: Path) -> None:
    paths.cache.mkdir(parents=True)
    database = sqlite3.connect(paths.models_db)
    database.executescript("CREATE TABLE facts (x); PRAGMA user_version = 99;")
    database.close()
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model).architecture == "llama"
    with MetadataCache(paths) as store:
        assert store.verdict(store.metadata(tiny_model), BUILD) is None


def test_a_damaged_row_is_read_anew(paths: Paths, tiny_model: Path) -> None:
    with MetadataCache(paths) as store:
        known = store.metadata(tiny_model)
    with sqlite3.connect(paths.models_db) as database:
        sound = json.loads(database.execute("SELECT facts FROM facts").fetchone()[0])
    database.close()
    texts = ("title", "refusal", "architecture", "quantization", "chat_template", "sha256")
    counts = ("parameters", "context_length", "size")
    empty: list[object] = []
    wrong: list[Any] = [
        *({name: value} for name in texts for value in (5, None, empty, "\ud800")),
        *({name: value} for name in counts for value in ("x", None, empty, -1, 0.5, True, 2**80)),
        *({"kind": value} for value in (None, empty, 5, "x")),
        *({"parts": value} for value in (None, 5, [5], [""], ["a/b"], ["\0"])),
        *({"shape": value} for value in (None, 5, empty, {"x": 1}, {"experts": 1e308})),
        *({"shape": sound["shape"] | {"width": value}} for value in ("x", None, -1, 0.5, empty)),
        *({"shape": sound["shape"] | {"expert_share": value}} for value in ("x", 2, math.nan)),
        {"more": 1},
    ]
    junk = ["{", "[]", "null", "-1", "1e308", "NaN", "9" * 5000, "[" * 3000, b"\xff", 5]
    for each in (*junk, *(json.dumps(sound | each) for each in wrong)):
        with sqlite3.connect(paths.models_db) as database:
            database.execute("UPDATE facts SET facts = ?", (each,))
        database.close()
        with MetadataCache(paths) as store:
            assert store.metadata(tiny_model) == known, each


@pytest.mark.parametrize(
    "value", ["x'ff'", "CAST(x'ff' AS TEXT)", "'x'", "-1", "1e308", "9e999", "''", "x''"]
)
def test_a_value_that_was_not_stored_here_counts_as_unknown(
    paths: Paths, tiny_model: Path, value: str
) -> None:
    with MetadataCache(paths) as store:
        facts = store.metadata(tiny_model)
        store.store_verdict(facts, BUILD, ProbeVerdict())
        store.store_sha256(facts.key, "ab" * 32)
        store.record_use(facts)
        store.record_speed(facts, 10.0)
        store.record_machine_rate("m", 1.0, 2.0)
    with sqlite3.connect(paths.models_db) as database:
        for column in ("uses.at", "speeds.rate", "machines.rate", "machines.at", "hashes.sha256"):
            table, name = column.split(".")
            database.execute(f"UPDATE {table} SET {name} = {value}")
        if value.startswith(("x", "CAST")):
            database.execute(f"UPDATE verdicts SET problem = {value}")
    database.close()
    with MetadataCache(paths) as store:
        assert store.verdict(facts, BUILD) in (None, ProbeVerdict())
        assert store.last_use(facts) is None
        assert store.speed(facts) == 0.0
        assert store.machine_rate("m") == (0.0, 0.0)
        assert store.sha256(facts.key) == ""
        store.record_speed(facts, 20.0)
        assert store.speed(facts) == 20.0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE verdicts SET problem = CAST(x'ff' AS TEXT)",
        "UPDATE facts SET parts = CAST(x'ff' AS TEXT), facts = CAST(x'ff' AS TEXT)",
    ],
)
def test_text_that_is_not_utf8_is_replaced(paths: Paths, tiny_model: Path, statement: str) -> None:
    with MetadataCache(paths) as store:
        facts = store.metadata(tiny_model)
        store.store_verdict(facts, BUILD, ProbeVerdict())
    with sqlite3.connect(paths.models_db) as database:
        database.execute(statement)
    database.close()
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model) == facts
        assert store.verdict(facts, BUILD) in (None, ProbeVerdict())


def test_a_database_deleted_while_open_does_no_harm(paths: Paths, tiny_model: Path) -> None:
    with MetadataCache(paths) as store:
        known = store.metadata(tiny_model)
        paths.models_db.unlink()
        assert store.metadata(tiny_model) == known
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model) == known


def test_the_last_use_is_remembered(paths: Paths, tiny_model: Path) -> None:
    with MetadataCache(paths) as store:
        facts = store.metadata(tiny_model)
        assert store.last_use(facts) is None
        store.record_use(facts)
    with MetadataCache(paths) as store:
        assert abs((store.last_use(facts) or 0) - time.time()) < 60


def test_without_a_folder_to_write_to_the_cache_is_in_memory(
    paths: Paths, tiny_model: Path
) -> None:
    paths.config.mkdir(parents=True)
    paths.cache.write_bytes(b"a file in the folder's place")
    with MetadataCache(paths) as store:
        facts = store.metadata(tiny_model)
        store.store_verdict(facts, BUILD, ProbeVerdict("is bad"))
        assert store.verdict(facts, BUILD) == ProbeVerdict("is bad")


def test_a_locked_database_is_not_thrown_away(
    paths: Paths, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.sqlite_cache.BUSY_TIMEOUT", 0.05)
    with MetadataCache(paths) as store:
        facts = store.metadata(tiny_model)
        store.store_verdict(facts, BUILD, ProbeVerdict("is bad"))
    blocker = sqlite3.connect(paths.models_db, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    with MetadataCache(paths) as store:
        assert store.metadata(tiny_model) == facts
    blocker.execute("ROLLBACK")
    blocker.close()
    with MetadataCache(paths) as store:
        assert store.verdict(facts, BUILD) == ProbeVerdict("is bad")


def test_several_processes_share_the_database(paths: Paths, tiny_model: Path) -> None:
    code = """
import sys
import time
from pathlib import Path
from tchat.models.metadata import MetadataCache, ProbeVerdict
from tchat.paths import user_paths
for round in range(20):
    with MetadataCache(user_paths()) as store:
        facts = store.metadata(Path(sys.argv[1]))
        store.store_verdict(facts, f"{sys.argv[2]}-{round}", ProbeVerdict())
"""
    command = [sys.executable, "-c", code, str(tiny_model)]
    children = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    with MetadataCache(paths) as store:
        facts = store.metadata(tiny_model)
        for number in range(3):
            for round_ in range(20):
                assert store.verdict(facts, f"{number}-{round_}") == ProbeVerdict()
