"""What the controllers of the chat screen share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.notifications import SeverityLevel
from textual.screen import Screen

from tchat.errors import UsageError
from tchat.paths import Paths
from tchat.settings import Settings
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.tui.services.conversation import Conversation
    from tchat.tui.services.sessions import MessageService, SessionService


class ChatContext:
    """The open chat, the user's folders, and the screen that both are shown on.

    Args:
        screen: The chat screen.
        settings: For the first picture.
        paths: The user's folders.
        private: Whether nothing is to be stored.

    Attributes:
        conversation: The open chat, once the sessions are opened.
        messages: Those of the open session, likewise.
        sessions: All stored sessions, likewise.
        is_ready: Whether the sessions are open; the first picture does not wait for them.
    """

    conversation: Conversation
    messages: MessageService
    sessions: SessionService

    def __init__(
        self, screen: Screen[None], settings: Settings, paths: Paths, *, private: bool
    ) -> None:
        self.screen = screen
        self.paths = paths
        self.is_ready = False
        self._first_settings = settings
        self._first_private = private

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.conversation.settings if self.is_ready else self._first_settings

    @property
    def private(self) -> bool:
        """Whether nothing of the session is stored."""
        return self.conversation.private if self.is_ready else self._first_private

    @property
    def prompt(self) -> Prompt:
        """Where the user types."""
        return self.screen.query_one(Prompt)

    def notify(
        self,
        text: str,
        *,
        severity: SeverityLevel = "information",
        timeout: float | None = None,
    ) -> None:
        """Show a toast; the caller sanitizes what is foreign in ``text``."""
        self.screen.notify(text, severity=severity, timeout=timeout, markup=False)

    async def read_prompt(self, draft: Draft) -> tuple[str, list[str]]:
        """The prompt with its files in front, and what was assumed of their encoding.

        Raises:
            TchatError: A file cannot be read, or is no text.
        """
        return await asyncio.to_thread(_read, draft, self.settings.encoding)

    def select_blank(self) -> bool:
        """Whether a blank of a prompt template is not filled in yet; selects it and says so."""
        blanks = self.prompt.draft.blanks
        if blanks:
            self.prompt.select_blank()
            self.prompt.focus()
            self.notify(f"Fill in {blanks[0]} first: type over it.")
        return bool(blanks)


def _read(draft: Draft, encoding: str) -> tuple[str, list[str]]:
    from tchat.chat.attachments import read_attachment, with_attachments

    try:
        attached = [read_attachment(name, encoding=encoding) for name in draft.attachments]
    except UsageError as error:
        raise UsageError(error.message, _without_flag(error.hint)) from error
    return with_attachments(draft.full_text, attached), [
        _without_flag(each.assumed) for each in attached if each.assumed
    ]


def _without_flag(told: str) -> str:
    """What is said of an encoding, with what changes it here in the place of the flag."""
    return "/set encoding".join(told.rsplit("--encoding", 1))
