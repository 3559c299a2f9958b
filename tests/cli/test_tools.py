"""Tools on the command line: what runs, what is asked, what is printed, and how it ends."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tchat import manual
from tchat.sessions.store import SessionStore
from tests.cli.shell import CALL, Shell

READ = f'{CALL}read_file {{"path": "notes.txt"}}'
RUN = f'{CALL}run_command {{"command": ["touch", "made"]}}'
WRITE = f'{CALL}write_file {{"path": "notes.txt", "content": "other milk\\n"}}'
CALCULATE = f'{CALL}calculator {{"expression": "17*23"}}'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("remember the milk\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("folder")
class TestWithoutATerminal:
    def test_a_tool_that_was_named_runs_if_it_only_reads(self, shell: Shell) -> None:
        ran = shell("-T", "read_file,calculator", READ)
        assert (ran.code, ran.out) == (0, f"Let me see.\n\n{READ}\n")
        assert ran.err == "▸ read_file notes.txt · 18 B · 3 ms\n"

    @pytest.mark.parametrize("flags", [("-T", "run_command"), ("--tools=run_command",)])
    def test_others_are_refused_and_the_exit_code_tells(
        self, shell: Shell, folder: Path, flags: tuple[str, ...]
    ) -> None:
        ran = shell(*flags, RUN)
        assert ran.code == 7
        assert ran.out.endswith(f"{RUN}\n")
        assert "⊘ run_command touch made · refused\n" in ran.err
        assert "1 call of a tool was refused: nobody can be asked here; a rule allows" in ran.err
        assert not (folder / "made").exists()

    def test_a_rule_allows_what_it_covers(self, shell: Shell, folder: Path) -> None:
        ran = shell("-T", "run_command", "--allow", "run_command(touch *)", RUN)
        assert ran.code == 0
        assert (folder / "made").exists()
        assert shell("-T", "run_command", "--allow", "run_command(rm *)", RUN).code == 7

    def test_denying_wins_over_a_flag(self, shell: Shell, folder: Path) -> None:
        shell.environ["TCHAT_TOOLS_DENY"] = "run_command(touch*)"
        assert shell("-T", "run_command", "--allow", "run_command", RUN).code == 7
        assert not (folder / "made").exists()

    def test_a_tool_of_the_configuration_needs_a_rule(self, shell: Shell) -> None:
        assert shell("config", "set", "tools.enabled", "read_file").code == 0
        assert shell(READ).code == 7
        assert shell("config", "set", "tools.allow_reading", "on").code == 0
        assert shell(READ).code == 7  # that is for where somebody could be asked
        assert shell("config", "set", "tools.allow", "read_file(*.txt)").code == 0
        assert shell(READ).code == 0

    @pytest.mark.parametrize(
        ("flags", "stdin", "code"),
        [
            ((), b"", 0),
            ((), b"text of others", 7),
            (("-f", "notes.txt"), b"", 7),
            (("-o", "tools.ask_after_untrusted", "off"), b"text of others", 0),
        ],
    )
    def test_behind_text_of_others_a_rule_allows_only_what_reads(
        self, shell: Shell, flags: tuple[str, ...], stdin: bytes, code: int
    ) -> None:
        rule = ("-T", "run_command", "--allow", "run_command(touch *)")
        shell.answer = lambda _: "done"
        shell.call = RUN
        ran = shell(*rule, *flags, "Look at this", stdin=stdin)
        assert ran.code == code
        assert ("behind text of others, rules allow only what reads" in ran.err) == (code == 7)

    @pytest.mark.parametrize("value", ["run_command('x)", "x(", "read_file()"])
    def test_a_rule_that_is_none_is_not_saved(self, shell: Shell, home: Path, value: str) -> None:
        ran = shell("config", "set", "tools.allow", value)
        assert (ran.code, "write one such as" in ran.err) == (2, True)
        assert not (home / "config.toml").exists()

    @pytest.mark.parametrize(
        ("name", "value", "told"),
        [
            ("deny", "search_files(private/*),read_file(private/*)", "write several as a list"),
            ("deny", "secret.txt", "as in `*(secret.txt)`"),
            ("deny", "run_comand(touch *)", "did you mean `run_command`?"),
            ("deny", "files__read(x)", "for all its calls write `files__read`"),
            ("deny", "elsewhere__read", "as there is no such tool"),
            ("deny", "own(secret.txt)", "for all its calls write `own`"),
            ("ask", "calculator(x)", "for all its calls write `calculator`"),
            ("allow", "Read_File", "did you mean `read_file`?"),
        ],
    )
    def test_a_rule_that_matches_no_call_is_refused_when_set_and_when_read(
        self, shell: Shell, home: Path, folder: Path, name: str, value: str, told: str
    ) -> None:
        (home / "tools").mkdir(parents=True)
        (home / "tools" / "own.py").write_text("def call(arguments): ...")
        servers = {"mcpServers": {"files": {"command": "false"}}}
        (home / "mcp.json").write_text(json.dumps(servers))
        ran = shell("config", "set", f"tools.{name}", value)
        assert (ran.code, told in ran.err) == (2, True)
        assert not (home / "config.toml").exists()
        allowed = () if name == "allow" else ("--allow", "run_command")
        ran = shell("-T", "run_command", *allowed, "-o", f"tools.{name}", value, RUN)
        assert (ran.code, told in ran.err) == (2, True)
        (home / "config.toml").write_text(f"tools.{name} = [{json.dumps(value)}]\n")
        ran = shell("-T", "run_command", *allowed, RUN)
        assert (ran.code, told in ran.err) == (2, True)
        assert not (folder / "made").exists()

    @pytest.mark.parametrize(
        ("value", "is_narrow"),
        [
            ("read_file(secret.txt)", True),
            ("search_files(private/*)", True),
            ("*(secret.txt)", False),
            ("read_file", False),
            ("edit_file(*.lock)", False),
            ('["read_file(a)", "*_files(a)"]', False),
        ],
    )
    def test_a_path_that_is_denied_to_one_reading_tool_is_told(
        self, shell: Shell, value: str, is_narrow: bool
    ) -> None:
        ran = shell("config", "set", "tools.deny", value)
        assert (ran.code, "denies it to all" in ran.err) == (0, is_narrow)

    @pytest.mark.parametrize("value", ["files__*", "files__read", "own", "*(secret.txt)"])
    def test_a_rule_about_tools_of_others_is_saved(
        self, shell: Shell, home: Path, value: str
    ) -> None:
        (home / "tools").mkdir(parents=True)
        (home / "tools" / "own.py").write_text("def call(arguments): ...")
        servers = {"mcpServers": {"files": {"command": "false"}}}
        (home / "mcp.json").write_text(json.dumps(servers))
        assert shell("config", "set", "tools.deny", value).code == 0
        assert shell("-T", "calculator", CALCULATE).code == 0

    def test_quiet_hides_the_steps(self, shell: Shell) -> None:
        assert shell("-q", "-T", "read_file", READ).err == ""
        ran = shell("-q", "-T", "run_command", RUN)
        assert (ran.code, ran.err) == (7, "")

    def test_json_has_every_call(self, shell: Shell) -> None:
        ran = shell("--json", "-T", "calculator", CALCULATE)
        value = json.loads(ran.out)
        assert value["reply"] == CALCULATE
        assert value["tool_calls"] == [
            {
                "name": "calculator",
                "arguments": {"expression": "17*23"},
                "state": "done",
                "result": "391",
                "seconds": 0.003,
            }
        ]
        assert "tool_calls" not in json.loads(shell("--json", "hello").out)

    def test_hostile_text_is_harmless(self, shell: Shell, folder: Path) -> None:
        call = json.dumps({"path": "\x1b]52;c;eA==\x07\u202e\nnotes.txt"})
        ran = shell("-T", "read_file", f"{CALL}read_file {call}")
        assert "␛]52;c;eA==␇⟦U+202E⟧ notes.txt" in ran.err
        assert not set(ran.err) & set("\x1b\x07\u202e")

    @pytest.mark.parametrize(
        ("flags", "told"),
        [
            (("-T", "calculatr"), "there is no tool calculatr; the tools are"),
            (("-T", "calculator", "--allow", "x("), "`x(` is no rule for tools"),
            (("-T", "calculator", "--tool-choice", "python"), "the tool python is not on"),
            (("--tool-choice", "required"), "--tool-choice needs a tool that is on"),
            (("-T", "calculator", "--yes-no"), "--tools and --yes-no cannot be combined"),
            (("-T", "calculator", "-N", "2"), "--tools and --candidates cannot be combined"),
            (("-T", "calculator", "--cmd"), "--tools and --cmd cannot be combined"),
            (("-T", "calculator", "--max-steps", "0"), "`tools.max_steps` (--max-steps) must be"),
            (("-T", "read_file", "-o", "tools.roots", "/nowhere"), "/nowhere is no folder"),
        ],
    )
    def test_what_is_wrong_is_told(self, shell: Shell, flags: tuple[str, ...], told: str) -> None:
        ran = shell(*flags, "hello")
        assert (ran.code, ran.out) == (2, "")
        assert told in ran.err

    def test_a_form_of_the_reply_leaves_configured_tools_out(self, shell: Shell) -> None:
        shell.probabilities = (("yes", 0.9), ("no", 0.1))
        shell.environ["TCHAT_TOOLS_ENABLED"] = "calculator"
        assert shell("--yes-no", "Is it?").code == 0
        assert shell.chats[-1].tools is None


@pytest.mark.usefixtures("folder")
class TestOnATerminal:
    def ask(self, shell: Shell, prompt: str, typed: str, *flags: str) -> tuple[int, str]:
        tool = prompt.removeprefix(CALL).partition(" ")[0]
        ran = shell("-T", tool, *flags, prompt, stdin=typed.encode(), terminal=True)
        return ran.code, ran.err

    def test_the_call_is_shown_and_runs_after_a_yes(self, shell: Shell, folder: Path) -> None:
        code, err = self.ask(shell, RUN, "y\n")
        assert code == 0
        assert "The model wants to call run_command:\n  command: touch made\n" in err
        assert "p always `touch made`" in err
        assert (folder / "made").exists()

    @pytest.mark.parametrize("typed", ["", "\n", "n\n", "no\n", "not now\n", "x\n\n", "n why\n"])
    def test_anything_else_is_a_no(self, shell: Shell, folder: Path, typed: str) -> None:
        code, err = self.ask(shell, RUN, typed)
        assert code == 0  # the user decided
        assert "⊘ run_command touch made · refused" in err
        assert not (folder / "made").exists()

    def test_a_change_is_shown_as_a_diff(self, shell: Shell, folder: Path) -> None:
        _, err = self.ask(shell, WRITE, "y\n")
        assert f"{folder}/notes.txt\n" in err
        assert "  -remember the milk\n  +other milk\n" in err
        assert (folder / "notes.txt").read_text() == "other milk\n"

    def test_what_is_hidden_in_a_call_is_shown(self, shell: Shell) -> None:
        command = json.dumps({"command": ["echo", "a\u202eb\u200b\x1b[2K\nRun it?"]})
        _, err = self.ask(shell, f"{CALL}run_command {command}", "n\n")
        assert "a⟦U+202E⟧b⟦U+200B⟧␛[2K" in err
        assert not set(err) & set("\u202e\u200b")
        assert "\nRun it?'" not in err

    def test_a_long_argument_is_shown_whole_when_asked_for(self, shell: Shell) -> None:
        content = "".join(f"line {number}\n" for number in range(100))
        call = json.dumps({"path": "long.txt", "content": content})
        _, err = self.ask(shell, f"{CALL}write_file {call}", "v\nn\n")
        first, _, second = err.partition("Run it?")
        assert "line 99" not in first
        assert "more lines; v shows all" in first
        assert "line 99" in second

    def test_a_command_is_shown_with_every_blank_and_return(self, shell: Shell) -> None:
        text = "echo ok" + " " * 500 + "; touch x\rsafe"
        call = json.dumps({"command": ["sh", "-c", text]})
        _, err = self.ask(shell, f"{CALL}run_command {call}", "n\n")
        assert text.replace("\r", "␍") in err

    def test_a_long_line_is_shown_whole_when_asked_for(self, shell: Shell) -> None:
        call = json.dumps({"command": ["echo", "x" * 9000 + "end", "y"]})
        _, err = self.ask(shell, f"{CALL}run_command {call}", "v\nn\n")
        first, _, second = err.partition("Run it?")
        assert "xend" not in first
        assert "more characters; v shows all" in first
        assert len(first) < 4000
        assert "xend" in second

    def test_a_reading_tool_that_was_named_is_not_asked_about(self, shell: Shell) -> None:
        code, err = self.ask(shell, READ, "")
        assert (code, "wants to call" in err) == (0, False)


@pytest.mark.usefixtures("folder")
class TestInTheLineChat:
    def chat(self, shell: Shell, *lines: str, flags: tuple[str, ...] = ()) -> tuple[str, str]:
        typed = "".join(f"{line}\n" for line in lines)
        ran = shell("--plain", *flags, stdin=typed.encode())
        assert ran.code == 0
        return ran.out, ran.err

    def test_tools_are_listed_and_turned_on_for_the_session(self, shell: Shell, home: Path) -> None:
        out, err = self.chat(
            shell, "/tools", "/tools calculator", CALCULATE, "/tools", "/tools off", CALCULATE
        )
        assert "  calculator     off  Compute an arithmetic" in err
        assert "  read_file      off  reads files: Read a text file." in err
        assert "  calculator     on   Compute" in err
        assert "Tools that are on: calculator." in err
        assert err.count("Tool: calculator 17*23 · 3 B") == 1
        assert "All tools are off." in err
        assert out.count("Let me see.") == 1
        with SessionStore(home / "sessions.db") as store:
            [session] = store.sessions()
            assert session.settings == {"tools.enabled": []}

    def test_a_session_goes_on_with_its_tools(self, shell: Shell) -> None:
        self.chat(shell, "hello", "/tools calculator")
        self.chat(shell, "hello again", flags=("-c",))
        assert shell.chats[-1].tools is not None
        assert shell.chats[-1].tools.names == ("calculator",)
        self.chat(shell, "another")
        assert shell.chats[-1].tools is None

    def test_tools_of_servers_are_turned_on_by_name_and_pattern(
        self, shell: Shell, home: Path
    ) -> None:
        servers = {name: {"command": "false"} for name in ("files", "web")}
        home.mkdir(exist_ok=True)
        (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
        self.chat(shell, "hello", "/tools files__read", "/tools web__*", "/tools files__read")
        with SessionStore(home / "sessions.db") as store:
            assert store.sessions()[0].settings == {"tools.enabled": ["web__*"]}

    def test_what_is_not_there_is_told(self, shell: Shell) -> None:
        _, err = self.chat(shell, "/tools calculatr", "/tools nothing_like_it")
        assert "there is no tool calculatr; did you mean `calculator`?" in err
        assert "there is no tool nothing_like_it; /tools lists them" in err

    def test_a_call_that_acts_is_refused_and_the_exit_code_tells(
        self, shell: Shell, folder: Path
    ) -> None:
        ran = shell("--plain", stdin=f"/tools run_command\n{RUN}\n".encode())
        assert ran.code == 7
        assert not (folder / "made").exists()

    def test_a_tool_that_is_gone_does_not_end_the_chat(self, shell: Shell) -> None:
        shell.environ["TCHAT_TOOLS_ENABLED"] = "gone"
        out, err = self.chat(shell, "hello")
        assert out == "hello\n"
        assert "Tools are off: there is no tool gone" in err


class TestTheCommand:
    def test_tools_are_listed(self, shell: Shell, home: Path) -> None:
        shell.environ["TCHAT_TOOLS_ENABLED"] = "calculator,gone"
        rows = [line.split("\t") for line in shell("tools", "ls").out.splitlines()]
        assert ["read_file", "off", "built in", "reads files"] in [row[:4] for row in rows]
        assert ["calculator", "on", "built in", ""] in [row[:4] for row in rows]
        assert rows[-1] == ["gone", "on", "yours", "", "there is no such tool"]
        listed = {each["name"]: each for each in json.loads(shell("tools", "ls", "--json").out)}
        assert listed["write_file"]["effects"] == ["writes files"]

    def test_a_tool_is_tried(self, shell: Shell, folder: Path) -> None:
        ran = shell("tools", "test", "calculator", '{"expression": "2**64"}')
        assert (ran.code, ran.out, ran.err) == (0, "18446744073709551616\n", "")
        ran = shell("tools", "test", "read_file", '{"path": "gone.txt"}')
        assert (ran.code, ran.out) == (1, "")
        assert "gone.txt: not found" in ran.err
        ran = shell("tools", "test", "run_command", '{"command": ["true"]}', "--json")
        assert ran.code == 7
        assert json.loads(ran.out)["decided_by"] == "nobody"

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("calculator", "17*23"), "the arguments are no JSON object"),
            (("calculator", "[1]"), "the arguments are no JSON object"),
            (("calculatr",), "there is no tool calculatr"),
        ],
    )
    def test_what_is_wrong_with_a_call_is_told(
        self, shell: Shell, arguments: tuple[str, ...], told: str
    ) -> None:
        ran = shell("tools", "test", *arguments)
        assert (ran.code, told in ran.err) == (2, True)

    def test_calls_are_logged(self, shell: Shell, folder: Path) -> None:
        assert "no tool was called yet" in shell("tools", "log").err
        shell("-T", "calculator", CALCULATE)
        shell("-T", "run_command", RUN)
        rows = [line.split("\t")[1:] for line in shell("tools", "log").out.splitlines()]
        assert rows[0] == ["calculator", "allow", "rule", "3 B 0 ms", "17*23"]
        assert rows[1][:4] == ["run_command", "deny", "nobody", ""]
        assert rows[1][4].startswith("touch made directory=/")
        [call] = json.loads(shell("tools", "log", "-n", "1", "--json").out)
        assert call["arguments"]["command"] == ["touch", "made"]
        assert "result" not in call

    def test_a_change_is_undone(self, shell: Shell, folder: Path) -> None:
        ran = shell("tools", "undo")
        assert (ran.code, "there is nothing to undo" in ran.err) == (2, True)
        shell("-T", "write_file", "--allow", "write_file", WRITE)
        assert shell("tools", "undo", "--dry-run").out == f"{folder}/notes.txt\n"
        ran = shell("tools", "undo", stdin=b"y\n", terminal=True)
        assert "-other milk\n+remember the milk\n" in ran.err
        assert (folder / "notes.txt").read_text() == "remember the milk\n"

    def test_a_change_that_cannot_be_undone_can_be_given_up(
        self, shell: Shell, folder: Path
    ) -> None:
        for name in ("notes.txt", "sub/deep/x.txt"):
            call = json.dumps({"path": name, "content": "other\n"})
            shell("tools", "test", "write_file", call)
            shell("-T", "write_file", "--allow", "write_file", f"{CALL}write_file {call}")
        shutil.rmtree(folder / "sub")
        ran = shell("tools", "undo", "--yes")
        assert (ran.code, "undo --forget" in ran.err) == (2, True)
        assert shell("tools", "undo", "--forget", "--dry-run").out.endswith("x.txt\n")
        assert shell("tools", "undo", "--forget", "--yes").code == 0
        (folder / "notes.txt").write_text("mine\n")
        ran = shell("tools", "undo", "--yes")
        assert (ran.code, "undo --forget" in ran.err) == (2, True)
        (folder / "notes.txt").write_text("other\n")
        assert shell("tools", "undo", "--yes").code == 0
        assert (folder / "notes.txt").read_text() == "remember the milk\n"

    def test_files_are_denied_to_all_tools(self, shell: Shell, folder: Path) -> None:
        (folder / "a (1)").mkdir()
        (folder / "a (1)" / "x.txt").write_text("milk\n")
        ran = shell("tools", "deny", "notes.txt", "a (1)", "run_command(rm *)")
        assert (ran.code, f"`*({folder}/notes.txt)` is denied now" in ran.err) == (0, True)
        search = ("tools", "test", "search_files", '{"text": "milk"}', "--json")
        shell.environ["TCHAT_TOOLS_ALLOW"] = '["search_files", "read_file", "run_command"]'
        found = json.loads(shell(*search).out)["result"]
        assert "notes.txt" not in found
        assert "x.txt" not in found
        for name in ("notes.txt", "a (1)/x.txt"):
            read = shell("tools", "test", "read_file", json.dumps({"path": name}))
            assert (read.code, "milk" in read.out) == (7, False)
        ran = shell("tools", "test", "run_command", '{"command": ["cat", "notes.txt"]}')
        assert (ran.code, "refuses this call" in ran.err) == (7, True)
        assert shell("tools", "deny", "notes.txt").code == 0
        assert len(json.loads(shell("config", "get", "tools.deny").out)) == 3

    @pytest.mark.parametrize(
        ("what", "told"),
        [
            ("gone.txt", "there is no file gone.txt"),
            ("run_comand(rm *)", "did you mean `run_command`?"),
            ("read_file(a),search_files(a)", "write several as a list"),
        ],
    )
    def test_what_cannot_be_denied_is_told(
        self, shell: Shell, folder: Path, home: Path, what: str, told: str
    ) -> None:
        ran = shell("tools", "deny", "notes.txt", what)
        assert (ran.code, told in ran.err) == (2, True)
        assert not (home / "config.toml").exists()

    def test_a_new_tool_works_at_once(self, shell: Shell, home: Path) -> None:
        ran = shell("tools", "new", "shout")
        assert (ran.code, "tchat -T shout" in ran.err) == (0, True)
        assert shell("tools", "test", "shout", '{"text": "hi"}').out == "HI\n"
        ran = shell("tools", "new", "shout")
        assert (ran.code, "edit or remove" in ran.err) == (2, True)
        assert shell("tools", "new", "calculator").code == 2
        assert not (home / "tools" / "calculator.py").exists()
        assert shell("tools", "new", "../shout").code == 2
        assert "shout" in shell("tools", "ls").out


class TestTheManual:
    """What its page on tools shows works."""

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)```", manual.page("tools"), re.DOTALL)

    def test_the_rules_hold(self, shell: Shell, home: Path, folder: Path) -> None:
        home.mkdir(exist_ok=True)
        rules, _ = self.blocks("toml")
        (home / "config.toml").write_text(rules)
        (folder / "docs").mkdir()
        (folder / "docs" / "guide.md").write_text("guide\n")
        read = '{{"path": "{}"}}'
        assert shell(f"{CALL}read_file {read.format('docs/guide.md')}").code == 0
        assert shell(f"{CALL}read_file {read.format('notes.txt')}").code == 7
        assert shell(f'{CALL}run_command {{"command": ["git", "status"]}}').code == 0
        assert shell(f'{CALL}run_command {{"command": ["git", "push"]}}').code == 7
        assert shell(f'{CALL}run_command {{"command": ["env", "rm", "notes.txt"]}}').code == 7

    def test_the_tools_of_the_user_work(self, shell: Shell, home: Path) -> None:
        (home / "tools").mkdir(parents=True)
        [dice] = self.blocks("python")
        (home / "tools" / "dice.py").write_text(dice)
        assert len(json.loads(shell("tools", "test", "dice", '{"count": 3}').out)) == 3
        assert shell("tools", "test", "dice", '{"count": 0}').code == 1
        _, issue = self.blocks("toml")
        (home / "tools" / "issue.toml").write_text(issue)
        program = home / "tools" / "file-issue"
        program.write_text("#!/bin/sh\ncat\n")
        program.chmod(0o700)
        shell.environ["TCHAT_TOOLS_ALLOW"] = "issue"
        ran = shell("tools", "test", "issue", '{"title": "Broken"}')
        assert '{"title": "Broken"}' in ran.out

    def test_the_call_that_is_tried_prints_what_is_shown(self, shell: Shell, home: Path) -> None:
        shown = next(each for each in self.blocks("console") if "tools test" in each)
        call, _, printed = shown.partition("\n")
        assert shell(*shlex.split(call.removeprefix("$ tchat "))).out == printed

    def test_every_built_in_tool_is_named(self, shell: Shell, home: Path) -> None:
        listed = json.loads(shell("tools", "ls", "--json").out)
        assert all(f"`{each['name']}`" in manual.page("tools") for each in listed)
