"""A model that would make the machine swap is stopped, with the numbers and the ways out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat import machine
from tchat.chat.machine import memory_plan, require_memory
from tchat.engine.binding import Device
from tchat.errors import DoesNotFit
from tchat.models.memory import Machine, Memory, estimate_memory
from tchat.models.metadata import ModelMetadata, read_metadata
from tchat.settings import Settings
from tests.cli.shell import tchat
from tests.tiny import write_tiny


@pytest.fixture
def metadata(starter_model: Path) -> ModelMetadata:
    return read_metadata(starter_model)


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    found = Machine(Memory(size, 1 << 40))
    monkeypatch.setattr(machine, "this_machine", lambda: found)


def test_what_fits_is_loaded(metadata: ModelMetadata, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, estimate_memory(metadata.dimensions, memory_plan(Settings(), metadata)).peak)
    require_memory(Settings(), metadata)


def test_what_would_swap_is_not(metadata: ModelMetadata, monkeypatch: pytest.MonkeyPatch) -> None:
    need = estimate_memory(metadata.dimensions, memory_plan(Settings(), metadata))
    free(monkeypatch, need.peak - 1)
    with pytest.raises(DoesNotFit) as refused:
        require_memory(Settings(), metadata)
    assert "a context of 8,192 tokens needs 0.42 GB of memory (weights 0.10" in str(refused.value)
    assert "0.42 GB are free" in str(refused.value)
    for way in ("--ctx-size 7936 fits", "--cache-type q8_0 fits", "--force"):
        assert way in refused.value.hint
    require_memory(Settings(force=True), metadata)
    require_memory(Settings(cache_type="q8_0"), metadata)
    require_memory(Settings(ctx_size=7936), metadata)


def test_where_nothing_fits_no_context_is_promised(
    metadata: ModelMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 50 << 20)
    with pytest.raises(DoesNotFit) as refused:
        require_memory(Settings(), metadata)
    assert "ctx-size" not in refused.value.hint
    assert "cache-type" not in refused.value.hint


def test_the_memory_of_workers_counts(
    metadata: ModelMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 60 << 20)
    settings = Settings(rpc="127.0.0.1:7,127.0.0.1:8")
    with pytest.raises(DoesNotFit):
        require_memory(settings, metadata)
    workers = [Device(f"RPC{n}", f"127.0.0.1:{7 + n}", 1 << 29, 1 << 30, True) for n in (0, 1)]
    require_memory(settings, metadata, workers)
    small = [replace(each, free=90 << 20) for each in workers]
    with pytest.raises(DoesNotFit, match=r"on the workers it needs 0\.\d+ GB, and 0\.19 GB"):
        require_memory(settings, metadata, small)


def test_settings_change_the_plan(metadata: ModelMetadata) -> None:
    settings = Settings(ctx_size=1000, cache_type="q4_0", flash_attn="on", swa_full=False)
    plan = memory_plan(replace(settings, batch_size=2048), metadata)
    assert (plan.context, plan.kv_type, plan.swa_full, plan.batch) == (1024, "q4_0", False, 1024)
    assert not memory_plan(Settings(flash_attn="off"), metadata).flash


def test_the_command_ends_with_4_and_loads_nothing(tmp_path: Path) -> None:
    wide = {"llama.attention.key_length": 1 << 22}
    path = write_tiny(tmp_path / "wide.gguf", metadata=wide)
    ended = tchat("-m", str(path), "Hello")
    assert ended.code == 4, ended.err
    assert "wide.gguf with a context of 4,096 tokens needs" in ended.err
    assert "--force" in ended.err
    assert "Traceback" not in ended.err
