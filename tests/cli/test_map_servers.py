"""`tchat map --servers`: rows that servers answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.shell import tchat
from tests.cli.test_map import WORDS, records, tchat_map
from tests.servers.fake_server import (
    CHAT,
    Answer,
    FakeServer,
    json_answer,
    models,
    piece,
    reply,
    sse,
)
from tests.servers.fake_server import serving as serving_fake
from tests.servers.test_pool import CUT, echo, row_of


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.txt"
    path.write_text("".join(f"say {word}\n" for word in WORDS * 4))
    return path


@pytest.fixture
def servers(home: Path) -> Iterator[list[FakeServer]]:
    """``a`` and ``b``, with one model."""
    with ExitStack() as stack:
        found = [stack.enter_context(serving_fake()) for _ in "ab"]
        for name, fake in zip("ab", found, strict=True):
            fake.put("/v1/models", models("tiny", owner="vllm", max_model_len=2048))
            fake.chat(echo)
            assert tchat("servers", "add", name, fake.url).code == 0
        yield found


def test_rows_go_to_all_and_come_in_their_order(servers: list[FakeServer], rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), "--servers", "a,b", "--temp", "0", "--in-flight", "2")
    assert ran.code == 0
    found = records(ran.out)
    assert [record["index"] for record in found] == list(range(20))
    assert [record["output"] for record in found] == [f"re: why say {word}" for word in WORDS * 4]
    assert [len(fake.bodies()) for fake in servers] != [20, 0]
    host = servers[0].host
    assert f"tchat: a: 2 rows at a time go to tiny on {host}\n" in ran.err
    assert len(ran.err.splitlines()) == 2
    alone = tchat("-m", "a", "--temp", "0", f"why say {WORDS[0]}")
    assert alone.out == found[0]["output"] + "\n"
    body = {**servers[0].bodies()[-1], "seed": 0}
    assert body in [{**each, "seed": 0} for fake in servers for each in fake.bodies()[:-1]]


def test_a_model_on_one_server_needs_no_other_flag(servers: list[FakeServer], rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), "-m", "a/tiny", "-q")
    assert (ran.code, ran.err) == (0, "")
    assert len(records(ran.out)) == len(servers[0].bodies()) == 20


def test_the_rows_of_a_server_that_dies_go_to_the_other(
    servers: list[FakeServer], rows: Path, tmp_path: Path
) -> None:
    dying, _ = servers
    dying.chat(echo, CUT)
    dying.put("/v1/models", models("tiny", owner="vllm"), CUT)
    output = tmp_path / "out.jsonl"
    ran = tchat_map("why {}", str(rows), "--servers", "a,b", "-o", str(output))
    assert ran.code == 0
    assert ran.err.count("goes on without it") + ran.err.count("go on without it") == 1
    found = records(output.read_text())
    assert [record["output"] for record in found] == [f"re: why say {word}" for word in WORDS * 4]


def test_what_was_answered_is_kept_and_the_call_resumes_elsewhere(
    servers: list[FakeServer], rows: Path, tmp_path: Path
) -> None:
    first, second = servers
    first.chat(echo, echo, echo, CUT)
    first.put("/v1/models", models("tiny", owner="vllm"), CUT)
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), "--in-flight", "1")
    ran = tchat_map(*call, "--servers", "a")
    assert ran.code == 5
    assert ran.err.splitlines()[-1].startswith("tchat: no server is left: ")
    assert len(records(output.read_text())) == 3
    assert tchat_map(*call, "--servers", "b").code == 0
    assert len(second.bodies()) == 17
    assert [record["index"] for record in records(output.read_text())] == list(range(20))
    second.put("/v1/models", models("other", owner="vllm"))
    ran = tchat_map(*call, "--servers", "b")
    assert ran.code == 2
    assert "results of another call" in ran.err


@pytest.mark.parametrize("down", ["then", "first"])
def test_a_call_resumes_whichever_servers_are_up(
    servers: list[FakeServer], rows: Path, tmp_path: Path, down: str
) -> None:
    _, second = servers
    second.put("/v1/models", models("other", owner="vllm"))
    output = tmp_path / "out.jsonl"
    first_rows = tmp_path / "first.txt"
    first_rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:8]))
    call = ("--servers", "a,b", "-o", str(output))
    if down == "first":
        second.put("/v1/models", CUT)
    assert tchat_map("why {}", str(first_rows), *call).code == 0
    second.put("/v1/models", CUT if down == "then" else models("other", owner="vllm"))
    ran = tchat_map("why {}", str(rows), *call)
    assert ran.code == 0, ran.err
    assert "8 of 20 rows are there already" in ran.err
    assert [record["index"] for record in records(output.read_text())] == list(range(20))
    ran = tchat_map("who {}", str(rows), *call)
    assert "results of another call" in ran.err


def test_one_that_is_not_there_is_told_and_left_out(servers: list[FakeServer], rows: Path) -> None:
    assert tchat("servers", "add", "c", "http://127.0.0.1:9").code == 0
    ran = tchat_map("why {}", str(rows), "--servers", "c,a")
    assert ran.code == 0
    assert "cannot reach 127.0.0.1:9; the other servers go on without it" in ran.err
    ran = tchat_map("why {}", str(rows), "--servers", "c")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err == "tchat: cannot reach 127.0.0.1:9; is it running?\n"


def test_labels_are_chosen_by_their_probabilities(servers: list[FakeServer], rows: Path) -> None:
    alternatives = [{"token": "good", "logprob": -0.1}, {"token": "bad", "logprob": -3.0}]
    chunk = piece("good", end="length")
    content = [{"token": "good", "logprob": -0.1, "top_logprobs": alternatives}]
    chunk["choices"][0]["logprobs"] = {"content": content}
    for fake in servers:
        fake.chat(Answer(sse(chunk)))
    ran = tchat_map("Mood: {}", str(rows), "--servers", "a,b", "--choose", "good,bad")
    assert ran.code == 0
    assert {record["output"] for record in records(ran.out)} == {"good"}
    assert records(ran.out)[0]["probabilities"]["good"] > 0.9


def test_no_row_gets_a_redacted_value_of_another(
    servers: list[FakeServer], home: Path, tmp_path: Path
) -> None:
    with (home / "config.toml").open("a") as config:
        config.write("redact = true\n")  # of the server that was added last
    rows = tmp_path / "rows.jsonl"
    names = [f"{letter}{letter}@example.com" for letter in "abcdefgh"]
    rows.write_text("".join(json.dumps({"a": name}) + "\n" for name in names))
    servers[1].chat(lambda _: reply("[EMAIL_1] [EMAIL_2] [EMAIL_3]"))
    ran = tchat_map("Hi {a}?", str(rows), "--servers", "b", "--in-flight", "4")
    assert ran.code == 0, ran.err
    found = [record["output"] for record in records(ran.out)]
    assert found == [f"{name} [EMAIL_2] [EMAIL_3]" for name in names]
    sent = [body["messages"][-1]["content"] for body in servers[1].bodies()]
    assert sent == ["Hi [EMAIL_1]?"] * len(names)


def test_a_schema_is_sent_and_checked(servers: list[FakeServer], rows: Path) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    ran = tchat_map("{}", str(rows), "--servers", "a,b", "--schema", json.dumps(schema))
    assert ran.code == 1
    assert "20 of 20 rows failed" in ran.err  # an echo is no JSON
    sent = servers[0].bodies()[0]["response_format"]["json_schema"]["schema"]
    assert sent == schema


def test_different_models_are_told(servers: list[FakeServer], rows: Path) -> None:
    servers[1].put("/v1/models", models("other\x1b[31m"))
    ran = tchat_map("why {}", str(rows), "--servers", "a,b")
    assert ran.code == 0
    assert "the models have different names: other" in ran.err
    assert "\x1b" not in ran.err


def test_a_row_that_fails_is_a_record_and_tried_again(
    servers: list[FakeServer], rows: Path, tmp_path: Path
) -> None:
    broken = json_answer({"error": {"message": "it broke"}}, 500)
    servers[0].chat(lambda seen: broken if row_of(seen) == "why say sky" else echo(seen))
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "--servers", "a", "-o", str(output))
    ran = tchat_map(*call)
    assert ran.code == 1
    assert "4 of 20 rows failed; the first is row 0: a answers with status 500: it broke" in ran.err
    servers[0].chat(echo)
    before = len(servers[0].bodies())
    assert tchat_map(*call).code == 0
    assert len(servers[0].bodies()) == before + 4


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--servers", "a,,b"), "separated by commas"),
        (("--servers", "nobody"), "no model server is called nobody"),
        (("--servers", "a", "-m", "b"), "--servers excludes -m"),
        (("--servers", "a", "-T", "calculator"), "--servers and -T cannot be combined"),
        (("--in-flight", "4"), "--in-flight needs --servers"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_one_line(
    flags: tuple[str, ...], why: str, servers: list[FakeServer], rows: Path
) -> None:
    ran = tchat_map("why {}", str(rows), *flags)
    assert ran.code == 2
    assert why in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not any(seen.path == CHAT for fake in servers for seen in fake.seen)
