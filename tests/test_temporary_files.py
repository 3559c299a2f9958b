"""Temporary files lie in memory, and nothing of them stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from tchat.chat.editor import edit_text, is_edited_on_disk
from tchat.temporary_files import SHARED_MEMORY, anonymous_file, memory_folder, temporary_folder

EDITOR = """#!/bin/sh
echo "$1" > {told}
stat -c '%a %a' "$1" >> {told}
echo after > "$1"
"""
KILLED = """
import os, sys
from pathlib import Path
from tchat.temporary_files import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "words").write_text("before")
    os.kill(os.getpid(), 9)
"""


def test_the_runtime_folder_is_not_taken_where_it_lies_on_a_disk(tmp_path: Path) -> None:
    found = memory_folder(0, {"XDG_RUNTIME_DIR": "/proc"})
    assert found in (None, Path(SHARED_MEMORY))
    assert memory_folder(1 << 60, {}) is None


def test_a_text_is_edited_in_memory_and_nothing_stays(tmp_path: Path) -> None:
    told, editor = tmp_path / "told", tmp_path / "editor"
    editor.write_text(EDITOR.format(told=told), encoding="utf-8")
    editor.chmod(0o700)
    environ = {"EDITOR": str(editor)}
    assert edit_text("before", environ) == "after"
    name, modes = told.read_text(encoding="utf-8").splitlines()
    assert modes == "600 600"
    assert not Path(name).parent.exists()
    if not is_edited_on_disk(environ):
        assert Path(name).is_relative_to(SHARED_MEMORY)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    [left] = tmp_path.iterdir()
    assert (left / "words").exists()
    living = tmp_path / f"tchat-{os.getpid()}-other"
    foreign = tmp_path / "tchat-notes"
    living.mkdir()
    foreign.mkdir()
    with temporary_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {*tmp_path.iterdir()} == {folder, living, foreign}
    assert {*tmp_path.iterdir()} == {living, foreign}


def test_a_file_without_a_name_is_read_by_a_child() -> None:
    with anonymous_file() as file:
        file.write(b"words")
        file.seek(0)
        ran = subprocess.run(["cat"], stdin=file, capture_output=True, check=True)
    assert ran.stdout == b"words"
