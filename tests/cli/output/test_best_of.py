"""The best of several replies as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tchat.sessions.store import SessionStore
from tests.cli.shell import tchat


@pytest.fixture
def flags(tiny_model: Path) -> list[str]:
    drawn = ["--temp", "1.5", "--seed", "3", "--max-tokens", "12"]
    return ["-m", str(tiny_model), *drawn, "--ranker", "logprob"]


def test_without_a_chosen_judge_an_untrained_one_gives_way_to_likelihood(
    flags: list[str], home: Path
) -> None:
    unchosen = flags[: flags.index("--ranker")]
    ran = tchat("--best-of", "2", "hello", *unchosen)
    assert ran.code == 0
    assert ran.out.strip()
    assert "the discriminator is not trained for this model: the log-probability" in ran.err
    told = json.loads(tchat("--best-of", "2", "--json", "hello", *unchosen).out)
    assert told["judge"] == "logprob"
    assert [notice["kind"] for notice in told["notices"]] == ["judge"]


def test_a_configured_judge_that_was_not_trained_is_refused(flags: list[str], home: Path) -> None:
    unchosen = flags[: flags.index("--ranker")]
    ran = tchat("--best-of", "2", "hello", *unchosen, env={"TCHAT_RANKER": "human"})
    assert (ran.code, ran.out) == (2, "")
    assert tchat("config", "set", "ranker", "human").code == 0
    ran = tchat("--best-of", "2", "hello", *unchosen)
    assert (ran.code, ran.out) == (2, "")
    assert "the discriminator is not trained" in ran.err


def test_the_best_is_printed_and_all_are_kept(flags: list[str], home: Path) -> None:
    ran = tchat("--best-of", "4", "-u", "hello", *flags)
    told = json.loads(tchat("--best-of", "4", "--json", "hello", *flags).out)
    scores = [each["score"] for each in told["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == told["candidates"][0]["log_probability"]
    assert told["judge"] == "logprob"
    assert ran.out.rstrip("\n") == told["reply"].rstrip("\n") == told["candidates"][0]["reply"]
    assert f"best of 4 by logprob: {scores[0]:.2f}, {scores[1]:.2f}" in ran.err
    with SessionStore(home / "sessions.db") as store:
        last = store.branch(told["session"])[-1]
        assert (last.text, last.scores) == (told["reply"], {"logprob": scores[0]})
        assert sorted(m.scores["logprob"] for m in store.siblings(last.id)) == sorted(scores)


def test_a_chat_on_lines_goes_on_with_the_best(flags: list[str], home: Path) -> None:
    ran = tchat("--plain", *flags, stdin=b"/best 3 hello\n/pick 3\n/best 1\n")
    assert "best of 3 by logprob" in ran.err
    assert "Reply 2, score -" in ran.err
    assert "Continuing with the best" in ran.err
    assert "/best writes 2 to 16 replies" in ran.err
    with SessionStore(home / "sessions.db") as store:
        [picked] = store.with_feedback()
        assert ran.out.strip() != picked.text
        assert picked.scores["logprob"] == min(
            each.scores["logprob"] for each in store.siblings(picked.id)
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--best-of", "4", "--ranker", "human"], "tchat judge train FILE.jsonl"),
        (["--best-of", "4", "--ranker", "preference"], "the preference model is not trained"),
        (["--best-of", "1"], "--best-of needs at least 2"),
        (["--best-of", "2", "-N", "2"], "leave one out"),
        (["--best-of", "2", "--ranker", "taste"], "ranker"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    flags: list[str], home: Path, words: list[str], said: str
) -> None:
    ran = tchat("hello", *flags, *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
