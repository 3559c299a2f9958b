"""Markdown that tchat exported: the branch that was active, without the times of its messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import dropwhile

from tchat.sessions.formats.markdown import (
    CALL,
    FACTS,
    HEADING,
    REASONING,
    REASONING_END,
    RESULT_HEADING,
    SPEAKERS,
    without_escape,
)
from tchat.sessions.importers.conversation import SourceChat, SourceMessage, linear, sessions_of
from tchat.sessions.importers.fields import LARGEST, arguments_of, time_of
from tchat.sessions.importers.importer import ImportReport, Outline, Sessions, TextImporter
from tchat.sessions.records import Role, Status, ToolCall, ToolOutcome, ToolState
from tchat.translation import N_, tr

NAME = N_("tchat's Markdown")
_ROLES = {name: role for role, name in SPEAKERS.items()}


def _matches(head: str, _: Outline) -> bool:
    lines = head.split("\n", 3)
    return len(lines) > 2 and lines[0].startswith("# ") and bool(FACTS.fullmatch(lines[2]))


def _read(texts: Iterable[str], report: ImportReport) -> Sessions:
    return sessions_of(_chats(_lines(texts)), report)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """The lines of a text in pieces, without their ends."""
    rest = ""
    for piece in texts:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
        if len(rest) > LARGEST:
            raise ValueError(tr("a value is longer than {most:,} characters", most=LARGEST))
    yield rest


def _chats(lines: Iterable[str]) -> Iterator[SourceChat]:
    """The sessions; a title is known as one by the line of facts behind it."""
    chat: _Document | None = None
    held: list[str] = []  # a title, perhaps, and the empty line behind it
    for line in lines:
        if len(held) == 2 and (facts := FACTS.fullmatch(line)):
            if chat is not None:
                yield chat.finished()
            chat = _Document(held[0][2:], facts["id"], facts["time"], facts["models"] or "")
            held = []
            continue
        if len(held) == 1 and not line:
            held.append(line)
            continue
        if chat is not None:
            for each in held:
                chat.add(each)
        held = [line] if line.startswith("# ") else []
        if not held and chat is not None:
            chat.add(line)
    if chat is not None:
        for each in held:
            chat.add(each)
        yield chat.finished()


class _Document:
    """One session, line by line."""

    def __init__(self, title: str, key: str, time: str, models: str) -> None:
        names = models.split(", ") if models else []
        self._model = names[0] if len(names) == 1 else ""
        self._messages: list[SourceMessage] = []
        self._lines: list[str] = []
        self._chat = SourceChat(
            NAME,
            key,
            self._messages,
            title="" if title == key else title,
            created_at=time_of(f"{time.replace(' UTC', '')}+00:00"),
        )

    def add(self, line: str) -> None:
        """Read a line: a heading begins a message."""
        heading, result = HEADING.fullmatch(line), RESULT_HEADING.fullmatch(line)
        if result is not None:
            self._end_message()
            state = ToolState(result["state"] or ToolState.DONE)
            outcome = ToolOutcome(call_id="", name=result["name"], state=state)
            self._messages.append(
                SourceMessage(str(len(self._messages)), None, Role.TOOL, outcome=outcome)
            )
            return
        if heading is None:
            self._lines.append(line)
            return
        self._end_message()
        role = _ROLES[heading["speaker"]]
        status = Status(heading["status"] or Status.DONE)
        model = self._model if role is Role.ASSISTANT else ""
        self._messages.append(
            SourceMessage(
                str(len(self._messages)), None, role, model=model, status=status, joins=False
            )
        )

    def _end_message(self) -> None:
        lines, self._lines = self._lines, []
        if not self._messages:
            return
        lines = list(dropwhile(lambda line: not line, lines))
        message = self._messages[-1]
        if lines and lines[0] == REASONING and REASONING_END in lines:
            end = lines.index(REASONING_END)
            message.reasoning = _without_escapes(lines[1:end])
            del lines[: end + 1]
        calls = [place for place, line in enumerate(lines) if CALL.fullmatch(line)]
        if message.role is Role.ASSISTANT and calls:
            message.calls = _calls(lines[calls[0] :], message.key)
            del lines[calls[0] :]
        if message.role is Role.TOOL:
            lines = _without_fence(lines)
        message.text = _without_escapes(lines)

    def finished(self) -> SourceChat:
        """The session, when its last line was added."""
        self._end_message()
        messages = self._messages
        if messages and messages[0].role is Role.SYSTEM:
            self._chat.system = messages.pop(0).text
        self._chat.tip = linear(messages)
        return self._chat


def _calls(lines: Sequence[str], key: str) -> tuple[ToolCall, ...]:
    """The calls at the end of a reply: each has a line with its name, and its JSON below that."""
    calls: list[ToolCall] = []
    for line in lines:
        if found := CALL.fullmatch(line):
            call_id = f"{key}:{len(calls) + 1}"
            calls.append(ToolCall(id=call_id, name=found["name"], arguments={}))
        elif calls and line.startswith("{"):
            calls[-1] = replace(calls[-1], arguments=arguments_of(line))
    return tuple(calls)


def _without_fence(lines: list[str]) -> list[str]:
    content = "\n".join(lines).strip("\n").split("\n")
    fence = content[0]
    is_fenced = len(content) > 1 and len(fence) > 2 and set(fence) == {"`"} and fence == content[-1]
    return content[1:-1] if is_fenced else lines


def _without_escapes(lines: Iterable[str]) -> str:
    return "\n".join(map(without_escape, lines)).strip("\n")


TCHAT_MARKDOWN = TextImporter(NAME, _matches, _read)
