"""Everything that can be found out about a model file without chatting with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tchat.errors import DoesNotFit, ExitCode, ModelError, TchatError
from tchat.models.check import Command, probe, probe_limit, require_unchanged
from tchat.models.facts import ModelFacts, hash_in_name
from tchat.models.files import label
from tchat.models.hashing import Hashing, hashed
from tchat.models.place import Found
from tchat.models.store import ModelStore
from tchat.models.words import count_text, size_text


@dataclass(frozen=True, slots=True)
class Finding:
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
class Loading:
    """The file is being loaded in a child, for at most ``limit`` seconds."""

    limit: float


Progress: TypeAlias = Finding | Hashing | Loading


def examine(
    found: Found, store: ModelStore, probe_command: Command, *, build: str, content: bool = True
) -> Iterator[Progress]:
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
        facts = store.facts(found.path)
    except ModelError as error:
        yield _problem("header", error)
        return
    told = f"{facts.architecture or 'no architecture'}, {count_text(facts.parameters)} weights"
    yield Finding("header", "ok", f"{told}, {facts.quantization}, {size_text(facts.size)}")
    if content:
        yield from _content(facts, store)
    if facts.refusal:
        yield Finding("kind", "problem", f"{label(facts.path)} {facts.refusal}", ExitCode.MODEL)
        return
    yield from _load(facts, store, probe_command, build)


def _content(facts: ModelFacts, store: ModelStore) -> Iterator[Progress]:
    for path in (facts.path, *facts.parts):
        try:
            sha256 = yield from hashed(path, store)
        except ModelError as error:
            yield _problem("content", error)
            continue
        expected = hash_in_name(path)
        if not expected:
            yield Finding("content", "note", f"{label(path)} has the SHA-256 {sha256}")
        elif sha256 == expected:
            yield Finding("content", "ok", f"is what was published: SHA-256 {sha256}")
        else:
            told = f"its SHA-256 is {sha256}, not {expected}: remove it and get it again"
            yield Finding("content", "problem", told, ExitCode.MODEL)


def _load(
    facts: ModelFacts, store: ModelStore, probe_command: Command, build: str
) -> Iterator[Progress]:
    limit = probe_limit(facts)
    yield Loading(limit)
    try:
        verdict = probe(facts, probe_command, limit=limit)
        require_unchanged(facts)
    except (ModelError, DoesNotFit) as error:
        yield _problem("load", error)
        return
    store.remember(facts, build, verdict)
    if not verdict.ok:
        yield Finding("load", "problem", f"{label(facts.path)} {verdict.problem}", ExitCode.MODEL)
        return
    yield Finding("load", "ok", "loads and answers")
    for topic, state, text in verdict.template:
        yield Finding(topic, state, text)


def _problem(topic: str, error: TchatError) -> Finding:
    return Finding(topic, "problem", str(error), error.exit_code)
