"""What a report says of a verdict, and what it makes of untrusted text."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from tchat.judge.game.adversarial_game import (
    DataSplit,
    fit_independent_judge,
    judge_independently,
    split_data,
)
from tchat.judge.game.adversarial_loop import AdversarialLoop, GameRules
from tchat.judge.game.game_state import GameState
from tchat.judge.game.report import write_report
from tchat.judge.game.steering import GameReply
from tchat.judge.training import ReplyPair
from tests.judge.game.game_replies import Puppet, table
from tests.judge.synthetic import LAYERS, features


def replies(shift: float, count: int, seed: int) -> list[GameReply]:
    rng = numpy.random.default_rng(seed)
    return [GameReply(f"p{n}", "x", features(rng, shift)) for n in range(count)]


def test_a_verdict_tells_a_gain_from_chance() -> None:
    outsider = fit_independent_judge(replies(4.0, 60, 1), replies(0.0, 60, 2), LAYERS)
    plain, people = replies(0.0, 80, 3), replies(4.0, 40, 4)
    gained = judge_independently(outsider, plain, replies(4.0, 40, 5), people)
    assert gained.after > 0.8 > 0.2 > gained.before
    assert "chance" not in gained.words
    same = judge_independently(outsider, plain, replies(0.0, 40, 6), people)
    assert same.words.endswith("which may be chance)")


def test_the_error_of_a_gain_is_that_of_having_asked_just_these_prompts() -> None:
    """Many replies to few prompts do not make it smaller: they are not independent."""
    outsider = fit_independent_judge(replies(4.0, 60, 1), replies(0.0, 60, 2), LAYERS)
    plain, steered = replies(0.0, 12, 3), replies(2.0, 12, 4)
    people = replies(4.0, 12, 5)
    once = judge_independently(outsider, plain, steered, people)
    often = judge_independently(outsider, plain * 5, steered * 5, people)
    assert once.error > 0.05
    assert often.error == pytest.approx(once.error)
    single = judge_independently(outsider, plain[:1], steered[:1], people)
    assert single.words.endswith("which may be chance)")


HOSTILE = "\x1b[31m# not a heading\n---\n<img src=http://a/b.png> ![x](http://a) `c` **d** | \u202e"


def test_a_report_shows_untrusted_text_as_it_is(tmp_path: Path) -> None:
    """No link, picture, markup or control of a prompt, a reply or a file name is in force."""
    made = features(numpy.random.default_rng(1))
    pair = (GameReply(HOSTILE, "plain", made), GameReply(HOSTILE, HOSTILE, made))
    facts = (("model", "a|b<script>.gguf"),)
    text = write_report(tmp_path, GameState(), None, [pair], facts).read_text(encoding="utf-8")
    shown = text[text.index("## Replies") :]
    assert "\\<img src=http://a/b.png\\> !\\[x\\](http://a) \\`c\\` \\*\\*d\\*\\*" in shown
    assert "\n> \\---\n" in shown
    assert "a\\|b\\<script\\>.gguf" in shown
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script" not in text.replace("\\<script", "")


def pairs_to(prompts: int, count: int) -> list[ReplyPair]:
    return [ReplyPair(f"p{n % prompts}", f"a{n}", 20, f"b{n}", 20) for n in range(count)]


def test_data_to_few_prompts_are_not_spared_for_an_outsider() -> None:
    many, few = pairs_to(100, 100), pairs_to(5, 200)
    assert split_data(many, [p.prompt for p in many], 0).outside.pairs
    sides = split_data(few, [p.prompt for p in few], 0)
    assert sides == DataSplit(sides.game)
    assert len(sides.game.pairs) == 200


def test_a_report_says_when_no_step_was_made(tmp_path: Path) -> None:
    nobody = AdversarialLoop(Puppet(price=50.0), table(), GameRules((1,), rounds=2, batch=20))
    *_, stuck = (event for event in nobody.play(GameState()) if isinstance(event, GameState))
    assert not stuck.steering.directions
    text = write_report(tmp_path, stuck, None, (), ()).read_text(encoding="utf-8")
    assert "It ended after 1 round: no allowed step helps" in text
    assert "No step was made" in text
    picture = (tmp_path / "report.svg").read_text(encoding="utf-8")
    assert picture.count("<circle") == 3 * len(stuck.rounds)  # a game without a step is seen too
