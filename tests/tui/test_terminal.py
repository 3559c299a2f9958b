"""The chat screen on a real terminal, with the starter model, and how it leaves."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.sessions.records import Message, Status
from tchat.sessions.store import SessionStore
from tests.terminal import Terminal

COMMAND = (sys.executable, "-m", "tchat")
PROMPT = "Message · / commands"
ESCAPE, CTRL_G, CTRL_Q = "\x1b", "\x07", "\x11"
ALTERNATE, CURSOR = 1049, 25
EDITOR = """sh -c 'echo in the editor; read -r go; echo written elsewhere > "$0"'"""
AS_FOUND = {7, CURSOR}  # lines wrap, the cursor is seen, and nothing else is on


@pytest.fixture(scope="module")
def verdicts(starter_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``models.db`` that knows the starter model, so that not every test probes it again."""
    home = tmp_path_factory.mktemp("verdicts")
    environ = {**os.environ, "TCHAT_HOME": str(home), "TCHAT_MODEL": str(starter_model)}
    with Terminal(COMMAND, environ=environ) as terminal:
        terminal.until("/8k")
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
    return home / "cache" / "models.db"


@pytest.fixture
def starter_home(
    home: Path, verdicts: Path, starter_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home whose default model is the starter, which answers without an end."""
    monkeypatch.setenv("TCHAT_MODEL", str(starter_model))
    monkeypatch.setenv("TCHAT_LOGIT_BIAS", '["<|im_end|>=-100", "<|endoftext|>=-100"]')
    monkeypatch.setenv("TCHAT_LOOP_GUARD", "off")  # which would end it
    monkeypatch.setenv("TCHAT_SEED", "1")
    monkeypatch.setenv("VISUAL", EDITOR)
    (home / "cache").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    shutil.copy(verdicts, home / "cache" / "models.db")
    return home


@pytest.fixture
def writing(starter_home: Path) -> Iterator[Terminal]:
    """The screen while a reply is being written."""
    with Terminal(COMMAND) as terminal:
        terminal.until(PROMPT)
        terminal.send("Tell me a long story.\r")
        terminal.until("tok/s")
        yield terminal


def first_row(terminal: Terminal) -> str:
    """The first row of the reply with more than five words, below the question and the role."""
    asked = terminal.lines.index("▌ Tell me a long story.")
    rows = terminal.lines[asked + 1 : asked + 5]
    return next((row for row in rows if len(row.split()) > 5), "")


def branch(home: Path) -> list[Message]:
    with SessionStore(home / "sessions.db") as store:
        session = store.latest()
        return store.branch(session.id) if session else []


def test_a_chat_from_the_first_picture_to_the_shell(writing: Terminal, starter_home: Path) -> None:
    assert ALTERNATE in writing.modes
    writing.until(lambda: bool(first_row(writing)))
    writing.send(ESCAPE)
    writing.until("F1 help")
    writing.until("stopped")
    seen = " ".join(first_row(writing).split()[:5])
    writing.send(CTRL_Q)
    assert writing.ended() == 0
    assert writing.modes == AS_FOUND
    assert writing.keyboards == 0
    assert writing.titles == []
    assert b"Resume: tchat -c" in writing.written.rpartition(b"\x1b[?1049l")[2]  # on the shell's
    question, reply = branch(starter_home)
    assert question.text == "Tell me a long story."
    assert reply.status is Status.STOPPED
    assert seen in " ".join(reply.text.split())


def test_replies_side_by_side_and_the_one_that_is_taken(starter_home: Path) -> None:
    with Terminal(COMMAND) as terminal:
        terminal.until(PROMPT)
        terminal.send("/try 2 Tell me a long story.\r")
        terminal.until(lambda: "❯ 1 ●" in terminal.text and "2 ●" in terminal.text)
        terminal.send(ESCAPE)
        terminal.until(lambda: "❯ 1 ■" in terminal.text and "2 ■" in terminal.text)
        terminal.send("\x1b[C")  # to the right
        terminal.until("❯ 2 ■")
        terminal.send("\r")
        terminal.until("‹ 2/2 ›")
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
        _, taken = branch(starter_home)
        assert taken.text.split()[0] in terminal.text


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_restores_the_terminal_and_keeps_the_reply(
    writing: Terminal, starter_home: Path, name: str, code: int
) -> None:
    writing.signal(getattr(signal, name))
    assert writing.ended() == code
    assert writing.modes == AS_FOUND
    assert writing.keyboards == 0
    reply = branch(starter_home)[-1]
    assert reply.status is Status.STOPPED
    assert reply.text


def test_it_ends_when_the_terminal_is_closed(writing: Terminal, starter_home: Path) -> None:
    writing.hang_up()
    assert writing.ended() == 128 + signal.SIGHUP
    assert branch(starter_home)[-1].status is Status.STOPPED


def test_it_ends_with_its_terminal_also_under_nohup(starter_home: Path) -> None:
    with Terminal(COMMAND, deaf=True) as terminal:
        terminal.until(PROMPT)
        terminal.send("Tell me a long story.\r")
        terminal.until("tok/s")
        terminal.signal(signal.SIGHUP)
        terminal.send(" and more")
        terminal.until("and more")
        terminal.hang_up()
        assert terminal.ended() == 0
    assert branch(starter_home)[-1].status is Status.STOPPED


def test_a_reply_that_was_killed_is_there_again_and_goes_on(
    writing: Terminal, starter_home: Path
) -> None:
    writing.until(lambda: len(branch(starter_home)[-1].text) > 20)
    writing.signal(signal.SIGKILL)
    assert writing.ended() == 128 + signal.SIGKILL
    kept = branch(starter_home)[-1].text
    with Terminal((*COMMAND, "-c")) as terminal:
        terminal.until("interrupted")
        assert all(word in terminal.text for word in kept.split()[:4])
        assert "continue" in terminal.text
        terminal.until("/8k")  # the model is loaded
        terminal.send("/continue\r")
        terminal.until("tok/s")
        terminal.send(ESCAPE)
        terminal.until("F1 help")
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
    reply = branch(starter_home)[-1]
    assert reply.text.startswith(kept)
    assert len(reply.text) > len(kept)


def test_it_is_put_aside_and_comes_back(writing: Terminal) -> None:
    writing.signal(signal.SIGTSTP)
    writing.until(lambda: is_stopped(writing.pid))
    while writing.read(0.1):
        pass
    assert writing.modes == AS_FOUND
    go_on(writing)
    writing.send(ESCAPE)
    writing.until("F1 help")


SUSPENDED_IN_A_WRITE = f"""
import os, queue, runpy, signal
from textual.drivers import _writer_thread

class Queue(queue.Queue):
    suspended = False

    def _put(self, item):  # called with the lock held
        super()._put(item)
        if not Queue.suspended and "{PROMPT}" in (item or ""):
            Queue.suspended = True
            os.kill(os.getpid(), signal.SIGTSTP)

_writer_thread.Queue = Queue
runpy.run_module("tchat", run_name="__main__")
"""


@pytest.mark.usefixtures("home")
def test_it_is_put_aside_in_the_middle_of_a_write() -> None:
    with Terminal((sys.executable, "-c", SUSPENDED_IN_A_WRITE)) as terminal:
        terminal.until(lambda: is_stopped(terminal.pid))
        while terminal.read(0.1):
            pass
        assert terminal.modes == AS_FOUND
        go_on(terminal)
        terminal.send("still here")
        terminal.until("still here")
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0


@pytest.mark.parametrize("is_stopped_first", [True, False])
def test_it_goes_on_without_having_been_put_aside(
    writing: Terminal, is_stopped_first: bool
) -> None:
    if is_stopped_first:
        writing.signal(signal.SIGSTOP)
        writing.until(lambda: is_stopped(writing.pid))
    go_on(writing)
    writing.send(ESCAPE)
    writing.until("F1 help")
    writing.send("each key once")
    writing.until("│ each key once ")
    writing.send(CTRL_Q)
    assert writing.ended() == 0
    assert writing.modes == AS_FOUND
    assert writing.keyboards == 0


@pytest.mark.usefixtures("home")
def test_the_keys_of_a_shell_act_as_a_terminal_sends_them() -> None:
    with Terminal(COMMAND) as terminal:
        terminal.until(PROMPT)
        terminal.send("one two\x17\x19\x19\x1b\rthree")  # Ctrl+W, Ctrl+Y twice, Alt+Enter
        terminal.until(lambda: "│ one twotwo " in terminal.text and "│ three " in terminal.text)
        terminal.send("\x1b\x7f\x1b/")  # Alt+Backspace, and a redo of nothing
        terminal.until(lambda: "│ three " not in terminal.text)
        terminal.send("\x1f")  # Ctrl+_
        terminal.until("│ three ")
        terminal.send("\x15\x15\x15")  # Ctrl+U
        terminal.until(PROMPT)
        terminal.send("\x18t")  # the leader key
        terminal.until("tchat-light")
        terminal.send(ESCAPE)
        terminal.until(lambda: "tchat-light" not in terminal.text)
        terminal.send("\x04")  # Ctrl+D
        assert terminal.ended() == 0


def go_on(terminal: Terminal) -> None:
    """Continue the program, and wait until its whole picture is there again."""
    while terminal.read():
        pass
    before = len(terminal.written)
    terminal.signal(signal.SIGCONT)
    terminal.until(
        lambda: ALTERNATE in terminal.modes and PROMPT.encode() in terminal.written[before:]
    )


def test_a_draft_is_edited_elsewhere_while_a_reply_is_written(
    writing: Terminal, starter_home: Path
) -> None:
    writing.send(CTRL_G)
    writing.until(lambda: ALTERNATE not in writing.modes)
    writing.until("in the editor")
    length = len(branch(starter_home)[-1].text)
    writing.until(lambda: len(branch(starter_home)[-1].text) > length)  # and drawn in vain
    writing.send("\r")
    writing.until(lambda: ALTERNATE in writing.modes and "written elsewhere" in writing.text)
    writing.send(ESCAPE)
    writing.until("F1 help")
    writing.send(CTRL_Q)
    assert writing.ended() == 0


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_what_is_typed_before_the_first_picture_is_in_the_prompt(seconds: float) -> None:
    with Terminal(COMMAND) as terminal:
        terminal.read(seconds)
        terminal.send("erly\x1b[D\x1b[D\x1b[Da")
        terminal.until(lambda: ALTERNATE in terminal.modes and "│ early" in terminal.text)
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0


def test_a_storm_of_sizes_ends_in_a_whole_picture(writing: Terminal) -> None:
    for step in range(30):
        writing.resize((60 + 7 * (step % 9), 16 + 5 * (step % 7)))
        writing.read(0.01)
    writing.resize((90, 24))
    writing.send(ESCAPE)
    writing.until("F1 help")
    writing.until(lambda: writing.lines[-2].startswith("╰") and writing.lines[-2].endswith("╯"))
    assert len(writing.lines[-2]) == 90
    writing.send("still here")
    writing.until("still here")


def is_stopped(pid: int) -> bool:
    """Whether the process rests after SIGSTOP."""
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"
