"""Prompt in, events out: order, counts, KV reuse, context, seeds, ends."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.engine.binding import Cancel
from tchat.engine.engine import Engine
from tchat.engine.engine_thread import on_large_stack
from tchat.engine.events import Finished, LoadProgress, Notice, PromptProgress, Reason, TextDelta
from tchat.engine.loading import BackgroundLoad, EngineOptions
from tchat.engine.model import Model
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.template import Think
from tchat.errors import DoesNotFit, ModelInvalid, UsageError
from tchat.settings import Sampling
from tests.engine.conftest import OpenEngine, cached_tokens, finished, frames_of_a_token, streamed
from tests.tiny import BROKEN, CHATML, THINKING, write_tiny

HELLO = [ChatMessage("user", "Hello, who are you?")]
SHORT = Sampling(seed=7, max_tokens=24)


def test_events_come_in_their_order(open_engine: OpenEngine, tiny_model: Path) -> None:
    events = list(open_engine(tiny_model).generate(HELLO, SHORT))
    kinds = [type(event) for event in events]
    assert kinds[:2] == [LoadProgress, LoadProgress]
    assert kinds[2] is PromptProgress
    assert kinds[-1] is Finished
    assert set(kinds[3:-1]) <= {PromptProgress, TextDelta}
    read = [event for event in events if isinstance(event, PromptProgress)]
    assert read[0].done == read[0].reused == 0
    assert read[-1].done == read[-1].total == finished(events).usage.prompt


def test_streamed_text_is_the_finished_text(open_engine: OpenEngine, tiny_model: Path) -> None:
    events = list(open_engine(tiny_model).generate(HELLO, Sampling(seed=3, max_tokens=200)))
    assert streamed(events) == finished(events).text != ""


def test_the_pieces_of_a_reply_count_its_tokens(open_engine: OpenEngine, tiny_model: Path) -> None:
    sampling = Sampling(seed=3, max_tokens=200, stop=("zzzzzz",))
    events = list(open_engine(tiny_model).generate(HELLO, sampling))
    pieces = [event for event in events if isinstance(event, TextDelta)]
    cut = len(finished(events).unfinished)  # its tokens came with no piece
    counted, written = sum(piece.tokens for piece in pieces), finished(events).usage.completion
    assert written - cut <= counted <= written


def test_a_token_passes_few_generator_frames(open_engine: OpenEngine, tiny_model: Path) -> None:
    assert frames_of_a_token(open_engine(tiny_model).generate(HELLO, SHORT)) == 2


def test_same_seed_same_text_another_seed_another(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    texts = [
        finished(open_engine(tiny_model).generate(HELLO, Sampling(seed=seed, max_tokens=40))).text
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_fresh_seed_is_drawn_and_repeats_the_reply(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    drawn = finished(engine.generate(HELLO, Sampling(max_tokens=30)))
    other = finished(engine.generate(HELLO, Sampling(max_tokens=30)))
    assert drawn.seed != other.seed
    again = open_engine(tiny_model).generate(HELLO, Sampling(seed=drawn.seed, max_tokens=30))
    assert finished(again).text == drawn.text


def test_a_turn_reads_only_what_is_new(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    first = finished(engine.generate(HELLO, SHORT))
    held = cached_tokens(engine)
    history = [*HELLO, ChatMessage("assistant", first.text), ChatMessage("user", "And now?")]
    second = finished(engine.generate(history, SHORT))
    assert second.usage.reused == held
    assert second.usage.prefilled == second.usage.prompt - held
    assert second.usage.prefilled < 40


def test_reuse_does_not_change_the_reply(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    history = [*HELLO, ChatMessage("assistant", "I am."), ChatMessage("user", "And now?")]
    greedy = Sampling(temp=0, max_tokens=40)
    finished(engine.generate(HELLO, greedy))
    warm = finished(engine.generate(history, greedy))
    cold = finished(open_engine(tiny_model).generate(history, greedy))
    assert warm.usage.reused > 0 == cold.usage.reused
    assert warm.text == cold.text


def test_the_history_need_not_tokenize_as_the_model_wrote_it(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    """A random model spells words in tokens that the tokenizer would not choose."""
    engine = open_engine(tiny_model)
    specials = ("<|im_start|>=-100", "<|im_end|>=-100", "<|endoftext|>=-100")
    never_ends = Sampling(temp=2, max_tokens=40, seed=1, logit_bias=specials)
    history = HELLO
    for _ in range(4):
        held = cached_tokens(engine)
        end = finished(engine.generate(history, never_ends))
        assert end.usage.reused >= held - 1
        history = [*history, ChatMessage("assistant", end.text), ChatMessage("user", "Go on.")]


def test_an_edited_history_keeps_the_common_prefix(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    finished(engine.generate([ChatMessage("user", "one two three four")], SHORT))
    edited = finished(engine.generate([ChatMessage("user", "one two five")], SHORT))
    assert 0 < edited.usage.reused < edited.usage.prompt


@pytest.mark.parametrize("fixture", ["tiny_recurrent", "tiny_sliding"])
def test_a_model_that_cannot_trim_reads_again_and_says_so(
    open_engine: OpenEngine, request: pytest.FixtureRequest, fixture: str
) -> None:
    path: Path = request.getfixturevalue(fixture)
    engine = open_engine(path)
    greedy = Sampling(temp=0, max_tokens=64)
    finished(engine.generate([ChatMessage("user", "one two three four " * 6)], greedy))
    edited = [ChatMessage("user", "one two three five " * 6)]
    events = list(engine.generate(edited, greedy))
    end = finished(events)
    fresh = finished(open_engine(path).generate(edited, greedy))
    assert end.text == fresh.text
    if end.usage.reused == 0:
        assert any(isinstance(e, Notice) and e.kind == "reread" for e in events)


def test_a_recurrent_model_still_goes_on_without_reading_again(
    open_engine: OpenEngine, tiny_recurrent: Path
) -> None:
    engine = open_engine(tiny_recurrent)
    first = finished(engine.generate(HELLO, SHORT))
    held = cached_tokens(engine)
    history = [*HELLO, ChatMessage("assistant", first.text), ChatMessage("user", "And now?")]
    second = finished(engine.generate(history, SHORT))
    assert second.usage.reused == held


def test_max_tokens_is_a_length_end(open_engine: OpenEngine, tiny_model: Path) -> None:
    end = finished(open_engine(tiny_model).generate(HELLO, Sampling(seed=1, max_tokens=5)))
    assert end.reason is Reason.LENGTH
    assert end.usage.completion == 5


def test_a_full_context_ends_the_reply(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model, ctx_size=256)
    long = [ChatMessage("user", "word " * 20)]
    never_ends = Sampling(seed=1, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"))
    end = finished(engine.generate(long, never_ends))
    assert end.reason is Reason.LENGTH
    assert end.usage.prompt + end.usage.completion == engine.context_size


def test_a_prompt_over_the_context_is_refused_with_both_numbers(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model, ctx_size=256)
    with pytest.raises(DoesNotFit, match=r"prompt has [\d,]+ tokens and the context holds 256"):
        list(engine.generate([ChatMessage("user", "many words " * 300)], SHORT))
    assert finished(engine.generate(HELLO, SHORT)).usage.completion > 0


def test_a_huge_prompt_is_refused_before_it_is_tokenized(
    open_engine: OpenEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(tiny_model, ctx_size=256)
    list(engine.load())
    monkeypatch.setattr("tchat.engine.model.Model.tokenize", lambda *_a, **_k: pytest.fail("no"))
    with pytest.raises(DoesNotFit, match="about"):
        engine.prompt_tokens([ChatMessage("user", "x" * 1_000_000)])


def test_the_context_is_rounded_and_bounded_by_the_training_length(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    for asked, used in ((100, 256), (1000, 1024), (1024, 1024), (0, 4096)):
        rounded = open_engine(tiny_model, ctx_size=asked)
        notices = [event for event in rounded.load() if isinstance(event, Notice)]
        assert rounded.context_size == used
        told = [f"{asked:,}" in each.text and f"{used:,}" in each.text for each in notices]
        assert told == ([True] if asked not in (0, used) else [])
    bounded = open_engine(tiny_model, ctx_size=1_000_000)
    notices = [event for event in bounded.load() if isinstance(event, Notice)]
    assert bounded.context_size == 4096
    assert any("1,000,000" in notice.text and "4,096" in notice.text for notice in notices)


def test_count_is_what_generate_reads(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    list(engine.load())
    counted = len(engine.prompt_tokens(HELLO))
    assert counted == finished(engine.generate(HELLO, SHORT)).usage.prompt


def test_a_reply_can_be_continued(open_engine: OpenEngine, starter_model: Path) -> None:
    engine = open_engine(starter_model, ctx_size=512)
    whole = finished(engine.generate(HELLO, Sampling(temp=0, max_tokens=30)))
    half = finished(engine.generate(HELLO, Sampling(temp=0, max_tokens=15)))
    begun = [*HELLO, ChatMessage("assistant", half.text)]
    rest = finished(engine.generate(begun, Sampling(temp=0, max_tokens=15), continue_final=True))
    assert half.text + rest.text == whole.text
    assert rest.usage.reused >= half.usage.prompt


def test_a_consumer_may_leave_at_any_event(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    greedy = Sampling(temp=0, max_tokens=30)
    expected = finished(open_engine(tiny_model).generate(HELLO, greedy)).text
    for leave_at in range(12):
        generator = engine.generate([ChatMessage("user", f"go {leave_at}")], greedy)
        for _ in range(leave_at):
            next(generator)
        generator.close()  # type: ignore[attr-defined]
        assert finished(engine.generate(HELLO, greedy)).text == expected


def test_a_consumer_that_leaves_while_loading_leaks_no_model(
    open_engine: OpenEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Model] = []

    def recorded(*args: Any, **options: Any) -> Model:
        made.append(Model(*args, **options))
        return made[-1]

    monkeypatch.setattr("tchat.engine.loading.Model", recorded)
    for again in (True, False):
        engine = open_engine(tiny_model)
        events = engine.generate(HELLO, SHORT)
        assert isinstance(next(events), LoadProgress)
        events.close()  # type: ignore[attr-defined]
        assert not again or finished(engine.generate(HELLO, SHORT)).text
        engine.close()
    assert made  # the second may be stopped before there is one
    assert not any(model.handle for model in made)


def test_a_program_that_ends_while_a_model_loads_ends_well(starter_model: Path) -> None:
    """The loader is a daemon that calls back into Python: an interpreter that ends must bear it."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tchat.engine.binding import Cancel\n"
        "from tchat.engine.loading import BackgroundLoad\n"
        "from tchat.engine.loading import EngineOptions\n"
        "opening = BackgroundLoad(EngineOptions(path=Path(sys.argv[1]), threads=1), Cancel())\n"
        "time.sleep(float(sys.argv[2]))\n"
    )
    for delay in ("0", "0.02", "0.06"):
        command = [sys.executable, "-c", code, str(starter_model), delay]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_an_empty_prompt_is_refused(open_engine: OpenEngine, tmp_path: Path) -> None:
    """llama.cpp would end the process: there are no logits to draw from."""
    bare = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    engine = open_engine(write_tiny(tmp_path / "bare.gguf", template=bare))
    with pytest.raises(UsageError, match="the prompt is empty"):
        list(engine.generate([ChatMessage("user", "")], SHORT))
    with pytest.raises(UsageError, match="the prompt is empty"):
        list(engine.score_labels([ChatMessage("user", "")], ["a", "b"]))
    assert finished(engine.generate(HELLO, SHORT)).text


