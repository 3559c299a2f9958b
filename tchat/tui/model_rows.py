"""The models that can be chosen on the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tchat.models.facts import NAMED_BY_HASH, ModelFacts
from tchat.models.fit import Machine
from tchat.models.fit_report import judge
from tchat.models.library import Library
from tchat.models.walk import gguf_files
from tchat.models.words import count_text
from tchat.paths import Paths
from tchat.tui.screens.models import ModelRow

_PART = re.compile(r"-\d{5}-of-\d{5}$")


def model_rows(paths: Paths, current: Path | None, *, everything: bool = False) -> list[ModelRow]:
    """The user's models that can chat, and the GGUF files here and beside the one in use.

    Args:
        paths: The user's folders.
        current: The file of the model in use.
        everything: Whether other programs' models are listed too.
    """
    from tchat.chat.room import this_machine
    from tchat.engine.llama import build_name

    machine = this_machine()
    rows: dict[Path, ModelRow] = {}
    with Library(paths, build=build_name()) as library:
        found = [(row.name, row) for row in library.models(all=everything)]
        found += [(str(path), library.look(path)) for path in _here(current)]
    for choice, row in found:
        if row.facts is not None and not row.facts.refusal:
            view = _row(choice, row.facts, row.verdict, current, machine)
            rows.setdefault(row.path.resolve(), view)
    return list(rows.values())


def model_label(facts: ModelFacts) -> str:
    """What people call a model: its file's name without quantization, else its maker's name."""
    if NAMED_BY_HASH.fullmatch(facts.path.name):
        return facts.name
    stem = _PART.sub("", facts.path.stem)
    short = re.sub(rf"[-._]{re.escape(facts.quantization)}$", "", stem, flags=re.IGNORECASE)
    return short or facts.name


def _here(current: Path | None) -> Iterator[Path]:
    """The model in use, and the files beside it and in the current folder."""
    folders = {Path.cwd()}
    if current is not None:
        yield current
        folders.add(current.parent)
    for folder in sorted(folders):
        yield from gguf_files(folder)


def _row(
    choice: str, facts: ModelFacts, verdict: str, current: Path | None, machine: Machine
) -> ModelRow:
    fit = judge(facts.shape, facts.context_length, machine)
    what = f"{facts.architecture}, {count_text(facts.parameters)} weights"
    return ModelRow(
        choice=choice,
        name=model_label(facts),
        quantization=facts.quantization,
        size=facts.size,
        fit=fit.short,
        path=facts.path,
        about=f"{what}, {facts.context_length:,} tokens of context; {verdict}; {fit.words}",
        current=facts.path == current,
    )
