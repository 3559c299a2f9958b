"""What MCP servers ask in the chat on lines: forms field by field, and replies of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tchat.chat.commands.command import said_by
from tchat.cli.console import Console
from tchat.engine.binding import Cancel
from tchat.errors import Interrupted, UsageError
from tchat.sanitize import printable, revealed, single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.tools.mcp.host import FieldValue, FormField, McpForm, McpProgress, SamplingRequest

ATTEMPTS = 3  # at an answer
SHOWN = 2000  # characters of a request


class LineMcpHost:
    """Asks on the terminal of standard error; where there is none, declines.

    Attributes:
        chat: Whose model replies to servers; None declines.
    """

    def __init__(self, console: Console, cancel: Cancel) -> None:
        self.chat: Chat | None = None
        self._console = console
        self._cancel = cancel

    def ask_form(self, form: McpForm) -> Mapping[str, FieldValue] | None:
        """Ask the questions of a form; an empty answer to a required one gives up."""
        with suppress(Interrupted):
            return self._asked_form(form) if self._can_ask() else None
        return None

    def _asked_form(self, form: McpForm) -> Mapping[str, FieldValue] | None:
        lines = [tr("The MCP server {name} asks:", name=form.server), *form.message.splitlines()]
        if form.url:
            question = tr("Have you opened that page yourself, and should the call go on?")
            return {} if self._agrees([*lines, form.url], question) else None
        if not self._agrees(lines, tr("Answer?")):
            return None
        answers: dict[str, FieldValue] = {}
        for field in form.fields:
            try:
                value = self._answer(field)
            except UsageError as error:
                self._console.say(str(error))
                return None
            if value is not None:
                answers[field.name] = value
        shown = [f"{name}: {single_line(str(value))}" for name, value in answers.items()]
        return (
            answers if self._agrees(shown, tr("Send this to {name}?", name=form.server)) else None
        )

    def ask_sampling(self, request: SamplingRequest) -> str | None:
        """Show the request, and let the model reply if the user agrees; send what they saw."""
        with suppress(Interrupted):
            if self.chat is not None and self._can_ask():
                return self._replied(self.chat, request)
        return None

    def _replied(self, chat: Chat, request: SamplingRequest) -> str | None:
        from tchat.chat.server_reply import reply_to_server
        from tchat.tools.programs import shortened

        name = request.server
        lines = [tr("The MCP server {name} wants a reply of your model to:", name=name)]
        for role, text in (("system", request.system), *request.messages):
            lines += said_by(role, shortened(text, SHOWN)).splitlines() if text else []
        if not self._agrees(lines, tr("Reply?")):
            return None
        reply = reply_to_server(chat, request)
        if reply is None:
            return None
        shown = revealed(shortened(reply, SHOWN)).splitlines()
        return reply if self._agrees(shown, tr("Send this to {name}?", name=name)) else None

    def progress(self, progress: McpProgress) -> None:
        """Say how far a server is, where it says what it does."""
        if progress.message and self._console.stderr_is_terminal:
            self._console.notice(f"{progress.server}: {progress.message}")

    def cancelled(self) -> bool:
        """Whether the user stopped the reply."""
        return self._cancel.is_set()

    def _can_ask(self) -> bool:
        from tchat.cli.approval_question import can_ask

        return can_ask(self._console)

    def _agrees(self, lines: Sequence[str], question: str) -> bool:
        """Whether the user says yes to ``question``, below ``lines``, which are sanitized."""
        from tchat.cli.approval_question import YES_WORDS

        for line in lines:
            self._console.stderr.write(f"{self._console.in_lines(line)}\n")
        return self._typed(f"{question} [y/N]").lower() in YES_WORDS

    def _typed(self, question: str) -> str:
        """What the user types; what was typed before the question is no answer.

        Raises:
            Interrupted: The user stopped the turn instead.
        """
        from tchat.cli.approval_question import read_answer, typed_answers

        console = self._console
        with typed_answers(console) as stream:
            console.stderr.write(f"{console.in_lines(question)} ")
            console.stderr.flush()
            line = read_answer(stream, self._cancel)
        if not line.endswith(b"\n"):
            console.stderr.write("\n")
        return printable(line.decode(errors="replace")).strip()

    def _answer(self, field: FormField) -> FieldValue | None:
        for attempt in range(ATTEMPTS):
            try:
                return field.parse(self._typed(_question(field)))
            except UsageError as error:
                if attempt == ATTEMPTS - 1:
                    raise
                self._console.say(str(error))
        raise AssertionError


def _question(field: FormField) -> str:
    return " ".join(_parts(field))


def _parts(field: FormField) -> Iterator[str]:
    yield field.title
    if field.help:
        yield f"- {field.help}"
    if field.options:
        yield f"({', '.join(label for _, label in field.options)})"
    if isinstance(field.default, bool):
        yield "[y]" if field.default else "[n]"
    elif field.default is not None:
        yield f"[{printable(str(field.default))}]"
    yield ">"
