"""Telling a model's reasoning from its answer, while the reply streams.

Families write their reasoning between marks. A mark counts only where the model would write it:
an opening one at the head of the reply (a model that explains ``<think>`` is not thinking), a
closing one inside the block that it closes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum

_MAX_LEAD = 32  # whitespace before the first mark; more of it is an answer


class Kind(StrEnum):
    """What a piece of a reply is."""

    ANSWER = "answer"
    REASONING = "reasoning"
    MARK = "mark"  # belongs to neither: a mark and the whitespace after it


class Phase(Enum):
    """Where in a reply the text goes on."""

    START = "start"
    REASONING = "reasoning"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Block:
    """Marks around reasoning."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks that one model may write.

    Args:
        blocks: Marks around reasoning, the model's own first.
        headers: Marks before an answer.
        ends: Marks after an answer; after one, the reply may go on with a new block.
    """

    blocks: tuple[Block, ...]
    headers: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    def opened_by(self, prompt: str) -> bool:
        """Whether the prompt ends with an opening mark, so that the reply starts inside."""
        tail = prompt.rstrip()
        return any(tail.endswith(block.opening.rstrip()) for block in self.blocks)

    def closing(self, prompt: str) -> str:
        """The mark that ends the reasoning in which ``prompt`` ends."""
        return max(self.blocks, key=lambda block: prompt.rfind(block.opening.rstrip())).closing

    def controls(self, specials: frozenset[str]) -> frozenset[str]:
        """Those of ``specials`` that marks are made of: the reply's text must keep them."""
        texts = "\0".join(
            (*(b.opening + "\0" + b.closing for b in self.blocks), *self.headers, *self.ends)
        )
        return frozenset(special for special in specials if special and special in texts)


