"""Replies that consist of messages with headers.

OpenAI's harmony format (``<|start|>assistant<|channel|>analysis<|message|>…<|end|>``) and its
relatives alternate control tokens and short texts. The parts of a header may come in any order; an
invalid header ends where its text stops making sense, and the message follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cached_property, lru_cache

LONGEST_LEAD = 32  # whitespace before the first mark; more of it is an answer
_LONGEST_HEADER = 160  # characters between two marks of a header


class PieceKind(StrEnum):
    """The kind of a piece of a reply."""

    ANSWER = "answer"
    REASONING = "reasoning"
    MARK = "mark"  # a mark, the white space after it, or a call of a tool that does not exist
    CALL = "call"  # the name of a tool whose call begins


class ReplyPhase(Enum):
    """Where in a reply the text is."""

    START = "start"
    REASONING = "reasoning"
    ANSWER = "answer"
    HEADER = "header"  # between the marks of a header
    CALL = "call"  # a message for a tool


class MarkFinder:
    """Finds marks in a text that is still being written."""

    def __init__(self, marks: Iterable[str]) -> None:
        # Of several marks at one place, the longest wins.
        self._marks = sorted({mark for mark in marks if mark}, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, self._marks)) or r"(?!)")
        self._prefixes = frozenset(
            mark[:length] for mark in self._marks for length in range(1, len(mark) + 1)
        )
        firsts = "".join(sorted({re.escape(mark[0]) for mark in self._marks}))
        self._first = re.compile(f"[{firsts}]" if firsts else r"(?!)")
        self._longest = max(map(len, self._marks), default=1) - 1

    def first(self, text: str) -> tuple[int, str]:
        """Position and text of the first mark; or the length of the text and an empty string."""
        found = self._any.search(text)
        return (found.start(), found[0]) if found else (len(text), "")

    def unfinished(self, text: str) -> int:
        """Length of the longest suffix of ``text`` that may begin a mark."""
        for found in self._first.finditer(text, max(0, len(text) - self._longest)):
            if text[found.start() :] in self._prefixes:
                return len(text) - found.start()
        return 0


@lru_cache(maxsize=64)
def finder_of(marks: tuple[str, ...]) -> MarkFinder:
    """The finder of some marks, cached between replies."""
    return MarkFinder(marks)


@dataclass(frozen=True)
class MessageFormat:
    """The format of messages in one model family.

    Args:
        starts: Marks that begin a new header.
        bodies: Marks that end a header.
        ends: Marks that end a message.
        classify: The phase after a header, given with its marks; None for no header.
        header_end: Where the header ends in a text between marks; None while it goes on.
        opening: Written to open reasoning.
        closing: Written to end reasoning and get to the next header.
        answer: Written to open an answer.
        parts: Marks inside a header.
        lead: Pattern of the text before the first mark of a reply.
    """

    starts: tuple[str, ...]
    bodies: tuple[str, ...]
    ends: tuple[str, ...]
    classify: Callable[[str], ReplyPhase | None]
    header_end: Callable[[str], int | None]
    opening: str
    closing: str
    answer: str
    parts: tuple[str, ...] = ()
    lead: str = rf"\s{{0,{LONGEST_LEAD}}}"

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Every mark."""
        return (*self.starts, *self.parts, *self.bodies, *self.ends)

    @cached_property
    def finder(self) -> MarkFinder:
        """Finds the marks in a text."""
        return finder_of(self.marks)

    def phase_after(self, prompt: str) -> ReplyPhase:
        """Where in a reply a prompt ends."""
        position = max(prompt.rfind(mark) for mark in self.starts)
        if position < 0:
            return ReplyPhase.START
        reader = MessageReader(self, ReplyPhase.START)
        pending = prompt[position:]
        while pending and (step := reader.step(pending, last=False)) is not None:
            pending = pending[step[1] :]
        inside = reader.phase in (ReplyPhase.REASONING, ReplyPhase.ANSWER)
        return reader.phase if inside else ReplyPhase.START


