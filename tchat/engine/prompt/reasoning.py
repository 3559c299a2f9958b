"""Split a streaming reply into reasoning and answer.

Most model families put marks around their reasoning. A mark counts only where the model would write
it: an opening one at the head of the reply (a model that explains ``<think>`` is not thinking), a
closing one inside its block. Families whose replies are messages with headers are in
`message_formats`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from tchat.engine.prompt.message_formats import (
    GEMMA_4,
    HARMONY,
    KIMI_K3,
    LONGEST_LEAD,
    MUSE,
    SOLAR,
    MessageFormat,
    MessageReader,
    PieceKind,
    ReplyPhase,
    finder_of,
)

__all__ = ["MarkPair", "PieceKind", "ReasoningSplitter", "ReplyMarks", "ReplyPhase", "marks_for"]

# A tag around reasoning, whatever stands around the word: <think>, <mm:think>, <think:opensource>.
_NAME = r"[A-Za-z](?:[\w.:-]{0,30})"
_TAG = re.compile(rf"<({_NAME})>")
_TAG_BEGUN = re.compile(rf"</?(?:{_NAME})?")
_CLOSING_TAG = re.compile(rf"</({_NAME})>")
_CLOSING_BEGUN = re.compile(rf"<(?:/(?:{_NAME})?)?\Z")
_TAG_AT_END = re.compile(rf"<({_NAME})>\s*\Z")
_THINKING = frozenset({"think", "thinking", "reasoning"})


def _is_thinking(name: str) -> bool:
    return not _THINKING.isdisjoint(re.split(r"[.:_-]", name.lower()))


@dataclass(frozen=True, slots=True)
class MarkPair:
    """The marks around a part of a reply."""

    opening: str
    closing: str


@dataclass(frozen=True)
class ReplyMarks:
    """The marks that one model may write.

    Args:
        blocks: Marks around reasoning, besides tags like ``<think>``, the model's own first.
        answers: Marks around an answer.
        header: Text that begins an answer and has no end: ``all`` and a line break.
        tag: Name of the model's own tag around reasoning; tags like ``think`` count too. Empty
            where no tags count.
        messages: The format of the reply's messages, where it has such; then without blocks.
    """

    blocks: tuple[MarkPair, ...] = ()
    answers: tuple[MarkPair, ...] = ()
    header: str = ""
    tag: str = ""
    messages: MessageFormat | None = None

    def phase_after(self, prompt: str) -> ReplyPhase:
        """Where in a reply a prompt ends: it may open the reasoning, or the answer."""
        if self.messages is not None:
            return self.messages.phase_after(prompt)
        tail = prompt.rstrip()
        if self._opens_reasoning(prompt):
            return ReplyPhase.REASONING
        is_open = any(tail.endswith(block.opening.rstrip()) for block in self.answers)
        return ReplyPhase.ANSWER if is_open else ReplyPhase.START

    def answer_after(self, prompt: str, phase: ReplyPhase) -> str:
        """What opens an answer behind ``prompt``, closing reasoning that it ends in."""
        if phase is ReplyPhase.ANSWER:
            return ""
        if self.messages is not None:
            closing = self.messages.closing if phase is ReplyPhase.REASONING else ""
            return closing + self.messages.answer
        closing = self._closing_of(prompt) if phase is ReplyPhase.REASONING else ""
        return closing + (self.answers[0].opening if self._answers_are_marked else self.header)

    def written(self, reasoning: str, content: str, *, prompt: str) -> str:
        """A reply as the model would have written it behind ``prompt``.

        It ends inside the reasoning when there is no ``content``.
        """
        phase = self.phase_after(prompt)
        if not reasoning and phase is not ReplyPhase.REASONING:
            return self.answer_after(prompt, phase) + content
        opening = "" if phase is ReplyPhase.REASONING else self._opening
        if not content:
            return opening + reasoning
        answer = self.answer_after(prompt + opening, ReplyPhase.REASONING)
        return opening + reasoning + answer + content

    @cached_property
    def strings(self) -> frozenset[str]:
        """Every mark that has a fixed text."""
        messages = self.messages.marks if self.messages else ()
        pairs = (*self.blocks, *self.answers)
        return frozenset((*messages, *(text for b in pairs for text in (b.opening, b.closing))))

    def controls(self, specials: frozenset[str]) -> frozenset[str]:
        """The ``specials`` that marks consist of: the reply's text must keep them."""
        texts = "\0".join(self.strings)
        return frozenset(s for s in specials if s and (s in texts or self._is_tag(s)))

    def are_tokens(self, specials: frozenset[str]) -> bool:
        """Whether all marks that matter are ``specials``, so that no text is a mark."""
        form = self.messages
        return form is not None and specials.issuperset((*form.starts, *form.bodies[:1]))

    def _is_tag(self, text: str) -> bool:
        tag = _TAG.fullmatch(text) or _CLOSING_TAG.fullmatch(text)
        return bool(self.tag) and tag is not None and _is_thinking(tag[1])

    @property
    def _answers_are_marked(self) -> bool:
        """Whether an answer always has a mark before it, one that is a control token."""
        return bool(self.answers) and self.answers[0].opening.startswith("<|")

    @property
    def _opening(self) -> str:
        if self.messages is not None:
            return self.messages.opening
        return self.blocks[0].opening if self.blocks else f"<{self.tag}>\n"

    def _opens_reasoning(self, prompt: str) -> bool:
        """Whether a prompt ends in the opening mark of reasoning."""
        tail = prompt.rstrip()
        if any(tail.endswith(block.opening.rstrip()) for block in self.blocks):
            return True
        tag = _TAG_AT_END.search(prompt[-2 * LONGEST_LEAD - 64 :]) if self.tag else None
        return tag is not None and _is_thinking(tag[1])

    def _closing_of(self, prompt: str) -> str:
        """What closes the reasoning in which a prompt ends."""
        tags = (t for t in _TAG.finditer(prompt) if self.tag and _is_thinking(t[1]))
        tag = max(tags, key=lambda tag: tag.start(), default=None)
        blocks = [*self.blocks, *([MarkPair(tag[0], f"</{tag[1]}>")] if tag else [])]
        if not blocks:
            return ""
        block = max(blocks, key=lambda block: prompt.rfind(block.opening.rstrip()))
        if block.closing.startswith("</"):  # on a line of its own, as these models write it
            return f"\n{block.closing}\n\n"
        return block.closing + ("\n" if block.closing.startswith("[BEGIN") else "")

    @cached_property
    def signs(self) -> re.Pattern[str]:
        """The first characters of the marks that may end an answer or reasoning."""
        closings = [block.closing for block in (*self.blocks, *self.answers)]
        marks = self.messages.marks if self.messages is not None else closings
        firsts = {re.escape(mark[0]) for mark in marks} | {"<"}
        return re.compile(f"[{''.join(sorted(firsts))}]")

    def reader(self, phase: ReplyPhase) -> MessageReader | _BlockReader:
        """A reader of a reply that starts in ``phase``."""
        if self.messages is not None:
            return MessageReader(self.messages, phase)
        return _BlockReader(self, phase)


