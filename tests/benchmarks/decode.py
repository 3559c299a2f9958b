"""Writing speed: `Chat.send` and the engine against a bare loop and against the binding's own."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.benchmarks.rows import Row, alternated, child, ratio

if TYPE_CHECKING:
    from tchat.engine.loading import LoadedModel
    from tchat.settings import Sampling

PROMPT = "Write a long story about a lighthouse keeper and the sea."
TOKENS = 100
ROUNDS = 15  # pairs inside one process; the machine's speed drifts by some per cent meanwhile


def rows() -> Iterator[Row]:
    """The engine and the chat beside a bare loop, then whole processes beside llama_cpp.Llama."""
    found = child("tests.benchmarks.decode", "pairs")
    for name in ("engine", "chat"):
        what = f"decode, {name}, against a bare C-API loop ({found['bare']:.0f} tok/s)"
        yield Row(what, f"{found[name]:.3f}x", ">= 0.97x", found[name] >= 0.97)

    def speed(loop: str) -> float:
        return float(child("tests.benchmarks.decode", loop)["rate"])

    chat, high_level, bare = alternated(
        5, lambda: speed("chat"), lambda: speed("high-level"), lambda: speed("bare")
    )
    share = ratio(chat, high_level)
    what = f"decode, chat, against llama_cpp.Llama ({statistics.median(high_level):.0f} tok/s)"
    yield Row(what, f"{share:.2f}x", ">= 1.25x", share >= 1.25)
    limit = ratio(bare, high_level)
    what = "decode, bare C-API loop, against llama_cpp.Llama: the most there is to gain"
    yield Row(what, f"{limit:.2f}x", "for comparison", reached=True)


class Loops:
    """Three ways to write the same tokens with one loaded model; each returns tokens a second."""

    def __init__(self, home: str) -> None:
        from tchat.chat.chat import Chat
        from tchat.paths import user_paths
        from tchat.sessions.store import SessionStore
        from tchat.settings import Sampling, Settings

        self.sampling = Sampling(seed=1, max_tokens=TOKENS)
        paths = user_paths({"TCHAT_HOME": home})
        settings = dataclasses.replace(Settings(), sampling=self.sampling)
        self.store = SessionStore(paths.sessions_db)
        self._chat = Chat(settings, paths, self.store)
        list(self._chat.send(PROMPT))
        model = self._chat.model
        assert model is not None
        self._engine = model.require_engine()
        loaded = self._engine.loaded
        assert loaded is not None
        self._loaded = loaded

    def bare(self) -> float:
        """llama.cpp with the same sampler chain and nothing around it."""
        return bare_rate(self._loaded, self.sampling)

    def engine(self) -> float:
        """`Engine.generate`."""
        from tchat.engine.prompt import ChatMessage

        return rate_of(self._engine.generate([ChatMessage("user", PROMPT)], self.sampling))

    def chat(self) -> float:
        """`Chat.send` in a new session, stored."""
        self._chat.session = None
        return rate_of(self._chat.send(PROMPT))


def bare_rate(loaded: LoadedModel, sampling: Sampling) -> float:
    """Tokens a second of llama.cpp with the engine's sampler chain and nothing around it."""
    from tchat.engine.binding import backend
    from tchat.engine.sampling import Sampler

    lib, model, kv = backend().lib, loaded.model, loaded.kv
    context: Any = loaded.context.handle
    kv.clear()
    text = f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n"
    list(kv.prefill(model.tokenize(text, special=True)))
    held = len(kv.tokens)
    batch = lib.llama_batch_init(1, 0, 1)
    batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, 1
    sampler = Sampler(model, sampling, seed=1, prompt=kv.tokens)
    chain = sampler.chain
    started = time.perf_counter()
    for written in range(TOKENS):
        batch.token[0] = lib.llama_sampler_sample(chain, context, -1)
        batch.pos[0] = held + written
        lib.llama_decode(context, batch)
    seconds = time.perf_counter() - started
    sampler.close()
    lib.llama_batch_free(batch)
    kv.clear()
    return TOKENS / seconds


def rate_of(events: Iterator[Any]) -> float:
    """Tokens a second of a reply."""
    end = list(events)[-1]
    return float(end.usage.completion / end.timings.decode)


def pairs() -> dict[str, float]:
    """Ratios to the bare loop, each to the run right before it."""
    with tempfile.TemporaryDirectory() as home:
        loops = Loops(home)
        bare, engine, again, chat = alternated(
            ROUNDS, loops.bare, loops.engine, loops.bare, loops.chat
        )
        loops.store.close()
    return {
        "bare": statistics.median(bare),
        "engine": ratio(engine, bare),
        "chat": ratio(chat, again),
    }


def alone(name: str) -> dict[str, float]:
    """One of `Loops` in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        loops = Loops(home)
        run = getattr(loops, name)
        rate = statistics.median(run() for _ in range(3))
        loops.store.close()
    return {"rate": rate}


def high_level() -> dict[str, float]:
    """``llama_cpp.Llama.create_chat_completion(stream=True)``, with as many threads."""
    from tests.benchmarks.peers import without_amx

    without_amx()
    from llama_cpp import Llama

    from tchat.engine.threads import default_threads
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    threads = default_threads()
    llama = Llama(
        str(resolve("starter", user_paths())),
        n_ctx=8192,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )

    def run() -> float:
        pieces = llama.create_chat_completion(
            [{"role": "user", "content": PROMPT}],
            stream=True,
            max_tokens=TOKENS,
            seed=1,
            temperature=0.7,
        )
        next(pieces), next(pieces)
        started = time.perf_counter()
        count = sum(1 for piece in pieces if piece["choices"][0]["delta"].get("content"))
        return count / (time.perf_counter() - started)

    return {"rate": statistics.median(run() for _ in range(3))}


if __name__ == "__main__":
    name = sys.argv[1]
    whole = {"pairs": pairs, "high-level": high_level}
    print(json.dumps(whole[name]() if name in whole else alone(name)))
