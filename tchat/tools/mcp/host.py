"""What an MCP server may ask of its user while it works on a call, and how the user answers.

The questions come on the thread that made the call. What servers wrote is made printable here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from tchat.errors import UsageError
from tchat.translation import tr

FieldValue: TypeAlias = str | int | float | bool | list[str]


class FieldKind(StrEnum):
    """What a field of a form takes."""

    TEXT = "text"
    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CHOICE = "choice"  # one of the options
    CHOICES = "choices"  # any of the options


@dataclass(frozen=True, slots=True)
class FormField:
    """A question of a form.

    Attributes:
        name: The name of the answer.
        title: What to show instead of the name.
        help: What the server says about it; may be empty.
        kind: What it takes.
        options: Values and their labels, of a choice.
        default: What to begin with, if the server names something.
        is_required: Whether it must be answered.
        format: ``email``, ``uri``, ``date`` or ``date-time``; else empty.
        low: The smallest number, the shortest text, or the fewest options.
        high: The largest number, the longest text, or the most options.
    """

    name: str
    title: str
    help: str = ""
    kind: FieldKind = FieldKind.TEXT
    options: tuple[tuple[str, str], ...] = ()
    default: FieldValue | None = None
    is_required: bool = False
    format: str = ""
    low: float | None = None
    high: float | None = None

    def parse(self, text: str) -> FieldValue | None:
        """The answer that ``text`` spells; None for no answer.

        Choices are given by value or label, several of them with commas.

        Raises:
            UsageError: It is no answer to this question.
        """
        text = text.strip()
        if not text:
            if self.is_required and self.default is None:
                raise self._wrong(tr("it must be answered"))
            return self.default
        value = self._value(text)
        self.check(value)
        return value

    def check(self, value: FieldValue) -> None:
        """Raise UsageError unless ``value`` answers this question."""
        known = [each for each, _ in self.options]
        match self.kind:
            case FieldKind.BOOLEAN:
                fits = isinstance(value, bool)
            case FieldKind.INTEGER:
                fits = isinstance(value, int) and not isinstance(value, bool)
            case FieldKind.NUMBER:
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                fits = is_number and math.isfinite(float(str(value)))
            case FieldKind.CHOICE:
                fits = value in known
            case FieldKind.CHOICES:
                fits = isinstance(value, list) and all(each in known for each in value)
            case _:
                fits = isinstance(value, str)
        if not fits:
            raise self._wrong(self._expected())
        size = value if isinstance(value, int | float) else len(value)
        if self.kind in (FieldKind.BOOLEAN, FieldKind.CHOICE):
            return
        if self.low is not None and size < self.low:
            raise self._wrong(tr("at least {low:g}", low=self.low))
        if self.high is not None and size > self.high:
            raise self._wrong(tr("at most {high:g}", high=self.high))

    def _value(self, text: str) -> FieldValue:
        by_label = {label.casefold(): value for value, label in self.options}
        by_label |= {value.casefold(): value for value, _ in self.options}
        match self.kind:
            case FieldKind.BOOLEAN:
                known = {"y": True, "yes": True, "true": True, "n": False, "no": False}
                answer = {**known, "false": False}.get(text.casefold())
                if answer is None:
                    raise self._wrong(self._expected())
                return answer
            case FieldKind.INTEGER | FieldKind.NUMBER:
                try:
                    return int(text) if self.kind is FieldKind.INTEGER else float(text)
                except ValueError:
                    raise self._wrong(self._expected()) from None
            case FieldKind.CHOICE:
                return by_label.get(text.casefold(), text)
            case FieldKind.CHOICES:
                words = [word.strip() for word in text.split(",") if word.strip()]
                return [by_label.get(word.casefold(), word) for word in words]
            case _:
                return text

    def _expected(self) -> str:
        labels = ", ".join(label for _, label in self.options)
        match self.kind:
            case FieldKind.BOOLEAN:
                return tr("answer yes or no")
            case FieldKind.INTEGER:
                return tr("answer with a whole number")
            case FieldKind.NUMBER:
                return tr("answer with a number")
            case FieldKind.CHOICE:
                return tr("choose one of {labels}", labels=labels)
            case FieldKind.CHOICES:
                return tr("choose among {labels}", labels=labels)
            case _:
                return tr("answer with a text")

    def _wrong(self, reason: str) -> UsageError:
        return UsageError(tr("this does not answer `{name}`", name=self.title), reason)


@dataclass(frozen=True, slots=True)
class McpForm:
    """What a server asks of the user (MCP: elicitation).

    Attributes:
        server: Who asks.
        message: Why.
        fields: The questions.
        url: A page that the user is asked to open instead; tchat never opens it. Answered by an
            empty mapping once the user has done so.
    """

    server: str
    message: str
    fields: tuple[FormField, ...] = ()
    url: str = ""

    def check(self, answers: Mapping[str, FieldValue]) -> None:
        """Raise UsageError unless ``answers`` answer the form."""
        known = {field.name: field for field in self.fields}
        for name, value in answers.items():
            if name not in known:
                raise UsageError(tr("the form has no field `{name}`", name=name))
            known[name].check(value)
        for field in self.fields:
            if field.is_required and field.name not in answers:
                raise UsageError(
                    tr("`{name}` is not answered", name=field.title), tr("it must be answered")
                )


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """A reply that a server wants from the user's model.

    Attributes:
        server: Who asks.
        system: The system prompt; may be empty.
        messages: Roles (``user`` or ``assistant``) and texts.
        max_tokens: The longest reply that it wants.
        temperature: None for the user's.
        stop: Texts that end the reply.
    """

    server: str
    system: str
    messages: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float | None = None
    stop: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class McpProgress:
    """How far a server is with a call.

    Attributes:
        server: Which.
        progress: So much is done.
        total: Of so much; None where the server does not know.
        message: What it does; may be empty.
    """

    server: str
    progress: float
    total: float | None = None
    message: str = ""


class McpHost(Protocol):
    """The front end of a chat, as far as servers may ask it something.

    Every method is called on the thread that made the call to the server.
    """

    def ask_form(self, form: McpForm) -> Mapping[str, FieldValue] | None:
        """The user's answers; None declines."""

    def ask_sampling(self, request: SamplingRequest) -> str | None:
        """Ask the user, and let the model reply; None declines."""

    def progress(self, progress: McpProgress) -> None:
        """Show how far a server is."""

    def cancelled(self) -> bool:
        """Whether the user stopped the call; asked ten times a second."""
