"""The lock of the chat on a real terminal: the screen, and the chat on lines."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.paths import user_paths
from tchat.sessions.records import Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import tchat
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.terminal import Terminal

COMMAND = (sys.executable, "-m", "tchat")
PLAIN = (*COMMAND, "--plain", "--no-stream")
WORD = "walrus"
QUESTION = "Passphrase or recovery key"
CTRL_D, CTRL_Q, F8, LOCK = "\x04", "\x11", "\x1b[19~", "\x1bl"


@pytest.fixture
def encryption(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Encryption:
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))
    monkeypatch.setenv("TCHAT_MAX_TOKENS", "8")
    return make_lock(user_paths())


def unlock(terminal: Terminal) -> None:
    terminal.send(f"{PASSPHRASE}\r")
    terminal.until(lambda: "F1" in terminal.text and QUESTION not in terminal.text)


def ask(terminal: Terminal, prompt: str) -> None:
    """Send a prompt in the screen, and wait for the end of the reply."""
    before = terminal.text.count("maximum length")
    terminal.send(f"{prompt}\r")
    terminal.until(lambda: terminal.text.count("maximum length") > before)
    terminal.until("F1")


def stored(encryption: Encryption) -> list[str]:
    """The texts of all messages, once the program has ended."""
    with SessionStore(user_paths().sessions_db, encryption) as store:
        found = [each for session in store.sessions() for each in store.walk(session.id)]
    assert all(each.status is Status.DONE for each in found)
    return [each.text for each in found]


@pytest.mark.parametrize("size", [(80, 24), (60, 20)])
def test_the_screen_hides_a_chat_and_shows_it_again(
    encryption: Encryption, size: tuple[int, int]
) -> None:
    with Terminal(COMMAND, size) as terminal:
        terminal.until(QUESTION)
        terminal.send("a wrong one\r")
        terminal.until("The passphrase is wrong.")
        unlock(terminal)
        ask(terminal, f"{WORD} one")
        terminal.send(f"a draft about a {WORD}")
        terminal.until(f"a draft about a {WORD}")
        terminal.send(LOCK)
        terminal.until(lambda: "is locked." in terminal.text and WORD not in terminal.text)
        terminal.until(lambda: terminal.titles == ["tchat"])
        seen = len(terminal.written)
        time.sleep(0.5)
        terminal.read(0.1)
        assert WORD.encode() not in terminal.written[seen:]
        terminal.send(f"{PASSPHRASE}\r")
        terminal.until(f"a draft about a {WORD}")
        assert f"{WORD} one" in terminal.text
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
    assert stored(encryption)[0] == f"{WORD} one"


def test_a_killed_locked_chat_has_lost_nothing(encryption: Encryption) -> None:
    with Terminal(COMMAND) as terminal:
        terminal.until(QUESTION)
        unlock(terminal)
        ask(terminal, f"{WORD} two")
        terminal.send(LOCK)
        terminal.until("The chat is locked.")
        os.kill(terminal.pid, signal.SIGKILL)
        assert terminal.ended() == 128 + signal.SIGKILL
    assert stored(encryption)[0] == f"{WORD} two"


def test_a_locked_store_can_be_left_alone(encryption: Encryption) -> None:
    with Terminal(COMMAND) as terminal:
        terminal.until(QUESTION)
        terminal.send(F8)
        terminal.until("PRIVATE")
        ask(terminal, f"{WORD} three")
        assert "locked" not in terminal.text
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
    assert not user_paths().sessions_db.exists()


def test_a_command_gives_the_passphrase_to_the_screen(
    encryption: Encryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo '{PASSPHRASE}'")
    with Terminal(COMMAND) as terminal:
        terminal.until("F1")
        assert QUESTION not in terminal.text
        terminal.send(LOCK)
        terminal.until("The chat is locked.")
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
    assert b"Your chats are encrypted" not in terminal.written


def test_the_chat_on_lines_clears_the_terminal_and_asks(encryption: Encryption) -> None:
    with Terminal(PLAIN) as terminal:
        terminal.until(QUESTION)
        terminal.send(f"{PASSPHRASE}\r")
        terminal.until("You:")
        terminal.send(f"{WORD} four\r")
        terminal.until(lambda: terminal.text.count("You:") == 2)
        terminal.send("/lock\r")
        terminal.until("Passphrase:")
        assert WORD not in terminal.text
        assert b"\x1b[3J" in terminal.written  # what was scrolled out
        terminal.send("a wrong one\r")
        terminal.until("the passphrase is wrong")
        terminal.send(f"{PASSPHRASE}\r")
        terminal.until("You:")
        terminal.send(f"{WORD} five\r")
        terminal.until(lambda: terminal.text.count("You:") == 2)
        terminal.send("/lock\r")
        terminal.until(lambda: terminal.text.count("Passphrase:") == 1)
        terminal.send(CTRL_D)
        assert terminal.ended() == 0
        assert "not saved" not in terminal.text
    assert [each for each in stored(encryption) if WORD in each] == [f"{WORD} four", f"{WORD} five"]


def test_the_lines_typed_before_the_lock_are_there_in_the_next_chat(
    encryption: Encryption,
) -> None:
    for sent, shown in ((f"{WORD} six\r", ""), ("\x1b[A\x1b[A", f"{WORD} six")):
        with Terminal(PLAIN) as terminal:
            terminal.until(QUESTION)
            terminal.send(f"{PASSPHRASE}\r")
            terminal.until("You:")
            terminal.send(sent)
            if shown:
                terminal.until(f"You: {shown}")
                return
            terminal.until(lambda: terminal.text.count("You:") == 2)
            terminal.send("/lock\r")
            terminal.until("Passphrase:")
            terminal.send(CTRL_D)
            assert terminal.ended() == 0


def test_a_chat_in_clear_is_not_locked_on_lines(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))
    with Terminal(PLAIN) as terminal:
        terminal.until("You:")
        terminal.send("/lock\r")
        terminal.until("`tchat lock on` encrypts them")
        terminal.send(CTRL_D)
        assert terminal.ended() == 0


def test_the_doctor_looks_at_a_locked_store_without_asking(encryption: Encryption) -> None:
    ran = tchat("doctor", start_new_session=True)
    assert "lock\tok\tstore\tencrypted" in ran.out
    assert "lock\tok\tscreen\tlocked by hand only" in ran.out
    assert "sessions\tok\tdatabase\tnot looked into: it is locked" in ran.out
    assert "Passphrase" not in ran.err
    minutes = tchat("doctor", start_new_session=True, env={"TCHAT_LOCK_AFTER": "10"})
    assert "locks itself after 10 minutes" in minutes.out
