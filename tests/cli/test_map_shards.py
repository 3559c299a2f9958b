"""`tchat map --shard` and `tchat map merge`: rows shared out, and put together again."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from tests.cli.shell import Ran, tchat
from tests.cli.test_map import FLAGS, model, records, rows, tchat_map

__all__ = ["model", "rows"]  # fixtures


def run_shards(rows: Path, folder: Path, count: int) -> list[Path]:
    files = [folder / f"part-{number}.jsonl" for number in range(1, count + 1)]
    for number, file in enumerate(files, 1):
        call = ("why {}", str(rows), "--shard", f"{number}/{count}", "-o", str(file), *FLAGS)
        assert tchat_map(*call).code == 0
    return files


def merge(output: Path, *files: Path | str) -> Ran:
    return tchat_map("merge", str(output), *map(str, files))


def test_merged_shards_are_the_file_of_the_whole(rows: Path, tmp_path: Path) -> None:
    whole, merged = tmp_path / "whole.jsonl", tmp_path / "merged.jsonl"
    assert tchat_map("why {}", str(rows), "-o", str(whole), *FLAGS).code == 0
    files = run_shards(rows, tmp_path, 3)
    assert [[r["index"] for r in records(file.read_text())] for file in files] == [
        [0, 3],
        [1, 4],
        [2],
    ]
    ran = merge(merged, *reversed(files))
    assert ran == Ran(0, "", f"tchat: 5 rows in {merged}\n")
    assert merged.read_bytes() == whole.read_bytes()
    assert merge(tmp_path / "by-glob.jsonl", tmp_path / "part-*.jsonl").code == 0
    assert (tmp_path / "by-glob.jsonl").read_bytes() == whole.read_bytes()


def test_a_shard_is_resumed_and_new_rows_leave_it_as_it_is(rows: Path, tmp_path: Path) -> None:
    (file, *_) = run_shards(rows, tmp_path, 3)
    before = file.read_text()
    rows.write_text(rows.read_text() + "one\ntwo\nthree\n")
    ran = tchat_map("why {}", str(rows), "--shard", "1/3", "-o", str(file), *FLAGS)
    assert "shard 1 of 3: 3 of 8 rows" in ran.err
    assert "2 of 3 rows are there already" in ran.err
    assert file.read_text().startswith(before)
    assert [record["index"] for record in records(file.read_text())] == [0, 3, 6]


def test_a_shard_without_rows_is_no_failure(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "none.jsonl"
    ran = tchat_map("why {}", str(rows), "--shard", "9/9", "-o", str(output), *FLAGS)
    assert ran.code == 0
    assert "shard 9 of 9: 0 of 5 rows" in ran.err
    assert not output.exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/1000000"])
def test_what_is_no_shard_is_refused(rows: Path, text: str) -> None:
    ran = tchat_map("why {}", str(rows), f"--shard={text}", *FLAGS)
    assert ran.code == 2
    assert "--shard is I/N" in ran.err


def test_gaps_are_told_and_the_same_call_fills_them(rows: Path, tmp_path: Path) -> None:
    first, second, third = run_shards(rows, tmp_path, 3)
    merged = tmp_path / "merged.jsonl"
    ran = merge(merged, first, third)
    assert ran.code == 1
    assert "missing rows, unless these lines are empty: 1, 4; rows after" not in ran.err
    assert "missing rows, unless these lines are empty: 1; rows after 3 may be missing" in ran.err
    assert tchat_map("why {}", str(rows), "-o", str(merged), *FLAGS).code == 0
    complete = merged.read_bytes()
    other = tmp_path / "other.jsonl"
    merge(other, first, third)
    assert merge(other, second).code == 0  # to what is there already
    assert "more than one file" not in merge(other, second).err
    assert other.read_bytes() == complete


def test_a_row_is_taken_from_the_first_file_whatever_a_later_one_repeats(
    rows: Path, tmp_path: Path
) -> None:
    (file,) = run_shards(rows, tmp_path, 1)
    first = json.loads(file.read_text().splitlines()[0])
    again = tmp_path / "again.jsonl"
    lines = [json.dumps({**first, "output": text}) for text in ("second", "third")]
    again.write_text("\n".join(lines) + "\n")
    merged = tmp_path / "merged.jsonl"
    assert "1 row is in more than one file" in merge(merged, file, again).err
    assert merged.read_text() == file.read_text()
    other = json.dumps({**first, "input": "another", "output": "x"})
    again.write_text("\n".join([lines[0], other]) + "\n")
    ran = merge(tmp_path / "other.jsonl", file, again)
    assert (ran.code, "with another input" in ran.err) == (2, True)


def test_doubles_are_told_and_a_result_wins_over_a_failure(rows: Path, tmp_path: Path) -> None:
    (file,) = run_shards(rows, tmp_path, 1)
    lines = file.read_text().splitlines()
    failed = json.loads(lines[2])
    failed = {**{k: failed[k] for k in ("index", "call", "input")}, "error": "it failed"}
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([*lines[:2], json.dumps(failed)]) + "\n")
    merged = tmp_path / "merged.jsonl"
    ran = merge(merged, broken, file)
    assert ran.code == 0
    assert "3 rows are in more than one file" in ran.err
    assert merged.read_text() == file.read_text()
    ran = merge(tmp_path / "failed.jsonl", broken)
    assert ran.code == 1
    assert "1 row failed" in ran.err


def test_files_that_do_not_belong_together_are_refused(rows: Path, tmp_path: Path) -> None:
    (file,) = run_shards(rows, tmp_path, 1)
    merged = tmp_path / "merged.jsonl"
    other_call = tmp_path / "other-call.jsonl"
    assert tchat_map("who {}", str(rows), "-o", str(other_call), *FLAGS).code == 0
    other_rows = tmp_path / "other-rows.jsonl"
    other_rows.write_text(file.read_text().replace("say sky", "say grass"))
    foreign = tmp_path / "notes.txt"
    foreign.write_text("my notes\n")
    for wrong, why in (
        (other_call, "another call"),
        (other_rows, "row 0 with another input"),
        (foreign, "something other than results"),
        (tmp_path / "absent.jsonl", "absent.jsonl"),
    ):
        ran = merge(merged, file, wrong)
        assert ran.code != 0
        assert why in ran.err
        assert ran.err.count("\n") == 1
        assert not merged.exists()
    ran = merge(foreign, file)  # the output counts as a file too
    assert ran.code == 2
    assert foreign.read_text() == "my notes\n"


def test_a_file_that_is_being_written_is_refused(rows: Path, tmp_path: Path) -> None:
    (file,) = run_shards(rows, tmp_path, 1)
    with file.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = merge(tmp_path / "merged.jsonl", file)
    assert ran.code == 2
    assert "another tchat is writing" in ran.err


def test_a_record_that_was_cut_off_is_left_out(rows: Path, tmp_path: Path) -> None:
    (file,) = run_shards(rows, tmp_path, 1)
    whole = file.read_text()
    file.write_text(whole[:-20])
    ran = merge(tmp_path / "merged.jsonl", file)
    assert "is incomplete and left out" in ran.err
    assert whole.startswith((tmp_path / "merged.jsonl").read_text())


def test_a_merge_takes_no_flags(rows: Path, tmp_path: Path) -> None:
    for call in (["merge", "out"], ["merge", "out", "in", "-o", "x"]):
        ran = tchat_map(*call)
        assert ran.code == 2
        assert "tchat map merge all.jsonl part-*.jsonl" in ran.err


@pytest.mark.parametrize("call", [("map", "merge", "--help"), ("help", "map", "merge")])
def test_a_merge_has_a_help_of_its_own(home: Path, call: tuple[str, ...]) -> None:
    ran = tchat(*call)
    assert ran.code == 0
    assert "tchat map merge OUT" in ran.out
    assert "Put the result files of several shards together" in ran.out
    assert "--schema" not in ran.out
