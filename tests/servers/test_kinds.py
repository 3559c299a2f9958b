"""What each kind of server is told, and what is read from it, by the shapes that they document."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.events import (
    CandidateEvent,
    Finished,
    LabelScores,
    PromptProgress,
    Reason,
    TextDelta,
)
from tchat.engine.prompt import ChatMessage, MessageCall
from tchat.engine.prompt.tools import PromptTools, ToolDefinition
from tchat.engine.tool_reply import ReplyReader, ToolReplies
from tchat.errors import ModelNotFound, UsageError
from tchat.servers.backend import ServerBackend
from tchat.servers.description import describe
from tchat.servers.errors import ServerError
from tchat.servers.kinds import KINDS
from tchat.settings import Sampling
from tchat.tools.tool import object_schema
from tests.servers.asking import (
    QUESTION,
    ask,
    backend_of,
    finished,
    notices,
    only,
    wait_for_threads,
)
from tests.servers.fake_server import (
    CHAT,
    Answer,
    FakeServer,
    Seen,
    json_answer,
    models,
    piece,
    reply,
    sse,
)


def never() -> bool:
    return False


def described(fake: FakeServer, model: str = "", **more: Any) -> Any:
    backend = backend_of(fake, **{"ctx_size": 0, **more})
    try:
        return describe(backend._connection, model, never)
    finally:
        backend.close()


def test_vllm_tells_its_context(fake: FakeServer) -> None:
    fake.put("/v1/models", models("Qwen/Qwen3-8B", owner="vllm", max_model_len=40960))
    found = described(fake)
    assert (found.kind.name, found.model.context, found.tells_context) == ("vllm", 40960, True)


def test_sglang_tells_its_context(fake: FakeServer) -> None:
    fake.put("/v1/models", models("q", owner="sglang", max_model_len=32768))
    assert (described(fake).kind.name, described(fake).model.context) == ("sglang", 32768)


def test_llama_server_tells_its_context_apart(fake: FakeServer) -> None:
    fake.put("/v1/models", models("m.gguf", owner="llamacpp", meta={"n_ctx_train": 131072}))
    fake.put("/props", json_answer({"default_generation_settings": {"n_ctx": 8192}}))
    found = described(fake)
    assert (found.kind.name, found.model.context) == ("llama-server", 8192)
    assert found.model.trained_context == 131072


@pytest.mark.parametrize(
    ("running", "parameters", "context"),
    [
        ([{"model": "qwen3:4b", "context_length": 16384}], "", 16384),
        (
            [{"model": "other", "context_length": 16384}],
            "num_ctx                        8192",
            8192,
        ),
        ([], 'stop "<|im_end|>"', 4096),
    ],
)
def test_ollama_tells_its_context_apart(
    running: list[Any], parameters: str, context: int, fake: FakeServer
) -> None:
    fake.put("/v1/models", models("qwen3:4b", owner="library"))
    fake.put("/api/ps", json_answer({"models": running}))
    shown = {"model_info": {"qwen3.context_length": 40960}, "parameters": parameters}
    fake.put("/api/show", json_answer(shown))
    found = described(fake, "qwen3:4b")
    assert (found.kind.name, found.model.context) == ("ollama", context)


def test_lm_studio_tells_its_context_apart(fake: FakeServer) -> None:
    fake.put("/v1/models", models("qwen3-4b", owner="organization_owner"))
    loaded = {"id": "qwen3-4b", "max_context_length": 32768, "loaded_context_length": 4096}
    fake.put("/api/v0/models", json_answer({"data": [loaded]}))
    found = described(fake)
    assert (found.kind.name, found.model.context) == ("lm-studio", 4096)


@pytest.mark.parametrize("owner", ["llamacpp", "library", "organization_owner"])
def test_a_server_that_does_not_tell_its_context_can_be_used(owner: str, fake: FakeServer) -> None:
    fake.put("/v1/models", models("m", owner=owner))
    assert described(fake).model.context > 0
    assert not described(fake).tells_context


def test_what_the_user_says_wins(fake: FakeServer) -> None:
    fake.put("/v1/models", models("m", owner="vllm", max_model_len=40960))
    found = described(fake, kind="openai", ctx_size=1000)
    assert (found.kind.name, found.model.context) == ("openai", 1000)


def test_a_model_is_found_by_its_name(fake: FakeServer) -> None:
    fake.put("/v1/models", models("qwen3:latest", "a/b", owner="library"))
    assert described(fake, "qwen3").model.id == "qwen3:latest"
    assert described(fake, "a/b").model.id == "a/b"
    with pytest.raises(ModelNotFound, match=r"box has no model qwen3:latst; did you mean"):
        described(fake, "qwen3:latst")
    with pytest.raises(ModelNotFound, match="has 2 models, and none is named"):
        described(fake)
    fake.put("/v1/models", models())
    with pytest.raises(ModelNotFound, match="has 0 models"):
        described(fake)


def body_for(kind: str, fake: FakeServer, sampling: Sampling, **options: Any) -> dict[str, Any]:
    fake.chat(reply("It is blue"))
    backend = backend_of(fake, kind=kind)
    try:
        ask(backend, sampling, **options)
    finally:
        backend.close()
    body: dict[str, Any] = fake.bodies()[-1]
    return body


@pytest.mark.parametrize("kind", list(KINDS))
def test_only_what_differs_from_the_defaults_is_sent(kind: str, fake: FakeServer) -> None:
    body = body_for(kind, fake, Sampling(seed=3))
    assert body.pop("seed") == 3
    assert body == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_every_server_takes(kind: str, fake: FakeServer) -> None:
    sampling = Sampling(
        temp=0.1,
        top_p=0.5,
        frequency_penalty=0.2,
        presence_penalty=0.3,
        max_tokens=9,
        stop=("\n", "END"),
        logit_bias=("15=-100",),
    )
    body = body_for(kind, fake, sampling)
    assert body["temperature"] == 0.1
    assert body["top_p"] == 0.5
    assert (body["frequency_penalty"], body["presence_penalty"]) == (0.2, 0.3)
    assert (body["max_tokens"], body["stop"]) == (9, ["\n", "END"])
    assert body["logit_bias"] == {"15": -100.0}


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("vllm", "repetition_penalty"),
        ("sglang", "repetition_penalty"),
        ("llama-server", "repeat_penalty"),
        ("llama-cpp-python", "repeat_penalty"),
        ("lm-studio", "repeat_penalty"),
    ],
)
def test_a_setting_goes_by_the_name_of_the_server(kind: str, field: str, fake: FakeServer) -> None:
    assert body_for(kind, fake, Sampling(repeat_penalty=1.1, top_k=20))[field] == 1.1
    assert fake.bodies()[-1]["top_k"] == 20


def test_what_a_server_cannot_be_told_is_named(fake: FakeServer) -> None:
    fake.chat(reply("It is blue"))
    backend = backend_of(fake, kind="ollama")
    events = ask(backend, Sampling(dry_multiplier=0.8, top_k=3, logit_bias=("the=-1",)))
    assert notices(events) == [
        "box cannot be told of top_k, dry_multiplier, logit_bias: its own settings apply"
    ]
    backend.close()


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("vllm", {"structured_outputs": {"grammar": "root ::= [ab]"}}),
        ("sglang", {"ebnf": "root ::= [ab]"}),
        ("llama-server", {"grammar": "root ::= [ab]"}),
        ("llama-cpp-python", {"grammar": "root ::= [ab]"}),
    ],
)
def test_a_grammar_goes_where_the_server_takes_it(
    kind: str, field: dict[str, Any], fake: FakeServer
) -> None:
    body = body_for(kind, fake, Sampling(grammar="root ::= [ab]"))
    assert {name: body.get(name) for name in field} == field


@pytest.mark.parametrize("kind", ["ollama", "lm-studio", "openai", "other"])
def test_a_grammar_is_refused_elsewhere(kind: str, fake: FakeServer) -> None:
    with pytest.raises(UsageError, match="box takes no grammar"):
        body_for(kind, fake, Sampling(grammar="root ::= [ab]"))
    assert fake.bodies() == []


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_schema_goes_to_every_server(kind: str, fake: FakeServer) -> None:
    schema = {"type": "object"}
    fake.chat(reply("{}"))
    backend = backend_of(fake, kind=kind)
    backend.schema = schema
    # The grammar that was made from it is for the engine in this process.
    ask(backend, Sampling(grammar="root ::= [ab]"))
    form = fake.bodies()[-1]["response_format"]
    assert schema in (form.get("schema"), form.get("json_schema", {}).get("schema"))
    backend.close()


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("vllm", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("sglang", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("llama-server", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("ollama", {"reasoning_effort": "none"}),
    ],
)
def test_reasoning_is_switched_where_it_can_be(
    kind: str, field: dict[str, Any], fake: FakeServer
) -> None:
    body = body_for(kind, fake, Sampling(), think="off")
    assert {name: body.get(name) for name in field} == field


def test_a_reply_is_continued(fake: FakeServer) -> None:
    fake.chat(reply("blue"))
    backend = backend_of(fake, kind="vllm")
    begun = [*QUESTION, ChatMessage("assistant", "It is <think>")]
    end = finished(backend.generate(begun, Sampling(), continue_final=True))
    assert end.text == "blue"
    body = fake.bodies()[-1]
    assert body["messages"][-1] == {"role": "assistant", "content": "It is <think>"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    backend.close()
    backend = backend_of(fake, kind="openai")
    events = backend.generate(begun, Sampling(), continue_final=True)
    assert notices(events) == ["box may begin its reply anew instead of continuing it"]
    backend.close()


# Counting


def test_vllm_counts_the_prompt(fake: FakeServer) -> None:
    fake.chat(reply("blue"))
    fake.put("/tokenize", json_answer({"count": 21, "max_model_len": 4096, "tokens": [1] * 21}))
    backend = backend_of(fake, kind="vllm", ctx_size=20)
    list(backend.load())
    assert len(backend.encoder.for_answer(QUESTION).tokens) == 21
    assert fake.bodies("/tokenize")[0]["messages"][0]["content"] == "Why is the sky blue?"
    backend.close()


def test_llama_server_counts_the_prompt_of_its_template(fake: FakeServer) -> None:
    fake.put("/apply-template", json_answer({"prompt": "<|user|>Why"}))
    fake.put("/tokenize", json_answer({"tokens": [1, 2, 3]}))
    backend = backend_of(fake, kind="llama-server", ctx_size=20)
    list(backend.load())
    assert len(backend.encoder.for_answer(QUESTION).tokens) == 3
    assert fake.bodies("/tokenize")[0] == {"content": "<|user|>Why", "add_special": True}
    backend.close()


@pytest.mark.parametrize("kind", ["vllm", "llama-server", "llama-cpp-python", "other"])
def test_where_nothing_counts_the_prompt_is_estimated(kind: str, fake: FakeServer) -> None:
    backend = backend_of(fake, kind=kind, ctx_size=20)
    list(backend.load())
    assert 5 <= len(backend.encoder.for_answer(QUESTION).tokens) <= 15
    backend.close()


def test_a_prompt_that_fits_by_far_is_not_counted(fake: FakeServer) -> None:
    backend = backend_of(fake, kind="vllm")
    list(backend.load())
    backend.encoder.for_answer(QUESTION)
    assert fake.bodies("/tokenize") == []
    backend.close()


def test_a_draft_stays_on_this_machine(fake: FakeServer) -> None:
    backend = backend_of(fake, kind="vllm")
    list(backend.load())
    before = len(fake.seen)
    with backend.counting() as encoder:
        assert encoder is not None
        assert encoder.count("a secret draft") > 0
        assert encoder.for_reply([ChatMessage("user", "a secret draft")], Sampling()).tokens
    list(backend.prepare(QUESTION))
    assert len(fake.seen) == before
    backend.close()


def test_estimates_learn_from_what_the_server_counts(fake: FakeServer) -> None:
    backend = backend_of(fake)
    question = [ChatMessage("user", "слово " * 500)]
    fake.chat(reply("да", prompt_tokens=2500, completion_tokens=1))
    list(backend.generate(question, Sampling()))
    assert abs(len(backend.encoder.for_answer(question).tokens) - 2500) < 25
    backend.close()


def test_progress_of_the_prompt_is_shown(fake: FakeServer, backend: ServerBackend) -> None:
    steps = [{"total": 100, "cache": 40, "processed": done, "time_ms": 1} for done in (40, 100)]
    chunks = [{"choices": [], "prompt_progress": step} for step in steps]
    fake.chat(Answer(sse(*chunks, piece("Blue"), piece(end="stop"))))
    shown = [each for each in ask(backend) if isinstance(each, PromptProgress)]
    assert PromptProgress(40, 100, 40) in shown
    assert PromptProgress(100, 100, 40) in shown


# Several replies, and labels


def answers_of(events: list[Any]) -> dict[int, Finished]:
    ends = (each for each in events if isinstance(each, CandidateEvent))
    return {each.index: each.event for each in ends if isinstance(each.event, Finished)}


def chunk(index: int, text: str, end: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": end}]}


def test_candidates_come_from_one_request_where_the_server_can(fake: FakeServer) -> None:
    chunks = [chunk(0, "Blue"), chunk(1, "Azure"), chunk(0, "!", "stop"), chunk(1, "", "length")]
    fake.chat(Answer(sse(*chunks)))
    backend = backend_of(fake, kind="vllm")
    ends = answers_of(list(backend.candidates(QUESTION, Sampling(), 2)))
    assert {index: end.text for index, end in ends.items()} == {0: "Blue!", 1: "Azure"}
    assert ends[1].reason is Reason.LENGTH
    assert [body["n"] for body in fake.bodies()] == [2]
    backend.close()


def test_candidates_come_from_several_requests_elsewhere(fake: FakeServer) -> None:
    def numbered(seen: Seen) -> Answer:
        return reply(f"It is number {seen.body['seed']}")

    fake.chat(numbered)
    backend = backend_of(fake, kind="ollama")
    ends = answers_of(list(backend.candidates(QUESTION, Sampling(seed=5), 6)))
    assert {i: end.text for i, end in ends.items()} == {
        i: f"It is number {5 + i}" for i in range(6)
    }
    assert [ends[i].seed for i in range(6)] == [5, 6, 7, 8, 9, 10]
    backend.close()


@pytest.mark.parametrize("kind", ["vllm", "ollama"])
def test_one_candidate_is_stopped_and_the_others_go_on(kind: str, fake: FakeServer) -> None:
    def answer(seen: Seen) -> Answer:
        if "n" in seen.body:
            chunks = [chunk(n % 2, f" {n}") for n in range(400)]
            return Answer(sse(*chunks, chunk(0, "", "stop"), chunk(1, "", "stop")))
        return Answer(sse(*[piece(f" {n}") for n in range(200)], piece(end="stop")))

    fake.chat(answer)
    backend = backend_of(fake, kind=kind)
    stopped: set[int] = set()
    events = []
    shown = {0: "", 1: ""}
    for event in backend.candidates(QUESTION, Sampling(), 2, stopped=stopped):
        events.append(event)
        if isinstance(event, CandidateEvent) and isinstance(event.event, TextDelta):
            shown[event.index] += event.event.text
            if shown[1] and not stopped:
                time.sleep(0.5)  # all of both replies has come by now
                stopped.add(1)
    ends = answers_of(events)
    assert ends[1].reason is Reason.CANCELLED
    assert ends[0].reason is Reason.STOP
    assert {index: end.text for index, end in ends.items()} == shown
    assert len(shown[1].split()) == 1
    backend.close()


def test_replies_that_nobody_reads_on_are_ended(fake: FakeServer, hold: threading.Event) -> None:
    fake.chat(Answer(sse(piece("Blue"), done=False), hold=hold))
    backend = backend_of(fake, kind="ollama")
    events = backend.candidates(QUESTION, Sampling(), 3)
    next(event for event in events if isinstance(event, CandidateEvent))
    events.close()  # type: ignore[attr-defined]  # it is a generator
    wait_for_threads()
    backend.close()


def test_all_end_with_the_one_that_fails(fake: FakeServer, hold: threading.Event) -> None:
    failing = Answer(sse(piece("Bl"), {"error": {"message": "out of memory"}}))
    fake.chat(Answer(sse(piece("Blue"), done=False), hold=hold), failing)
    backend = backend_of(fake, kind="ollama")
    with pytest.raises(ServerError, match="box ended the reply: out of memory"):
        list(backend.candidates(QUESTION, Sampling(), 2))
    wait_for_threads()
    backend.close()


@pytest.mark.parametrize("kind", ["vllm", "ollama"])
def test_all_candidates_are_stopped(kind: str, fake: FakeServer, cancel: Cancel) -> None:
    fake.chat(Answer(sse(*[piece(f" {n}") for n in range(2000)], done=False)))
    backend = backend_of(fake, cancel, kind=kind)
    events = []
    for event in backend.candidates(QUESTION, Sampling(), 2):
        events.append(event)
        if isinstance(event, CandidateEvent):
            cancel.set()
    assert {end.reason for end in answers_of(events).values()} == {Reason.CANCELLED}
    assert set(answers_of(events)) == {0, 1}
    backend.close()


def test_hidden_states_are_refused(fake: FakeServer, backend: ServerBackend) -> None:
    with pytest.raises(UsageError, match="hidden states"):
        list(backend.candidates(QUESTION, Sampling(), 2, states=True))
    assert fake.bodies() == []


def likely(*pairs: tuple[str, float]) -> Answer:
    top = [{"token": token, "logprob": value, "bytes": None} for token, value in pairs]
    content = [{"token": top[0]["token"], "logprob": top[0]["logprob"], "top_logprobs": top}]
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": content}}
    return Answer(sse({"choices": [choice]}, piece(end="length")))


def test_a_label_is_chosen_by_the_first_token(fake: FakeServer) -> None:
    fake.chat(likely((" yes", -0.5), ("No", -2.0), ("no", -1.5), ("maybe", -3.0)))
    backend = backend_of(fake, kind="vllm")
    events = list(backend.score_labels(QUESTION, ["no", "yes"]))
    scores = dict(only(events, LabelScores).probabilities)
    assert list(scores) == ["yes", "no"]
    assert sum(scores.values()) == pytest.approx(1.0)
    assert finished(events).text == "yes"
    body = fake.bodies()[-1]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    backend.close()


@pytest.mark.parametrize(
    ("answer", "labels", "says"),
    [
        (reply("yes"), ["yes", "no"], "gives no log-probabilities"),
        (likely(("the", -0.1)), ["yes", "no"], "none of the labels"),
        (likely(("dark", -0.1)), ["dark blue", "dark red"], "begin alike"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(
    answer: Answer, labels: list[str], says: str, fake: FakeServer
) -> None:
    fake.chat(answer)
    backend = backend_of(fake, kind="openai")
    with pytest.raises(UsageError, match=says):
        list(backend.score_labels(QUESTION, labels))
    backend.close()


def test_a_server_without_logprobs_is_not_asked(fake: FakeServer) -> None:
    backend = backend_of(fake, kind="lm-studio")
    with pytest.raises(UsageError, match="gives no log-probabilities"):
        list(backend.score_labels(QUESTION, ["yes", "no"]))
    assert [each.path for each in fake.seen if each.path == CHAT] == []
    backend.close()


# Tools in the count


def with_tools(backend: ServerBackend) -> list[Any]:
    """Offer one; as it is sent."""
    schema = object_schema(("city",), city={"type": "string"})
    weather = ToolDefinition("weather", "Look up the weather of a city", json.dumps(schema))
    backend.offer_tools(PromptTools((weather,)))
    return [weather.as_json()]


CALLED = [
    *QUESTION,
    ChatMessage("assistant", "", tool_calls=(MessageCall("1", "weather", '{"city": "Berlin"}'),)),
    ChatMessage("tool", "cold", tool_call_id="1"),
]


@pytest.mark.parametrize("connected", [True, False])
def test_tools_and_calls_are_part_of_an_estimate(fake: FakeServer, connected: bool) -> None:
    backend = backend_of(fake)
    list(backend.load())

    def counted(messages: list[ChatMessage]) -> int:
        with backend.counting() as encoder:
            found = backend.encoder if connected else encoder
            assert found is not None
            return len(found.for_answer(messages).tokens)

    without = counted(QUESTION)
    definitions = with_tools(backend)
    expected = len(json.dumps(definitions)) / 3.6
    assert expected <= counted(QUESTION) - without <= expected + 1
    plain = [replace(each, tool_calls=()) for each in CALLED]
    assert counted(CALLED) - counted(plain) >= 6
    backend.close()


@pytest.mark.parametrize(
    ("kind", "path"), [("vllm", "/tokenize"), ("llama-server", "/apply-template")]
)
def test_tools_are_part_of_what_a_server_counts(kind: str, path: str, fake: FakeServer) -> None:
    fake.put("/apply-template", json_answer({"prompt": "<|user|>Why"}))
    fake.put("/tokenize", json_answer({"count": 90, "tokens": [1] * 90}))
    backend = backend_of(fake, kind=kind, ctx_size=120)
    list(backend.load())
    definitions = with_tools(backend)
    assert len(backend.encoder.for_answer(CALLED).tokens) == 90
    (body,) = fake.bodies(path)
    assert body["tools"] == definitions
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "weather"
    backend.close()


def test_a_server_that_counts_texts_gets_tools_and_calls(fake: FakeServer) -> None:
    fake.put("/extras/tokenize/count", json_answer({"count": 90}))
    backend = backend_of(fake, kind="llama-cpp-python", ctx_size=120)
    list(backend.load())
    with_tools(backend)
    backend.encoder.for_answer(CALLED)
    (body,) = fake.bodies("/extras/tokenize/count")
    assert "Look up the weather" in body["input"]
    assert "Berlin" in body["input"]
    backend.close()


def test_estimates_learn_with_the_tools_that_were_offered(fake: FakeServer) -> None:
    fake.chat(reply("yes", prompt_tokens=1300, completion_tokens=1))
    backend = backend_of(fake)
    question = [ChatMessage("user", "a word " * 500)]
    list(backend.load())
    with_tools(backend)
    tools = ToolReplies(lambda *_: cast(ReplyReader, None))
    list(backend.generate(question, Sampling(), tools=tools))
    assert abs(len(backend.encoder.for_answer(question).tokens) - 1300) < 15
    backend.close()
