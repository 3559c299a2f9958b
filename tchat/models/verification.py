"""Everything that can be found out about a model file without chatting with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tchat.errors import DoesNotFit, ExitCode, ModelError, TchatError
from tchat.humanize import count_text, size_text
from tchat.models.files import label
from tchat.models.hashing import HashProgress, compute_sha256
from tchat.models.metadata import ModelMetadata, hash_in_name
from tchat.models.metadata_cache import MetadataCache
from tchat.models.sources.source import LocalModel
from tchat.models.verify import ProbeCommand, probe, probe_limit, require_unchanged


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """One thing that was looked at. The text is raw.

    Attributes:
        topic: ``header``, ``content``, ``load``, or a topic of the chat template.
        state: ``ok``, ``note`` or ``problem``.
        text: What was found.
        code: Exit code of the failure that a problem leads to.
    """

    topic: str
    state: str
    text: str
    code: int = ExitCode.OK


@dataclass(frozen=True, slots=True)
class ProbeRunning:
    """The file is being loaded in a child, for at most ``limit`` seconds."""

    limit: float


VerifyProgress: TypeAlias = VerifyResult | HashProgress | ProbeRunning


def verify_model(
    found: LocalModel,
    store: MetadataCache,
    probe_command: ProbeCommand,
    *,
    build: str,
    content: bool = True,
) -> Iterator[VerifyProgress]:
    """Look at the header, the content, how it loads, and its chat template.

    The verdict of the loading is remembered, whatever was remembered before.

    Args:
        found: The file.
        store: Remembers verdict and hash.
        probe_command: As for `check`.
        build: Names the build of llama.cpp.
        content: Whether to read the whole file.
    """
    try:
        metadata = store.metadata(found.path)
    except ModelError as error:
        yield _problem("header", error)
        return
    told = (
        f"{metadata.architecture or 'no architecture'}, {count_text(metadata.parameters)} weights"
    )
    yield VerifyResult(
        "header", "ok", f"{told}, {metadata.quantization}, {size_text(metadata.size)}"
    )
    if content:
        yield from _content(metadata, store)
    if metadata.refusal:
        yield VerifyResult(
            "kind", "problem", f"{label(metadata.path)} {metadata.refusal}", ExitCode.MODEL
        )
        return
    yield from _load(metadata, store, probe_command, build)


def _content(metadata: ModelMetadata, store: MetadataCache) -> Iterator[VerifyProgress]:
    for path in (metadata.path, *metadata.parts):
        try:
            sha256 = yield from compute_sha256(path, store)
        except ModelError as error:
            yield _problem("content", error)
            continue
        expected = hash_in_name(path)
        if not expected:
            yield VerifyResult("content", "note", f"{label(path)} has the SHA-256 {sha256}")
        elif sha256 == expected:
            yield VerifyResult("content", "ok", f"is what was published: SHA-256 {sha256}")
        else:
            told = f"its SHA-256 is {sha256}, not {expected}: remove it and get it again"
            yield VerifyResult("content", "problem", told, ExitCode.MODEL)


def _load(
    metadata: ModelMetadata, store: MetadataCache, probe_command: ProbeCommand, build: str
) -> Iterator[VerifyProgress]:
    limit = probe_limit(metadata)
    yield ProbeRunning(limit)
    try:
        verdict = probe(metadata, probe_command, limit=limit)
        require_unchanged(metadata)
    except (ModelError, DoesNotFit) as error:
        yield _problem("load", error)
        return
    store.store_verdict(metadata, build, verdict)
    if not verdict.ok:
        yield VerifyResult(
            "load", "problem", f"{label(metadata.path)} {verdict.problem}", ExitCode.MODEL
        )
        return
    yield VerifyResult("load", "ok", "loads and answers")
    for topic, state, text in verdict.template:
        yield VerifyResult(topic, state, text)


def _problem(topic: str, error: TchatError) -> VerifyResult:
    return VerifyResult(topic, "problem", str(error), error.exit_code)
