"""The language of help, errors and listings: ``--lang``, ``TCHAT_LANG``, and the setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tchat.cli.app import EXAMPLES
from tchat.cli.cells import cell_width
from tchat.cli.commands import COMMANDS
from tchat.translation import LANGUAGES
from tests.cli.shell import Ran, Shell, tchat

ENGLISH = re.compile(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}")


@pytest.mark.parametrize(
    "args",
    [["--lang", "zh", "--help"], ["--help", "--lang=zh"], ["--lang", "en", "--lang", "zh", "-h"]],
)
def test_the_flag_holds_for_every_call(
    shell: Shell, marked: None, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    assert shell(*args).code == 0
    printed = capsys.readouterr().out
    for text in ("Usage:", "Options", "Commands", "Check this installation"):
        assert f"「{text}」" in printed


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_of_each_command_is_translated(
    shell: Shell, marked: None, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for subcommand in COMMANDS[name][2] or ("",):
        shell(name, *filter(None, [subcommand]), "--help", "--lang", "zh")
        printed = capsys.readouterr().out
        outside = re.sub("「[^」]*」", "", printed.partition("\n")[2])  # without "Usage: tchat …"
        assert not ENGLISH.findall(outside), outside
        assert all(cell_width(line) <= 100 for line in printed.splitlines()), printed


@pytest.mark.parametrize("lang", LANGUAGES)
def test_each_example_of_the_help_is_on_a_line_of_its_own(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, lang: str
) -> None:
    for name in ("TCHAT_LANG", "LANGUAGE"):
        monkeypatch.setenv(name, "")  # restored afterwards
    assert shell("--help", "--lang", lang).code == 0
    lines = capsys.readouterr().out.splitlines()
    examples = [line[2:] for line in lines if line.startswith(("    tchat ", "    git "))]
    assert examples == EXAMPLES.splitlines()[1:]
    assert not [line for line in lines if "\b" in line]


@pytest.mark.parametrize(
    "args",
    [
        ("config", "set", "temp", "hot"),
        ("config", "set", "encoding", "klingon"),
        ("config", "get", "tempp"),
        ("models", "rm", "nope"),
        ("models", "pull", "no such name"),
        ("sessions", "show", "nope"),
        ("--yes-no", "--choose", "a,b", "hi"),
    ],
    ids=" ".join,
)
def test_an_error_is_one_text_with_its_hint(
    shell: Shell, marked: None, args: tuple[str, ...]
) -> None:
    ran = shell(*args, "--lang", "zh")
    assert ran.code
    told, inner = ran.err.removeprefix("tchat: 「").removesuffix("」\n"), 1
    assert f"tchat: 「{told}」\n" == ran.err
    while inner:  # texts in its placeholders
        told, inner = re.subn("「[^「」]*」", "", told)
    assert not set("「」") & set(told), "several texts are glued"


def test_the_flag_is_no_part_of_a_prompt(shell: Shell) -> None:
    assert shell("--lang", "en", "say", "hi").out == "say hi\n"
    assert shell("say", "hi", "--lang=en").out == "say hi\n"


def test_the_flag_wins_over_the_environment_and_that_over_the_setting(
    shell: Shell,
    marked: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def heading(*args: str) -> str:
        assert shell("--help", *args).code == 0
        return str(re.findall("\n(.*Commands.*):", capsys.readouterr().out)[0])

    shell("config", "set", "lang", "zh")
    assert heading() == "「Commands」"
    monkeypatch.setenv("TCHAT_LANG", "en")
    assert heading() == "Commands"
    assert heading("--lang", "zh") == "「Commands」"


def test_an_unknown_language_is_one_line(tiny_home: Path) -> None:
    told = "tchat: there is no language `xx` (--lang); choose one of auto, en, zh\n"
    assert tchat("hi", "--lang", "xx") == Ran(2, "", told)
    assert tchat("models", "ls", env={"TCHAT_LANG": "xx"}) == Ran(
        2, "", told.replace("--lang", "TCHAT_LANG")
    )
    assert "option '--lang' requires an argument" in tchat("hi", "--lang").err
