"""Writing with guesses against writing without: copying, and everything else."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.rows import Row, child

TEXT = (
    "The harbour office opens at eight in the morning and closes at six. Captain Maria Lindqvist "
    "keeps the register of all 214 ships that called last year; the largest was the Aurora, 180 "
    "metres long, built in Gdansk in 1998. Every vessel pays a fee of 35 euros per metre, and "
    "those that carry grain pay 12 euros more. Letters go to P.O. Box 4471, and complaints are "
    "read on the first Monday of the month by the harbour board, which has seven members."
)
COPYING = (
    f"Repeat this text exactly, word for word:\n\n{TEXT}",
    f"Correct the spelling of this text and print all of it:\n\n{TEXT.replace('bour', 'bur')}",
    f"{TEXT}\n\nCopy the text above, word for word.",
)
OTHERS = (
    "Write a long story about a lighthouse keeper and the sea.",
    "Explain how rainbows form.",
    "What is the difference between a virus and a bacterium?",
)
TOKENS = 150
ROUNDS = 3  # pairs of each prompt
SHAPE_TOKENS = 96
EDIT = 24  # tokens of a copy between two that are changed


def rows() -> Iterator[Row]:
    """The starter's own replies; a script for a model of 1.1B with random weights."""
    found = child("tests.benchmarks.speculation", "starter")
    shaped = child("tests.benchmarks.speculation", "shaped")
    copies = max(found["copying"], shaped["copying"])
    for name, what in (
        ("copying", f"greedy copies, starter ({found['right']:.0%} of the guesses right)"),
        ("drawn", "copies drawn at temperature 0.7, starter"),
    ):
        yield _row(what, found[name], 1.3 if name == "copying" else 0.97, copies)
    what = f"a scripted copy with every {EDIT}th token changed, 1.1B Q4_0 of random weights"
    yield _row(what, shaped["copying"], 1.3, copies)
    yield _row("other greedy replies, starter", found["others"], 0.97)
    yield _row("other replies at temperature 0.7, starter", found["others_drawn"], 0.97)
    yield _row("a script that repeats nothing, 1.1B Q4_0", shaped["others"], 0.97)
    same = found["same"]
    what = "greedy replies with guesses are those without, by the same number of threads"
    yield Row(what, same, "all", _all(same))


def _all(share: str) -> bool:
    right, _, of = share.partition("/")
    return right == of


def _row(what: str, share: float, reach: float, best: float = 0.0) -> Row:
    goal = f">= {reach}x" if reach < 1 else f">= {reach}x on the better"
    return Row(f"writing with guesses, {what}", f"{share:.2f}x", goal, max(share, best) >= reach)


