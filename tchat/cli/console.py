"""The console of a command: streams, environment, folders; its input, and errors as one line."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from tchat.errors import (
    Abandoned,
    ExitCode,
    Interrupted,
    StorageError,
    TchatError,
    UsageError,
    with_hint,
)
from tchat.paths import Paths, user_paths
from tchat.sanitize import single_line
from tchat.translation import english, tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.decoding import Decoded

    OpenChat = Callable[..., Chat]

LONGEST_LINE = 2000
STDIN = "-"  # what stands for standard input among words and files


@dataclass(frozen=True, slots=True)
class Console:
    """Streams, environment and folders of one call; tests make their own.

    ``stdin`` is binary, because its encoding is detected; `None` if it is closed. ``open_chat``
    replaces `Chat` in tests. ``quiet`` suppresses notices, not errors. ``accessible`` is for screen
    readers: no decoration, nothing is redrawn, progress in sentences. ``unlock_fd`` is a descriptor
    that gives the passphrase of an encrypted store.
    """

    stdin: BinaryIO | None
    stdout: TextIO
    stderr: TextIO
    environ: Mapping[str, str]
    open_chat: OpenChat | None = None
    quiet: bool = False
    accessible: bool = False
    unlock_fd: int | None = None

    @property
    def paths(self) -> Paths:
        """The user's folders and files."""
        return user_paths(self.environ)

    @property
    def stdin_is_terminal(self) -> bool:
        """Whether standard input is a terminal."""
        return self.stdin is not None and self.stdin.isatty()

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return self.stdout.isatty()

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether standard error is a terminal."""
        return self.stderr.isatty()

    def out(self, text: str = "") -> None:
        """Write sanitized ``text`` and a newline to standard output; see `told`."""
        self.stdout.write(self.told(text) + "\n")

    def told(self, text: str) -> str:
        """``text`` for standard output: in English unless a terminal shows it, for scripts."""
        return text if self.stdout_is_terminal else english(text)

    def say(self, text: str) -> None:
        """Write one line to standard error: an error, or requested information."""
        # A message that cannot be shown must not hide the exit code.
        with contextlib.suppress(OSError, ValueError):
            self.stderr.write(self.in_lines(f"tchat: {single_line(text, LONGEST_LINE)}") + "\n")
            self.stderr.flush()

    def tell(self, text: str) -> None:
        """Write one line to standard error that belongs to the reply, such as a step of it."""
        with contextlib.suppress(OSError, ValueError):
            self.stderr.write(self.in_lines(single_line(text, LONGEST_LINE)) + "\n")
            self.stderr.flush()

    def in_lines(self, text: str) -> str:
        """A line for standard error, broken at words on a terminal."""
        if not self.stderr_is_terminal:
            return text
        from shutil import get_terminal_size

        from tchat.cli.cells import wrap_cells

        return "\n".join(wrap_cells(text, get_terminal_size().columns))

    def notice(self, text: str) -> None:
        """Write one line to standard error about something that affects the result.

        ``quiet`` suppresses it; a pipe does not.
        """
        if not self.quiet:
            self.say(text)

    def flush(self) -> None:
        """Flush standard output now, while a failure can still be reported."""
        self.stdout.flush()


def process_console() -> Console:
    """The console of this process.

    Characters that the encoding of the terminal lacks are printed as ``?``.
    """
    _occupy_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    return Console(
        stdin=None if sys.stdin is None else sys.stdin.buffer,
        stdout=sys.stdout if sys.stdout is not None else _ClosedOutput(),
        stderr=sys.stderr if sys.stderr is not None else _discard(),
        environ=os.environ,
    )


def _occupy_standard_descriptors() -> None:
    """Open descriptors 0 to 2 if closed, so that no database file gets one of them."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


class _ClosedOutput(io.StringIO):
    """Standard output that was closed before the start."""

    def write(self, text: str, /) -> int:  # noqa: ARG002
        """Refuse ``text``."""
        raise StorageError(
            tr("standard output is closed, so the output is lost"),
            tr("redirect it to a file or to /dev/null"),
        )


