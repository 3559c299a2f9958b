"""Every use with every refusal, one after the other, in a process that may crash.

``python -m tests.refusals.trying FOLDER FIRST CALLS PART PARTS`` tries the cases from number
``FIRST`` on and writes a line of JSON before and after each. ``CALLS`` is ``every`` or ``some``:
the first, a middle and the last call of each function in each use. Of these cases it takes every
``PARTS``-th, from ``PART`` on.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tchat.chat.chat import Chat
from tchat.engine.engine import Engine
from tchat.engine.events import Finished, Reason
from tchat.engine.loading import EngineOptions
from tchat.errors import TchatError
from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling
from tests.engine.test_adapters import write_lora
from tests.refusals.library import LATE, Fault, Refusing
from tests.refusals.uses import USES, Use, World
from tests.tiny import N_EMBD, write_tiny

NEXT = "And what is the next one?"
LONGEST = 500  # characters of an error
CLOSE = 0.01  # of the range of the logits: a draw that may go either way


class Trier:
    """Carries out uses with faults, and says what is wrong afterwards."""

    def __init__(self, folder: Path, store: SessionStore, refusing: Refusing) -> None:
        self._refusing = refusing
        models = {
            "plain": write_tiny(folder / "plain.gguf"),
            "mamba": write_tiny(folder / "mamba.gguf", arch="mamba"),
            "sliding": write_tiny(folder / "sliding.gguf", arch="gemma3"),
            "lora": write_lora(folder / "lora.gguf", N_EMBD),
        }
        self._world = World(user_paths(), store, models)
        self._references: dict[EngineOptions, Engine] = {}

    def calls(self, use: Use) -> dict[str, int]:
        """How often a use calls what can be refused, when nothing is."""
        use.prepare(self._world)
        self._refusing.arm(None)
        use.act(self._world)
        calls = dict(self._refusing.calls)
        self._world.chat.close()
        return calls

    def problem(self, use: Use, fault: Fault) -> tuple[str, str]:
        """What became of a use with a fault, and what is wrong with that, or nothing."""
        world = self._world
        use.prepare(world)
        before, outcome = world.texts(), "held"
        self._refusing.arm(fault)
        try:
            use.act(world)
        except TchatError as error:
            outcome = str(error)
        finally:
            self._refusing.arm(None)
        if outcome != outcome.strip() or "\n" in outcome or not 0 < len(outcome) < LONGEST:
            return outcome, "the error is not one line"
        try:
            return outcome, self._after(world.chat, before, asks=use.asks)
        finally:
            world.chat.close()

    def _after(self, chat: Chat, before: dict[int, Any], *, asks: bool) -> str:
        world = self._world
        kept = world.texts()
        if lost := {key: text for key, text in before.items() if kept.get(key) != text}:
            return f"lost: {lost}"
        if asks and not any(role == "user" for role, _ in (kept[k] for k in kept.keys() - before)):
            return "the question is not stored"
        # A reply that ends at once would show nothing.
        going_on = ("<|im_end|>=-inf", "<|endoftext|>=-inf")
        sampling = Sampling(temp=0.0, max_tokens=8, logit_bias=going_on)
        chat.settings = dataclasses.replace(chat.settings, sampling=sampling)
        world.do(chat.send(NEXT))
        ended = world.ended[-1]
        if ended.reason is not Reason.LENGTH or ended.usage.completion != sampling.max_tokens:
            return f"the next prompt has no reply: {ended}"
        if len(world.texts()) != world.store.get(chat.session.id).messages:  # type: ignore[union-attr]
            return "a message is still being written"
        return self._wrong(chat, ended)

    def _wrong(self, chat: Chat, ended: Finished) -> str:
        """What is wrong with a greedy reply, by an engine that has never seen a fault."""
        assert chat.model is not None
        read = chat._builder._read
        assert read is not None
        engine = chat.model.require_engine()
        held, prompt = engine._ready.kv.tokens, ended.usage.prompt
        other = self._references.setdefault(engine.options, Engine(engine.options))
        list(other.load())
        model, kv, context = other._ready.model, other._ready.kv, other._ready.context
        asked, expected = (
            b"".join(map(model.piece, tokens)).decode("utf-8", "replace")
            for tokens in (
                held[:prompt],
                other._ready.encoder.prompt(read.messages).tokens,
            )
        )
        if asked != expected:
            return f"the next prompt is wrong: {asked!r} instead of {expected!r}"
        kv.clear()
        kv.reserve(len(held) + 1)
        all(kv.prefill(held[:prompt]))
        for place, token in enumerate(held[prompt:]):
            logits = context.logits_array().copy()
            logits[list(model.end_tokens)] = logits.min()
            if logits.max() - logits[token] > CLOSE * (logits.max() - logits.min()):
                return f"token {place} of the next reply is wrong: the cache is not what it seems"
            kv.step(token)
        return ""


def faults(calls: dict[str, int], *, every: bool) -> Iterator[Fault]:
    """The refusals to try of a use: of each call, or of the first, a middle one and the last."""
    for function, count in sorted(calls.items()):
        some = sorted({1, 1 + count // 2, count})
        for nth in range(1, count + 1) if every else some:
            for how in ("once", "lasting", "late") if function in LATE else ("once", "lasting"):
                yield Fault(function, nth, how)


def main(folder: Path, first: int, calls: str, part: int, parts: int) -> None:
    """Try the cases from ``first`` on."""
    refusing = Refusing.install()
    number = 0
    with SessionStore(user_paths().sessions_db) as store:
        trier = Trier(folder, store, refusing)
        for name, use in USES.items():
            for fault in faults(trier.calls(use), every=calls == "every"):
                number += 1
                if number < first or number % parts != part:
                    continue
                tell(number=number, use=name, fault=dataclasses.astuple(fault))
                try:
                    outcome, problem = trier.problem(use, fault)
                except Exception as error:
                    outcome, problem = "", f"unexpected {type(error).__name__}: {error}"
                tell(number=number, outcome=outcome, problem=problem)
    tell(unknown=sorted(refusing.unknown))


def tell(**facts: Any) -> None:
    """Write a line of JSON."""
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