def starter() -> dict[str, Any]:
    """Median ratios of the speeds of both, reply by reply, in turn."""
    from tchat.engine.engine import Engine
    from tchat.engine.events import Finished
    from tchat.engine.loading import EngineOptions
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.threads import default_threads
    from tchat.models.metadata import read_metadata
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths
    from tchat.settings import Sampling

    path = resolve("starter", user_paths())
    template = read_metadata(path).chat_template

    def opened(lookup: bool, threads: int = 0) -> Engine:
        options = EngineOptions(path=path, template=template, prompt_lookup=lookup, threads=threads)
        engine = Engine(options)
        list(engine.load())
        return engine

    engines = opened(False), opened(True)
    guesses: list[tuple[int, int]] = []

    def written(engine: Engine, prompt: str, sampling: Sampling) -> Finished:
        engine.loaded.kv.clear()  # type: ignore[union-attr]
        end = list(engine.generate([ChatMessage("user", prompt)], sampling))[-1]
        assert isinstance(end, Finished)
        return end

    def share(prompts: tuple[str, ...], temp: float) -> float:
        found = []
        for round_ in range(ROUNDS):
            for prompt in prompts:
                sampling = Sampling(temp=temp, seed=round_, max_tokens=TOKENS)
                order = engines if round_ % 2 else engines[::-1]
                ends = {engine: written(engine, prompt, sampling) for engine in order}
                plain, guessed = (ends[engine] for engine in engines)
                rates = [e.usage.completion / e.timings.decode for e in (guessed, plain)]
                found.append(rates[0] / rates[1])
                if temp == 0:
                    guesses.append((guessed.usage.accepted, guessed.usage.drafted))
        return statistics.median(found)

    written(engines[0], "Hello", Sampling(max_tokens=20))
    written(engines[1], "Hello", Sampling(max_tokens=20))
    figures: dict[str, Any] = {"copying": share(COPYING, 0)}
    figures["right"] = sum(r for r, _ in guesses) / max(sum(g for _, g in guesses), 1)
    figures |= {"others": share(OTHERS, 0), "drawn": share(COPYING, 0.7)}
    figures |= {"others_drawn": share(OTHERS, 0.7)}
    same = 0
    # Whatever is guessed, llama.cpp rounds by the number of threads from 256 tokens on.
    fixed = opened(False, default_threads()), opened(True, default_threads())
    for prompt in (*COPYING, *OTHERS):
        texts = {written(each, prompt, Sampling(temp=0, max_tokens=TOKENS)).text for each in fixed}
        same += len(texts) == 1
    return figures | {"same": f"{same}/{len(COPYING) + len(OTHERS)}"}


def shaped() -> dict[str, float]:
    """Replies that follow a script: each token is decoded and drawn as ever, then replaced.

    What random weights would write says nothing about copies. A script has the guesses right and
    wrong as a copy with changes has them, at the real price of every decode and draw.
    """
    import numpy

    from tchat.engine import generation
    from tchat.engine.context import Context
    from tchat.engine.engine import Engine
    from tchat.engine.loading import EngineOptions
    from tchat.engine.prompt import ChatMessage
    from tchat.engine.reply_state import ReplyState
    from tchat.models.metadata import read_metadata
    from tchat.settings import Sampling
    from tests.benchmarks.shapes import RECIPES, write_shape

    class Scripted(ReplyState):
        script: tuple[int, ...] = ()

        def draw(self, context: Context, row: int = -1) -> int:
            super().draw(context, row)
            return self.script[self.written]

    vars(generation)["ReplyState"] = Scripted
    random = numpy.random.default_rng(1)
    words = " ".join(f"{number}" for number in random.integers(1000, 9999, 60))
    with tempfile.TemporaryDirectory() as folder:
        path = write_shape(Path(folder, "shape.gguf"), RECIPES["dense 1.1B"], context=2048)
        template = read_metadata(path).chat_template
        engines = [
            Engine(EngineOptions(path=path, template=template, prompt_lookup=lookup))
            for lookup in (False, True)
        ]
        for engine in engines:
            list(engine.load())
        copy = list(engines[0].text_tokens(words))[:SHAPE_TOKENS]
        changed = [29 if place % EDIT == EDIT - 1 else token for place, token in enumerate(copy)]
        fresh = [int(token) for token in random.integers(300, 700, SHAPE_TOKENS)]

        def share(script: list[int]) -> float:
            Scripted.script = tuple(script)
            sampling = Sampling(temp=0.7, seed=1, max_tokens=SHAPE_TOKENS)
            found: list[float] = []
            for _ in range(3):
                rates = []
                for engine in engines:
                    engine.loaded.kv.truncate(0)  # type: ignore[union-attr]
                    end: Any = list(engine.generate([ChatMessage("user", words)], sampling))[-1]
                    rates.append(end.usage.completion / end.timings.decode)
                found.append(rates[1] / rates[0])
            return statistics.median(found)

        figures = {"copying": share(changed), "others": share(fresh)}
        for engine in engines:
            engine.close()
    return figures


if __name__ == "__main__":
    print(json.dumps({"starter": starter, "shaped": shaped}[sys.argv[1]]()))
