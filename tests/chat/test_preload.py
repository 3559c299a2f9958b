"""From settings to the options of an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat.preload import engine_options, parse_scaled, parse_shares
from tchat.errors import UsageError
from tchat.models.metadata import read_metadata
from tchat.settings import Settings


def test_the_settings_reach_the_engine(tiny_model: Path) -> None:
    settings = Settings(
        cache_type="q8_0", flash_attn="on", mmap=False, mlock=True, tensor_split="3,1", threads=3
    )
    options = engine_options(settings, read_metadata(tiny_model))
    assert (options.kv_type, options.flash_attn) == ("q8_0", "on")
    assert (options.mmap, options.mlock, options.tensor_split) == (False, True, (3.0, 1.0))
    assert options.threads == 3


def test_a_quantized_cache_without_flash_attention_is_refused(tiny_model: Path) -> None:
    settings = Settings(cache_type="q4_0", flash_attn="off")
    with pytest.raises(UsageError, match="needs flash attention"):
        engine_options(settings, read_metadata(tiny_model))
    engine_options(replace(settings, cache_type="f16"), read_metadata(tiny_model))


@pytest.mark.parametrize("text", ["a", "1,", "0,0", "-1,2", "nan", "inf,1", "1;2"])
def test_odd_shares_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="tensor_split"):
        parse_shares(text)


def test_no_shares_are_none() -> None:
    assert parse_shares("") == ()
    assert parse_shares("0, 1.5") == (0.0, 1.5)


def test_a_scale_follows_the_last_colon(tmp_path: Path) -> None:
    file = tmp_path / "a:b"
    file.write_bytes(b"")
    assert parse_scaled("l.gguf") == (Path("l.gguf"), 1.0)
    assert parse_scaled("l.gguf:-0.5") == (Path("l.gguf"), -0.5)
    assert parse_scaled(str(file)) == (file, 1.0)
    assert parse_scaled(f"{file}:2") == (file, 2.0)


@pytest.mark.parametrize("scale", ["nan", "inf", "-inf", "1e999", "half", ""])
def test_odd_scales_are_refused(tmp_path: Path, scale: str) -> None:
    file = tmp_path / "l.gguf"
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="PATH:SCALE"):
        parse_scaled(f"{file}:{scale}")
