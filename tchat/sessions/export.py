"""Sessions as Markdown, for people, and as JSON, which can be read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from tchat.sessions.imported import trees_of
from tchat.sessions.records import Message, Role, Session, Status, Tree

FORMAT = "tchat-sessions"
VERSION = 1
_SPEAKERS = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant"}


def to_markdown(
    session: Session, messages: Sequence[Message], *, show_reasoning: bool = False
) -> str:
    """A session to read: the given messages, mostly its active path, one heading each.

    Args:
        session: Gives the title and the system prompt.
        messages: In the order in which they are written.
        show_reasoning: Put the model's reasoning, folded, before its answers.
    """
    parts = [f"# {_one_line(session.title) or session.id}", _facts(session, messages)]
    if session.system:
        parts += ["## System", session.system.strip("\n")]
    for message in messages:
        parts.append(f"## {_SPEAKERS[message.role]}{_mark(message.status)}")
        if show_reasoning and message.reasoning:
            fold = "<details><summary>Reasoning</summary>"
            parts += [fold, message.reasoning.strip("\n"), "</details>"]
        parts.append(message.text.strip("\n"))
    return "\n\n".join(part for part in parts if part) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _facts(session: Session, messages: Sequence[Message]) -> str:
    created = datetime.fromtimestamp(session.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    models = dict.fromkeys(_one_line(message.model) for message in messages if message.model)
    return f"*{session.id}, {', '.join([created, *models])}*"


def _mark(status: Status) -> str:
    return "" if status == Status.DONE else f" ({status})"


def to_json(trees: Iterable[Tree]) -> str:
    """Whole sessions, every branch of them, as one JSON document."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "sessions": [_session(tree) for tree in trees],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _session(tree: Tree) -> dict[str, Any]:
    session = asdict(tree.session)
    messages = [asdict(message) for message in tree.messages]
    for message in messages:
        del message["session_id"]
        message["active"] = message["id"] in tree.active
    return session | {"messages": messages}


def from_json(text: str) -> list[Tree]:
    """What `to_json` wrote.

    Raises:
        UsageError: It is not such a document; the message says where it differs.
    """
    return trees_of(text, format_name=FORMAT, version=VERSION)
