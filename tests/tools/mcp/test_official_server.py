"""Servers of the official package, over both transports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tchat.errors import UsageError
from tchat.tools.executor import Answer, ApprovalChoice
from tchat.tools.mcp.server import ServerState
from tchat.tools.mcp.servers import McpServers
from tchat.tools.tool import Effect, Tool, ToolError
from tests.tools.mcp.stage import HERE, OFFICIAL, McpStage, Person, served_over_http
from tests.tools.workplace import Workplace


@contextmanager
def over_stdio() -> Iterator[Mapping[str, Any]]:
    yield OFFICIAL


@contextmanager
def over_http() -> Iterator[Mapping[str, Any]]:
    with served_over_http(str(HERE / "official_server.py")) as url:
        yield {"url": url, "headers": {"X-Test": "1"}}


both = pytest.mark.parametrize("serve", [over_stdio, over_http])
Serve = Callable[[], Any]


def named(servers: McpServers) -> dict[str, Tool]:
    return {tool.name: tool for tool in servers.tools(60)}


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@both
def test_its_tools_resources_and_prompts_are_used(stage: McpStage, serve: Serve) -> None:
    person = Person(answers={"date": "Friday", "seats": 4}, reply="a pear")
    with serve() as config:
        servers = stage.open(person, o=config)
        tools = named(servers)
        assert tools["o__add"].call({"a": 2, "b": 40}) == "42"
        assert tools["o__add"].description == "Add two numbers."
        with pytest.raises(ToolError, match="do not fit"):
            tools["o__add"].call({"a": "two"})
        with pytest.raises(ToolError, match="fail"):
            tools["o__fail"].call({})
        assert tools["o__slow"].call({"steps": 6}) == "done"
        assert [each.message for each in person.seen] == sorted({p.message for p in person.seen})
        assert person.seen[-1].total == 6
        assert tools["o__book"].call({}) == "booked Friday for 4"
        assert [each.name for each in person.forms[0].fields] == ["date", "seats", "window"]
        assert tools["o__ask"].call({}) == "the model said a pear"
        assert person.requests[0].system == "Be short"
        assert person.requests[0].messages == (("user", "Name a fruit"),)

        memo, template = servers.resources()
        assert (memo.mention, memo.is_template) == ("o:memo://today", False)
        assert (template.uri, template.is_template) == ("memo://{day}/all", True)
        assert servers.read_resource(memo.mention) == "Buy milk"
        assert servers.read_resource("o:memo://friday/all") == "Nothing on friday"
        with pytest.raises(ToolError, match="o answered with an error"):
            servers.read_resource("o:memo://x")

        (prompt,) = servers.prompts()
        assert (prompt.full_name, prompt.description) == ("o:review", "Review code.")
        assert [(each.name, each.is_required) for each in prompt.arguments] == [
            ("language", True),
            ("tone", False),
        ]
        assert servers.get_prompt("o:review", {"language": "C"}) == "Review this C in a kind tone."
        for name, arguments, reason in (
            ("o:review", {}, "needs a value for `language`"),
            ("o:review", {"langage": "C"}, "did you mean `language`"),
            ("o:reviw", {}, "did you mean `review`"),
            ("p:review", {}, "no MCP server `p`"),
        ):
            with pytest.raises(UsageError, match=reason):
                servers.get_prompt(name, arguments)


@both
def test_a_changed_list_of_tools_is_asked_for_again(stage: McpStage, serve: Serve) -> None:
    with serve() as config:
        servers = stage.open(o=config)
        tools = named(servers)
        assert not servers.is_stale
        assert tools["o__grow"].call({}) == "grown"
        eventually(lambda: servers.is_stale)
        assert named(servers)["o__grown"].call({}) == "new"
        assert not servers.is_stale


@both
def test_a_stopped_call_ends_at_once_and_the_server_goes_on(stage: McpStage, serve: Serve) -> None:
    person = Person()
    with serve() as config:
        tools = named(stage.open(person, o=config))
        person.stops_after = time.monotonic() - person.start + 0.2
        with pytest.raises(ToolError, match="stopped"):
            tools["o__for_ever"].call({})
        person.stops_after = float("inf")
        assert tools["o__add"].call({"a": 1, "b": 1}) == "2"
        if config is OFFICIAL:
            eventually(lambda: "for_ever was cancelled" in stage.log)


def test_a_call_that_takes_too_long_is_given_up(
    stage: McpStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = named(stage.open(o=OFFICIAL))
    monkeypatch.setattr("tchat.tools.mcp.server.CALL_SECONDS", 0.3)
    with pytest.raises(ToolError, match="o did not answer within 1 seconds"):
        tools["o__for_ever"].call({})
    # Progress is a sign of life.
    assert tools["o__slow"].call({"steps": 12}) == "done"


def test_without_anybody_to_ask_nothing_is_asked(stage: McpStage) -> None:
    tools = named(stage.open(o=OFFICIAL))
    for name in ("o__book", "o__ask"):
        with pytest.raises(ToolError):
            tools[name].call({})


def test_who_declines_shares_nothing(stage: McpStage) -> None:
    person = Person()
    tools = named(stage.open(person, o=OFFICIAL))
    assert tools["o__book"].call({}) == "not booked: decline"
    person.answers = {"seats": 40}
    assert tools["o__book"].call({}) == "not booked: cancel"
    with pytest.raises(ToolError, match="rejected"):
        tools["o__ask"].call({})


def test_a_program_gets_a_bare_environment_and_what_its_entry_names(
    stage: McpStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("FROM_OUTSIDE", "yes")
    env = {"OWN": "1", "PASSED": "${FROM_OUTSIDE}", "ELSE": "${NOT_THERE:-fallback}"}
    tools = named(stage.open(o={**OFFICIAL, "env": env}))
    lines = tools["o__environment"].call({}).splitlines()
    assert {"OWN=1", "PASSED=yes", "ELSE=fallback"} <= set(lines)
    names = {line.partition("=")[0] for line in lines}
    assert not names & {"OPENAI_API_KEY", "FROM_OUTSIDE", "TCHAT_HOME", "PYTEST_CURRENT_TEST"}


def test_its_standard_error_goes_to_the_log_without_escapes(
    stage: McpStage, capfd: pytest.CaptureFixture[str]
) -> None:
    named(stage.open(o=OFFICIAL))
    eventually(lambda: "official server" in stage.log)
    assert "mcp o: official server ␛[31mstarts␛[0m" in stage.log
    assert capfd.readouterr() == ("", "")


def test_what_it_claims_about_a_tool_allows_nothing(stage: McpStage, place: Workplace) -> None:
    tools = named(stage.open(o=OFFICIAL))
    add = tools["o__add"]  # readOnlyHint is true
    assert add.effects == frozenset(Effect)
    assert add.is_untrusted
    executor = place.executor((), answers=[Answer(ApprovalChoice.DENY)], allow_reading=True)
    executor.registry.add(add)
    enabled = frozenset({add.name})
    executor = type(executor)(
        executor.registry, enabled, executor.roots, executor.approval, executor.log, executor.ask
    )
    assert executor.run("o__add", {"a": 1, "b": 1}).is_refused
    assert executor.run("o__add", {"a": 1, "b": 1}).content == "2"  # allowed once
    assert len(place.requests) == 2


def test_status_tells_what_servers_do(stage: McpStage) -> None:
    servers = stage.open(o=OFFICIAL, off={**OFFICIAL, "disabled": True}, x={"command": "no-such"})
    assert [each.state for each in servers.status()] == [ServerState.STOPPED] * 2
    assert "o__add" in named(servers)
    good, bad = servers.status()
    assert (good.name, good.transport, good.state) == ("o", "stdio", ServerState.READY)
    assert "o__add" in good.tools
    assert (bad.name, bad.state) == ("x", ServerState.FAILED)
    assert "there is no program no-such" in bad.error
    servers.restart("o")
    assert servers.status()[0].state is ServerState.STARTING
    assert "o__add" in named(servers)
    with pytest.raises(UsageError, match="there are o, x"):
        servers.restart("y")


def test_a_server_that_is_not_there_is_told_in_one_line(stage: McpStage) -> None:
    servers = stage.open(web={"url": "http://127.0.0.1:9/mcp"}, o=OFFICIAL)
    assert "o__add" in named(servers)
    error = next(each.error for each in servers.status() if each.name == "web")
    assert error.startswith("it cannot be reached: ")
    with pytest.raises(ToolError, match="the MCP server web cannot be used: it cannot be reached"):
        servers.read_resource("web:memo://x")


def test_an_unset_variable_is_named(stage: McpStage) -> None:
    servers = stage.open(o={**OFFICIAL, "env": {"A": "${NOT_THERE_EITHER}"}})
    assert servers.tools() == []
    assert "needs the environment variable NOT_THERE_EITHER" in servers.status()[0].error
