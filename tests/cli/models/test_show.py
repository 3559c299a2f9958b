"""``tchat models show`` and ``check``: one file, looked at closely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.shell import Ran, Shell, tchat
from tests.models.gguf_builder import F32, STRING, but, gguf, key
from tests.models.hostile import DAMAGED, NOT_GGUF
from tests.models.model_folders import chat_model, hub_file
from tests.tiny import BROKEN, NO_SYSTEM, write_tiny

EVIL = "x\x1b]52;c;eA==\x07\u202e"


def told(ran: Ran) -> dict[str, str]:
    """The rows of ``show`` by their first cell; the last of several alike."""
    return dict(line.split("\t", 1) for line in ran.out.splitlines())


def findings(ran: Ran) -> dict[str, tuple[str, str]]:
    return {each["topic"]: (each["state"], each["text"]) for each in json.loads(ran.out)}


# show


def test_the_starter_tells_all_about_itself(shell: Shell) -> None:
    rows = told(shell("models", "show", "starter"))
    assert rows["licence"] == "apache-2.0"
    assert rows["token eos"] == "2 <|im_end|>"
    assert rows["adds bos"] == "no"
    assert rows["tensors Q4_1"].startswith("210 tensors, 106M weights")
    assert rows["tokenizer.ggml.tokens"] == "49,152 values"
    assert "template" in rows
    assert "<|im_start|>" in shell("models", "show", "starter", "--template").out


def test_a_program_gets_the_same(shell: Shell) -> None:
    value = json.loads(shell("models", "show", "starter", "--json").out)
    assert value["name"] == "starter"
    assert value["licence"] == "apache-2.0"
    assert {"role": "bos", "id": 1, "text": "<|im_start|>"} in value["special_tokens"]
    assert value["metadata"]["llama.block_count"] == 30
    assert value["metadata"]["tokenizer.ggml.tokens"] == {"count": 49152, "items": []}


def test_what_a_file_says_is_safe_and_bounded(shell: Shell, tmp_path: Path) -> None:
    keys = but(
        key("general.license", STRING, EVIL),
        key(f"evil.{EVIL}", STRING, "y" * 1_000_000),
        key("evil.number", F32, float("nan")),
        key("tokenizer.chat_template", STRING, "{# z\x1b[2J #}" * 50_000),
        *(key(f"key.{number}", STRING, "v") for number in range(2000)),
    )
    file = chat_model(tmp_path, "evil", gguf(keys))
    ran = shell("models", "show", str(file))
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    assert len(ran.out) < 100_000
    assert "more keys" in ran.out
    value = json.loads(shell("models", "show", str(file), "--json").out)
    assert value["metadata"]["evil.number"] == "nan"


def test_a_token_number_out_of_range_is_told(shell: Shell, tmp_path: Path) -> None:
    file = write_tiny(tmp_path / "m.gguf", metadata={"tokenizer.ggml.eot_token_id": 999_999})
    assert told(shell("models", "show", str(file)))["token eot"] == "999,999 (no such token)"


def test_a_model_that_was_used_is_as_fast_as_it_was(tiny_home: Path, tiny_model: Path) -> None:
    assert "speed" not in told(tchat("models", "show", str(tiny_model)))  # it is too small to tell
    bias = ("--logit-bias", "<|im_end|>=-100", "--logit-bias", "<|endoftext|>=-100")
    assert tchat("-n", "--max-tokens", "40", "hi", *bias).code == 0
    assert told(tchat("models", "show", str(tiny_model)))["speed"].endswith("measured here")


def test_the_speed_of_a_model_that_was_not_used_is_expected(shell: Shell) -> None:
    told_speed = told(shell("models", "show", "starter"))["speed"]
    assert told_speed.endswith("tokens/s expected, with a short context")


# check


def test_the_starter_is_sound(shell: Shell) -> None:
    ran = shell("models", "check", "starter", "--json")
    assert ran.code == 0
    found = findings(ran)
    assert found["load"] == ("ok", "loads and answers")
    assert found["end"] == ("ok", "a reply ends with <|im_end|>")
    assert found["tools"] == ("note", "knows no tools")
    assert shell("models", "ls").out.rstrip().endswith("loads and answers")


def test_content_is_compared_with_the_hash_that_was_published(shell: Shell, tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "m.gguf").read_bytes()
    blob = hub_file(tmp_path / "user", "a/Tiny-GGUF", "Tiny-Q8_0.gguf", data)
    ran = shell("models", "check", "tiny", "--json")
    assert (ran.code, findings(ran)["content"][0]) == (0, "ok")
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    ran = shell("models", "check", "tiny", "--json")
    assert (ran.code, findings(ran)["content"][0]) == (3, "problem")
    ran = shell("models", "check", "tiny", "--json", "--quick")
    assert (ran.code, "content" in findings(ran)) == (0, False)


@pytest.mark.parametrize(
    ("options", "topic", "state", "words"),
    [
        ({"template": None}, "template", "problem", "ChatML is used instead"),
        ({"template": BROKEN}, "template", "problem", "does not work"),
        ({"template": NO_SYSTEM}, "system", "note", "takes no system message"),
        (
            {"template": "{% for m in messages %}{{ m.content }}\n{% endfor %}"},
            "end",
            "problem",
            "no end token",
        ),
        (
            {"template": "{% for m in messages %}{{ m.content + '<|im_start|>' }}{% endfor %}"},
            "end",
            "problem",
            "replies may run on",
        ),
        (
            {
                "template": "{{ bos_token }}{% for m in messages %}{{ m.content }}</s>{% endfor %}",
                "vocab": "spm",
            },
            "begin",
            "note",
            "both write <s>",
        ),
    ],
)
def test_the_template_is_examined(
    shell: Shell, tmp_path: Path, options: dict[str, str], topic: str, state: str, words: str
) -> None:
    file = write_tiny(tmp_path / "m.gguf", **options)  # type: ignore[arg-type]
    ran = shell("models", "check", "--quick", "--json", str(file))
    assert findings(ran)[topic][0] == state
    assert words in findings(ran)[topic][1]
    assert ran.code == 0


@pytest.mark.parametrize("name", ["html", "cut-in-data", "version-4"])
def test_a_damaged_file_ends_at_its_header(shell: Shell, tmp_path: Path, name: str) -> None:
    data, words = {**NOT_GGUF, **DAMAGED}[name]
    ran = shell("models", "check", "--json", str(chat_model(tmp_path, "bad", data)))
    assert ran.code == 3
    ((topic, (state, text)),) = findings(ran).items()
    assert (topic, state) == ("header", "problem")
    assert words in text
