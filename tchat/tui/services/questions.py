"""Questions for the user from the thread that works: about calls of tools, and of MCP servers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from tchat.errors import Interrupted

if TYPE_CHECKING:
    from tchat.engine.binding import Cancel
    from tchat.tools.executor import Answer, ApprovalRequest
    from tchat.tools.mcp.host import FieldValue, McpForm, SamplingRequest

LOOK = 0.05  # seconds between two looks whether the turn was stopped

T = TypeVar("T")
Choice: TypeAlias = Literal["once", "tool", "pattern", "deny", "stop"]


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A call as it is shown; all of it raw.

    Attributes:
        name: The tool.
        effects: What a call of it may do, translated.
        rows: Arguments, by name.
        command: The command line of a program; empty where none is run.
        diff: What would change, as a unified diff.
        pattern: What "always such calls" would allow; empty where it is not offered.
        is_untrusted: Whether the chat holds text that others wrote.
        heading: The question, where it is not about a call; then the answers are yes and no.
    """

    name: str
    effects: str = ""
    rows: Sequence[tuple[str, str]] = ()
    command: str = ""
    diff: str = ""
    pattern: str = ""
    is_untrusted: bool = False
    heading: str = ""

    def offers(self, choice: Choice) -> bool:
        """Whether an answer is possible."""
        if choice == "pattern":
            return bool(self.pattern)
        return choice != "tool" or not self.heading


@dataclass(frozen=True, slots=True, eq=False)
class CallQuestion:
    """May this call run? ``is_untrusted`` tells that the chat holds text that others wrote."""

    request: ApprovalRequest
    is_untrusted: bool
    answer: Future[Answer] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class FormQuestion:
    """A form of an MCP server; None declines."""

    form: McpForm
    answer: Future[Mapping[str, FieldValue] | None] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class ReplyQuestion:
    """May the model reply to an MCP server; with ``reply``, may this be sent?"""

    request: SamplingRequest
    reply: str | None = None
    answer: Future[bool] = field(default_factory=Future)


Question: TypeAlias = CallQuestion | FormQuestion | ReplyQuestion


class Answered(Protocol[T]):
    """A question whose answer is a ``T``."""

    @property
    def answer(self) -> Future[T]:
        """What the user says."""


class QuestionService:
    """Brings questions to the screen, and waits for the answers.

    Attributes:
        on_question: Called on the thread that asks; it must answer the question, or cancel it.
    """

    def __init__(self, cancel: Cancel) -> None:
        self.on_question: Callable[[Any], object] | None = None  # with a `Question`
        self._cancel = cancel

    def ask(self, question: Answered[T]) -> T:
        """The answer; on any thread but that of the event loop.

        Raises:
            Interrupted: The turn was stopped meanwhile, or the screen is closed.
        """
        if self.on_question is None:
            raise Interrupted(signal.SIGINT)
        self.on_question(question)
        while True:
            try:
                return question.answer.result(LOOK)
            except TimeoutError:
                if self._cancel.is_set():
                    question.answer.cancel()
            except CancelledError:
                raise Interrupted(signal.SIGINT) from None
