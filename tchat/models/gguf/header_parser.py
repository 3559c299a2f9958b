"""Read and check the headers of GGUF files, also of split models, before llama.cpp opens them.

llama.cpp aborts the process on some damaged files, so every count, length, type and offset is
checked against the file's size and fixed limits. Format: ggml's docs/gguf.md; versions 2 and 3,
little endian. llama.cpp opens the first part of a split model, and finds the others by their names
(``NAME-00001-of-00003.gguf``).
"""

from __future__ import annotations

import codecs
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tchat.errors import ModelInvalid, ModelNotFound
from tchat.humanize import listed
from tchat.models.files import MAX_PARTS, PART_NAME, label, open_regular
from tchat.models.gguf.header import (
    MAX_ARRAY_ITEMS,
    REMOVED_TENSOR_TYPES,
    TENSOR_TYPES,
    Array,
    Header,
    Scalar,
    Tensor,
    Value,
    element_count,
    is_integer,
)
from tchat.models.gguf.reader import BoundedReader, OutOfBounds
from tchat.translation import N_, tr

MAX_KEYS = 1 << 14
MAX_KEY = 1 << 16  # bytes, by the specification
MAX_TENSORS = 1 << 15
MAX_TENSOR_NAME = 63  # bytes, by ggml
MAX_DIMENSIONS = 4
MAX_ELEMENTS = 2**63 - 1
DEFAULT_ALIGNMENT = 32
STRING, ARRAY = 8, 9
SCALARS = MappingProxyType(
    {
        number: struct.Struct("<" + code)
        for number, code in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
    }
)
DOWNLOAD_AGAIN = N_("the file is damaged or incomplete: download it again")
MAGICS: tuple[tuple[bytes, str], ...] = (
    (b"lmgg", N_("an old GGML file, from before GGUF")),
    (b"fmgg", N_("an old GGML file (GGMF), from before GGUF")),
    (b"tjgg", N_("an old GGML file (GGJT), from before GGUF")),
    (b"algg", N_("an old GGLA adapter, from before GGUF")),
    (b"PK\x03\x04", N_("a zip archive, as PyTorch checkpoints are")),
    (b"\x80\x02", N_("a pickle, as old PyTorch checkpoints are")),
    (b"version https://git-lfs", N_("a Git LFS pointer, not the file that it points to")),
    (b"\x1f\x8b", N_("a gzip archive")),
    (b"\x28\xb5\x2f\xfd", N_("a Zstandard archive")),
    (b"\xfd7zXZ\x00", N_("an xz archive")),
    (b"BZh", N_("a bzip2 archive")),
    (b"7z\xbc\xaf\x27\x1c", N_("a 7-Zip archive")),
    (b"Rar!", N_("a RAR archive")),
    (b"\x89HDF", N_("an HDF5 file")),
    (b"%PDF", N_("a PDF document")),
    (b"\x89PNG", N_("a PNG picture")),
    (b"\xff\xd8\xff", N_("a JPEG picture")),
    (b"\x7fELF", N_("a program")),
    (b"MZ", N_("a Windows program")),
    (b"SQLite format 3", N_("an SQLite database")),
)
TEXTS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", N_("a web page, as failed downloads are")),
    (b"<html", N_("a web page, as failed downloads are")),
    (b"<?xml", N_("XML, as answers of a failed download are")),
    (b"<error", N_("XML, as answers of a failed download are")),
    (b"{", N_("JSON text")),
    (b"[", N_("JSON text")),
)


def read_header(path: Path) -> Header:
    """Read and check the header of a GGUF file; takes well under 100 ms for any file.

    Raises:
        ModelNotFound: There is no such file.
        ModelInvalid: It is not a GGUF file, or is damaged or hostile.
    """
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        try:
            return parse_header(BoundedReader(file, os.fstat(file.fileno()).st_size), label(path))
        except OSError as error:
            reason = error.strerror or tr("the disk gave an error")
            raise ModelInvalid(
                tr("{path} cannot be read: {reason}", path=label(path), reason=reason),
                tr(DOWNLOAD_AGAIN),
            ) from error


def read_strings(path: Path, array: Array, indexes: Iterable[int]) -> dict[int, str]:
    """Elements of a long array of strings by index; indexes out of range are left out.

    Raises:
        ModelNotFound, ModelInvalid: The file changed since its header was read.
    """
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        reader = BoundedReader(file, os.fstat(file.fileno()).st_size)
        try:
            return strings_in(reader, array, indexes)
        except (OutOfBounds, OSError) as problem:
            raise ModelInvalid(
                tr("{path} is not usable: {problem}", path=label(path), problem=problem),
                tr(DOWNLOAD_AGAIN),
            ) from None


def strings_in(reader: BoundedReader, array: Array, indexes: Iterable[int]) -> dict[int, str]:
    """As `read_strings`, from a reader at the start of a file; raises OutOfBounds."""
    found: dict[int, str] = {}
    reader.skip(array.offset)
    at = 0
    for index in sorted({each for each in indexes if 0 <= each < array.count}):
        reader.skip_strings(index - at)
        found[index] = reader.string().decode("utf-8", "replace")
        at = index + 1
    return found


