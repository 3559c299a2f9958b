"""Asks on the terminal whether a call of a tool may run."""

from __future__ import annotations

import io
import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from tchat.cli.console import Console
from tchat.cli.type_ahead import shown_typing
from tchat.errors import Interrupted
from tchat.sanitize import revealed
from tchat.step_text import argument_text, one_line
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.engine.binding import Cancel
    from tchat.tools.approval import Approval

TERMINAL = "/dev/tty"
SHOWN = 60  # lines of an argument or a diff that are shown at first
LINE = 2000  # characters of such a line
WAIT = 0.1  # seconds between two looks whether the user stopped
LONGEST = 8192  # bytes of an answer
PATTERN = 200  # characters of a pattern
YES, NO, ALWAYS, LIKE_THIS, ALL = "y", "n", "a", "p", "v"
YES_WORDS, NO_WORDS = frozenset({YES, "yes"}), frozenset({"", NO, "no"})


def can_ask(console: Console) -> bool:
    """Whether somebody sees a question and can answer it, also where the prompt is piped in."""
    if not console.stderr_is_terminal:
        return False
    if console.stdin_is_terminal:
        return True
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class TerminalApproval:
    """Asks about one call after the other; what was typed before a question is no answer to it.

    Attributes:
        approval: What was read and granted so far; None until the tools are opened.
    """

    def __init__(self, console: Console, cancel: Cancel) -> None:
        self.approval: Approval | None = None
        self._console = console
        self._cancel = cancel
        self._lock = threading.Lock()

    def __call__(self, request: ApprovalRequest) -> Answer:
        """Ask about ``request``.

        Raises:
            Interrupted: The user stopped the turn instead.
        """
        with self._lock, typed_answers(self._console) as stream:
            return self._ask(request, stream)

    def _ask(self, request: ApprovalRequest, stream: BinaryIO) -> Answer:
        self._show_exactly(_described(request, SHOWN))
        has_untrusted = self.approval is not None and self.approval.has_untrusted
        if has_untrusted and request.call.has_consequences:
            self._show([tr("The chat holds text of others, which may have led to this call.")])
        while True:
            line = self._line(request, stream)
            word, _, reason = line.partition(" ")
            match word.lower():
                case word if word in YES_WORDS and not reason:
                    return Answer(ApprovalChoice.ONCE)
                case word if word == ALWAYS and not reason:
                    return Answer(ApprovalChoice.ALWAYS_TOOL)
                case word if word == LIKE_THIS and not reason and request.pattern:
                    return Answer(ApprovalChoice.ALWAYS_PATTERN)
                case word if word in NO_WORDS:
                    return Answer(ApprovalChoice.DENY, reason.strip())
                case word if word == ALL and not reason:
                    self._show_exactly(_described(request, None))
                case word if len(line) > 2:
                    return Answer(ApprovalChoice.DENY, line)

    def _line(self, request: ApprovalRequest, stream: BinaryIO) -> str:
        """What the user types; the end of the input is a no."""
        console = self._console
        self._show([_choices(request)])
        console.stderr.write("> ")
        console.stderr.flush()
        line = read_answer(stream, self._cancel)
        if not line.endswith(b"\n"):
            console.stderr.write("\n")
        return line.decode(errors="replace").strip()

    def _show(self, lines: list[str]) -> None:
        for line in lines:
            self._console.stderr.write(f"{self._console.in_lines(line)}\n")
        self._console.stderr.flush()

    def _show_exactly(self, lines: list[str]) -> None:
        """Show lines of a call; the terminal breaks them, so that no blank is left out."""
        for line in lines:
            self._console.stderr.write(f"{line}\n")
        self._console.stderr.flush()


def _described(request: ApprovalRequest, most: int | None) -> list[str]:
    """The call for people: nothing in it is hidden, and ``most`` lines of each part are shown."""
    call = request.call
    name = one_line(call.tool.name, PATTERN)
    lines = [tr("The model wants to call {name}:", name=name)]
    for argument, value in call.arguments.items():
        if request.preview and argument not in call.tool.path_arguments:
            continue  # the diff shows it
        told = revealed(argument_text(value).replace("\r", "␍")).split("\n")
        shown = one_line(argument, PATTERN)
        parts = _shortened(told, most)
        if len(told) == 1:
            lines.append(f"  {shown}: {parts[0]}")
        else:
            lines += [f"  {shown}:", *(f"    {each}" for each in parts)]
    if request.preview:
        lines += (f"  {each}" for each in _shortened(revealed(request.preview).split("\n"), most))
    return lines


def _shortened(lines: list[str], most: int | None) -> list[str]:
    if most is None:
        return lines
    lines = [_cut(line) for line in lines]
    if len(lines) <= most:
        return lines
    rest = len(lines) - most
    more = trn("… {count:,} more line; v shows all", "… {count:,} more lines; v shows all", rest)
    return [*lines[:most], more]


def _cut(line: str) -> str:
    rest = len(line) - LINE
    if rest <= 0:
        return line
    more = trn(
        "… {count:,} more character; v shows all", "… {count:,} more characters; v shows all", rest
    )
    return f"{line[:LINE]}{more}"


def _choices(request: ApprovalRequest) -> str:
    if request.pattern:
        return tr(
            "Run it? y once, a always {name} in this session, p always `{pattern}`, Enter or n "
            "not; other words are told to the model.",
            name=one_line(request.call.tool.name, PATTERN),
            pattern=one_line(request.pattern, PATTERN),
        )
    return tr(
        "Run it? y once, a always {name} in this session, Enter or n not; other words are told to "
        "the model.",
        name=one_line(request.call.tool.name, PATTERN),
    )


@contextmanager
def typed_answers(console: Console) -> Iterator[BinaryIO]:
    """Where the user types: standard input, or the terminal itself where that is piped."""
    if console.stdin_is_terminal and console.stdin is not None:
        with shown_typing(console.stdin):
            yield console.stdin
        return
    try:
        terminal = open(TERMINAL, "rb", buffering=0)  # noqa: PTH123, SIM115
    except OSError:  # it was closed since `can_ask`
        yield io.BytesIO()
        return
    with terminal, shown_typing(terminal):
        yield terminal


def read_answer(stream: BinaryIO, cancel: Cancel) -> bytes:
    """A line; empty at the end of the input.

    Raises:
        Interrupted: The user stopped the turn.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # closed, or has no descriptor
        return stream.readline()
    while not select.select([descriptor], [], [], WAIT)[0]:
        if cancel.is_set():
            raise Interrupted(signal.SIGINT)
    # A terminal gives one line at a time.
    return os.read(descriptor, LONGEST)
