"""The header of a model on the hub, read by ranges before anything is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tchat.models.bounded import BoundedReader
from tchat.models.gguf import parse_header
from tchat.models.header import Header
from tchat.models.hub_files import RemoteFile, RemoteModel
from tchat.sanitize import single_line

# Each read is a request, which takes a while; most headers are of 2 to 13 MB.
CHUNK = (1 << 18, 1 << 22)
ReadRange = Callable[[RemoteFile, int, int], bytes]


def remote_header(model: RemoteModel, read_range: ReadRange) -> Header:
    """The header of a model, with the tensors of all its parts.

    Args:
        model: On the hub.
        read_range: `Hub.read_range`: so many bytes of a file, from a place on.

    Raises:
        ModelInvalid: It is no GGUF file, or one that is damaged or hostile.
        ModelNotFound: The file is gone.
        HubError: The hub cannot be asked, or refuses.
    """
    headers = [_header(file, read_range) for file in model.files]
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    return replace(headers[0], tensors=tensors)


def _header(file: RemoteFile, read_range: ReadRange) -> Header:
    reader = BoundedReader(_Ranges(file, read_range), file.size, CHUNK)
    return parse_header(reader, single_line(file.name.rpartition("/")[2]))


class _Ranges:
    """A file on the hub as one that can be read from."""

    def __init__(self, file: RemoteFile, read_range: ReadRange) -> None:
        self._file = file
        self._read_range = read_range
        self._at = 0

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, size: int) -> bytes:
        data = self._read_range(self._file, self._at, size)
        self._at += len(data)
        return data
