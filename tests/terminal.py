"""A real terminal for tests and benchmarks: a pty, with pyte to say what would be on its screen."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import pexpect
import pyte
from wcwidth import wcwidth

SIZE = (100, 30)
PATIENCE = 90.0  # seconds for anything to happen, on a loaded machine too
_MODES = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
_JOINERS = dict.fromkeys((0x200C, 0x200D, 0xFE0E, 0xFE0F))
_TITLE = re.compile(rb"(\x1b\[22;2t)|(\x1b\[23;2t)|\x1b\]2;([^\x07]*)\x07")
_KEYBOARD = re.compile(rb"\x1b\[([<>])\d*u")


class _Screen(pyte.Screen):  # type: ignore[misc]
    """pyte's screen, which would drop the rest of a text behind a joiner."""

    def draw(self, data: str) -> None:
        super().draw(data.translate(_JOINERS))

    @property
    def display(self) -> list[str]:
        """The rows; pyte's own fails where one half of a wide character was written over."""
        return ["".join(self._cells(y)) for y in range(self.lines)]

    def _cells(self, y: int) -> Iterator[str]:
        wide = False
        for x in range(self.columns):
            data = self.buffer[y][x].data
            if not wide:
                yield data or " "
            wide = not wide and wcwidth(data[:1]) == 2


class Terminal:
    """A program on a terminal of its own, and all that it wrote.

    Nothing is interpreted until it is asked for, so that a program can be watched without taking
    much of the machine from it.

    Args:
        command: The program and its arguments.
        size: Columns and rows.
        environ: Its environment; this process's when not given.
        folder: Where it is started.
        deaf: Whether it is started deaf to SIGHUP, as by ``nohup``.

    Attributes:
        written: Every byte that the program wrote.
    """

    def __init__(
        self,
        command: Sequence[str],
        size: tuple[int, int] = SIZE,
        environ: Mapping[str, str] | None = None,
        folder: str | None = None,
        *,
        deaf: bool = False,
    ) -> None:
        self.written = bytearray()
        self._screen = _Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._interpreted = 0
        columns, rows = size
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(rows, columns),
            env={**(os.environ if environ is None else environ), "TERM": "xterm-256color"},
            cwd=folder,
            ignore_sighup=deaf,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(pexpect.ExceptionPexpect):  # killed, and not gone in a tenth of a second
            self._child.close(force=True)
        self._child.wait()

    @property
    def pid(self) -> int:
        """Of the program."""
        return int(self._child.pid)

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        os.kill(self.pid, number)

    def send(self, keys: bytes | str) -> None:
        """Type; waits while the program takes nothing."""
        data = memoryview(keys.encode() if isinstance(keys, str) else keys)
        while data:
            _, free, _ = select.select([], [self._child.child_fd], [], 0)
            if free:
                data = data[os.write(self._child.child_fd, data[:1024]) :]
            else:
                self.read(0.001)

    def hang_up(self) -> None:
        """Close the terminal, as a window does."""
        self._child.ptyproc.fileobj.close()
        self._child.child_fd = -1

    def resize(self, size: tuple[int, int]) -> None:
        """Change the size, as a window does."""
        columns, rows = size
        self._interpret()
        self._screen.resize(rows, columns)
        self._child.setwinsize(rows, columns)

    def read(self, seconds: float = 0.0) -> bytes:
        """What the program writes now, waiting for it at most so long; empty at its end, too."""
        terminals = [self._child.child_fd] if self._child.child_fd >= 0 else []
        ready, _, _ = select.select(terminals, [], [], seconds)
        if not ready:
            return b""
        try:
            data = os.read(self._child.child_fd, 1 << 20)
        except OSError:  # the program ended
            return b""
        self.written += data
        return data

    def until(self, met: Callable[[], bool] | str, patience: float = PATIENCE) -> float:
        """Read until something is the case, or a text is on the screen; returns seconds waited."""
        started = time.perf_counter()
        reached = met if callable(met) else lambda: met in self.text
        while not reached():
            seconds = time.perf_counter() - started
            assert seconds < patience, f"it did not happen:\n{self.text}"
            self.read(0.02)
        return time.perf_counter() - started

    def until_bytes(self, wanted: bytes, patience: float = PATIENCE) -> float:
        """Read until the program wrote ``wanted`` anew; returns the seconds until then."""
        started = time.perf_counter()
        begin = len(self.written)
        while self.written.find(wanted, max(0, begin)) < 0:
            begin = max(begin, len(self.written) - len(wanted))
            assert time.perf_counter() - started < patience, f"no {wanted!r}:\n{self.text}"
            self.read(0.05)
        return time.perf_counter() - started

    def ended(self, patience: float = PATIENCE) -> int:
        """Wait for the end of the program; returns its exit code, 128 + n after signal n."""
        end = time.monotonic() + patience
        while self.read(0.05) or self._child.isalive():
            assert time.monotonic() < end, f"it goes on:\n{self.text}"
        killed = self._child.signalstatus
        return int(self._child.exitstatus) if killed is None else 128 + int(killed)

    # What is on the screen.

    @property
    def lines(self) -> list[str]:
        """The rows of the screen, without space at their ends."""
        self._interpret()
        return [row.rstrip() for row in self._screen.display]

    @property
    def text(self) -> str:
        """The screen."""
        return "\n".join(self.lines)

    @property
    def ground(self) -> str:
        """The background colour of the first cell, as six hexadecimal digits."""
        self._interpret()
        return str(self._screen.buffer[0][0].bg)

    @property
    def modes(self) -> set[int]:
        """Private modes that are set: 1049 is the alternate screen, 25 the cursor, and so on."""
        modes = {7, 25}
        for numbers, sign in _MODES.findall(self.written):
            for number in map(int, numbers.split(b";")):
                (modes.add if sign == b"h" else modes.discard)(number)
        return modes

    @property
    def keyboards(self) -> int:
        """How many keyboard protocols were pushed and not popped."""
        return sum(1 if sign == b">" else -1 for sign in _KEYBOARD.findall(self.written))

    @property
    def titles(self) -> list[str]:
        """The titles of the window that were pushed and not popped, each as it is now."""
        titles: list[str] = []
        for pushed, popped, title in _TITLE.findall(self.written):
            if pushed:
                titles.append("")
            elif popped:
                titles.pop()
            elif titles:
                titles[-1] = title.decode()
        return titles

    def _interpret(self) -> None:
        data = bytes(self.written[self._interpreted :])
        self._interpreted = len(self.written)
        self._stream.feed(data)
