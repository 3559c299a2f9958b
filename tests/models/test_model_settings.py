"""Settings of single models: which hold, and how they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.models.models_file import model_setting, set_model_setting, settings_for
from tchat.paths import Paths
from tchat.settings import Settings, find_key, load
from tests.cli.shell import tchat


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir()
    return Paths(config=home, cache=home / "cache")


def test_without_a_file_nothing_changes(paths: Paths, tiny_model: Path) -> None:
    settings = Settings()
    assert settings_for(settings, paths, tiny_model) is settings
    assert not paths.models_file.exists()


def test_a_model_is_known_by_its_name_and_by_its_file(paths: Paths, tiny_model: Path) -> None:
    set_model_setting(paths, "small", tiny_model, model_setting("cache_type"), "q8_0")
    set_model_setting(paths, str(tiny_model), tiny_model, model_setting("ctx-size"), "512")
    for name in ("small", "another name"):
        own = settings_for(Settings(model=name), paths, tiny_model)
        assert (own.cache_type, own.ctx_size) == ("q8_0", 512)
    other = settings_for(Settings(model="other"), paths, tiny_model.with_name("other.gguf"))
    assert other == Settings(model="other")


def test_the_environment_flags_and_the_chat_win(paths: Paths, tiny_model: Path) -> None:
    paths.config_file.write_text('cache_type = "q4_0"\nbatch_size = 64\n')
    set_model_setting(paths, "small", tiny_model, model_setting("cache_type"), "q8_0")
    set_model_setting(paths, "small", tiny_model, model_setting("threads"), "3")
    set_model_setting(paths, "small", tiny_model, model_setting("ctx_size"), "512")
    set_model_setting(paths, "small", tiny_model, model_setting("mlock"), "true")
    settings = load(paths, {"TCHAT_THREADS": "2"}, {"ctx_size": 1024}).settings
    settings = find_key("mlock").put(replace(settings, model="small"), False)
    own = settings_for(settings, paths, tiny_model)
    assert (own.cache_type, own.batch_size) == ("q8_0", 64)
    assert (own.threads, own.ctx_size, own.mlock) == (2, 1024, False)


def test_comments_stay_and_a_value_can_be_taken_away(paths: Paths, tiny_model: Path) -> None:
    paths.models_file.write_text("# mine\n[settings.small]\nthreads = 2  # two\nmmap = false\n")
    set_model_setting(paths, "small", tiny_model, model_setting("threads"), "4")
    set_model_setting(paths, "small", tiny_model, model_setting("mmap"), None)
    text = paths.models_file.read_text()
    assert text == "# mine\n[settings.small]\nthreads = 4  # two\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("settings = 1\n", "must be a table"),
        ("[settings]\nsmall = 1\n", "must be a table"),
        ('[settings.small]\nkv_type = "f64"\n', "must be one of f16, q8_0, q4_0"),
        ("[settings.small]\nseed = 1\n", "is not a setting for models"),
        ("[settings\n", "line 1"),
    ],
)
def test_a_broken_file_is_told(paths: Paths, tiny_model: Path, text: str, told: str) -> None:
    paths.models_file.write_text(text)
    with pytest.raises(UsageError, match=told):
        settings_for(Settings(model="small"), paths, tiny_model)


def test_what_belongs_to_all_models_is_refused() -> None:
    with pytest.raises(UsageError, match="not set for single models"):
        model_setting("theme")


def test_the_command(paths: Paths, tiny_model: Path) -> None:
    assert tchat("models", "set", str(tiny_model), "ctx_size", "256").code == 0
    assert "ctx_size = 256" in paths.models_file.read_text()
    long = tchat("-m", str(tiny_model), "word " * 400)
    assert long.code == 4
    assert "the context holds 256" in long.err
    assert (
        tchat("-m", str(tiny_model), "--ctx-size", "2048", "--max-tokens", "1", "word " * 400).code
        == 0
    )
    assert tchat("models", "set", str(tiny_model), "ctx_size").code == 0
    assert "ctx_size" not in paths.models_file.read_text()
    assert tchat("models", "set", "no-such-model", "ctx_size", "256").code == 3
    assert tchat("models", "set", str(tiny_model), "cache_type", "f64").code == 2


def test_former_names_are_read_and_replaced_when_written(paths: Paths, tiny_model: Path) -> None:
    set_model_setting(paths, "small", tiny_model, model_setting("cache_type"), "q8_0")
    text = paths.models_file.read_text()
    paths.models_file.write_text(text.replace("cache_type", "kv_type"))
    settings = Settings(model="small")
    assert settings_for(settings, paths, tiny_model).cache_type == "q8_0"
    set_model_setting(paths, "small", tiny_model, model_setting("kv_type"), "q4_0")
    assert settings_for(settings, paths, tiny_model).cache_type == "q4_0"
    assert "kv_type" not in paths.models_file.read_text()
