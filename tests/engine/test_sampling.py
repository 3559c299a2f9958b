"""Every sampler does what its name says, on a real chain."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.events import Reason
from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.settings import Sampling, find_key
from tchat.settings.keys import parse
from tests.engine.conftest import OpenEngine, finished
from tests.tiny import write_tiny

HELLO = [ChatMessage("user", "Hello")]
PLAIN = Sampling(seed=5, max_tokens=30, temp=1.0, top_k=0, top_p=1, min_p=0)


def reply(open_engine: OpenEngine, path: Path, sampling: Sampling) -> str:
    return finished(open_engine(path).generate(HELLO, sampling)).text


@pytest.mark.parametrize(
    "change",
    [
        {"temp": 0.2},
        {"top_k": 2},
        {"top_p": 0.1},
        {"min_p": 0.5},
        {"typical_p": 0.1},
        {"repeat_penalty": 10.0, "repeat_last_n": -1},
        {"frequency_penalty": 10.0},
        {"presence_penalty": 10.0},
        {"dry_multiplier": 50.0, "dry_allowed_length": 1, "max_tokens": 300},
        {"xtc_probability": 1.0, "xtc_threshold": 0.0},
        {"top_n_sigma": 0.5},
        {"dynatemp_range": 1.0},
        {"dynatemp_range": 1.0, "dynatemp_exp": 4.0},
        {"adaptive_target": 0.05},
        {"adaptive_target": 0.05, "adaptive_decay": 0.1},
        {"samplers": "temperature;top_k", "temp": 5.0, "top_k": 2},
        {"mirostat": 1, "mirostat_tau": 0.5},
        {"mirostat": 2, "mirostat_tau": 0.5},
        {"logit_bias": ("the=50",)},
        {"seed": 6},
    ],
    ids="+".join,
)
def test_each_sampler_changes_the_reply_and_repeats_it(
    open_engine: OpenEngine, tiny_model: Path, change: dict[str, Any]
) -> None:
    base = dataclasses.replace(PLAIN, max_tokens=change.get("max_tokens", 30))
    changed = dataclasses.replace(base, **change)
    first = reply(open_engine, tiny_model, changed)
    assert first == reply(open_engine, tiny_model, changed)
    assert first != reply(open_engine, tiny_model, base)


def test_the_order_of_samplers_is_the_order_asked_for(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    """A hot temperature flattens what min-p or top-p then looks at."""
    hot = dataclasses.replace(PLAIN, temp=10.0, top_p=0.5, max_tokens=60)
    before, after, without = (
        reply(open_engine, tiny_model, dataclasses.replace(hot, samplers=order))
        for order in ("top_p;temperature", "temperature;top_p", "top_p")
    )
    assert len({before, after, without}) == 3
    aliases = dataclasses.replace(hot, samplers="nucleus; Temp")
    assert reply(open_engine, tiny_model, aliases) == before


def test_the_coldest_dynamic_temperature_draws_a_token(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    cold = dataclasses.replace(PLAIN, temp=0.1, dynatemp_range=10.0, dynatemp_exp=10.0)
    assert reply(open_engine, tiny_model, cold) == reply(open_engine, tiny_model, cold)


@pytest.mark.parametrize("text", ["", ";", "top_k;top_k", "top_q", "infill", "top_k,top_p"])
def test_samplers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="sampler"):
        parse(find_key("samplers"), text, "")


def test_both_values_of_mirostat_are_version_2(open_engine: OpenEngine, tiny_model: Path) -> None:
    """Version 1 of llama.cpp becomes greedy after some 200 tokens at the default tau."""
    first, second = (
        reply(open_engine, tiny_model, dataclasses.replace(PLAIN, mirostat=value, max_tokens=400))
        for value in (1, 2)
    )
    assert first == second


def test_temperature_zero_needs_no_seed(open_engine: OpenEngine, tiny_model: Path) -> None:
    texts = {
        reply(open_engine, tiny_model, Sampling(temp=0, seed=seed, max_tokens=20))
        for seed in (1, 2, 3)
    }
    assert len(texts) == 1


@pytest.mark.parametrize(("prompt", "expected"), [("x", "y"), ("z", "x")])
def test_the_penalties_look_back_on_the_prompt(
    open_engine: OpenEngine, tiny_model: Path, prompt: str, expected: str
) -> None:
    prefers_x = Sampling(temp=0, max_tokens=1, logit_bias=("x=1000", "y=995"))
    penalized = dataclasses.replace(prefers_x, presence_penalty=10.0, repeat_last_n=-1)
    asked = [ChatMessage("user", f"{prompt}!")]
    assert finished(open_engine(tiny_model).generate(asked, penalized)).text == expected


def test_logit_bias_by_id_and_by_text(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    list(engine.load())
    forced = finished(
        engine.generate(HELLO, Sampling(temp=0, max_tokens=3, logit_bias=("x=1000",)))
    ).text
    assert forced == "xxx"


@pytest.mark.parametrize(
    "entry", ["", "x", "=1", "x=much", "999999=1", "9" * 5000 + "=1", "x=nan", "x=inf", "x=1e39"]
)
def test_a_bad_logit_bias_is_named(open_engine: OpenEngine, tiny_model: Path, entry: str) -> None:
    with pytest.raises(UsageError, match="logit bias"):
        reply(open_engine, tiny_model, Sampling(logit_bias=(entry,)))


def test_minus_infinity_forbids_a_token(open_engine: OpenEngine, tiny_model: Path) -> None:
    forbidden = ("x=1000", "x=-inf", "y=900")
    assert reply(open_engine, tiny_model, Sampling(max_tokens=3, logit_bias=forbidden)) == "yyy"


def test_a_token_that_the_file_suppresses_is_never_written(
    open_engine: OpenEngine, tmp_path: Path, tiny_model: Path
) -> None:
    insists = Sampling(max_tokens=3, logit_bias=("x=1000", "y=900"))
    engine = open_engine(tiny_model)
    assert finished(engine.generate(HELLO, insists)).text == "xxx"
    (x,) = engine.loaded.model.tokenize("x", special=False)  # type: ignore[union-attr]
    path = write_tiny(tmp_path / "m.gguf", metadata={"tokenizer.ggml.suppress_tokens": [x]})
    assert reply(open_engine, path, insists) == "yyy"


def test_a_tiny_temperature_is_greedy(open_engine: OpenEngine, tiny_model: Path) -> None:
    """Logits divided by it would overflow, and the draw be from nothing."""
    greedy = reply(open_engine, tiny_model, Sampling(temp=0, max_tokens=20))
    for temp in (1e-5, 1e-9, 1e-40):
        assert reply(open_engine, tiny_model, Sampling(temp=temp, max_tokens=20)) == greedy


@pytest.mark.parametrize("name", ["repeat_last_n", "dry_penalty_last_n"])
def test_looking_back_further_than_the_context_costs_nothing(
    open_engine: OpenEngine, tiny_model: Path, name: str
) -> None:
    """llama.cpp makes a buffer of the size asked for: 2**31 tokens took 8 GB and 25 seconds."""
    looks_back = dataclasses.replace(PLAIN, repeat_penalty=1.5, dry_multiplier=2.0)
    changes: list[dict[str, Any]] = [{name: -1}, {name: 2**31}]
    everything, too_far = (
        reply(open_engine, tiny_model, dataclasses.replace(looks_back, **change))
        for change in changes
    )
    assert everything == too_far


def test_a_grammar_that_would_overflow_the_parser_is_refused(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    deep = "root ::= " + "(" * 600_000 + '"a"' + ")" * 600_000
    with pytest.raises(UsageError, match="the grammar has 1,200,012 characters"):
        reply(open_engine, tiny_model, Sampling(grammar=deep))


def test_a_grammar_is_followed_to_its_end(open_engine: OpenEngine, tiny_model: Path) -> None:
    grammar = 'root ::= "<" [0-9]{3} ">"'
    engine = open_engine(tiny_model)
    for seed in range(8):
        end = finished(engine.generate(HELLO, Sampling(seed=seed, grammar=grammar)))
        assert re.fullmatch(r"<\d{3}>", end.text)
        assert end.reason is Reason.STOP


def test_a_seed_repeats_its_reply_whatever_the_cache_holds(
    open_engine: OpenEngine, starter_model: Path
) -> None:
    engine = open_engine(starter_model, ctx_size=512)
    asked = [ChatMessage("user", "Tell me of the sea, its ships and its storms. " * 12)]
    other = [ChatMessage("user", "Name a colour.")]
    for seed in range(4):
        sampling = Sampling(seed=seed, temp=1.5, top_k=0, top_p=1, min_p=0, max_tokens=24)
        finished(engine.generate(other, Sampling(max_tokens=1)))
        anew, again = (finished(engine.generate(asked, sampling)) for _ in range(2))
        assert anew.usage.prefilled > 64 > again.usage.prefilled
        assert anew.text == again.text


def test_a_json_grammar_gives_json(open_engine: OpenEngine, starter_model: Path) -> None:
    grammar = (
        'root ::= "{\\"name\\": " string ", \\"age\\": " [0-9]{1,3} "}"\n'
        'string ::= "\\"" [a-zA-Z ]{1,20} "\\""'
    )
    asked = [ChatMessage("user", "Invent a person.")]
    engine = open_engine(starter_model, ctx_size=256)
    person = json.loads(finished(engine.generate(asked, Sampling(seed=1, grammar=grammar))).text)
    assert set(person) == {"name", "age"}


@pytest.mark.parametrize(
    "grammar", ["nonsense", 'start ::= "x"', "root ::= undefined", "root ::= root"]
)
def test_a_bad_grammar_is_an_error(open_engine: OpenEngine, tiny_model: Path, grammar: str) -> None:
    with pytest.raises(UsageError, match="grammar"):
        reply(open_engine, tiny_model, Sampling(grammar=grammar))


def test_a_grammar_no_token_can_follow_is_an_error(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    only_private = 'root ::= "a" [\U0010fff0-\U0010fff1] "a" root'
    end = finished(
        open_engine(tiny_model).generate(HELLO, Sampling(grammar=only_private, max_tokens=12))
    )
    assert end.text.startswith("a")


def test_stop_strings_end_the_reply_before_them(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    whole = finished(engine.generate(HELLO, Sampling(temp=0, max_tokens=40))).text
    stop = whole[10:13]
    end = finished(engine.generate(HELLO, Sampling(temp=0, max_tokens=40, stop=(stop,))))
    assert end.text == whole[: whole.find(stop)]
    assert end.reason is Reason.STOP
