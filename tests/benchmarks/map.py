"""Many short classifications: `tchat map` against one ask after the other, and against ``llm``."""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.peers import LLM, TCHAT
from tests.benchmarks.rows import Row, alternated, child, ratio, wall

if TYPE_CHECKING:
    from tchat.engine.engine import Engine

COUNT = 200
SLOTS = 16
PROCESSES = 10  # of llm that are measured; their mean stands for all
WORDS = ("food", "cold", "slow", "staff", "friendly", "great", "terrible", "room", "clean", "late")
PROMPT = "Is this review good or bad? Answer with one word: {}"
LABELS = ("good", "bad")


def rows() -> Iterator[Row]:
    """In one process; then whole processes of llm, of which some stand for all."""
    found = child("tests.benchmarks.map")
    limit = found["limit"]
    text = f"bare decodes, {SLOTS} prompts a batch, against one: all that --choose can gain"
    yield Row(text, f"{limit:.2f}x", "for comparison", reached=True)
    for name, what in (("written", "replies of up to 3 tokens"), ("chosen", "--choose of 2")):
        share = found[f"{name}_asked"]
        text = f"map of {COUNT} short rows, {what}, against as many asks in one process"
        reach = min(1.5, limit) if name == "chosen" else 1.5
        yield Row(text, f"{share:.2f}x", f">= {reach:.2f}x", share >= reach)
        bare = found[f"{name}_bare"]
        text = f"the same against {COUNT} bare Engine calls, their head in the KV cache"
        yield Row(text, f"{bare:.2f}x", "for comparison", reached=True)
    with tempfile.TemporaryDirectory() as home:
        yield _processes(Path(home))


def _processes(home: Path) -> Row:
    """Both with the sampling and the length of replies that they have by themselves."""
    environment = {**os.environ, "TCHAT_HOME": str(home), "LLM_USER_PATH": str(home)}
    lines = home / "rows.txt"
    lines.write_text("".join(f"{text}\n" for text in islice(texts(), COUNT)))
    ours = [*TCHAT, "map", PROMPT, str(lines)]
    theirs = [*LLM, "-m", "SmolLM2", "-n"]
    wall([*TCHAT, "Hello"], env=environment)
    wall([*theirs, "Hello"], env=environment)
    drawn = list(islice(texts(), PROCESSES))
    other = [wall([*theirs, PROMPT.replace("{}", text)], env=environment) for text in drawn]
    mine = wall(ours, env=environment)
    share = statistics.mean(other) * COUNT / mine
    what = (
        f"`tchat map` of {COUNT} rows ({mine:.1f} s), against {COUNT} processes of llm "
        f"({statistics.mean(other):.2f} s each, {PROCESSES} measured)"
    )
    return Row(what, f"{share:.1f}x", ">= 15x", share >= 15)


def texts() -> Iterator[str]:
    """Short rows, always the same."""
    drawn = random.Random(1)
    while True:
        yield " ".join(drawn.choices(WORDS, k=drawn.randint(3, 6)))


def measure() -> dict[str, float]:
    """Seconds of a map, and how many times as long the asks take, in turn."""
    from tchat.chat.chat import Chat
    from tchat.engine.batch import BatchOptions, BatchTask
    from tchat.engine.events import Event
    from tchat.engine.prompt import ChatMessage
    from tchat.paths import user_paths
    from tchat.sessions.store import SessionStore
    from tchat.settings import Sampling, Settings

    sampling = Sampling(temp=0, max_tokens=3)
    asked = [PROMPT.replace("{}", text) for text in islice(texts(), COUNT)]
    with tempfile.TemporaryDirectory() as home, SessionStore(None) as store:
        chat = Chat(Settings(sampling=sampling), user_paths({"TCHAT_HOME": home}), store)
        started = time.perf_counter()
        list(chat.load_and_restore())
        load = time.perf_counter() - started
        assert chat.model is not None
        engine = chat.model.require_engine()

        def timed(events: Iterator[Event] | Iterator[Any]) -> None:
            assert sum(1 for _ in events)

        def one_by_one(choose: bool) -> float:
            started = time.perf_counter()
            for prompt in asked:
                chat.session = None
                timed(chat.choose(prompt, LABELS) if choose else chat.send(prompt))
            return time.perf_counter() - started

        def bare(choose: bool) -> float:
            started = time.perf_counter()
            for prompt in asked:
                chats = [ChatMessage("user", prompt)]
                timed(
                    engine.score_labels(chats, LABELS)
                    if choose
                    else engine.generate(chats, sampling)
                )
            return time.perf_counter() - started

        def mapped(choose: bool) -> float:
            labels = LABELS if choose else ()
            tasks = [
                BatchTask(index, lambda prompt=prompt: [ChatMessage("user", prompt)])  # type: ignore[misc]
                for index, prompt in enumerate(asked)
            ]
            started = time.perf_counter()
            timed(engine.map(tasks, BatchOptions(sampling=sampling, labels=labels, slots=SLOTS)))
            return time.perf_counter() - started

        found = {"load": load, "limit": limit(engine, asked)}
        for name, choose in (("written", False), ("chosen", True)):
            runs = (
                lambda c=choose: one_by_one(c),
                lambda c=choose: bare(c),
                lambda c=choose: mapped(c),
            )
            alternated(1, *runs)
            chats, engines, maps = alternated(3, *runs)
            found |= {
                name: sorted(maps)[1],
                f"{name}_asked": ratio(chats, maps),
                f"{name}_bare": ratio(engines, maps),
            }
        chat.close()
    return found


def limit(engine: Engine, asked: Sequence[str]) -> float:
    """How many times as long the same tokens take in a decode for each prompt as in a batch.

    Nothing but the decodes that weigh labels of one token: what is there to gain by batching.
    """
    from tchat.engine.context import FIRST_PARALLEL, BatchToken
    from tchat.engine.kv_cache import common_prefix
    from tchat.engine.prompt import ChatMessage

    loaded = engine.loaded
    assert loaded is not None
    context, kv = loaded.context, loaded.kv
    encode = loaded.encoder.for_answer
    prompts = [encode([ChatMessage("user", prompt)]).tokens for prompt in asked]
    head = prompts[0][: min(common_prefix(prompts[0], each) for each in prompts)]
    kv.ensure_tokens(head, reserve=context.batch_size)
    kv.set_parallel(SLOTS)
    held = len(head)

    def behind(tokens: Sequence[int], sequence: int) -> list[BatchToken]:
        last = len(tokens) - 1
        return [
            BatchToken(token, place, sequence, logits=place == last)
            for place, token in enumerate(tokens)
            if place >= held
        ]

    def batches(size: int) -> float:
        started = time.perf_counter()
        for first in range(0, len(prompts), size):
            slots: list[BatchToken] = []
            for place, tokens in enumerate(prompts[first : first + size], FIRST_PARALLEL):
                context.copy(0, place)
                slots += behind(tokens, place)
            context.decode(slots)
            for place in range(size):
                context.forget(FIRST_PARALLEL + place)
        return time.perf_counter() - started

    batches(SLOTS)
    ones, many = alternated(3, lambda: batches(1), lambda: batches(SLOTS))
    kv.clear()
    return ratio(ones, many)


if __name__ == "__main__":
    print(json.dumps(measure()))
