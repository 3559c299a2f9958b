"""``tchat help TOPIC``: a page of the manual, rendered and paged on a terminal."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace

from tchat import manual
from tchat.cli.app import with_output_settings
from tchat.cli.console import Console
from tchat.errors import StorageError
from tchat.translation import tr


def print_topic(topic: str, console: Console) -> int:
    """Print the manual's page of ``topic``; in a pipe as its Markdown.

    Raises:
        StorageError: The page cannot be read, or not be written.
    """
    console = with_output_settings(console)
    try:
        text = manual.page(topic)
    except OSError as error:
        raise StorageError(
            tr("cannot read the manual: {strerror}", strerror=error.strerror or error),
            tr("install tchat again"),
        ) from error
    if not console.stdout_is_terminal or console.accessible:
        console.stdout.write(text)
        return 0
    drawn = _rendered(text, console)
    if drawn.count("\n") < shutil.get_terminal_size().lines:
        console.stdout.write(drawn)
        return 0
    import click

    click.echo_via_pager(drawn, color=True)
    return 0


def _rendered(text: str, console: Console) -> str:
    from tchat.cli.output.status import supports_escapes
    from tchat.cli.output.writers import MarkdownWriter, ReplyRecord, StdoutWriter

    drawn = io.StringIO()
    into = replace(console, stdout=drawn)
    output = StdoutWriter(into, before=lambda: None)
    writer = MarkdownWriter(output, into, styled=supports_escapes(console))
    writer.text(text)
    writer.close(ReplyRecord())
    return drawn.getvalue()
