"""The chat on plain lines: as a script feeds it, and on a real terminal."""

from __future__ import annotations

import io
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.sanitize import printable
from tchat.sessions.records import Role, Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import LONG_REPLY, Shell


def chat(shell: Shell, *lines: str, flags: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """What a chat of these lines prints on standard output and on standard error."""
    ran = shell("--plain", *flags, stdin="".join(f"{line}\n" for line in lines).encode())
    assert ran.code == 0
    return ran.out.splitlines(), ran.err.splitlines()


def questions(home: Path) -> list[list[str]]:
    """What the user said in each session, the oldest session first."""
    with SessionStore(home / "sessions.db") as store:
        return [
            [message.text for message in store.branch(session.id) if message.role is Role.USER]
            for session in reversed(store.sessions())
        ]


def test_each_line_is_a_prompt_of_one_session(shell: Shell, home: Path) -> None:
    out, err = chat(shell, "one", "", "  ", "two")
    assert out == ["one", "two"]
    assert err == []
    assert questions(home) == [["one", "two"]]


def test_three_quotes_hold_several_lines(shell: Shell, home: Path) -> None:
    chat(shell, '"""one', "", 'two"""', '"""three"""', '"""', "four", '"""')
    assert questions(home) == [["one\n\ntwo", "three", "four"]]


def test_an_open_quote_ends_with_the_input(shell: Shell, home: Path) -> None:
    chat(shell, '"""one', "two")
    assert questions(home) == [["one\ntwo"]]


def test_two_slashes_begin_a_text(shell: Shell, home: Path) -> None:
    chat(shell, "//etc/passwd is a path")
    assert questions(home) == [["/etc/passwd is a path"]]


@pytest.mark.parametrize(
    "text", ["/usr/bin/x is what?", "/etc/passwd", "/tmp/a b/c", "// is a comment"]
)
def test_a_path_is_text(shell: Shell, home: Path, text: str) -> None:
    _, err = chat(shell, text)
    assert questions(home) == [[text.replace("//", "/", 1)]]
    assert err == []


@pytest.mark.parametrize("text", ["/usr/bin/x is\nwhat?", "/quit", "/new\nis a command", "//x"])
def test_three_quotes_never_hold_a_command(shell: Shell, home: Path, text: str) -> None:
    _, err = chat(shell, *f'"""{text}"""'.split("\n"), "more")
    assert questions(home) == [[text, "more"]]
    assert err == []


def test_what_takes_no_argument_says_so(shell: Shell, home: Path) -> None:
    _, err = chat(shell, "one", "/new something", "two")
    assert "/new takes no argument" in err[0]
    assert questions(home) == [["one", "two"]]


def test_an_unknown_command_is_told_and_the_chat_goes_on(shell: Shell, home: Path) -> None:
    out, err = chat(shell, "/regn", "hello")
    assert out == ["hello"]
    assert "did you mean `/regen`" in err[0]


def test_new_begins_another_session(shell: Shell, home: Path) -> None:
    chat(shell, "one", "/new", "two")
    assert questions(home) == [["one"], ["two"]]


def test_quit_ends_the_chat(shell: Shell) -> None:
    for word in ("/quit", "/exit", "/bye"):
        assert chat(shell, word, "never")[0] == []


def test_replies_can_be_made_again_continued_and_edited(shell: Shell) -> None:
    out, err = chat(shell, "one", "/regen", "/continue", "/edit two", "/edit")
    assert out[1:3] == ["again", "continued"]
    assert out[3].startswith("edited")
    assert "needs the new text" in err[-1]


def test_settings_change_for_this_chat_only(shell: Shell, home: Path) -> None:
    _, err = chat(shell, "/set temp 0.25", "/show temp", "/set temp hot", "/set", "/think off")
    assert err[0] == "temp = 0.25"
    assert "must be a number" in err[1]
    assert "needs a name and a value" in err[2]
    assert shell.chats[-1].settings.think == "off"
    assert not (home / "config.toml").exists()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of the models that were loaded."""
    from tchat.engine.model import Model

    found: list[Path] = []
    load = Model.__init__

    def counted(model: Model, path: Path, *args: Any, **options: Any) -> None:
        found.append(path)
        load(model, path, *args, **options)

    monkeypatch.setattr(Model, "__init__", counted)
    return found


TWO_TOKENS = (
    *("--max-tokens", "2", "--seed", "1"),
    *("--logit-bias", "<|im_end|>=-100", "--logit-bias", "<|endoftext|>=-100"),
)


def real_chat(*lines: str, flags: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """The same with the tiny model, which writes two tokens."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    code = program(["--plain", "-q", *TWO_TOKENS, *flags], Console(stdin, out, err, os.environ))
    assert code == 0
    return out.getvalue().splitlines(), err.getvalue().splitlines()


LIVE = (
    "/new",
    "/private",
    "/private\n/private",
    "/system be brief",
    "/set system be very brief",
    "/set markdown never",
    "/set temp 0.2",
    "/set ranker logprob",
    "/set show_reasoning on",
    "/think off",
    "/open",
    "/model TINY",
)


@pytest.mark.parametrize("line", LIVE)
def test_the_model_stays_loaded(tiny_home: Path, loads: list[Path], line: str) -> None:
    out, err = real_chat("time", line.replace("TINY", os.environ["TCHAT_MODEL"]), "people")
    assert not [said for said in err if said.startswith("tchat:")]
    assert len(out) == 2
    assert len(loads) == 1


def test_what_the_model_is_loaded_by_loads_it_anew(tiny_home: Path, loads: list[Path]) -> None:
    real_chat("time", "/set ctx_size 256", "people")
    assert len(loads) == 2


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/model nope", "nope"),
        ("/model /etc/hostname", "hostname"),
        ("/set draft_model nope", "nope"),
        ("/set lora nope.gguf", "nope.gguf"),
        ("/set tensor_split x", "must be numbers like 3,1"),
        ("/set grammar nonsense", "grammar"),
        ('/set grammar root ::= "a"{5,2}', "a repetition from 5 to 2"),
        ("/set temp hot", "must be a number"),
        ("/set markdown perhaps", "must be one of"),
    ],
)
def test_a_refused_value_is_not_kept(
    tiny_home: Path, loads: list[Path], line: str, told: str
) -> None:
    name = "model" if line.startswith("/model") else line.split()[1]
    out, err = real_chat("time", f"/show {name}", line, f"/show {name}", "/set top_k 5", "people")
    assert [said for said in err if told in said and said.startswith("tchat: ")]
    assert [said for said in err if said.startswith(f"{name} = ")] == [err[0]] * 2
    assert not [said for said in err if said.startswith("Model:")]
    assert (len(out), len(loads)) == (2, 1)


