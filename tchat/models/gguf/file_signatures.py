"""What a file that is no GGUF looks like, by its first bytes."""

from __future__ import annotations

import codecs

MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"lmgg", "an old GGML file, from before GGUF"),
    (b"fmgg", "an old GGML file (GGMF), from before GGUF"),
    (b"tjgg", "an old GGML file (GGJT), from before GGUF"),
    (b"algg", "an old GGLA adapter, from before GGUF"),
    (b"PK\x03\x04", "a zip archive, as PyTorch checkpoints are"),
    (b"\x80\x02", "a pickle, as old PyTorch checkpoints are"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3", "an SQLite database"),
)


TEXTS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "a web page, as failed downloads are"),
    (b"<html", "a web page, as failed downloads are"),
    (b"<?xml", "XML, as answers of a failed download are"),
    (b"<error", "XML, as answers of a failed download are"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
)


def identify_format(start: bytes) -> str:
    """A few words on what a file is that starts with these (up to 512) bytes."""
    if not start:
        return "empty"
    if not start.strip(b"\0"):
        return "filled with zeros, as downloads that were cut are"
    return _by_magic(start) or _by_text(start) or "something else"


def _by_magic(start: bytes) -> str:
    if start[257:262] == b"ustar":
        return "a tar archive"
    if start[8:9] == b"{" and not start[4:8].strip(b"\0"):  # a length, then JSON
        return "a safetensors file"
    return next((words for magic, words in MAGICS if start.startswith(magic)), "")


def _by_text(start: bytes) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return ""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known = next((words for begin, words in TEXTS if text.startswith(begin)), "")
    return known or ("" if b"\0" in start else "text")
