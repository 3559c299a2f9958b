"""Where a prompt comes from: standard input by its dash, folders, and texts that begin with one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tchat.chat import attachments
from tchat.engine.events import Event
from tests.cli.shell import FakeChat, Shell, finished, tchat


def write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


# The dash


@pytest.mark.parametrize("args", [["-", "say"], ["say", "-"], ["--", "-", "say"]])
def test_a_dash_stands_for_standard_input(shell: Shell, args: list[str]) -> None:
    assert shell(*args, stdin=b"hello\n").out == "hello\n\nsay\n"


def test_a_dash_between_words_is_a_word(shell: Shell) -> None:
    assert shell("5", "-", "3", stdin=b"").out == "5 - 3\n"


def test_a_dash_reads_a_terminal_up_to_its_end(shell: Shell) -> None:
    ran = shell("-", "say", stdin=b"typed\nlines\n", terminal=True)
    assert ran.out == "typed\nlines\n\nsay\n"
    assert "Ctrl+D" in ran.err


def test_a_dash_among_files_is_read_in_its_place(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "A")
    write(tmp_path / "b.txt", "B")
    a, b = str(tmp_path / "a.txt"), str(tmp_path / "b.txt")
    ran = shell("-f", a, "-f", "-", "-f", b, "-f", "-", "go", stdin=b"piped")
    assert ran.out.replace(f"{tmp_path}/", "") == (
        "File a.txt:\n```\nA\n```\n\npiped\n\nFile b.txt:\n```\nB\n```\n\ngo\n"
    )


@pytest.mark.parametrize("text", ["- eggs\n- milk", "- ", "-\teggs", "-- so they said", "--- \nx"])
def test_text_that_begins_with_dashes_is_a_prompt(shell: Shell, text: str) -> None:
    ran = shell(text + "!", stdin=b"")
    assert (ran.code, ran.out) == (0, text + "!\n")
    assert shell("-n", text + "!", "--temp", "0", stdin=b"").out == text + "!\n"


def test_text_that_begins_with_a_dash_may_be_the_value_of_a_flag(shell: Shell) -> None:
    assert shell("-s", "- be terse", "hi").code == 0
    assert shell.chats[-1].settings.system == "- be terse"


@pytest.mark.parametrize("flag", ["--tmep", "-y", "-", "--=x y"])
def test_other_words_with_dashes_are_flags(shell: Shell, flag: str) -> None:
    assert shell("hi", flag, "0.5").code == (0 if flag == "-" else 2)


# Folders


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of a git repository, with what git ignores and what is no text."""
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".gitignore", "*.log\n/src/build/\n")
    src = tmp_path / "src"
    write(src / "b.py", "b = 2\n")
    write(src / "a.py", "a = 1\n")
    write(src / "empty.py", "")
    write(src / "wide.txt", "größer".encode("utf-16"))
    write(src / "picture.png", b"\x89PNG\0\0")
    write(src / "noise.log", "ignored at the root")
    write(src / "build" / "made.py", "ignored too")
    write(src / "sub" / ".gitignore", "!kept.log\n")
    write(src / "sub" / "kept.log", "kept")
    write(src / "sub" / "noise.log", "ignored")
    write(src / ".hidden" / "x.txt", "hidden")
    write(src / "node_modules" / "x.js", "generated")
    (src / "link").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "elsewhere" / "secret.txt", "not below the folder")
    (src / "link.txt").symlink_to(tmp_path / "elsewhere" / "secret.txt")
    os.mkfifo(src / "pipe")
    return src


def names(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("File ")]
    return [line.split("src/")[1].rstrip(":") for line in lines]


def test_a_folder_brings_the_text_files_that_git_does_not_ignore(
    shell: Shell, project: Path
) -> None:
    ran = shell("-f", str(project), "what is missing?")
    assert names(ran.out) == ["a.py", "b.py", "wide.txt", "sub/kept.log"]
    assert "größer" in ran.out
    assert ran.err == (
        f"tchat: {project}: 4 files, 24 B, about 10 tokens; 1 binary file left out\n"
    )
    assert shell("-q", "-f", str(project), "what is missing?").err == ""


