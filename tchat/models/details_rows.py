"""What a model file says about itself, as lines of two texts. Texts are raw, and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tchat.models.details import Details
from tchat.models.facts import ModelFacts
from tchat.models.header import Value
from tchat.models.library import ModelRow
from tchat.models.words import count_text, size_text

if TYPE_CHECKING:
    from tchat.models.prospect import Prospect

NOT_DECLARED = "not declared"
LONGEST_VALUE = 200  # characters of a metadata value
MOST_KEYS = 400
LONGEST_TEMPLATE = 20_000  # characters; the longest in circulation has 18,000

Row = tuple[str, str]


def about(row: ModelRow, details: Details) -> Iterator[Row]:
    """What a model on this disk is."""
    yield "name", row.name
    yield "file", str(row.path)
    yield "owner", row.owner
    if (facts := row.facts) is not None:
        yield from (("part", str(part)) for part in facts.parts)
        yield from _told_by_header(facts)
    yield "licence", details.licence or NOT_DECLARED
    yield "verdict", row.verdict
    yield "GGUF", f"version {details.version}"


def about_prospect(prospect: Prospect) -> Iterator[Row]:
    """What a model on the hub is."""
    listing = prospect.listing
    yield "name", prospect.model.name
    yield "owner", "not on this disk"
    if prospect.why:
        yield "chosen", prospect.why
    yield "repository", listing.repo
    for file in prospect.model.files:
        yield "file", file.name
    yield from _told_by_header(prospect)
    yield "downloads", f"{listing.downloads:,} in the last month"
    gated = " (gated: accept its terms on the hub first)" if listing.gated else ""
    licence = listing.licence or prospect.details.licence or NOT_DECLARED
    yield "licence", licence + gated
    if prospect.refusal:
        yield "verdict", prospect.refusal
    yield "GGUF", f"version {prospect.details.version}"


def inside(details: Details) -> Iterator[Row]:
    """What the file holds: tokens with a role, tensors, metadata, the chat template."""
    for token in details.special:
        text = "(no such token)" if token.text is None else token.text
        yield f"token {token.role}", f"{token.id:,} {text}"
    for mark, added in details.adds.items():
        if added is not None:
            yield f"adds {mark}", "yes" if added else "no"
    for group in details.tensors:
        told = f"{group.tensors:,} tensors, {count_text(group.weights)} weights"
        yield f"tensors {group.type}", f"{told}, {size_text(group.size)}"
    for key, value in list(details.metadata.items())[:MOST_KEYS]:
        yield key, _told(value)
    if len(details.metadata) > MOST_KEYS:
        yield "…", f"and {len(details.metadata) - MOST_KEYS:,} more keys"
    if not details.template:
        yield "template", "none"
    for line in details.template[:LONGEST_TEMPLATE].splitlines():
        yield "template", line


def _told_by_header(facts: ModelFacts | Prospect) -> Iterator[Row]:
    yield "title", facts.title
    yield "kind", facts.kind
    yield "family", facts.architecture
    yield "weights", count_text(facts.parameters)
    yield "quantization", facts.quantization
    yield "context", f"{facts.context_length:,}"
    yield "size", size_text(facts.size)


def _told(value: Value) -> str:
    """A metadata value in words; of a long array only what it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | str):
        return str(value)[:LONGEST_VALUE]
    items = ", ".join(str(item) for item in value.items[:8])[:LONGEST_VALUE]
    return f"{value.count:,} values" + (f": {items}" if items else "")
