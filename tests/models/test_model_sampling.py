"""The sampling that a model recommends: which value holds, and where each comes from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.errors import UsageError
from tchat.models.catalogue import load_catalogue
from tchat.models.metadata import MetadataCache, read_metadata
from tchat.models.model_sampling import catalogue_sampling, file_sampling, with_model_sampling
from tchat.models.models_file import model_setting, set_model_setting
from tchat.paths import Paths
from tchat.settings import Settings, find_key, keys, load
from tests.tiny import write_tiny

KEYS = {
    "general.sampling.temp": 0.6,
    "general.sampling.top_k": 20,
    "general.sampling.top_p": 0.9,
    "general.sampling.min_p": 0.02,
    "general.sampling.penalty_repeat": 1.1,
    "general.sampling.penalty_last_n": 128,
    "general.sampling.mirostat": 0,
    "general.sampling.sequence": "top_k;top-p;temperature",
}
Write = Callable[..., Path]


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir()
    return Paths(config=home, cache=home / "cache")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_model(name: str = "own", **more: Any) -> Path:
        own = {f"general.sampling.{key}": value for key, value in more.items()}
        return write_tiny(tmp_path / f"{name}.gguf", metadata=own or KEYS)

    return write_model


def test_the_model_file_wins_over_the_defaults(paths: Paths, write: Write) -> None:
    own = with_model_sampling(Settings(model="own"), paths, read_metadata(write()))
    sampling = own.sampling
    assert (sampling.temp, sampling.top_k, sampling.top_p, sampling.min_p) == (0.6, 20, 0.9, 0.02)
    assert (sampling.repeat_penalty, sampling.repeat_last_n) == (1.1, 128)
    assert sampling.samplers == "top_k;top-p;temperature"
    assert sampling.xtc_threshold == Settings().sampling.xtc_threshold
    assert own.origins["temp"] == "model file"
    assert "xtc_threshold" not in own.origins


def test_each_place_wins_over_those_before(
    paths: Paths, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = next(each.name for each in load_catalogue().values() if len(each.sampling) > 2)
    listed = catalogue_sampling(name, Path("x.gguf"))
    path = write(temp=0.11, top_k=1, top_p=0.12, xtc_threshold=0.3)
    paths.config_file.write_text("[sampling]\ntop_p = 0.13\nmin_p = 0.14\nxtc_probability = 0.1\n")
    set_model_setting(paths, name, path, model_setting("min_p"), "0.15")
    set_model_setting(paths, name, path, model_setting("typical_p"), "0.16")
    set_model_setting(paths, name, path, model_setting("dry_base"), "2")
    settings = load(paths, {"TCHAT_TYPICAL_P": "0.17"}, {"mirostat_tau": 3.0}).settings
    settings = find_key("dry_base").put(replace(settings, model=name), 3.0)
    own = with_model_sampling(settings, paths, read_metadata(path))
    told = {key: (getattr(own.sampling, key), origin) for key, origin in own.origins.items()}
    assert told == {
        "temp": (listed["temp"], "catalogue"),
        "top_k": (listed.get("top_k", 1), "catalogue" if "top_k" in listed else "model file"),
        "xtc_threshold": (0.3, "model file"),
        "top_p": (0.13, "config.toml"),
        "xtc_probability": (0.1, "config.toml"),
        "min_p": (0.15, "models.toml"),
        "typical_p": (0.17, "environment"),
        "mirostat_tau": (3.0, "flag"),
        "dry_base": (3.0, "session"),
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temp", math.nan),
        ("temp", math.inf),
        ("temp", -1.0),
        ("temp", "0.6"),
        ("temp", True),
        ("top_k", 2.5),
        ("top_p", 1.5),
        ("penalty_repeat", 0.0),
        ("mirostat", 7),
        ("sequence", "no;such"),
        ("sequence", 3),
        ("sequence", "top_k;\x1b[2J"),
        ("temp", [0.1, 0.2]),
    ],
)
def test_what_a_file_cannot_mean_is_left_out_and_told(write: Write, key: str, value: Any) -> None:
    metadata = read_metadata(write(**{key: value, "min_p": 0.25}))
    found = file_sampling(metadata.sampling)
    assert found.values == {"min_p": 0.25}
    (note,) = found.notes
    assert f"`general.sampling.{key}` is not used: " in note
    assert "\x1b" not in note


def test_all_tokens_may_be_written_as_a_negative_number(write: Write) -> None:
    assert file_sampling([("top_k", -1)]).values == {"top_k": 0}
    found = file_sampling(read_metadata(write(top_k=-1.0, top_p=0.95)).sampling)
    assert found.values == {"top_k": 0, "top_p": 0.95}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["temp", "top_k", "sequence", "penalty_last_n", "xtc_threshold", "?"]),
            st.booleans() | st.integers() | st.floats(width=32) | st.text(max_size=20),
        )
    )
)
def test_any_header_gives_values_that_may_be_set(pairs: list[tuple[str, Any]]) -> None:
    for name, value in file_sampling(pairs).values.items():
        assert keys()[name].put(Settings(), value).sampling


def test_it_is_remembered_with_the_file(paths: Paths, write: Write) -> None:
    path = write(temp=math.nan, top_k=20, sequence="top_k;temperature")
    with MetadataCache(paths) as cache:
        first = cache.metadata(path)
        again = cache.metadata(path)
    assert dict(again.sampling)["top_k"] == 20
    assert file_sampling(again.sampling) == file_sampling(first.sampling)


def test_every_entry_of_the_catalogue_recommends_what_may_be_set() -> None:
    for name, entry in load_catalogue().items():
        assert len(catalogue_sampling(name, Path("x.gguf"))) == len(entry.sampling), name


def test_a_file_is_known_by_the_repository_that_it_is_named_after() -> None:
    entry = next(each for each in load_catalogue().values() if each.sampling)
    base = entry.repo.rpartition("/")[2].removesuffix("-GGUF")
    for stem in (f"{base}-Q4_K_M", base.lower(), f"{base}-IQ4_XS", f"{base}.Q8_0"):
        assert catalogue_sampling("mine", Path(f"/models/{stem}.gguf"))
    assert not catalogue_sampling("mine", Path("/models/mine-Q4_K_M.gguf"))
    assert not catalogue_sampling("starter", Path(f"/models/{base}.gguf"))


@pytest.mark.parametrize("name", ["grammar", "seed"])
def test_some_sampling_is_not_of_a_model(name: str) -> None:
    with pytest.raises(UsageError, match="not set for single models"):
        model_setting(name)
