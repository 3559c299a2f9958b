"""The command on a real terminal: signals while it loads, reads, writes and waits."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pexpect
import pytest

from tchat.sanitize import printable
from tchat.sessions.records import Message, Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, LONG_REPLY, tchat
from tests.tiny import CHATML, write_tiny

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
NOISE = ("Traceback", "Exception", "terminate called", "core dumped", "Aborted", "Fatal")


class Terminal:
    """A command on a pseudo-terminal of its own."""

    def __init__(self, command: str, *args: str, **env: str) -> None:
        self.child = pexpect.spawn(
            command,
            list(args),
            env={**os.environ, "TERM": "xterm", **env},
            encoding="utf-8",
            codec_errors="replace",
            timeout=90,
        )
        self.modes = termios.tcgetattr(self.child.child_fd)
        self.shown = ""

    def until(self, pattern: str) -> None:
        self.child.expect(pattern)
        self.shown += self.child.before + self.child.after

    def press(self, keys: str) -> None:
        self.child.send(keys)

    def signal(self, number: int) -> None:
        self.child.kill(number)

    def end(self) -> int:
        """Wait for the end and return the exit code; -n when signal n killed it."""
        self.child.expect(pexpect.EOF)
        self.shown += self.child.before
        assert termios.tcgetattr(self.child.child_fd) == self.modes
        self.child.close()
        assert not [word for word in NOISE if word in self.shown]
        if self.child.signalstatus is not None:
            return -int(self.child.signalstatus)
        return int(self.child.exitstatus)


class Open(Protocol):
    def __call__(self, *args: str, **env: str) -> Terminal: ...


@pytest.fixture
def open_terminal() -> Iterator[Open]:
    """Begins ``tchat`` on a terminal; what still runs at the end is killed."""
    opened: list[Terminal] = []

    def begin(*args: str, **env: str) -> Terminal:
        opened.append(Terminal(COMMAND[0], *COMMAND[1:], *args, **env))
        return opened[-1]

    yield begin
    for terminal in opened:
        terminal.child.close(force=True)


def messages(home: Path) -> list[Message]:
    with SessionStore(home / "sessions.db") as store:
        session = store.latest()
        return store.branch(session.id) if session else []


@pytest.fixture(scope="module")
def starter_verdict(starter_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``models.db`` that knows the starter model."""
    folder = tmp_path_factory.mktemp("starter")
    env = {"TCHAT_HOME": str(folder), "TCHAT_MODEL": "starter"}
    assert tchat("-n", "--max-tokens", "1", "hi", env=env).code == 0
    return folder / "cache" / "models.db"


