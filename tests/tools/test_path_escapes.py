"""Attempts to read or write outside the allowed folders, all of which must fail."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tchat.errors import TchatError
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest
from tchat.tools.tool import Tool
from tests.tools.workplace import MARK, Workplace

OUT = "{outside}"
NAMES = "$`'%\\:\uff0e\u2025\u2215\u200b"  # in what is just an odd name of a new file
# Each leads to a file or folder that no tool may open.
PATHS = (
    "../outside/secret.txt",
    "docs/../../outside/secret.txt",
    "docs/deep/../../../outside/secret.txt",
    "./././../outside/secret.txt",
    "..//outside//secret.txt",
    "missing/../../outside/secret.txt",
    "notes.txt/../../outside/secret.txt",
    f"{OUT}/secret.txt",
    "/{outside}/secret.txt",
    "{root}/../outside/secret.txt",
    "{root}/docs/../../outside/secret.txt",
    "{root}-sibling/secret.txt",
    "../root-sibling/secret.txt",
    "../root/../outside/secret.txt",
    "{root_upper}/../outside/secret.txt",
    "out",
    "./out",
    "docs/../out",
    "out-folder/secret.txt",
    "out-folder/folder/secret.txt",
    "out-folder/../outside/secret.txt",
    "relative-out",
    "relative-folder/secret.txt",
    "chain",
    "loop",
    "loop-b",
    "up/outside/secret.txt",
    "docs/up-up/outside/secret.txt",
    "docs/deep/far/secret.txt",
    "inside-folder/up-up/outside/secret.txt",
    "slash{outside}/secret.txt",
    "process{outside}/secret.txt",
    "/proc/self/root{outside}/secret.txt",
    "/proc/self/cwd/../outside/secret.txt",
    "/dev/fd/0",
    "/dev/stdin",
    "through",
    "dangling",
    "~/../outside/secret.txt",
    "~root/.ssh/id_rsa",
    "~",
    "/etc/passwd",
    "//etc/passwd",
    "/",
    "",
    "file://{outside}/secret.txt",
    "..\\outside\\secret.txt",
    "%2e%2e/outside/secret.txt",
    "\u2025/outside/secret.txt",
    "\uff0e\uff0e/outside/secret.txt",
    "..\u2215outside\u2215secret.txt",
    "..\u200b/outside/secret.txt",
    "notes.txt\0/../../outside/secret.txt",
    "\0",
    "\udcff",
    "x" * 5000,
    "../" * 400 + "etc/passwd",
    "$HOME/secret.txt",
    "${{PWD}}/../outside/secret.txt",
    "$(cat ../outside/secret.txt)",
    "`cat ../outside/secret.txt`",
    "'../outside/secret.txt'",
    "own/config.toml",
    "docs/../own/config.toml",
    "{root}/own/config.toml",
    "to-own",
    ".env",
    "to-env",
    ".ssh/id_rsa",
    "harmless-name",
    "docs/../.ssh/id_rsa",
    "pipe",
)


def filled(path: str, place: Workplace) -> str:
    if "{" not in path:
        return path
    upper = str(place.root).upper()
    return path.format(outside=place.outside, root=place.root, root_upper=upper)


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(place: Workplace, path: str) -> None:
    path = filled(path, place)
    before = place.tree()
    for name, more in (
        ("read_file", {}),
        ("list_files", {"depth": 9}),
        ("search_files", {"text": MARK[:6]}),
        ("edit_file", {"old_text": MARK, "new_text": "changed"}),
        ("run_command", {}),
    ):
        key = "directory" if name == "run_command" else "path"
        arguments = {key: path, **more}
        if name == "run_command":
            arguments["command"] = ["cat", "secret.txt"]
        executor = place.executor(ask_after_untrusted=False)
        result = executor.run(name, arguments)
        assert result.failed, (name, result.content)
        assert MARK not in result.content
        with pytest.raises(TchatError):  # nor where nothing resolved the path before
            executor.registry.get(name).call(arguments)
    assert place.tree() == before


@pytest.mark.parametrize(
    "path",
    [
        *(each for each in PATHS if "outside" in each and not set(each) & set(NAMES)),
        *("out", "chain", "dangling", "loop", "to-own", "to-env", "own/new.toml", "own"),
        *(".git/hooks/post-checkout", ".git/config", ".GIT/config", "hooks/config", "sub/.git/x"),
        *(".g\u200bit/config", "\uff0egit/config", ".git./config", ".git /config", ".bashrc"),
        *(".ssh/authorized_keys", ".SSH/authorized_keys", "docs/.envrc", ".vscode/tasks.json"),
        *("pipe", "docs", ".", "docs/..", "notes.txt/x", "notes.txt/../../outside/x"),
        *(
            ".bash_aliases",
            ".xprofile",
            ".config/fish/config.fish",
            ".config/systemd/user/a.service",
        ),
        *(".local/bin/ls", ".husky/pre-commit", ".env.staging", "id_rsa.bak", "server.pem"),
    ],
)
def test_nothing_is_written_elsewhere(place: Workplace, path: str) -> None:
    path = filled(path, place)
    before = place.tree()
    names = {each.name for each in place.base.iterdir()}
    executor = place.executor(ask_after_untrusted=False)
    assert executor.run("write_file", {"path": path, "content": "x"}).failed
    with pytest.raises(TchatError):
        executor.registry.get("write_file").call({"path": path, "content": "x"})
    assert place.tree() == before
    assert {each.name for each in place.base.iterdir()} <= {*names, "audit.jsonl"}


@pytest.mark.parametrize("path", ["inside", "absolute-inside", "docs/../inside", "{root}/inside"])
def test_links_that_stay_inside_are_followed_and_approved_by_their_target(
    place: Workplace, path: str
) -> None:
    executor = place.executor(ask_after_untrusted=False)
    result = executor.run("read_file", {"path": filled(path, place)})
    assert result.content == "one\ntwo\nthree\n"


def test_a_secret_is_not_found_by_listing_and_searching(place: Workplace) -> None:
    found = place.run("search_files", text=MARK)
    assert found.content == "[Nothing was found.]"
    listed = place.run("list_files", depth=10).content
    assert "id_rsa" not in listed
    assert ".env" not in listed
    assert "out" not in listed.split()


def test_writing_replaces_a_hard_link_instead_of_its_file(place: Workplace) -> None:
    os.link(place.outside / "secret.txt", place.root / "hard")
    assert not place.run("write_file", path="hard", content="mine").failed
    assert (place.outside / "secret.txt").read_text() == f"{MARK}\n"
    assert (place.root / "hard").read_text() == "mine"


def test_an_allowed_folder_that_is_replaced_is_no_longer_allowed(place: Workplace) -> None:
    executor = place.executor(ask_after_untrusted=False)
    executor.registry.get("read_file")
    place.root.rename(place.base / "moved")
    place.root.symlink_to(place.outside)
    assert executor.run("read_file", {"path": "secret.txt"}).failed
    place.root.unlink()
    place.outside.rename(place.root)
    assert executor.run("read_file", {"path": "secret.txt"}).failed


@pytest.mark.parametrize("folder", ["own", "own/deep"])
def test_tchats_own_folder_cannot_be_allowed(place: Workplace, folder: str) -> None:
    from tchat.tools.roots import Roots

    (place.root / "own" / "deep").mkdir()
    with pytest.raises(TchatError, match="cannot be opened to tools"):
        Roots([place.root / folder], [place.root / "own"])


class Swapper:
    """Swaps ``root/moving`` between a folder and a link to ``outside``, as fast as it can."""

    def __init__(self, place: Workplace, name: str, target: Path) -> None:
        self.inside, self.kept = place.root / name, place.root / f"{name}-kept"
        self.target = target
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._end.is_set():
            self.inside.rename(self.kept)
            # A tool may make the missing folder meanwhile.
            with suppress(OSError):
                self.inside.symlink_to(self.target)
                self.inside.unlink()
            while self.kept.exists():
                shutil.rmtree(self.inside, ignore_errors=True)
                with suppress(OSError):
                    self.kept.rename(self.inside)


def test_a_folder_swapped_for_a_link_between_check_and_use(place: Workplace) -> None:
    moving = place.root / "moving"
    moving.mkdir()
    (moving / "secret.txt").write_text("harmless\n")
    executor = place.executor(ask_after_untrusted=False)
    read = executor.registry.get("read_file")
    search = executor.registry.get("search_files")
    write = executor.registry.get("write_file")
    run = executor.registry.get("run_command")
    before = place.tree()
    contents = []
    with Swapper(place, "moving", place.outside):
        for number in range(60):
            calls: list[tuple[Tool, dict[str, Any]]] = [
                (read, {"path": "moving/secret.txt"}),
                (search, {"path": "moving", "text": "SECRET"}),
                (write, {"path": "moving/new.txt", "content": str(number)}),
            ]
            if number % 20 == 0:
                calls.append((run, {"command": ["cat", "secret.txt"], "directory": "moving"}))
            for tool, arguments in calls:
                try:
                    contents.append(tool.call(arguments))
                except TchatError:
                    continue
                contents.append(executor.run(tool.name, arguments).content)
    assert contents
    assert not [each for each in contents if MARK in each]
    assert place.tree() == before


def test_a_file_swapped_for_a_link_between_check_and_use(place: Workplace) -> None:
    (place.root / "moving").write_text("harmless\n")
    executor = place.executor(ask_after_untrusted=False)
    contents = []
    with Swapper(place, "moving", place.outside / "secret.txt"):
        for _ in range(60):
            contents.append(executor.run("read_file", {"path": "moving"}).content)
            contents.append(executor.run("search_files", {"text": "TOP-SECRET"}).content)
            executor.run("edit_file", {"path": "moving", "old_text": MARK, "new_text": "x"})
    assert not [each for each in contents if MARK in each]
    assert (place.outside / "secret.txt").read_text() == f"{MARK}\n"


def swap_at_open(monkeypatch: pytest.MonkeyPatch, path: Path, target: Path) -> list[str]:
    """Swap `path` for a link at the moment when it is opened, after every check of its name."""
    kept = path.with_name(f"{path.name}-kept")
    swapped: list[str] = []
    really_open = os.open

    def opening(name: Any, flags: int, *args: Any, **options: Any) -> int:
        if name != path.name:
            return really_open(name, flags, *args, **options)
        path.rename(kept)
        path.symlink_to(target)
        swapped.append(path.name)
        try:
            return really_open(name, flags, *args, **options)
        finally:
            path.unlink()
            kept.rename(path)

    monkeypatch.setattr(os, "open", opening)
    return swapped


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_file", {"path": "moving/secret.txt"}),
        ("list_files", {"path": "moving"}),
        ("list_files", {"path": ".", "depth": 5}),
        ("search_files", {"text": "SECRET"}),
        ("search_files", {"text": "SECRET", "path": "moving"}),
        ("edit_file", {"path": "moving/secret.txt", "old_text": "TOP", "new_text": "x"}),
        ("write_file", {"path": "moving/secret.txt", "content": "x"}),
        ("write_file", {"path": "moving/planted.txt", "content": "x"}),
        ("write_file", {"path": "moving/new/planted.txt", "content": "x"}),
        ("run_command", {"command": ["cat", "secret.txt"], "directory": "moving"}),
    ],
)
def test_a_folder_swapped_at_the_moment_of_its_opening(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, Any]
) -> None:
    (place.root / "moving").mkdir()
    (place.root / "moving" / "secret.txt").write_text("TOP harmless\n")
    (place.outside / "only-outside").write_text("")
    executor = place.executor(ask_after_untrusted=False)
    tool = executor.registry.get(name)
    before = place.tree()
    swapped = swap_at_open(monkeypatch, place.root / "moving", place.outside)
    contents = [executor.run(name, arguments).content]
    with suppress(TchatError):
        contents.append(tool.call(arguments))
    assert swapped
    assert not [each for each in contents if MARK in each or "only-outside" in each]
    assert place.tree() == before


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_file", {"path": "moving"}),
        ("search_files", {"text": "TOP"}),
        ("edit_file", {"path": "moving", "old_text": "TOP", "new_text": "x"}),
        ("write_file", {"path": "moving", "content": "x"}),
    ],
)
def test_a_file_swapped_at_the_moment_of_its_opening(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, Any]
) -> None:
    (place.root / "moving").write_text("TOP harmless\n")
    executor = place.executor(ask_after_untrusted=False)
    tool = executor.registry.get(name)
    before = place.tree()
    swapped = swap_at_open(monkeypatch, place.root / "moving", place.outside / "secret.txt")
    contents = [executor.run(name, arguments).content]
    with suppress(TchatError):
        contents.append(tool.call(arguments))
    assert swapped
    assert not [each for each in contents if MARK in each]
    assert place.tree() == before


def test_a_folder_swapped_between_approval_and_use(place: Workplace) -> None:
    """What is opened is what was approved, even where the link would stay inside."""
    executor = place.executor([])
    moving = place.root / "moving"
    moving.mkdir()
    (moving / "guide.md").write_text("approved")

    def swapping(_: ApprovalRequest) -> Answer:
        moving.rename(place.root / "kept")
        moving.symlink_to("docs")
        return Answer(ApprovalChoice.ONCE)

    result = replace(executor, ask=swapping).run("read_file", {"path": "moving/guide.md"})
    assert result.failed
    assert "Guide" not in result.content


@pytest.mark.parametrize(
    "name",
    [".env.staging", "id_rsa.bak", "ID_ED25519.old", "server.pem", "a.p12", ".python_history"],
)
def test_copies_and_kinds_of_secrets_are_not_read(place: Workplace, name: str) -> None:
    (place.root / "docs" / name).write_text(MARK)
    assert place.run("read_file", path=f"docs/{name}").failed
    assert MARK not in place.run("search_files", text=MARK[:6]).content
    assert name not in place.run("list_files", path="docs").content