def test_a_file_of_a_folder_named_before_comes_once(shell: Shell, project: Path) -> None:
    ran = shell("-f", str(project / "b.py"), "-f", str(project), "go")
    assert names(ran.out) == ["b.py", "a.py", "wide.txt", "sub/kept.log"]


def test_a_folder_without_text_is_refused(shell: Shell, tmp_path: Path) -> None:
    write(tmp_path / "folder" / "x.bin", b"\0")
    ran = shell("-f", str(tmp_path / "folder"), "go")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no text file in" in ran.err


def test_a_folder_that_is_too_large_is_refused_with_its_sizes(
    shell: Shell, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tchat.chat.folder_files.MAX_SIZE", 30)
    write(project / "large.txt", "x" * 2000)
    ran = shell("-f", str(project), "go")
    assert ran.code == 2
    assert "have 2.0 kB, more than any context window holds" in ran.err
    assert "large.txt 2.0 kB" in ran.err
    monkeypatch.setattr("tchat.chat.folder_files.MAX_PATHS", 2)
    assert "more than 2 files" in shell("-f", str(project), "go").err


def test_what_exceeds_the_context_is_told_with_the_largest_files(
    tiny_home: Path, project: Path
) -> None:
    write(project / "large.txt", "word " * 3000)
    ran = tchat("-n", "--ctx-size", "256", "-f", str(project), "go")
    assert ran.code == 4
    assert f"the largest: {project}/large.txt 15 kB" in ran.err
    assert "and 2 more" in ran.err


def test_the_sizes_of_attached_files_are_read_from_a_prompt() -> None:
    files = [attachments.Attachment("a", "x"), attachments.Attachment("b", "y" * 50)]
    sizes = attachments.attachment_sizes(attachments.with_attachments("why?", files))
    assert [name for _, name in sizes] == ["a", "b"]
    assert sizes[1][0] > sizes[0][0] > 0


# Labels and stop sequences


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        (["--choose", "red, green"], "red, green"),
        (["--choose", "red, dark", "--choose", "green"], "red, dark; green"),
        (["--choose", '["red, dark", "green"]'], "red, dark; green"),
        (["--choose", "[red,green]"], "[red, green]"),
    ],
)
def test_labels_may_hold_commas(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, flags: list[str], asked: str
) -> None:
    shell.probabilities = (("red", 1.0),)
    prompts: list[str] = []

    def choose(_: FakeChat, prompt: str, labels: Sequence[str]) -> Iterator[Event]:
        prompts.append(prompt)
        yield finished(labels[0])

    monkeypatch.setattr(FakeChat, "choose", choose)
    assert shell(*flags, "colour?").code == 0
    assert prompts == [f"colour?\n\nAnswer with one of: {asked}."]


@pytest.mark.parametrize("value", ["[1, 2]", '["a", 2]'])
def test_labels_that_are_no_texts_are_refused(shell: Shell, value: str) -> None:
    ran = shell("--choose", value, "hi")
    assert (ran.code, "--choose takes labels" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("typed", "stops"),
    [
        (r"\n", ("\n",)),
        (r"a\tb", ("a\tb",)),
        (r"\\n", ("\\n",)),
        (r"\d\\", ("\\d\\",)),
        ("[/INST]\\n", ("[/INST]\n",)),
        (r'["\n", "\\n"]', ("\n", "\\n")),
    ],
)
def test_stop_sequences_have_escapes(shell: Shell, typed: str, stops: tuple[str, ...]) -> None:
    for flags in (["--stop", typed], ["-o", "stop", typed]):
        assert shell(*flags, "hi").code == 0
        assert shell.chats[-1].settings.sampling.stop == stops


def test_a_stop_sequence_of_the_environment_has_escapes(shell: Shell) -> None:
    shell.environ["TCHAT_STOP"] = r"\n\n"
    assert shell("hi").code == 0
    assert shell.chats[-1].settings.sampling.stop == ("\n\n",)


def test_paths_and_other_lists_have_none(shell: Shell) -> None:
    assert shell("--logit-bias", r"\n=-5", "hi").code == 0
    assert shell.chats[-1].settings.sampling.logit_bias == (r"\n=-5",)