def _discard() -> TextIO:
    """A null stream for standard error that was closed before the start."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - lives as long as we do


def with_output_settings(console: Console) -> Console:
    """``console`` as the settings for all output say; uses the language that they name."""
    from tchat.settings import load
    from tchat.translation import use_setting

    try:
        settings = load(console.paths, console.environ).settings
    except TchatError:  # the command that needs them reports it
        return console
    use_setting(settings.lang)
    return replace(console, accessible=settings.accessible)


def confirm(console: Console, lines: Iterable[str], question: str) -> None:
    """Ask for confirmation of ``question``, below sanitized ``lines``.

    Raises:
        UsageError: There is no terminal, or the answer is no.
    """
    if not console.stdin_is_terminal:
        raise UsageError(tr("this needs a confirmation"), tr("add --yes"))
    if not ask_yes_no(console, lines, question):
        raise UsageError(tr("nothing was changed"))


def ask_yes_no(console: Console, lines: Iterable[str], question: str) -> bool | None:
    """Ask ``question`` on the terminal, below sanitized ``lines``; None at the end of the input.

    What was typed before the question is no answer to it, and dropped.
    """
    drop_typed_ahead(console)
    for line in lines:
        console.stderr.write(f"{console.in_lines(line)}\n")
    console.stderr.write(f"{console.in_lines(question)} [y/N] ")
    console.stderr.flush()
    answer = console.stdin.readline() if console.stdin else b""
    if not answer:
        console.stderr.write("\n")
        return None
    return answer.strip().lower() in (b"y", b"yes")


def drop_typed_ahead(console: Console) -> None:
    """Drop what was typed on the terminal and not read yet; without a terminal, nothing."""
    if not console.stdin_is_terminal:
        return
    try:
        import termios
    except ImportError:  # Windows
        return
    assert console.stdin is not None  # noqa: S101 - it is a terminal
    with contextlib.suppress(OSError, ValueError, termios.error):  # closed, or has no descriptor
        termios.tcflush(console.stdin.fileno(), termios.TCIFLUSH)


def ask_line(console: Console, question: str) -> str:
    """What the user types after ``question`` on the terminal of standard error; may be empty.

    Raises:
        UsageError: Standard input is at its end.
    """
    console.stderr.write(f"{question} ")
    console.stderr.flush()
    line = console.stdin.readline() if console.stdin else b""
    if not line:
        console.stderr.write("\n")
        raise UsageError(tr("nothing was entered"))
    return decode_words([os.fsdecode(line.rstrip(b"\r\n"))])


# Windows says EINVAL when the reader of a pipe is gone.
CLOSED_PIPE = frozenset({errno.EPIPE, errno.ESHUTDOWN})


def report_error(error: BaseException, console: Console) -> int:
    """Print ``error`` to standard error and return its exit code."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        console.say(str(error.code))
        return ExitCode.UNEXPECTED
    if isinstance(error, Abandoned) and console.stderr_is_terminal:
        with contextlib.suppress(OSError, ValueError):
            console.stderr.write("\n")  # nobody erases the status any more
            console.stderr.flush()
    code, line = _exit_code_and_line(error, console)
    if line:
        console.say(line)
    _drop_unwritten(console)
    return code


def _exit_code_and_line(error: BaseException, console: Console) -> tuple[int, str]:
    """The exit code, and the line to print; empty for none."""
    match error:
        case Interrupted():
            return error.exit_code, ""
        case TchatError():
            return error.exit_code, str(error)
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, ""
        case OSError():
            return _system_error(error)
        case MemoryError():
            return ExitCode.FIT, tr("out of memory; use a smaller model or a smaller --ctx-size")
        case _:
            return ExitCode.UNEXPECTED, _unexpected(error, console)


def _system_error(error: OSError) -> tuple[int, str]:
    if error.errno in CLOSED_PIPE:
        return ExitCode.CLOSED_PIPE, ""
    name = error.filename or tr("the output")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = tr("free some space, or choose another place") if full else tr("check its permissions")
    reason = error.strerror or error
    message = tr("cannot read or write {path}: {reason}", path=name, reason=reason)
    return ExitCode.STORAGE, with_hint(message, hint)


