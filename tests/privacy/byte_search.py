"""Searching the bytes of files for words, in every form that a program may write them."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LETTERS = "bcdfghjklmnpqrstvwxz"
HAN = "".join(map(chr, range(0x4E8C, 0x4F00)))
PIECE = 1 << 22  # bytes read at once
OVERLAP = 1 << 9


def forms(word: str) -> Iterator[bytes]:
    """The word in all forms; in base64 at each of its three offsets, without the ends."""
    for text in {word, word.upper(), word.capitalize()}:
        plain = text.encode()
        yield plain
        yield text.encode("utf-16-le")
        yield text.encode("utf-16-be")
        yield plain.hex().encode()
        yield plain.hex().upper().encode()
        for offset in range(3):
            coded = base64.b64encode(b"\0" * offset + plain)
            # The first and the last characters depend on what stands around.
            begin, end = -(-offset * 4 // 3), (offset + len(plain)) * 4 // 3
            yield coded[begin + (offset > 0) : end]
        if not text.isascii():
            escaped = json.dumps(text)[1:-1]
            yield escaped.encode()
            yield re.sub(r"\\u(....)", lambda match: f"\\u{match[1].upper()}", escaped).encode()


@dataclass(frozen=True, slots=True)
class Found:
    """A form of a word in a file."""

    path: Path
    form: bytes
    around: bytes


@dataclass
class ByteSearch:
    """Two stems that all canaries of a run are made of, and the places where they were seen.

    Attributes:
        seed: Of the stems: the same one makes the same words.
    """

    seed: int
    made: int = 0
    _tokens: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        self.stem = "".join(draw.choice(LETTERS) for _ in range(12))
        self.han = "".join(draw.choice(HAN) for _ in range(6))

    def canary(self) -> str:
        """A text that is not in any other file of the machine."""
        self.made += 1
        return f"{self.stem}{self.made} {self.han}{self.made}"

    def add_tokens(self, ids: Sequence[int]) -> None:
        """Search for a run of tokens too, as 32-bit numbers."""
        self._tokens.append(struct.pack(f"<{len(ids)}i", *ids))

    def search(self, roots: Iterable[Path], excluded: Iterable[Path] = ()) -> list[Found]:
        """Every file below ``roots`` that holds a form of a word; the first place in each."""
        wanted = {*forms(self.stem), *forms(self.han), *self._tokens}
        pattern = re.compile(b"|".join(re.escape(each) for each in sorted(wanted)))
        left_out = {each.resolve() for each in excluded}
        return [
            found
            for root in roots
            for path in below(root, left_out)
            if (found := _found(path, pattern)) is not None
        ]


def below(root: Path, left_out: set[Path]) -> Iterator[Path]:
    """The files below ``root``, and names that hold a word would be found by the caller."""
    for folder, folders, names in os.walk(root):
        folders[:] = [each for each in folders if Path(folder, each).resolve() not in left_out]
        yield from (Path(folder, each) for each in names)


def _found(path: Path, pattern: re.Pattern[bytes]) -> Found | None:
    if match := pattern.search(os.fsencode(path.name)):
        return Found(path, match[0], b"its name")
    try:
        if not path.is_file() or path.is_symlink():
            return None
        with path.open("rb") as file:
            rest = b""
            while piece := file.read(PIECE):
                data = rest + piece
                if match := pattern.search(data):
                    around = data[max(0, match.start() - 60) : match.end() + 60]
                    return Found(path, match[0], around)
                rest = data[-OVERLAP:]
    except OSError:
        return None
    return None