def test_a_stored_grammar_is_checked_before_the_model_sees_it(tiny_home: Path) -> None:
    real_chat("time", "/set temp 0.25")
    with SessionStore(tiny_home / "sessions.db") as store:
        session = store.sessions()[0]
        store.update(session.id, settings={"grammar": 'root ::= "a"{5,2}'})
    _, err = real_chat("people", flags=("-c",))
    assert [line for line in err if "a repetition from 5 to 2" in line]


def test_a_session_keeps_its_settings_when_another_is_set(tiny_home: Path) -> None:
    real_chat("time", "/set temp 0.25")
    with SessionStore(tiny_home / "sessions.db") as store:
        session = store.sessions()[0]
        store.update(session.id, settings={"top_k": 7})
    _, err = real_chat("/set temp 0.5", "/show top_k", "/show temp", flags=("-c",))
    assert err == ["top_k = 7", "temp = 0.5"]


def test_a_sampling_setting_keeps_the_model_and_a_model_opens_another(shell: Shell) -> None:
    chat(shell, "one", "/set temp 0.25", "/model other", "two")
    assert [each.settings.model for each in shell.chats] == ["starter", "other"]
    assert shell.chats[0].settings.sampling.temp == 0.25
    assert shell.chats[1].session == shell.chats[0].session


def test_the_system_prompt_is_set_and_shown(shell: Shell, home: Path) -> None:
    _, err = chat(shell, "one", "/system be \x1b brief", "/system", "two")
    assert err[-1] == "be ␛ brief"
    with SessionStore(home / "sessions.db") as store:
        assert store.sessions()[0].system == "be \x1b brief"


