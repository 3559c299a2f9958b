"""How well the starter guesses names; the figures in the manual come from here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat.model import open_model
from tchat.chat.name_finder import find_names, require_local
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.paths import user_paths
from tchat.settings import Settings
from tests.redaction.names import SENTENCES


def _agree(name: str, found: str) -> bool:
    """Whether the one holds the other, and most of a name was found."""
    return name in found or (found in name and len(found) * 2 > len(name))


@pytest.mark.long
def test_the_starter_finds_most_names(home: Path) -> None:
    cancel = Cancel()

    def work() -> list[dict[str, object]]:
        opening = open_model(Settings(model="starter"), user_paths(), cancel)
        while True:
            try:
                next(opening)
            except StopIteration as end:
                engine = require_local(end.value.engine.local_engine)
                break
        try:
            list(engine.load())
            return [dict(find_names(engine, [text])) for text, _ in SENTENCES]
        finally:
            engine.close()

    found = run_on_engine_thread(work, cancel)
    pairs = list(zip(SENTENCES, found, strict=True))
    wanted = sum(len(names) for (_, names), _ in pairs)
    hits = sum(
        any(_agree(name, each) for each in got) for (_, names), got in pairs for name in names
    )
    false = sum(
        not any(name in each or each in name for name in names)
        for (_, names), got in pairs
        for each in got
    )
    print(f"recall {hits / wanted:.2f}, precision {hits / (hits + false):.2f}")
    assert hits / wanted >= 0.6
    assert hits / (hits + false) >= 0.5
