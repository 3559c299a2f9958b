"""MCP servers in prompts and in the chat on lines: tools, resources, prompts, and what they ask."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.cli.mcp_host import LineMcpHost
from tchat.engine.binding import Cancel
from tchat.sessions.store import SessionStore
from tchat.tools.mcp.host import FieldKind, FormField, McpForm, SamplingRequest
from tests.cli.shell import CALL, Shell, Terminal, TypedInput
from tests.tools.mcp.stage import OFFICIAL, hostile

ADD = f'{CALL}o__add {{"a": 40, "b": 2}}'


def write_servers(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    servers = {"o": OFFICIAL, "bad": hostile("early-end")}
    (home / "mcp.json").write_text(json.dumps({"mcpServers": servers}))


class TestOnePrompt:
    @pytest.fixture(autouse=True)
    def _with_servers(self, home: Path) -> None:
        write_servers(home)

    def test_a_tool_needs_a_rule_whatever_its_server_claims(self, shell: Shell) -> None:
        assert shell("-T", "o__add", ADD).code == 7
        ran = shell("-T", "o__a*", "--allow", "o__add", ADD)
        assert ran.code == 0
        assert ran.err.startswith("▸ o__add")

    def test_a_server_that_fails_is_told_once(self, shell: Shell) -> None:
        ran = shell("-T", "bad__*", "hello")
        assert ran.code == 2
        assert "the MCP server bad fails: it ended with exit code 3" in ran.err
        shell.environ["TCHAT_TOOLS_ENABLED"] = "bad__*,calculator"
        ran = shell("hello")
        assert ran.code == 0
        assert ran.err.count("the MCP server bad fails") == 1

    def test_a_tool_is_called_from_the_command_line(self, shell: Shell) -> None:
        shell.environ["TCHAT_TOOLS_ALLOW"] = "o__add"
        assert shell("tools", "test", "o__add", '{"a": 1, "b": 2}').out == "3\n"
        assert shell("tools", "test", "o__ask").code == 7
        assert "o__*\toff\tMCP server" in shell("tools", "ls").out

    def test_a_prompt_of_a_server_is_a_template(self, shell: Shell) -> None:
        assert shell("-t", "o:review", "-p", "language", "{input}").out == (
            "Review this {input} in a kind tone.\n"
        )
        for arguments, told in (
            (("-t", "o:review"), "needs a value for `language`"),
            (("-t", "o:review", "-p", "l", "C"), "has no variable `l`"),
            (("-t", "p:review"), "there is no MCP server `p`"),
        ):
            failed = shell(*arguments)
            assert failed.code == 2
            assert told in failed.err


def said(*lines: str, flags: tuple[str, ...] = ()) -> str:
    """What a chat of these lines with the tiny model says beside its replies."""
    out, err = io.StringIO(), io.StringIO()
    stdin = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    options = ["--plain", "--max-tokens", "2", "-q", *flags]
    assert program(options, Console(stdin, out, err, os.environ)) == 0
    return err.getvalue()


class TestLineChat:
    @pytest.fixture(autouse=True)
    def _with_servers(self, tiny_home: Path) -> None:
        write_servers(tiny_home)

    def prompts(self, home: Path) -> list[str]:
        with SessionStore(home / "sessions.db") as store:
            branch = store.branch(store.sessions()[0].id)
        return [message.text for message in branch if message.role == "user"]

    def test_servers_are_listed_and_restarted(self) -> None:
        told = said("/mcp", "/mcp tools", "/mcp", "/mcp restart o", "/mcp restart x", "/mcp stop")
        assert told.startswith("o: not started\nbad: not started\n")
        assert "o__add  Add two numbers\n" in told
        assert "the MCP server bad fails: it ended with exit code 3" in told
        assert "o: ready; o__add, " in told
        assert "o starts again." in told
        assert "there is no MCP server `x`; there are o, bad" in told
        assert "/mcp does not take `stop`" in told

    def test_resources_and_prompts_are_sent(self, tiny_home: Path) -> None:
        told = said(
            "/mcp resources",
            "/mcp prompts",
            "What is in @o:memo://today?",
            "/prompt o:review language=C",
            "/prompt o:review",
            "@o:memo://nothing/x.py",
            "@p:memo://x",
        )
        assert "@o:memo://today  The memo of today." in told
        assert "/prompt o:review language=… [tone=…]  Review code." in told
        assert "needs a value for `language`" in told
        assert "the MCP server o answered with an error" in told
        assert self.prompts(tiny_home) == [
            "File o:memo://today:\n```\nBuy milk\n```\n\nWhat is in @o:memo://today?",
            "Review this C in a kind tone.",
            "@p:memo://x",
        ]

    def test_tools_are_turned_on_for_a_session(self) -> None:
        told = said("/tools o__*", "/tools", "/tools o__add", "/tools o__*", "/tools zzz__x")
        assert "Tools that are on: o__*." in told
        assert "Tools that are on: o__*, o__add." in told
        assert "Tools that are on: o__add." in told
        assert "there is no tool zzz__x" in told

    def test_switched_off_there_are_none(self) -> None:
        told = said("/set tools.mcp off", "/mcp", "/mcp tools")
        assert told.count("MCP servers are off; /set tools.mcp on") == 2


FORM = McpForm(
    "s",
    "Which table?",
    (
        FormField("seats", "Seats", "How many", FieldKind.INTEGER, is_required=True, low=1),
        FormField("size", "Size", "", FieldKind.CHOICE, (("s", "Small"),), default="s"),
    ),
)


class TestQuestions:
    def host(self, *lines: str) -> tuple[LineMcpHost, Terminal]:
        err = Terminal()
        stdin = TypedInput("".join(f"{line}\n" for line in lines).encode())
        return LineMcpHost(Console(stdin, io.StringIO(), err, os.environ), Cancel()), err

    def test_a_form_is_asked_field_by_field_and_shown_before_it_is_sent(self) -> None:
        host, err = self.host("y", "none", "3", "", "y")
        assert host.ask_form(FORM) == {"seats": 3, "size": "s"}
        shown = err.getvalue()
        assert shown.startswith("The MCP server s asks:\nWhich table?\nAnswer? [y/N] ")
        assert "Seats - How many > " in shown
        assert "answer with a whole number" in shown
        assert "Size (Small) [s] > " in shown
        assert "seats: 3\nsize: s\nSend this to s? [y/N] " in shown

    @pytest.mark.parametrize(
        "lines", [("n",), ("",), (), ("y", "3", "", "n"), ("y", "x", "x", "x"), ("y",)]
    )
    def test_a_form_that_is_not_confirmed_is_declined(self, lines: tuple[str, ...]) -> None:
        assert self.host(*lines)[0].ask_form(FORM) is None

    def test_a_page_is_shown_and_never_opened(self) -> None:
        form = McpForm("s", "Sign in", url="https://a.example/login")
        host, err = self.host("y")
        assert host.ask_form(form) == {}
        assert "https://a.example/login\n" in err.getvalue()
        assert self.host("n")[0].ask_form(form) is None

    def test_without_a_terminal_everything_is_declined(self) -> None:
        stdin = io.BytesIO(b"y\ny\ny\n")
        host = LineMcpHost(Console(stdin, io.StringIO(), io.StringIO(), os.environ), Cancel())
        assert host.ask_form(FORM) is None
        request = SamplingRequest("s", "", (("user", "hi"),), 10)
        assert host.ask_sampling(request) is None
