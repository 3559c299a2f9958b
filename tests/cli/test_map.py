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
from tchat.cli.map.results import open_results
from tchat.cli.map.rows import MapRow, RowPrompt
from tchat.errors import StorageError
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
    assert (ran.code, ran.out != "") == (0, True)
    assert ran.err == (
        "tchat: 5 of 5 replies were cut off: --max-tokens or the context limit was reached\n"
    )
    assert tchat_map("why {}", str(rows), "--quiet", *FLAGS) == Ran(0, ran.out, "")
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
    assert broken["error"].startswith("row 3 is not a JSON object")
    assert ran.code == 1
    assert "2 of 3 rows failed; the first is row 2" in ran.err


def test_numbers_that_json_cannot_say_fail_their_row(home: Path) -> None:
    wrong = ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 5000)
    lines = "".join(f'{{"n": {number}}}\n' for number in (*wrong, "1e4"))
    ran = tchat_map("{n}", *FLAGS, stdin=lines.encode())
    found = records(ran.out)
    assert [record["error"].partition(";")[0] for record in found[:-1]] == [
        f"row {index} is not a JSON object" for index in range(len(wrong))
    ]
    assert found[0]["input"] == '{"n": NaN}'
    assert found[-1]["input"] == {"n": 1e4}
    assert "error" not in found[-1]
    assert (ran.code, f"{len(wrong)} of 7 rows failed" in ran.err) == (1, True)


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


NAMES = [b"x\xff.txt", b"caf\xe9.txt", "é.txt".encode(), "日本.txt".encode("shift_jis"), b"a b.txt"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_names_of_files_on_standard_input_are_bytes(tmp_path: Path, end: bytes) -> None:
    paths = [os.fsencode(tmp_path) + b"/" + name for name in NAMES]
    for path in paths:
        Path(os.fsdecode(path)).write_text("hello")
    ran = tchat_map("{path}: {}", "--files", *FLAGS, stdin=b"".join(path + end for path in paths))
    found = records(ran.out)
    assert [os.fsencode(record["input"]) for record in found] == paths
    assert all(record["output"] for record in found)
    assert (ran.code, "read as" in ran.err) == (0, False)


def test_a_name_ended_by_nul_may_hold_a_line_end(tmp_path: Path) -> None:
    names = [f"{tmp_path}/one\ntwo.txt", f"{tmp_path}/three.txt\r"]
    for name in names:
        Path(name).write_text("hello")
    ran = tchat_map("{}", "--files", *FLAGS, stdin="\0".join(names).encode())
    assert [record["input"] for record in records(ran.out)] == names


def test_rows_and_files_in_old_encodings(tmp_path: Path) -> None:
    text = "Привет, мир! Это обычный русский текст."
    rows = f"{text}\n{text}\n".encode("koi8-r")
    ran = tchat_map("why {}", *FLAGS, stdin=rows)
    assert [record["input"] for record in records(ran.out)] == [text, text]
    assert "standard input is not UTF-8: read as KOI8-R" in ran.err
    for number in range(7):
        (tmp_path / f"{number}.txt").write_bytes(text.encode("cp1251"))
    ran = tchat_map("why {}", "--files", str(tmp_path / "*.txt"), *FLAGS)
    assert ran.err.count("read as Windows-1251") == 5
    assert "and 2 more files like these" in ran.err
    named = tchat_map("why {}", "--files", str(tmp_path / "*.txt"), *FLAGS, "--encoding", "cp1251")
    assert (named.out, "read as" in named.err) == (ran.out, False)


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
    assert all("not valid JSON" in record["error"] for record in records(short.out))


def test_one_row_is_told_in_the_singular(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("sky\n")
    call = ("why {}", str(tmp_path / "one.txt"), "-o", str(tmp_path / "out.jsonl"), *FLAGS)
    assert "1 of 1 reply was cut off" in tchat_map(*call).err
    assert "1 of 1 row is there already" in tchat_map(*call).err


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


FOREIGN = [
    b"my notes",
    b"notes\n",
    b"{",
    b'{"index": 0, "ca',
    b'{"index": []}\n',
    b'{"index": 0, "input": "say sky", "label": "x"}',
    b'{"index": 0, "input": "say sky", "label": "x"}\n',
    b'{"index": 0, "input": "say sky", "output": ',
    b"\n\n",
    b"\0\0\0",
    b"\xff\xfe{\0\n\0",
    b"[]",
    b"RIFF" + bytes(100_000),
]


@pytest.mark.parametrize("before", FOREIGN)
def test_a_file_of_something_else_stays_as_it_is(rows: Path, tmp_path: Path, before: bytes) -> None:
    output = tmp_path / "out.jsonl"
    output.write_bytes(before)
    os.utime(output, (1, 1))
    ran = tchat_map("why {}", str(rows), "-o", str(output), *FLAGS)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "contains something other than results" in ran.err
    assert (output.read_bytes(), output.stat().st_mtime) == (before, 1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "out.jsonl",
        "rows.txt",
    ]


@pytest.mark.parametrize(
    "behind", [b"my notes", b"my notes\n", b"{}", b'{"index": 9, "input": "', b"\n"]
)
def test_what_somebody_wrote_behind_results_stays(
    rows: Path, tmp_path: Path, behind: bytes
) -> None:
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), *FLAGS)
    tchat_map(*call)
    before = output.read_bytes() + behind
    output.write_bytes(before)
    ran = tchat_map(*call)
    assert (ran.code, output.read_bytes()) == (2, before)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prompt": "other {}"}, "holds results of another call"),
        ({"rows": "say sea\n"}, "holds a result of row 0 for another input"),
        ({"rows": "say sky\n"}, "holds a result of row 1, which the input no longer has"),
    ],
)
def test_results_of_another_call_or_of_other_rows_stay(
    rows: Path, tmp_path: Path, change: dict[str, str], told: str
) -> None:
    output = tmp_path / "out.jsonl"
    tchat_map("why {}", str(rows), "-o", str(output), *FLAGS)
    before = output.read_bytes()
    rows.write_text(change.get("rows", rows.read_text()))
    ran = tchat_map(change.get("prompt", "why {}"), str(rows), "-o", str(output), *FLAGS)
    assert (ran.code, told in ran.err) == (2, True)
    assert output.read_bytes() == before


