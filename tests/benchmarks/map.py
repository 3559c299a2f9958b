"""Many short classifications: `tchat map` against one ask after the other, and against ``llm``."""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import LLM, TCHAT
from tests.benchmarks.rows import Row, alternated, child, ratio, wall

COUNT = 200
PROCESSES = 10  # of llm that are measured; their mean stands for all
WORDS = ("food", "cold", "slow", "staff", "friendly", "great", "terrible", "room", "clean", "late")
PROMPT = "Is this review good or bad? Answer with one word: {}"
LABELS = ("good", "bad")


def rows() -> Iterator[Row]:
    """In one process; then whole processes of llm, of which some stand for all."""
    found = child("tests.benchmarks.map")
    for name, what in (("written", "replies of up to 3 tokens"), ("chosen", "--choose of 2")):
        share = found[f"{name}_asked"]
        text = f"map of {COUNT} short rows, {what}, against as many asks in one process"
        yield Row(text, f"{share:.2f}x", ">= 1.5x", share >= 1.5)
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
    from tchat.engine.events import Event
    from tchat.engine.mapping import MapOptions, Task
    from tchat.engine.turns import ChatMessage
    from tchat.paths import user_paths
    from tchat.sessions.store import SessionStore
    from tchat.settings import Sampling, Settings

    sampling = Sampling(temp=0, max_tokens=3)
    asked = [PROMPT.replace("{}", text) for text in islice(texts(), COUNT)]
    with tempfile.TemporaryDirectory() as home, SessionStore(None) as store:
        chat = Chat(Settings(sampling=sampling), user_paths({"TCHAT_HOME": home}), store)
        started = time.perf_counter()
        list(chat.load())
        load = time.perf_counter() - started
        assert chat._model is not None
        engine = chat._model.engine

        def timed(events: Iterator[Event] | Iterator[Any]) -> None:
            assert sum(1 for _ in events)

        def one_by_one(choose: bool) -> float:
            started = time.perf_counter()
            for prompt in asked:
                chat._session = None
                timed(chat.choose(prompt, LABELS) if choose else chat.send(prompt))
            return time.perf_counter() - started

        def bare(choose: bool) -> float:
            started = time.perf_counter()
            for prompt in asked:
                chats = [ChatMessage("user", prompt)]
                timed(engine.choose(chats, LABELS) if choose else engine.generate(chats, sampling))
            return time.perf_counter() - started

        def mapped(choose: bool) -> float:
            labels = LABELS if choose else ()
            tasks = [
                Task(index, lambda prompt=prompt: [ChatMessage("user", prompt)])  # type: ignore[misc]
                for index, prompt in enumerate(asked)
            ]
            started = time.perf_counter()
            timed(engine.map(tasks, MapOptions(sampling=sampling, labels=labels, slots=16)))
            return time.perf_counter() - started

        found = {"load": load}
        for name, choose in (("written", False), ("chosen", True)):
            runs = (
                lambda c=choose: one_by_one(c),
                lambda c=choose: bare(c),
                lambda c=choose: mapped(c),
            )  # type: ignore[misc]
            alternated(1, *runs)
            chats, engines, maps = alternated(3, *runs)
            found |= {
                name: sorted(maps)[1],
                f"{name}_asked": ratio(chats, maps),
                f"{name}_bare": ratio(engines, maps),
            }
        chat.close()
    return found


if __name__ == "__main__":
    print(json.dumps(measure()))
