"""``tchat judge train``: a discriminator from people's replies and the model's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tchat.cli.console import Console
from tchat.cli.judge.bench import JSON, MODEL, Bench, TimeLeft, at_bench, followed
from tchat.cli.judge.listing import described, facts_of
from tchat.cli.listing import print_json
from tchat.errors import UsageError

if TYPE_CHECKING:
    from tchat.judge.dialogues import Data
    from tchat.judge.discriminator import Discriminator

NEEDED = (
    "name JSONL files of dialogues, one object a line with `prompt` and `reply`, or in the shape "
    "of Alpaca, ShareGPT or self-instruct"
)


def train(
    ctx: typer.Context,
    files: list[Path] = typer.Argument(None, metavar="[FILE...]", help="JSONL of dialogues"),
    model: str = MODEL,
    as_json: bool = JSON,
) -> None:
    """Learn to tell people's replies from the model's own.

    The model replies to the same prompts, which takes a while; what it wrote is kept, so that a
    training that was interrupted goes on.
    """
    from tchat.judge.dialogues import read_dialogues

    console: Console = ctx.obj
    if not files:
        raise UsageError("there are no replies by people to learn from", NEEDED)
    data = read_dialogues(files)
    trained = at_bench(console, model, lambda bench: _train(bench, data))
    if as_json:
        print_json(console, facts_of(trained))
        return
    for line in described(trained):
        console.out(line)


def _train(bench: Bench, data: Data) -> Discriminator:
    from tchat.judge.discriminator import save
    from tchat.judge.generations import Generations
    from tchat.judge.reader import Reader
    from tchat.judge.training import read_pairs, train, write_pairs

    shown = TimeLeft()
    kept = Generations(bench.folder.generations)
    writing = write_pairs(bench.engine, data.dialogues, kept)
    pairs = followed(bench, shown, writing)
    with Reader(bench.engine) as reader:
        examples = followed(bench, shown, read_pairs(reader, pairs))
    bench.status.show(f"fitting {len(examples.features)} examples")
    trained = train(
        examples,
        [bench.engine.blocks],
        model=bench.facts.path.name,
        fingerprint=bench.folder.fingerprint,
    )
    save(trained, bench.folder.human)
    return trained
