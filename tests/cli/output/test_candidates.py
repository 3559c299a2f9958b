"""``--candidates``: in a pipe, on a terminal, as JSON, and in a chat on plain lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pexpect
import pytest

from tchat.sessions.store import SessionStore
from tests.cli.shell import tchat

FLAGS = ("--seed", "3", "--temp", "1.5", "--max-tokens", "12", "--logit-bias", "2=-inf")


@pytest.fixture(autouse=True)
def model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))


def alone(seed: int) -> str:
    flags = [str(seed) if flag == "3" else flag for flag in FLAGS]
    return tchat("Hello", *flags).out


def test_a_pipe_gets_labelled_blocks(home: Path) -> None:
    ran = tchat("-N", "3", "Hello", *FLAGS)
    assert ran.code == 0
    blocks = [f"[{number + 1}]\n{alone(3 + number)}" for number in range(3)]
    assert ran.out == "\n".join(blocks)


def test_json_has_all_with_their_log_probabilities(home: Path) -> None:
    ran = tchat("--candidates", "2", "Hello", "--json", *FLAGS)
    value = json.loads(ran.out)
    first, second = value["candidates"]
    assert first["reply"] + "\n" == alone(3)
    assert (first["seed"], second["seed"]) == (3, 4)
    assert first["log_probability"] < 0
    assert first["finish_reason"] == "length"
    with SessionStore(home / "sessions.db") as store:
        assert store.branch(value["session"])[-1].text == first["reply"]


def test_each_follows_the_schema(home: Path) -> None:
    schema = '{"type":"object","properties":{"a":{"enum":["x","y"]}},"required":["a"]}'
    ran = tchat("-N", "3", "Hello", "--json", "--schema", schema, "--seed", "1")
    assert ran.code == 0
    for candidate in json.loads(ran.out)["candidates"]:
        assert json.loads(candidate["reply"])["a"] in ("x", "y")


def test_usage_counts_all_of_them(home: Path) -> None:
    ran = tchat("-N", "2", "-u", "Hello", *FLAGS)
    assert "2 replies · 24 tokens written" in ran.err
    assert "tok/s in all" in ran.err


@pytest.mark.parametrize("flags", [("--choose", "a,b"), ("--yes-no",)])
def test_labels_are_no_replies(flags: tuple[str, ...]) -> None:
    ran = tchat("-N", "2", "Hello", *flags)
    assert ran.code == 2
    assert "--candidates" in ran.err


@pytest.mark.parametrize(("columns", "beside"), [(80, True), (60, False)])
def test_a_terminal_gets_columns_where_they_fit(home: Path, columns: int, beside: bool) -> None:
    command = ["-m", "tchat", "-N", "3", "Hello", "--markdown", "never", *FLAGS]
    child = pexpect.spawn(
        sys.executable,
        command,
        dimensions=(24, columns),
        # readline puts the width of our own terminal behind Python's back into the environment.
        env=dict(os.environ),
        encoding="utf-8",
        timeout=60,
    )
    child.expect(pexpect.EOF)
    assert child.before is not None
    assert ("[1]" + " " * 21 + " │ [2]" in child.before) == beside
    assert ("\n[2]" in child.before) != beside
    if beside:
        assert child.before.count("12 tokens · len") == 3


def test_a_chat_on_lines_tries_and_picks(home: Path) -> None:
    lines = b"/pick 1\n/try 3 Hello\n/pick 4\n/pick 2\n/try 1\n"
    ran = tchat("--plain", *FLAGS, stdin=lines)
    assert ran.out == "\n".join(f"Reply {n + 1} of 3:\n{alone(3 + n)}" for n in range(3))
    assert "no candidates to pick from" in ran.err
    assert "a number from 1 to 3" in ran.err
    assert "Continuing with reply 2" in ran.err
    assert "2 to 16" in ran.err
    with SessionStore(home / "sessions.db") as store:
        lasts = [store.branch(session.id)[-1] for session in store.sessions()]
        tried = next(last for last in lasts if len(store.siblings(last.id)) == 3)
        assert store.siblings(tried.id)[1] == tried
        assert [message.id for message in store.with_feedback()] == [tried.id]


def test_a_chat_on_lines_rates_and_corrects(home: Path) -> None:
    lines = b"/good\nHello\n/good\n/mine\n/mine Good morning.\n/bad\n"
    ran = tchat("--plain", *FLAGS, stdin=lines)
    assert "no reply yet" in ran.err
    assert "a good reply" in ran.err
    assert "needs your own reply" in ran.err
    with SessionStore(home / "sessions.db") as store:
        first, mine = store.with_feedback()
    assert (first.rating, first.by_person) == (1, False)
    assert (mine.text, mine.rating, mine.by_person) == ("Good morning.", -1, True)
