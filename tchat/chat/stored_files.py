"""The files that hold words besides the sessions, for encrypting and decrypting a store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tchat.encryption.convertible_files import ConvertibleFiles, RemovedFiles
    from tchat.paths import Paths

TYPED_LINES = "history"  # the file of the lines typed in chats on lines, beside the sessions
TYPED_LINES_PURPOSE, PALETTE_PURPOSE = "typed lines", "palette"


def convertible_files(paths: Paths) -> Sequence[ConvertibleFiles | RemovedFiles]:
    """Them, by kind; see `tchat.encryption.conversion`."""
    from tchat.encryption.convertible_files import ConvertibleFiles, RemovedFiles
    from tchat.encryption.stored_kinds import KINDS, Form
    from tchat.encryption.stored_paths import find_files

    found: list[ConvertibleFiles | RemovedFiles] = []
    for kind in KINDS:
        folder = paths.cache if kind.is_cache else paths.config
        for each in kind.encrypted:
            find = partial(find_files, folder, *each.patterns)
            if each.form is Form.REMOVED:
                found.append(RemovedFiles(each.title, find))
            elif each.form is not Form.DATABASE:
                found.append(ConvertibleFiles(each.title, each.purpose, each.form, find))
    return found
