"""``tchat judge score``: how much replies read as written by a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tchat.chat.pace import TimeLeft
from tchat.cli.console import Console
from tchat.cli.judge.bench import MODEL, Bench, at_bench
from tchat.errors import UsageError
from tchat.sanitize import printable_json

if TYPE_CHECKING:
    from tchat.judge.dialogues import Dialogue


def score(
    ctx: typer.Context,
    file: Path = typer.Argument(None, metavar="[FILE]", help="JSONL; standard input if not"),
    model: str = MODEL,
) -> None:
    """Print one JSON object for each dialogue: the probability that a person wrote the reply."""
    from tchat.judge.dialogues import parse_dialogues

    console: Console = ctx.obj
    lines = _lines(console, file)
    dialogues = [found for line in lines for found in parse_dialogues(line)]
    if not dialogues:
        raise UsageError(
            "there is no dialogue to score",
            'give lines like {"prompt": "…", "reply": "…"} on standard input, or a file',
        )
    at_bench(console, model, lambda bench: _score(bench, console, dialogues))


def _lines(console: Console, file: Path | None) -> list[str]:
    from tchat.judge.dialogues import read_lines

    if file is not None:
        return list(read_lines(file))
    if console.stdin is None or console.stdin_is_terminal:
        return []
    return console.stdin.read().decode("utf-8", "replace").splitlines()


def _score(bench: Bench, console: Console, dialogues: list[Dialogue]) -> None:
    from tchat.engine.turns import ChatMessage
    from tchat.judge.discriminator import load
    from tchat.judge.reader import Reader

    trained = load(bench.folder.human)
    if trained is None:
        raise UsageError(
            f"no discriminator was trained for {bench.facts.path.name}",
            "train one: tchat judge train FILE.jsonl",
        )
    shown = TimeLeft()
    head = trained.head
    layers = [head.layer] if head.layer < bench.engine.blocks else []
    with Reader(bench.engine, layers) as reader:
        for index, dialogue in enumerate(dialogues):
            bench.status.show(shown.words("reading", index, len(dialogues)))
            found = reader.read([ChatMessage("user", dialogue.prompt)], dialogue.reply)
            if found is None:
                return
            row = {
                "prompt": dialogue.prompt,
                "reply": dialogue.reply,
                "human": round(head.probability(found), 4),
                "tokens": found.tokens,
                "log_probability": round(found.log_probability, 4),
                "distinct_2": round(found.distinct_2, 4),
            }
            bench.status.erase()
            console.out(printable_json(json.dumps(row, ensure_ascii=False)))
            console.flush()
