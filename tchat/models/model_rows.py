"""What is known of a model, as pairs of label and text. Texts are raw, and bounded in length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tchat.humanize import count_text, size_text
from tchat.models.fit_report import FitReport, gigabytes, speed_text
from tchat.models.gguf.details import HeaderDetails
from tchat.models.gguf.header import Value
from tchat.models.library import LibraryModel
from tchat.models.metadata import ModelMetadata

if TYPE_CHECKING:
    from tchat.models.hub.remote_model import RemoteModel

NOT_DECLARED = "not declared"
LONGEST_VALUE = 200  # characters of a metadata value
MOST_KEYS = 400
LONGEST_TEMPLATE = 20_000  # characters; the longest in circulation has 18,000

InfoRow = tuple[str, str]
SHOWN = ("f16", "q8_0")  # types of the KV cache


def model_rows(row: LibraryModel, details: HeaderDetails) -> Iterator[InfoRow]:
    """Rows about a model on this disk."""
    yield "name", row.name
    yield "file", str(row.path)
    yield "owner", row.owner
    if (metadata := row.metadata) is not None:
        yield from (("part", str(part)) for part in metadata.parts)
        yield from _told_by_header(metadata)
    yield "licence", details.licence or NOT_DECLARED
    yield "verdict", row.verdict
    yield "GGUF", f"version {details.version}"


def remote_model_rows(remote_model: RemoteModel) -> Iterator[InfoRow]:
    """Rows about a model on the hub."""
    listing = remote_model.listing
    yield "name", remote_model.model.name
    yield "owner", "not on this disk"
    if remote_model.reason:
        yield "chosen", remote_model.reason
    yield "repository", listing.repo
    for file in remote_model.model.files:
        yield "file", file.name
    yield from _told_by_header(remote_model)
    yield "downloads", f"{listing.downloads:,} in the last month"
    gated = " (gated: accept its terms on the hub first)" if listing.gated else ""
    licence = listing.licence or remote_model.details.licence or NOT_DECLARED
    yield "licence", licence + gated
    if remote_model.refusal:
        yield "verdict", remote_model.refusal
    yield "GGUF", f"version {remote_model.details.version}"


def header_rows(details: HeaderDetails) -> Iterator[InfoRow]:
    """Rows about the header: special tokens, tensors, metadata, the chat template."""
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


def _told_by_header(metadata: ModelMetadata | RemoteModel) -> Iterator[InfoRow]:
    yield "title", metadata.title
    yield "kind", metadata.kind
    yield "family", metadata.architecture
    yield "weights", count_text(metadata.parameters)
    yield "quantization", metadata.quantization
    yield "context", f"{metadata.context_length:,}"
    yield "size", size_text(metadata.size)


def _told(value: Value) -> str:
    """A metadata value as text; of a long array only the number of its values."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float | str):
        return str(value)[:LONGEST_VALUE]
    items = ", ".join(str(item) for item in value.items[:8])[:LONGEST_VALUE]
    return f"{value.count:,} values" + (f": {items}" if items else "")


def fit_rows(report: FitReport) -> Iterator[tuple[str, str]]:
    """Rows about the fit: verdict, speed, memory by context length with an f16 and a q8_0 cache."""
    yield "fit", f"it {report.fit.summary}"
    if report.speed:
        told = "measured here" if report.known else "expected, with a short context"
        yield "speed", f"{speed_text(report.speed)} tokens/s {told}"
    if report.machine.memory is not None:
        yield "free memory", gigabytes(report.machine.memory.free)
    for gpu in report.machine.gpus:
        yield f"free on {gpu.name}", gigabytes(gpu.free)
    largest = (f"{report.largest[kv_type]:,} tokens with {kv_type}" for kv_type in SHOWN)
    yield "largest context", ", ".join(largest)
    yield "needs for weights", gigabytes(report.rows[0].need.weights)
    for context in sorted({row.context for row in report.rows}):
        needs = (
            f"{gigabytes(row.need.total)} with {row.kv_type}"
            f" ({gigabytes(row.need.context)} of it the context{'' if row.fits else ': too much'})"
            for row in report.rows
            if row.context == context and row.kv_type in SHOWN
        )
        yield f"needs at {context:,}", ", ".join(needs)
