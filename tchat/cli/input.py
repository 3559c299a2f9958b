"""What a prompt is made of: files, then standard input, then the words typed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tchat.cli.console import Console
from tchat.errors import StorageError, UsageError
from tchat.paths import expanded
from tchat.sanitize import decode_input, single_line

# No context window holds more; what is larger was piped in by mistake.
LARGEST = 64 * 2**20


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
    parts = [introduced(path) for path in expand(files)]
    if not console.stdin_is_terminal:
        parts.append(decode_input(read_all(console), "standard input").strip("\n"))
    parts.append(typed(words))
    return "\n\n".join(part for part in parts if part.strip())


def typed(words: Sequence[str]) -> str:
    """The words of the command line as text; bytes that Python could not decode are read anew."""
    text = " ".join(words)
    try:
        text.encode()
    except UnicodeEncodeError:
        return decode_input(os.fsencode(text), "the prompt")
    return text


def expand(patterns: Sequence[str]) -> Iterator[Path]:
    """The files that paths and glob patterns (``**`` too) name, each once, in their order.

    Raises:
        UsageError: A pattern names no file.
    """
    seen: set[Path] = set()
    for pattern in patterns:
        plain = expanded(pattern)
        found = [plain] if plain.exists() else _matches(str(plain))
        if not found:
            raise _no_file(plain)
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def read_all(console: Console) -> bytes:
    """All of standard input; empty when there is none.

    Raises:
        UsageError: It is larger than any context window.
    """
    if console.stdin is None:
        return b""
    data = console.stdin.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _too_large("standard input")
    return data


def read_file(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: It is a folder, a device or no text, or too large.
        StorageError: It cannot be read.
    """
    name = single_line(str(path))
    try:
        if not path.is_file():
            raise _no_file(path)
        if path.stat().st_size > LARGEST:
            raise _too_large(name)
        return decode_input(path.read_bytes(), name)
    except OSError as error:
        raise StorageError(
            f"cannot read {name}: {error.strerror}", "check its permissions"
        ) from error


def _matches(pattern: str) -> list[Path]:
    # Path.glob refuses absolute patterns.
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    return [path for path in map(Path, names) if path.is_file()]


def introduced(path: Path) -> str:
    """The text of a file with its name in front, fenced.

    Raises:
        UsageError: It is no text file.
        StorageError: It cannot be read.
    """
    text = read_file(path).strip("\n")
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"File {single_line(str(path))}:\n{fence}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    """Length of the longest run of backticks, so that a fence around it can be longer."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest


def _no_file(path: Path) -> UsageError:
    name = single_line(str(path))
    return UsageError(
        f"{name} is not a file" if path.exists() else f"there is no file {name}",
        "name files, or a pattern such as 'docs/*.md'",
    )


def _too_large(name: str) -> UsageError:
    return UsageError(
        f"{name} is larger than {LARGEST // 2**20} MB, more than any context window holds",
        "give a part of it",
    )
