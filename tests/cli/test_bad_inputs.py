"""Every bad input that a user can meet: one line that helps, the exit code, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.bad_input import Bad, Make, newer_schema, unreadable
from tests.cli.bad_inputs import ALL
from tests.cli.shell import COMMAND, CUT_OFF, Ran, Shell, tchat
from tests.tiny import BROKEN, NO_SYSTEM, write_tiny

CONFIG = b"# my settings\n\n[sampling]\ntop_k = 17 # not 18\n"
# Lets permissions count for root too, as they do for everybody else: gives up CAP_DAC_OVERRIDE,
# CAP_DAC_READ_SEARCH and CAP_FOWNER by PR_CAPBSET_DROP, and becomes the command (Linux).
DROP = """
import ctypes, os, sys
for capability in (1, 2, 3) if os.geteuid() == 0 else ():
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
UNPRIVILEGED = (sys.executable, "-S", "-c", DROP, *COMMAND)


@pytest.fixture(scope="module")
def lived_in(verdicts: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with settings, a verdict of the tiny model, and a session called Hello."""
    home = tmp_path_factory.mktemp("lived-in") / "home"
    (home / "cache").mkdir(parents=True, mode=0o700)
    shutil.copy(verdicts, home / "cache" / "models.db")
    (home / "config.toml").write_bytes(CONFIG)
    env = {"TCHAT_HOME": str(home), "TCHAT_MODEL": str(tiny_model)}
    assert tchat("Hello", "--max-tokens", "2", env=env).code == 0
    return home


@pytest.fixture
def world(
    lived_in: Path, home: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder to be in, and a home of its own that somebody has lived in."""
    shutil.copytree(lived_in, home)
    monkeypatch.setenv("TCHAT_MODEL", str(tiny_model))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def put(folder: Path, files: Mapping[str, bytes | Make]) -> None:
    for name, content in files.items():
        path = folder / name
        if path.name == "config.toml":
            path.unlink()
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)


def snapshot(home: Path) -> dict[str, bytes]:
    """The user's own files, by name."""
    mine = [home / "config.toml", *home.glob("prompts/*")]
    return {str(path): path.read_bytes() for path in mine if path.is_file()}


def call(bad: Bad) -> Ran:
    if bad.stdin is None:
        quoted = " ".join(f"'{word}'" for word in (*COMMAND, *bad.args))
        ended = subprocess.run(
            ["sh", "-c", f"{quoted} <&-"], capture_output=True, check=False, timeout=60
        )
        return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())
    rights = unreadable in (*bad.files.values(), *bad.home.values())
    command = UNPRIVILEGED if rights else COMMAND
    return tchat(*bad.args, stdin=bad.stdin, env=bad.env, command=command)


def require_one_line(ran: Ran, *told: str) -> None:
    """One line for whoever has to do something about it, and nothing on standard output."""
    assert ran.out == ""
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.startswith("tchat: ")
    assert "Traceback" not in ran.err
    assert ran.err.strip().isprintable()
    for words in told:
        assert words in ran.err
    # What is wrong, then what to do; a value that "must be" something says both.
    assert "; " in ran.err or " must be " in ran.err


@pytest.mark.parametrize("bad", ALL.values(), ids=ALL)
def test_a_bad_input_is_one_line_and_loses_nothing(bad: Bad, world: Path, home: Path) -> None:
    put(home, bad.home)
    put(world, bad.files)
    before = snapshot(home), sorted(world.iterdir())
    ran = call(bad)
    assert ran.code == bad.code, ran
    require_one_line(ran, *bad.told)
    assert (snapshot(home), sorted(world.iterdir())) == before
    if newer_schema not in bad.home.values():
        assert "Hello" in Shell({"TCHAT_HOME": str(home)})("sessions", "ls").out


def test_there_are_many() -> None:
    assert len(ALL) >= 100


# Streams, places and rights


