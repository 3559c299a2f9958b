"""``tchat bench`` and ``tchat tune``: figures, and what is saved of them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.engine.benchmark import Autotuner
from tchat.engine.context import Context
from tests.cli.shell import Ran

FIGURES = ["load", "read", "write", "first token", "4 candidates", "restore 512 tokens"]


def tchat(*args: str) -> Ran:
    """Call it in this process, with a real model."""
    out, err = io.StringIO(), io.StringIO()
    code = program(args, Console(io.BytesIO(), out, err, os.environ))
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize("kind", ["tiny_model", "tiny_recurrent", "tiny_sliding"])
def test_bench_has_its_figures(request: pytest.FixtureRequest, kind: str) -> None:
    ran = tchat("bench", str(request.getfixturevalue(kind)), "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)["figures"]
    assert list(found) == FIGURES
    assert all(figure["value"] > 0 for figure in found.values())
    assert {name for name, figure in found.items() if "against" in figure} == {
        "write",
        "restore 512 tokens",
    }


def test_bench_prints_lines(tiny_model: Path) -> None:
    lines = tchat("bench", str(tiny_model)).out.splitlines()
    assert [line.split("\t")[0] for line in lines] == FIGURES
    assert "of a bare llama.cpp loop" in lines[2]


def test_bench_tells_of_a_context_that_is_too_small(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCHAT_CTX_SIZE", "512")
    ran = tchat("bench", str(tiny_model))
    assert (ran.code, "--ctx-size" in ran.err) == (4, True)


@pytest.fixture
def batch_128_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time by the size of the batch instead of the clock; flash attention cannot be had."""

    def run(_: Autotuner, __: object, context: Context) -> tuple[float, float]:
        return (0.5, 0.5) if context.batch_size == 128 else (1.0, 1.0)

    monkeypatch.setattr(Autotuner, "_run", run)
    monkeypatch.setattr("tchat.engine.benchmark.RUN_SECONDS", 0.01)


@pytest.mark.usefixtures("batch_128_is_fast")
def test_tune_saves_what_is_faster_for_this_model(home: Path, tiny_model: Path) -> None:
    tried = tchat("tune", str(tiny_model), "--dry-run")
    assert "2.00x as fast with batch_size = 128; would be saved" in tried.out
    assert not (home / "models.toml").exists()
    ran = tchat("tune", str(tiny_model), "--json")
    value = json.loads(ran.out)
    assert (value["gain"], value["values"], value["saved"]) == (2.0, {"batch_size": 128}, True)
    assert {trial["name"] for trial in value["trials"]} >= {"flash_attn", "kv_type", "batch_size"}
    assert "batch_size = 128" in (home / "models.toml").read_text()
    again = tchat("tune", str(tiny_model))
    assert again.out.splitlines()[-1] == "nothing is clearly faster than the settings in force"


def test_tune_leaves_the_noise_alone(
    home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.engine.benchmark.RUN_SECONDS", 0.02)
    monkeypatch.setattr("tchat.engine.benchmark.MAX_TIME_SHARE", 0.0001)
    ran = tchat("tune", str(tiny_model))
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "nothing is clearly faster than the settings in force"
    assert not (home / "models.toml").exists()


@pytest.mark.parametrize("command", ["bench", "tune"])
def test_a_model_that_is_not_there_is_told(command: str) -> None:
    ran = tchat(command, "nowhere.gguf")
    assert ran.code == 3
    assert "nowhere" in ran.err
