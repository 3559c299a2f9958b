"""The one line that leads from the starter model to a better one, said once on a terminal."""

from __future__ import annotations

import contextlib

from tchat.cli.console import Console
from tchat.errors import TchatError
from tchat.private_files import write_private
from tchat.translation import tr


def suggest_better_model(console: Console) -> None:
    """Name the best model for this machine, unless it was named before or there are others."""
    paths = console.paths
    if paths.suggestion_mark.exists():
        return
    from tchat.chat.better_model import better_model, has_only_starter

    with contextlib.suppress(TchatError):  # the answer is there; it must not fail for this
        write_private(paths.suggestion_mark, b"")  # first: it is looked for once, and said once
        if not has_only_starter(paths, console.environ):
            return
        better = better_model(paths, console.environ)
        if better is not None:
            command = "tchat models pull --best"
            said = better.suggestion
            console.notice(tr("{suggestion} Get it: {command}", suggestion=said, command=command))
