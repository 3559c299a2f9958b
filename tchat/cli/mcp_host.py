"""What MCP servers ask in the chat on lines: forms field by field, and replies of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tchat.chat.commands.command import said_by
from tchat.cli.console import Console, ask_line, ask_yes_no
from tchat.engine.binding import Cancel
from tchat.errors import UsageError
from tchat.sanitize import printable, single_line
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
        if not self._can_ask():
            return None
        lines = [tr("The MCP server {name} asks:", name=form.server), *form.message.splitlines()]
        if form.url:
            lines.append(form.url)
            question = tr("Have you opened that page yourself, and should the call go on?")
            return {} if ask_yes_no(self._console, lines, question) else None
        if not ask_yes_no(self._console, lines, tr("Answer?")):
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
        question = tr("Send this to {name}?", name=form.server)
        return answers if ask_yes_no(self._console, shown, question) else None

    def ask_sampling(self, request: SamplingRequest) -> str | None:
        """Show the request, and let the model reply if the user agrees; send what they saw."""
        if self.chat is None or not self._can_ask():
            return None
        from tchat.chat.server_reply import reply_to_server
        from tchat.tools.programs import shortened

        name = request.server
        lines = [tr("The MCP server {name} wants a reply of your model to:", name=name)]
        for role, text in (("system", request.system), *request.messages):
            lines += said_by(role, shortened(text, SHOWN)).splitlines() if text else []
        if not ask_yes_no(self._console, lines, tr("Reply?")):
            return None
        reply = reply_to_server(self.chat, request)
        if reply is None:
            return None
        shown = printable(shortened(reply, SHOWN)).splitlines()
        question = tr("Send this to {name}?", name=name)
        return reply if ask_yes_no(self._console, shown, question) else None

    def progress(self, progress: McpProgress) -> None:
        """Say how far a server is, where it says what it does."""
        if progress.message and self._console.stderr_is_terminal:
            self._console.notice(f"{progress.server}: {progress.message}")

    def cancelled(self) -> bool:
        """Whether the user stopped the reply."""
        return self._cancel.is_set()

    def _can_ask(self) -> bool:
        return self._console.stdin_is_terminal and self._console.stderr_is_terminal

    def _answer(self, field: FormField) -> FieldValue | None:
        for attempt in range(ATTEMPTS):
            try:
                return field.parse(ask_line(self._console, _question(field)))
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
    if field.default is not None:
        yield f"[{printable(str(field.default))}]"
    yield ">"
