"""The catalogue: its facts, the files that follow from them, and its names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.errors import ModelNotFound
from tchat.models.catalogue import CatalogueEntry, find_entry, load_catalogue, recommend
from tchat.models.hub.repository import HubName, ModelNotDownloaded, parse_hub_name
from tchat.models.memory import Machine
from tchat.models.metadata import MetadataCache, read_metadata
from tchat.models.models_file import set_alias
from tchat.models.name_lookup import resolve_remote
from tchat.models.resolve import resolve
from tchat.paths import Paths, user_paths
from tests.models.model_folders import hub_file

# Bytes of files as the hub lists them.
PUBLISHED = [
    ("qwen3:0.6b", "Q8_0", 639_446_688),
    ("qwen3:30b", "Q4_K_M", 18_556_685_824),
    ("qwen3:30b", "Q6_K", 25_092_532_800),
    ("phi4:14b", "Q4_K_M", 9_053_114_560),
    ("granite3.3:2b", "Q4_K_M", 1_545_303_328),
    ("smollm3:3b", "Q4_K_M", 1_915_305_312),
    ("llama3.2:3b", "Q4_K_M", 2_019_377_696),
    ("gpt-oss:20b", "MXFP4", 12_109_566_624),
]
ENTRIES = list(load_catalogue().values())


@pytest.fixture
def paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("HF_HOME")
    return user_paths()


def test_it_holds_some_twenty_models_from_small_to_large() -> None:
    assert 20 <= len(ENTRIES) <= 30
    assert ENTRIES[0].parameters < 0.2e9
    assert ENTRIES[-1].parameters > 70e9


@pytest.mark.parametrize(("name", "quantization", "size"), PUBLISHED)
def test_sizes_are_those_of_the_published_files(name: str, quantization: str, size: int) -> None:
    sizes = dict(load_catalogue()[name].files)
    assert sizes[quantization] == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_entry_is_whole(entry: CatalogueEntry) -> None:
    assert parse_hub_name(entry.repo) == HubName(entry.repo)
    for text in (entry.title, entry.maker, entry.licence, entry.languages, entry.purpose):
        assert text.strip()
    sizes = [size for _, size in entry.files]
    assert sizes == sorted(sizes, reverse=True)
    # What the sizes of its matrices add up to is what its maker counts.
    attention = entry.width * entry.head * 2 * (entry.heads + entry.kv_heads)
    experts = max(entry.experts, 1) * (entry.expert_width or entry.feed_forward)
    layers = entry.layers * (attention + 3 * entry.width * experts)
    embeddings = entry.vocabulary * entry.width * (1 if entry.tied else 2)
    assert layers + embeddings == pytest.approx(entry.parameters, rel=0.005)


def test_a_mixture_has_few_active_weights() -> None:
    mixture = load_catalogue()["qwen3:30b"]
    assert mixture.active == pytest.approx(3.3e9, rel=0.02)
    dimensions = mixture.dimensions("Q8_0")
    assert dimensions.read_per_token < dimensions.weights / 8


def test_what_is_on_the_disk_is_found(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(ModelNotDownloaded, match="is not on this disk"):
        resolve("qwen3:4b", paths)
    blob = hub_file(tmp_path / "user", "Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf")
    for name in ("qwen3:4b", "Qwen3:4B", "qwen3:4b:Q4_K_M"):
        assert resolve(name, paths).resolve() == blob
    with pytest.raises(ModelNotDownloaded) as absent:
        resolve("qwen3:4b:Q8_0", paths)
    assert absent.value.hint == "get it: tchat models pull qwen3:4b:Q8_0"
    assert absent.value.remote == HubName("Qwen/Qwen3-4B-GGUF", "Q8_0")


@pytest.mark.parametrize(
    "name", ["starter", "smollm2:135m", "smollm2", "SmolLM2 135M", "SmolLM2-135M-Instruct"]
)
def test_the_starter_is_found_by_all_its_names(
    paths: Paths, starter_model: Path, name: str
) -> None:
    assert resolve(name, paths).samefile(starter_model)


def test_the_starter_is_told_by_one_short_name_and_one_title(
    paths: Paths, starter_model: Path
) -> None:
    metadata = read_metadata(starter_model)
    assert metadata.name == "SmolLM2 135M"
    with MetadataCache(paths) as cache:
        told = [each.name for each in recommend(Machine(), cache, paths)]
    assert "starter" in told
    assert "smollm2:135m" not in told


def test_a_family_brings_its_sizes(paths: Paths) -> None:
    with pytest.raises(ModelNotFound) as unknown:
        resolve("llama3.2", paths)
    assert unknown.value.hint == "get it: tchat models pull llama3.2:1b (or llama3.2:3b)"


@pytest.mark.parametrize(
    ("name", "pulled"),
    [
        ("Qwen3", "qwen3:0.6b (or qwen3:1.7b, qwen3:4b)"),  # a family
        ("qwen3-0.6b", "qwen3:0.6b (or "),  # nearly a name
        ("gwen3:0.6b", "qwen3:0.6b"),
        ("phi", "phi4-mini:3.8b (or phi4:14b)"),  # the beginning of several
        ("unsloth/Some-GGUF:Q8_0", "unsloth/Some-GGUF:Q8_0"),  # a name of the hub
    ],
)
def test_the_command_that_gets_a_model_is_told(paths: Paths, name: str, pulled: str) -> None:
    with pytest.raises(ModelNotFound) as unknown:
        resolve(name, paths)
    assert unknown.value.hint.startswith(f"get it: tchat models pull {pulled}")


@pytest.mark.parametrize("name", ["nope", "zz", ""])
def test_a_name_like_none_leads_to_both_lists(paths: Paths, name: str) -> None:
    with pytest.raises(ModelNotFound) as unknown:
        resolve(name, paths)
    assert "tchat models ls --all" in unknown.value.hint
    assert "tchat models catalogue" in unknown.value.hint


def test_a_name_leads_to_the_hub(paths: Paths) -> None:
    assert resolve_remote("phi4:14b:q6_k", paths) == HubName("bartowski/phi-4-GGUF", "q6_k")
    set_alias(paths, "big", "llama3.3:70b")
    assert resolve_remote("big", paths).repo == "bartowski/Llama-3.3-70B-Instruct-GGUF"
    assert find_entry("phi4") is None
    with pytest.raises(ModelNotFound, match="neither a name on the hub nor in the catalogue"):
        resolve_remote("nothing", paths)
