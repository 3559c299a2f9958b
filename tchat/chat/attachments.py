"""Attach text files to a prompt, each in a fence of its own, and complete their names.

The screen imports this before its first picture, so it imports little.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tchat.errors import StorageError, UsageError
from tchat.paths import expanded, is_file, is_folder
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.decoding import Decoded

# No context window holds more; what is larger was given by mistake.
MAX_SIZE = 64 * 2**20
_FENCE = 3
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
# A file as `Attachment` writes it, up to the fence of its end and the empty line behind that.
_FILE = re.compile(
    r"File (?P<name>[^\n]+):\n(?P<fence>`{3,})\n.*?\n(?P=fence)(?:\n\n|\Z)", re.DOTALL
)


class Attachment(NamedTuple):
    """The text of a file, and the name that the user gave. Both are raw.

    ``assumed`` tells what encoding was assumed, as `tchat.decoding.Decoded`.
    """

    name: str
    text: str
    assumed: str = ""

    def __str__(self) -> str:
        """Format for a prompt: the file name, then the text in a fence longer than any in it."""
        text = self.text.strip("\n")
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(_FENCE, longest + 1)
        return f"File {single_line(self.name)}:\n{fence}\n{text}\n{fence}"


def read_attachment(name: str, *, encoding: str = "auto") -> Attachment:
    """Read the file ``name``.

    Raises:
        UsageError: It is missing, no file, no text, or too large.
        StorageError: It cannot be read.
    """
    return Attachment(name, *read_file(expanded(name), encoding))


def with_attachments(prompt: str, attachments: Iterable[Attachment]) -> str:
    """Prepend the files to ``prompt``, with an empty line between the parts.

    The document comes before the question: a second question about the same document then finds
    its beginning in the KV cache.
    """
    return join_parts([*map(str, attachments), prompt])


def split_attachments(prompt: str) -> tuple[list[str], str]:
    """Split a prompt of `with_attachments` into its file names and the rest."""
    names: list[str] = []
    at = 0
    while match := _FILE.match(prompt, at):
        names.append(match["name"])
        at = match.end()
    return names, prompt[at:]


def attachment_sizes(prompt: str) -> list[tuple[int, str]]:
    """The bytes of each file at the beginning of a prompt, with its name."""
    sizes: list[tuple[int, str]] = []
    at = 0
    while match := _FILE.match(prompt, at):
        sizes.append((len(match[0].encode()), match["name"]))
        at = match.end()
    return sizes


def join_parts(parts: Iterable[str]) -> str:
    """Join the parts that are not blank, with an empty line between them."""
    return "\n\n".join(part for part in parts if part.strip())


def expand_patterns(patterns: Sequence[str]) -> Iterator[Path]:
    """Yield the files that paths and glob patterns (also ``**``) match, each once, in order.

    Raises:
        UsageError: A pattern names no file.
    """
    seen: set[Path] = set()
    for pattern in patterns:
        plain = expanded(pattern)
        # Unlike Path's, it never raises: a name can be longer than any file system allows.
        found = [plain] if os.path.exists(plain) else _matches(str(plain))  # noqa: PTH110
        if not found:
            raise _missing(pattern)
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def read_file(path: Path, encoding: str = "auto") -> Decoded:
    """Read and decode a text file.

    Raises:
        UsageError: It is missing, a folder, a device or no text, too large or in another encoding.
        StorageError: It cannot be read.
    """
    from tchat.decoding import decode

    name = single_line(str(path))
    try:
        check_file(path)
        if path.stat().st_size > MAX_SIZE:
            raise too_large_error(name)
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error

    return decode(data, name, encoding)


def check_file(path: Path) -> None:
    """Require a regular file.

    Raises:
        UsageError: It is missing, a folder, a device or a pipe.
        StorageError: It cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a NUL in the name
        raise _missing(str(path)) from error
    except OSError as error:
        raise (
            _missing(str(path)) if error.errno in _MISSING else _unreadable(path, error)
        ) from error
    if stat.S_ISREG(mode):
        return
    what = tr("a folder") if stat.S_ISDIR(mode) else tr("not a file but {kind}", kind=_kind(mode))
    raise UsageError(
        tr("{path} is {what}", path=single_line(str(path)), what=what),
        tr("name files, or a pattern such as 'docs/*.md'"),
    )


def too_large_error(name: str) -> UsageError:
    """The error for an input larger than `MAX_SIZE`."""
    return UsageError(
        tr(
            "{name} is larger than {max_size} MB, more than any context window holds",
            name=name,
            max_size=MAX_SIZE // 2**20,
        ),
        tr("give a part of it"),
    )


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return tr("a pipe")
    return tr("a socket") if stat.S_ISSOCK(mode) else tr("a device")


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        tr("cannot read {path}: {reason}", path=single_line(str(path)), reason=error.strerror),
        tr("check its permissions"),
    )


