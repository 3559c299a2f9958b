"""Dialogues in the shapes that data sets come in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.judge.dialogues import Dialogue, read_dialogues

EXPECTED = Dialogue("Why is the sky blue?", "Because air scatters blue light most.")
PROMPT, REPLY = EXPECTED.prompt, EXPECTED.reply


def written(tmp_path: Path, *rows: object, name: str = "data.jsonl") -> Path:
    path = tmp_path / name
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": PROMPT, "reply": REPLY},
        {"prompt": PROMPT, "response": f" {REPLY}\n"},
        {"instruction": PROMPT, "input": "", "output": REPLY},
        {"instruction": PROMPT, "instances": [{"input": "", "output": REPLY}]},
        {"conversations": [{"from": "human", "value": PROMPT}, {"from": "gpt", "value": REPLY}]},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": PROMPT},
                {"role": "assistant", "content": REPLY},
                {"role": "user", "content": "And at dusk?"},
            ]
        },
    ],
)
def test_known_shapes(tmp_path: Path, row: object) -> None:
    assert read_dialogues([written(tmp_path, row)]).dialogues == (EXPECTED,)


def test_an_input_follows_its_instruction(tmp_path: Path) -> None:
    row = {"instruction": "Translate.", "input": "Hallo", "output": "Hello"}
    data = read_dialogues([written(tmp_path, row)])
    assert data.dialogues == (Dialogue("Translate.\n\nHallo", "Hello"),)


def test_files_are_joined_without_duplicates(tmp_path: Path) -> None:
    row = {"prompt": PROMPT, "reply": REPLY}
    one = written(tmp_path, row, row, name="a.jsonl")
    other = written(tmp_path, row, {"prompt": "p", "reply": "r"}, name="b.jsonl")
    assert read_dialogues([one, other]).dialogues == (EXPECTED, Dialogue("p", "r"))


def test_a_reply_before_the_first_prompt_answers_something_else(tmp_path: Path) -> None:
    greeting = {"from": "gpt", "value": "Hello, how can I help?"}
    asked = [{"from": "human", "value": PROMPT}, {"from": "gpt", "value": REPLY}]
    path = written(tmp_path, {"conversations": [greeting, *asked]})
    assert read_dialogues([path]).dialogues == (EXPECTED,)


def test_a_byte_order_mark_costs_no_line(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    path.write_text(json.dumps({"prompt": PROMPT, "reply": REPLY}), encoding="utf-8-sig")
    assert read_dialogues([path]).dialogues == (EXPECTED,)


def test_lines_without_a_dialogue_are_counted(tmp_path: Path) -> None:
    bad = ["{", "[]", "7", "null", {"prompt": 1, "reply": 2}, {"prompt": "", "reply": "x"}]
    bad += [{"conversations": "no"}, {"instances": [3], "instruction": "a"}, "[" * 5000]
    bad += [{"conversations": [{"from": ["human"], "value": "a"}, {"from": {}, "value": "b"}]}]
    bad += [{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}]
    path = written(tmp_path, *bad, {"prompt": PROMPT, "reply": REPLY})
    data = read_dialogues([path])
    assert (data.dialogues, data.skipped) == ((EXPECTED,), len(bad))


def test_the_hash_tells_the_dialogues(tmp_path: Path) -> None:
    one = read_dialogues([written(tmp_path, {"prompt": "a", "reply": "b"})])
    same = read_dialogues([written(tmp_path, {"instruction": "a", "output": "b"})])
    other = read_dialogues(
        [written(tmp_path, {"prompt": "ab", "reply": ""}, {"prompt": "a", "reply": "c"})]
    )
    assert one.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x00\xff\n", b'{"a": 1}\n'])
def test_a_file_without_dialogues_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"data\.jsonl holds no dialogue"):
        read_dialogues([path])


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_dialogues([path])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="cannot be read: it is a pipe or a device"):
        read_dialogues([path])


def test_lines_that_are_not_utf8_hold_no_dialogue(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    line = '{"prompt": "Größe?", "reply": "schön"}\n'
    path.write_bytes(line.encode() + line.encode("latin-1"))
    data = read_dialogues([path])
    assert [(each.prompt, each.reply) for each in data.dialogues] == [("Größe?", "schön")]
    assert data.skipped == 1


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"prompt": "' + b"a" * (2 << 20))
    with pytest.raises(UsageError, match="has a line of over"):
        read_dialogues([path])
