"""Calls of the real command on an encrypted store, in scripts and on terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pexpect

from tests.cli.shell import Ran, tchat

QUESTION = "Passphrase or recovery key:"
LOCKED = "tchat: the store is locked; run tchat in a terminal"


def script(*args: str, stdin: str = "", given: str = "", **env: str) -> Ran:
    """Run tchat where there is no terminal at all; ``given`` is what the descriptor {fd} gives."""
    reading, writing = os.pipe()
    try:
        os.write(writing, given.encode())
        os.close(writing)
        return tchat(
            *(word.replace("{fd}", str(reading)) for word in args),
            stdin=stdin.encode(),
            env=env,
            pass_fds=[reading],
            start_new_session=True,
        )
    finally:
        os.close(reading)


@contextmanager
def terminal(
    *args: str, command: Sequence[str] = (sys.executable, "-m", "tchat"), **env: str
) -> Iterator[Any]:
    """tchat, or another command, on a terminal that draws no screen."""
    child = pexpect.spawn(
        command[0],
        [*command[1:], *args],
        env={**os.environ, "TERM": "dumb", **env},
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 200),
    )
    try:
        yield child
    finally:
        child.close(force=True)


def end_of(child: Any) -> int:
    """The exit code, once it ended."""
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)