def test_a_file_goes_with_the_next_message(shell: Shell, home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("content", encoding="utf-8")
    chat(shell, f"/file {tmp_path}/a.txt", "what is it?", "and this?", "/file absent.txt")
    first, second = questions(home)[0]
    assert "content" in first
    assert first.endswith("\n\nwhat is it?")
    assert second == "and this?"


def test_the_encoding_of_lines_and_files_is_found_told_or_set(
    shell: Shell, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße aus München".encode("latin-1"))
    lines = [
        f"/file {tmp_path}/a.txt".encode(),
        "schöne Grüße".encode("latin-1"),
        b"/set encoding cp1251",
        "Да".encode("cp1251"),
        b"/set encoding wat",
    ]
    ran = shell("--plain", stdin=b"\n".join(lines))
    assert "Grüße aus München" in questions(home)[0][0]
    assert questions(home)[0][0].endswith("schöne Grüße")
    assert questions(home)[0][1] == "Да"
    assert f"{tmp_path}/a.txt is not UTF-8: read as Windows-1252" in ran.err
    assert "the line is not UTF-8: read as Windows-1252" in ran.err
    assert "there is no encoding `wat` (/set)" in ran.err


def test_titles_sessions_and_statistics_are_told(shell: Shell, home: Path) -> None:
    _, err = chat(shell, "/title", "one", "/title A\ttitle", "/title", "/sessions", "/stats")
    assert "this session has no message yet" in err[0]
    assert err[1] == err[2] == "A title"
    assert err[3].endswith("A title")
    assert err[4] == "/open N opens one."
    assert err[5].startswith("1 reply; ")


def test_another_session_can_be_opened(shell: Shell, home: Path) -> None:
    chat(shell, "one")
    chat(shell, "two", "/open nonesuch", "/new", "/open", "three")
    assert questions(home) == [["one"], ["two", "three"]]


def test_a_session_is_exported_once(shell: Shell, tmp_path: Path) -> None:
    target = tmp_path / "chat.md"
    _, err = chat(shell, "one", f"/export {target}", f"/export {target}")
    assert "## User\n\none" in target.read_text(encoding="utf-8")
    assert "is already there" in err[1]


def test_help_names_every_command(shell: Shell) -> None:
    from tchat.chat.commands import Surface, commands_for

    _, err = chat(shell, "/help")
    for command in commands_for(Surface.LINES):
        assert f"/{command.name}" in " ".join(err).split()


def test_help_explains_a_command_and_a_group(shell: Shell) -> None:
    assert chat(shell, "/help tree")[1] == [
        "/branches [N], /tree [N]",
        "List the branches, or switch to one.",
    ]
    _, group = chat(shell, "/help sessions")
    assert "/open [N|ID]  Open another session by its number, id or title" in group
    assert chat(shell, "/help sesions")[1] == [
        "tchat: there is no command /sesions; did you mean `sessions`?"
    ]


def test_c_goes_on_with_the_last_session(shell: Shell, home: Path) -> None:
    chat(shell, "one")
    chat(shell, "two", flags=("-c",))
    assert questions(home) == [["one", "two"]]


def test_an_unfinished_reply_is_told_when_its_session_goes_on(shell: Shell, home: Path) -> None:
    chat(shell, "one")
    with SessionStore(home / "sessions.db") as store:
        question = store.branch(store.sessions()[0].id)[0]
        stopped = store.add(
            question.session_id,
            Role.ASSISTANT,
            "half",
            parent_id=question.id,
            status=Status.STREAMING,
        )
        store.finish(stopped.id, status=Status.STOPPED, text="half")
    out, err = chat(shell, "/continue", flags=("-c",))
    assert err == ["The last reply was stopped; /continue resumes it."]
    assert out == ["continued"]


def test_binary_lines_are_refused_and_the_chat_goes_on(shell: Shell, home: Path) -> None:
    ran = shell("--plain", stdin=b"\x00\x01\x02\nhello\n")
    assert ran.code == 0
    assert "binary" in ran.err
    assert questions(home) == [["hello"]]


@pytest.fixture
def terminal(endless_home: Path) -> Iterator[pexpect.spawn]:
    """A chat of the tiny model on a real terminal, ready for the first message."""
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tchat", *LONG_REPLY[1:]],
        env={**os.environ, "TERM": "dumb"},
        encoding="utf-8",
        codec_errors="replace",
        timeout=20,
    )
    child.expect("You: ")
    yield child
    child.close(force=True)


def interrupt(terminal: pexpect.spawn) -> None:
    """Press Ctrl+C once the prompt waits for a key.

    CPython's readline loop notices a signal while it waits, not just before.
    """
    status, end = Path(f"/proc/{terminal.pid}/stat"), time.monotonic() + 20
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < end
        time.sleep(0.01)
    terminal.sendintr()


def test_ctrl_c_stops_the_reply_and_the_chat_goes_on(
    terminal: pexpect.spawn, tiny_home: Path
) -> None:
    terminal.sendline("write")
    terminal.expect("write\r\n.{20}")
    terminal.sendintr()
    terminal.expect("You: ")
    terminal.sendline("/set max_tokens 3")
    terminal.expect("You: ")
    terminal.sendline("more")
    terminal.expect("You: ")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    with SessionStore(tiny_home / "sessions.db") as store:
        statuses = [message.status for message in store.branch(store.sessions()[0].id)]
    assert statuses == [Status.DONE, Status.STOPPED, Status.DONE, Status.DONE]


def test_a_private_session_is_left_only_when_the_user_agrees(
    terminal: pexpect.spawn, tiny_home: Path
) -> None:
    for line in ("/set max_tokens 2", "one", "/private", "/set max_tokens 2", "secret"):
        terminal.sendline(line)
        terminal.expect("You: ")
    for line in ("/open", "/new", "/private", "/quit"):
        terminal.sendline(line)
        terminal.expect(r"\[y/N\] ")
        terminal.sendline("n")
        terminal.expect("nothing was changed")
        terminal.expect("You: ")
    terminal.sendline("still secret")
    terminal.expect("You: ")
    terminal.sendline("/open")
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("y")
    terminal.expect("Sessions are stored again.")
    terminal.expect("You: one")
    terminal.expect("\r\nYou: ")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    with SessionStore(tiny_home / "sessions.db") as store:
        [session] = store.sessions()
        asked = [each.text for each in store.branch(session.id) if each.role == "user"]
    assert asked == ["one"]


@pytest.mark.parametrize("command", ["/try 2", "/best 2"])
def test_the_reply_that_stays_when_candidates_are_stopped_is_told(
    terminal: pexpect.spawn, tiny_home: Path, command: str
) -> None:
    for line in ("/set max_tokens 2", "one", "/set max_tokens 30000"):
        terminal.sendline(line)
        terminal.expect("You: ")
    terminal.sendline(command)
    written = "SELECT count(*) FROM messages WHERE status = 'streaming' AND length(text) > 9"
    while not sqlite3.connect(tiny_home / "sessions.db").execute(written).fetchone()[0]:
        time.sleep(0.05)
    terminal.sendintr()
    terminal.expect("Continuing with the reply from before")
    terminal.expect("You: ")
    terminal.sendline("/pick 2")
    terminal.expect("Continuing with reply 2.")


def test_ctrl_c_twice_at_the_prompt_ends_the_chat(terminal: pexpect.spawn) -> None:
    terminal.send("half a line")
    terminal.expect("half a line")
    interrupt(terminal)
    terminal.expect("Ctrl.C again.*You: ")
    interrupt(terminal)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize("lines", [['"""first'], ['"""first', "second", ""], ['"""']])
@pytest.mark.parametrize("half", ["", "half a line"])
def test_ctrl_c_discards_a_message_of_several_lines(
    terminal: pexpect.spawn, tiny_home: Path, lines: list[str], half: str
) -> None:
    for line in lines:
        terminal.sendline(line)
        terminal.expect("More: ")
    terminal.send(half)
    terminal.expect_exact(half)
    interrupt(terminal)
    terminal.expect_exact("The message is discarded.")
    terminal.expect("You: ")
    terminal.sendline("/set max_tokens 3")
    terminal.expect("You: ")
    terminal.sendline("more")
    terminal.expect("You: ")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert questions(tiny_home) == [["more"]]


@pytest.mark.parametrize("stderr", ["", "2> err"])
def test_a_file_for_the_output_holds_the_replies_alone(
    tiny_home: Path, tmp_path: Path, stderr: str
) -> None:
    command = f"exec {sys.executable} -m tchat --max-tokens 3 > out {stderr}"
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", command],
        cwd=str(tmp_path),
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
        encoding="utf-8",
        timeout=20,
    )
    child.expect("You: ")
    child.sendline('"""time')
    child.expect("More: ")
    child.sendline('people"""')
    child.expect("You: ")
    child.sendline("/version")
    child.expect("You: ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    with SessionStore(tiny_home / "sessions.db") as store:
        question, reply = store.branch(store.sessions()[0].id)
    assert question.text == "time\npeople"
    shown = printable(reply.text)  # a tiny model may write controls
    assert (tmp_path / "out").read_text() == shown.removesuffix("\n") + "\n"


def test_a_file_for_standard_error_gets_no_screen(tiny_home: Path, tmp_path: Path) -> None:
    child = pexpect.spawn(
        "/bin/sh",
        ["-c", f"exec {sys.executable} -m tchat 2> err"],
        cwd=str(tmp_path),
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
        encoding="utf-8",
        timeout=20,
    )
    child.expect("You: ")
    child.sendeof()
    child.expect(pexpect.EOF)
    assert (tmp_path / "err").read_text() == ""


def test_a_private_chat_writes_no_history(tiny_home: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tchat", "--plain", "-n", "--max-tokens", "3"],
        env={**os.environ, "TERM": "dumb"},
        encoding="utf-8",
        timeout=20,
    )
    child.expect("You: ")
    child.sendline("my secret")
    child.expect("my secret.*You: ")
    child.sendeof()
    child.expect(pexpect.EOF)
    assert not (tiny_home / "history").exists()


def test_lines_are_remembered_privately(terminal: pexpect.spawn, tiny_home: Path) -> None:
    terminal.sendline("/version")
    terminal.expect("tchat [0-9.]+\r\nYou: ")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    history = tiny_home / "history"
    assert "/version" in history.read_text(encoding="utf-8")
    assert history.stat().st_mode & 0o077 == 0
