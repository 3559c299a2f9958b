"""Which tools a chat has, where they may go, and who decides about their calls."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.chat.tool_loop import ChatTools
from tchat.chat.tool_setup import open_changes, open_log, open_tools
from tchat.errors import UsageError
from tchat.paths import Paths
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tchat.settings import Settings, Tools
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest
from tchat.tools.tool import Tool, object_schema
from tests.sessions.stores import new_session


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("remember the milk\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(config=tmp_path / "config", cache=tmp_path / "cache")


class User:
    """Answers what is asked, and keeps it."""

    def __init__(self, *choices: ApprovalChoice) -> None:
        self.requests: list[ApprovalRequest] = []
        self._choices = list(choices)

    def __call__(self, request: ApprovalRequest) -> Answer:
        self.requests.append(request)
        return Answer(self._choices.pop(0) if self._choices else ApprovalChoice.ONCE)


def opened(
    paths: Paths,
    *names: str,
    store: SessionStore | None = None,
    ask: User | None = None,
    typed: Sequence[str] = (),
    **options: Any,
) -> ChatTools:
    settings = Settings(tools=Tools(enabled=names, **options))
    tools = open_tools(settings, paths, store, ask=ask, typed=typed)
    assert tools is not None
    return tools


def test_without_a_tool_that_is_on_there_is_nothing(paths: Paths) -> None:
    assert open_tools(Settings(), paths, None, ask=None) is None


def test_without_a_tool_that_is_on_nothing_of_tools_is_imported() -> None:
    code = (
        "import sys\n"
        "from tchat.chat.tool_setup import open_tools\n"
        "from tchat.paths import user_paths\n"
        "from tchat.settings import Settings\n"
        "open_tools(Settings(), user_paths(), None, ask=None)\n"
        "sys.exit(any(name.startswith('tchat.tools') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_current_folder_is_allowed_unless_others_are_named(paths: Paths, folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    (other / "there.txt").write_text("there\n")
    here = opened(paths, "read_file", typed=["read_file"])
    there = opened(paths, "read_file", typed=["read_file"], roots=(str(other),))
    assert "milk" in here.executor.run("read_file", {"path": "notes.txt"}).content
    assert here.executor.run("read_file", {"path": str(other / "there.txt")}).failed
    assert "there" in there.executor.run("read_file", {"path": "there.txt"}).content
    assert there.executor.run("read_file", {"path": str(folder / "notes.txt")}).failed


def test_files_of_tchat_stay_out_below_an_allowed_folder(folder: Path) -> None:
    paths = Paths(config=folder / "tchat", cache=folder / "cache")
    for each in (paths.config, paths.cache):
        each.mkdir()
        (each / "private.txt").write_text("private\n")
    tools = opened(paths, "read_file", typed=["read_file"])
    for name in ("tchat/private.txt", "cache/private.txt"):
        assert tools.executor.run("read_file", {"path": name}).failed


@pytest.mark.usefixtures("folder")
def test_a_tool_that_the_user_typed_runs_only_if_it_only_reads(paths: Paths) -> None:
    names = ("read_file", "calculator", "write_file", "run_command", "fetch_url")
    tools = opened(paths, *names, typed=names)
    calls: dict[str, dict[str, Any]] = {
        "read_file": {"path": "notes.txt"},
        "calculator": {"expression": "17*23"},
        "write_file": {"path": "new.txt", "content": "x"},
        "run_command": {"command": ["true"]},
        "fetch_url": {"url": "http://127.0.0.1:1/"},
    }
    refused = {name for name in names if tools.executor.run(name, calls[name]).is_refused}
    assert refused == {"write_file", "run_command", "fetch_url"}
    assert not Path("new.txt").exists()


@pytest.mark.usefixtures("folder")
def test_without_a_terminal_a_tool_of_the_configuration_needs_a_rule(paths: Paths) -> None:
    without = opened(paths, "read_file")
    with_rule = opened(paths, "read_file", allow=("read_file(*.txt)",))
    denied = opened(paths, "read_file", allow=("read_file",), deny=("read_file(*.txt)",))
    call = {"path": "notes.txt"}
    assert without.executor.run("read_file", call).is_refused
    assert not with_rule.executor.run("read_file", call).failed
    assert denied.executor.run("read_file", call).failed


@pytest.mark.usefixtures("folder")
def test_the_user_is_asked_unless_reading_is_allowed(paths: Paths) -> None:
    user = User()
    opened(paths, "read_file", ask=user).executor.run("read_file", {"path": "notes.txt"})
    assert [each.call.tool.name for each in user.requests] == ["read_file"]
    free = opened(paths, "read_file", ask=user, allow_reading=True)
    assert not free.executor.run("read_file", {"path": "notes.txt"}).failed
    assert len(user.requests) == 1


@pytest.mark.usefixtures("folder")
def test_what_was_granted_holds_when_other_tools_are_turned_on(paths: Paths) -> None:
    user = User(ApprovalChoice.ALWAYS_TOOL)
    settings = Settings(tools=Tools(enabled=("read_file",)))
    before = open_tools(settings, paths, None, ask=user)
    assert before is not None
    before.executor.run("read_file", {"path": "notes.txt"})
    settings = replace(settings, tools=Tools(enabled=("read_file", "calculator")))
    after = open_tools(settings, paths, None, ask=user, before=before)
    assert after is not None
    assert not after.executor.run("read_file", {"path": "notes.txt"}).failed
    assert not after.executor.run("calculator", {"expression": "1+1"}).failed
    assert len(user.requests) == 1


@pytest.mark.usefixtures("folder")
def test_text_of_others_is_not_forgotten_when_other_tools_are_turned_on(paths: Paths) -> None:
    rules = Tools(enabled=("read_file", "run_command"), allow=("read_file", "run_command"))
    before = open_tools(Settings(tools=rules), paths, None, ask=User())
    assert before is not None
    before.executor.run("read_file", {"path": "notes.txt"})
    user = User(ApprovalChoice.DENY)
    after = open_tools(Settings(tools=rules), paths, None, ask=user, before=before)
    assert after is not None
    assert after.executor.run("run_command", {"command": ["true"]}).is_refused
    assert len(user.requests) == 1


def test_chats_are_searched_in_the_store_of_the_user(paths: Paths) -> None:
    with SessionStore(paths.sessions_db) as store:
        session = new_session(store, title="Whales")
        store.add(session.id, Role.USER, "How long is a blue whale song?", parent_id=None)
        tools = opened(paths, "search_chats", store=store, typed=["search_chats"])
        found = tools.executor.run("search_chats", {"text": "blue whale"}).content
        assert session.id in found
        assert "user: How long is a blue whale song?" in found
    assert "Nothing" in (
        opened(paths, "search_chats", typed=["search_chats"])
        .executor.run("search_chats", {"text": "blue"})
        .content
    )


def test_a_call_is_logged_in_the_file_of_the_user(paths: Paths) -> None:
    tools = opened(paths, "calculator", typed=["calculator"])
    tools.executor.run("calculator", {"expression": "1+1"})
    assert paths.tool_log.stat().st_mode & 0o077 == 0
    assert [each["event"] for each in open_log(paths).lines()] == ["call", "result"]


def test_of_a_private_session_the_log_keeps_no_word(paths: Paths) -> None:
    settings = Settings(tools=Tools(enabled=("calculator",)))
    tools = open_tools(settings, paths, None, ask=None, typed=["calculator"], is_private=True)
    assert tools is not None
    assert tools.executor.run("calculator", {"expression": "4711+1"}).content == "4712"
    assert tools.executor.run("my secret", {"expression": "4711"}).failed
    (line,) = open_log(paths).lines()
    assert line.keys() == {"time", "event", "id", "tool", "verdict", "by"}
    assert (line["tool"], line["verdict"]) == ("calculator", "allow")
    assert "4711" not in paths.tool_log.read_text()


def test_what_a_tool_changed_can_be_undone(paths: Paths, folder: Path) -> None:
    tools = opened(paths, "write_file", allow=("write_file",))
    tools.executor.run("write_file", {"path": "notes.txt", "content": "gone"})
    changed = open_changes(paths).undo()
    assert changed == folder / "notes.txt"
    assert changed.read_text() == "remember the milk\n"


def test_tools_from_elsewhere_can_be_on(paths: Paths) -> None:
    tool = Tool("far", "Far away.", object_schema(), lambda _: "far", is_untrusted=True)
    settings = Settings(tools=Tools(enabled=("far",), allow=("far",)))
    tools = open_tools(settings, paths, None, ask=None, more=[tool])
    assert tools is not None
    assert tools.executor.run("far", {}).content == "far"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", (True, ())),
        ("required", (False, ())),
        ("calculator", (False, ("calculator",))),
        ("none", None),
    ],
)
def test_the_choice_and_the_steps_are_those_of_the_settings(
    paths: Paths, choice: str, expected: tuple[bool, tuple[str, ...]] | None
) -> None:
    tools = opened(paths, "calculator", "date_time", tool_choice=choice, max_steps=3)
    found = tools.choice and (tools.choice.may_answer, tools.choice.names)
    assert (found, tools.names, tools.max_steps) == (expected, ("calculator", "date_time"), 3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"enabled": ("calculatr",)}, "there is no tool calculatr; the tools are read_file,"),
        ({"allow": ("read_file(",)}, "no rule for tools; write one such as"),
        ({"deny": ("run_command('x)",)}, "no pattern of a command; write one such as"),
        ({"tool_choice": "python"}, "the tool python is not on"),
        ({"enabled": ("read_file",), "roots": ("/no/such/folder",)}, "is no folder; name an"),
    ],
)
def test_what_cannot_be_opened_is_a_usage_error(
    paths: Paths, options: dict[str, Any], told: str
) -> None:
    settings = Settings(tools=Tools(**{"enabled": ("calculator",), **options}))
    with pytest.raises(UsageError) as caught:
        open_tools(settings, paths, None, ask=None)
    assert told in str(caught.value)
