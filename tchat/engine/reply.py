"""One reply while it is written: bytes of tokens in, events out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tchat.engine.detokenizer import StopFilter, TextDecoder
from tchat.engine.events import Reasoning, Token
from tchat.engine.prompt.reasoning import PieceKind, ReasoningSplitter, ReplyMarks, ReplyPhase

# Stands for the character that marks begin with, where it is text. No text has it: Unicode keeps
# it free for a program's own use.
_TEXT = str.maketrans("<", "\U0010fffe")
_SHOWN = str.maketrans("\U0010fffe", "<")


class ReplyText:
    """Turns a reply's tokens into answer and reasoning, up to a stop string in the answer.

    Args:
        marks: The marks of the model's reasoning.
        phase: Where the prompt left off.
        stops: Strings that end the answer.
        unfinished: The first bytes of a character that the prompt left off in.
        only_tokens: Whether marks are tokens: then the same letters, written as text, are text.
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
        self._pieces: dict[PieceKind, list[str]] = {PieceKind.ANSWER: [], PieceKind.REASONING: []}

    @property
    def stopped(self) -> bool:
        """Whether a stop string was reached."""
        return self._filter.stopped

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._pieces[PieceKind.ANSWER])

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._pieces[PieceKind.REASONING])

    @property
    def unfinished(self) -> bytes:
        """The bytes so far of a character that is not complete; no text holds them."""
        return b"" if self.stopped else self._decoder.unfinished

    @property
    def called(self) -> bool:
        """Whether the model called a tool, which is no part of the text."""
        return self._splitter.called

    @property
    def in_reasoning(self) -> bool:
        """Whether the model is reasoning at the moment."""
        return self._splitter.phase is ReplyPhase.REASONING

    def feed(self, data: bytes, *, mark: bool = False) -> Iterator[Token | Reasoning]:
        """Take the bytes of the next token, which may be a ``mark``."""
        text = self._decoder.feed(data)
        if text:
            if self._only_tokens and not mark:
                text = text.translate(_TEXT)
            yield from self._sorted(self._splitter.feed(text))

    def close(self) -> Iterator[Token | Reasoning]:
        """Let go of the text that was held back; an unfinished character is none."""
        yield from self._sorted(self._splitter.close())
        yield from self._emit(PieceKind.ANSWER, self._filter.close())

    def _sorted(self, pieces: Iterable[tuple[PieceKind, str]]) -> Iterator[Token | Reasoning]:
        for kind, piece in pieces:
            text = piece.translate(_SHOWN) if self._only_tokens else piece
            if kind is PieceKind.ANSWER:
                yield from self._emit(kind, self._filter.feed(text))
            elif kind is PieceKind.REASONING and not self.stopped:
                yield from self._emit(kind, text)

    def _emit(self, kind: PieceKind, text: str) -> Iterator[Token | Reasoning]:
        if text:
            self._pieces[kind].append(text)
            yield Token(text) if kind is PieceKind.ANSWER else Reasoning(text)