def parse_header(reader: BoundedReader, name: str) -> Header:
    """Parse and check the header at the start of ``reader``; messages use ``name``.

    Raises:
        ModelInvalid: It is not a GGUF file, or is damaged or hostile.
    """
    try:
        start = reader.peek(512)
        if start[:4] != b"GGUF":
            raise ModelInvalid(
                tr(
                    "{name} is not a GGUF file: it is {identify_format}",
                    name=name,
                    identify_format=identify_format(start),
                ),
                tr("name a model file in GGUF format"),
            )
        return _HeaderParser(reader).header()
    except OutOfBounds as problem:
        raise ModelInvalid(
            tr("{name} is not usable: {problem}", name=name, problem=problem), tr(DOWNLOAD_AGAIN)
        ) from None


class _HeaderParser:
    """One pass over a header; raises `OutOfBounds` for any defect."""

    def __init__(self, reader: BoundedReader) -> None:
        self._reader = reader
        self._size = reader.left

    def header(self) -> Header:
        self._reader.skip(4)
        version = self._version()
        tensor_count, key_count = self._reader.u64(), self._reader.u64()
        self._bound(key_count, MAX_KEYS, tr("metadata keys"), least_bytes=13)
        self._bound(tensor_count, MAX_TENSORS, "tensors", least_bytes=24)
        metadata = self._metadata(key_count)
        alignment = self._alignment(metadata)
        tensors = self._tensors(tensor_count, alignment)
        data_offset = _padded(self._reader.position, alignment)
        if tensors:
            end = data_offset + tensors[-1].offset + tensors[-1].size
            if end > self._size:
                raise OutOfBounds(
                    tr("it has {size:,} bytes, its tensors need {end:,}", size=self._size, end=end)
                )
        return Header(
            version=version,
            metadata=MappingProxyType(metadata),
            tensors=tensors,
            data_offset=data_offset,
            file_size=self._size,
        )

    def _version(self) -> int:
        version = self._u32()
        if version in (2, 3):
            return version
        if version & 0xFFFF == 0 and version:
            raise OutOfBounds(tr("it was written for big-endian machines"))
        if version == 1:
            raise OutOfBounds(tr("GGUF version 1 is no longer read by llama.cpp"))
        raise OutOfBounds(tr("GGUF version {version} is not known", version=version))

    def _metadata(self, count: int) -> dict[str, Value]:
        metadata: dict[str, Value] = {}
        for _ in range(count):
            key = self._reader.string(MAX_KEY).decode("utf-8", "replace")
            if not key:
                raise OutOfBounds(tr("a metadata key is empty"))
            if key in metadata:
                raise OutOfBounds(tr("the metadata key {key!r} occurs twice", key=key[:60]))
            kind = self._u32()
            metadata[key] = self._array(key) if kind == ARRAY else self._scalar(key, kind)
        return metadata

    def _scalar(self, key: str, kind: int) -> Scalar:
        if kind == STRING:
            return self._reader.string().decode("utf-8", "replace")
        if kind not in SCALARS:
            raise OutOfBounds(
                tr("the metadata key {key!r} has the unknown type {kind}", key=key[:60], kind=kind)
            )
        return self._reader.unpack(SCALARS[kind])[0]

    def _array(self, key: str) -> Array:
        kind, count = self._u32(), self._reader.u64()
        if kind != STRING and kind not in SCALARS:
            raise OutOfBounds(
                tr(
                    "the metadata key {key!r} is an array of unknown type {kind}",
                    key=key[:60],
                    kind=kind,
                )
            )
        width = 8 if kind == STRING else SCALARS[kind].size
        if count * width > self._reader.left:
            raise OutOfBounds(tr("the array {key!r} runs past the end of the file", key=key[:60]))
        offset = self._reader.position
        if count <= MAX_ARRAY_ITEMS:
            items = tuple(self._scalar(key, kind) for _ in range(count))
            return Array(kind, count, items, offset)
        if kind == STRING:
            self._reader.skip_strings(count)
        else:
            self._reader.skip(count * width)
        return Array(kind, count, (), offset)

    def _alignment(self, metadata: Mapping[str, Value]) -> int:
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if not is_integer(alignment) or alignment <= 0 or alignment & (alignment - 1):
            raise OutOfBounds(tr("its alignment is not a power of two"))
        return alignment

    def _tensors(self, count: int, alignment: int) -> tuple[Tensor, ...]:
        tensors: list[Tensor] = []
        names: set[bytes] = set()
        expected = 0
        for _ in range(count):
            raw = self._reader.string(MAX_TENSOR_NAME)
            if raw in names:
                raise OutOfBounds(
                    tr("the tensor {decode!r} occurs twice", decode=raw.decode("utf-8", "replace"))
                )
            names.add(raw)
            tensor = self._tensor(raw.decode("utf-8", "replace"))
            if tensor.offset != expected:
                how = (
                    tr("overlaps another one")
                    if tensor.offset < expected
                    else tr("is out of place")
                )
                raise OutOfBounds(
                    tr("the data of the tensor {name!r} {how}", name=tensor.name, how=how)
                )
            expected = _padded(expected + tensor.size, alignment)
            tensors.append(tensor)
        return tuple(tensors)

    def _tensor(self, name: str) -> Tensor:
        dimensions = self._u32()
        if dimensions > MAX_DIMENSIONS:
            raise OutOfBounds(
                tr(
                    "the tensor {name!r} has {dimensions:,} dimensions",
                    name=name,
                    dimensions=dimensions,
                )
            )
        shape = tuple(self._reader.u64() for _ in range(dimensions))
        if 0 in shape:
            raise OutOfBounds(tr("the tensor {name!r} is empty", name=name))
        elements = element_count(shape)
        if elements > MAX_ELEMENTS:
            raise OutOfBounds(tr("the tensor {name!r} has an absurd shape", name=name))
        number = self._u32()
        kind = TENSOR_TYPES.get(number)
        if kind is None:
            age = tr("old, removed") if number in REMOVED_TENSOR_TYPES else "unknown"
            raise OutOfBounds(
                tr(
                    "the tensor {name!r} has the {age} type {number}",
                    name=name,
                    age=age,
                    number=number,
                )
            )
        if (shape[0] if shape else 1) % kind.block:
            raise OutOfBounds(
                tr(
                    "the rows of the tensor {name!r} are not whole blocks of {type}",
                    name=name,
                    type=kind.name,
                )
            )
        size = elements // kind.block * kind.size
        return Tensor(name, shape, kind.name, self._reader.u64(), size)

    def _u32(self) -> int:
        return int(self._reader.unpack(SCALARS[4])[0])

    def _bound(self, count: int, limit: int, what: str, *, least_bytes: int) -> None:
        if count > limit or count * least_bytes > self._reader.left:
            raise OutOfBounds(tr("it claims {count:,} {what}", count=count, what=what))


