"""The leader key: the key after it starts an action, and a panel shows which can follow."""

from __future__ import annotations

from textual.events import Key

from tchat.translation import tr
from tchat.tui.controllers.context import ChatContext
from tchat.tui.keys import LEADER, show_key
from tchat.tui.textual_patches import drop_information
from tchat.tui.widgets.which_key import FollowingKey, WhichKey


class LeaderController:
    """Shows the panel, and starts what the key after the leader key stands for."""

    def __init__(self, context: ChatContext) -> None:
        self._context = context
        self._panel: WhichKey | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the next key belongs to the leader key."""
        return self._panel is not None

    def begin(self) -> None:
        """Show which keys can follow; where text of the prompt is selected, cut it instead."""
        if self._context.prompt.cut():
            return
        self.cancel()
        heading = tr("{key} …  Esc cancels", key=self._context.key_name("chat.leader"))
        self._panel = WhichKey(heading, self._following())
        drop_information(self._context.screen.app)
        self._context.screen.mount(self._panel)

    def cancel(self) -> None:
        """Take the panel away."""
        if self._panel is not None:
            self._panel.remove()
            self._panel = None

    async def follow(self, event: Key) -> None:
        """Start the action of the key after the leader key."""
        self.cancel()
        if event.key == "escape":
            return
        screen = self._context.screen
        bound = screen.active_bindings.get(f"{LEADER} {event.key}")
        if bound is not None and await screen.app.run_action(bound.binding.action, bound.node):
            return
        keys = f"{self._context.key_name('chat.leader')} {show_key(event.key)}"
        self._context.notify(tr("{keys} has no action.", keys=keys))

    def _following(self) -> list[FollowingKey]:
        """Each action once, by its first key behind the leader key."""
        found: dict[str, FollowingKey] = {}
        for key, (_, binding, enabled, _) in self._context.screen.active_bindings.items():
            first, _, second = key.partition(" ")
            if first == LEADER and enabled and binding.id:
                found.setdefault(
                    binding.id, FollowingKey(show_key(second), tr(binding.description))
                )
        # Letters first: the other keys do what Up, Page Up and the like do without the leader.
        return sorted(found.values(), key=lambda each: (not each.key.isalnum(), each.key))