class MessageReader:
    """Reads the messages of one reply; ``called`` says whether one called a tool."""

    def __init__(self, form: MessageFormat, phase: ReplyPhase) -> None:
        self.called = False
        self._phase = phase
        self._form = form
        self._header = ""
        self._lead = re.compile(form.lead)

    @property
    def phase(self) -> ReplyPhase:
        """Where in the reply it is."""
        return self._phase

    @phase.setter
    def phase(self, phase: ReplyPhase) -> None:
        self._phase = phase
        self.called = self.called or phase is ReplyPhase.CALL

    def step(self, pending: str, *, last: bool) -> tuple[PieceKind, int] | None:
        """The kind of the first piece of ``pending`` and its length; None to wait for more."""
        position, mark = self._form.finder.first(pending)
        if position == 0:
            self._pass(mark)
            return PieceKind.MARK, len(mark)
        whole = bool(mark) or last  # whether the text before the mark is complete
        text = pending[
            : position if whole else len(pending) - self._form.finder.unfinished(pending)
        ]
        if self.phase is ReplyPhase.START:
            return self._start(text, marked=bool(mark), last=last)
        if self.phase is ReplyPhase.HEADER:
            return self._in_header(text, marked=bool(mark), last=last)
        return (self._kind, len(text)) if text else None

    @property
    def _kind(self) -> PieceKind:
        kinds = {ReplyPhase.REASONING: PieceKind.REASONING, ReplyPhase.ANSWER: PieceKind.ANSWER}
        return kinds.get(self.phase, PieceKind.MARK)

    def _start(self, text: str, *, marked: bool, last: bool) -> tuple[PieceKind, int] | None:
        if len(text) <= _LONGEST_HEADER and self._lead.fullmatch(text):
            if marked:
                self._header, self.phase = text, ReplyPhase.HEADER
                return PieceKind.MARK, len(text)
            if not last:
                return None
        self.phase = ReplyPhase.ANSWER
        return PieceKind.MARK, 0

    def _in_header(self, text: str, *, marked: bool, last: bool) -> tuple[PieceKind, int] | None:
        # At the end of a reply, words that are no part of a header are the answer.
        end = self._form.header_end(text if marked or not last else text + "\n")
        if end is None and len(text) > _LONGEST_HEADER:
            end = 0
        if end is not None:
            self.phase = self._form.classify(self._header + text[:end]) or ReplyPhase.ANSWER
            self._header = ""
            return PieceKind.MARK, end
        if not marked and not last:
            return None
        self._header += text
        return PieceKind.MARK, len(text)

    def _pass(self, mark: str) -> None:
        form = self._form
        if mark in form.starts:
            self._header, self.phase = mark, ReplyPhase.HEADER
        elif mark in form.parts:
            self._header += mark
            self.phase = ReplyPhase.HEADER
        elif mark in form.ends:
            self._header, self.phase = "", ReplyPhase.START
        else:
            inside = self.phase not in (ReplyPhase.START, ReplyPhase.HEADER)
            phase = form.classify(self._header + mark)
            self.phase = phase or (self.phase if inside else ReplyPhase.ANSWER)
            self._header = ""


# harmony: gpt-oss, and muse-glimmer without channels

_WORD = r"[\w.:/-]"
_HARMONY_TEXT = re.compile(rf"[^\S\n]*{_WORD}*([^\S\n]+to={_WORD}*)?([^\S\n]+{_WORD}*)?[^\S\n]*")
_HARMONY_NAME = re.compile(rf"[^\S\n]*{_WORD}*([^\S\n]+to={_WORD}*)?")
_HARMONY_LEAD = rf"\s{{0,{LONGEST_LEAD}}}(t|to|to={_WORD}*[^\S\n]*)?"
_FOR_USER = frozenset({"", "user", "assistant", "all"})  # recipients of messages for the user


def _harmony_end(text: str) -> int | None:
    if _HARMONY_TEXT.fullmatch(text):
        return None
    name = _HARMONY_NAME.match(text)
    return name.end() if name else 0


def _harmony_phase(header: str) -> ReplyPhase | None:
    """``<|start|>role to=recipient<|channel|>name to=recipient <|constrain|>type<|message|>``."""
    if header == "<|message|>":
        return None
    role, *channels = header.removesuffix("<|message|>").split("<|channel|>")
    words = role.removeprefix("<|start|>").partition("<|")[0].split()
    name, recipient = "", _recipient(words)
    if role.startswith("<|start|>") and words and words[0] != "assistant":
        return ReplyPhase.CALL  # a turn of the user that the model made up
    if channels:  # those before were begun and left
        words = channels[-1].partition("<|")[0].split()
        name, recipient = words[0] if words else "", recipient or _recipient(words)
    if recipient == "self":
        return ReplyPhase.REASONING
    if recipient not in _FOR_USER:
        return ReplyPhase.CALL
    return ReplyPhase.REASONING if name == "analysis" else ReplyPhase.ANSWER


