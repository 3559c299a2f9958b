"""``tchat judge show``, ``examples``, ``train`` and ``score``: the trained heads of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import ALWAYS_JSON, JSON
from tchat.cli.cells import cell_width
from tchat.cli.chat_setup import run_with_model, settings_for_model
from tchat.cli.console import Console, read_text
from tchat.cli.output.columns import fields, iso, print_json
from tchat.cli.output.status import TerminalStatus, show_events
from tchat.errors import DoesNotFit, UsageError
from tchat.humanize import Eta, when
from tchat.sanitize import printable_json, single_line
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.judge.discriminator import Discriminator, TrainingProvenance
    from tchat.judge.features import FeatureExtractor
    from tchat.judge.linear_head import LinearHead
    from tchat.judge.training_data import Dialogue, DialogueSet, Feedback
    from tchat.judge.training_run import TrainedHeads
    from tchat.paths import Paths

PREFERENCE = "preference"
KINDS = {
    "human": N_("discriminator: human-written or not, for replies as they are generated"),
    "reading": N_("discriminator for given texts: `judge score`"),
    PREFERENCE: N_("preference model"),
}

MODEL = typer.Option("", "-m", "--model", help="Model (default: the default model)")


def show(ctx: typer.Context, model: str = MODEL, as_json: bool = JSON) -> None:
    """Show what was trained for a model, and its duels."""
    from tchat.judge.discriminator import judge_folder, load
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve_chosen

    console: Console = ctx.obj
    settings = settings_for_model(console, model)
    metadata = read_metadata(resolve_chosen(settings, console.paths, console.environ))
    folder = judge_folder(metadata, console.paths)
    human, reading, preference = (
        load(path, folder.encryption) for path in (folder.human, folder.reading, folder.preference)
    )
    heads = human, reading, preference
    vectors = {name: folder.vector(name) for name in folder.games()}
    if as_json:
        games = {name: str(path) if path.exists() else None for name, path in vectors.items()}
        print_json(console, {"model": metadata.path.name, **heads_json(*heads), "games": games})
        return
    if not any(heads):
        console.out(tr("{model}: nothing is trained yet", model=single_line(metadata.path.name)))
        console.out(tr("train on human replies: tchat judge train FILE.jsonl"))
    for head in heads:
        for fact in describe_head(head) if head else ():
            console.out(_fact(*map(console.told, fact)))
    for name, path in vectors.items():
        place = path if path.exists() else tr("no control vector yet")
        console.out(tr("duel {name}: {path}", name=name, path=place))


def describe_head(discriminator: Discriminator) -> Iterator[tuple[str, str]]:
    """Describe a head as names and values."""
    facts = discriminator.provenance
    yield tr("judge"), tr(KINDS[facts.kind])
    yield tr("model"), single_line(facts.model)
    if facts.kind == PREFERENCE:
        choices = trn("{count:,} choice", "{count:,} choices", facts.examples[0])
        yield tr("examples"), choices
        quality = tr("unknown; needs 30 choices about five different questions")
        if facts.accuracy is not None:
            quality = tr("{share:.0%} right on held-out choices", share=facts.accuracy)
        yield tr("quality"), quality
    else:
        yield from _quality(facts)
    yield tr("layer"), _layers(discriminator)
    yield tr("trained"), when(facts.created_at)


def _fact(name: str, value: str) -> str:
    """A line with ``value`` in a column of its own."""
    return f"{name}{' ' * (FACT - cell_width(name))}{value}"


def _layers(discriminator: Discriminator) -> str:
    """The layer, with the held-out AUC of each candidate where there are enough examples."""
    facts, layer = discriminator.provenance, discriminator.head.layer
    if facts.quality is None or len(facts.layers) < 2:
        return str(layer)
    layers = ", ".join(f"{each}: {auc:.3f}" for each, auc in sorted(facts.layers.items()))
    return tr("{layer}  (AUC of {layers})", layer=layer, layers=layers)


def _quality(facts: TrainingProvenance) -> Iterator[tuple[str, str]]:
    people, generated = facts.examples
    counts = tr("{people:,} human, {generated:,} by the model", people=people, generated=generated)
    yield tr("examples"), counts
    if facts.quality is None:
        needed = tr("unknown; needs 30 examples of each class, to five different prompts")
        yield tr("quality"), needed
    else:
        quality = facts.quality
        yield "AUC", tr("{auc:.3f} on held-out examples", auc=quality.auc)
        ece = tr("{ece:.3f} (expected calibration error)", ece=quality.calibration_error)
        yield "ECE", ece


def heads_json(
    human: Discriminator | None, reading: Discriminator | None, preference: Discriminator | None
) -> dict[str, Any]:
    """The heads as JSON; None for untrained ones."""
    heads = {"human": human, "reading": reading, PREFERENCE: preference}
    return {name: _head_json(head) if head else None for name, head in heads.items()}


def _head_json(discriminator: Discriminator) -> dict[str, Any]:
    facts, layer = discriminator.provenance, discriminator.head.layer
    quality = facts.quality
    head = fields(facts, "kind", "model", "fingerprint", "data")
    if facts.kind == PREFERENCE:
        head |= {"choices": facts.examples[0], "accuracy": facts.accuracy, "layer": layer}
    else:
        head |= {
            "people": facts.examples[0],
            "generated": facts.examples[1],
            "auc": quality.auc if quality else None,
            "calibration_error": quality.calibration_error if quality else None,
            "layer": layer,
            "layers": {str(each): auc for each, auc in facts.layers.items()} if quality else {},
        }
    return head | {"created_at": iso(facts.created_at)}


NEEDED = N_(
    "name JSONL files of dialogues, one object a line with `prompt` and `reply`, or in the shape "
    "of Alpaca, ShareGPT or self-instruct"
)
FACT = 10  # cells of the name of a fact


def train(
    ctx: typer.Context,
    files: list[Path] = typer.Argument(None, metavar="[FILE...]", help="JSONL files of dialogues"),
    use: bool = typer.Option(True, "--use/--no-use", help="Learn, or don't learn, from your chats"),
    model: str = MODEL,
    as_json: bool = JSON,
) -> None:
    """Train the judge on human replies, and on your preferences.

    Learns from human replies in files, and from replies that you picked, rated or edited in chats.
    The model also replies to the prompts of the files, which takes a while; its replies are saved,
    so an interrupted training resumes.
    """
    from tchat.judge.training_data import Feedback, read_dialogues, skipped_notice
    from tchat.judge.training_run import require_enough

    console: Console = ctx.obj
    data = read_dialogues(files) if files else None
    learnt = load_feedback(console) if use else Feedback()
    if data is None:
        require_enough(learnt.edits, learnt.choices)
    elif data.skipped:
        console.say(skipped_notice(data.skipped))
    settings = settings_for_model(console, model)
    trained = run_with_model(console, settings, partial(_train, console.paths, data, learnt))
    if trained.left_out:
        console.say(trained.left_out)
    if as_json:
        print_json(console, heads_json(trained.human, trained.reading, trained.preference))
        return
    for head in (trained.human, trained.reading, trained.preference):
        for fact in describe_head(head) if head else ():
            console.out(_fact(*map(console.told, fact)))


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
    console.out(tr("picked among candidates: {count:,}", count=use.picked))
    console.out(tr("rated good: {good:,}; rated bad: {bad:,}", good=use.liked, bad=use.disliked))
    console.out(tr("written by you: {count:,}", count=use.written))
    console.out(tr("pairs for the preference model: {count:,}", count=len(use.choices)))
    console.out(tr("pairs for the discriminator: {count:,}", count=len(use.edits)))
    console.out(
        tr(
            "`tchat judge train` needs {least} of either, and reports quality from {enough}",
            least=MIN_TO_FIT,
            enough=MIN_TO_VALIDATE,
        )
    )


def load_feedback(console: Console) -> Feedback:
    """Read the user's feedback from the sessions on disk."""
    from tchat.cli.sessions import sessions_to_read
    from tchat.judge.training_data import read_feedback

    with sessions_to_read(console) as store:
        return read_feedback(store)


