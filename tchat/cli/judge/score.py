"""``tchat judge score``: how much replies read as written by a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tchat.chat.eta import Eta
from tchat.cli.console import Console
from tchat.cli.judge.common import MODEL, JudgeContext, run_with_judge
from tchat.cli.prompt_input import read_text
from tchat.errors import DoesNotFit, UsageError
from tchat.sanitize import printable_json

if TYPE_CHECKING:
    from tchat.judge.dialogues import Dialogue
    from tchat.judge.features import FeatureExtractor
    from tchat.judge.linear_head import LinearHead


def score(
    ctx: typer.Context,
    file: Path = typer.Argument(
        None, metavar="[FILE]", help="JSONL file (default: standard input)"
    ),
    model: str = MODEL,
) -> None:
    """Print the probability that a person wrote each reply, as JSON lines."""
    from tchat.judge.dialogues import parse_dialogue_lines, skipped_notice

    console: Console = ctx.obj
    dialogues, skipped = parse_dialogue_lines(_lines(console, file))
    if not dialogues:
        raise UsageError(
            "there is no dialogue to score",
            'give lines like {"prompt": "…", "reply": "…"} on standard input, or a file',
        )
    if skipped:
        console.say(skipped_notice(skipped))
    run_with_judge(console, model, lambda bench: _score(bench, console, dialogues))


def _lines(console: Console, file: Path | None) -> list[str]:
    from tchat.judge.dialogues import read_lines

    if file is not None:
        return list(read_lines(file))
    if console.stdin is None or console.stdin_is_terminal:
        return []
    lines = read_text(console).split("\n")
    return [line for line in lines if line.strip()]


def _score(bench: JudgeContext, console: Console, dialogues: list[Dialogue]) -> None:
    from tchat.judge.discriminator import READING
    from tchat.judge.features import FeatureExtractor
    from tchat.judge.ranking import load_head

    head = load_head(READING, bench.folder, bench.engine)
    shown = Eta()
    layers = [head.layer] if head.layer < bench.engine.n_layer else []
    with FeatureExtractor(bench.engine, layers) as reader:
        for index, dialogue in enumerate(dialogues):
            bench.status.show(shown.words("reading", index, len(dialogues)))
            row = _scored(reader, head, dialogue)
            bench.status.erase()
            console.out(printable_json(json.dumps(row, ensure_ascii=False)))
            console.flush()


def _scored(reader: FeatureExtractor, head: LinearHead, dialogue: Dialogue) -> dict[str, Any]:
    """The figures of a dialogue; without any where it is too long to be read.

    Raises:
        InterruptedError: The cancel flag was set.
    """
    from tchat.engine.prompt.messages import ChatMessage

    row: dict[str, Any] = {"prompt": dialogue.prompt, "reply": dialogue.reply}
    try:
        found = reader.read([ChatMessage("user", dialogue.prompt)], dialogue.reply)
    except DoesNotFit as error:
        return row | {"human": None, "error": error.message}
    if found is None:
        if reader.stopped:
            raise InterruptedError
        return row | {"human": None, "error": "the reply has no token"}
    return row | {
        "human": round(head.probability(found), 4),
        "tokens": found.tokens,
        "log_probability": round(found.log_probability, 4),
        "distinct_2": round(found.distinct_2, 4),
    }
