"""What a front end offers to the slash commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.engine.events import Event
    from tchat.paths import Paths
    from tchat.sessions.records import Message, Session
    from tchat.sessions.store import Store
    from tchat.settings import Settings, Value

T = TypeVar("T")


class Surface(Flag):
    """Where a command can be typed."""

    LINES = auto()
    SCREEN = auto()
    BOTH = LINES | SCREEN


class CommandDialog(Enum):
    """What a front end may show in a dialog of its own instead of in text."""

    HELP = auto()
    SESSIONS = auto()
    SEARCH = auto()
    BRANCHES = auto()
    MODELS = auto()
    TEMPLATES = auto()
    THEMES = auto()
    JUDGE = auto()


class CommandHost(Protocol):
    """A front end with an open chat.

    Methods that may take long are coroutines. A front end without an event loop does their work
    before they return, without suspending. Every method raises `TchatError` if it fails.
    """

    @property
    def surface(self) -> Surface:
        """What it is."""

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def session(self) -> Session | None:
        """The open session; None before its first message."""

    @property
    def paths(self) -> Paths:
        """The user's folders."""

    @property
    def candidate_ids(self) -> Sequence[int]:
        """The replies that were written side by side last, in the order shown."""

    # Output

    def show(self, text: str) -> None:
        """Show ``text``, which is raw, beside the chat."""

    def acknowledge(self, text: str) -> None:
        """Tell that something is done, where the front end does not show it by itself."""

    def open_dialog(self, dialog: CommandDialog, query: str = "") -> bool:
        """Open a dialog; False where there is none, so that the command answers in text."""

    async def copy(self, text: str) -> None:
        """Put ``text`` into the clipboard."""

    # Stored data

    async def read(self, work: Callable[[Store], T]) -> T:
        """The result of ``work`` with the store of the open session."""

    async def read_all(self, work: Callable[[Store], T]) -> T:
        """The result of ``work`` with the store of all sessions."""

    async def rename(self, title: str) -> None:
        """Give the open session another title."""

    async def rate(self, message_id: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1), or take that back (0)."""

    async def pin(self, message_id: int, pinned: bool) -> None:
        """Keep a message in the context window, or let it leave like others."""

    async def delete(self, message_id: int) -> None:
        """Delete a message with all below it, and tell how to undo that."""

    async def undo_delete(self) -> None:
        """Bring back what was deleted last, or tell that nothing was."""

    async def pick(self, message_id: int) -> None:
        """Go on with one of several replies; the judge learns from that."""

    async def go_to(self, message_id: int) -> None:
        """Go on in the branch of a message."""

    async def open_session(self, session: Session | None) -> None:
        """Go on in a stored session, or in a new one; a model that stays the same stays loaded."""

    async def toggle_private(self) -> None:
        """Begin a session that is not stored, or one that is; tell which."""

    # The chat

    async def change(self, values: Mapping[str, Value]) -> None:
        """Change settings for this chat."""

    async def toggle_details(self) -> None:
        """Show times and token counts, or hide them."""

    async def set_theme(self, name: str) -> None:
        """Use a colour theme from now on."""

    async def reply(self, act: Callable[[Chat], Iterator[Event]]) -> None:
        """Run a turn."""

    async def write_candidates(self, count: int, prompt: str, ranker: str = "") -> None:
        """Write several replies to ``prompt``, or to the last question.

        Args:
            count: Replies.
            prompt: Empty for the last question.
            ranker: What finds the best of them; empty for none.
        """

    async def edit(self, message: Message) -> None:
        """Let the user edit a prompt."""

    async def attach(self, path: str) -> None:
        """Put a file before the next message."""

    async def insert_template(self, name: str, text: str) -> None:
        """Begin a message with a prompt template, with ``text`` as its input."""

    async def quit(self) -> None:
        """End the chat."""
