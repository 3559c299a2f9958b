"""All tools in a list, without running any."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat.tool_list import ListedTool, ToolSource, effects_text, list_tools
from tchat.paths import Paths
from tchat.settings import Settings, Tools
from tchat.tools.registry import BUILT_IN
from tchat.tools.tool import Tool, object_schema


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(config=tmp_path / "config", cache=tmp_path / "cache")
    paths.tools.mkdir(parents=True)
    return paths


def listed(paths: Paths, *names: str, more: tuple[Tool, ...] = ()) -> dict[str, ListedTool]:
    found = list_tools(Settings(tools=Tools(enabled=names)), paths, more)
    return {each.name: each for each in found}


def test_all_built_in_tools_are_listed_and_those_that_are_on(paths: Paths) -> None:
    found = listed(paths, "calculator")
    assert list(found) == list(BUILT_IN)
    assert [name for name, each in found.items() if each.is_on] == ["calculator"]
    assert {each.source for each in found.values()} == {ToolSource.BUILT_IN}
    assert all(each.description for each in found.values())
    assert effects_text(found["write_file"]) == "writes files"
    assert effects_text(found["calculator"]) == ""


def test_a_tool_of_the_user_is_described_and_not_run(paths: Paths, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (paths.tools / "dice.py").write_text(
        f'import pathlib\npathlib.Path({str(ran)!r}).touch()\ndescription = "Throw dice."\n'
        'effects = ["network"]\n'
    )
    (paths.tools / "issue.toml").write_text('description = "File an issue."\n')
    found = listed(paths)
    assert not ran.exists()
    assert found["dice"].description == "Throw dice."
    assert effects_text(found["dice"]) == "network"
    assert found["issue"].source is ToolSource.OWN
    assert effects_text(found["issue"]) == "runs programs"


@pytest.mark.parametrize(
    ("name", "text"),
    [("broken.py", "def (:\n"), ("broken.toml", "description = \n"), ("broken.py", "\0")],
)
def test_a_file_that_cannot_be_read_is_told(paths: Paths, name: str, text: str) -> None:
    (paths.tools / name).write_text(text)
    assert name in listed(paths)["broken"].problem


def test_without_a_folder_to_work_in_the_others_are_listed(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paths.config)
    found = listed(paths)
    assert "cannot be opened to tools" in found["read_file"].problem
    assert not found["calculator"].problem


def test_tools_of_servers_and_those_that_are_gone_are_listed(paths: Paths) -> None:
    far = Tool("far", "Far away.", object_schema(), lambda _: "far")
    found = listed(paths, "far", "gone", more=(far,))
    assert found["far"].source is ToolSource.SERVER
    assert found["far"].is_on
    assert found["gone"].problem == "there is no such tool"
