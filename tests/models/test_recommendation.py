"""Which model of the catalogue is recommended for a machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tchat.models.catalogue import load_catalogue
from tchat.models.memory import Machine, Memory
from tchat.models.metadata import MetadataCache
from tchat.models.quantization_choice import COMFORTABLE
from tchat.models.recommendation import (
    MOST_BEST,
    PURPOSES,
    READABLE,
    Recommendation,
    best_by_purpose,
    best_for,
    best_to_pull,
    recommend,
)
from tchat.paths import Paths, user_paths

GB = 10**9


@pytest.fixture
def paths(home: Path) -> Paths:
    return user_paths()


def machine(free: float, speed: float) -> Machine:
    return Machine(Memory(int(free * GB), int(2 * free * GB)), speed=speed * GB)


def best(paths: Paths, free: float, speed: float, purpose: str = "chat") -> Recommendation | None:
    with MetadataCache(paths) as cache:
        return best_to_pull(machine(free, speed), cache, paths, purpose)


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(("free", "speed"), [(4, 15), (8, 30), (16, 50), (64, 100), (256, 400)])
def test_the_best_fits_is_able_and_can_be_read_along(
    paths: Paths, purpose: str, free: float, speed: float
) -> None:
    found = best(paths, free, speed, purpose)
    assert found is not None
    assert found.fit.good
    assert purpose in found.entry.abilities
    assert found.speed >= READABLE
    assert found.file.size < free * GB
    assert found.file.quantization not in ("Q3_K_M", "Q2_K")


def test_more_memory_and_bandwidth_bring_more(paths: Paths) -> None:
    found = [best(paths, free, speed) for free, speed in ((4, 15), (16, 50), (64, 200), (256, 800))]
    weights = [each.entry.parameters for each in found if each]
    assert weights == sorted(weights)
    assert weights[0] < 6e9
    assert weights[-1] > 100e9


def test_a_quantization_is_chosen_that_is_fast_enough(paths: Paths) -> None:
    found = best(paths, 32, 30)
    assert found is not None
    larger = [
        each
        for each in found.entry.files
        if each.size > found.file.size and each.quantization not in ("Q3_K_M", "Q2_K")
    ]
    assert larger, "a slower quantization would have fitted"


def test_a_model_too_slow_to_read_is_not_named(paths: Paths) -> None:
    slow = best(paths, 64, 1.2)
    assert slow is not None
    assert slow.speed >= READABLE
    assert slow.entry.parameters < 1e9
    assert best(paths, 64, 0.01) is None
    assert best(paths, 0.05, 100) is None


def test_a_little_slower_is_better_than_much_smaller(paths: Paths) -> None:
    found = best(paths, 32, 5)
    assert found is not None
    assert READABLE <= found.speed < COMFORTABLE
    assert found.entry.parameters > 0.5e9


def test_tables_do_not_count_as_weights_that_think(paths: Paths) -> None:
    with MetadataCache(paths) as cache:
        known = {each.name: each for each in recommend(machine(64, 400), cache, paths)}
    assert best_for([known["gemma4:e2b"], known["qwen3.5:4b"]]) is known["qwen3.5:4b"]


def test_where_the_speed_is_not_known_the_fit_decides(paths: Paths) -> None:
    found = best(paths, 8, 0)
    assert found is not None
    assert found.fit.good
    assert found.speed == 0
    assert found.entry.parameters > 4e9


def test_of_models_as_large_the_newer_is_better(paths: Paths) -> None:
    with MetadataCache(paths) as cache:
        known = {each.name: each for each in recommend(machine(64, 400), cache, paths)}
    old, new = known["llama3.1:8b"], known["qwen3.5:9b"]
    assert best_for([old, new]) is new
    assert best_for([new, old]) is new
    here = replace(new, path=Path("/here.gguf"))
    assert best_for([new, here]) is here


def test_of_models_alike_the_one_that_stands_first_in_the_catalogue_is_taken(paths: Paths) -> None:
    found = best(paths, 40, 60)
    assert found is not None
    assert found.name == "qwen3.6:35b"  # and not its predecessor of the same shape


def test_an_own_model_is_recommended_too(paths: Paths) -> None:
    paths.config.mkdir(parents=True)
    paths.catalogue_file.write_text(
        '[house]\nrepo = "acme/House-GGUF"\nquantizations = ["Q4_K_M"]\n'
        "parameters = 200_000_000_000\nyear = 2026\n"
    )
    found = best(paths, 512, 5000)
    assert found is not None
    assert found.name == "house:latest"
    assert "house:latest" not in load_catalogue()


def test_a_size_limit_leaves_out_what_is_larger(paths: Paths) -> None:
    with MetadataCache(paths) as cache:
        found = recommend(machine(64, 100), cache, paths, max_size=2 * GB)
    assert found
    assert all(each.file.size <= 2 * GB for each in found)
    assert "qwen3.5:2b" in {each.name for each in found}


@pytest.mark.parametrize(("free", "speed"), [(4, 15), (24, 10), (64, 100), (256, 400)])
def test_the_best_for_all_purposes_are_few_and_none_is_named_twice(
    paths: Paths, free: float, speed: float
) -> None:
    with MetadataCache(paths) as cache:
        found = best_by_purpose(recommend(machine(free, speed), cache, paths))
    names = [each.offer.name for each in found]
    assert len(set(names)) == len(names) <= MOST_BEST
    assert found[0].purposes[0] == "chat"
    for each in found:
        for purpose in each.purposes:
            alone = best(paths, free, speed, purpose)
            assert alone is not None
            assert (alone.name, alone.file) == (each.offer.name, each.offer.file)
