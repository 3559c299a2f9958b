"""What a prompt is made of: files, then standard input, then the words typed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tchat.chat.attachments import LARGEST, Attachment, expand, joined, read_file, too_large
from tchat.cli.console import Console
from tchat.sanitize import decode_input


def gather(console: Console, words: Sequence[str], files: Sequence[str]) -> str:
    """The whole text of a prompt, its parts with an empty line between them.

    The document comes before the question: a second question about the same document then finds
    its beginning in the KV cache.

    Args:
        console: Standard input is read when it is not a terminal.
        words: The prompt as the shell split it.
        files: Paths and glob patterns.

    Raises:
        UsageError: A file is missing or is not text, or there is too much.
        StorageError: A file cannot be read.
    """
    parts = [str(Attachment(str(path), read_file(path))) for path in expand(files)]
    if not console.stdin_is_terminal:
        parts.append(decode_input(read_all(console), "standard input").strip("\n"))
    return joined([*parts, typed(words)])


def typed(words: Sequence[str]) -> str:
    """The words of the command line as text; bytes that Python could not decode are read anew."""
    text = " ".join(words)
    try:
        text.encode()
    except UnicodeEncodeError:
        return decode_input(os.fsencode(text), "the prompt")
    return text


def read_all(console: Console) -> bytes:
    """All of standard input; empty when there is none.

    Raises:
        UsageError: It is larger than any context window.
    """
    if console.stdin is None:
        return b""
    data = console.stdin.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise too_large("standard input")
    return data