def test_rows_may_follow_later(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), *FLAGS)
    tchat_map(*call)
    before = output.read_text()
    with rows.open("a") as file:
        file.write("say more\n")
    ran = tchat_map(*call)
    assert (ran.code, "5 of 6 rows are there already" in ran.err) == (0, True)
    assert output.read_text().startswith(before)
    assert [record["index"] for record in records(output.read_text())] == list(range(6))


@pytest.mark.parametrize("cut", [1, 8, 15, 30, 60, 80, -1])
def test_a_record_cut_at_any_byte_is_written_again(rows: Path, tmp_path: Path, cut: int) -> None:
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), *FLAGS)
    tchat_map(*call)
    whole = output.read_bytes()
    lines = whole.splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:2]) + lines[2][:cut])
    assert tchat_map(*call).code == 0
    assert output.read_bytes() == whole


def test_the_first_record_is_known_by_its_call(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), *FLAGS)
    tchat_map(*call)
    whole = output.read_bytes()
    output.write_bytes(whole[:70])
    assert tchat_map(*call).code == 0
    assert output.read_bytes() == whole
    output.write_bytes(whole[:70].replace(whole[22:34], b"0123456789ab"))
    assert tchat_map(*call).code == 2


def test_results_are_private_and_a_file_keeps_its_mode(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    call = ("why {}", str(rows), "-o", str(output), *FLAGS)
    umask = os.umask(0)
    try:
        tchat_map(*call)
        assert output.stat().st_mode & 0o777 == 0o600
        lines = output.read_text().splitlines(keepends=True)
        output.write_text("".join(reversed(lines)))
        output.chmod(0o640)
        tchat_map(*call)
    finally:
        os.umask(umask)
    assert output.read_text() == "".join(lines)
    assert output.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed_and_stays(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "results", tmp_path / "out.jsonl"
    link.symlink_to(target)
    assert tchat_map("why {}", str(rows), "-o", str(link), *FLAGS).code == 0
    assert link.is_symlink()
    assert len(records(target.read_text())) == 5


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_file_is_refused(rows: Path, tmp_path: Path, kind: str) -> None:
    output = {"folder": tmp_path, "pipe": tmp_path / "pipe", "device": Path("/dev/null")}[kind]
    os.mkfifo(tmp_path / "pipe")
    ran = tchat_map("why {}", str(rows), "-o", str(output), *FLAGS)
    assert (ran.code, "without -o the results go to standard output" in ran.err) == (2, True)


def test_a_call_that_cannot_begin_leaves_no_file(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    ran = tchat_map("why {}", str(rows), "-o", str(output), "-m", "nowhere.gguf")
    assert (ran.code, output.exists()) == (3, False)


def test_failed_rows_are_tried_again(tmp_path: Path) -> None:
    names = [tmp_path / f"{name}.txt" for name in ("a", "b", "c")]
    for path in names:
        path.write_text("time")
    names[0].write_bytes(b"\0")
    names[1].write_bytes(b"\0")
    output = tmp_path / "out.jsonl"
    call = ("why {}", "--files", *map(str, names), "-o", str(output), *FLAGS)
    ran = tchat_map(*call)
    assert (ran.code, "2 of 3 rows failed; the first is row 0" in ran.err) == (1, True)
    before = output.read_bytes()
    kept = tchat_map(*call, "--keep-errors")
    assert (kept.code, "2 of 3 rows failed; the first is row 0" in kept.err) == (1, True)
    assert output.read_bytes() == before
    names[0].write_text("people")
    ran = tchat_map(*call)
    assert (ran.code, "1 of 3 rows failed; the first is row 1" in ran.err) == (1, True)
    after = records(output.read_text())
    assert [record["index"] for record in after] == [0, 1, 2]
    assert ["error" in record for record in after] == [False, True, False]
    assert after[2] == records(before.decode())[2]
    names[1].write_text("work")
    assert tchat_map(*call).code == 0
    assert tchat_map(*call).code == 0
    assert all(record["output"] for record in records(output.read_text()))


@pytest.mark.parametrize("flags", [(), ("--keep-errors",)])
def test_a_row_that_failed_may_be_mended(tmp_path: Path, flags: tuple[str, ...]) -> None:
    rows, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    call = ("say {a}", str(rows), "-o", str(output), *FLAGS)
    rows.write_text('{"a": "time"}\nno json\n{"a": "people"}\n')
    assert tchat_map(*call).code == 1
    before = records(output.read_text())
    rows.write_text('{"a": "time"}\n{"a": "work"}\n{"a": "people"}\n')
    assert tchat_map(*call, *flags).code == 0
    after = records(output.read_text())
    assert [record["input"] for record in after] == [
        {"a": word} for word in ("time", "work", "people")
    ]
    assert (after[0], after[2]) == (before[0], before[2])


def test_keep_errors_needs_a_file(rows: Path) -> None:
    ran = tchat_map("why {}", str(rows), "--keep-errors")
    assert (ran.code, "needs -o" in ran.err) == (2, True)


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
        told = child.communicate()[1].decode()
    text = output.read_text()
    finished = records(text[: text.rfind("\n") + 1])
    assert 3 <= len(finished) < 40
    kept = f"tchat: stopped: {len(finished)} of 40 rows in {output}; run it again to resume"
    if stop is signal.SIGINT:
        assert (child.returncode, told.count("\n"), told[: len(kept)]) == (130, 1, kept)
    else:
        assert (child.returncode, told) == (-signal.SIGKILL, "")
    call[call.index("200")] = "2"
    assert tchat_map(*call[1:]).code == 0
    after = records(output.read_text())
    assert [record["index"] for record in after] == list(range(40))
    assert all(record in after for record in finished)


def test_what_is_stopped_without_a_file_tells_how_to_keep_it(tmp_path: Path) -> None:
    rows, output = tmp_path / "rows.txt", tmp_path / "out.jsonl"
    rows.write_text("say it\n" * 40)
    call = ["map", "why {}", str(rows), "--parallel", "2", "--max-tokens", "200", *BIAS]
    with (
        output.open("w") as stdout,
        subprocess.Popen([*COMMAND, *call], stdout=stdout, stderr=subprocess.PIPE) as child,
    ):
        while not output.stat().st_size and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        told = child.communicate()[1].decode()
    assert child.returncode == 143
    assert told == (
        f"tchat: stopped: {len(records(output.read_text()))} of 40 rows printed; "
        "with -o FILE, running it again resumes\n"
    )


def test_a_kill_while_failed_rows_are_tried_again_doubles_none(tmp_path: Path) -> None:
    names = [tmp_path / f"{number:02}.txt" for number in range(30)]
    for number, path in enumerate(names):
        path.write_bytes(b"time" if number % 3 else b"\0")
    output = tmp_path / "out.jsonl"
    call = ["map", "why {}", "--files", *map(str, names), "-o", str(output), "--parallel", "2"]
    call += ["--max-tokens", "120", *BIAS]
    assert tchat_map(*call[1:], "--max-tokens", "1").code == 1
    results = output.read_bytes().splitlines()
    for path in names:
        path.write_bytes(b"time")
    with subprocess.Popen([*COMMAND, *call], stderr=subprocess.PIPE) as child:
        while output.read_bytes().count(b"error") and child.poll() is None:
            time.sleep(0.005)
        child.kill()
    text = output.read_text()
    indexes = [record["index"] for record in records(text[: text.rfind("\n") + 1])]
    assert len(set(indexes)) == len(indexes)
    assert set(indexes) >= {index for index in range(30) if index % 3}
    assert tchat_map(*call[1:], "--max-tokens", "1").code == 0
    after = output.read_bytes().splitlines()
    assert [record["index"] for record in records(output.read_text())] == list(range(30))
    assert all(line in after for line in results if b"error" not in line)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_two_calls_do_not_write_one_file(rows: Path, tmp_path: Path) -> None:
    import fcntl

    output = tmp_path / "out.jsonl"
    with output.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = tchat_map("why {}", str(rows), "-o", str(output), *FLAGS)
    assert (ran.code, "another tchat is writing" in ran.err) == (2, True)
    assert tchat_map("why {}", str(rows), "-o", str(output), *FLAGS).code == 0


def test_what_another_program_writes_meanwhile_stays(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with open_results(output, "0" * 12, {0: "a", 1: "b"}, ordered=True) as results:
        results.add({"index": 1, "input": "b", "output": "x"})
        before = output.read_bytes() + b"a note"
        output.write_bytes(before)
        with pytest.raises(StorageError, match="was changed by another program"):
            results.add({"index": 0, "input": "a", "output": "x"})
    assert output.read_bytes() == before


def test_many_rows_are_written_in_linear_time(tmp_path: Path) -> None:
    inputs = dict.fromkeys(range(20000), "a")
    output = tmp_path / "out.jsonl"
    with open_results(output, "0" * 12, inputs, ordered=True) as results:
        for index in reversed(inputs):
            results.add({"index": index, "input": "a", "output": "x"})
    assert [record["index"] for record in records(output.read_text())] == list(inputs)


def test_a_neighbour_with_the_name_of_a_lock_stays(rows: Path, tmp_path: Path) -> None:
    neighbour = tmp_path / ".out.jsonl.lock"
    neighbour.write_text("mine")
    assert tchat_map("why {}", str(rows), "-o", str(tmp_path / "out.jsonl"), *FLAGS).code == 0
    assert neighbour.read_text() == "mine"


PEOPLE = (
    '{"first name": "Ada", "größe": 3, "a.b": "point", "price (€)": 5, "o": {"in side": "deep"}}\n'
)


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("{first name}", "Ada"),
        ("{größe} {a.b} {o.in side}", "3 point deep"),
        ("{price (€)}", "5"),
        ('{"label": 1} {größe}', '{"label": 1} 3'),
        ("{{first name}} {größe}", "{first name} 3"),
        ("{{price (€)}} {größe}", "{price (€)} 3"),
        ("f(x) {\n return 1; } {größe}", "f(x) {\n return 1; } 3"),
    ],
)
def test_any_field_has_a_place(prompt: str, filled: str) -> None:
    row = MapRow(0, PEOPLE.strip())
    assert RowPrompt(prompt, [row]).filled(row, row.text) == filled


@pytest.mark.parametrize(
    ("prompt", "stdin", "told"),
    [
        ("{frist name}", PEOPLE, "no row has a field `frist name`; did you mean `first name`?"),
        ("{weight}", PEOPLE, "they have first name, größe, a.b, price (€), o"),
        ("{first name}", "Ada\n", "the prompt names the field `first name`, and no row is a JSON"),
        ("{first name}", "[1]\n", "no row is a JSON object"),
        ("{input}", "Ada\n", "no row is a JSON object; write {} for the row; write {{input}} "),
    ],
)
def test_a_field_that_no_row_has_is_a_wrong_call(prompt: str, stdin: str, told: str) -> None:
    ran = tchat_map(prompt, *FLAGS, stdin=stdin.encode())
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert told in ran.err
    assert "{{" in ran.err


@pytest.mark.parametrize(("flags", "name"), [((), "rows.txt"), (("--files",), "rows.txt")])
def test_a_file_in_the_place_of_the_prompt_is_told(
    rows: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], name: str
) -> None:
    monkeypatch.chdir(rows.parent)
    ran = tchat_map(*flags, name, "Classify: {}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "tchat: rows.txt is a file; PROMPT comes before FILE; "
        "for example: tchat map 'Classify: {}' FILE\n"
    )
    assert tchat_map(*flags, name, name, *FLAGS).code == 0  # a prompt may have such a name


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("",), "the prompt is empty"),
        (("why {}",), "there are no rows"),
        (("why {}", "nowhere.txt"), "there is no file `nowhere.txt`"),
        (("why {}", "--files", "*.nothing"), "there is no file"),
        (("why {}", "--schema", '{"name": "string"}'), "has no keyword of JSON Schema"),
        (("why {}", "--choose", "a"), "two or more labels"),
        (("why {}", "--choose", "a,b", "--yes-no"), "cannot be combined"),
        (("why {}", "-o", "/nonexist/a.jsonl"), "there is no folder /nonexist; create it"),
        (("why {}", "-o", "."), "is a folder, not a file"),
        (("why {}", "-o", ""), "--output is empty"),
    ],
)
def test_a_wrong_call_is_told(args: tuple[str, ...], told: str) -> None:
    ran = tchat_map(*args, stdin=b"row\n" if "-o" in args else b"")
    assert ran.code == 2
    assert told in ran.err
