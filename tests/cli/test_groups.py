"""The command groups: config, prompts, sessions, doctor."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tchat.cli.cells import cell_width, truncate
from tchat.cli.output.columns import align_columns
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tchat.settings import keys
from tchat.tui.themes import shipped_folder
from tests.cli.shell import Shell


@pytest.fixture
def stored(shell: Shell, home: Path) -> list[str]:
    """Ids of two sessions, the one used last first."""
    shell("tell me about whales")
    shell("tell me about \x1b[31mbread\u202e")
    with SessionStore(home / "sessions.db") as store:
        return [session.id for session in store.sessions()]


def editor(tmp_path: Path, text: str) -> str:
    """An editor that writes ``text`` into the file it is given."""
    script = tmp_path / "an editor.py"
    script.write_text(
        f"import sys\nwith open(sys.argv[1], 'w') as file:\n    file.write({text!r})",
        encoding="utf-8",
    )
    return f"{sys.executable} '{script}'"


# config


def test_config_show_lists_every_setting_with_its_origin(shell: Shell) -> None:
    shell("config", "set", "temp", "0.2")
    shell.environ["TCHAT_TOP_K"] = "7"
    rows = [line.split("\t") for line in shell("config", "show").out.splitlines()]
    assert [row[0] for row in rows] == list(keys())
    told = {row[0]: row[1:3] for row in rows}
    assert told["temp"] == ["0.2", "config.toml"]
    assert told["top_k"] == ["7", "environment"]
    assert told["model"] == ["starter", "default"]
    value = json.loads(shell("config", "show", "--json").out)
    assert [entry["name"] for entry in value] == list(keys())


def test_config_show_lists_one_setting(shell: Shell) -> None:
    shell("config", "set", "tools.deny", "python")
    (row,) = [line.split("\t") for line in shell("config", "show", "tools.deny").out.splitlines()]
    assert row[:3] == ["tools.deny", '["python"]', "config.toml"]
    assert shell("config", "show", "tools.dney").code == 2
    assert "its default is []" in shell("config", "unset", "tools.deny").err


@pytest.mark.parametrize(
    ("name", "text", "printed"),
    [
        ("temp", "0.25", "0.25"),
        ("seed", "-1", "-1"),
        ("stop", '["a", "b"]', '["a", "b"]'),
        ("show_reasoning", "yes", "true"),
        ("system", "be\x1b[1m bold", "be␛[1m bold"),
    ],
)
def test_what_is_set_is_what_is_got(shell: Shell, name: str, text: str, printed: str) -> None:
    assert shell("config", "set", name, text).code == 0
    assert shell("config", "get", name).out == f"{printed}\n"


def test_only_a_theme_that_is_there_can_be_set(shell: Shell, home: Path) -> None:
    ran = shell("config", "set", "theme", "nosuch")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no theme `nosuch`; these are: " in ran.err
    assert all(f"{name}," in ran.err for name in ("tchat-dark", "nord", "ansi-dark"))
    assert "tokyo-night" in ran.err
    assert ran.err.count("\n") == 1
    assert shell("config", "get", "theme").out == "tchat-dark\n"
    (home / "themes").mkdir(parents=True)
    shutil.copy(shipped_folder() / "rose.toml", home / "themes" / "mine.toml")
    for name in ("mine", "tchat-light", "nord"):
        assert shell("config", "set", "theme", name).code == 0
        assert shell("config", "get", "theme").out == f"{name}\n"


def test_the_former_name_of_a_theme_still_works(shell: Shell, home: Path) -> None:
    ran = shell("config", "set", "theme", "tokyo-night-like")
    assert "is now called `tokyo-night`; the old name still works" in ran.err
    assert shell("config", "get", "theme").out == "tokyo-night\n"
    (home / "themes").mkdir(parents=True)
    shutil.copy(shipped_folder() / "rose.toml", home / "themes" / "nord-like.toml")
    renamed = shell("config", "set", "theme", "nord-like").err
    assert "is now called" not in renamed  # a file of the user's
    assert shell("config", "get", "theme").out == "nord-like\n"


def test_the_former_name_of_a_theme_is_told_wherever_it_is_given(shell: Shell, home: Path) -> None:
    told = "the theme `nord-like` is now called `nord`; the old name still works"
    assert shell("-o", "theme", "nord-like", "hello").err == f"tchat: warning: {told}\n"
    assert shell("-q", "-o", "theme", "nord-like", "hello").err == ""
    shell.environ["TCHAT_THEME"] = "nord-like"
    shown = shell("config", "show")
    assert f"warning: environment variable TCHAT_THEME: {told}" in shown.err
    assert shown.out.split("\ntheme")[1].split()[:2] == ["nord", "environment"]
    assert shell("config", "get", "theme").out == "nord\n"
    assert shell("hello").err.count(told) == 1
    assert shell("-q", "hello").err == ""
    del shell.environ["TCHAT_THEME"]
    (home / "config.toml").write_text('theme = "nord-like"\n', encoding="utf-8")
    assert f"warning: config.toml: {told}" in shell("hello").err
    (home / "themes").mkdir()
    shutil.copy(shipped_folder() / "rose.toml", home / "themes" / "nord-like.toml")
    assert told not in shell("config", "show").err  # a file of the user's
    assert shell("config", "get", "theme").out == "nord-like\n"


def test_a_prompt_that_cannot_be_stored_is_told_of_n(shell: Shell, home: Path) -> None:
    (home / "sessions.db").mkdir(parents=True)
    ran = shell("hello")
    assert (ran.code, ran.out) == (6, "")
    assert ran.err.endswith("; move it away, or add -n, which does not save the session\n")
    assert shell("-n", "hello").out == "hello\n"
    assert "-n" not in shell("-c", "hello").err


def test_what_is_unset_is_the_default_again(shell: Shell) -> None:
    shell("config", "set", "temp", "0.25")
    shell("config", "unset", "temp")
    assert shell("config", "get", "temp").out == "0.7\n"


def test_a_variable_that_hides_what_is_set_is_told(shell: Shell) -> None:
    shell.environ["TCHAT_TEMP"] = "1"
    assert "TCHAT_TEMP overrides it" in shell("config", "set", "temp", "0.5").err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["get", "tmep"], "did you mean `temp`"),
        (["set", "temp", "hot"], "must be a number"),
        (["set", "temp"], "missing argument 'VALUE'"),
        (["unset", "nothing"], "there is no setting `nothing`"),
    ],
)
def test_a_wrong_config_call_changes_nothing(
    shell: Shell, home: Path, args: list[str], told: str
) -> None:
    ran = shell("config", *args)
    assert ran.code == 2
    assert told in ran.err
    assert not (home / "config.toml").exists()


def test_config_edit_checks_afterwards_and_keeps_what_was_written(
    shell: Shell, home: Path, tmp_path: Path
) -> None:
    shell.environ["VISUAL"] = editor(tmp_path, 'model = "x"\ntempp = 1\n')
    ran = shell("config", "edit")
    assert ran.code == 0
    assert "unknown setting `tempp`" in ran.err
    assert stat.S_IMODE((home / "config.toml").stat().st_mode) == 0o600
    shell.environ["VISUAL"] = editor(tmp_path, "model = \n")
    ran = shell("config", "edit")
    assert ran.code == 2
    assert "line 1, column 9" in ran.err
    assert (home / "config.toml").read_text(encoding="utf-8") == "model = \n"
    shell.environ["VISUAL"] = editor(tmp_path, "")
    assert shell("config", "edit").code == 0


@pytest.mark.parametrize("command", ["/nonexistent/editor", "false"])
def test_an_editor_that_fails_is_told(shell: Shell, command: str) -> None:
    shell.environ["EDITOR"] = command
    ran = shell("config", "edit")
    assert ran.code == 2
    assert command in ran.err


def test_config_path_tells_where_things_are(shell: Shell, home: Path) -> None:
    assert shell("config", "path").out == f"{home / 'config.toml'}\n"
    assert json.loads(shell("config", "path", "--json").out)["sessions"] == str(
        home / "sessions.db"
    )


# prompts


def test_prompts_are_listed_shown_and_used(shell: Shell) -> None:
    rows = [line.split("\t") for line in shell("prompts", "ls").out.splitlines()]
    assert ["translate", "tchat", "language"] in [row[:3] for row in rows]
    assert "into {language}" in shell("prompts", "show", "translate").out
    value = json.loads(shell("prompts", "show", "translate", "--json").out)
    assert value["variables"] == ["language"]
    assert len(json.loads(shell("prompts", "ls", "--json").out)) == len(rows)


def test_a_prompt_is_made_from_standard_input(shell: Shell, home: Path) -> None:
    assert shell("prompts", "new", "mine", stdin=b'prompt = "Say {input}"').code == 0
    assert stat.S_IMODE((home / "prompts" / "mine.toml").stat().st_mode) == 0o600
    assert shell("-t", "mine", "hi").out == "Say hi\n"
    assert shell("prompts", "new", "mine", stdin=b'prompt = "x"').code == 2
    assert shell("prompts", "rm", "mine").code == 0
    assert shell("prompts", "show", "mine").code == 2


@pytest.mark.parametrize(
    ("name", "data"), [("mine", b"prompt = "), ("mine", b""), ("../mine", b'prompt = "x"')]
)
def test_a_wrong_prompt_is_not_written(shell: Shell, home: Path, name: str, data: bytes) -> None:
    assert shell("prompts", "new", name, stdin=data).code == 2
    assert not list(home.rglob("*.toml"))


def test_editing_a_packaged_prompt_makes_a_copy(shell: Shell, tmp_path: Path) -> None:
    shell.environ["EDITOR"] = editor(tmp_path, 'prompt = "Mine: {input}"\n')
    assert shell("prompts", "edit", "commit").code == 0
    assert shell("-t", "commit", "x").out == "Mine: x\n"
    assert shell("prompts", "rm", "commit").code == 0
    assert "commit message" in shell("prompts", "show", "commit").out
    ran = shell("prompts", "rm", "commit")
    assert ran.code == 2
    assert "is built in" in ran.err


def test_a_new_prompt_begins_with_a_skeleton_that_works(shell: Shell, home: Path) -> None:
    shell.environ["EDITOR"] = "true"
    assert shell("prompts", "new", "fresh", terminal=True).code == 0
    assert shell("-t", "fresh", "the text").out.startswith("the text\n")
    assert shell("prompts", "new", "copy", "--from", "commit", terminal=True).code == 0
    assert json.loads(shell("prompts", "show", "copy", "--json").out)["sampling"] == {"temp": 0.2}


def test_a_broken_prompt_is_told_and_hides_no_other(shell: Shell, home: Path) -> None:
    (home / "prompts").mkdir(parents=True)
    (home / "prompts" / "bad.toml").write_text("prompt = ", encoding="utf-8")
    ran = shell("prompts", "ls")
    assert ran.code == 0
    assert "commit" in ran.out
    assert "bad.toml, line 1" in ran.err


# sessions


def test_sessions_are_listed_safely(shell: Shell, stored: list[str]) -> None:
    rows = [line.split("\t") for line in shell("sessions", "ls").out.splitlines()]
    assert [row[0] for row in rows] == stored
    assert rows[0][2:] == ["2", "tell me about ␛[31mbread⟦U+202E⟧"]
    assert len(shell("sessions", "ls", "-l", "1").out.splitlines()) == 1
    value = json.loads(shell("sessions", "ls", "--json").out)
    assert value[0]["title"] == "tell me about \x1b[31mbread\u202e"


def test_a_terminal_gets_columns_under_a_header(shell: Shell, stored: list[str]) -> None:
    lines = shell("sessions", "ls", terminal=True).out.splitlines()
    assert lines[0].split() == ["ID", "USED", "MESSAGES", "TITLE"]
    assert lines[1].index("tell me") == lines[0].index("TITLE")


def test_without_sessions_nothing_is_listed_and_nothing_made(shell: Shell, home: Path) -> None:
    assert shell("sessions", "ls") == (0, "", "tchat: there is no session yet\n")
    assert shell("sessions", "ls", "--json").out == "[]\n"
    assert shell("sessions", "search", "x") == (0, "", "tchat: no session has these words\n")
    assert not (home / "sessions.db").exists()


def test_a_session_is_shown_as_markdown(shell: Shell, stored: list[str]) -> None:
    shown = shell("sessions", "show", "last").out
    assert "## User\n\ntell me about ␛[31mbread" in shown
    assert "\x1b" not in shown
    value = json.loads(shell("sessions", "show", stored[1], "--json").out)
    assert value["sessions"][0]["title"] == "tell me about whales"


def test_sessions_are_found_by_their_words(shell: Shell, stored: list[str]) -> None:
    lines = shell("sessions", "search", "WHALE").out.splitlines()
    assert {line.split("\t")[0] for line in lines} == {stored[1]}
    value = json.loads(shell("sessions", "search", "--json", "me about").out)
    assert len(value) == 4  # the messages, and no titles of the same sessions


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        (("sessions", "ls"), "tell me about whales"),
        (("sessions", "show", "last"), "bread"),
        (("sessions", "search", "whales"), "tell me about whales"),
        (("sessions", "export", "last"), "bread"),
        (("judge", "examples"), "rated good: "),
        (("cache", "ls"), "there is no snapshot yet"),
    ],
)
def test_sessions_that_cannot_be_written_are_read(
    shell: Shell,
    home: Path,
    stored: list[str],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    printed: str,
) -> None:
    shutil.rmtree(home / "sessions.db.writers")
    (home / "sessions.db.writers").touch()  # in the way of the locks of writers
    assert shell(*command).code == 6
    monkeypatch.setattr("tchat.cli.sessions.is_writable", lambda _: False)
    ran = shell(*command)
    assert ran.code == 0
    assert "cannot" not in ran.err
    assert printed in ran.out + ran.err
    assert shell("sessions", "rename", stored[0], "Bread").code == 6


def test_a_session_is_renamed(shell: Shell, stored: list[str]) -> None:
    ran = shell("sessions", "rename", stored[0], "Bread", "and\nbutter")
    assert (ran.code, "is now called Bread and butter" in ran.err) == (0, True)
    assert "\tBread and butter\n" in shell("sessions", "ls").out


def test_deleting_asks(shell: Shell, stored: list[str]) -> None:
    ran = shell("sessions", "rm", stored[0])
    assert ran.code == 2
    assert "add --yes" in ran.err
    for answer in (b"n\n", b"\n", b""):
        assert shell("sessions", "rm", stored[0], terminal=True, stdin=answer).code == 2
    assert len(shell("sessions", "ls").out.splitlines()) == 2
    ran = shell("sessions", "rm", stored[0], terminal=True, stdin=b"y\n")
    assert ran.code == 0
    assert "Delete? [y/N]" in ran.err
    assert len(shell("sessions", "ls").out.splitlines()) == 1
    assert shell("sessions", "rm", "--yes", "last", stored[1]).code == 0
    assert shell("sessions", "ls").out == ""


def test_one_unknown_session_keeps_all_from_being_deleted(shell: Shell, stored: list[str]) -> None:
    assert shell("sessions", "rm", "--yes", stored[0], "zzzzzzzzzz").code == 2
    assert len(shell("sessions", "ls").out.splitlines()) == 2


def test_what_is_exported_can_be_imported(
    shell: Shell, stored: list[str], tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "out.json"
    assert shell("sessions", "export", "-o", str(file)).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    piped = shell("sessions", "export")
    assert shell("sessions", "export", "--json").out == piped.out
    assert shell("sessions", "export", "--json", "--format", "md").code == 2
    other = Shell({"TCHAT_HOME": str(tmp_path / "other")})
    assert other("sessions", "import", str(file)).code == 0
    assert other("sessions", "import", stdin=piped.out.encode()).code == 0
    assert len(other("sessions", "ls").out.splitlines()) == 2  # they are the same
    with SessionStore(tmp_path / "other" / "sessions.db") as store:
        texts = {
            m.text for s in store.sessions() for m in store.branch(s.id) if m.role == Role.USER
        }
    assert texts == {"tell me about whales", "tell me about \x1b[31mbread\u202e"}


@pytest.mark.parametrize("name", ["out.pdf", "out.json.gz", "out.MDX"])
def test_an_export_of_an_unknown_format_is_refused(
    shell: Shell, stored: list[str], tmp_path: Path, name: str
) -> None:
    ran = shell("sessions", "export", stored[0], "-o", str(tmp_path / name))
    assert (ran.code, ran.out) == (2, "")
    assert "ends in .md or .markdown or .json" in ran.err
    assert not (tmp_path / name).exists()
    ran = shell("sessions", "export", stored[0], "--format", "json", "-o", str(tmp_path / name))
    assert (ran.code, f"{name} (json)" in ran.err) == (0, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("models set starter threads 2", "starter: threads = 2 is saved for this model"),
        ("models set starter threads", "starter: threads is not set; the general setting applies"),
        ("models alias ls", "there is no alias yet"),
        ("models alias set small starter", "small is now an alias of starter"),
        ("models default starter", "the default model is now starter"),
        ("models dupes", "there are no duplicate model files"),
        ("cache ls", "there is no snapshot yet"),
        ("config set temp 0.3", "temp = 0.3 is saved in "),
        ("config unset temp", "temp is not set in config.toml; its default is 0.7"),
    ],
)
def test_what_was_done_is_said(shell: Shell, words: str, said: str) -> None:
    ran = shell(*words.split())
    assert (ran.code, ran.out) == (0, "")
    assert said in ran.err


def test_the_default_model_is_shown(shell: Shell) -> None:
    name, _, path = shell("models", "default").out.strip().partition("\t")
    assert (name, Path(path).suffix) == ("starter", ".gguf")


def test_an_export_overwrites_nothing(shell: Shell, stored: list[str], tmp_path: Path) -> None:
    (tmp_path / "out.md").write_text("mine", encoding="utf-8")
    assert shell("sessions", "export", "-o", str(tmp_path / "out.md")).code == 2
    assert (tmp_path / "out.md").read_text(encoding="utf-8") == "mine"
    assert shell("sessions", "export", "last", "-o", str(tmp_path / "new.md")).code == 0
    assert (tmp_path / "new.md").read_text(encoding="utf-8").startswith("# tell me")
    assert shell("sessions", "export", "--format", "pdf").code == 2


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b'{"format": "tchat-sessions"}', b"\0"])
def test_what_is_no_export_is_refused(shell: Shell, home: Path, data: bytes) -> None:
    ran = shell("sessions", "import", stdin=data)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert shell("sessions", "ls").out == ""


@pytest.mark.parametrize("command", ["show", "rename", "rm"])
def test_an_unknown_session_is_told(shell: Shell, stored: list[str], command: str) -> None:
    rest = {"rename": ["x"], "rm": ["--yes"]}.get(command, [])
    ran = shell("sessions", command, "nonesuch", *rest)
    assert ran.code == 2
    assert "nonesuch" in ran.err


def test_last_without_a_session_is_told(shell: Shell) -> None:
    assert "there is no session yet" in shell("sessions", "show", "last").err


def test_sessions_path(shell: Shell, home: Path) -> None:
    assert shell("sessions", "path").out == f"{home / 'sessions.db'}\n"


# doctor


def test_a_group_lists_its_commands_in_whole_sentences(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell("prompts", "--help")
    told = " ".join(capsys.readouterr().out.partition("Commands:")[2].split())
    assert "in $VISUAL or $EDITOR; editing a built-in one copies it first." in told
    assert "..." not in told


def test_doctor_finds_nothing_wrong_with_a_good_home(tiny_home: Path, tiny_model: Path) -> None:
    shell = Shell({"TCHAT_HOME": str(tiny_home), "TCHAT_MODEL": str(tiny_model)})
    ran = shell("doctor")
    assert ran.code == 0, ran.out
    rows = [line.split("\t") for line in ran.out.splitlines()]
    areas = {"version", "engine", "path", "lock", "sessions", "snapshots", "model"}
    assert {row[0] for row in rows} == areas
    assert {row[1] for row in rows} == {"ok"}
    assert ["model", "ok", "verdict", "loads and answers"] in rows


def test_doctor_tells_every_problem_and_the_exit_code_of_the_first(
    shell: Shell, home: Path
) -> None:
    home.mkdir()
    (home / "config.toml").write_text("model = \n", encoding="utf-8")
    (home / "sessions.db").mkdir()
    ran = shell("doctor", "--json")
    problems = {finding["area"] for finding in json.loads(ran.out) if not finding["ok"]}
    assert problems >= {"settings", "sessions"}
    assert ran.code == 2


def test_doctor_tells_a_missing_model(shell: Shell) -> None:
    shell.environ["TCHAT_MODEL"] = "/nonexistent.gguf"
    ran = shell("doctor")
    assert ran.code == 3
    assert "model\tproblem\t/nonexistent.gguf" in ran.out


# listings


def test_columns_are_aligned_by_what_characters_take() -> None:
    lines = align_columns([["日本", "x"], ["a", "y"], ["e\u0301", "z"]], 80)
    assert lines == ["日本  x", "a     y", "e\u0301     z"]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("", 0, ""),
    ],
)
def test_text_is_cut_at_its_width(text: str, width: int, shown: str) -> None:
    assert truncate(text, width) == shown
    assert cell_width(shown) <= width


@pytest.mark.parametrize(
    ("words", "notice"),
    [
        (("--kv-type", "q8_0"), "`--kv-type` is now called `--cache-type`"),
        (("--no-anyway",), "`--anyway` is now called `--force`"),
        (("-o", "log_chats", "off"), "`log_chats` is now called `save_oneshots`"),
    ],
)
def test_a_former_flag_goes_on_working_with_one_notice(
    shell: Shell, words: tuple[str, ...], notice: str
) -> None:
    ran = shell("ask", *words, "hello")
    assert ran.code == 0
    assert ran.err.count(notice) == 1
    assert shell("ask", *words, "-q", "hello").err == ""
    assert words[0] not in shell("ask", "--help").out or words[0] == "-o"
    assert shell("ask", *words, "-q", "hello").err == ""


def test_a_former_setting_goes_on_working_in_config(shell: Shell) -> None:
    assert "`judge` is now called `ranker`" in shell("config", "set", "judge", "logprob").err
    got = shell("config", "get", "judge")
    assert (got.out, "`judge` is now called `ranker`" in got.err) == ("logprob\n", True)
    assert shell("config", "get", "ranker").err == ""
