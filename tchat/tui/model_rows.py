"""The models that can be chosen on the screen."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from tchat.errors import ModelError
from tchat.models.facts import NAMED_BY_HASH, ModelFacts
from tchat.models.resolve import STARTER, resolve
from tchat.models.store import ModelStore
from tchat.paths import Paths
from tchat.tui.screens.models import ModelRow

_PART = re.compile(r"-\d{5}-of-\d{5}$")


def model_rows(paths: Paths, current: Path | None) -> list[ModelRow]:
    """The starter, the model in use, and the GGUF files beside it and in the current folder."""
    rows: dict[Path, ModelRow] = {}
    with ModelStore(paths) as store:
        for choice, path in _candidates(paths, current):
            try:
                facts = store.facts(path)
            except ModelError:
                continue
            if not facts.refusal:
                rows.setdefault(path.resolve(), _row(choice, facts, current))
    return list(rows.values())


def model_label(facts: ModelFacts) -> str:
    """What people call a model: its file's name without quantization, else its maker's name."""
    if NAMED_BY_HASH.fullmatch(facts.path.name):
        return facts.name
    stem = _PART.sub("", facts.path.stem)
    short = re.sub(rf"[-._]{re.escape(facts.quantization)}$", "", stem, flags=re.IGNORECASE)
    return short or facts.name


def _candidates(paths: Paths, current: Path | None) -> Iterator[tuple[str, Path]]:
    with contextlib.suppress(ModelError):
        yield STARTER, resolve(STARTER, paths)
    folders = {Path.cwd()}
    if current is not None:
        yield str(current), current
        folders.add(current.parent)
    for folder in sorted(folders):
        for path in sorted(folder.glob("*.gguf")):
            yield str(path), path


def _row(choice: str, facts: ModelFacts, current: Path | None) -> ModelRow:
    return ModelRow(
        choice=choice,
        name=model_label(facts),
        quantization=facts.quantization,
        size=facts.size,
        path=facts.path,
        about=f"{facts.architecture}, {facts.parameters:,} weights, "
        f"{facts.context_length:,} tokens of context",
        current=facts.path == current,
    )
