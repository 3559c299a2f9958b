"""The outermost function: what costs nothing, how words are taken, how failures are told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tchat import __version__
from tchat.cli.app import load_command
from tchat.cli.commands import COMMANDS, likely_command
from tests.cli.shell import COMMAND, Shell, tchat
from tests.tiny import write_tiny


def test_the_version_is_the_packages() -> None:
    assert tchat("--version").out == f"tchat {__version__}\n"
    assert tchat("-V").out == f"tchat {__version__}\n"


def test_the_help_names_every_command(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell("--help").code == 0
    printed = " ".join(capsys.readouterr().out.split())  # long lines are wrapped
    for name, (_, help_line, _) in COMMANDS.items():
        assert name in printed
        assert help_line in printed


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_table_of_commands_is_what_the_groups_hold(name: str) -> None:
    command = load_command(name)
    words = ("merge",) if name == "map" else ()  # which the command reads itself
    assert (*getattr(command, "commands", {}), *words) == COMMANDS[name][2]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["sesions"], "sessions"),
        (["sesions", "ls"], "sessions"),
        (["promts", "ls"], "prompts"),
        (["doctr"], "doctor"),
        (["hello"], ""),
        (["sesions", "of", "the", "court"], ""),
        (["Sesions"], ""),
        (["sesions?"], ""),
        (["promts", "path"], ""),
        (["sessions"], ""),
        (["why is the sky blue"], ""),
    ],
)
def test_only_what_looks_like_a_command_is_taken_for_one(words: list[str], meant: str) -> None:
    assert likely_command(words) == meant


def test_a_mistyped_command_is_told_with_the_way_around_it(shell: Shell) -> None:
    ran = shell("sesions", "ls")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean `sessions`" in ran.err
    assert "`tchat -- sesions`" in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("help sesions", "there is no command `sesions`; did you mean `tchat help sessions`?"),
        ("help nope", "there is no command `nope`; `tchat --help` lists the commands"),
        ("help models lss", "no command `models lss`; did you mean `tchat help models ls`?"),
        ("help sesions ls", "did you mean `tchat help sessions ls`?"),
        ("hepl", "did you mean `help`?"),
        ("chat", "did you mean `tchat`?"),
        ("chat -m qwen3", "did you mean `tchat -m qwen3`?"),
        ("logs", "did you mean `log`?"),
        ("keys", "`tchat --help` lists the commands; `tchat -- keys` sends it as a prompt"),
        ("ps", "a model is loaded only while `tchat` runs"),
        ("stop qwen3:4b", "a model is freed when `tchat` ends; `tchat --help` lists"),
        ("list", "did you mean `tchat models ls`?"),
        ("show qwen3:4b --modelfile", "did you mean `tchat models show qwen3:4b`?"),
        ("rm qwen3:4b gemma3:1b", "did you mean `tchat models rm qwen3:4b gemma3:1b`?"),
        ("run qwen3:4b why so?", "did you mean `tchat -m qwen3:4b why 'so?'`?"),
        ("run hf.co/a/b:Q4_K_M hi", "did you mean `tchat -m hf.co/a/b:Q4_K_M hi`?"),
        ("cp qwen3:4b mine", "did you mean `tchat models alias set mine qwen3:4b`?"),
        ("create mine -f Modelfile", "did you mean `tchat prompts new mine`?"),
        ("pull qwen3:4b", "did you mean `tchat models pull qwen3:4b`?"),
        ("run starter", "did you mean `tchat -m starter`?"),
        ("run gemma3", "did you mean `tchat -m gemma3`?"),
        ("pull smollm2", "did you mean `tchat models pull smollm2`?"),
        ("resume", "did you mean `tchat -c`?"),
        ("continue", "did you mean `tchat -c`?"),
    ],
)
def test_an_unknown_command_is_not_sent_as_a_prompt(shell: Shell, words: str, told: str) -> None:
    ran = shell(*words.split())
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--max-tokens 3 list", "there is no command `list`; did you mean `tchat models ls`?"),
        ("-q --temp=0 sesions", "did you mean `sessions`?"),
        ("-m starter models ls", "the command `models` must come first; run `tchat models ls`"),
        ("--no-stream doctor", "the command `doctor` must come first; run `tchat doctor`"),
        ("list --max-tokens 3", "did you mean `tchat models ls"),
    ],
)
def test_a_command_behind_flags_is_not_sent_as_a_prompt(
    shell: Shell, words: str, told: str
) -> None:
    ran = shell(*words.split())
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


@pytest.mark.parametrize(
    "words",
    ["--max-tokens 3 -- list", "--max-tokens 3 models for trains", "--temp 0 show 3 examples"],
)
def test_a_prompt_behind_flags_may_begin_like_a_command(shell: Shell, words: str) -> None:
    ran = shell(*words.split())
    assert (ran.code, ran.err) == (0, "")
    assert words.rsplit(maxsplit=1)[-1] in ran.out


@pytest.mark.parametrize(
    "words",
    [
        "run 3:00 pm errands",
        "show 3 examples of recursion",
        "stop at 12:30 please",
        "rm a b c",
        "create a poem",
        "cp a b",
        "run src/main.py and explain",
        "run the test:unit script",
    ],
)
def test_a_prompt_may_begin_like_a_command_elsewhere(shell: Shell, words: str) -> None:
    assert shell(*words.split()).out == f"{words}\n"


def test_the_name_of_an_installed_model_is_known_after_run(shell: Shell, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "mine.gguf")
    assert shell("models", "alias", "set", "own", str(model)).code == 0
    ran = shell("run", "own")
    assert (ran.code, ran.out) == (2, "")
    assert "did you mean `tchat -m own`?" in ran.err
    for prompt in (("run", "away"), ("continue", "the", "story"), ("show", "me")):
        assert shell(*prompt).out == " ".join(prompt) + "\n"


def test_two_dashes_make_a_prompt_of_a_command(shell: Shell) -> None:
    assert shell("--", "sessions", "ls").out == "sessions ls\n"


def test_words_need_no_quotes(shell: Shell) -> None:
    assert shell("why", "is", "it", "so").out == "why is it so\n"
    assert shell("ask", "why").out == "why\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--tmp", "1", "x"], "there is no option --tmp; did you mean --temp?"),
        (["sessions", "lss"], "has no command `lss`; did you mean `ls`?"),
        (["sessions", "ls", "--jsno"], "did you mean --json?"),
        (["--temp"], "option '--temp' requires an argument; `tchat ask --help`"),
        (["--model"], "`tchat ask --help` tells more"),
        (["map", "--cid"], "`tchat map --help` tells more"),
        (["--temperature", "1", "x"], "did you mean --temp?"),
        (["--temprature", "1", "x"], "did you mean --temp?"),
        (["--num-ctx", "1", "x"], "did you mean --ctx-size?"),
        (["--n_predict", "1", "x"], "did you mean --max-tokens?"),
        (["--verbose", "x"], "there is no option --verbose; `tchat ask --help`"),
        (["--format", "json", "x"], "there is no option --format; `tchat ask --help`"),
        (["map", "--verbose", "x"], "there is no option --verbose; `tchat map --help`"),
        (["-o", "temperature", "1", "x"], "did you mean `temp`?"),
        (["config", "set", "num-ctx", "1"], "did you mean `ctx_size`?"),
        (["-o", "temp"], "option '-o' takes NAME VALUE; `tchat ask --help`"),
        (["hi", "-o", "temp=1"], "option '-o' takes NAME VALUE; `tchat ask --help`"),
        (["-o", "kv_type=q8_0", "x"], "-o takes NAME VALUE, not NAME=VALUE; write -o kv_type q8_0"),
        (["-p", "lang=de", "x"], "-p takes NAME VALUE, not NAME=VALUE; write -p lang de"),
        (["x", "-p", "lang"], "option '-p' takes NAME VALUE; `tchat ask --help`"),
        (["--temp", "hot", "x"], "`temp` (--temp) must be a number from 0 to 10, not `hot`"),
        (["-o", "tmep", "1", "x"], "there is no setting `tmep`; did you mean `temp`?"),
        (["-o", "temp", "11", "x"], "`temp` (-o) must be"),
        (["--think", "maybe", "x"], "must be one of auto, on, off"),
        (["--threshold", "0.2", "--yes-no", "x"], "0.2 is not from 0.5 to 1.0"),
        (["-N", "40", "x"], "40 is not from 0 to 16"),
        (["sessions", "ls", "-l", "-1"], "-1 is below 0"),
        (["config", "get"], "missing argument 'NAME'"),
        (["--yes-no=1", "x"], "does not take a value"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(shell: Shell, args: list[str], told: str) -> None:
    ran = shell(*args)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("tchat: ")
    assert ran.err.count("\n") == 1
    assert told in ran.err


def test_what_is_told_holds_no_control_characters(shell: Shell) -> None:
    ran = shell("--cid", "\x1b]52;c;aGk=\x07\n\u202e", "x")
    assert ran.code == 2
    assert not set(ran.err) & {"\x1b", "\x07", "\u202e"}
    assert ran.err.count("\n") == 1


def test_an_unexpected_failure_is_one_line_and_a_log(shell: Shell, home: Path) -> None:
    def fail(prompt: str) -> str:
        raise RuntimeError("a\nb\x1b[2J")

    shell.answer = fail
    ran = shell("hello")
    log = home / "cache" / "tchat.log"
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "unexpected error: RuntimeError: a b␛[2J; please report it" in ran.err
    assert str(log) in ran.err
    assert "Traceback" in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o077 == 0


def test_an_unexpected_failure_without_a_log_is_told_too(shell: Shell, tmp_path: Path) -> None:
    def fail(prompt: str) -> str:
        (tmp_path / "tchat-home").mkdir()
        (tmp_path / "tchat-home" / "cache").write_text("in the way", encoding="utf-8")
        raise RuntimeError("x")

    shell.answer = fail
    ran = shell("-n", "hello")
    assert ran.code == 1
    assert "the log could not be written" in ran.err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (MemoryError(), 4, "out of memory"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 6, "No space left on device"),
        (PermissionError(13, "Permission denied", "/x/y"), 6, "/x/y: Permission denied"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(
    shell: Shell, error: BaseException, code: int, told: str
) -> None:
    def fail(prompt: str) -> str:
        raise error

    shell.answer = fail
    ran = shell("hello")
    assert ran.code == code
    assert told in ran.err
    assert bool(ran.err) == bool(told)


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["config", "show"], ["prompts", "ls"]])
def test_a_full_disk_under_the_output_is_told(args: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*COMMAND, *args], stdout=full, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert ended.returncode == 6
    assert b"No space left on device" in ended.stderr
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["config", "show"]])
def test_a_closed_pipe_ends_the_command_silently(args: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*COMMAND, *args], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=30
    )
    os.close(writing)
    assert ended.returncode == 141
    assert ended.stderr == b""


def test_warnings_about_settings_are_told_and_do_not_stop(shell: Shell, home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("tempp = 1\n", encoding="utf-8")
    shell.environ["TCHAT_TEMPP"] = "1"
    ran = shell("hello")
    assert (ran.code, ran.out) == (0, "hello\n")
    assert ran.err.count("tchat: warning: ") == 2
    assert "did you mean `temp`" in ran.err
    assert "did you mean `TCHAT_TEMP`" in ran.err


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_offers_commands_and_flags(shell_name: str) -> None:
    variable = {
        "bash": {"COMP_WORDS": "tchat ses", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "tchat ses"},
        "fish": {
            "_TYPER_COMPLETE_ARGS": "tchat ses",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }[shell_name]
    ran = tchat(env={"_TCHAT_COMPLETE": f"complete_{shell_name}", **variable})
    assert ran.code == 0
    assert "sessions" in ran.out


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tchat --te", "--temp"),
        ("tchat -m x --te", "--temp"),
        ("tchat -t comm", "commit"),
        ("tchat sessions ex", "export"),
        ("tchat config get top", "top_k"),
        ("tchat --think o", "off"),
    ],
)
def test_completion_knows_flags_and_values(line: str, offered: str) -> None:
    words = line.split()
    env = {
        "_TCHAT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    assert offered in tchat(env=env).out.split()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("help",), "Usage: tchat [OPTIONS]"),
        (("help", "config"), "Usage: tchat config"),
        (("help", "models", "pull"), "Usage: tchat models pull"),
        (("help", "ask"), "Usage: tchat ask"),
    ],
)
def test_help_prints_help(words: tuple[str, ...], shown: str) -> None:
    ran = tchat(*words)
    assert ran.code == 0
    assert shown in ran.out


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("pull", "qwen3:4b"), "`tchat models pull qwen3:4b`"),
        (("run", "llama3.2"), "`tchat -m llama3.2`"),
        (("list",), "`tchat models ls`"),
        (("version",), "`tchat --version`"),
        (("rm", "hf.co/a/b"), "`tchat models rm hf.co/a/b`"),
    ],
)
def test_a_command_of_another_program_is_told_its_name_here(
    shell: Shell, words: tuple[str, ...], meant: str
) -> None:
    ran = shell(*words)
    assert ran.code == 2
    assert meant in ran.err


@pytest.mark.parametrize(
    "words",
    [
        ("help", "me", "write", "a", "poem"),
        ("help", "wanted", "now"),
        ("list", "three", "colours"),
        ("logs", "of", "ships"),
        ("run", "away"),
        ("show", "me"),
    ],
)
def test_prompts_that_begin_like_a_command_are_prompts(
    shell: Shell, words: tuple[str, ...]
) -> None:
    assert shell(*words).out.strip() == " ".join(words)
