"""Sizes, counts and times as text."""

from __future__ import annotations

import pytest

from tchat.humanize import count_text, duration_text, parse_size, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, ""),
        (999, "999 B"),
        (999_600, "1.0 MB"),
        (1000, "1.0 kB"),
        (98_362_432, "98 MB"),
        (4_920_000_000, "4.9 GB"),
        (9_960_000_000, "10 GB"),
        (2**62, "4611686 TB"),
    ],
)
def test_sizes_are_in_the_units_of_disks(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("1.5 gb", 1_500_000_000),
        ("700M", 700 * 10**6),
        ("4 GiB", 4 * 2**30),
        (" 12 ", 12),
        ("3kB", 3000),
        ("2t", 2 * 10**12),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "8XB", "1.GB", "8 G B", "١GB"])
def test_what_is_no_size_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (12, "12"), (134_515_008, "135M"), (999_885_952, "1.0B"), (70_553_706_496, "71B")],
)
def test_weights_are_counted_as_models_are_named(count: int, text: str) -> None:
    assert count_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.7, "1 min 0 s"), (125, "2 min 5 s"), (4805, "1 h 20 min")],
)
def test_a_duration_is_told_in_two_units(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words
