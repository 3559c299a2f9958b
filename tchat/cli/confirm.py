"""Asking before something is deleted or replaced."""

from __future__ import annotations

from collections.abc import Iterable

from tchat.cli.console import Console
from tchat.errors import UsageError


def confirm(console: Console, lines: Iterable[str], question: str) -> None:
    """Ask ``question`` below ``lines``, which are safe to print; raise UsageError unless it is yes.

    Raises:
        UsageError: Nobody can be asked, or the answer is no.
    """
    if not console.stdin_is_terminal:
        raise UsageError("this needs a confirmation", "add --yes")
    for line in lines:
        console.stderr.write(f"{line}\n")
    console.stderr.write(f"{question} [y/N] ")
    console.stderr.flush()
    answer = console.stdin.readline() if console.stdin else b""
    if answer.strip().lower() not in (b"y", b"yes"):
        raise UsageError("nothing was changed")
