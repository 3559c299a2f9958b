"""llama.cpp's own verdict on texts, for tests of grammars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.grammar.accepting import Acceptor


@pytest.fixture(scope="package")
def accepts(tiny_model: Path) -> Iterator[Acceptor]:
    """Whether llama.cpp, sampling by a grammar, could write a text and end there."""
    with Acceptor(tiny_model) as acceptor:
        yield acceptor
