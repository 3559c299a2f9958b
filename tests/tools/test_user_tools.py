"""The user's own tools, the registry, schemas, and the small built-in tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tchat.errors import UsageError
from tchat.tools.date_time import date_time_tool
from tchat.tools.page_text import page_text
from tchat.tools.registry import BUILT_IN, ToolRegistry, ToolSettings
from tchat.tools.roots import Roots
from tchat.tools.search_chats import ChatHit, search_chats_tool
from tchat.tools.tool import Effect, Tool, ToolError, object_schema
from tchat.tools.user_tools import described_file
from tests.egress.user_log import user_log
from tests.tools.workplace import Workplace


@pytest.fixture
def registry(tmp_path: Path) -> ToolRegistry:
    settings = ToolSettings(
        roots=lambda _: Roots([tmp_path]), undo=tmp_path / "undo", egress=user_log
    )
    (tmp_path / "tools").mkdir()
    return ToolRegistry(settings, tmp_path / "tools")


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_every_built_in_tool_has_a_valid_schema_and_its_name(registry: ToolRegistry) -> None:
    for name in BUILT_IN:
        tool = registry.get(name)
        assert tool.name == name
        with pytest.raises(ToolError, match="do not fit"):
            tool.call({"no such argument": 1})
        json.dumps(tool.parameters)
        assert tool.description
    assert registry.get("python") is registry.get("python")


def test_an_executable_with_a_description(registry: ToolRegistry) -> None:
    folder = registry.folder
    executable(folder / "weather", "#!/bin/sh\nprintf 'got '\ncat\n")
    (folder / "weather.toml").write_text(
        'description = "The weather"\neffects = ["network"]\n'
        "[parameters]\ntype = 'object'\nrequired = ['city']\n"
        "[parameters.properties.city]\ntype = 'string'\n"
    )
    tool = registry.get("weather")
    assert tool.call({"city": "Köln'; x"}) == 'got {"city": "K\\u00f6ln\'; x"}'
    assert tool.effects == {Effect.NETWORK, Effect.RUNS_PROGRAMS}
    assert tool.is_untrusted
    with pytest.raises(ToolError, match="do not fit"):
        tool.call({"city": 1})
    executable(folder / "weather", "#!/bin/sh\necho no luck >&2\nexit 3\n")
    with pytest.raises(ToolError, match=r"(?s)no luck.*Exit code 3"):
        tool.call({"city": "x"})
    assert "weather" in registry.names()


def test_a_python_file(registry: ToolRegistry) -> None:
    path = registry.folder / "double.py"
    path.write_text(
        "description = 'Doubles'\neffects = []\n"
        "parameters = {'type': 'object', 'properties': {'n': {'type': 'integer'}}}\n"
        "def call(arguments):\n    return arguments['n'] * 2\n"
    )
    assert registry.get("double").call({"n": 21}) == "42"
    assert registry.get("double").effects == frozenset()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "not toml"),
        ("a.toml", 'description = ""'),
        ("a.toml", 'description = "x"'),
        ("a.toml", 'description = "x"\ncommand = "ls -l"'),
        ("a.toml", 'description = "x"\ncommand = ["true"]\nseconds = -1'),
        ("a.toml", 'description = "x"\ncommand = ["true"]\neffects = ["magic"]'),
        ("a.toml", 'description = "x"\ncommand = ["true"]\nparameters = 1'),
        ("a.toml", 'description = "x"\ncommand = ["true"]\nenvironment = "HOME"'),
        ("a.toml", 'description = "x"\ncommand = ["/no/such/program"]'),
        ("a.py", "raise RuntimeError('x')"),
        ("a.py", "description = 'x'"),
        ("a.py", "def call(arguments): ..."),
        ("a.py", "not python"),
        ("a.py", "import sys\nsys.exit(4)"),
        ("a.py", "description = 'x'\neffects = 'writes files'\ndef call(arguments): ..."),
    ],
)
def test_a_tool_that_cannot_be_used_is_told_in_one_line(
    registry: ToolRegistry, name: str, text: str
) -> None:
    (registry.folder / name).write_text(text)
    with pytest.raises(UsageError) as raised:
        registry.get("a")
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_others_may_change_is_not_run(registry: ToolRegistry) -> None:
    path = registry.folder / "shared.py"
    path.write_text("description = 'x'\ndef call(arguments): return ''\n")
    path.chmod(0o666)
    with pytest.raises(UsageError, match="chmod o-w"):
        registry.get("shared")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "x\n", "é", "a" * 65, ".", "no_such_tool"])
def test_no_name_leads_out_of_the_folder(registry: ToolRegistry, name: str) -> None:
    (registry.folder.parent / "x.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UsageError, match="there is no tool"):
        registry.get(name)


def test_a_built_in_name_cannot_be_taken(registry: ToolRegistry) -> None:
    (registry.folder / "calculator.py").write_text("raise RuntimeError('ran')")
    assert registry.get("calculator").call({"expression": "1"}) == "1"
    tool = Tool("calculator", "x", object_schema(), lambda _: "")
    with pytest.raises(UsageError, match="already"):
        registry.add(tool)
    with pytest.raises(UsageError, match="no name"):
        registry.add(Tool("a b", "x", object_schema(), lambda _: ""))
    registry.add(Tool("server_tool", "x", object_schema(), lambda _: "yes"))
    assert registry.get("server_tool").call({}) == "yes"


def test_a_package_gives_a_tool_by_its_entry_point(
    registry: ToolRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site"
    information = package / "some_tools-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-tools\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[tchat.tools]\ngreet = some_tools:greet\nwrong = some_tools:wrong\n"
    )
    (package / "some_tools.py").write_text(
        "from tchat.tools.tool import Tool, object_schema\n"
        "def greet():\n    return Tool('greet', 'Greets', object_schema(), lambda _: 'Hello')\n"
        "wrong = 1\n"
    )
    monkeypatch.syspath_prepend(str(package))
    assert {"greet", "wrong"} <= set(registry.names())
    assert registry.get("greet").call({}) == "Hello"
    with pytest.raises(UsageError, match="cannot be used"):
        registry.get("wrong")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#/missing"},
        {"properties": {"a": {"pattern": "("}}},
    ],
)
def test_a_schema_that_is_not_usable_is_told_and_fetches_nothing(schema: dict[str, Any]) -> None:
    tool = Tool("x", "", schema, lambda _: "ran")
    with pytest.raises(ToolError, match="not usable"):
        tool.call({"a": "b"})


def test_a_tool_that_raises_anything_is_a_result(place: Workplace) -> None:
    folder = place.base / "tools"
    folder.mkdir()
    (folder / "bad.py").write_text(
        "description = 'x'\ndef call(arguments):\n    raise ZeroDivisionError('a\\nb')\n"
    )
    result = place.run("bad")
    assert result.failed
    assert result.content == "the tool failed: ZeroDivisionError: a b"
    assert place.run("unknown").failed


def test_date_time() -> None:
    tool = date_time_tool(lambda: datetime(2026, 11, 30, 23, 30, tzinfo=UTC))
    text = tool.call({"time_zone": "Europe/Berlin"})
    assert text == "Tuesday, 2026-12-01T00:30:00+01:00, week 49"
    for name in ("Nowhere", "../../etc/passwd", "/etc/passwd", "\0", "."):
        with pytest.raises(ToolError):
            tool.call({"time_zone": name})


def test_search_chats_shows_at_most_what_was_asked_for() -> None:
    asked = []

    def search(text: str, most: int) -> Iterator[ChatHit]:
        asked.append((text, most))
        while True:
            yield ChatHit("3f2a", "Title\n", "2026-11-30", "user", "a\nb " * 500)

    lines = search_chats_tool(search).call({"text": "a", "count": 3}).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("3f2a 2026-11-30 Title | user: a b a b")
    assert asked == [("a", 3)]


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("<!--", ["before"]),  # comments and scripts without an end reach to that of the page
        ("<script>", ["before"]),
        ("<a ", ["before", "after"]),
        ("<p ", ["before", "after"]),
        ("<a href='", ["before", "after"]),
        ("<![CDATA[", ["before", "after"]),
        ("</", ["before", "after"]),
        ("<?", ["before", "after"]),
        ("&#9", ["before", "after"]),
        ("<", ["before", "<" * 1_000_000, "after"]),
    ],
)
def test_hostile_pages_are_read_to_their_end(unit: str, shown: list[str]) -> None:
    page = f"<p>before</p>{unit * (1_000_000 // len(unit))}<p>after"
    assert page_text(page).splitlines() == shown


def test_the_text_of_a_page_leaves_out_what_is_not_shown() -> None:
    html = (
        "<!DOCTYPE html><head><title>T</title><style>p > a {}</style></head>"
        "<p title='a > b'>One <b>two</b>\n three<!-- <p>hidden --><br>four"
        "<pre>  x\n    y</pre><svg><text>no</text></svg><SCRIPT>if (a</b>) {}</SCRIPT>"
        "<p>3 < 4 &lt; 5 &#x41;"
    )
    assert page_text(html).splitlines() == [
        "T",
        "One two three",
        "four",
        "  x",
        "    y",
        "3 < 4 < 5 A",
    ]


@pytest.mark.parametrize("ending", ["import sys; sys.exit(5)", "raise SystemExit"])
def test_a_tool_that_ends_the_program_fails_and_no_more(place: Workplace, ending: str) -> None:
    folder = place.base / "tools"
    folder.mkdir()
    (folder / "ends.py").write_text(f"description = 'x'\ndef call(arguments):\n    {ending}\n")
    result = place.run("ends")
    assert result.failed
    assert "called sys.exit" in result.content


def test_a_python_tool_that_declares_no_effects_is_asked_about(place: Workplace) -> None:
    folder = place.base / "tools"
    folder.mkdir()
    (folder / "silent.py").write_text("description = 'x'\ndef call(arguments): return 'done'\n")
    executor = place.executor([])
    assert executor.run("silent", {}).content == "done"
    assert len(place.requests) == 1
    assert described_file(folder, "silent")[1] == tuple(sorted(Effect))
    assert place.executor([], has_terminal=False).run("silent", {}).is_refused


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("description = 'x'\neffects = 'writes files'\n", "`effects` must be among"),
        ("description = 'x'\neffects = ['magic']\n", "`effects` must be among"),
        ("description = 'x'\ndef call(arguments) return\n", "line 2: "),
    ],
)
def test_what_is_wrong_with_a_file_is_told_without_running_it(
    tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(UsageError) as raised:
        described_file(tmp_path, "bad")
    assert told in raised.value.message
    assert "unknown" not in raised.value.message
