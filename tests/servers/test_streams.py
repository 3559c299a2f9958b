"""Streams as servers and proxies send them, from whole to hostile."""

from __future__ import annotations

import gzip
import json

import pytest

from tchat.engine.events import Event, Reason
from tchat.engine.prompt import ChatMessage
from tchat.errors import ModelNotFound, PromptTooLong
from tchat.servers.backend import ServerBackend
from tchat.servers.errors import ServerError
from tchat.settings import Sampling
from tests.servers.asking import QUESTION, ask, backend_of, finished, notices, reasoning_of, text_of
from tests.servers.fake_server import Answer, FakeServer, json_answer, piece, reply, sse

WHOLE = b"".join(sse(piece("Blue, "), piece("größer 🟦"), piece(end="stop")))
TEXT = "Blue, größer 🟦"


def bytewise(data: bytes) -> list[bytes]:
    return [data[n : n + 1] for n in range(len(data))]


@pytest.mark.parametrize(
    "answer",
    [
        Answer([WHOLE]),
        Answer(bytewise(WHOLE)),
        Answer([WHOLE.replace(b"\n", b"\r\n")]),
        Answer(bytewise(WHOLE.replace(b"\n", b"\r\n"))),
        Answer([WHOLE.replace(b"\n", b"\r")]),
        Answer([WHOLE.replace(b"data: ", b"data:")]),
        Answer([b": OPENROUTER PROCESSING\n\n", b":\n\n", WHOLE]),
        Answer([WHOLE.replace(b"data:", b"id: 1\nevent: message\nretry: 5\nnonsense\ndata:")]),
        Answer([b"\n\n\n", WHOLE]),
        Answer([WHOLE.removesuffix(b"data: [DONE]\n\n")]),
        Answer([WHOLE.removesuffix(b"data: [DONE]\n\n")], is_open=True),
        Answer([WHOLE], is_open=True),
        Answer([WHOLE], media_type="text/event-stream; charset=utf-8"),
        Answer([WHOLE], media_type="text/event-stream; charset=iso-8859-1"),
        Answer([WHOLE], media_type="text/plain"),
        Answer([WHOLE], media_type=""),
        Answer([gzip.compress(WHOLE)], headers={"content-encoding": "gzip"}),
        Answer(bytewise(gzip.compress(WHOLE)), headers={"content-encoding": "gzip"}),
        Answer([WHOLE, b"data: more\n\n" * 3]),
        json_answer(
            {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop", "index": 0}]}
        ),
    ],
    ids=[
        *("plain", "a byte at a time", "CRLF", "CRLF a byte at a time", "CR", "no blank"),
        *("comments", "other fields", "blank lines", "no [DONE]", "no [DONE] until closed"),
        *("until closed", "charset", "wrong charset", "text/plain", "no media type", "gzip"),
        *("gzip a byte at a time", "more behind [DONE]", "no stream"),
    ],
)
def test_a_reply_is_read_however_it_is_sent(
    answer: Answer, fake: FakeServer, backend: ServerBackend
) -> None:
    fake.chat(answer)
    events = ask(backend)
    assert text_of(events) == finished(events).text == TEXT
    assert finished(events).reason is Reason.STOP


@pytest.mark.parametrize(
    "chunks",
    [
        [{}, {"choices": []}, {"choices": None}, {"choices": [None, 3]}, [], 7, None, "text"],
        [{"choices": [{"index": 5, "delta": {"content": "of another choice"}}]}],
        [{"choices": [{"delta": None}]}, {"choices": [{"delta": {"content": None}}]}],
        [{"choices": [{"delta": {"content": [{"type": "image"}, 3, {"text": 4}]}}]}],
        [piece(tool_calls=None), piece(tool_calls=3), piece(tool_calls=[None])],
        [{"usage": {"prompt_tokens": -1, "completion_tokens": "many"}}, {"usage": 3}],
        [{"timings": {"prompt_ms": "soon", "cache_n": 1.5}}, {"prompt_progress": {"total": {}}}],
        [{"choices": [{"delta": {}, "logprobs": {"content": [{"logprob": "low"}, None, 4]}}]}],
    ],
)
def test_what_makes_no_sense_is_passed_over(
    chunks: list[object], fake: FakeServer, backend: ServerBackend
) -> None:
    fake.chat(Answer(sse(*chunks, piece(TEXT), *chunks, piece(end="stop"))))
    assert finished(ask(backend)).text == TEXT


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_has_a_field_of_its_own(
    field: str, fake: FakeServer, backend: ServerBackend
) -> None:
    chunks = [piece(**{field: "Hmm"}), piece(**{field: ", light"}), piece("<think> Blue")]
    fake.chat(Answer(sse(*chunks, piece(end="stop"))))
    events = ask(backend)
    assert reasoning_of(events) == finished(events).reasoning == "Hmm, light"
    assert finished(events).text == "<think> Blue"


def test_reasoning_between_tags_in_the_text_is_reasoning(
    fake: FakeServer, backend: ServerBackend
) -> None:
    chunks = [piece("<thi"), piece("nk>Hmm"), piece("</think>"), piece("\n\nBlue")]
    fake.chat(Answer(sse(*chunks, piece(end="stop"))))
    end = finished(ask(backend))
    assert (end.reasoning, end.text) == ("Hmm", "Blue")


def test_content_in_parts_is_text(fake: FakeServer, backend: ServerBackend) -> None:
    parts = [{"type": "text", "text": "Bl"}, {"type": "text", "text": "ue"}]
    fake.chat(Answer(sse(piece(content=parts), piece(end="stop"))))
    assert finished(ask(backend)).text == "Blue"


def test_usage_of_the_last_chunk_counts(fake: FakeServer, backend: ServerBackend) -> None:
    fake.chat(
        reply(
            "It is blue",
            prompt_tokens=50,
            completion_tokens=9,
            prompt_tokens_details={"cached_tokens": 30},
            completion_tokens_details={"reasoning_tokens": 4},
        )
    )
    usage = finished(ask(backend)).usage
    assert (usage.prompt, usage.reused, usage.prefilled) == (50, 30, 20)
    assert (usage.completion, usage.reasoning) == (9, 4)


def test_without_usage_the_pieces_count(fake: FakeServer, backend: ServerBackend) -> None:
    fake.chat(reply("It is blue"))
    assert finished(ask(backend)).usage.completion == 3


@pytest.mark.parametrize("end", ["length", "max_tokens"])
def test_a_reply_may_end_at_its_length(end: str, fake: FakeServer, backend: ServerBackend) -> None:
    fake.chat(Answer(sse(piece("Blu"), piece(end=end))))
    assert finished(ask(backend)).reason is Reason.LENGTH


@pytest.mark.parametrize(
    "answer",
    [
        Answer(sse(piece("Blue"), done=False), cut=True),
        Answer(sse(piece("Blue"), done=False)),
        Answer(sse(piece("Blue"), done=False), is_open=True),
        Answer([*sse(piece("Blue"), done=False), b'data: {"choi'], cut=True),
        Answer([*sse(piece("Blue"), done=False), b"data: <html>\n\n"]),
        Answer(sse(piece("Blue"), {"error": {"message": "CUDA out of memory"}}, done=False)),
        Answer(sse(piece("Blue"), {"error": "llama runner process has terminated"})),
    ],
)
def test_a_cut_reply_is_no_whole_one(
    answer: Answer, fake: FakeServer, backend: ServerBackend
) -> None:
    fake.chat(answer)
    events: list[Event] = []
    with pytest.raises(ServerError) as caught:
        events.extend(backend.generate(QUESTION, Sampling()))
    assert text_of(events) == "Blue"
    assert "box" in str(caught.value)
    assert len(fake.bodies()) == 1, "it is not sent again once it has begun"


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (json_answer({"error": {"message": "bad field"}}, 400), ServerError, "400: bad field"),
        (json_answer({"error": "bad field"}, 400), ServerError, "bad field"),
        (json_answer({"object": "error", "message": "bad field"}, 400), ServerError, "bad field"),
        (json_answer({"detail": [{"msg": "bad field"}]}, 422), ServerError, "bad field"),
        (json_answer({"detail": "bad field"}, 500), ServerError, "bad field"),
        (json_answer([], 500), ServerError, "status 500"),
        (Answer([b"no JSON \x1b[31m"], 500, "text/plain"), ServerError, "no JSON ␛[31m"),
        (
            Answer([b"<html><title>502 Bad Gateway</title><p>" + b"x" * 9999], 500, "text/html"),
            ServerError,
            "502 Bad Gateway",
        ),
        (Answer([b"<!doctype html><p>Sign in"], 200, "text/html"), ServerError, "a web page"),
        (Answer([b"<html>"], 200, "application/json"), ServerError, "a web page"),
        (Answer([b"not JSON"], 200, "application/json"), ServerError, "no answer that can be read"),
        (Answer([b"data: not JSON\n\n"]), ServerError, "no answer that can be read"),
        (Answer([], 302, "text/html", {"location": "http://other/"}), ServerError, "redirects"),
        (json_answer({"error": {"message": "no"}}, 401), ServerError, "refuses access"),
        (json_answer({}, 403), ServerError, "refuses access"),
        (json_answer({"error": "model 'x' not found"}, 404), ModelNotFound, "model 'x' not found"),
        (json_answer({"error": "no"}, 404), ServerError, "has no chat at"),
        (
            json_answer(
                {"error": {"message": "too big", "type": "exceed_context_size_error"}}, 400
            ),
            PromptTooLong,
            "too big",
        ),
        (
            json_answer({"message": "This model's maximum context length is 4096 tokens."}, 400),
            PromptTooLong,
            "maximum context length",
        ),
        (Answer([], cut=True), ServerError, "was cut"),
        (Answer([b"{}"], headers={"content-encoding": "gzip"}), ServerError, "can be read"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(
    answer: Answer,
    error: type[Exception],
    says: str,
    fake: FakeServer,
    backend: ServerBackend,
) -> None:
    fake.chat(answer)
    with pytest.raises(error) as caught:
        ask(backend)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_tried_again(
    status: int, fake: FakeServer, backend: ServerBackend
) -> None:
    busy = json_answer({"error": {"message": "Loading model"}}, status)
    fake.chat(busy, busy, reply("It is blue"))
    events = ask(backend)
    assert finished(events).text == "It is blue"
    assert len(fake.bodies()) == 3
    assert [text for text in notices(events) if "trying again" in text]


def test_a_server_says_when_it_is_tried_again(fake: FakeServer, backend: ServerBackend) -> None:
    busy = json_answer({"error": "slow down"}, 429, retry_after="0.3")
    fake.chat(busy, reply("It is blue"))
    assert finished(ask(backend)).text == "It is blue"


@pytest.mark.parametrize("after", ["0", "3600", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_server_that_stays_busy_is_given_up(
    after: str, fake: FakeServer, backend: ServerBackend
) -> None:
    fake.chat(json_answer({"error": "slow down"}, 429, retry_after=after))
    with pytest.raises(ServerError, match="slow down"):
        ask(backend)
    assert len(fake.bodies()) == (1 if after == "3600" else 5)


def test_an_endless_event_is_given_up(fake: FakeServer, backend: ServerBackend) -> None:
    fake.chat(Answer(b"data: " + b"x" * (1 << 20) for _ in range(64)))
    with pytest.raises(ServerError, match="more at once"):
        ask(backend)


def test_an_endless_reply_is_given_up(fake: FakeServer, backend: ServerBackend) -> None:
    fake.chat(Answer(sse(piece("x" * (1 << 20)), done=False)[0] for _ in range(64)))
    with pytest.raises(ServerError, match="more than a reply can have"):
        ask(backend)


def test_a_list_of_models_without_end_is_given_up(fake: FakeServer) -> None:
    fake.put("/v1/models", Answer((b" " * (1 << 20) for _ in range(64)), 200, "application/json"))
    with pytest.raises(ServerError, match="more at once"):
        ask(backend_of(fake))


def test_lone_surrogates_can_be_sent(fake: FakeServer, backend: ServerBackend) -> None:
    fake.chat(reply("It is blue"))
    list(backend.generate([ChatMessage("user", "a\udc80b")], Sampling()))
    assert json.dumps(fake.bodies()[0]["messages"]) == json.dumps(
        [{"role": "user", "content": "a�b"}]
    )
