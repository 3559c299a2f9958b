"""Redaction of stored messages: a secret that was pasted by mistake leaves the store."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tchat.chat.redaction import RedactedSessions
from tchat.translation import trn

if TYPE_CHECKING:
    from tchat.paths import Paths
    from tchat.redaction.redactor import Redactor
    from tchat.redaction.sensitive_span import DataKind
    from tchat.sessions.records import Message, Session
    from tchat.sessions.store import Store
    from tchat.settings import Settings

LISTED = 20  # values that are shown before they are replaced
SHOWN = 80  # characters of one
HIDDEN = "[…]"  # for a value whose name is not known


@dataclass(frozen=True, slots=True)
class StoredRedaction:
    """What would be replaced in a session, until `apply` does it.

    Attributes:
        session: The session.
        messages: Ids of the messages that hold values; of all branches.
        table: The placeholders, and what they stand for.
    """

    store: Store
    session: Session
    messages: tuple[int, ...]
    table: dict[str, str]
    redactor: Redactor
    only: Collection[int] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to replace."""
        return not self.table

    @property
    def lines(self) -> list[str]:
        """What would be replaced, for the user: raw."""
        shown = [f"{name}  {value[:SHOWN]}" for name, value in list(self.table.items())[:LISTED]]
        if (more := len(self.table) - LISTED) > 0:
            shown.append(trn("and {count:,} more", "and {count:,} more", more))
        return shown

    @property
    def question(self) -> str:
        """What the user is asked before."""
        return trn(
            "Replace {count:,} value in the stored session? This cannot be undone.",
            "Replace {count:,} values in the stored session? This cannot be undone.",
            len(self.table),
        )

    def apply(self, paths: Paths) -> Session:
        """Replace the values in the store and in the histories of prompts; returns the session.

        Raises:
            StorageError: The disk stands in the way; nothing was replaced in the store.
            UsageError: A reply of the session is being written.
        """
        reader = RedactedSessions(self.store, self.redactor)
        changed = self.store.rewrite(
            self.session.id,
            lambda message: reader.texts(message) if self._is_meant(message) else message,
            title=self._title(),
            system=self.session.system if self.only else self.redactor.redact(self.session.system),
            gone=set(self.table.values()),
        )
        if self.store.path is not None:
            redact_histories(paths, self.table)
        return changed

    def _title(self) -> str:
        """The title; of one that began as a message, the values of that message are replaced."""
        title = self.session.title
        return self.without_values(title) if self.only else self.redactor.redact(title)

    def without_values(self, text: str) -> str:
        """``text`` with the values replaced."""
        return _replacement(self.table)(text)

    def _is_meant(self, message: Message) -> bool:
        return not self.only or message.id in self.only

    @property
    def summary(self) -> str:
        """What was replaced, for the user."""
        return trn(
            "Replaced {values} in {count:,} message.",
            "Replaced {values} in {count:,} messages.",
            len(self.messages),
            values=trn("{count:,} value", "{count:,} values", len(self.table)),
        )


def find_stored(
    store: Store,
    session: Session,
    settings: Settings,
    *,
    text: str = "",
    only: Collection[int] = (),
    names: Mapping[str, DataKind] | None = None,
) -> StoredRedaction:
    """What redaction would replace in a session, or in the messages ``only``.

    With ``text``, that text wherever it stands, and nothing else. ``names`` are replaced, too.

    Raises:
        UsageError: The libraries that it needs are not installed.
    """
    from tchat.redaction.redactor import Redactor, require_libraries
    from tchat.redaction.sensitive_span import DataKind

    require_libraries()
    if text:
        redactor = Redactor(words=[text], kinds=frozenset({DataKind.WORD}))
    else:
        redactor = Redactor(words=settings.redact_words, names=names or {})
    messages = [each for each, _ in store.messages(session.id) if not only or each.id in only]
    for each in session_texts(store, session):
        redactor.reserve(each)
    reader = RedactedSessions(store, redactor)
    changed = tuple(each.id for each in messages if reader.texts(each) != each)
    if not only:
        redactor.redact(session.title)
        redactor.redact(session.system)
    return StoredRedaction(store, session, changed, dict(redactor.table), redactor, only)


def session_texts(store: Store, session: Session) -> Iterator[str]:
    """The texts of a session: its title, its system prompt, its messages."""
    yield from (session.title, session.system)
    for message, _ in store.messages(session.id):
        yield from (message.text, message.reasoning)


def _replacement(table: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces the values of ``table`` by their names: in any case, the longest first."""
    if not table:
        return str
    names = {value.casefold(): name for name, value in table.items()}
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: names.get(match[0].casefold(), HIDDEN), text)


def redact_histories(paths: Paths, table: dict[str, str]) -> None:
    """Replace values in the prompts that were typed, which Up goes back to.

    Raises:
        StorageError: A file of them cannot be written.
    """
    from tchat.chat.prompt_history import PromptHistory
    from tchat.chat.stored_files import TYPED_LINES, TYPED_LINES_PURPOSE
    from tchat.encryption.stored_file import StoredFile

    changed = _replacement(table)
    PromptHistory(paths.config, paths.encryption).rewrite(changed)
    stored = StoredFile(paths.config / TYPED_LINES, paths.encryption, TYPED_LINES_PURPOSE)
    if stored.path.is_file():
        before = stored.read().decode("utf-8", "surrogateescape")
        if (after := changed(before)) != before:
            stored.write(after.encode("utf-8", "surrogateescape"))
    if (readline := sys.modules.get("readline")) is not None:  # what a chat on lines writes later
        for place in range(readline.get_current_history_length()):
            line = readline.get_history_item(place + 1)
            if line is not None and changed(line) != line:
                readline.replace_history_item(place, changed(line))
