"""The loop guard: loops that it catches, texts that it leaves alone, and what it costs.

Greedy replies of the starter to 200 prompts, without the guard, are what loops. What people wrote
is in ``../shared/data``, as far as that is there. It takes a quarter of an hour.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.loop_prompts import prompts
from tests.benchmarks.regular_texts import texts
from tests.benchmarks.rows import Row

LONGEST = 600  # tokens of a reply
IN_TIME = 200  # tokens after its beginning in which a loop is to be caught
RUN = 12  # tokens that were there before, by which a loop is known in hindsight
OLD = 0.97  # share of such runs from the beginning of a loop to the end of the reply
SHORTEST = 60  # tokens of what counts as a loop
HUMAN = Path(__file__).parents[2].parent / "shared/data/human_replies.jsonl"
TEXTS = 200
SLOTS = 10
DECODED = 100.0  # tokens per second that the starter decodes on two cores


class Looked(NamedTuple):
    """A reply: where its loop began, by hindsight, and where the guard stops it, if anywhere."""

    tokens: int
    began: int | None
    caught: int | None

    @property
    def can_be_judged(self) -> bool:
        """Whether it loops, and long enough to be caught in time or not."""
        if self.began is None:
            return False
        return self.caught is not None or self.tokens - self.began >= IN_TIME

    @property
    def is_in_time(self) -> bool:
        """Whether it was caught in time."""
        if self.began is None or self.caught is None:
            return False
        return self.caught - self.began <= IN_TIME


def rows() -> Iterator[Row]:
    """In one process; the starter writes 200 replies, several at a time."""
    from tchat.engine.engine import Engine
    from tchat.engine.loading import EngineOptions
    from tchat.models.metadata import read_metadata
    from tchat.models.sources.starter import starter_file

    path = starter_file()
    template = read_metadata(path).chat_template
    with Engine(EngineOptions(path=path, template=template, ctx_size=8192)) as engine:
        list(engine.load())
        loaded = engine.loaded
        assert loaded is not None
        model = loaded.model

        def tokens_of(text: str) -> list[tuple[int, bytes]]:
            return [(token, model.piece(token)) for token in engine.text_tokens(text)]

        regular = [stop(tokens_of(text)) for _, text in texts()]
        yield _false_stops("generated tables, lists, code, songs and logs", regular)
        human = [stop(tokens_of(text)) for text in human_texts()]
        yield _false_stops("texts that people wrote", human)
        yield _cost([each for _, text in texts() for each in tokens_of(text)])
        replies = [looked_at(tokens_of(text)) for text in _replies(engine)]
    judged = [each for each in replies if each.can_be_judged]
    loops = sum(each.began is not None for each in replies)
    share = sum(each.is_in_time for each in judged) / max(1, len(judged))
    what = f"{len(replies)} greedy replies of the starter: loops (long enough to judge)"
    yield Row(what, f"{loops} ({len(judged)})", "for comparison", reached=True)
    what = f"loops that the guard stops within {IN_TIME} tokens"
    yield Row(what, f"{share:.1%}", ">= 95 %", share >= 0.95)


def human_texts() -> list[str]:
    """What people wrote: replies, and the longest of the texts that they were asked about."""
    if not HUMAN.exists():
        return []
    tasks = [json.loads(line)["instances"][0] for line in HUMAN.read_text("utf-8").splitlines()]
    inputs = sorted((task["input"] for task in tasks), key=len, reverse=True)
    replies = [task["output"] for task in tasks]
    return [*replies, *inputs][:TEXTS]


def stop(tokens: Sequence[tuple[int, bytes]]) -> int | None:
    """Tokens until the guard stops a text; None where it does not."""
    from tchat.engine.loop_guard import LoopGuard

    guard = LoopGuard()
    return next((n for n, each in enumerate(tokens, 1) if guard.feed(*each)), None)


def looked_at(tokens: Sequence[tuple[int, bytes]]) -> Looked:
    """A reply, in hindsight and by the guard."""
    return Looked(len(tokens), began([token for token, _ in tokens]), stop(tokens))


def began(tokens: Sequence[int]) -> int | None:
    """Where a loop begins that lasts to the end: from there on, nearly nothing is new."""
    seen: set[tuple[int, ...]] = set()
    old = []
    for start in range(len(tokens) - RUN + 1):
        run = tuple(tokens[start : start + RUN])
        old.append(run in seen)
        seen.add(run)
    found, count = None, 0
    for start in range(len(old) - 1, -1, -1):
        count += old[start]
        if old[start] and count >= OLD * (len(old) - start):
            found = start
    return found if found is not None and len(old) - found >= SHORTEST else None


def _false_stops(what: str, stops: Sequence[int | None]) -> Row:
    count = sum(each is not None for each in stops)
    return Row(f"{len(stops)} {what}: false stops", f"{count}", "0", count == 0)


def _cost(tokens: Sequence[tuple[int, bytes]]) -> Row:
    """What the guard takes for a token, where it stops nothing."""
    from tchat.engine.loop_guard import LoopGuard

    started, count = time.perf_counter(), 0
    while count < 200_000:
        guard = LoopGuard()
        for each in tokens[count % 50_000 :][:1000]:
            guard.feed(*each)
        count += 1000
    seconds = (time.perf_counter() - started) / count
    share = seconds * DECODED
    what = f"the guard, {seconds * 1e6:.1f} µs a token, of decoding at {DECODED:.0f} tok/s"
    return Row(what, f"{share:.2%}", "<= 0.5 %", share <= 0.005)


def _replies(engine: object) -> Iterator[str]:
    from tchat.engine.batch import BatchOptions, BatchTask
    from tchat.engine.engine import Engine
    from tchat.engine.events import Finished
    from tchat.engine.prompt import ChatMessage
    from tchat.settings import Sampling

    assert isinstance(engine, Engine)
    sampling = Sampling(temp=0, max_tokens=LONGEST, loop_guard=False)
    tasks = [
        BatchTask(index, lambda prompt=prompt: [ChatMessage("user", prompt)])  # type: ignore[misc]
        for index, prompt in enumerate(prompts())
    ]
    for outcome in engine.map(tasks, BatchOptions(sampling=sampling, slots=SLOTS)):
        assert isinstance(outcome.result, Finished)
        yield outcome.result.text
