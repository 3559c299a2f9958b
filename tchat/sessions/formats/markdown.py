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
from tchat.sessions.records import Role, Session, Status
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.sessions.formats.format import SessionReader

SPEAKERS = {
    Role.SYSTEM: "System",
    Role.USER: "User",
    Role.ASSISTANT: "Assistant",
    Role.TOOL: "Tool",
}
REASONING, REASONING_END = "<details><summary>Reasoning</summary>", "</details>"
HEADING = re.compile(
    rf"## (?P<speaker>{'|'.join(SPEAKERS.values())})(?: \((?P<status>{'|'.join(Status)})\))?"
)
FACTS = re.compile(
    r"\*(?P<id>[0-9a-z]{10}), (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d UTC)(?:, (?P<models>.*))?\*"
)
_OWN = (*(f"## {name}" for name in SPEAKERS.values()), REASONING, REASONING_END)
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
        mark = "" if message.status == Status.DONE else f" ({message.status})"
        parts = [f"## {SPEAKERS[message.role]}{mark}"]
        if show_reasoning and message.reasoning:
            parts += [REASONING, _escaped(message.reasoning.strip("\n")), REASONING_END]
        parts.append(_escaped(message.text.strip("\n")))
        yield "\n" + "\n\n".join(part for part in parts if part) + "\n"


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
