"""The sampling that a model recommends, as the command shows and uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Shell, tchat
from tests.tiny import write_tiny

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_model(**own: Any) -> Path:
        keys = {f"general.sampling.{key}": value for key, value in own.items()}
        return write_tiny(tmp_path / "own.gguf", metadata=keys)

    return write_model


def test_config_show_tells_where_each_value_comes_from(shell: Shell, write: Write) -> None:
    path = write(temp=0.6, top_p=5.0, top_k=9)
    shell("config", "set", "top_k", "7")
    shell("models", "set", str(path), "min_p", "0.3")
    ran = shell("config", "show", "-m", str(path))
    told = {line.split("\t")[0]: line.split("\t")[1:3] for line in ran.out.splitlines()}
    assert told["temp"] == ["0.6", "model file"]
    assert told["top_k"] == ["7", "config.toml"]
    assert told["min_p"] == ["0.3", "models.toml"]
    assert told["top_p"] == ["0.95", "default"]
    assert "`general.sampling.top_p` is not used" in ran.err
    value = json.loads(shell("config", "show", "-m", str(path), "--json").out)
    assert {each["name"]: each["from"] for each in value}["temp"] == "model file"
    assert shell("config", "show", "-m", "nonesuch").code == 3


def test_models_show_tells_what_the_model_recommends(shell: Shell, write: Write) -> None:
    path = write(temp=0.6, top_p=5.0)
    rows = dict(line.split("\t", 1) for line in shell("models", "show", str(path)).out.splitlines())
    assert rows["sampling temp"] == "0.6 (model file)"
    assert "`general.sampling.top_p` is not used" in rows["sampling"]
    value = json.loads(shell("models", "show", str(path), "--json").out)
    assert value["sampling"] == {"temp": {"value": 0.6, "from": "model file"}}
    assert len(value["sampling_notes"]) == 1


def test_replies_are_drawn_by_it(tiny_home: Path, write: Write) -> None:
    """With one token to choose from, no seed makes a difference; a flag wins over the file."""
    path = str(write(top_k=1, temp=5.0))
    call = ("-m", path, "--max-tokens", "20", "--json", "Hello")
    ran = [tchat("--seed", seed, *call) for seed in ("1", "2")]
    assert len({json.loads(each.out)["reply"] for each in ran}) == 1
    free = [tchat("--seed", seed, "--top-k", "0", *call) for seed in ("1", "2")]
    assert len({json.loads(each.out)["reply"] for each in free}) == 2
    rows = tchat("map", "-m", path, "--max-tokens", "9", "--seed", "3", "{}", stdin=b"hi\nhi\n")
    assert len({json.loads(line)["output"] for line in rows.out.splitlines()}) == 1


def test_what_is_not_used_is_told_once(tiny_home: Path, write: Write) -> None:
    ran = tchat("-m", str(write(temp=-3.0)), "--max-tokens", "3", "Hello")
    assert ran.err.count("`general.sampling.temp` is not used") == 1


def test_a_chat_shows_what_holds_for_its_model(tiny_home: Path, write: Write) -> None:
    path = str(write(temp=0.25))
    lines = b"Hello\n/show temp\n/set temp 0.5\n/show temp\n"
    ran = tchat("--plain", "-m", path, "--max-tokens", "3", stdin=lines)
    assert "temp = 0.25" in ran.err
    assert "temp = 0.5" in ran.err
