"""The texts in a chat that others wrote, which no approval may forget."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from tchat.chat.attachments import split_attachments
from tchat.errors import TchatError
from tchat.sessions.records import Message, Role, ToolState
from tchat.tools.approval import Approval
from tchat.tools.executor import ToolExecutor


@dataclass(slots=True)
class UntrustedTexts:
    """Tells an approval of the texts in a chat that others wrote, of each once."""

    _approval: Approval | None = None
    _known: set[int] = field(default_factory=set)

    def tell(self, executor: ToolExecutor, messages: Iterable[Message]) -> None:
        """Tell of those among ``messages``, which are in the context of the next reply."""
        if self._approval is not executor.approval:
            self._approval, self._known = executor.approval, set()
        found = {
            each.id
            for each in messages
            if each.id not in self._known and _is_untrusted(each, executor)
        }
        if found:
            self._known |= found
            executor.approval.add_untrusted()

    def add(self, message_id: int) -> None:
        """The approval knows of a message already."""
        self._known.add(message_id)


def _is_untrusted(message: Message, executor: ToolExecutor) -> bool:
    """Whether a message holds text of others: a file, or the result of a tool that reads such."""
    if message.role is Role.USER:
        return bool(split_attachments(message.text)[0])
    outcome = message.tool_outcome
    if outcome is None or outcome.state is ToolState.REFUSED:
        return False
    with suppress(TchatError):
        return executor.registry.get(outcome.name).is_untrusted
    return True