# Every model may write these; the others only where template or vocabulary knows them.
_COMMON = (
    Block("<think>", "</think>"),
    Block("<thinking>", "</thinking>"),
    Block("<reasoning>", "</reasoning>"),
)
_RARE = (
    Block("[THINK]", "[/THINK]"),  # Magistral, Ministral
    Block("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    Block("<seed:think>", "</seed:think>"),  # Seed-OSS
    Block("<mm:think>", "</mm:think>"),  # MiniMax M3
    Block("◁think▷", "◁/think▷"),  # Kimi
    Block("<|channel>thought\n", "<channel|>"),  # Gemma 4
    Block("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Block("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),  # Apriel
)
_HARMONY = Marks(  # gpt-oss
    blocks=(Block("<|channel|>analysis<|message|>", "<|end|>"),),
    headers=(
        "<|channel|>final<|message|>",
        "<|channel|>commentary<|message|>",
        "<|start|>assistant",
    ),
    ends=("<|end|>",),
)
_SOLAR = Marks(
    blocks=(Block("<|think|>", "<|end|>"),),
    headers=("<|begin|>assistant", "<|content|>"),
    ends=("<|end|>",),
)
_KIMI_K3 = Marks(
    blocks=(Block("<|open|>think<|sep|>", "<|close|>think<|sep|>"),),
    headers=("<|open|>response<|sep|>",),
    ends=("<|close|>response<|sep|>",),
)


def marks_for(source: str, specials: frozenset[str]) -> Marks:
    """The marks of a model, by its template and its vocabulary's special strings."""
    if "<|channel|>" in source and "<|message|>" in source:
        return _HARMONY
    if "<|begin|>assistant<|think|>" in source:
        return _SOLAR
    if "'<|open|>'" in source and "<|sep|>" in source:
        return _KIMI_K3

    def known(mark: str) -> bool:
        return mark in source or mark in specials

    rare = (b for b in _RARE if known(b.opening.partition("\n")[0]) or known(b.closing))
    granite = "<response></response>" in source
    return Marks(
        blocks=(*rare, *_COMMON),
        headers=("<response>",) if granite else (),
        ends=("</response>",) if granite else (),
    )


class ReasoningSplitter:
    """Sorts the text of one reply into answer, reasoning and marks as it comes.

    The pieces of all `feed` calls and `close`, joined, are the input; cut differently, the same
    text gives the same answer and the same reasoning. At most one mark's length is held back.

    Args:
        marks: The model's marks.
        phase: Where the reply goes on: `Phase.REASONING` when the prompt opened the block already,
            `Phase.ANSWER` when an answer is continued.
    """

    def __init__(self, marks: Marks, phase: Phase = Phase.START) -> None:
        self._marks = marks
        self._phase = phase
        self._closings = tuple(block.closing for block in marks.blocks)
        self._held = ""
        self._after_mark = False

    @property
    def phase(self) -> Phase:
        """Where the reply is now."""
        return self._phase

    def feed(self, text: str) -> list[tuple[Kind, str]]:
        """Take more text; return the pieces that are settled by it."""
        self._held += text
        pieces: list[tuple[Kind, str]] = []
        while self._held and self._step(pieces, last=False):
            pass
        return _joined(pieces)

    def close(self) -> list[tuple[Kind, str]]:
        """The reply is over: return what was held back."""
        pieces: list[tuple[Kind, str]] = []
        while self._held and self._step(pieces, last=True):
            pass
        return _joined(pieces)

    def _step(self, pieces: list[tuple[Kind, str]], *, last: bool) -> bool:
        """Settle one piece at the head of the held text; False when more text is needed."""
        if self._after_mark:
            self._drop_space(pieces)
        if not self._held:
            return False
        if self._phase is Phase.START:
            return self._start(pieces, last=last)
        return self._inside(pieces, last=last)

    def _drop_space(self, pieces: list[tuple[Kind, str]]) -> None:
        rest = self._held.lstrip()
        self._emit(pieces, Kind.MARK, len(self._held) - len(rest))
        self._after_mark = not rest

    def _start(self, pieces: list[tuple[Kind, str]], *, last: bool) -> bool:
        rest = self._held.lstrip()
        lead = len(self._held) - len(rest)
        openings = [block.opening for block in self._marks.blocks]
        marks = [*openings, *self._marks.headers]
        near = lead <= _MAX_LEAD
        found = max((mark for mark in marks if near and rest.startswith(mark)), key=len, default="")
        if found:
            self._emit(pieces, Kind.MARK, lead + len(found))
            self._after_mark = True
            if found in openings:
                self._open(found)
            return True
        if near and not last and any(mark.startswith(rest) for mark in marks):
            return False
        self._phase = Phase.ANSWER
        return True

    def _open(self, opening: str) -> None:
        self._phase = Phase.REASONING
        blocks = self._marks.blocks
        self._closings = tuple(block.closing for block in blocks if block.opening == opening)

    def _inside(self, pieces: list[tuple[Kind, str]], *, last: bool) -> bool:
        reasoning = self._phase is Phase.REASONING
        kind = Kind.REASONING if reasoning else Kind.ANSWER
        marks = self._closings if reasoning else self._marks.ends
        found = [(self._held.find(mark), mark) for mark in marks if mark in self._held]
        if found:
            place, mark = min(found)
            self._emit(pieces, kind, place)
            self._emit(pieces, Kind.MARK, len(mark))
            self._phase = Phase.START
            self._after_mark = True
            return True
        kept = 0 if last else _unfinished(self._held, marks)
        self._emit(pieces, kind, len(self._held) - kept)
        return False

    def _emit(self, pieces: list[tuple[Kind, str]], kind: Kind, length: int) -> None:
        if length:
            pieces.append((kind, self._held[:length]))
            self._held = self._held[length:]


def _unfinished(text: str, marks: Iterable[str]) -> int:
    """Length of the longest end of ``text`` that a mark could begin with."""
    longest = max((len(mark) for mark in marks), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0


def _joined(pieces: list[tuple[Kind, str]]) -> list[tuple[Kind, str]]:
    joined: list[tuple[Kind, str]] = []
    for kind, text in pieces:
        if joined and joined[-1][0] is kind:
            joined[-1] = (kind, joined[-1][1] + text)
        else:
            joined.append((kind, text))
    return joined
