"""Segments of KV state, and which of them hold the beginning of a prompt."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LEAD = 64  # tokens that two chats must begin with in common to be looked at


@dataclass(frozen=True, slots=True)
class Segment:
    """The state of some tokens of a chat, in a file.

    Attributes:
        id: Its row.
        parent: The segment that holds what comes before ``start``; None at the beginning.
        start: Position of its first token. The parent may go on beyond it, in another branch.
        stop: Position behind its last token.
        tokens: Its tokens, 4 bytes each.
        file: Name of the file.
        size: Bytes of the state in it.
    """

    id: int
    parent: int | None
    start: int
    stop: int
    tokens: bytes
    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Link:
    """A segment of a chain, of which the tokens up to position ``stop`` are meant."""

    segment: Segment
    stop: int


Chain = tuple[Link, ...]


def packed(tokens: Sequence[int]) -> bytes:
    """Tokens as bytes, 4 each."""
    return array("i", tokens).tobytes()


def unpacked(data: bytes) -> list[int]:
    """Tokens of bytes."""
    return list(array("i", data))


def is_of(segment: Segment, vocabulary: int) -> bool:
    """Whether the tokens of a segment are of a vocabulary of so many."""
    tokens = unpacked(segment.tokens)
    return min(tokens) >= 0 and max(tokens) < vocabulary


def lead_of(tokens: Sequence[int]) -> bytes:
    """What tells whether two chats begin alike; nothing of what is shorter, which all look at."""
    if len(tokens) < LEAD:
        return b""
    return hashlib.blake2b(packed(tokens[:LEAD]), digest_size=8).digest()


def length(chain: Chain) -> int:
    """Tokens that a chain holds."""
    return chain[-1].stop if chain else 0


def tokens_of(chain: Chain) -> list[int]:
    """The tokens that a chain holds."""
    data = bytearray()
    for link in chain:
        segment = link.segment
        data += segment.tokens[: 4 * (link.stop - segment.start)]
    return unpacked(bytes(data))


def cut(chain: Chain, stop: int) -> Chain:
    """The chain without what comes behind position ``stop``."""
    return tuple(
        Link(link.segment, min(link.stop, stop)) for link in chain if link.segment.start < stop
    )


def longest(segments: Sequence[Segment], prompt: Sequence[int]) -> Chain:
    """The chain that holds most of what ``prompt`` begins with."""
    wanted = packed(prompt)
    best: Chain = ()
    for chain in _chains(segments, wanted):
        if length(chain) > length(best):
            best = chain
    return best


def whole_chains(segments: Sequence[Segment]) -> Iterator[Chain]:
    """The chains of all segments that no other goes on from at their end."""
    by_id = {segment.id: segment for segment in segments}
    continued = {(segment.parent, segment.start) for segment in segments}
    for segment in segments:
        if (segment.id, segment.stop) in continued:
            continue
        links = [Link(segment, segment.stop)]
        while links[0].segment.parent is not None:
            above = by_id.get(links[0].segment.parent)
            if above is None or above.id >= links[0].segment.id:  # a parent is older: no circle
                break
            links.insert(0, Link(above, links[0].segment.start))
        if links[0].segment.parent is None:
            yield tuple(links)


def _chains(segments: Sequence[Segment], wanted: bytes) -> Iterator[Chain]:
    """Chains that begin as ``wanted`` does, each as far as it does."""
    below: dict[int | None, list[Segment]] = {}
    for segment in segments:
        below.setdefault(segment.parent, []).append(segment)
    waiting: list[Chain] = [()]
    while waiting:
        chain = waiting.pop()
        parent = chain[-1].segment.id if chain else None
        for segment in below.get(parent, ()):
            if segment.start > length(chain):
                continue
            begun = cut(chain, segment.start)
            same = _in_common(segment.tokens, wanted[4 * segment.start :])
            if same:
                longer = (*begun, Link(segment, segment.start + same))
                yield longer
                waiting.append(longer)


def _in_common(tokens: bytes, wanted: bytes) -> int:
    """How many tokens two begin with in common."""
    if wanted.startswith(tokens):
        return len(tokens) // 4
    most = min(len(tokens), len(wanted)) // 4
    return next(
        (at for at in range(most) if tokens[4 * at : 4 * at + 4] != wanted[4 * at : 4 * at + 4]),
        most,
    )
