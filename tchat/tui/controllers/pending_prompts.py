"""Prompts that wait for the reply under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from tchat.tui.controllers.context import ChatContext
from tchat.tui.widgets.prompt_draft import Draft


class PendingPrompts:
    """Drafts in the order in which they were sent, as the prompt shows them.

    Attributes:
        is_held: Whether they wait for the user, who stopped a turn.
    """

    def __init__(self, context: ChatContext) -> None:
        self.is_held = False
        self._context = context
        self._drafts: deque[Draft] = deque()

    def __len__(self) -> int:
        return len(self._drafts)

    def __iter__(self) -> Iterator[Draft]:
        return iter(self._drafts)

    def append(self, draft: Draft) -> None:
        """Let a draft wait behind the others."""
        self._drafts.append(draft)
        self._show()

    def pop_first(self) -> Draft:
        """Take out the draft that waits longest.

        Raises:
            IndexError: None waits.
        """
        draft = self._drafts.popleft()
        self._show()
        return draft

    def clear(self) -> list[Draft]:
        """Take all of them out, in order."""
        drafts = list(self._drafts)
        self._drafts.clear()
        self._show()
        return drafts

    def give_back_last(self) -> None:
        """Put the last one back where it is typed."""
        if self._drafts:
            self._context.prompt.give_back(self._drafts.pop())
            self._show()

    def hold(self) -> None:
        """Let them wait until the user wants the next one."""
        self.is_held = bool(self._drafts)
        self._show()

    def release(self) -> None:
        """Hold them no more."""
        self.is_held = False
        self._show()

    def _show(self) -> None:
        self.is_held = self.is_held and bool(self._drafts)
        prompt = self._context.prompt
        prompt.held = self.is_held
        prompt.queue = [draft.text.splitlines()[0] for draft in self._drafts if draft.text]
