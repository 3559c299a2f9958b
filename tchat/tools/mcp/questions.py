"""A call to a server as its caller sees it: waiting, answering questions, stopping.

The call itself runs in the loop of the server's thread. Questions of the server are handed to the
thread of the caller, so that a front end and the model are used where they are at home.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tchat.tools.mcp.host import McpHost, McpProgress
from tchat.tools.tool import ToolError
from tchat.translation import tr

T = TypeVar("T")

POLL_SECONDS = 0.1  # between two looks at whether the user stopped the call
MAX_QUESTIONS = 8  # of one call; more are declined
LONGEST_SECONDS = 900.0  # of a call that tells of progress again and again


class ServerQuestion:
    """A question of a server that waits for the user."""

    def __init__(self, ask: Callable[[McpHost], Any]) -> None:
        self._ask = ask
        self.answer: Future[Any] = Future()

    def put_to(self, host: McpHost | None) -> None:
        """Ask, unless the server does not wait any more; without a host it is declined."""
        if not self.answer.set_running_or_notify_cancel():
            return
        result = None
        try:
            if host is not None and not host.cancelled():
                result = self._ask(host)
        finally:
            self.answer.set_result(result)

    def decline(self) -> None:
        """Answer that nobody answers."""
        if not self.answer.done() and self.answer.set_running_or_notify_cancel():
            self.answer.set_result(None)


class Caller:
    """The thread that waits for one call.

    Args:
        server: Who is called.
        host: The front end; None where there is none.
        may_ask: Whether the server may ask something for it.
    """

    def __init__(self, server: str, host: McpHost | None, *, may_ask: bool) -> None:
        self._server = server
        self._host = host
        self._may_ask = may_ask
        self._events: SimpleQueue[ServerQuestion | None] = SimpleQueue()
        self._progress: McpProgress | None = None
        self._asked = 0

    def question(self, question: ServerQuestion) -> None:
        """Hand a question over; from any thread."""
        self._events.put(question)

    def told_progress(self, progress: McpProgress) -> None:
        """Take note of progress; from any thread. Of a flood of it the last is shown."""
        self._progress = progress

    def wake(self, _: object = None) -> None:
        """The call is over; from any thread."""
        self._events.put(None)

    def wait(self, call: Future[T], limit: float) -> T:
        """The result of ``call``, within ``limit`` seconds without a sign of progress.

        The time in which the user answers questions does not count.

        Raises:
            ToolError: It takes too long, or the user stopped it.
            Exception: What the call raised.
        """
        start = time.monotonic()
        deadline, last = start + limit, start + max(limit, LONGEST_SECONDS)
        while not call.done():
            now = time.monotonic()
            if self._is_stopped():
                raise ToolError(tr("the call was stopped"))
            if now > min(deadline, last):
                raise self._too_long(limit)
            if (progress := self._progress) is not None:
                self._progress = None
                deadline = now + limit
                if self._host is not None:
                    self._host.progress(progress)
            try:
                question = self._events.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            if question is not None:
                self._asked += 1
                may_ask = self._may_ask and self._asked <= MAX_QUESTIONS
                question.put_to(self._host if may_ask else None)
                asked = time.monotonic() - now
                deadline, last = deadline + asked, last + asked
        return call.result()

    def leave(self) -> None:
        """Decline what is still asked."""
        while True:
            try:
                question = self._events.get_nowait()
            except Empty:
                return
            if question is not None:
                question.decline()

    def _is_stopped(self) -> bool:
        return self._host is not None and self._host.cancelled()

    def _too_long(self, limit: float) -> ToolError:
        return ToolError(
            tr(
                "the MCP server {name} did not answer within {seconds} seconds",
                name=self._server,
                seconds=math.ceil(limit),
            ),
            tr("try again, or use another tool"),
        )
