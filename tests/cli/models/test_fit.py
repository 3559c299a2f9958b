"""Whether a model fits, as ``tchat models show`` tells it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.shell import tchat


def test_show_tells_whether_a_model_fits(tiny_model: Path) -> None:
    shown = tchat("models", "show", str(tiny_model))
    assert "fit\tit fits, with its whole context of 4,096 tokens" in shown.out
    assert "needs at 4,096\t0.0" in shown.out


def test_the_needs_as_json(tiny_model: Path) -> None:
    fit = json.loads(tchat("models", "show", "--json", str(tiny_model)).out)["fit"]
    assert fit["good"] is True
    assert fit["largest_context"] == {"f16": 4096, "q8_0": 4096, "q4_0": 4096}
    for need in fit["needs"]:
        assert need["total"] == need["weights"] + need["cache"] + need["buffers"]
