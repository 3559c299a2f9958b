"""``tchat models ls``, and the names that models go by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import Shell, tchat
from tests.models.gguf_builder import STRING, U16, but, gguf, key
from tests.models.hostile import UNFIT
from tests.models.model_folders import chat_model, ollama_model


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The home folder that other programs keep their files in."""
    return tmp_path / "user"


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_the_starter_is_listed_with_what_it_is(shell: Shell) -> None:
    assert rows(shell("models", "ls").out) == [
        ["starter", "llama", "135M", "Q4_1", "8,192", "98 MB", "", "default", "not checked yet"]
    ]
    (record,) = json.loads(shell("models", "ls", "--json").out)
    assert record["parameters"] == 134_515_008
    assert record["owner"] == "tchat"
    assert record["last_used"] is None


def test_what_was_used_says_when_and_that_it_works(tiny_home: Path, tiny_model: Path) -> None:
    shell = Shell({"TCHAT_HOME": str(tiny_home)})
    shell("models", "add", str(tiny_model))
    record = json.loads(shell("models", "ls", "--json").out)[1]
    assert record["name"] == tiny_model.stem
    assert record["verdict"] == "loads and answers"
    assert record["last_used"].startswith("20")


def test_other_programs_models_are_listed_with_their_owner(shell: Shell, user: Path) -> None:
    ollama_model(user, "qwen3", "0.6b", gguf())
    ollama_model(user, "me/mine", "latest", gguf(), host="registry.ollama.ai")
    ollama_model(user, "user/repo", "Q4_K_M", gguf(), host="hf.co")
    chat_model(user / ".lmstudio/models/bartowski/Phi-4-GGUF", "Phi-4-Q4_K_M")
    chat_model(user / ".local/share/nomic.ai/GPT4All", "Llama-3.2-1B")
    chat_model(user / ".cache/llama.cpp", "ggml-org_gemma-3-Q8_0")
    listed = {row[0]: row[1] for row in rows(shell("models", "ls", "--all").out)}
    assert listed == {
        "starter": "tchat",
        "ggml-org_gemma-3-Q8_0": "llama.cpp",
        "hf.co/user/repo:Q4_K_M": "Ollama",
        "me/mine:latest": "Ollama",
        "qwen3:0.6b": "Ollama",
        "bartowski/Phi-4-GGUF:Q4_K_M": "LM Studio",
        "Llama-3.2-1B": "GPT4All",
    }
    assert [row[0] for row in rows(shell("models", "ls").out)] == ["starter"]


def test_the_variables_of_other_programs_are_respected(shell: Shell, tmp_path: Path) -> None:
    chat_model(tmp_path / "cache", "one")
    ollama_model(tmp_path / "elsewhere", "two", "latest", gguf())
    shell.environ["LLAMA_CACHE"] = str(tmp_path / "cache")
    shell.environ["OLLAMA_MODELS"] = str(tmp_path / "elsewhere" / ".ollama" / "models")
    assert {row[0] for row in rows(shell("models", "ls", "--all").out)} >= {"one", "two:latest"}


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b'{"layers": 3}',
        b'{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "../../x"}]}',
        b"[" * 100_000,
        b"\xff" * 2_000_000,
    ],
)
def test_a_broken_manifest_is_passed_over(shell: Shell, user: Path, manifest: bytes) -> None:
    ollama_model(user, "good", "latest", gguf())
    bad = user / ".ollama/models/manifests/registry.ollama.ai/library/bad/latest"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(manifest)
    names = [row[0] for row in rows(shell("models", "ls", "--all").out)]
    assert names == ["starter", "good:latest"]


def test_files_that_cannot_chat_are_listed_as_what_they_are(shell: Shell, tmp_path: Path) -> None:
    for name, (data, _) in UNFIT.items():
        chat_model(tmp_path / "files", name, data)
    assert shell("models", "add", str(tmp_path / "files")).code == 0
    listed = {row[0]: row[-1] for row in rows(shell("models", "ls").out)}
    assert set(listed) == {"starter", *UNFIT}
    for name, (_, words) in UNFIT.items():
        assert words in listed[name]


