"""Input of a prompt: files, standard input and words."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tchat.chat.attachments import (
    MAX_SIZE,
    Attachment,
    expand_patterns,
    join_parts,
    read_file,
    too_large_error,
)
from tchat.cli.console import Console
from tchat.decoding import AUTO, Decoded, decode


def read_prompt(
    console: Console, words: Sequence[str], files: Sequence[str], encoding: str = AUTO
) -> str:
    """Read a prompt: files (also patterns), standard input and words, separated by blank lines.

    The document precedes the question, so that a second question reuses its KV cache. A terminal
    is not read.

    Raises:
        UsageError: A file is missing or is not text, or there is too much.
        StorageError: A file cannot be read.
    """
    parts = [
        str(Attachment(str(path), report_decoding(console, read_file(path, encoding))))
        for path in expand_patterns(files)
    ]
    if not console.stdin_is_terminal:
        parts.append(read_text(console, encoding).strip("\n"))
    return join_parts([*parts, report_decoding(console, _decoded_words(words))])


def decode_words(words: Sequence[str]) -> str:
    """The words as text; decodes bytes that Python could not."""
    return _decoded_words(words).text


def _decoded_words(words: Sequence[str]) -> Decoded:
    text = " ".join(words)
    try:
        text.encode()
    except UnicodeEncodeError:
        return decode(os.fsencode(text), "the prompt")
    return Decoded(text, "")


def read_text(console: Console, encoding: str = AUTO) -> str:
    """Read standard input as text; reports an assumed encoding.

    Raises:
        UsageError: It is no text, too large, or in another encoding.
    """
    return report_decoding(console, decode(read_all(console), "standard input", encoding))


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
    data = console.stdin.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise too_large_error("standard input")
    return data