# These count only where the template or the vocabulary has them.
_BLOCKS = (
    MarkPair("[THINK]", "[/THINK]"),  # Magistral, Ministral
    MarkPair("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    MarkPair("◁think▷", "◁/think▷"),  # Kimi
    MarkPair("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    MarkPair("<thought>", "</thought>"),  # EXAONE Deep
    MarkPair("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),  # Apriel
)
_ANSWERS = (
    MarkPair("<|START_RESPONSE|>", "<|END_RESPONSE|>"),  # Command
    MarkPair("<|START_TEXT|>", "<|END_TEXT|>"),
    MarkPair("<response>", "</response>"),  # Granite
    MarkPair("<answer>", "</answer>"),  # Hunyuan
    MarkPair("[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"),  # Apriel
)


FORMATS = (HARMONY, MUSE, SOLAR, KIMI_K3, GEMMA_4)
HEADER = "all\n"  # functionary 3.2, behind the >>> that its prompts end with


@cache
def all_marks() -> frozenset[str]:
    """Every mark that any model may write."""
    return frozenset(
        {HEADER, ">>>", ">>>all", ">>>all\n", *(mark for form in FORMATS for mark in form.marks)}
        | {mark for block in (*_BLOCKS, *_ANSWERS) for mark in (block.opening, block.closing)}
    )


def marks_for(source: str, specials: frozenset[str]) -> ReplyMarks:
    """The marks of a model, by its template and its vocabulary's special strings."""

    def known(mark: str) -> bool:
        return mark in source or mark in specials

    formats = (
        (HARMONY, "<|channel|>" in source and "<|message|>" in source),
        (MUSE, "<|message|>" in source and "<|eom|>" in source),
        (SOLAR, "<|begin|>assistant<|think|>" in source),
        (KIMI_K3, "<|open|>" in source and "<|sep|>" in source),
        (GEMMA_4, known("<|channel>") or known("<channel|>")),
    )
    for form, fits in formats:
        if fits:
            return ReplyMarks(messages=form)
    return ReplyMarks(
        blocks=tuple(b for b in _BLOCKS if known(b.opening.partition("\n")[0]) or known(b.closing)),
        answers=tuple(b for b in _ANSWERS if known(b.opening)),
        header=HEADER if ">>>all\\n" in source else "",
        tag=next((t[1] for t in _TAG.finditer(source) if _is_thinking(t[1])), "think"),
    )


class _BlockReader:
    """Reads a reply with marks around its reasoning."""

    called = False

    def __init__(self, marks: ReplyMarks, phase: ReplyPhase) -> None:
        self.phase = phase
        self._marks = marks
        # Where a block was opened before the reply, any of them may be the one.
        self._closings = tuple(block.closing for block in marks.blocks)
        self._ends = tuple(block.closing for block in marks.answers)
        self._tag = ""  # name of the open tag; empty for any
        self._tags = bool(marks.tag)
        self._header = marks.header

    def step(self, pending: str, *, last: bool) -> tuple[PieceKind, int] | None:
        """The kind of the first piece of ``pending`` and its length; None to wait for more."""
        if self.phase is ReplyPhase.START:
            return self._start(pending, last=last)
        return self._inside(pending, last=last)

    def _start(self, pending: str, *, last: bool) -> tuple[PieceKind, int] | None:
        rest = pending.lstrip()
        lead = len(pending) - len(rest)
        if lead <= LONGEST_LEAD:
            found = self._mark_at_start(rest)
            if found:
                return PieceKind.MARK, lead + found
            if not last and self._may_become_mark(rest):
                return None
        self.phase = ReplyPhase.ANSWER
        return PieceKind.MARK, 0

    def _mark_at_start(self, rest: str) -> int:
        """Length of the mark at the start of ``rest``, or 0; enters what it opens."""
        marks = self._marks
        openings = {block.opening: block for block in (*marks.answers, *marks.blocks)}
        fixed = filter(None, (*openings, *self._closings, self._header))
        mark = max((mark for mark in fixed if rest.startswith(mark)), key=len, default="")
        tag = (_TAG.match(rest) or _CLOSING_TAG.match(rest)) if self._tags else None
        if not mark and tag is not None and _is_thinking(tag[1]):
            if not tag[0].startswith("</"):  # a bare closing tag ends reasoning that was skipped
                self.phase, self._closings, self._tag = ReplyPhase.REASONING, (), tag[1]
            return tag.end()
        if mark in openings:
            reasons = openings[mark] in marks.blocks
            self.phase = ReplyPhase.REASONING if reasons else ReplyPhase.ANSWER
            if reasons:
                self._closings, self._tags = (openings[mark].closing,), False
            else:
                self._ends = (openings[mark].closing,)
        if mark and mark == self._header:
            self._header, self.phase = "", ReplyPhase.ANSWER
        return len(mark)

    def _may_become_mark(self, rest: str) -> bool:
        marks = self._marks
        openings = [block.opening for block in (*marks.blocks, *marks.answers)]
        fixed = filter(None, (*openings, *self._closings, self._header))
        tag = self._tags and (not rest or _TAG_BEGUN.fullmatch(rest) is not None)
        return tag or any(mark.startswith(rest) for mark in fixed)

    def _inside(self, pending: str, *, last: bool) -> tuple[PieceKind, int] | None:
        reasoning = self.phase is ReplyPhase.REASONING
        kind = PieceKind.REASONING if reasoning else PieceKind.ANSWER
        fixed = self._closings if reasoning else self._ends
        finder = finder_of(fixed) if fixed else None
        position, mark = finder.first(pending) if finder is not None else (len(pending), "")
        tag = self._closing_tag(pending) if reasoning else None
        if tag is not None and tag.start() < position:
            position, mark = tag.start(), tag[0]
        if mark:
            if position:
                return kind, position
            self._close()
            return PieceKind.MARK, len(mark)
        unfinished = finder.unfinished(pending) if finder is not None and not last else 0
        if reasoning and self._tags and not last:
            tag_start = _CLOSING_BEGUN.search(pending)
            unfinished = max(unfinished, len(pending) - tag_start.start() if tag_start else 0)
        return (kind, len(pending) - unfinished) if len(pending) > unfinished else None

    def _closing_tag(self, pending: str) -> re.Match[str] | None:
        if not self._tags:
            return None
        tags = _CLOSING_TAG.finditer(pending)
        return next((tag for tag in tags if self._fits(tag[1])), None)

    def _fits(self, name: str) -> bool:
        return name == self._tag if self._tag else _is_thinking(name)

    def _close(self) -> None:
        marks = self._marks
        self._tags, self._tag = bool(marks.tag), ""
        self._closings = tuple(block.closing for block in marks.blocks)
        self._ends = tuple(block.closing for block in marks.answers)
        self.phase = ReplyPhase.START


class ReasoningSplitter:
    """Splits the text of one reply into answer, reasoning and marks as it comes.

    The pieces of all `feed` calls and `close`, joined, are the input. However the text is cut, the
    answer and the reasoning are the same. At most one mark's length is held back. The ``phase`` is
    `ReplyPhase.REASONING` when the prompt opened the block, `ReplyPhase.ANSWER` when an answer is
    continued.
    """

    def __init__(self, marks: ReplyMarks, phase: ReplyPhase = ReplyPhase.START) -> None:
        self._reader = marks.reader(phase)
        self._signs = marks.signs
        self._pending = ""
        self._after_mark = False

    @property
    def phase(self) -> ReplyPhase:
        """Where the reply is now."""
        return self._reader.phase

    @property
    def called(self) -> bool:
        """Whether the model called a tool, which is no part of the text."""
        return self._reader.called

    def feed(self, text: str) -> list[tuple[PieceKind, str]]:
        """Add text; returns the pieces that are decided."""
        if not (self._pending or self._after_mark or self._signs.search(text)):  # most often
            phase = self._reader.phase
            if phase is ReplyPhase.ANSWER:
                return [(PieceKind.ANSWER, text)]
            if phase is ReplyPhase.REASONING:
                return [(PieceKind.REASONING, text)]
        self._pending += text
        return self._pieces(last=False)

    def close(self) -> list[tuple[PieceKind, str]]:
        """End the reply; returns the pieces held back."""
        return self._pieces(last=True)

    def _pieces(self, *, last: bool) -> list[tuple[PieceKind, str]]:
        pieces: list[tuple[PieceKind, str]] = []
        while self._pending:
            if self._after_mark:
                space = len(self._pending) - len(self._pending.lstrip())
                self._emit(pieces, PieceKind.MARK, space)
                if not self._pending:
                    break
                self._after_mark = False
            step = self._reader.step(self._pending, last=last)
            if step is None:
                break
            kind, length = step
            self._after_mark = (
                kind is PieceKind.MARK and self.phase is not ReplyPhase.CALL and length > 0
            )
            self._emit(pieces, kind, length)
        return _merge_pieces(pieces)

    def _emit(self, pieces: list[tuple[PieceKind, str]], kind: PieceKind, length: int) -> None:
        if length:
            pieces.append((kind, self._pending[:length]))
            self._pending = self._pending[length:]


def _merge_pieces(pieces: Iterable[tuple[PieceKind, str]]) -> list[tuple[PieceKind, str]]:
    joined: list[tuple[PieceKind, str]] = []
    for kind, text in pieces:
        if joined and joined[-1][0] is kind:
            joined[-1] = (kind, joined[-1][1] + text)
        else:
            joined.append((kind, text))
    return joined
