"""``tchat map``: rows in, one line of JSON for each out."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tests.cli.shell import COMMAND, Ran

WORDS = ("sky", "people", "work", "time", "year")
BIAS = ("--logit-bias", "<|im_end|>=-inf", "--logit-bias", "<|endoftext|>=-inf")
FLAGS = ("--seed", "3", "--max-tokens", "6", *BIAS)
STOPS = [signal.SIGKILL, signal.SIGINT]


@pytest.fixture(autouse=True)
def model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.txt"
    path.write_text("".join(f"say {word}\n" for word in WORDS))
    return path


def tchat_map(*args: str, stdin: bytes = b"") -> Ran:
    """Call it in this process, with a real model."""
    out, err = io.StringIO(), io.StringIO()
    code = program(["map", *args], Console(io.BytesIO(stdin), out, err, os.environ))
    return Ran(code, out.getvalue(), err.getvalue())


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_give_records_in_their_order(rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), "--parallel", "3", *FLAGS)
    found = records(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert [record["index"] for record in found] == list(range(5))
    assert [record["input"] for record in found] == [f"say {word}" for word in WORDS]
    assert all(record["output"] and record["finish_reason"] == "length" for record in found)
    piped = tchat_map("why {}", *FLAGS, stdin=rows.read_bytes())
    assert [r["output"] for r in records(piped.out)] == [r["output"] for r in found]


def test_as_they_come_they_are_the_same(rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), *FLAGS)
    loose = tchat_map("why {}", str(rows), "--unordered", *FLAGS)
    assert sorted(loose.out.splitlines()) == sorted(ran.out.splitlines())


def test_fields_of_rows_in_json(home: Path) -> None:
    lines = b'{"a": {"b": "x"}, "n": 3}\n\n{"n": 1}\nno json\n'
    ran = tchat_map("{n} {a.b}", *FLAGS, stdin=lines)
    whole, lacking, broken = records(ran.out)
    assert whole["input"] == {"a": {"b": "x"}, "n": 3}
    assert whole["output"]
    assert lacking["index"] == 2
    assert lacking["error"].startswith("row 2 has no field `a.b`")
    assert broken["error"].startswith("row 3 is no JSON object")
    assert ran.code == 1
    assert "2 of 3 rows failed; the first is row 2" in ran.err


def test_files_are_rows(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"time {name}")
    (tmp_path / "bad.txt").write_bytes(b"\0\1\2")
    ran = tchat_map("{path}: {}", "--files", str(tmp_path / "*.txt"), *FLAGS)
    found = {Path(record["input"]).name: record for record in records(ran.out)}
    assert found["one.txt"]["output"]
    assert found["two.txt"]["output"]
    assert "binary" in found["bad.txt"]["error"]
    named = tchat_map("{path}: {}", "--files", *FLAGS, stdin=f"{tmp_path}/one.txt\n".encode())
    assert [record["input"] for record in records(named.out)] == [f"{tmp_path}/one.txt"]


def test_labels_with_their_probabilities(rows: Path) -> None:
    ran = tchat_map("which? {}", str(rows), "--choose", "sky,people")
    for record in records(ran.out):
        assert record["output"] == max(record["probabilities"], key=record["probabilities"].get)
        assert sum(record["probabilities"].values()) == pytest.approx(1)
    sure = tchat_map("really? {}", str(rows), "--yes-no", "--threshold", "1.0")
    assert {record["output"] for record in records(sure.out)} == {"unsure"}


def test_values_of_a_schema_and_what_breaks_off(rows: Path) -> None:
    schema = '{"type":"object","properties":{"a":{"enum":["x","y"]}},"required":["a"]}'
    ran = tchat_map("why {}", str(rows), "--schema", schema, "--seed", "1")
    assert all(record["output"]["a"] in ("x", "y") for record in records(ran.out))
    short = tchat_map("why {}", str(rows), "--schema", schema, "--max-tokens", "1")
    assert short.code == 1
    assert all("no JSON" in record["error"] for record in records(short.out))


def test_a_file_is_gone_on_with(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), *FLAGS)
    assert tchat_map(*call).out == ""
    lines = output.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(5))
    kept = json.dumps(json.loads(lines[3]) | {"output": "was there"})
    output.write_text(f"{kept}\n{lines[1]}\n{lines[0][:20]}")
    ran = tchat_map(*call)
    assert (ran.code, "2 of 5 rows are there already" in ran.err) == (0, True)
    again = output.read_text().splitlines()
    assert again == [*lines[:3], kept, lines[4]]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("before", "prompt"), [("", "other {}"), ("notes\n", "why {}"), ('{"index": []}\n', "why {}")]
)
def test_a_file_of_something_else_stays_as_it_is(
    rows: Path, tmp_path: Path, before: str, prompt: str
) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text(before)
    if not before:
        tchat_map("why {}", str(rows), "-o", str(output), *FLAGS)
        before = output.read_text()
    ran = tchat_map(prompt, str(rows), "-o", str(output), *FLAGS)
    assert (ran.code, "holds results of another call" in ran.err) == (2, True)
    assert output.read_text() == before


@pytest.mark.parametrize("stop", STOPS)
def test_what_is_stopped_goes_on_without_repeating(tmp_path: Path, stop: signal.Signals) -> None:
    rows, output = tmp_path / "rows.txt", tmp_path / "out.jsonl"
    rows.write_text("".join(f"say {number}\n" for number in range(40)))
    output.touch()
    call = ["map", "why {}", str(rows), "-o", str(output), "--parallel", "2"]
    call += ["--max-tokens", "200", *BIAS]
    with subprocess.Popen([*COMMAND, *call], stderr=subprocess.PIPE) as child:
        while output.read_text().count("\n") < 3 and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(stop)
        code = child.wait()
    assert code == (130 if stop is signal.SIGINT else -signal.SIGKILL)
    text = output.read_text()
    finished = records(text[: text.rfind("\n") + 1])
    assert 3 <= len(finished) < 40
    call[call.index("200")] = "2"
    assert tchat_map(*call[1:]).code == 0
    after = records(output.read_text())
    assert [record["index"] for record in after] == list(range(40))
    assert all(record in after for record in finished)


def test_two_calls_do_not_write_one_file(rows: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    output = tmp_path / "out.jsonl"
    with FileLock(tmp_path / ".out.jsonl.lock"):
        ran = tchat_map("why {}", str(rows), "-o", str(output), *FLAGS)
    assert (ran.code, "another call is writing" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("",), "the prompt is empty"),
        (("why {}",), "there are no rows"),
        (("why {}", "nowhere.txt"), "there is no file `nowhere.txt`"),
        (("why {}", "--files", "*.nothing"), "there is no file"),
        (("why {}", "--choose", "a"), "two or more labels"),
        (("why {}", "--choose", "a,b", "--yes-no"), "exclude each other"),
        (("why {}", "-o", "."), "is not a file"),
        (("why {}", "-o", ""), "--output is empty"),
    ],
)
def test_a_wrong_call_is_told(args: tuple[str, ...], told: str) -> None:
    ran = tchat_map(*args, stdin=b"row\n" if "-o" in args else b"")
    assert ran.code == 2
    assert told in ran.err
