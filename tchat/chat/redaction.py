"""Sessions as they may leave the machine: personal data and secrets replaced in every text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tchat.translation import tr, trn

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.redaction.redactor import Redactor
    from tchat.sessions.formats.format import Messages, SessionReader
    from tchat.sessions.records import Message, Session
    from tchat.settings import Settings


def open_redactor(settings: Settings) -> Redactor:
    """A redactor with the user's own words.

    Raises:
        UsageError: The libraries that it needs are not installed.
    """
    from tchat.redaction.redactor import Redactor, require_libraries

    require_libraries()
    return Redactor(words=settings.redact_words)


@dataclass(frozen=True, slots=True)
class RedactedSessions:
    """A `SessionReader` that gives every text redacted, names of models too: they may be paths."""

    reader: SessionReader
    redactor: Redactor

    def sessions(self, found: Iterable[Session]) -> Iterator[Session]:
        """The sessions with redacted titles and system prompts."""
        redact = self.redactor.redact
        for each in found:
            yield replace(each, title=redact(each.title), system=redact(each.system))

    def branch_models(self, session_id: str) -> list[str]:
        """See `SessionReader`."""
        return list(map(self.redactor.redact, self.reader.branch_models(session_id)))

    def last_model(self, session_id: str) -> str:
        """See `SessionReader`."""
        return self.redactor.redact(self.reader.last_model(session_id))

    def walk(self, session_id: str) -> Iterator[Message]:
        """See `SessionReader`."""
        return map(self.message, self.reader.walk(session_id))

    def messages(self, session_id: str) -> Messages:
        """See `SessionReader`."""
        for message, is_active in self.reader.messages(session_id):
            yield self.message(message), is_active

    def message(self, message: Message) -> Message:
        """The message with its texts and the name of its model redacted."""
        return replace(self.texts(message), model=self.redactor.redact(message.model))

    def texts(self, message: Message) -> Message:
        """The message with its text, its reasoning and its calls redacted."""
        redact = self.redactor.redact
        calls = tuple(
            replace(call, arguments=self._redacted(call.arguments)) for call in message.tool_calls
        )
        return replace(
            message,
            text=redact(message.text),
            reasoning=redact(message.reasoning),
            tool_calls=calls,
        )

    def _redacted(self, value: Any) -> Any:
        """A JSON value with its texts, its keys and its numbers redacted."""
        if isinstance(value, str):
            return self.redactor.redact(value)
        if isinstance(value, Mapping):
            redact = self.redactor.redact
            return {redact(str(name)): self._redacted(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._redacted(each) for each in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = str(value)
            redacted = self.redactor.redact(text)
            return value if redacted == text else redacted
        return value


def redaction_summary(redactor: Redactor) -> str:
    """What was replaced, counted by kind."""
    count = len(redactor.table)
    if not count:
        return tr("redaction found nothing to replace; of names it finds those in redact_words")
    kinds = Counter(name.strip("[]").rpartition("_")[0] for name in redactor.table)
    return trn(
        "redaction replaced {count:,} value ({kinds}); check the result: it finds by form, and of "
        "names only those in redact_words",
        "redaction replaced {count:,} values ({kinds}); check the result: it finds by form, and of "
        "names only those in redact_words",
        count,
        kinds=", ".join(f"{number} {kind}" for kind, number in kinds.most_common()),
    )


def guess_notice(redactor: Redactor) -> str:
    """How many of the values are names that the model guessed; empty for none."""
    if not (count := redactor.guesses):
        return ""
    return trn(
        "{count:,} of them is a name that the model guessed: it overlooks some, and takes other "
        "words for names",
        "{count:,} of them are names that the model guessed: it overlooks some, and takes other "
        "words for names",
        count,
    )


def write_table(redactor: Redactor, path: Path) -> None:
    """Write what the placeholders stand for as JSON, for the user alone; guesses are marked.

    Raises:
        UsageError: The file is there already.
    """
    from tchat.private_files import write_new

    table = {
        name: {"value": value, "guess": True} if redactor.is_guess(name) else value
        for name, value in redactor.table.items()
    }
    text = json.dumps(table, ensure_ascii=False, indent=2) + "\n"
    write_new(path, (text.encode("utf-8", "surrogatepass"),))
