"""Sessions as Markdown, for people, and as JSON, which can be read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from tchat.sessions.imported import Messages, sessions_of
from tchat.sessions.records import Message, Role, Session, Status
from tchat.sessions.serialization import json_of, record_values

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
    models = dict.fromkeys(message.model for message in messages)
    return "".join(markdown_pieces(session, models, messages, show_reasoning=show_reasoning))


def markdown_pieces(
    session: Session,
    models: Iterable[str],
    messages: Iterable[Message],
    *,
    show_reasoning: bool = False,
) -> Iterator[str]:
    """The same in pieces, a message each.

    Args:
        session: As in `to_markdown`.
        models: What wrote the messages.
        messages: As in `to_markdown`.
        show_reasoning: As in `to_markdown`.
    """
    yield f"# {_one_line(session.title) or session.id}\n\n{_facts(session, models)}\n"
    if session.system:
        system = session.system.strip("\n")
        yield f"\n## System\n\n{system}\n"
    for message in messages:
        parts = [f"## {_SPEAKERS[message.role]}{_mark(message.status)}"]
        if show_reasoning and message.reasoning:
            fold = "<details><summary>Reasoning</summary>"
            parts += [fold, message.reasoning.strip("\n"), "</details>"]
        parts.append(message.text.strip("\n"))
        yield "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _facts(session: Session, models: Iterable[str]) -> str:
    created = datetime.fromtimestamp(session.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    names = dict.fromkeys(_one_line(model) for model in models if model)
    return f"*{session.id}, {', '.join([created, *names])}*"


def _mark(status: Status) -> str:
    return "" if status == Status.DONE else f" ({status})"


def json_pieces(sessions: Iterable[tuple[Session, Messages]]) -> Iterator[str]:
    """Whole sessions, every branch of them, as one JSON document in pieces, a message each.

    A message whose parent did not come is left out.
    """
    yield f'{{\n "format": "{FORMAT}",\n "version": {VERSION},\n "sessions": ['
    between = ""
    for session, messages in sessions:
        facts = record_values(session)
        del facts["messages"]
        yield f'{between}\n  {json_of(facts)[:-1]}, "messages": ['
        between, known = "", set()
        for message, active in messages:
            if message.parent_id is not None and message.parent_id not in known:
                continue  # deleted by another process, which left its children for a moment
            known.add(message.id)
            values = record_values(message) | {"active": active}
            del values["session_id"]
            yield f"{between}\n   {json_of(values)}"
            between = ","
        yield "\n  ]}"
        between = ","
    yield "\n ]\n}\n"


def sessions_in(texts: Iterable[str]) -> Iterator[tuple[Session, Messages]]:
    """The sessions of a document that comes in pieces, see `sessions_of`."""
    return sessions_of(texts, format_name=FORMAT, version=VERSION)
