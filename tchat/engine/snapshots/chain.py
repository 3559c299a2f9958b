"""Segments of KV state, and the chains of them that hold a prefix of a prompt."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LEAD = 64  # tokens that two chats must share to be compared


@dataclass(frozen=True, slots=True)
class Segment:
    """The KV state of some tokens of a chat, in a file.

    Attributes:
        id: Its row.
        parent: The segment with the tokens before ``start``; None at the beginning.
        start: Position of its first token. The parent may be longer, in another branch.
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
    """A segment of a chain, used up to position ``stop``."""

    segment: Segment
    stop: int


Chain = tuple[Link, ...]


def packed(tokens: Sequence[int]) -> bytes:
    """Tokens as bytes, 4 each."""
    return array("i", tokens).tobytes()


def unpacked(data: bytes) -> list[int]:
    """Bytes as tokens."""
    return list(array("i", data))


def is_of(segment: Segment, vocabulary: int) -> bool:
    """Whether a vocabulary of this size has the tokens of a segment."""
    tokens = unpacked(segment.tokens)
    return min(tokens) >= 0 and max(tokens) < vocabulary


def lead_of(tokens: Sequence[int]) -> bytes:
    """A key that is equal for chats with the same first tokens; empty for short chats."""
    if len(tokens) < LEAD:
        return b""
    return hashlib.blake2b(packed(tokens[:LEAD]), digest_size=8).digest()


def length(chain: Chain) -> int:
    """Number of tokens of a chain."""
    return chain[-1].stop if chain else 0


def tokens_of(chain: Chain) -> list[int]:
    """The tokens of a chain."""
    data = bytearray()
    for link in chain:
        segment = link.segment
        data += segment.tokens[: 4 * (link.stop - segment.start)]
    return unpacked(bytes(data))


def cut(chain: Chain, stop: int) -> Chain:
    """The chain up to position ``stop``."""
    return tuple(
        Link(link.segment, min(link.stop, stop)) for link in chain if link.segment.start < stop
    )


def longest(segments: Sequence[Segment], prompt: Sequence[int]) -> Chain:
    """The chain with the longest prefix of ``prompt``."""
    wanted = packed(prompt)
    best: Chain = ()
    for chain in _chains(segments, wanted):
        if length(chain) > length(best):
            best = chain
    return best


def whole_chains(segments: Sequence[Segment]) -> Iterator[Chain]:
    """The chains of all segments that no other continues at their end."""
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
    """Chains that share a prefix with ``wanted``, each cut to that."""
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
    """Length of the common prefix, in tokens."""
    if wanted.startswith(tokens):
        return len(tokens) // 4
    most = min(len(tokens), len(wanted)) // 4
    return next(
        (at for at in range(most) if tokens[4 * at : 4 * at + 4] != wanted[4 * at : 4 * at + 4]),
        most,
    )
