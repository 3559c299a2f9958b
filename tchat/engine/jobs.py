"""What a slot works on: a reply that is written, or labels that are weighed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tchat.engine.context import Context
from tchat.engine.events import Reason, Reasoning, Token
from tchat.engine.label_scoring import LabelScorer, log_probabilities
from tchat.engine.model import Model
from tchat.engine.reply_state import ReplyState

Piece: TypeAlias = Token | Reasoning


@dataclass(frozen=True, slots=True)
class NextTokens:
    """What a job wants decoded next.

    Args:
        tokens: At least one.
        every: Whether the outputs of each of them are wanted, and not only those of the last.
        anew: Whether they come behind its prompt, and what it had decoded since is dropped.
    """

    tokens: Sequence[int]
    every: bool = False
    anew: bool = False


class Job(Protocol):
    """Something to be decoded in a sequence of its own, behind a prompt."""

    @property
    def tokens(self) -> Sequence[int]:
        """Its whole prompt."""

    @property
    def room(self) -> int:
        """Tokens of the KV cache that it waits for: its prompt's and some of its reply's."""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to decode."""

    def take(self, context: Context, rows: Sequence[int]) -> Iterator[Piece]:
        """Take the outputs of the last decode that are its own, by their places in the batch."""

    def wanted(self) -> NextTokens:
        """What comes next; asked for when all that was wanted is decoded and it has not ended."""

    def stop(self, reason: Reason) -> None:
        """End it where it is, unless it has ended."""

    def end(self) -> Iterator[Piece]:
        """Let go of what was held back."""


class ReplyJob:
    """A reply.

    Args:
        tokens: Its whole prompt.
        writing: How it is written; whoever made it closes it.
        room: As of `Job`.
    """

    def __init__(self, tokens: Sequence[int], writing: ReplyState, room: int = 0) -> None:
        self.tokens, self.writing, self.room = tokens, writing, room
        self._next = -1

    @property
    def ended(self) -> bool:
        """Whether the reply has come to its end."""
        return self.writing.reason is not None

    def take(self, context: Context, rows: Sequence[int]) -> Iterator[Piece]:
        """Draw a token and add it to the reply."""
        self._next = self.writing.draw(context, rows[-1])
        yield from self.writing.take(self._next)

    def wanted(self) -> NextTokens:
        """The token drawn last."""
        return NextTokens([self._next])

    def stop(self, reason: Reason) -> None:
        """End the reply where it is, unless it has ended."""
        self.writing.stop(reason)

    def end(self) -> Iterator[Piece]:
        """Let go of the text that was held back."""
        yield from self.writing.end()


class LabelJob:
    """The weighing of labels.

    Args:
        tokens: The whole prompt that they answer.
        model: Its vocabulary.
        labels: As of `LabelScorer`.

    Attributes:
        choice: What is known so far.
    """

    def __init__(self, tokens: Sequence[int], model: Model, labels: Sequence[str]) -> None:
        self.tokens = tokens
        self.choice = LabelScorer(model, labels)
        self.room = len(tokens) + self.choice.longest
        self._model = model
        self._stopped = False

    @property
    def ended(self) -> bool:
        """Whether all labels are weighed, or it was stopped."""
        return self._stopped or self.choice.done

    def take(self, context: Context, rows: Sequence[int]) -> Iterator[Piece]:
        """Weigh by these outputs; there is no text to yield."""
        for row in rows:
            self.choice.take(log_probabilities(self._model, context, row))
        yield from ()

    def wanted(self) -> NextTokens:
        """The tokens of the next label, behind the prompt."""
        return NextTokens(self.choice.wanted, every=True, anew=True)

    def stop(self, reason: Reason) -> None:  # noqa: ARG002 - a choice is made or not
        """Give it up."""
        self._stopped = True

    def end(self) -> Iterator[Piece]:
        """There is nothing held back."""
        yield from ()
