"""Markdown on a terminal, block by block; imports Rich with the first block."""

from __future__ import annotations

import shutil
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tchat.cli.console import Console
from tchat.cli.output.writers import ReplyRecord, StdoutWriter, Writer
from tchat.markdown import BlockSplitter
from tchat.sanitize import PrintableStream

if TYPE_CHECKING:
    from rich.console import RenderableType


class MarkdownWriter(Writer):
    """Prints each block when it is complete; printed text never changes.

    The reasoning is printed line by line, dim, behind a bar.

    Args:
        stdout: Where to write.
        console: Its environment says which colours there are (``NO_COLOR``, ``COLORTERM``).
        styled: Whether escape sequences are wanted; without them the layout is the same.
    """

    def __init__(self, stdout: StdoutWriter, console: Console, *, styled: bool) -> None:
        self._stdout = stdout
        self._console = console
        self._styled = styled
        self._printable = PrintableStream()
        self._splitter = BlockSplitter()
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