@pytest.mark.parametrize(
    "args",
    [
        ["hi", "--max-tokens", "3"],
        ["--json", "hi", "--max-tokens", "3"],
        ["--choose", "a,b", "hi"],
        ["sessions", "ls"],
        ["sessions", "export"],
        ["config", "show", "--json"],
        ["prompts", "show", "commit"],
        ["doctor"],
    ],
    ids=" ".join,
)
class TestOutput:
    """Standard output that cannot be written."""

    def test_a_full_disk_is_told(self, args: list[str], world: Path) -> None:
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [*COMMAND, *args],
                stdin=subprocess.DEVNULL,
                stdout=full,
                stderr=subprocess.PIPE,
                check=False,
                timeout=60,
            )
        require_one_line(Ran(ended.returncode, "", ended.stderr.decode()), "No space left")
        assert ended.returncode == 6

    def test_a_reader_that_left_is_no_failure(self, args: list[str], world: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(
            [*COMMAND, *args],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_locale_without_letters_tells_in_question_marks(world: Path) -> None:
    ran = tchat("-m", "größe.gguf", "hi", env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})
    assert ran.code == 3
    require_one_line(ran, "gr??e.gguf")


@pytest.mark.parametrize("args", [("hi",), ("-n", "hi"), ("config", "set", "temp", "1")])
def test_a_home_below_a_file_is_told(args: tuple[str, ...], world: Path) -> None:
    (world / "file").write_bytes(b"mine")
    ran = tchat(*args, "--max-tokens", "2", env={"TCHAT_HOME": str(world / "file" / "home")})
    if "-n" in args:  # nothing is to be stored, so nothing stands in the way
        assert (ran.code, ran.err) == (0, CUT_OFF)
    else:
        assert ran.code in (2, 6)
        require_one_line(ran)
    assert (world / "file").read_bytes() == b"mine"


def test_a_home_that_may_not_be_written_is_told_and_readable(world: Path, home: Path) -> None:
    for path in (home, *home.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        ran = tchat("hi", "--max-tokens", "2", command=UNPRIVILEGED)
        assert ran.code == 6
        require_one_line(ran, str(home), "permissions")
        unlogged = tchat("-n", "hi", "--max-tokens", "2", command=UNPRIVILEGED)
        assert (unlogged.code, unlogged.err) == (0, CUT_OFF)
    finally:
        home.chmod(0o700)
        for path in home.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert (home / "config.toml").read_bytes() == CONFIG
    assert "Hello" in Shell({"TCHAT_HOME": str(home)})("sessions", "ls").out


# What is odd and does not stop an answer


def test_a_damaged_database_is_set_aside_said_and_saved(world: Path, home: Path) -> None:
    file = home / "sessions.db"
    whole = file.read_bytes()
    file.write_bytes(b"\xff" * 100 + whole[100:])
    ran = tchat("-c", "And then?", "--max-tokens", "2", "--quiet")
    assert ran.code == 0
    assert ran.err.count("\n") == 1
    assert "a new one holds 1 session with 2 messages" in ran.err
    assert len(list(home.glob("sessions.db.corrupt-*"))) == 1
    assert "Hello" in tchat("sessions", "ls").out


@pytest.mark.parametrize(
    ("config", "env", "told"),
    [
        (b"[sampling]\ntmep = 1\n", {}, "`sampling.tmep` is ignored; did you mean `temp`?"),
        (b"temp = 1\n", {}, "`temp` is ignored here; it belongs under [sampling]"),
        (b"", {"TCHAT_TMEP": "1"}, "TCHAT_TMEP; did you mean `TCHAT_TEMP`?"),
    ],
)
def test_an_unknown_setting_is_told_and_the_answer_comes(
    config: bytes, env: dict[str, str], told: str, world: Path, home: Path
) -> None:
    (home / "config.toml").write_bytes(config)
    ran = tchat("hi", "--max-tokens", "2", env=env)
    assert ran.code == 0
    assert ran.err.startswith("tchat: warning: ")
    assert told in ran.err
    assert ran.err.endswith(f"\n{CUT_OFF}")
    assert ran.err.count("\n") == 2
    assert (home / "config.toml").read_bytes() == config
    assert tchat("hi", "--max-tokens", "2", "-q", env=env).err == ""


@pytest.mark.parametrize(
    ("template", "kind", "told"),
    [
        (None, "template", "no chat template"),
        (BROKEN, "template", "does not work"),
        ("{{ raise_exception('go away') }}", "template", "go away"),
        ("{{ 10 ** (10 ** 8) }}", "template", "too large"),
        ("{{ 'x' * 99999999 }}", "template", "16,777,216"),
        ("{{ lipsum(99999) }}", "template", "lipsum"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "template", "recursion"),
        ("{{ ''.__class__.__mro__ }}", "template", "does not work"),
        (b"\xff\xfe{{ x }}", "template", "does not work"),
        (NO_SYSTEM, "system", "takes no system message"),
    ],
    ids=[
        "none",
        "syntax",
        "raise",
        "power",
        "size",
        "lipsum",
        "recursion",
        "escape",
        "bytes",
        "role",
    ],
)
def test_a_template_that_does_not_work_is_replaced_and_that_is_said(
    template: str | bytes | None, kind: str, told: str, world: Path
) -> None:
    write_tiny(world / "x.gguf", template=template)
    ran = tchat("-m", "x.gguf", "-s", "Be brief.", "hi", "--max-tokens", "2", "--json")
    notices = {notice["kind"]: notice["text"] for notice in json.loads(ran.out)["notices"]}
    assert told in notices[kind]
    assert ran.code == 0
    assert told in ran.err
    assert ran.err.endswith(CUT_OFF)
