"""Replies that may call tools: who reads them, and the grammar that holds a call.

Text is free until a call begins. From there on a grammar holds it, so that it is valid, and where
the grammar ends the text is free again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tchat.engine.prompt.message_formats import PieceKind, ReplyPhase
from tchat.engine.sampling import Sampler
from tchat.errors import UsageError


class Hold(NamedTuple):
    """A part of a reply that a grammar holds.

    Attributes:
        grammar: GBNF of the part.
        text: What is written of it already.
    """

    grammar: str
    text: str


class ReplyReader(Protocol):
    """Reads one reply: its reasoning, its answer and its calls.

    The text of a piece of the kind `PieceKind.CALL` is the name of the tool.
    """

    @property
    def called(self) -> bool:
        """Whether the reply calls a tool."""
        ...

    @property
    def is_calling(self) -> bool:
        """Whether a call is being written; takes as long as the call is."""
        ...

    @property
    def phase(self) -> ReplyPhase:
        """Where the reply is now."""
        ...

    @property
    def hold(self) -> Hold | None:
        """What a grammar has to hold from here on; None where the model writes freely."""
        ...

    def feed(self, text: str) -> list[tuple[PieceKind, str]]:
        """Add text; returns the pieces that are decided."""
        ...

    def close(self) -> list[tuple[PieceKind, str]]:
        """End the reply; returns the pieces held back."""
        ...


@dataclass(frozen=True, slots=True)
class ToolReplies:
    """How replies to a prompt with tools are read.

    Attributes:
        reader: Makes the reader of a reply, from the text of its prompt and whether it continues
            an answer.
        ends_with_grammar: Whether a reply ends where its grammar does.
        demanded: The tools of which the reply has to call one; empty where it may answer.
    """

    reader: Callable[[str, bool], ReplyReader]
    ends_with_grammar: bool = False
    demanded: tuple[str, ...] = ()


class CallGrammar:
    """Puts the grammar of a call on a sampler while the call is being written.

    ``is_active``: it is on.
    """

    def __init__(self, sampler: Sampler, reader: ReplyReader, *, ends_reply: bool) -> None:
        self._sampler, self._reader, self._ends_reply = sampler, reader, ends_reply
        self.is_active = False
        self._is_spent = False  # this call was held to its end, or cannot be held
        self.update()

    def update(self) -> None:
        """After each token."""
        if self.is_active:
            if not self._ends_reply and self._sampler.is_grammar_complete():
                self._sampler.drop_grammar()
                self.is_active, self._is_spent = False, True
            return
        hold = self._reader.hold
        if hold is None:
            self._is_spent = False
        elif not self._is_spent:
            try:
                self.is_active = self._sampler.hold(hold.grammar, hold.text)
            except UsageError:  # a schema beyond what a grammar can say: the call is checked later
                self.is_active = False
            self._is_spent = not self.is_active
