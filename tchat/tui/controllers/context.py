"""What the controllers of the chat screen share: the open chat, its turn, the status line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.notifications import SeverityLevel
from textual.screen import Screen

from tchat.errors import MODELS, SETTINGS, TchatError, UsageError
from tchat.paths import Paths
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.translation import tr
from tchat.tui.controllers.status import StatusController
from tchat.tui.controllers.turn_state import TurnState
from tchat.tui.keys import KEYS, KeyAction, with_keymap
from tchat.tui.services.downloads import Downloads
from tchat.tui.terminal import TitledDriver
from tchat.tui.textual_patches import driver_of
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.chat.mcp_servers import ChatServers
    from tchat.tui.screen_lock import ScreenLock
    from tchat.tui.services.conversation import Conversation
    from tchat.tui.services.sessions import MessageService, SessionService


class ChatContext:
    """The open chat, the user's folders, and the screen that both are shown on.

    Attributes:
        conversation: The open chat, once the sessions are opened.
        messages: Those of the open session, likewise.
        sessions: All stored sessions, likewise.
        turn_state: The turn under way.
        downloads: What is being pulled.
        status: The header and the status line.
        settle: Called when a turn is over, or the session changed.
        is_ready: Whether the sessions are open; the first picture does not wait for them.
    """

    conversation: Conversation
    messages: MessageService
    sessions: SessionService
    settle: Callable[[], Awaitable[None]]

    def __init__(
        self, screen: Screen[None], settings: Settings, paths: Paths, *, private: bool
    ) -> None:
        self.screen = screen
        self.paths = paths
        self.is_ready = False
        self.turn_state = TurnState()
        self.downloads = Downloads(paths)
        self.status = StatusController(self, self._show_title)
        self._first_settings = settings
        self._first_private = private

    @property
    def has_own_keys(self) -> bool:
        """Whether keys are not the default ones; `keys_in_force` imports all dialogs for it."""
        settings = self._first_settings  # keys change at the next start
        return bool(settings.keys) or settings.keymap != "default"

    def keys_in_force(self) -> tuple[KeyAction, ...]:
        """Every key as it is after remapping."""
        from tchat.tui.keymap import ALL_BINDINGS, remap

        settings = self._first_settings
        keymap = remap(settings.keys, ALL_BINDINGS, settings.keymap).keymap
        return with_keymap(keymap, ALL_BINDINGS)

    def key_name(self, action: str) -> str:
        """The first key that does an action, as it is shown; by the id of the action."""
        known = () if self.has_own_keys else KEYS
        found = next((each for each in known if each.id == action), None)
        found = found or next(each for each in self.keys_in_force() if each.id == action)
        return found.shown_keys[0] if found.shown_keys else f"`{found.id}`"

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.conversation.settings if self.is_ready else self._first_settings

    def begin_private(self) -> None:
        """There is no chat yet, and the one that is opened will not be stored."""
        self._first_private = self.prompt.private = True
        self.status.refresh()

    @property
    def is_locked(self) -> bool:
        """Whether the chat is hidden until the store is unlocked."""
        return self.lock is not None and self.lock.is_locked

    @property
    def lock(self) -> ScreenLock | None:
        """What hides the chat; None where the store is not encrypted."""
        found: ScreenLock | None = getattr(self.screen.app, "lock", None)  # of a test, none
        return found

    @property
    def private(self) -> bool:
        """Whether nothing of the session is stored."""
        return self.conversation.private if self.is_ready else self._first_private

    @property
    def prompt(self) -> Prompt:
        """Where the user types."""
        return self.screen.query_one(Prompt)

    def _show_title(self, title: str | None) -> None:
        driver = driver_of(self.screen.app)
        if isinstance(driver, TitledDriver):
            driver.set_title(title)

    def notify(
        self, text: str, *, severity: SeverityLevel = "information", timeout: float | None = None
    ) -> None:
        """Show a toast; the caller sanitizes what is foreign in ``text``."""
        self.screen.notify(text, severity=severity, timeout=timeout, markup=False)

    def hinted(self, error: TchatError) -> str:
        """The text of an error, whose hint names keys of the screen."""
        places = {SETTINGS: self.key_name("chat.settings"), MODELS: self.key_name("chat.model")}
        return printable(error.in_chat(places))

    def notify_error(self, error: TchatError, *, timeout: float | None = None) -> None:
        """Show a failure in a toast."""
        self.notify(self.hinted(error), severity="error", timeout=timeout)

    async def read_prompt(
        self, draft: Draft, *, with_resources: bool = False
    ) -> tuple[str, list[str]]:
        """The prompt with its files in front, and what was assumed of their encoding.

        The resources of servers that it mentions are read only for a prompt that is sent.
        """
        servers, settings = self.conversation.servers, self.settings
        return await asyncio.to_thread(_read, draft, servers, settings, with_resources)

    def select_blank(self) -> bool:
        """Whether a blank of a prompt template needs a value; selects it and says so."""
        blanks = self.prompt.draft.unfilled
        if blanks:
            self.prompt.select_blank(blanks[0])
            self.prompt.focus()
            self.notify(tr("Fill in {blank} first: type over it.", blank=blanks[0]))
        return bool(blanks)


def _read(
    draft: Draft, servers: ChatServers, settings: Settings, with_resources: bool
) -> tuple[str, list[str]]:
    from tchat.chat.attachments import mentioned_files, read_attachment, with_attachments

    resources = servers.mentioned(settings, draft.text)
    # The text has the labels of attached files; of one with a space the first word is looked for.
    labels = [label[1:].partition(" ")[0] for label, _ in draft.files]
    mentioned_files(draft.text, [*labels, *resources])
    encoding = settings.encoding
    try:
        attached = [
            read_attachment(name, encoding=encoding)
            for name in draft.attachments
            if name not in resources
        ]
        if with_resources:
            attached += servers.read(settings, resources)
    except UsageError as error:
        raise UsageError(error.message, _without_flag(error.hint)) from error
    return with_attachments(draft.full_text, attached), [
        _without_flag(each.assumed) for each in attached if each.assumed
    ]


def _without_flag(text: str) -> str:
    """The hint about an encoding, with the screen's command in place of the flag."""
    return "/set encoding".join(text.rsplit("--encoding", 1))
