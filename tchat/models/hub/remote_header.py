"""The header of a model on the hub, read by ranges before anything is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tchat.errors import ModelInvalid
from tchat.models.gguf.header import Array, Header
from tchat.models.gguf.parser import parse_header, strings_in
from tchat.models.gguf.reader import BoundedReader, OutOfBounds
from tchat.models.hub.repo_files import RepoFile, RepoModel
from tchat.sanitize import single_line

# Each read is a request, which takes a while; most headers are of 2 to 13 MB.
CHUNK = (1 << 18, 1 << 22)
ReadRange = Callable[[RepoFile, int, int], bytes]


class RemoteHeader:
    """The header of a model on the hub.

    Args:
        model: On the hub.
        read_range: So many bytes of a file, from a place on: `Beginnings.read_range` asks for
            none of them twice, where the header is gone through more than once.

    Raises, also from its methods:
        ModelInvalid: It is no GGUF file, or one that is damaged or hostile.
        ModelNotFound: The file is gone.
        HubError: The hub cannot be asked, or refuses.
    """

    def __init__(self, model: RepoModel, read_range: ReadRange) -> None:
        self._parts = [_Ranges(file, read_range) for file in model.files]

    def read(self) -> Header:
        """The header of the first part, with the tensors of all of them."""
        headers = [parse_header(part.reader(), part.name) for part in self._parts]
        tensors = tuple(tensor for header in headers for tensor in header.tensors)
        return replace(headers[0], tensors=tensors)

    def strings(self, array: Array, wanted: Iterable[int]) -> dict[int, str]:
        """Elements of a long array of strings by their places; those out of range are left out."""
        first = self._parts[0]
        try:
            return strings_in(first.reader(), array, wanted)
        except OutOfBounds as problem:
            raise ModelInvalid(f"{first.name} is not usable: {problem}", "try again") from None


class _Ranges:
    """A file on the hub as one that can be read from."""

    def __init__(self, file: RepoFile, read_range: ReadRange) -> None:
        self.name = single_line(file.name.rpartition("/")[2])
        self._file = file
        self._read_range = read_range
        self._at = 0

    def reader(self) -> BoundedReader:
        """From the start."""
        self._at = 0
        return BoundedReader(self, self._file.size, CHUNK)

    def seek(self, offset: int) -> None:
        self._at = offset

    def read(self, size: int) -> bytes:
        data = self._read_range(self._file, self._at, size)
        self._at += len(data)
        return data
