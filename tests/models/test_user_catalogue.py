"""The user's own ``catalogue.toml``: what it adds, and what is refused with one clear line."""

from __future__ import annotations

import pytest

from tchat.errors import UsageError
from tchat.models.catalogue import find_entry, load_catalogue, sizes_of
from tchat.models.name_lookup import resolve_remote
from tchat.paths import Paths, user_paths
from tests.cli.shell import tchat

HOUSE = """
[house]
tag = "7b"
repo = "acme/House-7B-GGUF"
quantizations = ["Q8_0", "UD-Q4_K_M"]
parameters = 7_600_000_000
abilities = ["chat", "tools"]
purpose = "answers about the house"
"""


@pytest.fixture
def paths(home: object) -> Paths:
    paths = user_paths()
    paths.config.mkdir(parents=True, exist_ok=True)
    return paths


def write(paths: Paths, text: str) -> None:
    paths.catalogue_file.write_text(text, encoding="utf-8")


def refused(paths: Paths, text: str) -> str:
    write(paths, text)
    with pytest.raises(UsageError) as error:
        load_catalogue(paths)
    assert str(paths.catalogue_file) in error.value.message
    assert error.value.hint == "correct it with an editor; nothing was changed"
    assert "\n" not in error.value.message
    return error.value.message.removeprefix(f"{paths.catalogue_file}, ")


def test_without_the_file_there_is_only_the_catalogue_of_tchat(paths: Paths) -> None:
    assert load_catalogue(paths) is load_catalogue()


def test_an_entry_without_a_shape_is_found_listed_and_pulled(paths: Paths) -> None:
    write(paths, HOUSE)
    found = find_entry("house:7b:Q8_0", paths)
    assert found is not None
    entry, remote = found
    assert (str(remote), entry.own, entry.title) == ("acme/House-7B-GGUF:Q8_0", True, "house")
    assert resolve_remote("house:7b", paths).repo == "acme/House-7B-GGUF"
    assert sizes_of("house", paths) == ["house:7b"]
    assert dict(entry.files)["Q8_0"] == pytest.approx(7.6e9 * 8.5 / 8)
    ran = tchat("models", "catalogue", "--for", "tools")
    [row] = [line for line in ran.out.splitlines() if line.startswith("house:7b\t")]
    assert row.split("\t")[8] == "answers about the house"
    missing = tchat("-m", "house:7b", "hi")
    assert missing.err == (
        "tchat: house:7b is not on this disk; get it: tchat models pull house:7b\n"
    )


def test_sizes_share_the_keys_of_their_family_and_a_shape_counts_the_cache(paths: Paths) -> None:
    write(
        paths,
        """
[house]
repo = "acme/House-GGUF"
quantizations = ["Q8_0"]
vocabulary = 1000
width = 64
heads = 4
kv_heads = 2
head = 16
feed_forward = 128
tied = true
sampling = { temperature = 0.3 }
[[house.sizes]]
tag = "small"
layers = 2
[[house.sizes]]
tag = "large"
layers = 4
""",
    )
    small, large = (load_catalogue(paths)[name] for name in ("house:small", "house:large"))
    assert large.parameters > small.parameters > 64_000
    assert large.dimensions("Q8_0").kv_width == 2 * small.dimensions("Q8_0").kv_width == 256
    assert small.sampling == {"temperature": 0.3}


def test_a_name_of_the_catalogue_is_replaced_only_where_it_is_said(paths: Paths) -> None:
    own = HOUSE.replace("[house]", "[qwen3]").replace('tag = "7b"', 'tag = "8b"')
    assert refused(paths, own).startswith("qwen3:8b: tchat's catalogue has this name")
    write(paths, own + "replaces = true\n")
    assert load_catalogue(paths)["qwen3:8b"].repo == "acme/House-7B-GGUF"
    assert load_catalogue()["qwen3:8b"].repo == "Qwen/Qwen3-8B-GGUF"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[house]", '["a b"]', "a b: a name is of lower-case letters"),
        ("[house]", '["\\u001b]0;x"]', "␛]0;x: a name is of lower-case letters"),
        ('tag = "7b"', "tag = 7", "house:7: tag must be a text"),
        ('tag = "7b"', 'tag = "7:b"', "house:7:b: its tag must be"),
        ("acme/House-7B-GGUF", "House", "house:7b: its repo must be written OWNER/REPO"),
        ("acme/House-7B-GGUF", "acme/House:Q8_0", "house:7b: its repo must be written OWNER/REPO"),
        ('["Q8_0", "UD-Q4_K_M"]', "[]", "house:7b: it needs quantizations"),
        ('["Q8_0", "UD-Q4_K_M"]', '["Q9"]', "house:7b: the quantization Q9 is not known"),
        ('["Q8_0", "UD-Q4_K_M"]', '"Q8_0"', "house:7b: quantizations must be a list of texts"),
        ("7_600_000_000", "-1", "house:7b: parameters must be a whole number"),
        ("7_600_000_000", "1.5", "house:7b: parameters must be a whole number"),
        ("7_600_000_000", "0", "house:7b: it needs its number of weights: parameters"),
        ("parameters = ", "layers = ", "house:7b: layers must be a whole number"),
        ("7_600_000_000", "1\nlayers = 50_000", "house:7b: it has too many layers"),
        ("7_600_000_000", '1\nmixer = "mamba9"', "house:7b: its mixer must be one of"),
        ("7_600_000_000", "1\ntied = 1", "house:7b: tied must be true or false"),
        ("7_600_000_000", "1\nsampling = { top_p = nan }", "house:7b: top_p of its sampling"),
        ("7_600_000_000", "1\nsampling = { zeal = 1 }", "house:7b: zeal is no setting of sampling"),
        ("7_600_000_000", "1\nsampling = { model = 1 }", "house:7b: model is no setting of"),
        ("7_600_000_000", '1\nmmproj = "../x.gguf"', "house:7b: mmproj must be a text"),
        ("7_600_000_000", "1\nstarter = true", "house:7b: there is no key starter"),
        ('"tools"', '"flying"', "house:7b: there is no ability flying"),
        ("[house]", "house = 3\n[home]", "house: it must be a table"),
        ('tag = "7b"', "sizes = 3", "house: its sizes must be tables"),
        ('tag = "7b"', 'sizes = [{ tag = "a" }, { tag = "a" }]', "house:a: it is there twice"),
    ],
)
def test_a_bad_entry_is_told_in_one_line(paths: Paths, old: str, new: str, told: str) -> None:
    assert old in HOUSE
    assert refused(paths, HOUSE.replace(old, new)).startswith(told)


def test_what_is_no_toml_is_told_with_its_line(paths: Paths) -> None:
    write(paths, HOUSE + "oops\n")
    ran = tchat("models", "catalogue")
    assert (ran.code, ran.out) == (2, "")
    assert "catalogue.toml, line 9" in ran.err
    assert ran.err.count("\n") == 1
