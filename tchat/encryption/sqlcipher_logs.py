"""Journals of SQLCipher files: a copy of a damaged database has them beside it.

A write-ahead log is a header and frames, each a header and a page with a checksum over all before
it. A rollback journal is sectors with a header, each before its records: a number, a page and a
checksum.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tchat.encryption.sqlcipher_pages import PAGE, PageCipher
from tchat.encryption.stored_paths import reading

_WAL = b"\x37\x7f\x06"  # and 82 or 83, by the order of bytes of the checksums
_WAL_HEADER, _FRAME_HEADER = 32, 24
_JOURNAL = bytes.fromhex("d9d505f920a163d7")
_TO_THE_END = 0xFFFFFFFF  # records
_WORD = 4  # bytes of a number
_CHECKED_EACH = 200  # bytes: of so many the checksum of a record counts one


def any_authentic(cipher: PageCipher, path: Path) -> bool:
    """Whether the file is a journal with a page of this key."""
    with reading(path):
        data = path.read_bytes()
        return any(
            cipher.is_authentic(number, data[start : start + PAGE])
            for number, start in _pages(data)
        )


def decrypted_log(cipher: PageCipher, path: Path) -> Iterator[bytes]:
    """The journal in clear, as SQLite reads it; of a page that fails its check nothing is kept."""
    with reading(path):
        data = bytearray(path.read_bytes())
    for number, start in _pages(data):
        page = bytes(data[start : start + PAGE])
        is_sound = cipher.is_authentic(number, page)
        data[start : start + PAGE] = cipher.decrypt(number, page) if is_sound else bytes(PAGE)
    (_sum_frames if data.startswith(_WAL) else _sum_records)(data)
    yield bytes(data)


def _pages(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """The number of each whole page, and where it begins."""
    if data.startswith(_WAL):
        for start in range(_WAL_HEADER, len(data) - _FRAME_HEADER - PAGE + 1, _FRAME_HEADER + PAGE):
            yield _number(data, start), start + _FRAME_HEADER
    else:
        yield from ((number, start) for number, start, _ in _records(data))


def _records(data: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """The number of each page in a rollback journal, where it begins, and its header's nonce."""
    start = 0
    while data[start : start + len(_JOURNAL)] == _JOURNAL:
        count, nonce, _, sector = (
            _number(data, start + len(_JOURNAL) + _WORD * index) for index in range(4)
        )
        if not sector:
            return
        start += sector
        # A count that was not written yet: the records reach to the end.
        left = count if 0 < count < _TO_THE_END else len(data)
        while left and start + 2 * _WORD + PAGE <= len(data):
            yield _number(data, start), start + _WORD, nonce
            start += 2 * _WORD + PAGE
            left -= 1
        start += -start % sector


def _sum_frames(data: bytearray) -> None:
    order = "big" if data[3] & 1 else "little"
    sums = (_number(data, 24), _number(data, 28))
    for _, start in _pages(data):
        header = start - _FRAME_HEADER
        for part in (data[header : header + 2 * _WORD], data[start : start + PAGE]):
            sums = _wal_sums(part, sums, order == "big")
        data[start - 2 * _WORD : start] = b"".join(each.to_bytes(_WORD, "big") for each in sums)


def _wal_sums(data: bytes | bytearray, sums: tuple[int, int], is_big: bool) -> tuple[int, int]:
    import struct

    first, second = sums
    words = struct.unpack(f"{'>' if is_big else '<'}{len(data) // _WORD}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = first + even + second & 0xFFFFFFFF
        second = second + odd + first & 0xFFFFFFFF
    return first, second


def _sum_records(data: bytearray) -> None:
    for _, start, nonce in list(_records(data)):
        places = range(start + PAGE - _CHECKED_EACH, start, -_CHECKED_EACH)
        total = nonce + sum(data[place] for place in places) & 0xFFFFFFFF
        data[start + PAGE : start + PAGE + _WORD] = total.to_bytes(_WORD, "big")


def _number(data: bytes | bytearray, start: int) -> int:
    return int.from_bytes(data[start : start + _WORD], "big")
