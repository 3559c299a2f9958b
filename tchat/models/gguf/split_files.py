"""Split models: files such as ``NAME-00001-of-00003.gguf``.

llama.cpp opens the first part and finds the others by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tchat.errors import ModelInvalid, ModelNotFound
from tchat.models.files import MAX_PARTS, PART_NAME, label
from tchat.models.gguf.header import Header
from tchat.models.gguf.parser import read_header


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
        raise ModelInvalid(f"{label(path)} is not usable: it claims to be in {count:,} parts")
    match = PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count:
        raise ModelInvalid(
            f"{label(path)} is one of {count} parts of a model, but is not named like one",
            f"llama.cpp finds the parts by names like NAME-00001-of-{count:05}.gguf",
        )
    names = [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    if path.name != names[0] or header.integer("split.no"):
        first = path.with_name(names[0])
        if not first.exists():
            raise _missing([first])
        raise ModelInvalid(
            f"{label(path)} is part {int(match['number'])} of {count} of a model",
            f"name the first part: {label(first)}",
        )
    return tuple(path.with_name(name) for name in names[1:])


def read_parts(parts: tuple[Path, ...]) -> tuple[Header, ...]:
    """The headers of the further parts of a model.

    Raises:
        ModelInvalid: A part is damaged.
        ModelNotFound: Parts are missing.
    """
    missing = [part for part in parts if not part.exists()]
    if missing:
        raise _missing(missing)
    return tuple(read_header(part) for part in parts)


def _missing(parts: Sequence[Path]) -> ModelNotFound:
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return ModelNotFound(
        f"parts of the model are missing: {', '.join(map(label, parts[:3]))}{more}",
        f"put them beside the others, in {parts[0].parent}",
    )
