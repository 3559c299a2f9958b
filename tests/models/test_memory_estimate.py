"""What a model needs, what fits, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tchat.humanize import speed_text
from tchat.models.fit_report import assess_fit, report_fit
from tchat.models.memory import (
    EFFICIENCY,
    SYNC_SECONDS,
    LoadPlan,
    Machine,
    Memory,
    ModelDimensions,
    estimate_memory,
    fits,
    kv_bytes,
    largest_context,
    max_gpu_layers,
    split_by_device,
    tokens_per_second,
)

GB = 10**9
QWEN3_8B = ModelDimensions(  # in Q4_K_M
    layers=36,
    width=4096,
    feed_forward=12288,
    heads=32,
    kv_width=73728,
    vocabulary=151936,
    merges=151387,
    input=350_000_000,
    output=510_000_000,
    blocks=4_160_000_000,
)
GEMMA_3_4B = ModelDimensions(
    layers=34,
    width=2560,
    feed_forward=10240,
    heads=8,
    kv_width=5 * 2048,
    window_width=29 * 2048,
    window=1024,
    vocabulary=262144,
    input=550_000_000,
    blocks=1_900_000_000,
)
TRAINED = 32768


def machine(free: float, *gpus: float, shared: bool = False, speed: float = 0.0) -> Machine:
    cards = [Memory(int(size * GB), int(size * GB), "GPU", shared) for size in gpus]
    return Machine(Memory(int(free * GB), 64 * GB), cards, speed)


def test_a_cache_takes_what_its_type_says() -> None:
    plan = LoadPlan(context=8192)
    assert kv_bytes(QWEN3_8B, plan) == 8192 * 144 * 1024
    assert kv_bytes(QWEN3_8B, replace(plan, kv_type="q8_0")) == 8192 * 73728 * 34 // 32
    assert kv_bytes(QWEN3_8B, replace(plan, kv_type="q4_0")) == 8192 * 73728 * 18 // 32


def test_a_window_alone_takes_less() -> None:
    plan = LoadPlan(context=32768)
    alone = kv_bytes(GEMMA_3_4B, replace(plan, swa_full=False))
    assert kv_bytes(GEMMA_3_4B, plan) == 2 * 32768 * 34 * 2048
    assert alone == 2 * (32768 * 5 * 2048 + 2560 * 29 * 2048)


def test_without_flash_attention_the_scores_are_written_out() -> None:
    with_it = estimate_memory(QWEN3_8B, LoadPlan(context=32768)).buffers
    without = estimate_memory(QWEN3_8B, LoadPlan(context=32768, flash=False)).buffers
    assert without - with_it > 32 * 4 * 32768 * 512 * 0.9


def test_a_cache_that_grows_needs_more_for_a_moment() -> None:
    whole = estimate_memory(QWEN3_8B, LoadPlan(context=8192, initial_capacity=2048))
    assert whole.peak - whole.total == whole.growth == 8192 * 144 * 1024 // 2
    assert estimate_memory(QWEN3_8B, LoadPlan(context=2048, initial_capacity=2048)).growth == 0


def test_the_largest_context_is_the_last_that_fits() -> None:
    small = machine(7)
    plan = LoadPlan(context=8192)
    largest = largest_context(QWEN3_8B, plan, small, TRAINED)
    assert largest % 256 == 0
    assert 0 < largest < TRAINED
    assert fits(QWEN3_8B, replace(plan, context=largest), small)
    assert not fits(QWEN3_8B, replace(plan, context=largest + 256), small)
    smaller_cache = replace(plan, kv_type="q8_0")
    assert largest_context(QWEN3_8B, smaller_cache, small, TRAINED) > 1.7 * largest
    assert largest_context(QWEN3_8B, plan, machine(64), TRAINED) == TRAINED
    assert largest_context(QWEN3_8B, plan, machine(2), TRAINED) == 0


def test_what_is_on_the_gpu_is_not_in_memory() -> None:
    both = machine(8, 24)
    here, there = split_by_device(QWEN3_8B, LoadPlan(context=8192, gpu_layers=-1), both)
    assert here.weights == QWEN3_8B.input
    assert there.weights == QWEN3_8B.blocks + QWEN3_8B.output
    assert here.context == 0
    half_here, half = split_by_device(QWEN3_8B, LoadPlan(context=8192, gpu_layers=19), both)
    assert half.weights == QWEN3_8B.blocks // 2 + QWEN3_8B.output
    assert half_here.context == half.context
    alone, nothing = split_by_device(QWEN3_8B, LoadPlan(context=8192, gpu_layers=-1), machine(8))
    assert (alone.weights, nothing.total) == (QWEN3_8B.weights, 0)


def test_a_tied_embedding_is_on_the_gpu_too() -> None:
    tied = replace(QWEN3_8B, output=0)
    here, there = split_by_device(tied, LoadPlan(context=8192, gpu_layers=-1), machine(8, 24))
    assert here.weights == tied.input
    assert there.weights == tied.blocks + tied.input


def test_as_many_layers_as_the_gpu_has_room_for() -> None:
    some = machine(16, 4)
    layers = max_gpu_layers(QWEN3_8B, LoadPlan(context=8192), some)
    assert 0 < layers < QWEN3_8B.layers
    assert f", {layers} of 36 layers on the GPU" in assess_fit(QWEN3_8B, TRAINED, some).summary


@pytest.mark.parametrize(
    ("found", "good", "usable", "words"),
    [
        (machine(64), True, True, "fits, with its whole context of 32,768 tokens"),
        (machine(7.5), True, True, "fits, with a context of up to 15,"),
        (machine(6.2), False, True, "fits with 8,192 tokens when its cache is q8_0"),
        (machine(5.6), False, True, "fits with 8,192 tokens when its cache is q4_0"),
        (machine(5.5), False, True, "is tight: fits with up to 2,"),
        (machine(4), False, False, "does not fit: 2,048 tokens need 5.48 GB, free are 4.00 GB"),
        (machine(8, 24), True, True, "tokens, on the GPU"),
        (machine(64, 64, shared=True), True, True, "fits, with its whole context"),
        (Machine(), True, True, "may fit"),
    ],
)
def test_the_words(found: Machine, good: bool, usable: bool, words: str) -> None:
    fit = assess_fit(QWEN3_8B, TRAINED, found)
    assert words in fit.summary
    assert (fit.good, fit.usable) == (good, usable)


def test_a_small_context_is_enough_for_a_model_that_has_no_more() -> None:
    assert assess_fit(QWEN3_8B, 1024, machine(5.9)).summary.startswith(
        "fits, with its whole context"
    )


def test_the_report_shows_the_usual_contexts_and_the_largest() -> None:
    told = report_fit(QWEN3_8B, 40960, machine(64, speed=50 * GB))
    assert sorted({row.context for row in told.rows}) == [4096, 8192, 32768, 40960]
    assert {row.kv_type for row in told.rows} == {"f16", "q8_0", "q4_0"}
    assert told.largest["f16"] == 40960
    assert not told.is_measured
    assert sorted({row.context for row in report_fit(QWEN3_8B, 4096, machine(8)).rows}) == [4096]


def test_a_token_takes_the_reading_and_the_handing_over() -> None:
    quick, plan = machine(64, speed=50 * GB), LoadPlan(context=2048)
    seconds = (4.67 * GB + 2048 * 147456) / (EFFICIENCY * 50 * GB) + 36 * SYNC_SECONDS
    assert tokens_per_second(QWEN3_8B, plan, quick) == pytest.approx(1 / seconds, rel=0.01)
    assert report_fit(QWEN3_8B, TRAINED, quick).speed == pytest.approx(1 / seconds, rel=0.01)
    assert tokens_per_second(QWEN3_8B, plan, machine(64)) == 0


def test_the_speed_of_a_tiny_model_is_not_told() -> None:
    quick, plan = machine(64, speed=50 * GB), LoadPlan(context=2048)
    for size, layers in ((10**6, 2), (10**6, 0), (10**4, 1)):
        tiny = ModelDimensions(layers=layers, blocks=size)
        assert tokens_per_second(tiny, plan, quick) == 0
        assert report_fit(tiny, TRAINED, quick).speed == 0


def test_on_gpus_only_what_the_processor_does_can_be_told() -> None:
    cards = machine(64, 24, speed=50 * GB)
    all_of_it = tokens_per_second(QWEN3_8B, LoadPlan(context=2048, gpu_layers=-1), cards)
    half = tokens_per_second(QWEN3_8B, LoadPlan(context=2048, gpu_layers=19), cards)
    none = tokens_per_second(QWEN3_8B, LoadPlan(context=2048), cards)
    assert all_of_it == 0
    assert half == pytest.approx(2 * none)


def test_a_known_speed_is_told_instead() -> None:
    told = report_fit(QWEN3_8B, TRAINED, machine(64, speed=50 * GB), 12.5)
    assert (told.speed, told.is_measured) == (12.5, True)


@pytest.mark.parametrize(("rate", "text"), [(0.0, ""), (0.44, "0.4"), (9.96, "10"), (34.4, "34")])
def test_speeds_are_told_to_two_digits(rate: float, text: str) -> None:
    assert speed_text(rate) == text


def test_a_mixture_is_as_fast_as_what_it_uses() -> None:
    mixture = replace(QWEN3_8B, experts=4_000_000_000, expert_share=1 / 8)
    plan, quick = LoadPlan(context=256), machine(64, speed=10 * GB)
    assert tokens_per_second(mixture, plan, quick) > 3 * tokens_per_second(QWEN3_8B, plan, quick)