def _padded(count: int, alignment: int) -> int:
    return (count + alignment - 1) // alignment * alignment


def identify_format(start: bytes) -> str:
    """What a file is, by its first (up to 512) bytes."""
    if not start:
        return tr("empty")
    if not start.strip(b"\0"):
        return tr("filled with zeros, as downloads that were cut are")
    return _by_magic(start) or _by_text(start) or tr("something else")


def _by_magic(start: bytes) -> str:
    if start[257:262] == b"ustar":
        return tr("a tar archive")
    if start[8:9] == b"{" and not start[4:8].strip(b"\0"):  # a length, then JSON
        return tr("a safetensors file")
    return next((tr(words) for magic, words in MAGICS if start.startswith(magic)), "")


def _by_text(start: bytes) -> str:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the last character may be cut
    except UnicodeDecodeError:
        return ""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known = next((tr(words) for begin, words in TEXTS if text.startswith(begin)), "")
    return known or ("" if b"\0" in start else tr("text"))


def read_model_header(path: Path) -> tuple[Header, tuple[Path, ...]]:
    """The header of a model with the tensors and the size of all parts, and its further parts.

    The first part may hold the metadata only.

    Raises:
        ModelNotFound: The file, or a part of it, is not there.
        ModelInvalid: It is not a GGUF file, is damaged, or is not the first part.
    """
    header = read_header(path)
    parts = further_parts(path, header)
    if missing := [part for part in parts if not part.exists()]:
        raise _missing(missing)
    headers = (header, *map(read_header, parts))
    tensors = tuple(tensor for each in headers for tensor in each.tensors)
    return replace(
        header, tensors=tensors, file_size=sum(each.file_size for each in headers)
    ), parts


def further_parts(path: Path, header: Header) -> tuple[Path, ...]:
    """The files that continue ``path``, in order; empty for a model in one file.

    Raises:
        ModelInvalid: ``path`` is not the first part, was renamed, or claims too many parts.
        ModelNotFound: The first part is missing.
    """
    count = header.integer("split.count") or 1
    if count <= 1:
        return ()
    if count > MAX_PARTS:
        raise ModelInvalid(
            tr(
                "{path} is not usable: it claims to be in {count:,} parts",
                path=label(path),
                count=count,
            )
        )
    match = PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count:
        raise ModelInvalid(
            tr(
                "{path} is one of {count} parts of a model, but is not named like one",
                path=label(path),
                count=count,
            ),
            tr(
                "llama.cpp finds the parts by names like NAME-00001-of-{count:05}.gguf", count=count
            ),
        )
    names = [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    if path.name != names[0] or header.integer("split.no"):
        first = path.with_name(names[0])
        if not first.exists():
            raise _missing([first])
        raise ModelInvalid(
            tr(
                "{path} is part {number} of {count} of a model",
                path=label(path),
                number=int(match["number"]),
                count=count,
            ),
            tr("name the first part: {first}", first=label(first)),
        )
    return tuple(path.with_name(name) for name in names[1:])


def _missing(parts: Sequence[Path]) -> ModelNotFound:
    return ModelNotFound(
        tr(
            "parts of the model are missing: {listed}",
            listed=listed([label(part) for part in parts], 3),
        ),
        tr("put them beside the others, in {parent}", parent=parts[0].parent),
    )
