"""The help of commands in the user's language: click's command tree, translated and laid out."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence

import click

from tchat.cli.cells import cell_width, fitting_length, wrap_cells
from tchat.translation import SOURCE, language, tr

FIRST_COLUMN = 30  # cells at most; a longer name has its text on the line below
VERBATIM = "\b"  # marks a paragraph that click does not wrap


def translated(command: click.Command) -> click.Command:
    """``command`` with its help in the user's language, and that of its subcommands."""
    if language() == SOURCE:
        return command
    command.context_class = CellContext
    for part in (command, *command.params):
        for name in ("help", "short_help", "epilog"):
            if text := getattr(part, name, None):
                setattr(part, name, tr(inspect.cleandoc(text)))
    for subcommand in getattr(command, "commands", {}).values():
        translated(subcommand)
    return command


class CellFormatter(click.HelpFormatter):
    """click's formatter, which counts cells instead of characters."""

    def write_text(self, text: str) -> None:
        """Write paragraphs, broken at the width."""
        indent = " " * self.current_indent
        paragraphs = text.split("\n\n")
        for index, paragraph in enumerate(paragraphs):
            lines = paragraph.split("\n")
            if lines[0].strip() == VERBATIM:
                broken = lines[1:]
            else:
                broken = _lines(_joined(lines), self.width - self.current_indent)
            self.write("".join(f"{indent}{line}\n" for line in broken))
            if index < len(paragraphs) - 1:
                self.write("\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = FIRST_COLUMN, col_spacing: int = 2
    ) -> None:
        """Write names and their texts in two columns."""
        rows = list(rows)
        first = min(max(cell_width(name) for name, _ in rows), col_max) + col_spacing
        indent = " " * self.current_indent
        for name, text in rows:
            lines = _lines(text, max(self.width - first - self.current_indent, 10)) or [""]
            below = cell_width(name) > first - col_spacing
            lead = name if below else name + " " * (first - cell_width(name)) + lines.pop(0)
            self.write(f"{indent}{lead}".rstrip() + "\n")
            self.write("".join(f"{indent}{' ' * first}{line}\n" for line in lines))


class CellContext(click.Context):
    """A context whose help is laid out by cells."""

    formatter_class = CellFormatter


def _lines(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells; a word that is longer is broken."""
    lines = []
    for line in wrap_cells(text, width):
        while (fitting := fitting_length(line, width)) < len(line):
            lines.append(line[:fitting])
            line = line[fitting:]  # noqa: PLW2901
        lines.append(line)
    return lines


def _joined(lines: Sequence[str]) -> str:
    """The lines of a paragraph as one; no blank between characters that are written without one."""
    return "".join(_with_gaps(lines))


def _with_gaps(lines: Sequence[str]) -> Iterator[str]:
    for index, line in enumerate(lines):
        last = lines[index - 1][-1:] if index else ""
        if index and not (last and cell_width(last) == 2) and last != " ":
            yield " "
        yield line
