"""Sessions as Markdown, to read: the active branch, one heading a message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tchat.sessions.formats.format import ExportFormat
from tchat.sessions.records import Role, Session, Status
from tchat.translation import N_

if TYPE_CHECKING:
    from tchat.sessions.store import Store

_SPEAKERS = {Role.SYSTEM: "System", Role.USER: "User", Role.ASSISTANT: "Assistant"}


def _session(store: Store, session: Session, show_reasoning: bool) -> Iterator[str]:
    """One session in pieces, a message each."""
    models = store.branch_models(session.id)
    yield f"# {_one_line(session.title) or session.id}\n\n{_facts(session, models)}\n"
    if session.system:
        system = session.system.strip("\n")
        yield f"\n## System\n\n{system}\n"
    for message in store.walk(session.id):
        mark = "" if message.status == Status.DONE else f" ({message.status})"
        parts = [f"## {_SPEAKERS[message.role]}{mark}"]
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


def _export(store: Store, sessions: Iterable[Session], *, show_reasoning: bool) -> Iterator[str]:
    for number, session in enumerate(sessions):
        if number:
            yield "\n"
        yield from _session(store, session, show_reasoning)


MARKDOWN = ExportFormat("md", N_("Markdown, to read"), (".md", ".markdown"), _export)
