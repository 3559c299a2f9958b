from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tchat.tools.file_changes import FileChanges
from tchat.tools.read_file import MAX_SIZE
from tchat.tools.tool import ToolError
from tchat.tools.undo_history import KEPT, UndoHistory
from tchat.tools.write_file import write_file_tool
from tests.tools.workplace import Workplace


def changes(place: Workplace) -> FileChanges:
    return FileChanges(place.roots(), UndoHistory(place.base / "undo"))


def test_reading_lines(place: Workplace) -> None:
    assert place.run("read_file", path="notes.txt").content == "one\ntwo\nthree\n"
    assert place.run("read_file", path="notes.txt", first_line=2, lines=1).content == (
        "two\n\n[Lines 2 to 2 of 3.]"
    )
    assert "has 3 lines" in place.run("read_file", path="notes.txt", first_line=9).content
    (place.root / "long").write_text("x" * 200_000)
    assert place.run("read_file", path="long").content.endswith("[Cut in line 1 of 1.]")
    (place.root / "other").write_bytes("Grüße aus Köln, schöne Ödnis".encode("cp1252"))
    assert "Köln" in place.run("read_file", path="other").content


def test_what_is_no_text_or_too_large_is_refused(place: Workplace) -> None:
    (place.root / "binary").write_bytes(bytes(range(256)) * 10)
    assert place.run("read_file", path="binary").failed
    with (place.root / "huge").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    assert "larger than" in place.run("read_file", path="huge").content
    assert place.run("read_file", path="docs").failed
    assert place.run("read_file", path="nothing").failed


def test_listing(place: Workplace) -> None:
    (place.root / "odd\nname").write_text("")
    lines = place.run("list_files").content.splitlines()
    assert "docs/" in lines
    assert "notes.txt  14" in lines
    assert "odd name  0" in lines
    deep = place.run("list_files", path="docs", depth=3, pattern="*.md").content
    assert deep == "guide.md  18"
    assert place.run("list_files", path="docs/deep").content == "[Nothing is there.]"


def test_searching(place: Workplace) -> None:
    found = place.run("search_files", text="TWO", ignore_case=True).content
    assert found.splitlines() == ["docs/guide.md:2: Two lines", "notes.txt:2: two"]
    assert place.run("search_files", text="two", pattern="*.md").content == "[Nothing was found.]"
    (place.root / "many").write_text("hit\n" * 1000)
    assert "More than 200" in place.run("search_files", text="hit").content


def test_writing_makes_folders_and_keeps_the_mode(place: Workplace) -> None:
    assert not place.run("write_file", path="a/b/new.txt", content="text").failed
    assert (place.root / "a/b/new.txt").read_text() == "text"
    script = place.root / "script"
    script.write_text("old")
    script.chmod(0o755)
    place.run("write_file", path="script", content="new")
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    assert [each.name for each in place.root.iterdir() if each.name.endswith(".part")] == []


def test_an_edit_changes_one_passage_and_no_other_byte(place: Workplace) -> None:
    path = place.root / "windows.txt"
    path.write_bytes(b"one\r\ntwo\r\n\xff\r\n")
    result = place.run("edit_file", path="windows.txt", old_text="one\ntwo", new_text="1\n2")
    assert not result.failed
    assert path.read_bytes() == b"1\r\n2\r\n\xff\r\n"
    for old in ("nothing", "\r\n"):
        result = place.run("edit_file", path="windows.txt", old_text=old, new_text="")
        assert result.failed
    assert "3 times" in result.content
    assert path.read_bytes() == b"1\r\n2\r\n\xff\r\n"
    assert place.run("edit_file", path="missing", old_text="x", new_text="").failed


def test_a_file_that_changes_after_its_diff_was_shown_is_left_alone(place: Workplace) -> None:
    tool = write_file_tool(changes(place))
    arguments = {"path": "notes.txt", "content": "one\n2\nthree\n"}
    assert tool.preview is not None
    assert tool.preview(arguments).splitlines()[3:] == [" one", "-two", "+2", " three"]
    (place.root / "notes.txt").write_text("someone else's\n")
    with pytest.raises(ToolError, match="changed meanwhile"):
        tool.call(arguments)
    assert (place.root / "notes.txt").read_text() == "someone else's\n"
    new = {"path": "new.txt", "content": "x"}
    tool.preview(new)
    (place.root / "new.txt").write_text("someone else's\n")
    with pytest.raises(ToolError, match="changed meanwhile"):
        tool.call(new)


def test_changes_are_undone_one_after_the_other(place: Workplace) -> None:
    place.run("write_file", path="notes.txt", content="second")
    place.run("edit_file", path="notes.txt", old_text="second", new_text="third")
    place.run("write_file", path="new.txt", content="x")
    undo = changes(place).undo
    notes = place.root / "notes.txt"
    assert undo() == place.root / "new.txt"
    assert not (place.root / "new.txt").exists()
    assert undo() == notes
    assert notes.read_text() == "second"
    notes.write_text("mine")
    with pytest.raises(ToolError, match="was changed since"):
        undo()
    assert notes.read_text() == "mine"
    notes.write_text("second")
    undo()
    assert notes.read_text() == "one\ntwo\nthree\n"
    with pytest.raises(ToolError, match="no tool has changed"):
        undo()


def test_the_undo_history_is_bounded_and_survives_damage(tmp_path: Path) -> None:
    history = UndoHistory(tmp_path / "undo")
    for number in range(KEPT + 5):
        history.add(tmp_path / str(number), b"x", "digest")
    assert len(history.entries()) == KEPT
    assert len(list((tmp_path / "undo").glob("*.before"))) == KEPT
    index = tmp_path / "undo" / "changes.jsonl"
    index.write_text("damaged\n[]\n{}\n" + index.read_text())
    assert history.last().path == tmp_path / str(KEPT + 4)


def test_a_write_that_fails_leaves_the_file_and_no_undo_entry(place: Workplace) -> None:
    changes(place).write("notes.txt", b"first")
    os.truncate(place.base / "undo" / "changes.jsonl", 0)
    tool = write_file_tool(changes(place))
    with pytest.raises(ToolError):
        tool.call({"path": "notes.txt", "content": "x" * (5 << 20)})
    assert (place.root / "notes.txt").read_text() == "first"
    assert UndoHistory(place.base / "undo").entries() == []
