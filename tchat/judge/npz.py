"""Arrays and JSON metadata in one npz file, without pickles, written atomically.

Arrays are not compressed, so a file never unpacks to more than its own size.
"""

from __future__ import annotations

import json
import os
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy

from tchat.errors import StorageError
from tchat.paths import private_folder

_FACTS = "facts"
# What the readers of archives, of arrays and of JSON raise for damaged ones.
_FAILURES = (
    zipfile.BadZipFile,
    tokenize.TokenError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    RuntimeError,  # as well as NotImplementedError and RecursionError
    MemoryError,  # an array that says it is larger than the machine
)


class DamagedError(ValueError):
    """A file that `write_arrays` did not write."""


def write_arrays(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a file with mode 0600 in a private folder; ``facts`` become JSON.

    Raises:
        StorageError: It cannot be written; an existing file is unchanged.
    """
    encoded = numpy.frombuffer(json.dumps(facts).encode(), dtype=numpy.uint8)
    private_folder(path.parent)
    with whole(path) as partial:
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            numpy.savez(file, allow_pickle=False, **arrays, **{_FACTS: encoded})
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path that replaces ``path`` at the end of the block.

    Raises:
        StorageError: It cannot be written; an existing file is unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}",
            "free some space or check the permissions",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def read_arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the metadata and the arrays of a file.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is not what `write_arrays` wrote.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
                raise DamagedError("compressed")
        with numpy.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(bytes(arrays.pop(_FACTS)))
    except FileNotFoundError:
        raise
    except _FAILURES as error:
        raise DamagedError(str(error)) from error
    if not isinstance(facts, dict):
        raise DamagedError("no facts")
    return facts, arrays
