"""What the header and the status line say, drawn where it changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from textual.screen import Screen

from tchat.models.files import short_model_name
from tchat.sanitize import single_line
from tchat.settings import Settings
from tchat.settings.schema import has_url_scheme
from tchat.translation import tr, trn
from tchat.tui.controllers.turn_state import TurnState
from tchat.tui.services.downloads import Downloads
from tchat.tui.widgets.header import TITLE, ChatHeader, HeaderData
from tchat.tui.widgets.status import DraftCost, StatusData, StatusHint, StatusLine

if TYPE_CHECKING:
    from tchat.tui.screen_lock import ScreenLock
    from tchat.tui.services.conversation import Conversation

NAME = "tchat"


class OpenChat(Protocol):
    """What is told of the open chat; the context of the controllers has it."""

    screen: Screen[Any]
    turn_state: TurnState
    downloads: Downloads
    conversation: Conversation
    is_ready: bool

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def private(self) -> bool:
        """Whether nothing of the session is stored."""

    @property
    def is_locked(self) -> bool:
        """Whether the chat is hidden."""

    @property
    def lock(self) -> ScreenLock | None:
        """What hides the chat; None where the store is not encrypted."""

    def key_name(self, action: str) -> str:
        """The key that does an action, as it is shown."""


class StatusController:
    """Draws the header and the status line, and titles the terminal.

    ``on_title`` gets the title that the terminal is to have; None for the one that it had before.

    Attributes:
        context_size: Tokens of the context; 0 before the model is loaded.
        draft: What sending the draft takes.
        queued: How many prompts wait.
        branch: Number of the branch at the last fork of the chat, and how many there are.
        pins: How many messages of the chat are pinned.
    """

    def __init__(self, context: OpenChat, on_title: Callable[[str | None], object]) -> None:
        self.context_size = 0
        self.draft = DraftCost()
        self.queued = 0
        self.branch = (1, 1)
        self.pins = 0
        self._context = context
        self._on_title = on_title
        self._title: str | None = None
        self._model = ""
        self._keys: dict[str, str] = {}

    def data(self) -> StatusData:
        """What the status line says."""
        context = self._context
        return StatusData(
            state=context.turn_state.progress.state,
            used=context.turn_state.progress.used,
            context=self.context_size,
            draft=self.draft,
            queued=self.queued,
            pulling=context.downloads.words,
            pulling_key=self._key("chat.model") if context.downloads.words else "",
            offline=bool(os.environ.get("HF_HUB_OFFLINE")) and not context.settings.server,
            stop=self._key("chat.stop"),
            hint=StatusHint(self._key("chat.help"), tr("help")),
        )

    def header(self) -> HeaderData:
        """What the header says."""
        context = self._context
        ready = context.is_ready
        session = context.conversation.session if ready else None
        return HeaderData(
            title=session.title if session else "",
            branch=self.branch,
            model=self._model or short_model_name(context.settings.model),
            pins=self.pins,
            private=context.private,
            encrypted=context.lock is not None,
            unstored=ready and context.conversation.failure is not None,
            tools=len(context.settings.tools.enabled),
            server=server_label(context.settings.server)
            or workers_label(context.conversation.workers if ready else ()),
        )

    def refresh(self) -> None:
        """Draw the header and the status line."""
        data, said = self.data(), self.header()
        self._header.show(said)
        self._line.show(data._replace(header=None if self._header.display else said))
        if (title := self._terminal_title(said)) != self._title:
            self._title = title
            self._on_title(title)

    def _terminal_title(self, said: HeaderData) -> str | None:
        """The title of the terminal, which others see: not that of a private or a locked chat."""
        if not self._context.settings.terminal_title:
            return None
        is_hidden = said.private or self._context.is_locked
        title = "" if is_hidden else single_line(said.title, TITLE)
        return f"{title} · {NAME}" if title else NAME

    def refresh_model(self) -> None:
        """Draw both with the model that is loaded now."""
        metadata = self._context.conversation.metadata
        if metadata is not None:
            from tchat.tui.services.model_rows import model_label

            self._model = model_label(metadata)
        self.refresh()

    @cached_property
    def _header(self) -> ChatHeader:
        return self._context.screen.query_one(ChatHeader)

    @cached_property
    def _line(self) -> StatusLine:
        return self._context.screen.query_one(StatusLine)

    def _key(self, action: str) -> str:
        """The key that does an action; read once."""
        if action not in self._keys:
            self._keys[action] = self._context.key_name(action)
        return self._keys[action]


def workers_label(workers: Sequence[str]) -> str:
    """What the workers of a model are called in a few cells; empty for none. Raw."""
    if len(workers) < 2:
        return "".join(workers)
    return trn("{count:,} worker", "{count:,} workers", len(workers))


def server_label(server: str) -> str:
    """What a server is called in a few cells: its name, or the host of its URL. Raw."""
    return server.partition("://")[2].partition("/")[0] if has_url_scheme(server) else server
