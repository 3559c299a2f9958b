"""A format for exports or imports is one new module and its place in a list."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tchat.chat.session import export_path, write_session
from tchat.errors import UsageError
from tchat.paths import user_paths
from tchat.sessions import formats
from tchat.sessions.formats import ExportFormat, Messages, export_format
from tchat.sessions.formats.format import SessionReader
from tchat.sessions.importers import IMPORTERS, ImportReport, TextImporter, files
from tchat.sessions.importers.files import ImportFile, read_file
from tchat.sessions.records import Message, Role, Session, Status
from tchat.sessions.store import SessionStore
from tests.cli.shell import Shell
from tests.sessions.stores import new_session
from tests.sessions.trees import to_json

# What the module of a new format holds.


def _lines(
    store: SessionReader, sessions: Iterable[Session], *, show_reasoning: bool
) -> Iterator[str]:
    for session in sessions:
        yield from (f"{each.role}: {each.text}\n" for each in store.walk(session.id))


LINES = ExportFormat("txt", "Lines", (".txt",), _lines)


def _read_lines(texts: Iterable[str], _: ImportReport) -> Iterator[tuple[Session, Messages]]:
    session = Session(
        id="", title="Lines", system="", created_at=1, updated_at=1, settings={}, messages=0
    )
    lines = "".join(texts).splitlines()[1:]
    messages = (
        Message(
            id=number,
            session_id="",
            parent_id=number - 1 or None,
            role=Role(line.partition(": ")[0]),
            text=line.partition(": ")[2],
            reasoning="",
            status=Status.DONE,
            created_at=1,
            model="",
            model_sha256="",
            quantization="",
            template_hash="",
            sampling={},
            usage={},
            timings={},
            finish_reason="",
        )
        for number, line in enumerate(lines, 1)
    )
    yield session, ((message, True) for message in messages)


READ_LINES = TextImporter("lines", lambda head, _: head.startswith("#lines"), _read_lines)


@pytest.fixture
def session(store: SessionStore) -> Session:
    session, asked = store.begin("Why?")
    store.add(session.id, Role.ASSISTANT, "Because.", parent_id=asked.id)
    return session


def test_a_new_export_format_is_offered_everywhere(
    store: SessionStore, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, LINES))
    assert export_format("TXT", None, formats.MARKDOWN) is LINES
    assert export_format("", Path("a.TXT"), formats.MARKDOWN) is LINES
    path = write_session(store, session.id, str(tmp_path / "chat.txt"))  # both chats, by /export
    assert path.read_text() == "user: Why?\nassistant: Because.\n"
    with pytest.raises(UsageError, match="md, json, html, openai or txt, not `pdf`"):
        export_format("pdf", None, formats.MARKDOWN)


def test_a_suffix_of_no_format_is_refused_in_a_chat(
    store: SessionStore, session: Session, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"no format writes \.pdf files"):
        write_session(store, session.id, str(tmp_path / "a.pdf"))
    assert not list(tmp_path.glob("a.pdf"))
    assert write_session(store, session.id, str(tmp_path / "a")).read_text().startswith("#")


def test_the_command_line_exports_by_name_and_by_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, LINES))
    with SessionStore(user_paths().sessions_db) as store:
        session, _ = store.begin("Why\x1b?")
    shell = Shell({"TCHAT_HOME": str(user_paths().sessions_db.parent)})
    shown = shell("sessions", "export", session.id, "--format", "txt")
    assert (shown.code, shown.out) == (0, "user: Why\u241b?\n")
    shell("sessions", "export", session.id, "-o", str(tmp_path / "chat.txt"))
    assert (tmp_path / "chat.txt").read_text() == "user: Why\x1b?\n"


def read(text: str) -> Iterator[tuple[Session, Messages]]:
    source = ImportFile("a.txt", io.BytesIO(text.encode()))
    return read_file(source, ImportReport())


def test_a_new_importer_reads_what_it_knows(
    store: SessionStore, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "IMPORTERS", (READ_LINES, *IMPORTERS))
    (imported,) = store.import_sessions(read("#lines\nuser: Why?\nassistant: Because.\n"))
    assert [each.text for each in store.branch(imported.session.id)] == ["Why?", "Because."]
    tree = store.tree(session.id)
    other = to_json([replace(tree, session=replace(tree.session, title="JSON"))])
    found = [(session.title, len(list(messages))) for session, messages in read(other)]
    assert found == [("JSON", 2)]


def test_what_no_importer_knows_is_refused() -> None:
    for text in ("lines\n", "", "{", '{"a": 1}', "[1]"):
        with pytest.raises(UsageError, match=r"a\.txt: it holds no chats") as caught:
            list(read(text))
        assert "ChatGPT, Claude" in caught.value.hint
    with pytest.raises(UsageError, match="not an export of tchat"):
        list(read(json.dumps({"format": "other"})))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Why is the sky blue?", "why-is-the-sky-blue"),
        ("../../etc/passwd \x1b[2J", "etc-passwd-2j"),
        ("天空为什么是蓝的?", "天空为什么是蓝的"),
        ("word " * 30, "word-word-word-word-word-word-word-word"),
        ("?!", "tchat"),
        ("", "tchat"),
    ],
)
def test_the_usual_name_of_an_export_is_made_of_its_title(title: str, name: str) -> None:
    assert export_path("01hzq0abcd", title) == Path(f"{name}-q0abcd.md")


def test_the_usual_name_of_an_export_finds_its_session() -> None:
    with SessionStore.in_memory() as store:
        session = new_session(store, title="one")
        name = export_path(session.id, session.title).stem
        assert store.get(name.rpartition("-")[2]).id == session.id
