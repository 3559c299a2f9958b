"""``tchat help TOPIC``: a page of the manual, rendered and paged on a terminal."""

from __future__ import annotations

import gc
import io
import shutil
import subprocess
from contextlib import suppress
from dataclasses import replace

from tchat import manual
from tchat.cli.console import Console, with_output_settings
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
    # A tenth of the time: modules make many objects and hardly any garbage.
    gc.disable()
    try:
        drawn = _rendered(text, console)
    finally:
        gc.enable()
    is_short = drawn.count("\n") < shutil.get_terminal_size().lines
    if is_short or not _page(drawn, console):
        console.stdout.write(drawn)
    return 0


def _page(text: str, console: Console) -> bool:
    """Show ``text`` in ``$PAGER``, or in less; whether it could be started.

    Through the shell, as git does it. ``click.echo_via_pager`` does no more, and importing click
    would take as long as drawing the page.
    """
    pager = console.environ.get("PAGER") or "less"
    environ = {"LESS": "FRX", **console.environ}
    program = shutil.which(pager.split()[0], path=environ.get("PATH")) if pager.split() else None
    if program is None:
        return False
    with subprocess.Popen(pager, shell=True, stdin=subprocess.PIPE, env=environ) as running:  # noqa: S602
        with suppress(BrokenPipeError, KeyboardInterrupt):
            running.communicate(text.encode())
        while running.poll() is None:  # Ctrl-C is the pager's
            with suppress(KeyboardInterrupt):
                running.wait()
    return True


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
