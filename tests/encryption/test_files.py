"""Encrypted files and lines: what is written is read, and nothing else is."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.encryption.file_cipher import (
    BLOCK,
    HEADER_SIZE,
    SEGMENT,
    DamagedFile,
    FileCipher,
    encrypted_size,
)
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.stored_file import StoredFile
from tchat.errors import StorageError, StoreLocked
from tchat.log_file import LogFile
from tchat.paths import user_paths
from tests.encryption.locks import make_lock

SIZES = (0, 1, 1023, 1024, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 7)


@pytest.fixture
def cipher() -> FileCipher:
    return FileCipher(os.urandom(32))


@pytest.fixture
def encryption() -> Encryption:
    return make_lock(user_paths())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1000, SEGMENT, 1 << 20])
def test_a_file_is_read_as_it_was_written(cipher: FileCipher, size: int, piece: int) -> None:
    data = os.urandom(size)
    pieces = [data[start : start + piece] for start in range(0, size, piece)]
    written = b"".join(cipher.encrypt(pieces, "a"))
    assert len(written) == encrypted_size(size)
    assert cipher.decrypt(written, "a") == data
    target = memoryview(bytearray(size))
    assert cipher.decrypt_into(io.BytesIO(written), "a", target) == size
    assert target == data


def test_zeros_and_padding_marks_at_the_end_are_kept(cipher: FileCipher) -> None:
    for data in (b"\0" * 10, b"\x80", b"\x80\0\0", b"a\0\x80"):
        assert cipher.decrypt(b"".join(cipher.encrypt(data, "a")), "a") == data


def test_the_same_text_is_never_the_same_file(cipher: FileCipher) -> None:
    first, second = (b"".join(cipher.encrypt(b"x" * 100, "a")) for _ in range(2))
    assert first[HEADER_SIZE:] != second[HEADER_SIZE:]


def test_a_changed_file_is_refused_and_the_segment_named(cipher: FileCipher) -> None:
    data = os.urandom(3 * SEGMENT)
    written = b"".join(cipher.encrypt(data, "a"))
    starts = [HEADER_SIZE + number * BLOCK for number in range(4)]
    blocks = [written[start : start + BLOCK] for start in starts]
    head = written[:HEADER_SIZE]
    flipped = bytearray(written)
    flipped[starts[1] + 5] ^= 1
    changed = {
        "flipped": (bytes(flipped), 2),
        "swapped": (head + blocks[1] + blocks[0] + blocks[2] + blocks[3], 1),
        "doubled": (head + blocks[0] + blocks[0] + blocks[1] + blocks[2] + blocks[3], 2),
        "left out": (head + blocks[0] + blocks[2] + blocks[3], 2),
        "cut off": (head + blocks[0] + blocks[1], 2),
        "cut off inside": (written[: starts[2] + 9], 3),
        "longer": (written + b"x", 4),
        "only a header": (head, 1),
        "half a header": (head[:-1], 0),
        "empty": (b"", 0),
    }
    for name, (text, segment) in changed.items():
        with pytest.raises(DamagedFile) as caught:
            cipher.decrypt(text, "a")
        assert caught.value.segment == segment, name
    with pytest.raises(DamagedFile):
        cipher.decrypt(written, "b")
    with pytest.raises(DamagedFile):
        FileCipher(os.urandom(32)).decrypt(written, "a")


def test_a_text_too_long_for_its_place_is_refused(cipher: FileCipher) -> None:
    written = io.BytesIO(b"".join(cipher.encrypt(bytes(SEGMENT + 1), "a")))
    with pytest.raises(DamagedFile):
        cipher.decrypt_into(written, "a", memoryview(bytearray(SEGMENT)))


def test_lines_tell_neither_their_text_nor_their_length(cipher: FileCipher) -> None:
    lines = [cipher.encrypt_line(text, "a") for text in (b"", b"short", b"x" * 60)]
    assert len({len(line) for line in lines}) == 1
    assert all(b"\n" not in line for line in lines)
    assert [cipher.decrypt_line(line, "a") for line in lines] == [b"", b"short", b"x" * 60]
    assert cipher.decrypt_line(lines[1], "b") is None
    assert cipher.decrypt_line(lines[1][:-4] + b"AAA=", "a") is None
    for line in (b"in clear", b"", b"tchat1:", b"tchat1:AAAA", "tchat1:ä".encode()):
        assert cipher.decrypt_line(line, "a") is None


def test_a_stored_file_is_in_clear_without_encryption(tmp_path: Path) -> None:
    stored = StoredFile(tmp_path / "folder" / "file", None, "a")
    stored.write([b"one ", b"text"])
    assert stored.path.read_bytes() == stored.read() == b"one text"
    lines = StoredFile(tmp_path / "lines", None, "a")
    for line in (b"one", b"two"):
        lines.append_line(line)
    assert lines.path.read_bytes() == b"one\ntwo\n"
    assert list(lines.lines()) == [b"one", b"two"]


def test_a_stored_file_holds_no_words_with_encryption(
    tmp_path: Path, encryption: Encryption
) -> None:
    stored = StoredFile(tmp_path / "file", encryption, "a")
    stored.write(b"secret words")
    lines = StoredFile(tmp_path / "lines", encryption, "a")
    for line in (b"secret one", b"secret two"):
        lines.append_line(line)
    for file in (stored, lines):
        assert b"secret" not in file.path.read_bytes()
        assert file.path.stat().st_mode & 0o077 == 0
    assert stored.read() == b"secret words"
    assert list(lines.lines()) == [b"secret one", b"secret two"]


def test_a_damaged_line_is_one_line_lost(tmp_path: Path, encryption: Encryption) -> None:
    lines = StoredFile(tmp_path / "lines", encryption, "a")
    for line in (b"one", b"two", b"three"):
        lines.append_line(line)
    data = bytearray(lines.path.read_bytes())
    data[len(data) // 2] ^= 1
    lines.path.write_bytes(data)
    assert list(lines.lines()) == [b"one", b"three"]


def test_what_others_put_there_in_clear_is_not_read(tmp_path: Path, encryption: Encryption) -> None:
    (tmp_path / "file").write_bytes(b"planted")
    with pytest.raises(StorageError, match="not encrypted"):
        StoredFile(tmp_path / "file", encryption, "a").read()
    assert list(StoredFile(tmp_path / "file", encryption, "a").lines()) == []


@pytest.mark.parametrize("state", [EncryptionState.TURNING_ON, EncryptionState.TURNING_OFF])
def test_nothing_is_read_or_written_while_the_store_is_converted(
    tmp_path: Path, state: EncryptionState
) -> None:
    encryption = make_lock(user_paths(), state=state)
    (tmp_path / "file").write_bytes(b"old")
    stored = StoredFile(tmp_path / "file", encryption, "a")
    for use in (stored.read, lambda: list(stored.lines()), lambda: stored.write(b"new")):
        with pytest.raises(StoreLocked, match="to finish it"):
            use()
    with pytest.raises(StoreLocked, match="to finish it"):
        stored.append_line(b"new")
    assert stored.path.read_bytes() == b"old"


def test_an_encrypted_file_without_a_lock_file_is_named(
    tmp_path: Path, encryption: Encryption
) -> None:
    stored = StoredFile(tmp_path / "file", encryption, "a")
    stored.write(b"words")
    with pytest.raises(StorageError, match="lock file that opens it is missing"):
        StoredFile(stored.path, None, "a").read()
    lines = StoredFile(tmp_path / "lines", encryption, "a")
    lines.append_line(b"words")
    with pytest.raises(StorageError, match="lock file that opens it is missing"):
        list(StoredFile(lines.path, None, "a").lines())


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.write(b"in clear"),
        lambda stored: stored.append_line(b"in clear"),
        lambda stored: stored.write_lines([b"in clear"]),
    ],
)
@pytest.mark.parametrize("has_lines", [True, False])
def test_nothing_is_written_in_clear_to_an_encrypted_file(
    tmp_path: Path,
    encryption: Encryption,
    change: Callable[[StoredFile], None],
    has_lines: bool,
) -> None:
    stored = StoredFile(tmp_path / "file", encryption, "a")
    (stored.append_line if has_lines else stored.write)(b"words")
    before = stored.path.read_bytes()
    with pytest.raises(StorageError, match="lock file that opens it is missing"):
        change(StoredFile(stored.path, None, "a"))
    assert stored.path.read_bytes() == before


def test_the_log_of_an_encrypted_store_is_left_as_it_is_without_its_lock_file(
    tmp_path: Path, encryption: Encryption, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    assert LogFile(path, encryption).append("words\n")
    before = path.read_bytes()
    monkeypatch.setattr("tchat.log_file.LIMIT", 10)
    without = LogFile(path)
    assert not without.append("in clear\n")
    without.truncate()
    with pytest.raises(StorageError, match="lock file that opens it is missing"):
        list(without.pieces())
    assert path.read_bytes() == before
