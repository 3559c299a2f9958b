"""Texts of one session that leave this machine, and what comes back.

A value has the same placeholder in every text of the session, so that a server finds the beginning
of each prompt unchanged.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tchat.redaction.redactor import PLACEHOLDER, Redactor

_MOST_TEXTS = 2_000  # whose redacted form is remembered
# The beginning of a placeholder at the end of a text; models escape it in Markdown.
_BEGUN = re.compile(r"(?:\\|\\?\[[A-Z]{0,16}(?:\\?_\d{0,6}\\?|\\)?)\Z")


class OutgoingRedaction:
    """Replaces values in what leaves, and puts them back in what comes. Threads may share it.

    Args:
        words: The user's own words.
        table: Placeholders of the session until now, and what they stand for.

    Attributes:
        keep: Is given the whole table whenever it has grown.
    """

    def __init__(
        self,
        words: Collection[str] = (),
        table: Mapping[str, str] | None = None,
    ) -> None:
        self._redactor = Redactor(words=words)
        self._redactor.add_table(table or {})
        self.keep: Callable[[Mapping[str, str]], None] = lambda _: None
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()
        self._told = 0

    def without_table(self) -> OutgoingRedaction:
        """A redaction of the same words that has given no placeholder yet."""
        return OutgoingRedaction(self._redactor.words)

    @property
    def table(self) -> Mapping[str, str]:
        """What each placeholder stands for."""
        return self._redactor.table

    def redact(self, text: str) -> str:
        """``text`` with placeholders."""
        if not text:
            return text
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
            before = len(self.table)
            redacted = self._known[text] = self._redactor.redact(text)
            if len(self._known) > _MOST_TEXTS:
                self._known.popitem(last=False)
            if len(self.table) > before:
                self.keep(self.table)
            return redacted

    def redact_json(self, value: Any, *, numbers: bool = True) -> Any:
        """A JSON value with placeholders in its texts and keys, and in place of ``numbers``."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {
                self.redact(str(name)): self.redact_json(each, numbers=numbers)
                for name, each in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.redact_json(each, numbers=numbers) for each in value]
        if numbers and isinstance(value, int | float) and not isinstance(value, bool):
            redacted = self.redact(str(value))
            return value if redacted == str(value) else redacted
        return value

    def redact_document(self, text: str) -> str:
        """JSON with placeholders; as `redact` where it is none."""
        try:
            return json.dumps(self.redact_json(json.loads(text)), ensure_ascii=False)
        except ValueError:
            return self.redact(text)

    def restore(self, text: str) -> str:
        """``text`` with the values put back."""
        return self._redactor.restore(text)

    def restore_document(self, text: str) -> str:
        """JSON with the values put back, escaped as its strings are."""

        def escaped(match: re.Match[str]) -> str:
            value = self.restore(match.group())
            return match.group() if value == match.group() else _in_string(value)

        return PLACEHOLDER.sub(escaped, text)

    def count(self, *texts: str) -> int:
        """How many values the placeholders of redacted ``texts`` stand for."""
        names = {match.group() for text in texts for match in PLACEHOLDER.finditer(text)}
        return len(names & self.table.keys())

    def is_news(self, count: int) -> bool:
        """Whether ``count`` is another number than at the call before; first, than none."""
        news, self._told = count != self._told, count
        return news


class RestoredStream:
    """Puts values back in a text that comes in pieces: a placeholder may be split over them."""

    def __init__(self, redaction: OutgoingRedaction) -> None:
        self._redaction = redaction
        self._held = ""

    def feed(self, piece: str) -> str:
        """Add a piece; returns the text that is decided."""
        text = self._held + piece
        begun = _BEGUN.search(text, max(0, len(text) - 32))
        end = begun.start() if begun is not None else len(text)
        self._held = text[end:]
        return self._redaction.restore(text[:end])

    def close(self) -> str:
        """End the text; returns what was held back."""
        text, self._held = self._held, ""
        return self._redaction.restore(text)


def _in_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]
