"""``tchat judge train``, ``examples`` and ``score``: train the judge's heads, and apply them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tchat.chat.eta import Eta
from tchat.cli.console import Console
from tchat.cli.judge.common import JSON, MODEL, JudgeContext, run_with_judge, show_progress
from tchat.cli.judge.show import describe_head, heads_json
from tchat.cli.output.columns import print_json
from tchat.cli.prompt_input import read_text
from tchat.errors import DoesNotFit, UsageError
from tchat.sanitize import printable_json

if TYPE_CHECKING:
    from tchat.judge.dialogues import Dialogue, DialogueSet
    from tchat.judge.features import FeatureExtractor
    from tchat.judge.feedback import Feedback
    from tchat.judge.linear_head import LinearHead
    from tchat.judge.training_run import TrainedHeads
    from tchat.paths import Paths


NEEDED = (
    "name JSONL files of dialogues, one object a line with `prompt` and `reply`, or in the shape "
    "of Alpaca, ShareGPT or self-instruct"
)


def train(
    ctx: typer.Context,
    files: list[Path] = typer.Argument(None, metavar="[FILE...]", help="JSONL files of dialogues"),
    use: bool = typer.Option(True, "--use/--no-use", help="Learn, or don't learn, from your chats"),
    model: str = MODEL,
    as_json: bool = JSON,
) -> None:
    """Train the discriminator of human-written replies, and your preference model.

    Learns from human replies in files, and from replies that you picked, rated or edited in chats.
    The model also replies to the prompts of the files, which takes a while; its replies are saved,
    so an interrupted training resumes.
    """
    from tchat.judge.dialogues import read_dialogues, skipped_notice
    from tchat.judge.feedback import Feedback
    from tchat.judge.training_run import require_enough

    console: Console = ctx.obj
    data = read_dialogues(files) if files else None
    learnt = load_feedback(console) if use else Feedback()
    if data is None:
        require_enough(learnt.edits, learnt.choices)
    elif data.skipped:
        console.say(skipped_notice(data.skipped))
    trained = run_with_judge(
        console, model, lambda bench: _train(bench, console.paths, data, learnt)
    )
    if as_json:
        print_json(console, heads_json(trained.human, trained.reading, trained.preference))
        return
    for head in (trained.human, trained.reading, trained.preference):
        for line in describe_head(head) if head else ():
            console.out(line)


def examples(ctx: typer.Context, as_json: bool = JSON) -> None:
    """Count the training examples in your sessions."""
    from tchat.judge.training import MIN_TO_FIT, MIN_TO_VALIDATE

    console: Console = ctx.obj
    use = load_feedback(console)
    counts = {
        "picked": use.picked,
        "good": use.liked,
        "bad": use.disliked,
        "by_hand": use.written,
        "choices": len(use.choices),
        "edits": len(use.edits),
    }
    if as_json:
        print_json(console, counts)
        return
    console.out(f"picked among candidates  {use.picked}")
    console.out(f"rated good, bad          {use.liked}, {use.disliked}")
    console.out(f"written by you           {use.written}")
    console.out(f"pairs for the preference model: {len(use.choices)}")
    console.out(f"pairs for the discriminator: {len(use.edits)}")
    console.out(
        f"`tchat judge train` needs {MIN_TO_FIT} of either, and reports quality from "
        f"{MIN_TO_VALIDATE}"
    )


def load_feedback(console: Console) -> Feedback:
    """Read the user's feedback from the sessions on disk."""
    from tchat.judge.feedback import Feedback, read_feedback
    from tchat.sessions.store import SessionStore

    if not console.paths.sessions_db.exists():
        return Feedback()
    with SessionStore(console.paths.sessions_db) as store:
        for notice in store.notices:
            console.say(notice)
        return read_feedback(store)


def _train(
    bench: JudgeContext, paths: Paths, data: DialogueSet | None, use: Feedback
) -> TrainedHeads:
    from tchat.judge.training_run import TrainingRun, feedback_on_model

    own = feedback_on_model(use, bench.facts, paths)
    training = TrainingRun(bench.engine, bench.folder, bench.facts.path.name, data, own)
    return show_progress(bench, Eta(), training.run())


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
    """The scores of a dialogue; an error if it is too long.

    Raises:
        InterruptedError: The cancel flag was set.
    """
    from tchat.engine.prompt import ChatMessage

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