def _recipient(words: list[str]) -> str:
    return next((word[3:] for word in words if word.startswith("to=")), "")


HARMONY = MessageFormat(
    starts=("<|start|>",),
    parts=("<|channel|>", "<|constrain|>"),
    bodies=("<|message|>",),
    ends=("<|end|>", "<|return|>", "<|call|>"),
    classify=_harmony_phase,
    header_end=_harmony_end,
    lead=_HARMONY_LEAD,
    opening="<|channel|>analysis<|message|>",
    closing="<|end|><|start|>assistant",
    answer="<|channel|>final<|message|>",
)
MUSE = MessageFormat(
    starts=("<|start|>",),
    bodies=("<|message|>",),
    ends=("<|eom|>", "<|eot|>"),
    classify=_harmony_phase,
    header_end=_harmony_end,
    lead=_HARMONY_LEAD,
    opening=" to=self<|message|>",
    closing="<|eom|><|start|>assistant",
    answer=" to=user<|message|>",
)


# Solar: the mark that ends a header names the kind of message.


def _solar_phase(header: str) -> ReplyPhase | None:
    body = header[header.rindex("<|") :] if "<|" in header else ""
    phases = {"<|think|>": ReplyPhase.REASONING, "<|content|>": ReplyPhase.ANSWER}
    return phases.get(body, ReplyPhase.CALL if body in SOLAR.bodies else None)


SOLAR = MessageFormat(
    starts=("<|begin|>",),
    bodies=("<|think|>", "<|content|>", "<|tool_calls|>"),
    ends=("<|end|>", "<|calls|>", "<|flush|>"),
    classify=_solar_phase,
    header_end=_harmony_end,
    opening="<|think|>",
    closing="<|end|><|begin|>assistant",
    answer="<|content|>",
)


# Kimi K3: tags with attributes, <|open|>name key="value"<|sep|> and <|close|>name<|sep|>.

_TAG = re.compile(r"<\|(open|close)\|>\s*([\w.-]*)")
_TAG_TEXT = re.compile(r"[^\n]*")


def _tag_end(text: str) -> int | None:
    return None if _TAG_TEXT.fullmatch(text) else text.index("\n")


def _tag_phase(header: str) -> ReplyPhase | None:
    tag = _TAG.match(header)
    if tag is None:
        return None
    if tag[2] in ("tools", "call", "argument"):
        return ReplyPhase.START if (tag[1], tag[2]) == ("close", "tools") else ReplyPhase.CALL
    phases = {"think": ReplyPhase.REASONING, "response": ReplyPhase.ANSWER}
    return phases.get(tag[2], ReplyPhase.START) if tag[1] == "open" else ReplyPhase.START


KIMI_K3 = MessageFormat(
    starts=("<|open|>", "<|close|>"),
    bodies=("<|sep|>",),
    ends=("<|end_of_msg|>",),
    classify=_tag_phase,
    header_end=_tag_end,
    opening="<|open|>think<|sep|>",
    closing="<|close|>think<|sep|>",
    answer="<|open|>response<|sep|>",
)


# Gemma 4: <|channel>thought … <channel|>, where a channel's name ends with its line or at once.

_THOUGHT = "thought"


def _channel_end(text: str) -> int | None:
    if text.startswith(_THOUGHT):
        return len(_THOUGHT)
    name = re.match(r"\w*", text)
    length = name.end() if name else 0
    return None if length == len(text) else length


def _channel_phase(header: str) -> ReplyPhase | None:
    if header.endswith(GEMMA_4.bodies):
        return ReplyPhase.CALL
    if header.startswith("<|turn>"):
        return ReplyPhase.START
    return ReplyPhase.REASONING if header == "<|channel>" + _THOUGHT else ReplyPhase.ANSWER


GEMMA_4 = MessageFormat(
    starts=("<|channel>", "<|turn>"),
    bodies=("<|tool_call>", "<|tool_response>"),
    ends=("<channel|>", "<turn|>", "<tool_call|>", "<tool_response|>"),
    classify=_channel_phase,
    header_end=_channel_end,
    opening="<|channel>thought\n",
    closing="<channel|>",
    answer="",
)
