"""``logs.db`` of `llm`: conversations with responses; from 0.32 on, threads of messages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from tchat.sessions.importers.conversation import (
    ROLES,
    SourceChat,
    SourceMessage,
    Steps,
    linear,
    sessions_of,
)
from tchat.sessions.importers.fields import (
    ChatSize,
    arguments_of,
    key_of,
    list_of,
    object_of,
    text_of,
    time_of,
)
from tchat.sessions.importers.importer import (
    DatabaseImporter,
    ImportReport,
    Omission,
    Sessions,
)
from tchat.sessions.records import Role

NAME = "llm"
_RESPONSES = frozenset({"id", "model", "prompt", "response", "conversation_id"})
_THREADS = frozenset({"id", "tip_message_hash"})

Tables = Mapping[str, Set[str]]


def _matches(tables: Tables) -> bool:
    return tables.get("responses", frozenset()) >= _RESPONSES or (
        tables.get("threads", frozenset()) >= _THREADS and {"messages", "parts"} <= tables.keys()
    )


def _read(connection: sqlite3.Connection, tables: Tables, report: ImportReport) -> Sessions:
    chats = _Threads(connection, report).chats() if "threads" in tables else iter(())
    yield from sessions_of(chats, report)
    if "responses" in tables and "conversations" in tables:
        yield from sessions_of(_Conversations(connection, tables, report).chats(), report)


class _Conversations:
    """The tables of `llm` up to 0.31: each response with its prompt."""

    def __init__(
        self, connection: sqlite3.Connection, tables: Tables, report: ImportReport
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._report = report

    def chats(self) -> Iterator[SourceChat]:
        """One for each conversation, without those that went on as threads."""
        query = "SELECT id, name FROM conversations"
        if "threads" in self._tables:
            query += " WHERE id NOT IN (SELECT id FROM threads WHERE tip_message_hash NOTNULL)"
        for key, name in self._connection.execute(query):
            system: list[str] = []
            messages, size = [], ChatSize()
            for message in self._messages(key, system):
                size.add(message.text)
                messages.append(message)
            tip = linear(messages)
            yield SourceChat(
                program=NAME,
                key=str(key),
                messages=messages,
                title=text_of(name),
                system="\n\n".join(dict.fromkeys(system)),
                tip=tip,
            )

    def _messages(self, conversation: object, system: list[str]) -> Iterator[SourceMessage]:
        names = self._tables["responses"]
        optional = (
            name if name in names else f"'' AS {name}"
            for name in ("system", "datetime_utc", "reasoning", "resolved_model")
        )
        rows = self._connection.execute(
            f"SELECT id, model, prompt, response, {', '.join(optional)} "  # noqa: S608 - names
            "FROM responses WHERE conversation_id = ? ORDER BY "
            + ("datetime_utc, rowid" if "datetime_utc" in names else "rowid"),
            (conversation,),
        )
        for key, model, prompt, response, instructions, when, reasoning, resolved in rows:
            system += filter(
                None, [*self._fragments("system_fragments", key), text_of(instructions)]
            )
            self._count_attachments(key)
            asked = "\n".join(
                filter(None, [*self._fragments("prompt_fragments", key), text_of(prompt)])
            )
            created = time_of(when)
            if asked:
                yield SourceMessage(f"{key}:prompt", None, Role.USER, asked, created_at=created)
            yield SourceMessage(
                f"{key}:response",
                None,
                Role.ASSISTANT,
                text_of(response),
                reasoning=text_of(reasoning),
                created_at=created,
                model=text_of(resolved) or text_of(model),
            )

    def _fragments(self, table: str, response: object) -> list[str]:
        if not {table, "fragments"} <= self._tables.keys():
            return []
        rows = self._connection.execute(
            f"SELECT f.content FROM {table} u "  # noqa: S608 - one of two names
            'JOIN fragments f ON f.id = u.fragment_id WHERE u.response_id = ? ORDER BY u."order"',
            (response,),
        )
        return [text_of(content) for (content,) in rows]

    def _count_attachments(self, response: object) -> None:
        if "prompt_attachments" in self._tables:
            query = "SELECT count(*) FROM prompt_attachments WHERE response_id = ?"
            if count := self._connection.execute(query, (response,)).fetchone()[0]:
                self._report.left_out[Omission.FILE] += count


class _Threads:
    """The tables of `llm` from 0.32 on: messages by their hash, shared by threads."""

    def __init__(self, connection: sqlite3.Connection, report: ImportReport) -> None:
        self._connection = connection
        self._report = report

    def chats(self) -> Iterator[SourceChat]:
        """One for each thread, together with the threads that were forked from it."""
        threads = {
            row[0]: row
            for row in self._connection.execute(
                "SELECT id, name, tip_message_hash, forked_from, datetime_utc FROM threads "
                "ORDER BY datetime_utc, rowid"
            )
        }
        families: dict[str, list[str]] = {}
        for key in threads:
            families.setdefault(_first(key, threads), []).append(key)
        for first, family in families.items():
            times: dict[str, tuple[float, str]] = {}
            tips = [tip for key in family for tip in self._tips(key, times)]
            tips += [threads[key][2] for key in family if threads[key][2]]
            messages = self._messages(tips, times)
            roots = [message for message in messages if message.parent is None]
            system = ""
            if len(roots) == 1 and roots[0].role is Role.SYSTEM:
                system, roots[0].role, roots[0].text = roots[0].text, None, ""
            yield SourceChat(
                program=NAME,
                key=first,
                messages=messages,
                title=text_of(threads[first][1]),
                system=system,
                created_at=time_of(threads[first][4]),
                tip=tips[-1] if tips else "",
            )

    def _tips(self, thread: str, times: dict[str, tuple[float, str]]) -> list[str]:
        """Where each turn of a thread ended; puts the time and the model of each into ``times``."""
        rows = self._connection.execute(
            "SELECT tip_message_hash, parent_message_hash, datetime_utc, "
            "coalesce(resolved_model, model, '') FROM turns "
            "WHERE thread_id = ? AND tip_message_hash NOTNULL ORDER BY datetime_utc, rowid",
            (thread,),
        ).fetchall()
        for tip, parent, when, model in rows:
            facts = (time_of(when), text_of(model))
            times.setdefault(tip, facts)
            if parent:
                times.setdefault(parent, (facts[0], ""))  # the prompt
        return [row[0] for row in rows]

    def _messages(
        self, tips: Iterable[str], times: Mapping[str, tuple[float, str]]
    ) -> list[SourceMessage]:
        """The chains that end in ``tips``, each message once."""
        found: dict[str, SourceMessage] = {}
        divided: dict[str, list[SourceMessage]] = {}
        size = ChatSize()
        for tip in tips:
            chain: list[SourceMessage] = []
            key: str | None = tip
            while key is not None and key not in found:
                query = "SELECT hash, parent_hash, role FROM messages WHERE hash = ?"
                row = self._connection.execute(query, (key,)).fetchone()
                if row is None:
                    break
                created, model = times.get(key, (0.0, ""))
                found[key] = SourceMessage(
                    key, row[1], ROLES.get(text_of(row[2])), created_at=created, model=model
                )
                chain.append(found[key])
                key = row[1]
            for message in chain:
                steps = self._steps(message)
                divided[message.key] = steps
                for step in steps:
                    size.add(step.text)
        # `sessions_of` brings them into order.
        return [step for key in found for step in divided[key]]

    def _steps(self, message: SourceMessage) -> list[SourceMessage]:
        steps = Steps(message, separator="")
        rows = self._connection.execute(
            "SELECT type, tool_name, text, payload FROM parts "
            "WHERE message_hash = ? ORDER BY position",
            (message.key,),
        )
        for kind, tool, text, payload in rows:
            facts = _parsed(payload)
            said = text_of(text) or self._referred(facts)
            if kind == "text":
                steps.add_text(said)
            elif kind == "reasoning":
                steps.add_reasoning(said)
            elif kind == "tool_call":
                steps.add_call(
                    key_of(facts.get("tool_call_id")) or key_of(facts.get("id")),
                    text_of(tool) or "tool",
                    arguments_of(facts.get("arguments")),
                )
            elif kind == "tool_result":
                given = facts.get("output") or ""
                content = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
                steps.add_result(key_of(facts.get("tool_call_id")), text_of(tool), content)
            else:
                self._report.left_out[
                    Omission.FILE if kind == "attachment" else Omission.OTHER
                ] += 1
        return steps.messages()

    def _referred(self, facts: Mapping[str, Any]) -> str:
        """A text that is put together from fragments."""
        pieces: list[str] = []
        for each in list_of(facts.get("text_ref")):
            piece = object_of(each)
            if "fragment" in piece:
                query = "SELECT content FROM fragments WHERE id = ?"
                row = self._connection.execute(query, (str(piece["fragment"]),)).fetchone()
                pieces.append(text_of(row[0]) if row else "")
            else:
                pieces.append(text_of(piece.get("literal")))
        return "".join(pieces)


def _first(key: str, threads: Mapping[str, Any]) -> str:
    """The thread that one was forked from in the end."""
    seen = {key}
    while (origin := threads[key][3]) in threads and origin not in seen:
        seen.add(origin)
        key = origin
    return key


def _parsed(payload: object) -> Mapping[str, Any]:
    try:
        return object_of(json.loads(payload)) if isinstance(payload, str) else {}
    except (ValueError, RecursionError):
        return {}


LLM_LOGS = DatabaseImporter(NAME, _matches, _read)
