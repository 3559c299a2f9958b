"""Copying through the tools that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.tui.terminal import OSC52_LIMIT, copy


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_tmux_takes_the_text_inside_tmux(tools: Path) -> None:
    tool(tools, "tmux", f'[ "$1 $2 $3" = "load-buffer -w -" ] && cat > {tools}/taken')
    sent: list[str] = []
    assert copy("héllo", sent.append, {"TMUX": "x"}) == "tmux"
    assert (tools / "taken").read_text() == "héllo"
    assert not sent


def test_a_tool_that_fails_is_passed_over(tools: Path) -> None:
    tool(tools, "wl-copy", "exit 1")
    tool(tools, "xclip", f"cat > {tools}/taken")
    environ = {"WAYLAND_DISPLAY": "w", "DISPLAY": ":0"}
    assert copy("text", lambda _: None, environ) == "xclip"
    assert (tools / "taken").read_text() == "text"


def test_without_tools_the_terminal_is_asked(tools: Path) -> None:
    sent: list[str] = []
    assert "OSC 52" in copy("text", sent.append, {})
    assert sent == ["text"]


def test_what_is_too_long_for_the_terminal_is_not_sent(tools: Path) -> None:
    sent: list[str] = []
    assert copy("x" * (OSC52_LIMIT + 1), sent.append, {}) == ""
    assert not sent
