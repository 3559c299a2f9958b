"""Copying text: by the system's own tool where there is one, else through the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping

OSC52_LIMIT = 75_000  # bytes; terminals cut or refuse longer sequences
PATIENCE = 2.0  # seconds for a tool to take the text


def copy(
    text: str, write_osc52: Callable[[str], None], environ: Mapping[str, str] = os.environ
) -> str:
    """Copy ``text`` and return what was used, or an empty string when nothing could.

    The order: ``pbcopy``; inside tmux its buffer, which it hands on to the terminal; the display
    server's tool; OSC 52, which not every terminal takes and none confirms.
    """
    data = text.encode("utf-8", "replace")
    for name, command in _tools(environ):
        if _accepted(command, data):
            return name
    if len(data) > OSC52_LIMIT:
        return ""
    write_osc52(text)
    return "the terminal (OSC 52)"


def _tools(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    if sys.platform == "darwin":
        yield "pbcopy", ["pbcopy"]
    if sys.platform == "win32":
        yield "clip", ["clip"]
    if environ.get("TMUX"):
        yield "tmux", ["tmux", "load-buffer", "-w", "-"]
    if environ.get("WAYLAND_DISPLAY"):
        yield "wl-copy", ["wl-copy"]
    if environ.get("DISPLAY"):
        yield "xclip", ["xclip", "-selection", "clipboard"]
        yield "xsel", ["xsel", "--clipboard", "--input"]


def _accepted(command: list[str], data: bytes) -> bool:
    if shutil.which(command[0]) is None:
        return False
    try:
        # xclip stays behind to serve the selection: its output must not be waited for.
        done = subprocess.run(
            command,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
