"""An encrypted store against one in clear: what opening it costs a process."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import which

from tchat.encryption.derivation import calibrated
from tchat.encryption.key_management import stop_keyring, use_keyring
from tchat.paths import Paths
from tests.benchmarks.peers import TCHAT
from tests.benchmarks.rows import Row, alternated, first_byte, ratio, wall
from tests.encryption import file_keyring, secret_service
from tests.encryption.locks import PASSPHRASE, make_lock

ROUNDS = 11
PROMPT = "Why is the sky blue?"


def rows() -> Iterator[Row]:
    """Whole processes: a list of chats, and the first byte of an answer.

    The keyring is that of the session, where there is one, else a Secret Service on a bus of its
    own. Without `dbus-daemon` it is one in a file, whose figures hold the import of `keyring`.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        name = _use_some_keyring(Path(folder), stack)
        clear, locked = (_home(Path(folder) / name) for name in ("clear", "locked"))
        made = make_lock(Paths(Path(locked["TCHAT_HOME"]), Path(folder) / "cache"))
        command = {**locked, "TCHAT_PASSPHRASE_COMMAND": f"echo '{PASSPHRASE}'"}
        yield from _opening("a passphrase that costs nothing", clear, command, 200)
        use_keyring(made)
        try:
            yield from _opening(name, clear, locked, 30)
            yield _first_byte(name, clear, locked)
        finally:
            stop_keyring(made)
    yield _derivation()


def _use_some_keyring(folder: Path, stack: ExitStack) -> str:
    """Put a keyring into the environment of this process and its children; returns its name."""
    if secret_service.BUS in os.environ:
        return "the keyring of the session"
    if which("dbus-daemon"):
        os.environ.update(stack.enter_context(secret_service.running()))
        return "a Secret Service"
    os.environ.update(file_keyring.ENVIRONMENT)
    os.environ[file_keyring.VARIABLE] = str(folder / "ring")
    return "a keyring in a file"


def _home(folder: Path) -> dict[str, str]:
    environment = {**os.environ, "TCHAT_HOME": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program is compiled
    return environment


def _opening(what: str, clear: dict[str, str], locked: dict[str, str], most: int) -> Iterator[Row]:
    call = [*TCHAT, "sessions", "ls"]
    for environment in (clear, locked):  # makes the database
        wall([*TCHAT, "Say hi", "--max-tokens", "1"], env=environment)
    plain, other = alternated(ROUNDS, lambda: wall(call, env=clear), lambda: wall(call, env=locked))
    extra = 1000 * statistics.median(b - a for a, b in zip(plain, other, strict=True))
    text = f"listing chats, unlocked by {what}, over clear"
    yield Row(text, f"{extra:.0f} ms", f"<= {most} ms", extra <= most)


def _first_byte(name: str, clear: dict[str, str], locked: dict[str, str]) -> Row:
    ask = [*TCHAT, PROMPT]
    for environment in (clear, locked):
        first_byte(ask, env=environment, finish=True)
    plain, other = alternated(
        ROUNDS, lambda: first_byte(ask, env=clear), lambda: first_byte(ask, env=locked)
    )
    share = ratio(other, plain)
    return Row(f"first byte, unlocked by {name}, against clear", f"{share:.2f}x", "<= 1.1x",
               share <= 1.1)  # fmt: skip


def _derivation() -> Row:
    derivation = calibrated()
    start = time.perf_counter()
    derivation.derive(PASSPHRASE)
    seconds = time.perf_counter() - start
    what = f"a try of a passphrase ({derivation.memory >> 10} MiB, {derivation.iterations} passes)"
    return Row(what, f"{seconds:.2f} s", "0.2 to 0.6 s", 0.2 <= seconds <= 0.6)
