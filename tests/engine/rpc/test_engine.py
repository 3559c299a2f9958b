"""The engine in a child process, here without workers: what it says, and how its end is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.backend import Backend
from tchat.chat.tool_protocol import CallReplyReader, protocol_for
from tchat.engine.batch import BatchOptions, BatchTask
from tchat.engine.binding import Cancel
from tchat.engine.engine import Engine
from tchat.engine.events import (
    CandidateEvent,
    Event,
    Finished,
    LabelScores,
    LoadProgress,
    PromptProgress,
    Reason,
    TextDelta,
    ToolCallStarted,
)
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.engine.rpc.engine import RpcEngine
from tchat.engine.rpc.process import EngineProcess
from tchat.errors import ModelError, ModelInvalid, NetworkError, TchatError, UsageError
from tchat.models.metadata import read_metadata
from tchat.settings import Sampling
from tchat.tools.calculator import calculator_tool
from tchat.tools.syntaxes import ToolChoice
from tests.chat.forced_replies import HERMES, MARKS
from tests.engine.conftest import OpenEngine, finished, streamed
from tests.tiny import CHATML, write_tiny

HELLO = [ChatMessage("user", "Hello, who are you?")]
SHORT = Sampling(seed=7, max_tokens=24)
ENDLESS = Sampling(seed=3, loop_guard=False, logit_bias=("<|endoftext|>=-inf", "<|im_end|>=-inf"))
LABELS = ("yes", "no")

OpenRpcEngine = Callable[..., RpcEngine]


@pytest.fixture
def open_rpc_engine() -> Iterator[OpenRpcEngine]:
    """Make engines in child processes, of one thread; all are closed at the end."""
    engines: list[RpcEngine] = []

    def make(path: Path, **options: Any) -> RpcEngine:
        template = read_metadata(path).chat_template
        options = {"template": template, "threads": 1, "rpc_timeout": 60, **options}
        engines.append(RpcEngine(EngineOptions(path=path, **options)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def child_of(engine: RpcEngine) -> int:
    """The process id of its child."""
    process = engine._process
    assert process is not None
    return process._process.pid


def comparable(events: Iterable[Event]) -> list[object]:
    """Events without what differs from run to run: how much is drafted follows measured times."""
    return [
        (event.reason, event.text, replace(event.usage, drafted=0, accepted=0))
        if isinstance(event, Finished)
        else event
        for event in events
        if not isinstance(event, LoadProgress)
    ]


def test_a_reply_is_that_of_an_engine_in_this_process(
    open_engine: OpenEngine, open_rpc_engine: OpenRpcEngine, tiny_model: Path
) -> None:
    here, there = open_engine(tiny_model), open_rpc_engine(tiny_model)
    for messages in (HELLO, [*HELLO, ChatMessage("assistant", "I"), ChatMessage("user", "More")]):
        ours, theirs = (list(each.generate(messages, SHORT)) for each in (here, there))
        assert comparable(theirs) == comparable(ours)
    assert there.context_size == here.context_size
    assert there.trained_context_size == here.trained_context_size
    assert (there.n_layer, there.n_embd) == (here.n_layer, here.n_embd)
    assert there.prompt_tokens(HELLO) == here.prompt_tokens(HELLO)
    assert there.text_tokens("one two") == here.text_tokens("one two")
    assert there.template.sha256 == here.template.sha256
    assert here.loaded is not None
    assert there.loaded is not None
    assert there.loaded.kv.tokens == here.loaded.kv.tokens


def test_labels_candidates_and_batches_are_those_of_an_engine_in_this_process(
    open_engine: OpenEngine, open_rpc_engine: OpenRpcEngine, tiny_model: Path
) -> None:
    engines = open_engine(tiny_model), open_rpc_engine(tiny_model)
    ours, theirs = (comparable(each.score_labels(HELLO, LABELS)) for each in engines)
    assert theirs == ours
    assert any(isinstance(each, LabelScores) for each in theirs)
    texts = [
        {
            event.index: event.event.text
            for event in each.candidates(HELLO, SHORT, 3)
            if isinstance(event, CandidateEvent) and isinstance(event.event, Finished)
        }
        for each in engines
    ]
    assert texts[0] == texts[1]
    assert sorted(texts[1]) == [0, 1, 2]


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("template", [HERMES, CHATML])
def test_replies_that_may_call_tools_are_those_of_an_engine_in_this_process(
    open_engine: OpenEngine,
    open_rpc_engine: OpenRpcEngine,
    tmp_path: Path,
    template: str,
    choice: str,
) -> None:
    path = tmp_path / "tools.gguf"
    write_tiny(path, template=template, user_defined=MARKS)
    found = []
    wanted = ToolChoice.parse(choice, ["calculator"])
    assert wanted is not None
    for engine in (open_engine(path), open_rpc_engine(path)):
        list(engine.load())
        protocol = protocol_for(engine, [calculator_tool()], wanted)
        engine.offer_tools(protocol.prompt)
        readers: list[CallReplyReader] = []
        replies = protocol.replies(wanted, readers)
        sampling = Sampling(seed=7, max_tokens=200)
        events = comparable(engine.generate(HELLO, sampling, tools=replies))
        again = comparable(engine.generate(HELLO, SHORT))  # in a prompt with tools, too
        found.append((events, readers[0].calls, again))
    assert found[1] == found[0]
    has_called = any(isinstance(each, ToolCallStarted) for each in found[1][0])
    assert has_called or choice == "auto" or template is CHATML


def test_a_reply_that_may_call_tools_can_be_left(
    open_rpc_engine: OpenRpcEngine, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "tools.gguf", template=HERMES, user_defined=MARKS)
    engine = open_rpc_engine(path)
    list(engine.load())
    protocol = protocol_for(engine, [calculator_tool()], ToolChoice())
    replies = protocol.replies(ToolChoice(), [])
    child = child_of(engine)
    with closing(engine.generate(HELLO, ENDLESS, tools=replies)) as left:  # type: ignore[type-var]
        next(event for event in left if isinstance(event, TextDelta))
    assert finished(engine.generate(HELLO, SHORT, tools=replies)).text
    assert child_of(engine) == child


def test_a_batch_of_more_tasks_than_are_sent_at_once(
    open_rpc_engine: OpenRpcEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.engine.rpc.engine.GROUP", 2)

    def ask(index: int) -> list[ChatMessage]:
        if index == 3:
            raise UsageError("no such field", "look at it")
        return HELLO

    tasks = [BatchTask(index, lambda index=index: ask(index), index) for index in range(5)]  # type: ignore[misc]
    engine = open_rpc_engine(tiny_model)
    results = {each.index: each.result for each in engine.map(tasks, BatchOptions(sampling=SHORT))}
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert str(results[3]) == "no such field; look at it"
    for index in (0, 1, 2, 4):
        reply = results[index]
        assert isinstance(reply, Finished)
        assert reply.seed == index


def test_errors_come_as_they_were_raised(
    open_rpc_engine: OpenRpcEngine, tiny_model: Path, tmp_path: Path
) -> None:
    engine = open_rpc_engine(tiny_model)
    with pytest.raises(UsageError) as raised:
        list(engine.generate(HELLO, Sampling(grammar="root ::= (")))
    assert raised.value.hint
    assert finished(engine.generate(HELLO, SHORT)).reason is Reason.LENGTH
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_model.read_bytes()[:-2000])
    with pytest.raises(ModelInvalid):
        list(RpcEngine(EngineOptions(path=broken, rpc_timeout=60)).load())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_child_that_ends_is_one_error_and_the_next_call_starts_another(
    open_rpc_engine: OpenRpcEngine, tiny_model: Path, number: signal.Signals
) -> None:
    engine = open_rpc_engine(tiny_model)
    seen: list[Event] = []

    def write() -> None:
        for event in engine.generate(HELLO, ENDLESS):
            seen.append(event)
            if isinstance(event, TextDelta):
                os.kill(child_of(engine), number)

    with pytest.raises(ModelError, match=f"the engine's process ended: {number.name}"):
        write()
    assert streamed(seen)
    assert engine.loaded is None
    again = list(engine.generate(HELLO, SHORT))
    assert isinstance(again[0], LoadProgress)
    assert finished(again).text


def test_a_child_that_hangs_is_given_up(open_rpc_engine: OpenRpcEngine, tiny_model: Path) -> None:
    engine = open_rpc_engine(tiny_model, rpc_timeout=1)
    reply = engine.generate(HELLO, ENDLESS)
    next(event for event in reply if isinstance(event, TextDelta))
    child = child_of(engine)
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(NetworkError, match="did not answer for 1 s"):
        list(reply)
    assert not Path(f"/proc/{child}").exists()
    assert finished(engine.generate(HELLO, SHORT)).text


def test_a_reply_can_be_stopped_and_left(open_rpc_engine: OpenRpcEngine, tiny_model: Path) -> None:
    engine = open_rpc_engine(tiny_model)
    events: list[Event] = []
    for event in engine.generate(HELLO, ENDLESS):
        events.append(event)
        if isinstance(event, TextDelta):
            engine.cancel.set()
    assert finished(events).reason is Reason.CANCELLED
    engine.cancel.clear()
    child = child_of(engine)
    with closing(engine.generate(HELLO, ENDLESS)) as left:  # type: ignore[type-var]
        next(event for event in left if isinstance(event, TextDelta))
    assert child_of(engine) == child
    assert finished(engine.generate(HELLO, SHORT)).text


def test_candidates_can_be_ended_one_by_one(
    open_rpc_engine: OpenRpcEngine, tiny_model: Path
) -> None:
    engine, ended, ends = open_rpc_engine(tiny_model), set[int](), dict[int, Reason]()
    for event in engine.candidates(HELLO, ENDLESS, 2, stopped=ended):
        assert isinstance(event, LoadProgress | PromptProgress | CandidateEvent)
        if not isinstance(event, CandidateEvent):
            continue
        if isinstance(event.event, Finished):
            ends[event.index] = event.event.reason
            ended.add(1 - event.index)
        else:
            ended.add(0)
    assert ends == {0: Reason.CANCELLED, 1: Reason.CANCELLED}


def test_stopping_while_it_loads_leaves_no_child(tiny_model: Path) -> None:
    cancel = Cancel()
    engine = RpcEngine(EngineOptions(path=tiny_model, rpc_timeout=60), cancel)
    loading = engine.load()
    next(loading)
    cancel.set()
    with pytest.raises(InterruptedError):
        list(loading)
    assert engine.loaded is None
    reply = list(engine.generate(HELLO, SHORT))
    assert finished(reply).reason is Reason.CANCELLED


def test_what_needs_hidden_states_is_refused(
    open_rpc_engine: OpenRpcEngine, tiny_model: Path
) -> None:
    engine = open_rpc_engine(tiny_model)
    for call in (lambda: engine.hidden_state_reader([1]), lambda: engine.steered(())):
        with pytest.raises(UsageError, match="a model over RPC does not give"):
            call()


REASONS = {
    "/x/ggml-rpc.cpp:547: Failed to connect to 127.0.0.1:7": "no worker answers at 127.0.0.1:7",
    "ggml-rpc.cpp:547: Failed to connect to far:7; Cannot resolve host 'far'": (
        "the worker far:7 cannot be found"
    ),
    "ggml-rpc.cpp:550: RPC handshake failed for a:7; RPC server version mismatch: 6.1.0": (
        "speaks version 6.1.0 of llama.cpp's RPC"
    ),
    "ggml-rpc.cpp:354: Remote RPC server crashed or returned malformed response": (
        "does not speak this version"
    ),
    "/x/ggml.c:1: GGML_ASSERT(n > 0) failed": "llama.cpp failed: /x/ggml.c:1: GGML_ASSERT",
}


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_of_llama_cpp_is_told_with_what_to_do(reason: str) -> None:
    process = EngineProcess(("a:7",), Cancel())
    try:
        error = process._broken(reason, is_connected=False)
    finally:
        process.close()
    assert isinstance(error, TchatError)
    assert REASONS[reason] in str(error)
    assert "\n" not in str(error)


def test_it_is_a_backend_of_a_chat(open_rpc_engine: OpenRpcEngine, tiny_model: Path) -> None:
    engine = open_rpc_engine(tiny_model)
    backend: Backend = engine
    assert not backend.is_loaded
    with closing(engine):
        list(backend.load())
        assert backend.is_loaded
        assert backend.template_hash == engine.template.sha256
        assert backend.capabilities.exact_tokens
        assert backend.capabilities.tools
        assert not backend.capabilities.hidden_states
        public = {name for name in dir(Engine) if not name.startswith("_")}
        assert public - {*dir(engine)} == set()
    assert not backend.is_loaded


def test_the_child_of_a_protected_process_is_protected() -> None:
    code = """
import subprocess
from tchat.encryption.hardening import is_protected, protect_process
from tchat.engine.binding import Cancel
from tchat.engine.rpc import child_process, process

def started(command, **_):
    print(command[4:])
    raise OSError

child_process.EngineChild = lambda _: type("Child", (), {"run": None})
child_process.Connection = child_process.on_large_stack = lambda _: None
subprocess.Popen = started
for protect in (lambda: None, protect_process):
    protect()
    try:
        process.EngineProcess(("a:7",), Cancel())
    except Exception as error:
        print(type(error).__name__)
"""
    child = """
child_process.main(3, is_protected=False)
print(is_protected())
child_process.main(3, is_protected=True)
print(is_protected())
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.split() == ["[]", "TchatError", "['protected']", "TchatError"]
    head = code.partition("for protect")[0]
    ran = subprocess.run(
        [sys.executable, "-c", head + child], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.split() == ["False", "True"]
