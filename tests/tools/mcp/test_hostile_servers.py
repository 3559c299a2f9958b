"""Servers that hang, die, flood, or send hostile text: they harm nothing but their own calls."""

from __future__ import annotations

import gc
import json
import re
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tchat.sanitize import printable
from tchat.tools.mcp.connection import MAX_WAITING
from tchat.tools.mcp.listings import MAX_TOOLS
from tchat.tools.mcp.messages import MAX_MESSAGE
from tchat.tools.mcp.questions import MAX_QUESTIONS
from tchat.tools.mcp.server import ServerState
from tchat.tools.tool import NAME, ToolError
from tests.tools.mcp.stage import HERE, OFFICIAL, McpStage, Person, hostile, served_over_http

MB = 1 << 20


@contextmanager
def little_memory(most: int = 64 * MB) -> Iterator[None]:
    """The peak of this process grows by little."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < most, f"{grown / MB:.0f} MB"


# Calls that fail, each with what the user is told.
FAILURES = {
    "die": "h cannot be used: it ended with exit code 3",
    "flood-line": f"h cannot be used: it sent a message of more than {MAX_MESSAGE >> 20} MB",
    "flood-garbage": "h cannot be used: what it sends is no MCP",
    "wrong": "h answered with an error: what it sends is no valid answer",
    "code": "h answered with an error: ␛[31mbroken␛[0m",
    "hang": "h did not answer within 1 seconds",
    "flood-messages": "h did not answer within 1 seconds",
    "not-an-object": "h answered with an error: what it sends is no valid answer",
    "null": "h answered with an error: what it sends is no valid answer",
    "nested": "h answered with an error: what it sends is no valid answer",
    "nested-first": "h answered with an error: what it sends is no valid answer",
}


@pytest.mark.parametrize("mode", FAILURES)
def test_a_failing_call_harms_only_itself(
    stage: McpStage, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    servers = stage.open(h=hostile(mode), o=OFFICIAL)
    tools = {tool.name: tool for tool in servers.tools(60)}
    if "within" in FAILURES[mode]:
        monkeypatch.setattr("tchat.tools.mcp.server.CALL_SECONDS", 1.0)
    with little_memory(), pytest.raises(ToolError, match=re.escape(FAILURES[mode])) as caught:
        tools["h__good"].call({})
    assert printable(str(caught.value)) == str(caught.value)
    assert tools["o__add"].call({"a": 1, "b": 2}) == "3"
    if mode in ("die", "flood-line", "flood-garbage"):  # started again by the next call
        with pytest.raises(ToolError, match=re.escape(FAILURES[mode])):
            tools["h__good"].call({})


def test_a_server_that_ends_again_and_again_is_given_up(stage: McpStage) -> None:
    good = stage.good("die")
    for _ in range(6):
        with pytest.raises(ToolError, match="it ended"):
            good.call({})
    with pytest.raises(ToolError, match="again and again; `/mcp restart h` tries once more"):
        good.call({})


@pytest.mark.parametrize("mode", ["malformed", "storm", "flood-errors", "pattern"])
def test_noise_around_an_answer_is_nothing(stage: McpStage, mode: str) -> None:
    with little_memory():
        good = stage.good(mode)
        assert good.call({}) in ("fine", "x")
    log = stage.log  # once: it grows meanwhile
    assert len(log) < MB
    assert printable(log) == log


def test_a_storm_of_changes_is_one_change(stage: McpStage) -> None:
    servers = stage.open(h=hostile("storm"))
    for _ in range(2):
        assert [tool.name for tool in servers.tools()] == ["h__good"]


def test_endless_pages_end(stage: McpStage) -> None:
    assert len(stage.open(h=hostile("endless-pages")).tools()) == 100


def test_a_list_that_a_server_does_not_know_is_empty(stage: McpStage) -> None:
    servers = stage.open(h=hostile("few-lists"))
    assert [tool.name for tool in servers.tools()] == ["h__good"]
    assert [each.uri for each in servers.resources()] == ["memo://a"]
    assert list(servers.prompts()) == []


def test_a_list_that_cannot_be_read_fails_at_once(stage: McpStage) -> None:
    servers = stage.open(h=hostile("nested-schema"))
    assert list(servers.tools()) == []
    assert "what it sends is no valid answer" in servers.status()[0].error


def test_hundreds_of_tools_are_cut(stage: McpStage) -> None:
    servers = stage.open(h=hostile("many"))
    assert len(servers.tools()) == MAX_TOOLS
    assert servers.status()[0].left_out == (f"there are more than {MAX_TOOLS} tools",)


def test_names_and_descriptions_are_harmless(stage: McpStage) -> None:
    tools = stage.open(h=hostile("names")).tools()
    assert len({tool.name for tool in tools}) == 6
    assert all(NAME.fullmatch(tool.name) for tool in tools)
    assert all(printable(tool.description) == tool.description for tool in tools)
    assert [tool.call({}) for tool in tools] == ["fine"] * 6


def test_schemas_beyond_the_bounds_are_left_out(stage: McpStage) -> None:
    servers = stage.open(h=hostile("schemas"))
    tools = {tool.name: tool for tool in servers.tools()}
    assert set(tools) == {"h__good", "h__pattern"}
    assert [each.partition(":")[0] for each in servers.status()[0].left_out] == [
        "large",
        "doubling",
        "deep",
        "elsewhere",
    ]
    assert tools["h__pattern"].call({"text": "a" * 40 + "!"}) == "fine"


def test_a_schema_of_ten_megabytes_is_no_message(stage: McpStage) -> None:
    servers = stage.open(h=hostile("huge-schema"), o=OFFICIAL)
    with little_memory():
        assert "o__add" in [tool.name for tool in servers.tools(60)]
    assert "a message of more than" in servers.status()[0].error
    servers.tools()  # is not tried again
    assert servers.status()[0].state is ServerState.FAILED


@pytest.mark.parametrize("mode", ["no-start", "early-end"])
def test_a_server_that_does_not_start(
    stage: McpStage, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    if mode == "no-start":
        monkeypatch.setattr("tchat.tools.mcp.connection.START_SECONDS", 3.0)
    servers = stage.open(h=hostile(mode))
    assert servers.tools(60) == []
    error = servers.status()[0].error
    if mode == "no-start":
        assert "it did not start within 3 seconds" in error
    else:
        assert "it ended with exit code 3 (cannot find the key ␛[31mKEY)" in error


def test_who_waits_for_a_start_can_stop(stage: McpStage) -> None:
    person = Person(stops_after=0.5)
    servers = stage.open(person, h=hostile("no-start"))
    assert servers.tools() == []
    assert servers.status()[0].state is ServerState.STARTING


def test_a_slow_start_is_not_waited_for_by_others(stage: McpStage) -> None:
    servers = stage.open(h=hostile("no-start"), o=OFFICIAL)
    servers.start()
    servers.servers["o"].tools()
    assert servers.tools(0.0)
    assert servers.status()[0].state is ServerState.STARTING


def test_a_program_that_ignores_its_end_is_killed(stage: McpStage) -> None:
    servers = stage.open(h=hostile("ignores-end"))
    server = servers.servers["h"]
    server.start().wait_ready()
    servers.close()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(HERE / "hostile_server.py") + " ignores-end" not in listed.stdout


def test_a_server_that_is_closed_while_it_starts_is_gone(stage: McpStage) -> None:
    for wait in (0.0, 0.001, 0.002, 0.005, 0.01, 0.05):
        servers = stage.open(h=hostile("no-start"))
        servers.start()
        time.sleep(wait)
        servers.close()
    gc.collect()  # what was left open would warn
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(HERE / "hostile_server.py") + " no-start" not in listed.stdout


def test_results_stay_raw_and_what_is_no_text_is_named(stage: McpStage) -> None:
    assert stage.good("escapes").call({}) == "\x1b]52;c;AAAA\x07\x1b[2J\u202eevil\u200b"
    text = stage.good("picture").call({})
    assert text == "[image/png␛[2J, 300 B: no text]\n\n[me␛mo: memo://x␛[2J]"
    with pytest.raises(ToolError, match="no"):
        stage.good("error").call({})


def test_requests_that_nobody_made_are_refused(stage: McpStage) -> None:
    replies = json.loads(stage.good("unknown-request", Person()).call({}))
    assert [reply["error"]["code"] for reply in replies] == [-32601] * 3


def test_a_sampling_request_is_bounded_and_harmless(stage: McpStage) -> None:
    person = Person(reply="fine, thanks")
    (reply,) = json.loads(stage.good("sample", person).call({}))
    assert reply["result"]["content"]["text"] == "fine, thanks"
    (request,) = person.requests
    assert (request.max_tokens, request.temperature) == (4096, 2.0)
    assert request.messages == (("user", "hi ␛[2J"),)


def test_a_storm_of_questions_asks_the_user_a_few_times(stage: McpStage) -> None:
    person = Person(reply="yes")
    replies = json.loads(stage.good("sample-storm", person).call({}))
    assert len(person.requests) <= MAX_QUESTIONS
    assert sum("error" in reply for reply in replies) >= 2000 - MAX_QUESTIONS
    assert MAX_WAITING <= MAX_QUESTIONS


def test_only_calls_of_tools_ask(stage: McpStage) -> None:
    person = Person(reply="yes")
    assert stage.open(person, h=hostile("sample-while-listing")).resources()
    assert person.requests == []


def test_without_a_host_questions_are_not_supported(stage: McpStage) -> None:
    for mode in ("sample", "form"):
        (reply,) = json.loads(stage.good(mode).call({}))
        assert "error" in reply


def test_a_form_is_shown_harmless_and_answered(stage: McpStage) -> None:
    person = Person(answers={"name": "Ada", "size": "m", "toppings": ["a"], "age": 7})
    (reply,) = json.loads(stage.good("form", person).call({}))
    assert reply["result"] == {"action": "accept", "content": person.answers}
    (form,) = person.forms
    assert form.message == "Your ␛[31mname⟦U+202E⟧?"
    assert [field.title for field in form.fields] == ["Na␛[31mme", "size", "toppings", "age"]
    assert form.fields[1].options == (("s", "Small"), ("m", "Medium"))


def test_resources_that_cannot_be_named_are_left_out(stage: McpStage) -> None:
    (found,) = stage.open(h=hostile("good")).resources()
    assert (found.uri, found.name) == ("memo://a", "n␛memo://a")


HTTP_SERVER = """
import http.server, json, sys, time
mode, port = sys.argv[1], int(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self): self.send_error(405)
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind, body = "application/json", None
        if mode == "private":
            return self.send_error(401)
        if request.get("method") == "initialize":
            body = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "h", "version": "1"}}
        elif request.get("method") == "tools/list":
            body = {"tools": [{"name": "good", "inputSchema": {"type": "object"}}]}
        elif "id" not in request:
            self.send_response(202); self.end_headers(); return
        elif request["method"] != "tools/call":
            return self.send_error(404)
        if body is not None:
            data = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": body}).encode()
            self.send_response(200); self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data))); self.end_headers()
            self.wfile.write(data); return
        if mode == "redirect":
            self.send_response(307); self.send_header("Location", "http://127.0.0.2:1/steal")
            self.end_headers(); return
        if mode == "drop":
            self.connection.close(); return
        self.send_response(200)
        if mode in ("events", "line"): kind = "text/event-stream"
        if mode == "gzip": self.send_header("Content-Encoding", "gzip")
        if mode == "kind": kind = "text/html"
        self.send_header("Content-Type", kind); self.end_headers()
        note = json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        piece = f"event: message\\ndata: {note}\\n\\n" if mode == "events" else "x" * 65536
        try:
            while mode != "hang": self.wfile.write(piece.encode())
            time.sleep(3600)
        except OSError: pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    "mode", ["flood", "line", "events", "gzip", "kind", "hang", "redirect", "drop"]
)
def test_hostile_answers_over_http(
    stage: McpStage, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    script = stage.home / "server.py"
    script.write_text(textwrap.dedent(HTTP_SERVER))
    monkeypatch.setattr("tchat.tools.mcp.server.CALL_SECONDS", 2.0)
    with served_over_http(str(script), mode) as url:
        (good,) = stage.open(h={"url": url}).tools()
        with little_memory(), pytest.raises(ToolError) as caught:
            good.call({})
        assert printable(str(caught.value)) == str(caught.value)
        stage.opened[-1].close()


def test_a_server_that_refuses_access_is_told(stage: McpStage) -> None:
    script = stage.home / "server.py"
    script.write_text(textwrap.dedent(HTTP_SERVER))
    with served_over_http(str(script), "private") as url:
        servers = stage.open(h={"url": url})
        assert servers.tools() == []
        assert "it refuses access (HTTP 401); `headers` in mcp.json" in servers.status()[0].error
        servers.close()


def test_hung_servers_do_not_keep_the_process(stage: McpStage) -> None:
    stage.open(h=hostile("hang"))
    program = textwrap.dedent(
        f"""
        import threading, time
        from pathlib import Path
        from tchat.paths import Paths
        from tchat.tools.mcp.servers import open_mcp_tools
        servers = open_mcp_tools(Paths(Path({str(stage.home)!r}), Path({str(stage.home)!r})))
        (good,) = servers.tools()
        threading.Thread(target=good.call, args=({{}},), daemon=True).start()
        time.sleep(0.3)
        print("end", flush=True)
        """
    )
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert time.monotonic() - start < 50