def _train(
    paths: Paths, data: DialogueSet | None, use: Feedback, model: ChatModel, status: TerminalStatus
) -> TrainedHeads:
    from tchat.judge.training_run import train_heads

    eta = Eta()
    return show_events(
        train_heads(model.require_engine(), model.metadata, paths, data, use),
        lambda event: status.show(eta.words(event.what, event.done, event.total)),
    )


def score(
    ctx: typer.Context,
    file: Path = typer.Argument(
        None, metavar="[FILE]", help="JSONL file (default: standard input)"
    ),
    model: str = MODEL,
    as_json: bool = ALWAYS_JSON,  # noqa: ARG001
) -> None:
    """Print the probability that a person wrote each reply, as JSON lines."""
    from tchat.judge.training_data import parse_dialogue_lines, skipped_notice

    console: Console = ctx.obj
    dialogues, skipped = parse_dialogue_lines(_lines(console, file))
    if not dialogues:
        raise UsageError(
            tr("there is no dialogue to score"),
            tr('give lines like {"prompt": "…", "reply": "…"} on standard input, or a file'),
        )
    if skipped:
        console.say(skipped_notice(skipped))
    run_with_model(console, settings_for_model(console, model), partial(_score, console, dialogues))


def _lines(console: Console, file: Path | None) -> list[str]:
    from tchat.judge.training_data import read_lines

    if file is not None:
        return list(read_lines(file))
    if console.stdin is None or console.stdin_is_terminal:
        return []
    lines = read_text(console).split("\n")
    return [line for line in lines if line.strip()]


def _score(
    console: Console, dialogues: list[Dialogue], model: ChatModel, status: TerminalStatus
) -> None:
    from tchat.judge.discriminator import READING, judge_folder
    from tchat.judge.features import FeatureExtractor
    from tchat.judge.ranking import load_head

    engine = model.require_engine()
    head = load_head(READING, judge_folder(model.metadata, console.paths), engine)
    shown = Eta()
    layers = [head.layer] if head.layer < engine.n_layer else []
    with FeatureExtractor(engine, layers) as reader:
        for index, dialogue in enumerate(dialogues):
            status.show(shown.words(tr("reading"), index, len(dialogues)))
            row = _scored(reader, head, dialogue)
            status.erase()
            console.out(printable_json(json.dumps(row, ensure_ascii=False)))
            console.flush()


def _scored(reader: FeatureExtractor, head: LinearHead, dialogue: Dialogue) -> dict[str, Any]:
    """The scores of a dialogue; an error if it is too long."""
    from tchat.engine.prompt import ChatMessage

    row: dict[str, Any] = {"prompt": dialogue.prompt, "reply": dialogue.reply}
    try:
        found = reader.read([ChatMessage("user", dialogue.prompt)], dialogue.reply)
    except DoesNotFit as error:
        return row | {"human": None, "error": error.message}
    if found is None:
        if reader.stopped:
            raise InterruptedError
        return row | {"human": None, "error": tr("the reply has no token")}
    return row | {
        "human": round(head.probability(found), 4),
        "tokens": found.tokens,
        "log_probability": round(found.log_probability, 4),
        "distinct_2": round(found.distinct_2, 4),
    }