def test_hostile_names_stay_on_their_line(shell: Shell, tmp_path: Path) -> None:
    evil = "x\x1b]52;c;eA==\x07\n\u202e"
    chat_model(tmp_path, evil, gguf(but(key("general.architecture", STRING, evil))))
    shell("models", "add", str(tmp_path / f"{evil}.gguf"))
    ran = shell("models", "ls")
    assert len(ran.out.splitlines()) == 2
    assert "\x1b" not in ran.out
    assert json.loads(shell("models", "ls", "--json").out)[1]["name"] == evil


def test_a_split_model_is_one_model_and_a_missing_part_is_named(
    shell: Shell, tmp_path: Path
) -> None:
    parts = {}
    for number in (1, 2, 3):
        keys = but(key("split.count", U16, 3), key("split.no", U16, number - 1))
        parts[number] = chat_model(tmp_path, f"big-0000{number}-of-00003", gguf(keys))
    shell("models", "add", str(tmp_path))
    (_, row) = rows(shell("models", "ls").out)
    assert (row[0], row[-1]) == ("big", "not checked yet")
    for missing in (3, 1):
        parts[missing].unlink()
        (_, row) = rows(shell("models", "ls").out)
        assert row[0] == "big"
        assert f"missing: {parts[missing].name}" in row[-1]


def test_registered_files_are_forgotten_and_stay(shell: Shell, tmp_path: Path) -> None:
    file = chat_model(tmp_path, "mine")
    assert shell("models", "add", str(file), str(file)).code == 0
    assert [row[0] for row in rows(shell("models", "ls").out)] == ["starter", "mine"]
    assert shell("models", "add", "--forget", str(file)).code == 0
    assert [row[0] for row in rows(shell("models", "ls").out)] == ["starter"]
    assert file.exists()
    ran = shell("models", "add", "--forget", str(file))
    assert ran.code == 2
    assert "is not registered" in ran.err


def test_what_is_no_model_is_not_registered(shell: Shell, tmp_path: Path, home: Path) -> None:
    (tmp_path / "page.gguf").write_bytes(b"<!DOCTYPE html>")
    for place in ("page.gguf", "nothing.gguf"):
        ran = shell("models", "add", str(tmp_path / place))
        assert ran.code == 3
        assert place in ran.err
    assert not (home / "models.toml").exists()


def test_two_of_one_name_are_told_apart(shell: Shell, tmp_path: Path) -> None:
    one, two = (chat_model(tmp_path / folder, "same") for folder in ("a", "b"))
    shell("models", "add", str(one), str(two))
    assert [row[0] for row in rows(shell("models", "ls").out)] == ["starter", "same", str(two)]


def test_a_file_that_is_gone_is_told_in_its_row(shell: Shell, tmp_path: Path) -> None:
    file = chat_model(tmp_path, "mine")
    shell("models", "add", str(file))
    file.unlink()
    ran = shell("models", "ls")
    assert ran.code == 0
    assert rows(ran.out)[1][-1] == "there is no file mine.gguf"


# alias


def test_an_alias_is_set_listed_used_and_forgotten(shell: Shell, user: Path) -> None:
    ollama_model(user, "qwen3", "0.6b", gguf())
    assert shell("models", "alias", "set", "small", "qwen3:0.6b").code == 0
    assert shell("models", "alias", "set", "dot.ted", "starter").code == 0
    assert rows(shell("models", "alias", "ls").out) == [
        ["dot.ted", "starter"],
        ["small", "qwen3:0.6b"],
    ]
    assert json.loads(shell("models", "alias", "ls", "--json").out)["small"] == "qwen3:0.6b"
    assert shell("models", "default", "small").code == 0
    assert shell("config", "get", "model").out == "small\n"
    assert shell("models", "alias", "rm", "small").code == 0
    ran = shell("models", "alias", "rm", "dotted")
    assert (ran.code, "did you mean `dot.ted`" in ran.err) == (2, True)


@pytest.mark.parametrize("name", ["starter", "a/b", "x.gguf", "", "~", "a b", "\x1b[1m", "-x"])
def test_what_means_something_else_cannot_be_an_alias(shell: Shell, home: Path, name: str) -> None:
    ran = shell("models", "alias", "set", "--", name, "starter")
    assert ran.code == 2
    assert not (home / "models.toml").exists()


def test_an_alias_needs_a_model(shell: Shell) -> None:
    ran = shell("models", "alias", "set", "mine", "stater")
    assert ran.code == 3
    assert "did you mean starter" in ran.err


# default


