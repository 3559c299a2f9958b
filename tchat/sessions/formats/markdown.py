"""Sessions as Markdown, to read: the active branch, one heading a message.

`tchat.sessions.importers` reads it: a line of a message that looks like a heading of ours is
written with a backslash in front.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tchat.sessions.formats.format import ExportFormat
from tchat.sessions.records import Message, Role, Session, Status, ToolState
from tchat.sessions.serialization import json_of
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.sessions.formats.format import SessionReader

SPEAKERS = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant"}
REASONING, REASONING_END = "<details><summary>Reasoning</summary>", "</details>"
CALL = re.compile(r"<details><summary>Call: (?P<name>.*)</summary>")
HEADING = re.compile(
    rf"## (?P<speaker>{'|'.join(SPEAKERS.values())})(?: \((?P<status>{'|'.join(Status)})\))?"
)
RESULT_HEADING = re.compile(
    rf"## Tool result: (?P<name>.*?)(?: \((?P<state>{'|'.join(ToolState)})\))?"
)
FACTS = re.compile(
    r"\*(?P<id>[0-9a-z]{10}), (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d UTC)(?:, (?P<models>.*))?\*"
)
_OWN = (
    *(f"## {name}" for name in (*SPEAKERS.values(), "Tool result: ")),
    *(REASONING, REASONING_END, "<details><summary>Call: "),
)
_OWN_LINE = re.compile(
    rf"^(?=\\*(?:{'|'.join(map(re.escape, _OWN))}|\*[0-9a-z]{{10}}, ))", re.MULTILINE
)


def _session(store: SessionReader, session: Session, show_reasoning: bool) -> Iterator[str]:
    """One session in pieces, a message each."""
    models = store.branch_models(session.id)
    yield f"# {_one_line(session.title) or session.id}\n\n{_facts(session, models)}\n"
    if session.system:
        system = _escaped(session.system.strip("\n"))
        yield f"\n## System\n\n{system}\n"
    for message in store.walk(session.id):
        parts = [f"## {heading_of(message)}"]
        if show_reasoning and message.reasoning:
            parts += [REASONING, _escaped(message.reasoning.strip("\n")), REASONING_END]
        text = _escaped(message.text.strip("\n"))
        parts.append(fenced(text) if message.role is Role.TOOL else text)
        for call in message.tool_calls:
            name = _one_line(call.name)
            given = f"```json\n{json_of(call.arguments)}\n```"
            parts += [f"<details><summary>Call: {name}</summary>", given, REASONING_END]
        yield "\n" + "\n\n".join(part for part in parts if part) + "\n"


def heading_of(message: Message) -> str:
    """Who speaks, or which tool this is the result of; and how it ended, unless well."""
    outcome = message.tool_outcome
    if message.role is Role.TOOL:
        name = _one_line(outcome.name) if outcome is not None else ""
        state = outcome.state if outcome is not None else ToolState.DONE
        return f"Tool result: {name}" + ("" if state is ToolState.DONE else f" ({state})")
    mark = "" if message.status == Status.DONE else f" ({message.status})"
    return f"{SPEAKERS[message.role]}{mark}"


def fenced(text: str) -> str:
    """``text`` in a fence that is longer than any in it."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text.strip(chr(10))}\n{fence}"


def _escaped(text: str) -> str:
    """``text`` without lines that could be taken for a heading or the facts of a session."""
    return _OWN_LINE.sub(r"\\", text)


def without_escape(line: str) -> str:
    """A line of a message as it was before it was exported."""
    return line[1:] if line.startswith("\\") and _OWN_LINE.match(line) else line


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _facts(session: Session, models: Iterable[str]) -> str:
    created = datetime.fromtimestamp(session.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    names = dict.fromkeys(_one_line(model) for model in models if model)
    return f"*{session.id}, {', '.join([created, *names])}*"


def _export(
    store: SessionReader, sessions: Iterable[Session], *, show_reasoning: bool
) -> Iterator[str]:
    for number, session in enumerate(sessions):
        if number:
            yield "\n"
        yield from _session(store, session, show_reasoning)


MARKDOWN = ExportFormat("md", N_("Markdown, to read"), (".md", ".markdown"), _export)
