"""The reader of a reply that may call tools: it stays in the parent, and the child asks it.

It collects the calls for the chat, and knows the tools, of which the child knows nothing. Asking
takes a tenth of a millisecond a token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tchat.engine.prompt.message_formats import PieceKind, ReplyPhase
from tchat.engine.rpc.messages import ReaderCall, ReaderState
from tchat.engine.tool_reply import Hold, ReplyReader

MakeReader = Callable[[str, bool], ReplyReader]  # as of `tchat.engine.tool_reply.ToolReplies`


class RemoteReader:
    """A `ReplyReader` in the child.

    Args:
        ask: Calls a method of `AskedReader`.
        prompt: The text of the prompt.
        continues: Whether the reply continues an answer.
    """

    def __init__(self, ask: Callable[..., ReaderState], prompt: str, continues: bool) -> None:
        self._ask = ask
        self._state = ask("open", prompt, continues)

    @property
    def called(self) -> bool:
        """See `ReplyReader`."""
        return self._state.called

    @property
    def is_calling(self) -> bool:
        """See `ReplyReader`."""
        return self._state.is_calling

    @property
    def phase(self) -> ReplyPhase:
        """See `ReplyReader`."""
        return self._state.phase

    @property
    def hold(self) -> Hold | None:
        """See `ReplyReader`."""
        return self._state.hold

    def feed(self, text: str) -> list[tuple[PieceKind, str]]:
        """See `ReplyReader`."""
        self._state = self._ask("feed", text)
        return list(self._state.pieces)

    def close(self) -> list[tuple[PieceKind, str]]:
        """See `ReplyReader`."""
        self._state = self._ask("close")
        return list(self._state.pieces)


class AskedReader:
    """The reader in the parent, made when the child opens the reply."""

    def __init__(self, make: MakeReader) -> None:
        self._make = make
        self._reader: ReplyReader | None = None

    def answer(self, number: int, call: ReaderCall) -> ReaderState:
        """Carry out a call of the request ``number``."""
        pieces: list[tuple[PieceKind, str]] = []
        if call.name == "open":
            self._reader = self._make(*call.arguments)
        reader = self._reader
        assert reader is not None  # noqa: S101  the child opens it first
        if call.name != "open":
            method: Any = getattr(reader, call.name)
            pieces = method(*call.arguments)
        called, calling = reader.called, reader.is_calling
        return ReaderState(number, tuple(pieces), called, calling, reader.phase, reader.hold)
