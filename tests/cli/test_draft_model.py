"""``--draft-model``: another model guesses ahead, by its name or its file."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tests.cli.shell import Ran

FLAGS = ("--seed", "3", "--max-tokens", "20", "--temp", "0.3", "--logit-bias", "<|im_end|>=-inf")


@pytest.fixture(autouse=True)
def model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))


def tchat(*args: str) -> Ran:
    """Call it in this process, with real models."""
    out, err = io.StringIO(), io.StringIO()
    code = program(args, Console(io.BytesIO(), out, err, os.environ))
    return Ran(code, out.getvalue(), err.getvalue())


def test_the_reply_is_the_same(tiny_model: Path) -> None:
    plain = json.loads(tchat("-n", "why", "--json", *FLAGS).out)
    for _ in range(2):  # the second time the model is known, and loads beside the imports
        drafted = tchat("-n", "why", "--draft-model", str(tiny_model), "--json", *FLAGS)
        value = json.loads(drafted.out)
        assert value["reply"] == plain["reply"]
        assert value["usage"]["guessed"] >= value["usage"]["right"] >= 0


def test_it_can_be_set_for_one_model(tiny_model: Path, tiny_spm: Path) -> None:
    assert tchat("models", "set", str(tiny_model), "draft_model", str(tiny_spm)).code == 0
    ran = tchat("-n", "why", *FLAGS)
    assert (ran.code, "their vocabularies differ" in ran.err) == (2, True)
    assert tchat("-n", "why", "--draft-model", str(tiny_model), *FLAGS).code == 0


def test_a_draft_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    ran = tchat("-n", "why", "--draft-model", str(tmp_path / "nowhere.gguf"))
    assert ran.code == 3
    assert "nowhere.gguf" in ran.err


def test_its_use_is_recorded(tiny_model: Path) -> None:
    copy = tiny_model.with_name("ahead.gguf")
    copy.write_bytes(tiny_model.read_bytes())
    assert tchat("models", "add", str(copy)).code == 0
    for _ in range(2):  # the second time it loads beside the imports
        assert tchat("-n", "why", "--draft-model", str(copy), *FLAGS).code == 0
        rows = json.loads(tchat("models", "ls", "--json").out)
        assert [bool(row["last_used"]) for row in rows if row["name"] == "ahead"] == [True]
