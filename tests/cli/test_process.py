"""The command as a process, with a real model: pipes, locales, signals, and what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.sanitize import printable
from tchat.sessions.records import Message, Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, CUT_OFF, LONG_REPLY, tchat


def branch(home: Path) -> list[Message]:
    with SessionStore(home / "sessions.db") as store:
        session = store.latest()
        return store.branch(session.id) if session else []


@contextlib.contextmanager
def running(*args: str) -> Iterator[subprocess.Popen[bytes]]:
    """A call that has begun to answer."""
    process = subprocess.Popen(
        [*COMMAND, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # else `communicate` loses what `read` took too much of
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_prompt_is_answered_and_stored(tiny_home: Path) -> None:
    ran = tchat("hello", "--max-tokens", "8", "--seed", "3")
    assert ran.code == 0
    assert ran.err == CUT_OFF
    question, reply = branch(tiny_home)
    assert question.text == "hello"
    assert reply.status is Status.DONE
    assert ran.out.rstrip("\n") == printable(reply.text).rstrip("\n")


def test_turns_that_left_the_context_are_told_unless_quiet(tiny_home: Path) -> None:
    flags = ("--ctx-size", "256", "--max-tokens", "2", "-o", "prompt_lookup", "off")
    assert tchat("one", *flags, stdin=b"blue " * 120).code == 0
    ran = tchat("-c", "two", *flags, stdin=b"blue " * 120)
    assert "is full: the oldest turn" in ran.err
    assert ran.err.endswith(CUT_OFF)
    quiet = tchat("-c", "-q", "three", *flags, stdin=b"blue " * 120)
    assert (quiet.code, quiet.err) == (0, "")


def test_the_same_seed_gives_the_same_answer(tiny_home: Path) -> None:
    first, second = (tchat("-n", "hi", "--max-tokens", "9", "--seed", "5") for _ in range(2))
    assert first.out == second.out
    assert first.code == second.code == 0


def test_json_is_one_object_with_the_model_and_the_seed(tiny_home: Path) -> None:
    ran = tchat("--json", "hi", "--max-tokens", "4", "--seed", "11")
    value = json.loads(ran.out)
    assert value["seed"] == 11
    assert value["model"] == "tiny.gguf"
    assert value["usage"]["completion"] <= 4
    assert value["finish_reason"] in ("length", "stop")


def test_c_reads_the_whole_conversation(tiny_home: Path) -> None:
    tchat("one", "--max-tokens", "3")
    value = json.loads(tchat("-c", "two", "--max-tokens", "3", "--json").out)
    assert value["usage"]["prompt"] > 10
    assert [message.role for message in branch(tiny_home)] == ["user", "assistant"] * 2


def test_everything_is_private_whatever_the_umask(tiny_home: Path) -> None:
    assert tchat("hi", "--max-tokens", "2", umask=0).code == 0
    for path in [tiny_home, *tiny_home.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_the_locale_does_not_matter_to_a_pipe(tiny_home: Path, locale: str) -> None:
    env = {"LC_ALL": locale, "LANG": locale}
    ran = tchat("grüße 🙂", "--max-tokens", "4", stdin="ü".encode(), env=env)
    assert ran.code == 0
    assert branch(tiny_home)[0].text == "ü\n\ngrüße 🙂"


def test_bytes_that_are_no_text_in_an_argument_do_no_harm(tiny_home: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, b"gr\xfcn", "--max-tokens", "2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0
    assert branch(tiny_home)[0].text == "grün"  # read as Windows-1252, and said


def test_a_closed_pipe_ends_the_answer_silently(endless_home: Path) -> None:
    with running(*LONG_REPLY) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5)
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read() == b""
    assert branch(endless_home)[-1].status is Status.STOPPED


def test_a_full_disk_under_the_answer_is_told_and_the_answer_is_stored(tiny_home: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*COMMAND, "hi", "--max-tokens", "4"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert ended.returncode == 6
    assert ended.stderr.count(b"\n") == 1
    assert b"No space left" in ended.stderr
    assert len(branch(tiny_home)) == 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_the_answer_and_keeps_it(endless_home: Path, number: int, code: int) -> None:
    with running(*LONG_REPLY) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        begin = process.stdout.read(3)
        process.send_signal(number)
        rest, told = process.communicate(timeout=20)
    assert process.returncode == code
    assert told == b""
    reply = branch(endless_home)[-1]
    assert reply.status is Status.STOPPED
    assert (begin + rest).decode().rstrip("\n") == printable(reply.text).rstrip("\n")


def test_a_killed_answer_is_interrupted_and_can_be_continued(
    endless_home: Path,
) -> None:
    with running(*LONG_REPLY) as process:
        assert process.stdout is not None
        process.stdout.read(40)
        time.sleep(0.5)
        process.kill()
        process.wait(20)
    kept = branch(endless_home)[-1]
    assert kept.status is Status.INTERRUPTED
    assert kept.text
    ran = tchat("-c", "--max-tokens", "3")
    assert ran.code == 0
    assert branch(endless_home)[-1].text.startswith(kept.text)


def test_without_standard_streams_nothing_breaks(tiny_home: Path) -> None:
    quoted = " ".join(f"'{word}'" for word in COMMAND)
    written = "--logit-bias '<|im_end|>=-100' --logit-bias '<|endoftext|>=-100'"  # not nothing
    script = f"{quoted} hi --max-tokens 2 {written} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], check=False, timeout=60).returncode == 6
    assert len(branch(tiny_home)) == 2


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ("hi --max-tokens 2", 6),
        ("hi --max-tokens 2 --json --no-stream", 6),
        ("hi --max-tokens 2 --markdown always", 6),
        ("map hi --max-tokens 2", 6),
        ("sessions ls --json", 6),
        ("map hi --max-tokens 2 -q -o out.jsonl", 0),
        ("--version", 0),
    ],
)
def test_an_answer_to_a_closed_standard_output_is_a_failure(
    tiny_home: Path, tmp_path: Path, args: str, code: int
) -> None:
    quoted = " ".join(f"'{word}'" for word in COMMAND)
    script = f"echo a | {quoted} {args} >&-"
    ran = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, check=False, timeout=60, text=True
    )
    assert ran.returncode == code
    assert ran.stderr.count("standard output is closed") == (code == 6)
    assert "unexpected" not in ran.stderr


@pytest.mark.parametrize(
    ("model", "code", "told"),
    [
        ("nonesuch", 3, "nonesuch"),
        ("/nonexistent/model.gguf", 3, "/nonexistent/model.gguf"),
        ("/dev/null", 3, "null"),
        ("/", 3, "/"),
        ("", 3, "model"),
    ],
)
def test_a_missing_model_is_one_line_and_exit_code_3(
    home: Path, model: str, code: int, told: str
) -> None:
    ran = tchat("-m", model, "hi")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.count("\n") == 1
    assert told in ran.err


def test_a_pipe_as_a_model_does_not_hang(home: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    ran = tchat("-m", str(tmp_path / "model.gguf"), "hi")
    assert ran.code == 3
    assert ran.err.count("\n") == 1


def test_a_prompt_larger_than_the_context_is_exit_code_4_with_both_numbers(
    tiny_home: Path,
) -> None:
    ran = tchat("--ctx-size", "256", stdin=b"the sky is blue " * 500)
    assert ran.code == 4
    assert ran.err.count("\n") == 1
    assert "256" in ran.err
    with SessionStore(tiny_home / "sessions.db") as store:
        assert store.sessions() == []


def test_a_damaged_configuration_is_told_and_kept(tiny_home: Path) -> None:
    (tiny_home / "config.toml").write_text("model = [\n", encoding="utf-8")
    ran = tchat("hi")
    assert ran.code == 2
    assert "config.toml, line 1" in ran.err
    assert (tiny_home / "config.toml").read_text(encoding="utf-8") == "model = [\n"


def test_a_home_that_cannot_be_made_is_exit_code_6(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    env = {"TCHAT_HOME": str(tmp_path / "file" / "home"), "TCHAT_MODEL": str(tiny_model)}
    ran = tchat("hi", env=env)
    assert ran.code == 6
    assert ran.err.count("\n") == 1
    assert "TCHAT_HOME" in ran.err


def test_choosing_tells_each_labels_probability(tiny_home: Path) -> None:
    value = json.loads(tchat("--json", "--choose", "red,green,blue", "colour?").out)
    assert value["reply"] in ("red", "green", "blue")
    assert sum(value["choices"].values()) == pytest.approx(1)


def test_a_schema_shapes_what_even_a_random_model_writes(tiny_home: Path) -> None:
    schema = '{"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}'
    ran = tchat("--schema", schema, "hi", "--max-tokens", "200")
    assert ran.code == 0, ran.err
    assert isinstance(json.loads(ran.out)["ok"], bool)


def test_the_starter_answers_out_of_the_box(home: Path, starter_model: Path) -> None:
    ran = tchat("Why is the sky blue?", "--temp", "0", "--max-tokens", "32")
    assert ran.code == 0, ran.err
    assert "scattering" in ran.out