@pytest.fixture
def starter_home(home: Path, starter_verdict: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that knows the starter model, which takes long enough to be interrupted."""
    # A batch of a second is interrupted as well as the usual one of four.
    monkeypatch.setenv("TCHAT_BATCH_SIZE", "128")
    (home / "cache").mkdir(parents=True, mode=0o700)
    shutil.copy(starter_verdict, home / "cache" / "models.db")
    return home


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


# One prompt


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_writing_is_stopped_and_kept(
    number: int, code: int, open_terminal: Open, endless_home: Path
) -> None:
    terminal = open_terminal("--markdown", "never", *LONG_REPLY)
    while [len(each.text) > 20 for each in messages(endless_home)[1:]] != [True]:
        terminal.until(".{40}")
    terminal.signal(number)
    assert terminal.end() == code
    question, reply = messages(endless_home)
    assert question.status is Status.DONE
    assert reply.status is Status.STOPPED
    assert len(reply.text) > 20
    # What was printed is what was stored, to the last letter.
    printed = "".join(printable(reply.text).split())
    assert "".join(terminal.shown.split()).endswith(printed[-20:])


def test_ctrl_c_while_loading_stores_the_question(open_terminal: Open, starter_home: Path) -> None:
    terminal = open_terminal("Why is the sky blue?")
    terminal.until("loading")
    terminal.press("\x03")
    assert terminal.end() == 130
    assert messages(starter_home)[0].text == "Why is the sky blue?"


def test_ctrl_c_while_a_new_file_is_checked_ends_the_check(
    open_terminal: Open, home: Path, tmp_path: Path
) -> None:
    model = write_tiny(tmp_path / "new.gguf", template=ENDLESS)
    terminal = open_terminal("-m", str(model), "hi")
    terminal.until("checking once that it loads safely")
    terminal.press("\x03")
    assert terminal.end() == 130
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _names(path, str(model))]
    assert running == []


def _names(cmdline: Path, model: str) -> bool:
    try:
        return model.encode() in cmdline.read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return False


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_reading_is_stopped_and_the_question_kept(
    number: int, code: int, open_terminal: Open, starter_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text("The keeper counts the ships. " * 700, encoding="utf-8")
    terminal = open_terminal("-f", str(tmp_path / "long.txt"), "What does he count?")
    terminal.until("reading [1-9]")
    terminal.signal(number)
    assert terminal.end() == code
    (question,) = messages(starter_home)
    assert question.text.endswith("What does he count?")


def test_two_at_once_end_reading_as_well(
    open_terminal: Open, starter_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "long.txt").write_text("The keeper counts the ships. " * 700, encoding="utf-8")
    for _ in range(2):
        terminal = open_terminal("-n", "-f", str(tmp_path / "long.txt"), "What does he count?")
        terminal.until("reading [1-9]")
        terminal.press("\x03\x03")
        assert terminal.end() == 130


@pytest.fixture
def later_endless(tmp_path: Path) -> Path:
    """A model that passes its check and then never answers to a text with "forever" in it."""
    begin = "{% if 'forever' in messages[-1]['content'] %}"
    return write_tiny(tmp_path / "later.gguf", template=f"{begin}{ENDLESS}{{% endif %}}{CHATML}")


def test_ctrl_c_ends_a_template_that_never_ends(
    open_terminal: Open, home: Path, later_endless: Path
) -> None:
    assert tchat("-m", str(later_endless), "-n", "hi", "--max-tokens", "1").code == 0
    terminal = open_terminal("-m", str(later_endless), "run forever")
    terminal.until("loading")
    terminal.press("\x03")
    assert terminal.end() == 130
    assert messages(home)[0].text == "run forever"


def test_a_prompt_that_ends_well_leaves_only_itself(open_terminal: Open, tiny_home: Path) -> None:
    terminal = open_terminal("hi", "--max-tokens", "4", NO_COLOR="1")
    assert terminal.end() == 0
    # The status was drawn over itself, and the last of it erased.
    last = terminal.shown.rpartition("\r\x1b[K")[2]
    assert last.strip()
    assert "\x1b" not in last


def test_head_ends_a_long_answer_silently(endless_home: Path) -> None:
    quoted = shlex.join([*COMMAND, *LONG_REPLY])
    script = f"{quoted} | head -c 5; code=${{PIPESTATUS[0]}}; echo; echo code $code"
    terminal = Terminal("bash", "-c", script)
    assert terminal.end() == 0
    assert terminal.shown.rstrip().endswith("code 141")
    assert messages(endless_home)[-1].status is Status.STOPPED


# The chat on plain lines


@pytest.fixture
def plain(open_terminal: Open, endless_home: Path) -> Terminal:
    terminal = open_terminal("--plain", *LONG_REPLY[1:])
    terminal.until("You: ")
    return terminal


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_history_that_is_no_file_is_told_once_and_the_chat_goes_on(
    open_terminal: Open, tiny_home: Path, make: Callable[[Path], None]
) -> None:
    make(tiny_home / "history")
    terminal = open_terminal("--plain", "--max-tokens", "2")
    terminal.until(r"Ctrl\+D")
    terminal.press("/version\r")
    terminal.until("tchat [0-9]")
    terminal.press("\x04")
    assert terminal.end() == 0
    assert terminal.shown.count("typed lines are not saved") == 1
    assert "history is not a file" in " ".join(terminal.shown.split())


def test_a_home_that_is_replaced_by_a_file_is_told_as_what_it_is(
    open_terminal: Open, tiny_home: Path
) -> None:
    terminal = open_terminal("--plain", "--max-tokens", "2")
    terminal.until(r"Ctrl\+D")
    terminal.press("/version\r")
    terminal.until("tchat [0-9]")
    tiny_home.rename(tiny_home.with_name("gone"))
    tiny_home.write_bytes(b"")
    terminal.press("\x04")
    assert terminal.end() == 0
    assert "the output" not in terminal.shown
    assert terminal.shown.count("typed lines are not saved") == 1
    assert "cannot make the folder" in terminal.shown


def test_ctrl_d_ends_the_chat(plain: Terminal) -> None:
    plain.press("\x04")
    assert plain.end() == 0


@pytest.mark.parametrize(("number", "code"), SIGNALS[1:])
def test_a_signal_at_the_prompt_gives_the_terminal_back(
    number: int, code: int, plain: Terminal, tiny_home: Path
) -> None:
    plain.press("/version\r")
    plain.until("tchat [0-9.]+\r\n")
    plain.until("You: ")
    plain.signal(number)
    assert plain.end() == code
    assert "/version" in (tiny_home / "history").read_text(encoding="utf-8")


@pytest.mark.parametrize(("number", "code"), SIGNALS[1:])
def test_a_signal_while_writing_ends_the_chat_and_keeps_the_reply(
    number: int, code: int, plain: Terminal, tiny_home: Path
) -> None:
    plain.press("write\r")
    plain.until(r"Assistant:\s+\S")
    plain.signal(number)
    assert plain.end() == code
    reply = messages(tiny_home)[-1]
    assert reply.status is Status.STOPPED
    assert reply.text


def test_ctrl_c_ends_a_template_that_never_ends_and_the_chat_goes_on(
    open_terminal: Open, home: Path, later_endless: Path
) -> None:
    terminal = open_terminal("--plain", "-m", str(later_endless), "--max-tokens", "2")
    terminal.until("You: ")
    terminal.press("hello\r")
    terminal.until("You: ")
    terminal.press("run forever\r")
    terminal.until("run forever\r\n")
    terminal.press("\x03")
    terminal.until("You: ")
    terminal.press("/bye\r")
    assert terminal.end() == 0
    assert [message.text for message in messages(home)][-1] == "run forever"


def test_the_line_chat_names_who_speaks_and_draws_nothing(
    open_terminal: Open, tiny_home: Path
) -> None:
    terminal = open_terminal("--accessible", "--max-tokens", "2")
    terminal.until("You: ")
    terminal.press("/try 2 hello\r")
    terminal.until("Reply 2 of 2:")
    terminal.until("You: ")
    terminal.press("/regen\r")
    terminal.until(r"Assistant:\s+\S")
    terminal.until("You: ")
    terminal.press("\x04")
    assert terminal.end() == 0
    assert "\x1b[K" not in terminal.shown  # no line is drawn again
    assert "\x1b[2m" not in terminal.shown  # no colours
    assert not set("│━╌") & set(terminal.shown)


@pytest.mark.parametrize(("during", "after"), [("/versio", "n\r"), ("/version\r", "")])
def test_text_typed_during_a_reply_is_read_by_the_next_prompt(
    plain: Terminal, during: str, after: str
) -> None:
    plain.press("write\r")
    plain.until(r"Assistant:\s+\S")
    plain.press(during)
    plain.until("[^/]{40}")
    plain.press("\x03")
    plain.until(r"\r\nStopped\.\r\n")
    reply = plain.shown.partition("Assistant:")[2]
    assert "/versio" not in reply
    assert "^C" not in reply
    plain.until("You: ")
    plain.press(after)
    plain.until(r"/version\r\ntchat [0-9.]+\r\n")
    plain.until("You: ")
    plain.press("\x04")
    assert plain.end() == 0


def test_ctrl_d_during_a_reply_ends_the_chat_behind_it(
    open_terminal: Open, tiny_home: Path
) -> None:
    terminal = open_terminal("--accessible", "--max-tokens", "40", "--ctx-size", "4096")
    terminal.until("You: ")
    terminal.press("write\r")
    terminal.until("write\r\n")
    terminal.press("\x04")
    terminal.until("Resume: tchat -c")
    assert terminal.end() == 0
    assert messages(tiny_home)[-1].status is Status.DONE


def test_ctrl_d_asks_before_a_private_chat_is_left(open_terminal: Open, tiny_home: Path) -> None:
    terminal = open_terminal("--plain", "--max-tokens", "2")
    terminal.until("You: ")
    terminal.press("/private\r")
    terminal.until("nothing of this session is stored")
    terminal.until("You: ")
    terminal.press("hello\r")
    terminal.until("Assistant:")
    terminal.until("You: ")
    terminal.press("\x04")
    terminal.until(r"lose them\? \[y/N\] ")
    terminal.press("n\r")
    terminal.until("nothing was changed")
    terminal.until("You: ")
    terminal.press("\x04")
    terminal.until(r"lose them\? \[y/N\] ")
    terminal.press("y\r")
    assert terminal.end() == 0
