"""Detokenize a reply: bytes of tokens in, whole characters of answer and reasoning out."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

from tchat.engine.events import Reasoning, Token
from tchat.engine.prompt.message_formats import PieceKind, ReplyPhase
from tchat.engine.prompt.reasoning import ReasoningSplitter, ReplyMarks

# Stands in for "<" where it is text and no part of a mark. No text contains it: Unicode reserves
# it for internal use.
_HIDE = str.maketrans("<", "\U0010fffe")
_SHOW = str.maketrans("\U0010fffe", "<")


class TextDecoder:
    """UTF-8 across token boundaries; invalid bytes become U+FFFD at once.

    Args:
        unfinished: The first bytes of a character that continues in what is fed.
    """

    def __init__(self, unfinished: bytes = b"") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.decode(unfinished)

    def feed(self, data: bytes) -> str:
        """The characters that ``data`` completes."""
        return self._decoder.decode(data)

    @property
    def unfinished(self) -> bytes:
        """The first bytes of an incomplete character."""
        return self._decoder.getstate()[0]

    def close(self) -> str:
        """What an incomplete character at the end becomes."""
        return self._decoder.decode(b"", final=True)


class StopFilter:
    """Passes text on up to the first stop string.

    Text that may begin a stop string is held back until more text decides.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that can be shown now."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        """The text held back, which was no stop string after all."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of ``text`` that begins ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class ReplyText:
    """Turns the tokens of a reply into answer and reasoning, up to a stop string in the answer.

    Args:
        marks: The marks of the model's reasoning.
        phase: Where in a reply the prompt ends.
        stops: Strings that end the answer.
        unfinished: The first bytes of a character that the prompt ends in.
        only_tokens: Whether marks are tokens; the same letters written as text are then text.
    """

    def __init__(
        self,
        marks: ReplyMarks,
        phase: ReplyPhase,
        stops: Sequence[str],
        unfinished: bytes = b"",
        *,
        only_tokens: bool = False,
    ) -> None:
        self._only_tokens = only_tokens
        self._decoder = TextDecoder(unfinished)
        self._splitter = ReasoningSplitter(marks, phase)
        self._filter = StopFilter(stops)
        self._answer: list[str] = []
        self._reasoning: list[str] = []

    @property
    def stopped(self) -> bool:
        """Whether a stop string was reached."""
        return self._filter.stopped

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._answer)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._reasoning)

    @property
    def unfinished(self) -> bytes:
        """The first bytes of an incomplete character, which no text contains."""
        return b"" if self.stopped else self._decoder.unfinished

    @property
    def called_tool(self) -> bool:
        """Whether the model called a tool; the call is no part of the text."""
        return self._splitter.called

    @property
    def in_reasoning(self) -> bool:
        """Whether the model is reasoning now."""
        return self._splitter.phase is ReplyPhase.REASONING

    def feed(self, data: bytes, *, mark: bool = False) -> list[Token | Reasoning]:
        """Add the bytes of the next token, which may be a ``mark``."""
        text = self._decoder.feed(data)
        if not text:
            return []
        if self._only_tokens and not mark:
            text = text.translate(_HIDE)
        return self._events(self._splitter.feed(text))

    def close(self) -> list[Token | Reasoning]:
        """Release the text held back; an incomplete character is dropped."""
        events = self._events(self._splitter.close())
        if rest := self._filter.close():
            self._answer.append(rest)
            events.append(Token(rest))
        return events

    def _events(self, pieces: Iterable[tuple[PieceKind, str]]) -> list[Token | Reasoning]:
        events: list[Token | Reasoning] = []
        for kind, piece in pieces:
            text = piece.translate(_SHOW) if self._only_tokens else piece
            if kind is PieceKind.ANSWER:
                if text := self._filter.feed(text):
                    self._answer.append(text)
                    events.append(Token(text))
            elif kind is PieceKind.REASONING and not self.stopped:
                self._reasoning.append(text)
                events.append(Reasoning(text))
        return events
