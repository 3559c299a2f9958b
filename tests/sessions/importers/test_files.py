"""Archives, damaged files and traps: refused in one line, or bounded, and nothing is stored."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.sessions.importers import ImportReport
from tchat.sessions.importers import fields as import_fields
from tchat.sessions.importers.files import ImportFile, read_file
from tests.sessions.importers.imports import Imports, archive, document, lines

CHAT = {"messages": [{"role": "user", "content": "Hi."}]}


def refused(imports: Imports, content: bytes, reason: str) -> UsageError:
    with pytest.raises(UsageError, match=reason) as caught:
        imports(content)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("export: ")
    assert imports.store.sessions() == []
    return caught.value


def test_the_name_of_a_file_says_nothing(imports: Imports, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(archive({"a.json": document(CHAT)}))
    assert imports.branch(imports.one(path)) == ["user: Hi."]


def test_files_of_an_archive_that_hold_no_chats_are_counted(imports: Imports) -> None:
    files = {"a.json": document(CHAT), "b.json": b"{}", "c.md": b"# Hi\n", "d.png": b"x"}
    imports(archive(files))
    assert imports.said() == "left out: 2 files of the archive that hold no chats"
    (again,) = imports(document(CHAT))
    assert again.added == 0


def test_an_archive_without_chats_is_refused(imports: Imports) -> None:
    assert "ChatGPT" in refused(imports, archive({"a.json": b"{}"}), "archive holds no chats").hint
    refused(imports, archive({}), "archive holds no chats")


def test_a_bomb_is_refused(imports: Imports) -> None:
    text = b'[{"messages": [{"role": "user", "content": "' + b" " * (80 << 20) + b'"}]}]'
    packed = archive({"conversations.json": text})
    assert len(packed) < 100_000
    refused(imports, packed, "unpacks to far more than its size makes credible")


def test_many_bombs_are_one(imports: Imports) -> None:
    text = b'{"messages": [{"role": "user", "content": "' + b" " * (10 << 20) + b'"}]}'
    packed = archive({f"{number}.json": text for number in range(9)})
    refused(imports, packed, "unpacks to far more")


def test_an_index_that_would_fill_the_memory_is_refused(imports: Imports) -> None:
    packed = bytearray(archive({"a.json": document(CHAT)}))
    struct.pack_into("<I", packed, packed.rfind(b"PK\x05\x06") + 12, 1 << 30)
    refused(imports, bytes(packed), "too many files")


def test_a_damaged_archive_is_refused(imports: Imports) -> None:
    packed = bytearray(archive({"conversations.json": document([CHAT] * 500)}))
    refused(imports, bytes(packed[:-30]), "archive is damaged")
    packed[60:80] = b"\0" * 20
    refused(imports, bytes(packed), "archive is damaged|too large|no chats")


def test_an_encrypted_archive_is_refused(imports: Imports) -> None:
    packed = bytearray(archive({"conversations.json": document([CHAT])}))
    packed[6] |= 1
    packed[packed.find(b"PK\x01\x02") + 8] |= 1
    refused(imports, bytes(packed), "archive cannot be read")


@pytest.mark.parametrize(
    "content",
    [
        b'[{"mapping": {"a": ' + b"[" * 100_000,
        b'[{"mapping": {"a": {}}}, ',
        b'[{"mapping": {"a": {}}}] more',
        b'{"messages": [{"role": "user", "content": "x"',
        b'[{"mapping": {"a": {"message": NaN}}}]',
        b'{"messages": [' + b"1" * 5000 + b"]}",
    ],
)
def test_text_that_is_cut_or_nested_too_deep_is_refused(imports: Imports, content: bytes) -> None:
    refused(imports, content, "damaged or too large")


def test_one_chat_is_bounded(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_fields, "LARGEST", 100_000)
    long = {"messages": [{"role": "user", "content": "x" * 400_000}]}
    refused(imports, document([CHAT, long]), "longer than 100,000 characters")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_encodings_with_a_mark(imports: Imports, encoding: str) -> None:
    text = json.dumps([{"role": "user", "content": "Grüße, 世界"}], ensure_ascii=False)
    assert imports.branch(imports.one(text.encode(encoding))) == ["user: Grüße, 世界"]


def test_halves_of_characters_and_control_characters_are_stored(imports: Imports) -> None:
    content = document([{"role": "user", "content": "\ud83d \x00 \x1b[31m"}])
    session = imports.one(content)
    assert imports.branch(session) == ["user: \ufffd \x00 \x1b[31m"]
    assert imports(content)[0].added == 0


def test_chats_come_before_the_rest_is_read() -> None:
    file = io.BytesIO(document([CHAT] * 100_000))
    found = read_file(ImportFile("x", file), ImportReport())
    _, messages = next(found)
    assert [message.text for message, _ in messages] == ["Hi."]
    assert file.tell() < 200_000


def test_files_of_an_archive_are_read_in_the_order_of_their_names(imports: Imports) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name in ("b", "a"):
            chat = [{"role": "user", "content": name}]
            packed.writestr(f"{name}.jsonl", document({"title": name, "messages": chat}))
    assert [each.session.title for each in imports(file.getvalue())] == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        lines(
            {"id": "x", "type": "session", "currNode": ""},
            *[{"type": "message", "message": {"id": "a", "content": "x" * 90}}] * 400,
        ),
        lines({"chat_metadata": {}}, *[{"mes": "x" * 90}] * 400),
        lines(*[{"role": "user", "content": "x" * 90}] * 400),
    ],
)
def test_a_chat_that_comes_in_lines_is_bounded(
    imports: Imports, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    imports(content)
    imports.store.delete(imports.store.sessions()[0].id)
    monkeypatch.setattr(import_fields, "LARGEST", 100_000)
    refused(imports, content, "a chat is longer than 100,000 characters")