def test_the_default_is_a_model_that_is_there(shell: Shell, tmp_path: Path) -> None:
    file = chat_model(tmp_path, "mine")
    assert shell("models", "default", "nonesuch").code == 3
    assert shell("config", "get", "model").out == "starter\n"
    assert shell("models", "default", str(file)).code == 0
    assert shell("config", "get", "model").out == f"{file}\n"


def test_the_default_is_marked(shell: Shell, user: Path, tmp_path: Path) -> None:
    ollama_model(user, "qwen3", "0.6b", gguf())
    shell("models", "add", str(chat_model(tmp_path, "mine")))
    ran = shell("models", "default", "mine")
    assert (ran.code, ran.out, ran.err) == (0, "", "tchat: the default model is now mine\n")
    assert [(row[0], row[-2]) for row in rows(shell("models", "ls").out)] == [
        ("starter", ""),
        ("mine", "default"),
    ]
    found = json.loads(shell("models", "ls", "--all", "--json").out)
    assert {row["name"]: row["default"] for row in found} == {
        "starter": False,
        "mine": True,
        "qwen3:0.6b": False,
    }
    shell("models", "alias", "set", "small", "qwen3:0.6b")
    shell("models", "default", "small")
    assert rows(shell("models", "ls", "--all").out)[-1][-2] == "default"
    shell("config", "set", "model", "nosuch")
    assert [row[-2] for row in rows(shell("models", "ls").out)] == ["", ""]


def test_what_takes_the_name_of_the_default_away_says_so(shell: Shell, tmp_path: Path) -> None:
    file = chat_model(tmp_path, "mine")
    gone = "the default model {} is gone; choose another: tchat models default starter"
    shell("models", "alias", "set", "small", str(file))
    shell("models", "default", "small")
    assert gone.format("small") in shell("models", "alias", "rm", "small").err
    shell("models", "add", str(file))
    shell("models", "default", "mine")
    assert gone.format("mine") in shell("models", "add", "--forget", str(file)).err
    shell("models", "add", str(file))
    shell("models", "default", str(file))
    assert "default" not in shell("models", "rm", "-y", "mine").err  # the file is still there


@pytest.mark.parametrize("lost", ["file", "alias"])
def test_a_default_that_leads_nowhere_names_the_way_out(
    shell: Shell, tmp_path: Path, lost: str
) -> None:
    file = chat_model(tmp_path, "mine")
    shell("models", "alias", "set", "small", str(file))
    shell("models", "default", "small" if lost == "alias" else str(file))
    file.unlink()
    way_out = "it is the default model, choose another: tchat models default starter"
    env = {"TCHAT_HOME": shell.environ["TCHAT_HOME"]}
    ran = tchat("hi", env=env)
    assert (ran.code, way_out in ran.err) == (3, True)
    typed = tchat("-m", "small", "hi", env=env)
    assert (typed.code, "the default" in typed.err) == (3, False)
    assert tchat("-m", "nosuch", "hi", env=env).err.count("models default") == 0


def test_models_toml_keeps_what_was_written_by_hand(shell: Shell, home: Path, user: Path) -> None:
    home.mkdir()
    text = "# mine\n[alias]\nold = 'starter'  # why\n[other]\nx = 1\n"
    (home / "models.toml").write_text(text, encoding="utf-8")
    shell("models", "alias", "set", "new", "starter")
    shell("models", "add", str(chat_model(user, "mine")))
    written = (home / "models.toml").read_text(encoding="utf-8")
    assert "# mine" in written
    assert "old = 'starter'  # why" in written
    assert "x = 1" in written
    assert {row[0] for row in rows(shell("models", "alias", "ls").out)} == {"old", "new"}
    assert [row[0] for row in rows(shell("models", "ls").out)] == ["starter", "mine"]


def test_register_goes_on_working_as_add(
    shell: Shell, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = shell("models", "register", str(tiny_model))
    assert (ran.code, "`models register` is now called `models add`" in ran.err) == (0, True)
    assert tiny_model.stem in shell("models", "ls").out
    shell("models", "--help")
    listed = capsys.readouterr().out
    assert ("  add " in listed, "register" in listed) == (True, False)
    for typed in ("registr", "nosuch"):
        assert "register" not in shell("models", typed).err
    assert "now called" not in shell("models", "add", "--forget", str(tiny_model)).err
