"""Which quantization is taken where none is named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tchat.models.memory import Machine, Memory
from tchat.models.metadata import MetadataCache
from tchat.models.quantization_choice import (
    COMFORTABLE,
    bits_of,
    choose_quantization,
    is_rough,
    resized,
)
from tchat.models.recommendation import best_to_pull, recommend
from tchat.paths import user_paths

from .test_memory_estimate import GB, QWEN3_8B, TRAINED


@dataclass(frozen=True)
class File:
    quantization: str
    size: int


FILES = [
    File("BF16", 16 * GB),
    File("Q8_0", 8_700_000_000),
    File("Q6_K", 6_700_000_000),
    File("Q4_K_M", 5_020_000_000),
    File("IQ4_XS", 4_500_000_000),
    File("Q2_K", 3_300_000_000),
]
MEASURED = FILES[3]


def chosen(
    free: float, speed: float = 0.0, files: list[File] = FILES, measured: File = MEASURED
) -> tuple[str, str]:
    dimensions = resized(QWEN3_8B, measured.size / MEASURED.size)
    here = Machine(Memory(int(free * GB), 64 * GB), speed=speed * GB)
    found, why = choose_quantization(files, dimensions, measured, TRAINED, here)
    return found.quantization, why


@pytest.mark.parametrize(
    ("free", "speed", "quantization", "why"),
    [
        (64, 0, "Q8_0", "the largest that fits with 8,192 tokens"),
        (64, 400, "Q8_0", "the largest that fits with 8,192 tokens"),
        (9.5, 400, "Q6_K", "the largest that fits"),
        (64, 75, "Q6_K", "the largest that fits and writes as fast as people read"),
        (64, 55, "Q4_K_M", "the largest that fits and writes as fast as people read"),
        (64, 10, "Q4_K_M", "none writes as fast as people read here, and it is the usual one"),
        (64, 40, "Q4_K_M", "none writes as fast as people read here"),  # Q2_K would
        (4.9, 10, "Q2_K", "the largest that fits"),
        (2, 10, "Q4_K_M", "none fits with 8,192 tokens of context, and it is the usual one"),
    ],
)
def test_it_is_the_largest_that_fits_and_can_be_read_along(
    free: float, speed: float, quantization: str, why: str
) -> None:
    found, reason = chosen(free, speed)
    assert found == quantization
    assert why in reason


def test_without_the_usual_one_it_is_the_smallest_that_is_not_rough() -> None:
    others = [file for file in FILES if file.quantization != "Q4_K_M"]
    found, why = chosen(64, 10, others, others[1])
    assert found == "IQ4_XS"
    assert "the smallest with at least 4 bits" in why
    assert chosen(2, 10, FILES[1:3], FILES[1])[0] == "Q6_K"


def test_the_usual_one_is_not_taken_where_it_does_not_fit() -> None:
    found, why = chosen(6.1, 10)
    assert found == "IQ4_XS"
    assert "the only one" in why


def test_where_there_is_no_other_the_weights_are_taken_unquantized() -> None:
    assert chosen(64, 0, FILES[:1], FILES[0])[0] == "BF16"


@pytest.mark.parametrize(
    ("quantization", "bits", "rough"),
    [
        ("Q4_K_M", 4, False),
        ("UD-Q3_K_XL", 3, True),
        ("IQ2_XXS", 2, True),
        ("TQ1_0", 1, True),
        ("MXFP4", 4, False),
        ("BF16", 16, False),
        ("", 0, False),
    ],
)
def test_the_name_tells_how_rough_it_is(quantization: str, bits: int, rough: bool) -> None:
    assert (bits_of(quantization), is_rough(quantization)) == (bits, rough)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("speed", [10, 50, 400])
def test_the_listing_and_the_best_model_name_the_same_one(speed: float) -> None:
    paths, here = user_paths(), Machine(Memory(24 * GB, 64 * GB), speed=speed * GB)
    with MetadataCache(paths) as cache:
        best = best_to_pull(here, cache, paths)
        listed = {each.name: each for each in recommend(here, cache, paths)}
    assert best is not None
    assert best.file == listed[best.name].file
    slow = [each for each in listed.values() if 0 < each.speed < COMFORTABLE and each.fit.good]
    assert all(
        each.file.quantization.endswith("Q4_K_M")
        for each in slow
        if "Q4_K_M" in each.entry.quantizations and not is_rough(each.file.quantization)
    )
