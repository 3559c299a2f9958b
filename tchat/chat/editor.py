"""Open a file in the user's editor: ``$VISUAL``, ``$EDITOR``, or a default.

Not by `click.edit`: an open quote in ``$EDITOR`` and a text that is not UTF-8 are tracebacks there,
and its error tells no exit code.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tchat.decoding import decode
from tchat.errors import UsageError
from tchat.private_files import write_private, writing
from tchat.temporary_files import memory_folder, temporary_folder
from tchat.translation import tr

FALLBACKS = ("notepad",) if os.name == "nt" else ("nano", "vim", "vi")


def edit_file(path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Open ``path`` in the editor and wait until it is closed.

    Raises:
        UsageError: There is no editor, or it failed.
    """
    command = editor_command(environ)
    try:
        code = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise UsageError(
            tr(
                "cannot start the editor `{command}`: {reason}",
                command=command[0],
                reason=error.strerror,
            ),
            tr("set EDITOR to another"),
        ) from error
    if code:
        raise UsageError(
            tr("the editor `{command}` ended with exit code {code}", command=command[0], code=code)
        )


def edit_text(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Let the user edit ``text`` in a file that only they can read, and return it.

    The file lies in memory where the system has such files, and is removed.

    Raises:
        UsageError: There is no editor, or it failed; or what it wrote is no text.
        StorageError: The file cannot be written.
    """
    with temporary_folder(memory_folder(len(text), environ)) as folder:
        path = folder / "prompt.md"
        with writing(path, tr("free some space, or set TMPDIR to a folder with space")):
            write_private(path, text.encode("utf-8", "replace"))
        edit_file(path, environ)
        return decode(path.read_bytes(), path.name).text.rstrip("\n")


def is_edited_on_disk(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a text that is edited lies on a disk meanwhile, unencrypted."""
    return memory_folder(0, environ) is None


def editor_command(environ: Mapping[str, str]) -> list[str]:
    """The editor's command line, split into arguments.

    Raises:
        UsageError: None is set and none is installed, or what is set is no command line.
    """
    for variable in ("VISUAL", "EDITOR"):
        value = environ.get(variable, "")
        try:
            words = shlex.split(value, posix=os.name != "nt")
        except ValueError as error:
            raise UsageError(
                tr(
                    "{variable} is not a valid command line: {error}",
                    variable=variable,
                    error=error,
                ),
                tr("close its quotes: for example 'vim -n'"),
            ) from None
        if words:
            return words
    for name in FALLBACKS:
        if shutil.which(name):
            return [name]
    raise UsageError(tr("there is no editor"), tr("set EDITOR, for example EDITOR=nano"))
