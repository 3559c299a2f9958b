"""``tchat help TOPIC``: pages of the manual."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tchat import manual
from tests.cli.shell import tchat
from tests.terminal import Terminal

COMMAND = (sys.executable, "-m", "tchat", "help")


@pytest.mark.parametrize("topic", manual.TOPICS)
def test_a_pipe_gets_the_page_as_markdown(home: Path, topic: str) -> None:
    ran = tchat("help", topic)
    assert (ran.code, ran.out, ran.err) == (0, manual.page(topic), "")


def test_a_terminal_gets_a_short_page_at_once(home: Path) -> None:
    with Terminal([*COMMAND, "privacy"], size=(90, 240)) as terminal:
        assert terminal.ended() == 0
        assert "no telemetry" in terminal.text
        assert "**" not in terminal.text
        assert "|---|" not in terminal.text


def test_a_terminal_gets_a_long_page_through_the_pager(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", f"tee {tmp_path / 'paged'}")
    with Terminal([*COMMAND, "commands"], size=(90, 24)) as terminal:
        assert terminal.ended() == 0
    assert "tchat models pull" in (tmp_path / "paged").read_text(encoding="utf-8")


def test_a_screen_reader_gets_plain_text(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TCHAT_ACCESSIBLE", "1")
    monkeypatch.setenv("PAGER", "false")
    with Terminal([*COMMAND, "start"], size=(90, 24)) as terminal:
        assert terminal.ended() == 0
        assert b"\x1b" not in terminal.written
        assert b"First steps" in terminal.written


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("gpu", "install"),
        ("setings", "settings"),
        ("sessoins", "sessions"),
        ("telemetry", "privacy"),
        ("encryption", "lock"),
        ("passphrase", "lock"),
        ("wipe", "privacy"),
        ("redaction", "privacy"),
    ],
)
def test_another_word_names_the_page_that_has_it(home: Path, words: str, page: str) -> None:
    ran = tchat("help", words)
    assert ran.code == 2
    assert f"did you mean `tchat help {page}`?" in ran.err


def test_a_command_without_a_page_shows_its_help(home: Path) -> None:
    assert tchat("help", "doctor").out.startswith("Usage: tchat doctor")
    assert tchat("help", "models", "pull").out.startswith("Usage: tchat models pull")


def test_the_help_lists_the_topics(home: Path) -> None:
    told = " ".join(tchat("help").out.split())
    assert f"Topics: {', '.join(manual.TOPICS)}." in told


def test_sections_are_found_by_all_of_their_words() -> None:
    found = [(each.topic, each.heading) for each in manual.find_sections("Resumable SHA-256")]
    assert found == [("models", "Downloads")]
    assert list(manual.find_sections("zebra")) == []
    assert {each.topic for each in manual.find_sections(" ")} == set(manual.TOPICS)


@pytest.mark.parametrize("topic", manual.TOPICS)
def test_the_sections_of_a_page_are_the_page(topic: str) -> None:
    texts = [each.text for each in manual.sections() if each.topic == topic]
    assert "".join("".join(texts).split()) == "".join(manual.page(topic).split())
