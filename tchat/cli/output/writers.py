"""Writers of an answer to standard output: streamed, whole, rendered Markdown, or JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from tchat.cli.console import Console
from tchat.engine.events import Finished, LabelScores, Notice, Reason
from tchat.errors import StorageError
from tchat.sanitize import PrintableStream, printable_json
from tchat.translation import in_english, tr

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(slots=True)
class ReplyRecord:
    """Metadata of a reply."""

    facts: dict[str, Any] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    chosen: LabelScores | None = None
    finished: Finished | None = None


class Writer(ABC):
    """Writes an answer piece by piece.

    Attributes:
        live: Whether each piece is visible at once, so that no status line is needed.
    """

    live = False

    @abstractmethod
    def text(self, piece: str) -> None:
        """A piece of the answer, raw."""

    @abstractmethod
    def reasoning(self, piece: str) -> None:
        """A piece of the reasoning, raw; only called when it is to be shown."""

    @abstractmethod
    def close(self, reply: ReplyRecord) -> None:
        """The end of the reply, also if it was cut short."""

    def end_step(self) -> None:  # noqa: B027 - most have nothing to do
        """The model calls a tool: what follows is another paragraph of the answer."""

    @property
    def preview(self) -> str:
        """Text that is not printed yet."""
        return ""


class PlainWriter(Writer):
    """Streams the text, sanitized unless ``raw``.

    Reasoning is printed between ``marks``, and ``speaker`` before the answer. A terminal gets
    exactly one newline at the end (``tidy``); a pipe gets one if the text has none, unless
    ``raw``. Empty text gets no newline.
    """

    live = True

    def __init__(
        self,
        stdout: TextOutput,
        *,
        raw: bool = False,
        tidy: bool = False,
        marks: tuple[str, str] = ("<think>\n", "\n</think>\n\n"),
        speaker: str = "",
    ) -> None:
        self._stdout = stdout
        self._raw = raw
        self._tidy = tidy
        self._marks = marks
        self._speaker = speaker
        self._printable = PrintableStream()
        self._thinking = False
        self._newlines = ""  # held back until text follows
        self._last = ""

    def text(self, piece: str) -> None:
        """Print ``piece`` now."""
        self._end_thinking()
        if self._speaker and piece.strip():
            self._stdout.write(self._speaker)
            self._speaker = ""
        self._write(piece)

    def reasoning(self, piece: str) -> None:
        """Print ``piece`` now, after the opening mark if it is the first."""
        if not self._thinking:
            self._thinking = True
            self._stdout.write(self._marks[0])
        self._write(piece)

    def end_step(self) -> None:
        """End the paragraph."""
        self._end_thinking()
        if self._last:
            self._stdout.write("\n" if self._last == "\n" else "\n\n")
        self._newlines = self._last = ""
        self._printable = PrintableStream()

    def close(self, reply: ReplyRecord) -> None:  # noqa: ARG002
        """Print the last newline."""
        self._end_thinking()
        if self._last and not self._raw and (self._tidy or self._last != "\n"):
            self._stdout.write("\n")

    def _end_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self._stdout.write(self._marks[1])
            self._newlines = self._last = ""
            self._printable = PrintableStream()

    def _write(self, piece: str) -> None:
        text = piece if self._raw else self._printable.feed(piece)
        if self._tidy or self._thinking:
            text = self._newlines + text
            if not self._last:
                text = text.lstrip("\n")
            body = text.rstrip("\n")
            self._newlines = text[len(body) :]
            text = body
        if text:
            self._stdout.write(text)
            self._last = text[-1]


class WholeWriter(Writer):
    """Writes the complete answer through another `Writer`, after a ``change``."""

    def __init__(self, inner: Writer, change: Callable[[str], str] = str) -> None:
        self._inner = inner
        self._change = change
        self._text: list[str] = []

    @property
    def preview(self) -> str:
        """The last that was written."""
        return "".join(self._text[-50:])

    def text(self, piece: str) -> None:
        """Keep ``piece``."""
        self._text.append(piece)

    def reasoning(self, piece: str) -> None:
        """Hand ``piece`` on."""
        self._inner.reasoning(piece)

    def end_step(self) -> None:
        """Keep the end of the paragraph, if there is one."""
        if "".join(self._text).strip():
            self._text.append("\n\n")

    def close(self, reply: ReplyRecord) -> None:
        """Print the whole."""
        text = "".join(self._text)
        if reply.finished is not None and reply.finished.reason is Reason.LOOP:
            text = reply.finished.text
        if text:
            self._inner.text(self._change(text))
        self._inner.close(reply)


class JsonWriter(Writer):
    """Writes one JSON object at the end of the reply; nothing without an end."""

    def __init__(self, stdout: StdoutWriter, *, extract: bool) -> None:
        self._stdout = stdout
        self._extract = extract
        self._reasoning: list[str] = []

    def text(self, piece: str) -> None:
        """Nothing: the end event holds the whole text."""

    def reasoning(self, piece: str) -> None:
        """Keep ``piece``."""
        self._reasoning.append(piece)

    def close(self, reply: ReplyRecord) -> None:
        """Print the object."""
        if reply.finished is not None:
            self._stdout.write_json(self._object(reply, reply.finished))

    def _object(self, reply: ReplyRecord, finished: Finished) -> dict[str, Any]:
        value: dict[str, Any] = {"reply": finished.text}
        if self._reasoning and finished.reason is Reason.LOOP:
            self._reasoning = [finished.reasoning]
        if self._extract:
            from tchat.markdown import first_code_block

            value["extracted"] = first_code_block(finished.text)
        if reply.chosen:
            value["choices"] = dict(reply.chosen.probabilities)
        return value | {
            "reasoning": "".join(self._reasoning) or None,
            "finish_reason": finished.reason.value,
            "usage": finished.turn_usage.as_json(),
            "timings": finished.turn_timings.as_json(),
            "seed": finished.seed,
            "notices": [asdict(notice) for notice in reply.notices],
            **reply.facts,
        }


class TextOutput(Protocol):
    """What text is written to."""

    def write(self, text: str) -> None:
        """Write ``text`` now."""


class WrappedStdout:
    """Standard output with lines broken at words; a word is printed once it is complete."""

    def __init__(self, stdout: StdoutWriter, width: int) -> None:
        from tchat.cli.cells import WordWrap

        self._stdout = stdout
        self._wrap = WordWrap(width)

    def write(self, text: str) -> None:
        """Write the words that ``text`` completes."""
        self._stdout.write(self._wrap.feed(text))


class StdoutWriter:
    """Standard output, flushed after each piece.

    A pipe gets UTF-8 whatever the locale; a terminal gets its own encoding. ``before`` is called
    before each write, to erase the status line.
    """

    def __init__(self, console: Console, before: Callable[[], None]) -> None:
        self._stdout = console.stdout
        self._is_terminal = console.stdout_is_terminal
        self._bytes = None if self._is_terminal else getattr(self._stdout, "buffer", None)
        self._before = before
        self._broken = False

    def write_json(self, value: Any) -> None:
        """Write ``value`` as JSON, in English, indented on a terminal."""
        indent = 2 if self._is_terminal else None
        text = json.dumps(in_english(value), ensure_ascii=False, indent=indent)
        self.write(printable_json(text) + "\n")

    def write(self, text: str) -> None:
        """Write ``text`` now. After a failure, what follows is dropped.

        Raises:
            BrokenPipeError: The reader is gone; the command ends silently.
            StorageError: The disk is full, or the device fails.
        """
        if not text or self._broken:
            return
        self._before()
        try:
            if self._bytes:
                self._bytes.write(text.encode("utf-8", "surrogatepass"))
                self._bytes.flush()
            else:
                self._stdout.write(text)
                self._stdout.flush()
        except BrokenPipeError:
            self._broken = True
            raise
        except OSError as error:
            self._broken = True
            raise StorageError(
                tr("cannot write the answer: {strerror}", strerror=error.strerror or error),
                tr("free some space or write elsewhere"),
            ) from error


class MarkdownWriter(Writer):
    """Prints each block when it is complete; printed text never changes.

    The reasoning is printed line by line, dim, behind a bar. Without ``styled`` there are no
    escape sequences, and the layout is the same.
    """

    def __init__(self, stdout: StdoutWriter, console: Console, *, styled: bool) -> None:
        from tchat.markdown import BlockSplitter  # 6 ms, which no pipe waits for

        self._new_splitter = BlockSplitter
        self._stdout = stdout
        self._console = console
        self._styled = styled
        self._printable = PrintableStream()
        self._splitter = self._new_splitter()
        self._thought = ""  # the line of reasoning that has no end yet
        self._thinking = False

    @property
    def preview(self) -> str:
        """The unfinished line of reasoning, or the unfinished block."""
        return self._thought if self._thinking else self._splitter.pending

    def text(self, piece: str) -> None:
        """Print the blocks that ``piece`` finishes."""
        if self._thinking:
            self._end_thinking()
            self._stdout.write("\n")
        self._print_blocks(piece, end=False)

    def reasoning(self, piece: str) -> None:
        """Print the lines that ``piece`` finishes."""
        self._thinking = True
        *lines, self._thought = (self._thought + self._printable.feed(piece)).split("\n")
        for line in lines:
            self._print_thought(line)

    def end_step(self) -> None:
        """Print what was not finished."""
        if self._thinking:
            self._end_thinking()
        self._print_blocks("", end=True)
        self._splitter = self._new_splitter()

    def close(self, reply: ReplyRecord) -> None:  # noqa: ARG002
        """Print what was not finished."""
        if self._thinking:
            self._end_thinking()
        self._print_blocks("", end=True)

    def _end_thinking(self) -> None:
        if self._thought:
            self._print_thought(self._thought)
        self._thinking, self._thought = False, ""
        self._printable = PrintableStream()

    def _print_thought(self, line: str) -> None:
        from rich.text import Text

        from tchat.markdown.renderer import Prefixed

        self._print(Prefixed("│ ", Text(line, "dim"), "dim", rest="│ "))

    def _print_blocks(self, piece: str, *, end: bool) -> None:
        blocks = self._splitter.feed(self._printable.feed(piece))
        if end:
            blocks += self._splitter.close()
        for block in blocks:
            drawn = self._block_renderer.render(block)
            if drawn is not None:
                self._print(drawn)

    def _print(self, renderable: RenderableType) -> None:
        import shutil

        from tchat.markdown.renderer import trimmed

        self._rich.width = shutil.get_terminal_size().columns
        with self._rich.capture() as capture:
            self._rich.print(trimmed(self._rich.render(renderable)), crop=False)
        self._stdout.write(capture.get())

    @cached_property
    def _block_renderer(self) -> Any:
        from tchat.markdown.renderer import BlockRenderer

        return BlockRenderer()

    @cached_property
    def _rich(self) -> Any:
        from rich.console import Console as RichConsole
        from rich.theme import Theme

        from tchat.markdown.renderer import STYLES

        return RichConsole(
            file=self._console.stdout,
            force_terminal=self._styled,
            color_system="auto" if self._styled else None,
            legacy_windows=False,
            theme=Theme(STYLES),
            _environ=self._console.environ,
        )