def _missing(name: str) -> UsageError:
    return UsageError(
        tr("there is no file `{name}`", name=single_line(name)), tr("check its name and its folder")
    )


def _matches(pattern: str) -> list[Path]:
    import glob

    # Path.glob refuses absolute patterns.
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    return [path for path in map(Path, names) if path.is_file()]


# A walk from the home folder must end; a project of this size is still listed whole.
MAX_PATHS = 4000
_BEHIND = ",;:!?.)]}'\""  # what a sentence puts behind a name
# Full of files that nobody wrote by hand.
GENERATED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "target", "site-packages"})


def complete_paths(word: str) -> list[str]:
    """Files and folders below the folder that ``word`` begins with, nearest first.

    ``src/te`` lists everything below ``src``, at most `MAX_PATHS` names; hidden names are listed
    if the part after the last slash begins with a dot. Names are spelled as the word is, folders
    end in a slash. A folder that cannot be read is empty.

    Reads the disk; not for the user interface's thread.
    """
    head, slash, rest = word.rpartition("/")
    spelled = head + slash
    root = expanded(spelled)
    hidden = rest.startswith(".")
    names = []
    for name in _walk(root, hidden):
        names.append(spelled + name)
        if len(names) == MAX_PATHS:
            break
    return names


def existing_files(words: Iterable[str]) -> list[str]:
    """The words that name existing files, without trailing punctuation.

    Reads the disk; not for the user interface's thread.
    """
    names = (next(filter(is_file, (word, word.rstrip(_BEHIND))), "") for word in words)
    return [name for name in names if name]


# What `@` names: a word behind white space or a bracket, not an address, nor a quoted word.
_MENTION = re.compile(r"(?<![^\s(\[{])@([^\s@]+)")
_PATH_STARTS = ("/", "./", "../", "~/")
# Suffixes of files that are often attached. `@app.route` or `@name.social` have none of them.
_SUFFIX = re.compile(
    r"\.(?:adoc|bash|c|cc|cfg|conf|cpp|cs|css|csv|cu|cxx|diff|env|go|gql|gradle|h|hpp|htm"
    r"|html|ini|ipynb|java|jl|js|json|jsonl|jsx|kt|less|lock|log|lua|m4|md|mdx|mjs|mk"
    r"|org|patch|php|pl|proto|ps1|py|pyi|r|rb|rs|rst|sass|scala|scss|sh|sql|srt|svg"
    r"|svelte|swift|tex|toml|ts|tsv|tsx|txt|vue|xml|yaml|yml|zig|zsh)$",
    re.IGNORECASE,
)


def mentioned_files(text: str, attached: Iterable[str] = ()) -> list[str]:
    """The existing files that ``text`` mentions as ``@NAME``, each once.

    Reads the disk; not for the user interface's thread.

    Raises:
        UsageError: One that looks like a path is not there, and not among ``attached``.
    """
    names, text = split_attachments(text)
    known = {*names, *attached}
    found: dict[str, None] = {}
    for word in _MENTION.findall(text):
        bare = word.rstrip(_BEHIND)
        if known & {word, bare}:
            continue
        if files := existing_files([word]):
            found[files[0]] = None
        elif _looks_like_path(bare) and not os.path.exists(expanded(bare)):  # noqa: PTH110
            raise UsageError(
                tr("there is no file `{bare}`", bare=single_line(bare)),
                tr(
                    "check its name and its folder, or send '@{bare}' in quotes as text",
                    bare=single_line(bare),
                ),
            )
    return list(found)


def _looks_like_path(word: str) -> bool:
    head, slash, name = word.rpartition("/")
    return (
        word.startswith(_PATH_STARTS)
        or bool(_SUFFIX.search(word))
        or bool(slash and name and head and os.path.isdir(expanded(head)))  # noqa: PTH112
    )


def _walk(root: Path, hidden: bool) -> Iterator[str]:
    """Names below ``root``, breadth first; links to folders and hidden folders are not entered."""
    waiting = deque([""])
    while waiting:
        below = waiting.popleft()
        for entry in _entries(root / below):
            if entry.name.startswith(".") and not hidden:
                continue
            name = below + entry.name
            if not is_folder(entry):
                yield name
                continue
            yield f"{name}/"
            if not (
                entry.name.startswith(".") or entry.name in GENERATED_FOLDERS or entry.is_symlink()
            ):
                waiting.append(f"{name}/")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name.casefold())
    except (OSError, ValueError):  # a NUL in the name
        return []
