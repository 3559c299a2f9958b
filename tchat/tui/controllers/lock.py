"""Locks the chat: by a key, a command, or when nobody used it for a while; and unlocks it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tchat.chat.screen_lock import require_lock
from tchat.errors import StorageError, UsageError
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.turn import TurnController
from tchat.tui.dialogs.unlock import LockedChat

if TYPE_CHECKING:
    from tchat.tui.screen_lock import ScreenLock

LOOK_EVERY = 10.0  # seconds between two looks at when the chat was used last, at most


class LockController:
    """Hides the chat at once; then, when nothing is written any more, the key is forgotten.

    Unlocking shows the chat as it was: its place, the draft, an open dialog.

    Attributes:
        is_busy: Whether something is written behind the lock, for which the key is needed.
    """

    def __init__(self, context: ChatContext, turn: TurnController) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._key_lock = asyncio.Lock()  # the key is forgotten, or comes back
        self._is_key_forgotten = False
        self._is_key_wanted = True  # whether the chat is unlocked
        self.is_busy = False
        self._key_fault = ""  # why the key could not be forgotten
        lock = context.lock
        if lock is not None:
            lock.idle_limit = lambda: 60.0 * context.settings.lock_after if context.is_ready else 0
            lock.on_idle = self._lock_idle
            self.screen.set_interval(LOOK_EVERY, self._look)

    def lock(self) -> None:
        """Lock the chat.

        Raises:
            UsageError: The store is not encrypted, or has no passphrase.
        """
        lock = self._context.lock
        require_lock(lock.encryption if lock is not None else None)
        self._lock()

    def try_lock(self) -> None:
        """Lock the chat, or show why that is not possible."""
        try:
            self.lock()
        except UsageError as error:
            self._context.notify_error(error)

    def _look(self) -> None:
        if self._context.lock is not None and self._context.lock.is_idle():
            self._lock_idle()

    def _lock_idle(self) -> None:
        try:
            self.lock()
        except UsageError:  # without a passphrase
            return

    def _lock(self) -> None:
        lock = self._context.lock
        if lock is not None and not lock.is_locked:
            self.is_busy, self._is_key_wanted, self._key_fault = True, False, ""
            lock.show(
                LockedChat(
                    self._unlock,
                    lock.wait,
                    is_lost_at_quit=lambda: self._context.conversation.is_lost_at_quit,
                    is_busy=lambda: self.is_busy,
                    is_private=self._context.conversation.private,
                    key_fault=lambda: self._key_fault,
                )
            )
            self._context.status.refresh()  # the title of the terminal
            self._forget_key()
            self._await_unlocking(lock)

    @background(group="unlocking")
    async def _await_unlocking(self, lock: ScreenLock) -> None:
        await lock.ended()
        self._context.status.refresh()
        await self._context.settle()

    @background(group="lock", exclusive=True)
    async def _forget_key(self) -> None:
        """Close the store and forget its key, once all that is being written is stored."""
        while self._is_writing:
            await self._turn.state.idle.wait()
            await asyncio.sleep(0)  # the next prompt that waits is sent now
        async with self._key_lock:
            if self._is_key_wanted:
                return
            try:
                await self._context.conversation.lock()
                self._is_key_forgotten = True
            except StorageError as error:  # the key is needed to store what is only in memory
                self._key_fault = error.message
                self._context.notify_error(error)
            finally:
                self.is_busy = False
        lock = self._context.lock
        if lock is not None:
            lock.show_state()

    @property
    def _is_writing(self) -> bool:
        queue = self._turn.queue
        return self._turn.is_busy or (bool(queue) and not queue.is_held)

    async def _unlock(self, typed: str) -> None:
        """Open the store again by what was typed.

        Raises:
            TchatError: It does not, or the store cannot be opened.
        """
        lock = self._context.lock
        assert lock is not None  # noqa: S101 - else nothing is locked
        async with self._key_lock:
            await asyncio.to_thread(lock.encryption.unlock, typed)
            if self._is_key_forgotten:
                await self._context.conversation.unlock()
                self._is_key_forgotten = False
            self._is_key_wanted = True
