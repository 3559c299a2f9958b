"""Export and import of many messages: whole or not at all, once, and in little memory."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tchat.sessions.store import SessionStore
from tests.cli.shell import COMMAND, Shell, tchat
from tests.sessions.stores import new_session

MEASURED = """
import re, sys
from pathlib import Path
from tchat.cli.main import run
sys.argv[0] = "tchat"
try:
    run()
finally:
    # Not ru_maxrss, which a child takes over from whoever started it.
    peak = re.search("VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(int(peak) // 1024, file=sys.stderr)
"""

# Waits in the middle of an import, with most of the messages written and nothing committed.
HELD = """
import sys, time
from tchat.cli.main import run
from tchat.sessions import message_tree

insert, count = message_tree.insert, 0

def held(connection, values):
    global count
    count += 1
    if count == 3000:
        print("held", file=sys.stderr, flush=True)
        time.sleep(100)
    return insert(connection, values)

message_tree.insert = held
sys.argv[0] = "tchat"
run()
"""


def message(number: int, size: int) -> dict[str, object]:
    names = ("reasoning", "model", "model_sha256", "quantization", "template_hash", "finish_reason")
    return {
        "id": number,
        "parent_id": number - 1 or None,
        "role": "user" if number % 2 else "assistant",
        "text": f"message {number} " + "x" * size,
        "status": "done",
        "created_at": 1.0 + number,
        "sampling": {"temp": 0.8, "seed": number},
        "usage": {"prompt": number},
        "timings": {"read": 0.5},
        "active": True,
        **dict.fromkeys(names, ""),
    }


def write_export(
    path: Path, count: int, size: int = 100, *, last: str = "", session: str = "1r4wfz5sw7"
) -> Path:
    """One session of ``count`` messages; ``last`` is put at the end of them."""
    facts = {"title": "t", "system": "", "settings": {}, "created_at": 1.0, "updated_at": 1.0}
    with path.open("w", encoding="utf-8") as file:
        head = json.dumps({"id": session, **facts})[:-1]
        file.write('{"format": "tchat-sessions", "version": 1, "sessions": [')
        file.write(head + ', "messages": [')
        for number in range(1, count + 1):
            file.write(("," if number > 1 else "") + json.dumps(message(number, size)))
        file.write(f"{last}]}}]}}")
    return path


WRONG_SETTINGS = {
    "grammar": "((",
    "temp": "hot",
    "seed": -7,
    "top_k": 10**400,
    "model": "x.gguf",
    "stop": [5],
    "\x1b[31mred": 1,
    "top_p": 0.5,
    "think": "on",
}


def test_wrong_settings_are_dropped_at_import_and_told(
    shell: Shell, home: Path, tmp_path: Path
) -> None:
    file = write_export(tmp_path / "a", 2)
    text = file.read_text().replace('"settings": {}', f'"settings": {json.dumps(WRONG_SETTINGS)}')
    file.write_text(text)
    ran = shell("sessions", "import", str(file))
    assert ran.code == 0
    *lines, told = ran.err.splitlines()
    assert told == "tchat: imported from tchat's JSON: 1 new session; 2 messages"
    assert len(lines) == len(WRONG_SETTINGS) - 2
    assert all("session 1r4wfz5sw7: a setting of the session is left out" in e for e in lines)
    for name in ("grammar", "temp", "seed", "top_k", "model", "stop", "red"):
        assert name in ran.err
    assert "\x1b" not in ran.err
    with SessionStore(home / "sessions.db") as store:
        assert store.sessions()[0].settings == {"top_p": 0.5, "think": "on"}
    assert shell("-c", "on").code == 0


@pytest.mark.parametrize("value", ["((", "root ::= x", 5, None, "root ::= " + "(" * 5000])
def test_a_stored_grammar_that_cannot_be_used_is_told_and_left_out(
    shell: Shell, home: Path, value: object
) -> None:
    with SessionStore(home / "sessions.db") as store:
        store.begin("a question", settings={"grammar": value, "temp": 0.5})
    ran = shell("-c", "on")
    assert ran.code == 0
    assert ran.err.count("a setting of the session is left out") == 1
    assert "grammar" in ran.err
    (chat,) = shell.chats
    assert (chat.settings.sampling.grammar, chat.settings.sampling.temp) == ("", 0.5)


def counts(home: Path) -> list[int]:
    with SessionStore(home / "sessions.db") as store:
        return [session.messages for session in store.sessions()]


def test_a_second_import_adds_what_is_missing_and_nothing_else(
    shell: Shell, home: Path, tmp_path: Path
) -> None:
    short, long = write_export(tmp_path / "a", 10), write_export(tmp_path / "b", 15)
    for file, count in ((short, 10), (short, 10), (long, 15), (short, 15)):
        assert shell("sessions", "import", str(file)).code == 0
        assert counts(home) == [count]
    with SessionStore(home / "sessions.db") as store:
        (session,) = store.sessions()
        assert len(store.branch(session.id)) == 15


def test_what_is_exported_here_and_imported_here_changes_nothing(
    shell: Shell, home: Path, tmp_path: Path
) -> None:
    shell("one")
    shell("two")
    with SessionStore(home / "sessions.db") as store:
        before = [store.tree(each.id) for each in store.sessions()]
    file = tmp_path / "all.json"
    assert shell("sessions", "export", "-o", str(file)).code == 0
    assert shell("sessions", "import", str(file)).code == 0
    with SessionStore(home / "sessions.db") as store:
        assert [store.tree(each.id) for each in store.sessions()] == before


@pytest.mark.parametrize("last", [",", ", 3", ', {"id": 1}', "]}, {]", ', "x'])
def test_a_fault_at_the_end_stores_nothing_of_all_files(
    shell: Shell, home: Path, tmp_path: Path, last: str
) -> None:
    good = write_export(tmp_path / "good", 5)
    bad = write_export(tmp_path / "bad", 500, last=last)
    ran = shell("sessions", "import", str(good), str(bad))
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert counts(home) == []


def test_a_file_that_is_not_there_stores_nothing(shell: Shell, home: Path, tmp_path: Path) -> None:
    good = write_export(tmp_path / "good", 5)
    assert shell("sessions", "import", str(good), str(tmp_path / "none")).code == 2
    assert shell("sessions", "import", str(tmp_path)).code == 2
    assert counts(home) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_ended_leaves_nothing(home: Path, tmp_path: Path, number: int) -> None:
    file = write_export(tmp_path / "a", 4000, size=2000)
    with subprocess.Popen(
        [sys.executable, "-c", HELD, "sessions", "import", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"held\n"
        assert (home / "sessions.db").stat().st_size > 1 << 20  # some of it is in the file already
        process.send_signal(number)
        process.communicate()
    assert process.returncode
    assert counts(home) == []
    assert tchat("sessions", "import", str(file)).code == 0
    assert counts(home) == [4000]


def test_a_pipe_that_waits_holds_up_no_other_process(home: Path, tmp_path: Path) -> None:
    """A slow writer: neither one that has not begun, nor one in the middle of a document."""
    file, pipe = write_export(tmp_path / "a", 1000), tmp_path / "pipe"
    other = write_export(tmp_path / "b", 5, session="1r4wfz5sw8")
    os.mkfifo(pipe)
    document = file.read_bytes()
    with subprocess.Popen(
        [*COMMAND, "sessions", "import", str(other), str(pipe)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        with pipe.open("wb") as writer:
            writer.write(document[: len(document) // 2])
            writer.flush()
            with SessionStore(home / "sessions.db") as store:
                new_session(store, title="mine")
            assert counts(home) == [0]
            writer.write(document[len(document) // 2 :])
        assert process.stdout.read().split() == [b"1r4wfz5sw8", b"1r4wfz5sw7"]
    assert process.returncode == 0
    assert sorted(counts(home)) == [0, 5, 1000]


def test_one_pipe_named_twice_is_read_once(home: Path, tmp_path: Path) -> None:
    document, pipe = write_export(tmp_path / "a", 5).read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([*COMMAND, "sessions", "import", str(pipe), str(pipe)]) as process:
        pipe.write_bytes(document)
    assert process.returncode == 0
    assert counts(home) == [5]


class Full(io.BytesIO):
    """A file on a full disk."""

    def write(self, data: object, /) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_copy_that_finds_no_room_is_told(
    shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    ran = shell("sessions", "import", stdin=b"x" * 1_000_000)
    assert (ran.code, ran.err.count("\n")) == (6, 1)
    assert "cannot copy standard input to a temporary file: No space left" in ran.err
    assert counts(home) == []


def test_what_is_larger_than_any_prompt_is_imported(home: Path, tmp_path: Path) -> None:
    file = write_export(tmp_path / "a", 35, size=2 << 20)
    assert file.stat().st_size > 70e6
    ran = measured("sessions", "import", str(file))
    assert counts(home) == [35]
    assert ran < 120


def measured(*args: str) -> int:
    """Run the command; the most memory that it took, in MB."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    return int(ran.stderr.splitlines()[-1])


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_hundred_thousand_messages_take_little_memory(home: Path, tmp_path: Path) -> None:
    file = write_export(tmp_path / "a", 200_000, size=300)
    assert measured("sessions", "import", str(file)) < 150
    assert counts(home) == [200_000]
    out = tmp_path / "out.json"
    assert measured("sessions", "export", "-o", str(out)) < 150
    assert measured("sessions", "export", "-o", str(tmp_path / "out.md")) < 150
    assert out.stat().st_size > 50e6
    assert measured("sessions", "import", str(out)) < 150
    assert counts(home) == [200_000]
