"""The cancel flag stops loading, prefill and decode, and leaves the next reply intact."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tchat.engine import loading
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import STACK_SIZES, on_large_stack, run_on_engine_thread
from tchat.engine.events import Finished, LoadProgress, PromptProgress, Reason, TextDelta
from tchat.engine.loading import EngineOptions
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage
from tchat.errors import Interrupted, UsageError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished
from tests.tiny import write_tiny

LONG = [ChatMessage("user", "The quick brown fox jumps over the lazy dog. " * 150)]
SHORT = [ChatMessage("user", "Say hello.")]
GREEDY = Sampling(temp=0, max_tokens=12)


def set_soon(cancel: Cancel, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, cancel.set)
    timer.start()
    return timer


def test_a_stop_inside_a_decode_is_prompt_and_harmless(
    open_engine: OpenEngine, starter_model: Path
) -> None:
    expected = finished(open_engine(starter_model, ctx_size=2048).generate(SHORT, GREEDY)).text
    engine = open_engine(starter_model, ctx_size=2048, batch_size=2048)
    list(engine.load())
    timer = set_soon(engine.cancel, 0.2)
    events = list(engine.generate(LONG, GREEDY))
    timer.join()
    assert finished(events).reason is Reason.CANCELLED
    assert (
        max(e.done for e in events if isinstance(e, PromptProgress)) == 0
    )  # one batch, broken off
    engine.cancel.clear()
    assert finished(engine.generate(SHORT, GREEDY)).text == expected


def test_a_stop_between_batches_keeps_what_was_read(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model, batch_size=256)
    long = [ChatMessage("user", LONG[0].content[:3000])]
    for event in engine.generate(long, GREEDY):
        if isinstance(event, PromptProgress) and event.done:
            engine.cancel.set()
    held = cached_tokens(engine)
    assert held > 0
    engine.cancel.clear()
    assert finished(engine.generate(long, GREEDY)).usage.reused == held


def test_a_stop_while_writing_keeps_the_text(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    events = []
    for event in engine.generate(SHORT, Sampling(temp=0)):
        events.append(event)
        if sum(isinstance(each, TextDelta) for each in events) == 3:
            engine.cancel.set()
    end = finished(events)
    assert end.reason is Reason.CANCELLED
    assert end.text == "".join(e.text for e in events if isinstance(e, TextDelta)) != ""


def test_a_stop_before_loading_writes_nothing(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    engine.cancel.set()
    end = finished(engine.generate(SHORT, GREEDY))
    assert (end.reason, end.text) == (Reason.CANCELLED, "")
    engine.cancel.clear()
    assert finished(engine.generate(SHORT, GREEDY)).text


@pytest.mark.parametrize("aborted", [True, False])
def test_a_stop_does_not_wait_for_the_loader(
    open_engine: OpenEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, aborted: bool
) -> None:
    """The loader may still be busy with what cannot be stopped; it is used, or begun anew."""
    held, made = threading.Event(), loading.load_weights
    began: list[EngineOptions] = []

    def late(options: EngineOptions, cancel: Cancel) -> Model:
        began.append(options)
        held.wait()
        if aborted and len(began) == 1:
            raise InterruptedError  # as llama.cpp does once it sees the flag
        return made(options, cancel)

    monkeypatch.setattr(loading, "load_weights", late)
    engine = open_engine(tiny_model)
    events = engine.load()
    assert isinstance(next(events), LoadProgress)
    engine.cancel.set()
    with pytest.raises(InterruptedError):
        next(events)
    assert not held.is_set()
    held.set()
    engine.cancel.clear()
    assert finished(engine.generate(SHORT, GREEDY)).text
    assert len(began) == 1 + aborted


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_reaches_the_engine_thread(
    open_engine: OpenEngine, starter_model: Path, name: str
) -> None:
    engine = open_engine(starter_model, ctx_size=2048, batch_size=2048)
    number = getattr(signal, name)
    seen: list[Finished] = []

    def work() -> None:
        for event in engine.generate(LONG, GREEDY):
            if isinstance(event, PromptProgress):
                threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
            if isinstance(event, Finished):
                seen.append(event)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        run_on_engine_thread(work, engine.cancel)
    assert caught.value.exit_code == 128 + number
    assert seen[0].reason is Reason.CANCELLED
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait() -> None:
    cancel, over, ended = Cancel(), threading.Event(), threading.Event()

    def stubborn() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        while not cancel.is_set():  # the first is handled: two at once would count as one
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(100)
        ended.set()

    with pytest.raises(Interrupted):
        run_on_engine_thread(stubborn, cancel)
    assert not ended.is_set()
    over.set()
    assert cancel.is_set()


def test_results_and_errors_come_back_from_the_engine_thread() -> None:
    def fail() -> None:
        raise UsageError("no")

    assert run_on_engine_thread(lambda: threading.current_thread().name, Cancel()) == "engine"
    with pytest.raises(UsageError, match="no"):
        run_on_engine_thread(fail, Cancel())


def stack_of_this_thread() -> int:
    """Bytes, by ``pthread_getattr_np``, which only Linux has."""
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    attributes, size = ctypes.create_string_buffer(64), ctypes.c_size_t()
    me = ctypes.c_void_p(libc.pthread_self())
    assert libc.pthread_getattr_np(me, attributes) == 0
    assert libc.pthread_attr_getstacksize(attributes, ctypes.byref(size)) == 0
    libc.pthread_attr_destroy(attributes)
    return size.value


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the size of a stack")
def test_other_threads_keep_their_stacks_while_large_ones_start() -> None:
    ordinary: set[int] = set()
    large: list[int] = []

    def start_large() -> None:
        large.extend(on_large_stack(stack_of_this_thread) for _ in range(100))

    def start_ordinary() -> None:
        for _ in range(200):
            thread = threading.Thread(target=lambda: ordinary.add(stack_of_this_thread()))
            thread.start()
            thread.join()

    starters = [threading.Thread(target=each) for each in [start_large, start_ordinary] * 3]
    for thread in starters:
        thread.start()
    for thread in starters:
        thread.join()
    assert min(large) >= STACK_SIZES[0]
    assert len(ordinary) == 1
    assert max(ordinary) < STACK_SIZES[1]
    assert threading.stack_size() == 0


def test_the_engine_thread_has_room_for_a_recursing_tokenizer(tmp_path: Path) -> None:
    """100 kB of one letter overflow a stack of 8 MB in this tokenizer's regular expression."""
    path = write_tiny(tmp_path / "m.gguf", metadata={"tokenizer.ggml.pre": "deepseek-coder"})

    def work() -> int:
        model = Model(path, cancel=Cancel())
        try:
            return len(model.tokenize("a" * 100_000, special=True))
        finally:
            model.close()

    assert run_on_engine_thread(work, Cancel()) > 10_000
