"""Bad and hostile model files through ``ls``, ``show``, ``check`` and a prompt."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tests.cli.shell import Ran, Shell
from tests.models.hostile import DAMAGED, NOT_GGUF, UNFIT
from tests.models.model_folders import chat_model

UNREADABLE = NOT_GGUF | DAMAGED
ALL = UNREADABLE | UNFIT


def asked(path: Path, home: Path) -> Ran:
    """A prompt to the model at ``path``, with nothing in the place of the chat."""
    console = Console(io.BytesIO(), io.StringIO(), io.StringIO(), {"TCHAT_HOME": str(home)})
    code = program(["-m", str(path), "hi"], console)
    assert isinstance(console.stdout, io.StringIO)
    assert isinstance(console.stderr, io.StringIO)
    return Ran(code, console.stdout.getvalue(), console.stderr.getvalue())


def require_one_line(ran: Ran, words: str) -> None:
    assert ran.code == 3
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.rstrip("\n").isprintable()
    assert words in ran.err


def test_there_are_more_than_sixty() -> None:
    assert len(ALL) > 60


def test_each_is_listed_on_one_line_with_its_reason(shell: Shell, tmp_path: Path) -> None:
    for name, (data, _) in ALL.items():
        chat_model(tmp_path / "files", name, data)
    for name, make in SPECIAL.items():
        make(tmp_path / "files" / f"{name}.gguf")
    assert shell("models", "add", str(tmp_path / "files")).code == 0
    for _ in range(2):  # from the files, then from what was remembered
        ran = shell("models", "ls")
        listed = {line.split("\t")[0]: line.split("\t")[-1] for line in ran.out.splitlines()}
        assert set(listed) == {"starter", *ALL, *SPECIAL}
        assert all(words in listed[name] for name, (_, words) in ALL.items())
    assert len(json.loads(shell("models", "ls", "--json").out)) == len(listed)
    assert shell("models", "dupes").code == 0
    assert shell("models", "du").code == 0


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_one_line(
    shell: Shell, home: Path, tmp_path: Path, name: str
) -> None:
    data, words = UNREADABLE[name]
    path = chat_model(tmp_path, name, data)
    require_one_line(shell("models", "show", str(path)), words)
    require_one_line(asked(path, home), words)
    ran = shell("models", "check", str(path))
    assert (ran.code, ran.err, ran.out.count("\n")) == (3, "", 1)
    assert words in ran.out


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_chat_is_shown_and_refused(
    shell: Shell, home: Path, tmp_path: Path, name: str
) -> None:
    data, words = UNFIT[name]
    path = chat_model(tmp_path, name, data)
    assert shell("models", "show", str(path)).code == 0
    json.loads(shell("models", "show", "--json", str(path)).out)
    require_one_line(asked(path, home), words)
    ran = shell("models", "check", str(path))
    assert ran.code == 3
    assert words in ran.out.splitlines()[-1]


SPECIAL: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "link-to-nothing": lambda path: path.symlink_to("nothing"),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}
