"""The lock of the screen: the chat is hidden until the store is unlocked, and so is all it says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.notifications import Notify
from textual.widget import AwaitMount

from tchat.errors import StoreLocked
from tchat.tui.dialogs.unlock import LockedChat, UnlockScreen
from tchat.tui.textual_patches import LOOK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tchat.encryption.encryption import Encryption

MODE = "locked"
# Counts while the machine sleeps, too, where there is such a clock.
_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", -1)


def now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.monotonic() if _CLOCK < 0 else time.clock_gettime(_CLOCK)


class ScreenLock:
    """Covers the chat with an `UnlockScreen`, in a mode of its own: the chat stays as it is.

    Dialogs that are opened meanwhile are opened over the chat, and toasts wait.

    Attributes:
        is_locked: Whether the chat is hidden.
        used_at: When the user last did something, by `now`.
        idle_limit: Seconds without use after which the chat is locked; 0 for never.
        on_idle: Locks it.
    """

    def __init__(self, app: App[Any], encryption: Encryption) -> None:
        self.encryption = encryption
        self.is_locked = False
        self.used_at = now()
        self.idle_limit: Callable[[], float] = float
        self.on_idle: Callable[[], object] = lambda: None
        self._app = app
        self._screen: UnlockScreen | None = None
        self._ended: asyncio.Future[bool] | None = None
        self._toasts: list[Notify] = []

    # At the start

    async def try_sources(self) -> bool:
        """Whether the store is unlocked, or something unlocks it without the user.

        Also where no passphrase would help: opening the store tells that it is half encrypted.
        """
        return self.encryption.is_unlocked or await asyncio.to_thread(self._unlock_unattended)

    def _unlock_unattended(self) -> bool:
        if self.encryption.state != "on":
            return True
        try:
            return self.encryption.unlock_unattended()
        except StoreLocked:  # a wrong passphrase from elsewhere: the user is asked
            return False

    def begin(self) -> AwaitMount:
        """Ask before there is a chat; `ended` waits for the answer."""
        return self.show(LockedChat(self._unlock, self.wait, is_starting=True))

    async def _unlock(self, typed: str) -> None:
        await asyncio.to_thread(self.encryption.unlock, typed)

    # At any time

    def wait(self) -> float:
        """Seconds until the next try is looked at."""
        return self.encryption.wait

    def note_use(self) -> bool:
        """The user does something; True where that comes after more than ``idle_limit``."""
        if self.is_idle():
            self.on_idle()
            return True
        self.used_at = now()
        return False

    def is_idle(self) -> bool:
        """Whether the chat is shown, and the user did nothing for too long."""
        limit = self.idle_limit()
        return not self.is_locked and 0 < limit <= now() - self.used_at

    def show(self, chat: LockedChat) -> AwaitMount:
        """Hide the chat at once; `ended` waits until it is unlocked."""
        self.is_locked = True
        ended = self._ended = asyncio.get_running_loop().create_future()

        def end(is_unlocked: bool) -> None:
            if not ended.done():
                ended.set_result(is_unlocked)

        self._screen = screen = UnlockScreen(chat, end)
        self._app.add_mode(MODE, lambda: screen)
        # Textual leaves its first mode for good, unless it is listed.
        self._app._modes.setdefault(self._app.DEFAULT_MODE, self._app.get_default_screen)
        return self._app.switch_mode(MODE)

    async def ended(self) -> bool:
        """Wait until the store is unlocked, True, or the user begins a chat without it, False.

        Then the chat is shown again as it was, with the toasts of meanwhile.
        """
        assert self._ended is not None  # noqa: S101 - made by `show`
        is_unlocked = await self._ended
        if not is_unlocked:
            self.encryption.forget()  # nobody is asked again
        self.is_locked, self.used_at = False, now()
        await self._app.switch_mode(self._app.DEFAULT_MODE)
        await self._app.remove_mode(MODE)
        self._screen = None
        toasts, self._toasts = self._toasts, []
        for toast in toasts:
            self._app.post_message(toast)
        return is_unlocked

    @property
    def takes_keys(self) -> bool:
        """Whether the chat is hidden, and the field for the passphrase gets what is typed."""
        return self.is_locked and self._screen is not None and self._screen.takes_keys

    async def wait_for_field(self) -> None:
        """Wait until what is typed goes into the field."""
        while self.is_locked and not self.takes_keys and self._app.is_running:
            await asyncio.sleep(LOOK)

    def delay_toast(self, toast: Notify) -> bool:
        """Let a toast wait until the chat is seen; False where it is."""
        if self.is_locked:
            self._toasts.append(toast)
        return self.is_locked

    def may_quit(self) -> bool:
        """Whether the user may quit now; what would be lost is told first."""
        return self._screen is None or self._screen.may_quit()

    def show_state(self) -> None:
        """Tell on the locked screen what holds now."""
        if self._screen is not None and self._screen.is_mounted:
            self._screen.show_state()
