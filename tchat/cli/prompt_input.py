"""Input of a prompt: files, standard input and words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tchat.cli.console import Console

if TYPE_CHECKING:
    from tchat.decoding import Decoded


def read_prompt(
    console: Console, words: Sequence[str], files: Sequence[str], encoding: str = "auto"
) -> str:
    """Read a prompt: files (also patterns), standard input and words, separated by blank lines.

    The document precedes the question, so that a second question reuses its KV cache. A terminal
    is not read.

    Raises:
        UsageError: A file is missing or is not text, or there is too much.
        StorageError: A file cannot be read.
    """
    parts = _read_files(console, files, encoding) if files else []
    if not console.stdin_is_terminal:
        parts.append(read_text(console, encoding).strip("\n"))
    parts.append(decode_words(words, console))
    return "\n\n".join(filter(str.strip, parts))


def _read_files(console: Console, files: Sequence[str], encoding: str) -> list[str]:
    from tchat.chat.attachments import Attachment, expand_patterns, read_file

    return [
        str(Attachment(str(path), report_decoding(console, read_file(path, encoding))))
        for path in expand_patterns(files)
    ]


def decode_words(words: Sequence[str], console: Console | None = None) -> str:
    """The words as text; decodes bytes that Python could not, which ``console`` is told."""
    text = " ".join(words)
    try:
        text.encode()
    except UnicodeEncodeError:
        from tchat.decoding import decode

        decoded = decode(os.fsencode(text), "the prompt")
        return report_decoding(console, decoded) if console is not None else decoded.text
    return text


def read_text(console: Console, encoding: str = "auto") -> str:
    """Read standard input as text; reports an assumed encoding.

    Raises:
        UsageError: It is no text, too large, or in another encoding.
    """
    data = read_all(console)
    if not data:
        return ""
    from tchat.decoding import decode

    return report_decoding(console, decode(data, "standard input", encoding))


def report_decoding(console: Console, decoded: Decoded) -> str:
    """The decoded text; prints a notice if its encoding was assumed."""
    if decoded.assumed:
        console.notice(decoded.assumed)
    return decoded.text


def read_all(console: Console) -> bytes:
    """Read standard input as bytes; empty if it is closed.

    Raises:
        UsageError: It is larger than any context window.
    """
    if console.stdin is None:
        return b""
    from tchat.chat.attachments import MAX_SIZE, too_large_error

    data = console.stdin.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise too_large_error("standard input")
    return data