def test_a_history_that_fits_is_not_refused_for_how_the_model_spelled_it(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model, ctx_size=256)
    letters = ("t=500", "h=500", "e=500")  # of which the tokenizer would make words
    to_the_brim = Sampling(temp=2, seed=1, logit_bias=letters)
    full = finished(engine.generate(HELLO, to_the_brim))
    assert full.usage.prompt + full.usage.completion == 256
    history = [*HELLO, ChatMessage("assistant", full.text), ChatMessage("user", "Go on.")]
    assert len(engine.prompt_tokens(history)) < 256
    end = finished(engine.generate(history, SHORT))
    assert end.usage.prompt == len(engine.prompt_tokens(history))


def test_a_bad_grammar_is_refused_before_the_prefill(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    list(engine.load())
    with pytest.raises(UsageError, match="grammar"):
        list(engine.generate(HELLO, Sampling(grammar="nonsense")))
    assert cached_tokens(engine) == 0


def test_max_tokens_zero_reads_and_writes_nothing(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    end = finished(open_engine(tiny_model).generate(HELLO, Sampling(max_tokens=0)))
    assert (end.reason, end.text, end.usage.completion) == (Reason.LENGTH, "", 0)
    assert end.usage.prefilled == end.usage.prompt


def test_a_text_is_counted_from_any_thread(open_engine: OpenEngine, tmp_path: Path) -> None:
    """A common thread's stack is too small for this tokenizer and 100 kB of one letter."""
    path = write_tiny(tmp_path / "m.gguf", metadata={"tokenizer.ggml.pre": "deepseek-coder"})
    engine = open_engine(path)

    def count(text: str) -> int | None:
        with engine.counting() as encoder:
            if encoder is None:
                return None
            return on_large_stack(lambda: encoder.count(text))

    assert count("the") is None
    list(engine.load())
    with ThreadPoolExecutor(1) as other:
        assert other.submit(count, "the").result() == 1
        assert (other.submit(count, "a" * 100_000).result() or 0) > 4096


def test_closing_waits_for_a_measurement(open_engine: OpenEngine, tiny_model: Path) -> None:
    draft = "some words " * 2_000

    def count(engine: Engine) -> int | None:
        with engine.counting() as encoder:
            return encoder.count(draft) if encoder is not None else None

    with ThreadPoolExecutor(1) as other:
        for pause in (0.0, 0.001, 0.003):
            engine = open_engine(tiny_model)
            list(engine.load())
            counted = other.submit(count, engine)
            time.sleep(pause)
            engine.close()
            assert counted.result() is None or (counted.result() or 0) > 4096


def test_a_larger_context_is_suggested_only_where_the_model_can_have_one(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    engine = open_engine(tiny_model)
    list(engine.load())
    trained = engine.trained_context_size
    too_much = [ChatMessage("user", "word " * 4 * trained)]
    for size, hint in ((trained // 2, "with --ctx-size"), (trained, "use a model with a longer")):
        small = open_engine(tiny_model, ctx_size=size)
        list(small.load())
        with pytest.raises(DoesNotFit) as caught:
            list(small.generate(too_much, Sampling()))
        assert hint in caught.value.hint


def test_a_word_too_long_for_any_tokenizer_is_refused(
    open_engine: OpenEngine, tiny_model: Path
) -> None:
    """Tokenizers recurse for each character of a word: 2 MB overflow even the engine's stack."""
    engine = open_engine(tiny_model)
    list(engine.load())
    model = engine.loaded.model  # type: ignore[union-attr]
    for letter in ("a", " ", "中"):
        with pytest.raises(DoesNotFit, match=r"1,000,00[12] characters"):
            model.tokenize("some words " + letter * 1_000_001, special=False)
    assert len(model.tokenize("a \n" * 300_000, special=False)) >= 300_000


def test_a_refused_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "gone.gguf"
    path.write_bytes(b"GGUF" + bytes(100))

    with (
        Engine(EngineOptions(path=path)) as engine,
        pytest.raises(ModelInvalid, match=r"gone\.gguf"),
    ):
        list(engine.load())


def test_closing_twice_is_harmless(open_engine: OpenEngine, tiny_model: Path) -> None:
    engine = open_engine(tiny_model)
    finished(engine.generate(HELLO, SHORT))
    engine.close()
    engine.close()
    assert engine.loaded is None


def test_the_starter_answers(open_engine: OpenEngine, starter_model: Path) -> None:
    question = [ChatMessage("user", "What is the capital of France? Answer in one word.")]
    end = finished(
        open_engine(starter_model, ctx_size=512).generate(question, Sampling(temp=0, max_tokens=20))
    )
    assert "Paris" in end.text
    assert end.reason is Reason.STOP


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_recurrent", "tiny_sliding"])
def test_a_cache_that_grows_changes_nothing(
    open_engine: OpenEngine,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fixture: str,
) -> None:
    path: Path = request.getfixturevalue(fixture)
    greedy = Sampling(temp=0, max_tokens=400, logit_bias=("<|im_end|>=-100", "<|endoftext|>=-100"))
    asked = [ChatMessage("user", "words and " * 15)]
    whole = finished(open_engine(path).generate(asked, greedy))
    monkeypatch.setattr("tchat.engine.loading.INITIAL_CAPACITY", 256)
    engine = open_engine(path)
    grown = finished(engine.generate(asked, greedy))
    assert grown.usage.prompt + grown.usage.completion > 256
    assert grown.text == whole.text
    assert cached_tokens(engine) > 256
    assert finished(engine.generate(asked, greedy)).text == whole.text


def test_loading_can_begin_before_the_engine(tiny_model: Path) -> None:
    options = EngineOptions(path=tiny_model, threads=1)
    for used in (True, False):
        cancel = Cancel()
        with Engine(options, cancel, BackgroundLoad(options, cancel)) as engine:
            assert not used or finished(engine.generate(HELLO, SHORT)).text


OPENED = CHATML.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n")


def test_reasoning_that_the_prompt_opened_is_apart_from_the_answer(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    assert OPENED != CHATML
    engine = open_engine(write_tiny(tmp_path / "thinks.gguf", template=OPENED))
    never_closes = Sampling(seed=1, max_tokens=20, logit_bias=("</think>=-100", "<think>=-100"))
    events = list(engine.generate(HELLO, never_closes))
    end = finished(events)
    assert end.text == streamed(events) == ""
    assert end.reasoning
    assert end.usage.reasoning == end.usage.completion
    closes_first = replace(never_closes, logit_bias=("</think>=1000",), presence_penalty=5000.0)
    end = finished(engine.generate(HELLO, closes_first))
    assert end.text
    assert "</think>" not in end.text + end.reasoning


def test_a_grammar_constrains_the_answer_and_not_the_reasoning(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    engine = open_engine(write_tiny(tmp_path / "thinks.gguf", template=THINKING))
    events = list(engine.generate(HELLO, Sampling(seed=1, grammar='root ::= "yes"')))
    assert finished(events).text == "yes"
    assert not any(isinstance(event, Notice) for event in events)


def test_an_answer_that_must_begin_at_once_follows_closed_reasoning(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    """The template opens a block and has no switch: it is closed before grammar and choice."""
    engine = open_engine(write_tiny(tmp_path / "thinks.gguf", template=OPENED))
    free = finished(engine.generate(HELLO, SHORT))
    assert free.reasoning
    closed = finished(engine.generate(HELLO, Sampling(seed=1, grammar='root ::= "yes"')))
    assert (closed.text, closed.reasoning) == ("yes", "")
    assert closed.usage.prompt > free.usage.prompt
    chosen = finished(engine.score_labels(HELLO, ["yes", "no"]))
    assert chosen.usage.prompt == closed.usage.prompt
    model = engine.loaded.model  # type: ignore[union-attr]
    held = engine.loaded.kv.tokens[: chosen.usage.prompt]  # type: ignore[union-attr]
    assert b"".join(map(model.piece, held)).endswith(b"<think>\n\n</think>\n\n")


CHANNELS = (
    "{% for m in messages %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
    "{# <|channel|>analysis #}"
)
CHANNEL_MARKS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|constrain|>")


@pytest.mark.parametrize("think", ["auto", "on", "off"])
def test_structured_output_of_a_channel_model_is_in_the_final_channel(
    open_engine: OpenEngine, tmp_path: Path, think: Think
) -> None:
    path = write_tiny(tmp_path / "oss.gguf", template=CHANNELS, user_defined=CHANNEL_MARKS)
    engine = open_engine(path)
    yes = Sampling(seed=1, grammar='root ::= "yes"')
    events = list(engine.generate(HELLO, yes, think=think))
    assert (finished(events).text, finished(events).reasoning) == ("yes", "")
    told = [event.text for event in events if isinstance(event, Notice)]
    assert any("without reasoning" in text for text in told) == (think == "on")
    chosen = finished(engine.score_labels(HELLO, ["yes", "no"]))
    assert chosen.usage.prompt == finished(events).usage.prompt
    final = "<|start|>assistant<|channel|>final<|message|>"
    assert held_text(engine, chosen.usage.prompt).endswith(final)


def test_a_call_of_a_tool_that_is_not_there_is_said(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    template = CHATML + "{# <|channel>thought #}"
    marks = ("<|channel>", "<|turn>", "<|tool_call>")
    engine = open_engine(write_tiny(tmp_path / "g.gguf", template=template, user_defined=marks))
    calls = Sampling(temp=0.0, max_tokens=3, logit_bias=("<|tool_call>=1000",))
    events = list(engine.generate(HELLO, calls))
    assert finished(events).text == streamed(events) == ""
    told = [event.text for event in events if isinstance(event, Notice)]
    assert told == ["the model called a tool instead of answering, and there is none"]


def test_reasoning_that_the_template_always_opens_can_be_switched_off(
    open_engine: OpenEngine, tmp_path: Path
) -> None:
    engine = open_engine(write_tiny(tmp_path / "thinks.gguf", template=OPENED))
    events = list(engine.generate(HELLO, SHORT, think="off"))
    assert finished(events).text
    assert not finished(events).reasoning
    assert not any(isinstance(event, Notice) for event in events)
    closed = "<think>\n\n</think>\n\n"
    assert held_text(engine, finished(events).usage.prompt).endswith(closed)


def held_text(engine: Engine, count: int) -> str:
    """What the first tokens of the KV cache say."""
    loaded = engine.loaded
    assert loaded is not None
    return b"".join(map(loaded.model.piece, loaded.kv.tokens[:count])).decode()


def test_a_switch_that_is_not_there_is_said(open_engine: OpenEngine, tiny_model: Path) -> None:
    events = list(open_engine(tiny_model).generate(HELLO, SHORT, think="off"))
    assert any(isinstance(event, Notice) and event.kind == "think" for event in events)


@pytest.mark.parametrize("template", [None, BROKEN])
def test_a_missing_or_broken_template_is_said(
    open_engine: OpenEngine, tmp_path: Path, template: str | None
) -> None:
    path = write_tiny(tmp_path / "odd.gguf", template=template)
    events = list(open_engine(path).generate(HELLO, SHORT))
    said = [e.text for e in events if isinstance(e, Notice) and e.kind == "template"]
    assert said
    assert "ChatML" in said[0]
    assert finished(events).text
