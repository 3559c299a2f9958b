"""The game on the starter model, judged by a discriminator that took no part in it.

Long: a game takes some twenty minutes of two free cores. ``TCHAT_JUDGE_SEEDS`` says how many are
played, five if not; ``TCHAT_JUDGE_BENCH`` names a folder where replies and games are kept, so that
a run that was interrupted goes on.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tchat.engine.engine import Engine
from tchat.engine.loading import EngineOptions
from tchat.judge.discriminator import JudgeFolder
from tchat.judge.game.adversarial_game import AdversarialGame, GameConfig, GameResult
from tchat.judge.game.report import IndependentVerdict
from tchat.judge.training_data import read_dialogues
from tchat.models.metadata import read_metadata
from tchat.models.resolve import resolve
from tchat.paths import user_paths
from tests.benchmarks.judge import DATA, KEEP, spread
from tests.benchmarks.rows import Row


def rows() -> Iterator[Row]:
    """The share of replies taken for a person's, before and after, and what that costs."""
    with tempfile.TemporaryDirectory() as folder:
        keep = Path(os.environ.get(KEEP, folder))
        count = int(os.environ.get("TCHAT_JUDGE_SEEDS", "5"))
        yield from summed([played(keep, seed) for seed in range(count)])


def summed(verdicts: Sequence[IndependentVerdict]) -> Iterator[Row]:
    """The table's rows for some games."""
    before = [each.before for each in verdicts]
    after = [each.after for each in verdicts]
    perplexity = [each.costs.perplexity.value for each in verdicts]
    distinct = [each.costs.distinct_2.value for each in verdicts]
    gain = statistics.mean(after) / max(statistics.mean(before), 1e-9)
    kept = statistics.mean(perplexity) <= 1.15 and statistics.mean(distinct) >= 0.95
    what = (
        f"steered replies taken for a person's, {len(verdicts)} games: "
        f"{statistics.mean(before):.0%} before, {statistics.mean(after):.0%} after"
    )
    yield Row(what, f"{gain:.2f}x", ">= 2x within the bounds", gain >= 2 and kept)
    yield Row("their perplexity, against unsteered", told(perplexity), "<= 1.15x", kept)
    yield Row("their distinct-2, against unsteered", told(distinct), ">= 0.95x", kept)


def told(values: list[float]) -> str:
    return spread(values) if len(values) > 1 else f"{values[0]:.3f}"


def played(keep: Path, seed: int) -> IndependentVerdict:
    """One game, from where it was left."""
    model = resolve("starter", user_paths())
    facts = read_metadata(model)
    folder = JudgeFolder(keep, facts.sha256 or "starter")
    options = EngineOptions(path=model, template=facts.chat_template)
    with Engine(options) as engine:
        list(engine.load())
        plan = GameConfig(f"seed-{seed}", seed=seed)
        game = AdversarialGame(
            engine,
            folder,
            read_dialogues([DATA]),
            plan,
            model=model.name,
            architecture=facts.architecture,
        )
        for event in game.play():
            if isinstance(event, GameResult):
                print(event.report, file=sys.stderr)
                assert event.verdict is not None
                return event.verdict
    raise AssertionError("the game has no end")
