"""The keys that lock the chat wherever the focus is: in dialogs, menus and the palette, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual.events import Event, Key
from textual.screen import Screen

from tchat.tui.keys import KEYS, LEADER, LEADER_KEY, split_keys

if TYPE_CHECKING:
    from tchat.tui.chat_screen import ChatScreen

_LOCK, _LEADER = "chat.lock", "chat.leader"


class LockKeys:
    """Finds the keys that lock the chat before a dialog gets them.

    What is typed after such a key is a passphrase: a field of a dialog must not get it.
    """

    def __init__(self) -> None:
        keys = {each.id: each.keys for each in KEYS}
        self._keys = split_keys(keys[_LOCK])
        self._leaders = [LEADER_KEY]
        self._is_after_leader = False

    def apply_keymap(self, keymap: Mapping[str, str]) -> None:
        """Use the user's keys."""
        self._keys = split_keys(keymap.get(_LOCK, ",".join(self._keys)))
        self._leaders = split_keys(keymap.get(_LEADER, LEADER_KEY))

    def follow(self, event: Event, screen: Screen[object], chat: ChatScreen) -> bool:
        """Lock the chat where ``event`` is a key for that; False where it is none.

        The leader key also cuts, in a field, so that what follows it is taken only where it locks.
        """
        if not isinstance(event, Key) or not chat.context.is_ready:
            return False
        is_after_leader, self._is_after_leader = self._is_after_leader, False
        is_chat = screen is chat
        if event.key in self._keys:
            is_locking = True
        elif is_chat:  # it has the leader key itself
            return False
        else:
            is_locking = is_after_leader and f"{LEADER} {event.key}" in self._keys
            self._is_after_leader = event.key in self._leaders and not _has_selection(screen)
        if not is_locking or (chat.context.lock is None and _is_bound(screen, event.key)):
            return False
        event.stop()
        if is_chat:
            chat.controllers.leader.cancel()
        chat.controllers.lock.try_lock()
        return True


def _has_selection(screen: Screen[object]) -> bool:
    """Whether the leader key cuts what is selected in a field."""
    return bool(getattr(screen.focused, "selected_text", ""))


def _is_bound(screen: Screen[object], key: str) -> bool:
    """Whether a key has an action of its own on a screen."""
    return key in screen.active_bindings
