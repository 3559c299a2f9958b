"""The catalogue: its facts, the files that follow from them, and its names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.errors import ModelNotFound
from tchat.models.catalogue import entry_of_file, find_entry, load_catalogue
from tchat.models.catalogue_entry import ALL_ABILITIES, CatalogueEntry
from tchat.models.hub.repository import HubName, ModelNotDownloaded, parse_hub_name
from tchat.models.memory import LoadPlan, Machine, kv_bytes
from tchat.models.metadata import MetadataCache, read_metadata
from tchat.models.models_file import set_alias
from tchat.models.name_lookup import resolve_remote
from tchat.models.recommendation import recommend
from tchat.models.resolve import resolve
from tchat.paths import Paths, user_paths
from tests.models.model_folders import hub_file

GIB = 2**30
# Bytes of files, exact ones first: as the hub lists them.
PUBLISHED = [
    ("qwen3:0.6b", "Q8_0", 639_446_688),
    ("qwen3:30b", "Q4_K_M", 18_556_685_824),
    ("qwen3:30b", "Q6_K", 25_092_532_800),
    ("phi4:14b", "Q4_K_M", 9_053_114_560),
    ("granite3.3:2b", "Q4_K_M", 1_545_303_328),
    ("smollm3:3b", "Q4_K_M", 1_915_305_312),
    ("llama3.2:3b", "Q4_K_M", 2_019_377_696),
    ("gpt-oss:20b", "MXFP4", 12_109_566_624),
    # docker/model-cards, which writes GiB as GB
    ("deepseek-r1:8b", "Q4_K_M", 4.58 * GIB),
    ("deepseek-r1:70b", "Q4_K_M", 39.59 * GIB),
    ("gemma3:4b", "Q4_K_M", 2.31 * GIB),
    ("granite4:micro-h", "Q4_K_M", 1.81 * GIB),
    ("granite4:tiny-h", "Q4_K_M", 3.94 * GIB),
    ("granite4:small-h", "Q4_K_M", 18.14 * GIB),
    ("ministral3:3b", "Q4_K_M", 1.99 * GIB),
    ("ministral3:8b", "Q4_K_M", 4.83 * GIB),
    ("ministral3:14b", "Q4_K_M", 7.78 * GIB),
    ("nomic-embed:v1.5", "F16", 260.87 * 2**20),
    ("qwen3-embedding:4b", "Q4_K_M", 2.32 * GIB),
    ("qwen3-embedding:8b", "Q4_K_M", 4.35 * GIB),
    ("smolvlm:500m", "Q8_0", 414.86 * 2**20),
    ("qwen3-coder:80b", "Q8_0", 84.8e9),
    # pages of ollama.com, which round
    ("granite4:micro", "Q4_K_M", 2.1e9),
    ("glm4.7-flash:30b", "Q4_K_M", 19e9),
    ("gemma4:12b", "Q8_0", 13e9),
    ("qwen3.5:4b", "Q4_K_M", 2.7e9),
]
# Weights as their makers state them, of models whose exact number the catalogue does not have.
STATED = [
    ("bge-m3:567m", 567e6),
    ("deepseek-r1:14b", 14.8e9),
    ("deepseek-r1:32b", 32.8e9),
    ("embeddinggemma:300m", 308e6),
    ("gemma3n:e4b", 6.9e9),
    ("glm4.7-flash:30b", 29.9e9),
    ("gpt-oss:120b", 117e9),
    ("granite-embedding:107m", 107e6),
    ("granite4:350m", 352e6),
    ("granite4:1b", 1.63e9),
    ("granite4:micro-h", 3.2e9),
    ("granite4:small-h", 32.21e9),
    ("lfm2:8b", 8.3e9),
    ("lfm2.5:8b", 8.3e9),
    ("lfm2.5:350m", 354e6),
    ("lfm2.5:1.2b", 1.17e9),
    ("ministral3:3b", 3.4e9),
    ("ministral3:8b", 8.4e9),
    ("ministral3:14b", 13.5e9),
    ("nomic-embed:v1.5", 137e6),
    ("qwen3-coder:80b", 80e9),
    ("qwen3.5:9b", 9e9),
    ("qwen3.5:27b", 27e9),
    ("qwen3.5:35b", 35e9),
    ("qwen3.5:122b", 122e9),
]
ENTRIES = list(load_catalogue().values())
FAMILIES = (
    *("gemma3", "gemma3n", "gemma4", "qwen3", "qwen3.5", "qwen3.6", "gpt-oss", "ministral3"),
    *("granite4", "lfm2", "lfm2.5", "smollm3", "phi4", "phi4-mini", "glm4.7-flash"),
    *("nemotron3-nano", "deepseek-r1", "qwen3-coder", "qwen3-vl", "qwen3-embedding"),
)


@pytest.fixture
def paths(home: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("HF_HOME")
    return user_paths()


def test_it_reaches_from_phones_to_servers() -> None:
    assert ENTRIES[0].parameters < 0.14e9
    assert ENTRIES[-1].parameters > 116e9
    assert set(FAMILIES) <= {entry.family for entry in ENTRIES}
    for ability in ALL_ABILITIES:
        able = [entry.parameters for entry in ENTRIES if ability in entry.abilities]
        assert min(able) < 1.3e9, ability
        assert max(able) > 7e9, ability


@pytest.mark.parametrize(("name", "quantization", "size"), PUBLISHED)
def test_sizes_are_those_of_the_published_files(name: str, quantization: str, size: float) -> None:
    sizes = dict(load_catalogue()[name].files)
    within = 0.02 if isinstance(size, int) else 0.05
    assert sizes[quantization] == pytest.approx(size, rel=within)


@pytest.mark.parametrize(("name", "weights"), STATED)
def test_the_shape_has_as_many_weights_as_the_maker_states(name: str, weights: float) -> None:
    assert load_catalogue()[name].hparams.parameters == pytest.approx(weights, rel=0.03)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_entry_is_whole(entry: CatalogueEntry) -> None:
    assert parse_hub_name(entry.repo) == HubName(entry.repo)
    for text in (entry.title, entry.maker, entry.licence, entry.languages, entry.purpose):
        assert text.strip()
    assert entry.source
    assert 2024 <= entry.year <= 2026
    assert entry.context >= 512
    assert set(entry.abilities) <= set(ALL_ABILITIES)
    sizes = [size for _, size in entry.files]
    assert sizes == sorted(sizes, reverse=True)
    assert entry.hparams.parameters == pytest.approx(entry.parameters, rel=0.005)
    for file in filter(None, (entry.mmproj, entry.draft)):
        assert file.endswith(".gguf")
        assert file.count("/") in (0, 2)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_recommended_sampling_is_of_known_names_and_within_bounds(entry: CatalogueEntry) -> None:
    bounds = {
        "temperature": (0.0, 2.0),
        "top_p": (0.0, 1.0),
        "top_k": (0.0, 200.0),
        "min_p": (0.0, 1.0),
        "presence_penalty": (0.0, 2.0),
        "repeat_penalty": (1.0, 1.3),
    }
    for name, value in entry.sampling.items():
        low, high = bounds[name]
        assert low <= value <= high


@pytest.mark.parametrize(
    ("name", "tokens", "cached"),
    [
        ("qwen3.5:4b", 8192, 8 * 2 * 4 * 256),  # every fourth layer has attention
        ("granite4:tiny-h", 8192, 4 * 2 * 4 * 128),
        ("glm4.7-flash:30b", 8192, 47 * (512 + 64)),  # one latent for keys and values
        ("gemma4:e2b", 8192, 15 * 2 * 256 + 3 * 2 * 256),  # 20 of 35 layers have no cache
    ],
)
def test_the_cache_is_that_of_the_layers_with_attention(
    name: str, tokens: int, cached: int
) -> None:
    dimensions = load_catalogue()[name].dimensions("Q4_K_M")
    plan = LoadPlan(context=tokens)
    assert kv_bytes(dimensions, plan) == 2 * tokens * cached


def test_a_recurrent_state_is_as_llama_cpp_computes_it() -> None:
    granite = load_catalogue()["granite4:tiny-h"].dimensions("Q4_K_M")
    assert granite.state == 36 * 4 * (3 * (3072 + 2 * 128) + 128 * 3072)
    liquid = load_catalogue()["lfm2.5:1.2b"].dimensions("Q4_K_M")
    assert liquid.state == 10 * 4 * 2 * 2048


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
    entry = entry_of_file(resolve("qwen3:4b", paths))
    assert entry is not None
    assert entry.sampling["top_k"] == 20
    assert entry_of_file(tmp_path / "other.gguf") is None
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
    entry = entry_of_file(starter_model)
    assert entry is not None
    assert entry.starter


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
        ("phi4", "phi4:14b (or phi4:14b-reasoning)"),
        ("phi", "phi4-mini:3.8b (or phi4-mini:3.8b-reasoning, phi4:14b)"),  # of several
        ("llama3", "llama3.2:1b (or llama3.2:3b, llama3.1:8b)"),
        ("lama3", "llama3.2:1b (or llama3.2:3b, llama3.1:8b)"),
        ("lama3:8b", "llama3."),
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