def _unexpected(error: BaseException, console: Console) -> str:
    import traceback

    text = "; ".join((str(error), *getattr(error, "__notes__", ())))
    line = tr("unexpected error: {kind}: {text}", kind=type(error).__name__, text=text)
    log = console.paths.log
    if not log.append("".join(traceback.format_exception(error))):
        return tr("{error}; please report it (the log could not be written)", error=line)
    if log.encryption is not None:
        return tr("{error}; please report it with what `tchat log` shows", error=line)
    return tr("{error}; please report it with the log at {path}", error=line, path=log.path)


def _drop_unwritten(console: Console) -> None:
    """Drop unwritten output, so that the flush at exit cannot fail again."""
    try:
        console.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, console.stdout.fileno())
            os.close(nowhere)


def read_prompt(
    console: Console, words: Sequence[str], files: Sequence[str], encoding: str = "auto"
) -> str:
    """Read a prompt: files (also patterns), standard input and words, separated by blank lines.

    The document precedes the question, so that a second question reuses its KV cache. A terminal
    is not read, unless `STDIN` stands for it: before or behind all other words, or among the files,
    where it is read in its place.

    Raises:
        UsageError: A file is missing or is not text, or there is too much.
        StorageError: A file cannot be read.
    """
    typed = typed_words(words)
    parts = list(_read_files(console, files, encoding)) if files else []
    if STDIN not in files and (len(typed) < len(words) or not console.stdin_is_terminal):
        parts.append(_read_stdin(console, encoding))
    parts.append(decode_words(typed, console))
    return "\n\n".join(filter(str.strip, parts))


def typed_words(words: Sequence[str]) -> Sequence[str]:
    """The words without the `STDIN` that stands before or behind them."""
    typed = words[words[:1] == (STDIN,) :]
    return typed[:-1] if typed and typed[-1] == STDIN else typed


def _read_stdin(console: Console, encoding: str) -> str:
    if console.stdin_is_terminal:
        console.notice(tr("type the text, and end it with Ctrl+D on a line of its own"))
    return read_text(console, encoding).strip("\n")


def _read_files(console: Console, names: Sequence[str], encoding: str) -> Iterator[str]:
    """Each file once, as text for a prompt."""
    from tchat.chat.attachments import Attachment, expand_patterns, read_file

    seen: set[Path] = set()
    for name in dict.fromkeys(names):
        if name == STDIN:
            yield _read_stdin(console, encoding)
            continue
        for path in expand_patterns([name]):
            if path in seen:
                continue
            seen.add(path)
            if path.is_dir():
                yield from _read_folder(console, path, encoding, seen)
            else:
                yield str(
                    Attachment(str(path), report_decoding(console, read_file(path, encoding)))
                )


def _read_folder(console: Console, folder: Path, encoding: str, seen: set[Path]) -> Iterator[str]:
    from tchat.chat.folder_files import read_folder

    found = read_folder(folder, encoding)
    console.notice(found.summary)
    for each in found.attachments:
        if Path(each.name) not in seen:
            seen.add(Path(each.name))
            if each.assumed:
                console.notice(each.assumed)
            yield str(each)


def decode_words(words: Sequence[str], console: Console | None = None) -> str:
    """The words as text; decodes bytes that Python could not, which ``console`` is told."""
    text = " ".join(words)
    try:
        text.encode()
    except UnicodeEncodeError:
        from tchat.decoding import decode

        decoded = decode(os.fsencode(text), tr("the prompt"))
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

    return report_decoding(console, decode(data, tr("standard input"), encoding))


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
    first = console.stdin.read(1)
    if not first:
        return b""
    from tchat.chat.attachments import MAX_SIZE, too_large_error

    data = first + console.stdin.read(MAX_SIZE)
    if len(data) > MAX_SIZE:
        raise too_large_error(tr("standard input"))
    return data
