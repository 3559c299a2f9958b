"""Files in front of a prompt, and taken apart again to be shown."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.chat.attachments import Attachment, check_file, split_attachments, with_attachments
from tchat.chat.branch import title_for, title_for_parts
from tchat.errors import UsageError

NAMES = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12)
TEXTS = st.text("a`\n #", max_size=40)


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=3), st.sampled_from(["", "why?", "a\n\nb"]))
def test_what_was_put_in_front_is_told_from_the_prompt(
    files: list[tuple[str, str]], prompt: str
) -> None:
    whole = with_attachments(prompt, [Attachment(*file) for file in files])
    assert split_attachments(whole) == ([name for name, _ in files], prompt)


def test_a_prompt_that_only_speaks_of_a_file_is_left_alone() -> None:
    for prompt in (
        "File a.txt: what is it?",
        "File a.txt:\n```\nno end",
        "See File a:\n```\nx\n```",
    ):
        assert split_attachments(prompt) == ([], prompt)


@pytest.mark.parametrize(
    ("files", "prompt", "title"),
    [
        ([("notes.md", "# Notes")], "why is it so?", "why is it so?"),
        ([("a.md", "x"), ("b.md", "```\ny")], "\n# compare\nthem", "compare"),
        ([("a.md", "x"), ("b.md", "y")], "", "a.md, b.md"),
        ([("a.md", "x")], "?!", "a.md"),
        ([], "File a.md: what is it?", "File a.md: what is it?"),
        ([], "?!", "?!"),
    ],
)
def test_a_session_is_called_by_the_words_of_its_first_prompt(
    files: list[tuple[str, str]], prompt: str, title: str
) -> None:
    whole = with_attachments(prompt, [Attachment(*file) for file in files])
    assert title_for(whole) == title


@pytest.mark.parametrize(
    ("question", "before", "title"),
    [
        ("name and age?", ["Ann is 31\nand tall"], "name and age? · Ann is 31"),
        ("sum up", [str(Attachment("a.md", "x")), str(Attachment("b.md", "y"))], None),
        ("", ["Ann is 31"], "Ann is 31"),
        ("q" * 80, ["Ann"], "q" * 59 + "…"),
        ("q" * 40, ["a " * 40], "q" * 40 + " · a a a a a a a a…"),
    ],
)
def test_one_question_about_many_texts_makes_titles_that_differ(
    question: str, before: list[str], title: str | None
) -> None:
    whole = "\n\n".join([*before, question] if question else before)
    assert title_for_parts(question, whole) == (title or "sum up · a.md, b.md")


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.mkdir, "x is a folder"),
        (os.mkfifo, "x is not a file but a pipe"),
        (socket_at, "x is not a file but a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "x is not a file but a device"),
        (lambda path: path.symlink_to(path), "there is no file `x`"),
        (lambda _: None, "there is no file `x`"),
    ],
)
def test_what_is_no_file_is_named(
    make: Callable[[Path], object],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x"))
    with pytest.raises(UsageError, match=told):
        check_file(Path("x"))


@pytest.mark.parametrize("name", ["n" * 300, "n" * 10_000, "a\0b", "there/is/none"])
def test_a_name_that_no_file_can_have_is_missing(name: str) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        check_file(Path(name))
