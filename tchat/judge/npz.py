"""Arrays and facts in one file: NumPy's npz, never with pickles, whole or not at all."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy

from tchat.paths import private_folder

_FACTS = "facts"
# What else the standard library's reader of archives raises for damaged ones.
_FAILURES = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error)


class DamagedError(ValueError):
    """A file that is not what was written."""


def write_arrays(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a file with mode 0600 in a private folder; ``facts`` become JSON."""
    buffer = io.BytesIO()
    encoded = numpy.frombuffer(json.dumps(facts).encode(), dtype=numpy.uint8)
    numpy.savez(buffer, allow_pickle=False, **arrays, **{_FACTS: encoded})
    private_folder(path.parent)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_arrays(path: Path, most: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The facts and the arrays of a file; nothing is unpacked before its size is known.

    Args:
        path: What `write_arrays` wrote.
        most: Bytes that it may unpack to.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is damaged, or larger than that.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > most:
                raise DamagedError("too large")
        with numpy.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(bytes(arrays.pop(_FACTS)))
    except FileNotFoundError:
        raise
    except (*_FAILURES, OSError, ValueError, TypeError, KeyError, EOFError) as error:
        raise DamagedError(str(error)) from error
    if not isinstance(facts, dict):
        raise DamagedError("no facts")
    return facts, arrays
