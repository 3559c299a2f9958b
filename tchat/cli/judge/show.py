"""``tchat judge show``: what was trained for a model, and its quality."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.console import Console
from tchat.cli.judge.common import JSON, MODEL, settings_for_model
from tchat.cli.output.columns import iso, print_json, when
from tchat.humanize import counted
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.judge.discriminator import Discriminator, TrainingProvenance

PREFERENCE = "preference"
KINDS = {
    "human": "discriminator: human-written or not, for replies as they are generated",
    "reading": "discriminator for given texts: `judge score`",
    PREFERENCE: "preference model",
}


def show(ctx: typer.Context, model: str = MODEL, as_json: bool = JSON) -> None:
    """Show what was trained for a model, and its games."""
    from tchat.judge.discriminator import judge_folder, load
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve_chosen

    console: Console = ctx.obj
    settings = settings_for_model(console, model)
    facts = read_metadata(resolve_chosen(settings, console.paths, console.environ))
    folder = judge_folder(facts, console.paths)
    heads = load(folder.human), load(folder.reading), load(folder.preference)
    vectors = {name: folder.vector(name) for name in folder.games()}
    if as_json:
        games = {name: str(path) if path.exists() else None for name, path in vectors.items()}
        print_json(
            console,
            {
                "model": facts.path.name,
                **heads_json(*heads),
                "games": games,
            },
        )
        return
    if not any(heads):
        console.out(f"{single_line(facts.path.name)}: nothing is trained yet")
        console.out("train on human replies: tchat judge train FILE.jsonl")
    for head in heads:
        for line in describe_head(head) if head else ():
            console.out(line)
    for name, path in vectors.items():
        console.out(f"game {name}: {path if path.exists() else 'no control vector yet'}")


def describe_head(discriminator: Discriminator) -> Iterator[str]:
    """Describe a head in lines of text."""
    facts = discriminator.provenance
    yield f"judge     {KINDS[facts.kind]}"
    yield f"model     {single_line(facts.model)}"
    if facts.kind == PREFERENCE:
        yield f"examples  {counted(facts.examples[0], 'choice')}"
        told = "unknown; needs 30 choices about five different questions"
        if facts.accuracy is not None:
            told = f"{facts.accuracy:.0%} right on held-out choices"
        yield f"quality   {told}"
    else:
        yield from _quality(facts)
    yield f"layer     {discriminator.head.layer}{_others(facts)}"
    yield f"trained   {when(facts.created_at)}"


def _others(facts: TrainingProvenance) -> str:
    """The held-out AUC of each candidate layer."""
    told = ", ".join(f"{layer}: {auc:.3f}" for layer, auc in sorted(facts.layers.items()))
    return f"  (AUC of {told})" if len(facts.layers) > 1 else ""


def _quality(facts: TrainingProvenance) -> Iterator[str]:
    people, generated = facts.examples
    yield f"examples  {people} by people, {generated} by the model"
    if facts.quality is None:
        yield "quality   unknown; needs 30 examples of each class, to five different prompts"
    else:
        quality = facts.quality
        yield f"AUC       {quality.auc:.3f} on held-out examples"
        yield f"ECE       {quality.calibration_error:.3f} (expected calibration error)"


def heads_json(
    human: Discriminator | None, reading: Discriminator | None, preference: Discriminator | None
) -> dict[str, Any]:
    """The heads as JSON; None for untrained ones."""
    heads = {"human": human, "reading": reading, "preference": preference}
    return {name: head_json(head) if head else None for name, head in heads.items()}


def head_json(discriminator: Discriminator) -> dict[str, Any]:
    """A head as JSON."""
    facts = discriminator.provenance
    quality = facts.quality
    if facts.kind == PREFERENCE:
        return {
            "kind": facts.kind,
            "model": facts.model,
            "fingerprint": facts.fingerprint,
            "data": facts.data,
            "choices": facts.examples[0],
            "accuracy": facts.accuracy,
            "layer": discriminator.head.layer,
            "created_at": iso(facts.created_at),
        }
    return {
        "kind": facts.kind,
        "model": facts.model,
        "fingerprint": facts.fingerprint,
        "data": facts.data,
        "people": facts.examples[0],
        "generated": facts.examples[1],
        "auc": quality.auc if quality else None,
        "calibration_error": quality.calibration_error if quality else None,
        "layer": discriminator.head.layer,
        "layers": {str(layer): value for layer, value in facts.layers.items()},
        "created_at": iso(facts.created_at),
    }
