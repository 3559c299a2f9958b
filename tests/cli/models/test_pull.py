"""``tchat models pull`` and ``search``: what a shell, a script and a person at a terminal see."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tchat.cli.models.hub import pull_progress_text
from tchat.models.hub.cache import cache_folder
from tchat.models.hub.download import (
    CheckingFile,
    Downloading,
    DownloadStalled,
    RetryingDownload,
    WaitingForLock,
)
from tests.cli.shell import COMMAND, tchat
from tests.models.gguf_builder import gguf
from tests.models.hub_server import PORTAL, SIGNATURE, Fault, HubServer, limited, sha256

REPO = "someone/Tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"
DATA = (gguf() + random.Random(1).randbytes(500_000))[:500_000]
HEADER = 262_144  # bytes that are read of it to judge it


@pytest.fixture
def server(hub_server: HubServer, measured: None) -> HubServer:
    hub_server.add(REPO, {FILE: DATA, "tiny-F16.gguf": DATA * 2, "README.md": b"x"})
    return hub_server


def final_names() -> list[Path]:
    return list(cache_folder().rglob("*.gguf"))


def incomplete() -> list[Path]:
    return list(cache_folder().rglob("*.incomplete"))


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    "name",
    [
        *(REPO, f"{REPO}:q4_k_m", f"hf.co/{REPO}:Q4_K_M", f"{REPO}:{FILE}"),
        f"https://huggingface.co/{REPO}/resolve/main/{FILE}?download=true",
    ],
)
def test_every_form_of_a_name_pulls_the_file(server: HubServer, name: str) -> None:
    ran = tchat("models", "pull", name)
    assert (ran.code, ran.err) == (0, "")
    assert Path(ran.out.rstrip("\n")).read_bytes() == DATA


def test_json_tells_what_is_where(server: HubServer) -> None:
    ran = tchat("models", "pull", REPO, "--json")
    value = json.loads(ran.out)
    (file,) = value["files"]
    assert Path(file["path"]).read_bytes() == DATA
    assert file["path"] == value["path"]
    assert (file["name"], file["sha256"], file["size"]) == (FILE, sha256(DATA), len(DATA))
    assert (value["name"], value["quantization"]) == (f"{REPO}:Q4_K_M", "Q4_K_M")
    assert value["commit"] == server.repositories[REPO].commit
    assert value["fetched"] == len(DATA)
    assert json.loads(tchat("models", "pull", REPO, "--json").out)["fetched"] == 0


def test_a_terminal_sees_progress_and_a_summary(server: HubServer) -> None:
    server.pace = 0.02
    child = pexpect.spawn(
        COMMAND[0],
        [*COMMAND[1:], "models", "pull", REPO],
        env={**os.environ, "TERM": "xterm"},
        encoding="utf-8",
        dimensions=(24, 100),
        timeout=30,
    )
    child.expect(r"━+─+ \d+ % of 500 kB · \d+ kB/s · \d+ s left")
    child.expect(rf"tchat: {REPO}:Q4_K_M \(500 kB\) came in \d+ s, \d+ kB/s, and its SHA-256")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_ctrl_c_keeps_what_came_and_says_how_to_go_on(server: HubServer) -> None:
    server.fail("storage", Fault(), Fault(stall=300_000 - HEADER))
    with subprocess.Popen(
        [*COMMAND, "models", "pull", REPO], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: [path.stat().st_size for path in incomplete()] == [300_000])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, b"")
    said = rf"tchat: stopped; (300 kB are kept; )?`tchat models pull {REPO}` resumes it\n"
    assert re.fullmatch(said, err.decode())
    assert final_names() == []
    assert tchat("models", "pull", REPO).code == 0
    assert server.sent() == len(DATA)


FAILURES = [
    ("api", Fault(401, {"X-Error-Message": "Invalid credentials in Authorization header"}), 5),
    ("resolve", Fault(403, {"X-Error-Code": "GatedRepo"}), 5),
    ("api", limited(3600), 5),
    ("api", PORTAL, 5),
    ("storage", PORTAL, 5),
    ("storage", Fault(flip=400_000), 5),
    ("resolve", Fault(404, {"X-Error-Code": "EntryNotFound"}), 3),
    ("api", Fault(404, {"X-Error-Code": "RepoNotFound"}), 3),
]


@pytest.mark.parametrize(("place", "fault", "code"), FAILURES)
def test_each_failure_is_one_line_and_leaves_nothing(
    server: HubServer, place: str, fault: Fault, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", server.token)
    # The header is asked for first, and is right; what is wrong is fetched once more.
    server.fail(place, *([Fault(), fault] if fault.flip else []), fault)  # type: ignore[arg-type]
    ran = tchat("models", "pull", REPO)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("tchat: ")
    assert ran.err.count("\n") == 1
    assert "; " in ran.err
    for secret in (server.token, SIGNATURE.partition("=")[2], server.storage_url):
        assert secret not in ran.err
    assert final_names() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("someone/Tinny-GGUF", "did you mean"),
        (f"{REPO}:Q4_K_S", "did you mean Q4_K_M"),
        (
            "./tiny.gguf",
            "is neither a name on the hub nor in the catalogue; name a model as user/repo",
        ),
        ("qwen3", "comes in several sizes: qwen3:0.6b, qwen3:1.7b"),
        ("qwen3:0.6b", "the hub has no model Qwen/Qwen3-0.6B-GGUF"),
        ("starter", "is neither a name on the hub nor in the catalogue; name a model as user/repo"),
        ("llama3", "did you mean llama3.2:1b or llama3.2:3b or llama3.1:8b?"),
        ("lama3", "did you mean llama3.2:1b or llama3.2:3b or llama3.1:8b?"),
    ],
)
def test_unknown_names_end_with_3_and_the_nearest(server: HubServer, name: str, said: str) -> None:
    server.add("someone/Tinny", {"tinny.gguf": b"x"})
    ran = tchat("models", "pull", name)
    assert (ran.code, ran.out) == (3, "")
    assert said in ran.err


def test_no_network_is_told(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ran = tchat("models", "search", "tiny")
    assert (ran.code, ran.err) == (
        5,
        "tchat: cannot reach 127.0.0.1; check the network connection and the proxy\n",
    )


def test_tls_that_cannot_be_trusted_is_told(
    server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url.replace("http:", "https:"))
    ran = tchat("models", "search", "tiny")
    assert (ran.code, ran.err.startswith("tchat: no safe connection to 127.0.0.1")) == (5, True)


def test_offline_mode_asks_nobody(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tchat("models", "pull", REPO).out
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(server.seen)
    assert tchat("models", "pull", REPO) == (0, path, "")
    ran = tchat("models", "pull", f"{REPO}:F16")
    assert (ran.code, ran.out) == (5, "")
    assert "switched off by HF_HUB_OFFLINE" in ran.err
    assert len(server.seen) == asked


def test_a_proxy_is_used(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert tchat("models", "pull", REPO).code == 0
    assert server.requests("api")[0].path.startswith("http://hub.invalid/api/models/")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "a SOCKS proxy needs one more package; run: pip"),
        ("HTTP_PROXY", "gopher://127.0.0.1:9", "HTTP_PROXY is not the URL of a proxy; it has"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "the certificates cannot be read: No such file"),
    ],
)
def test_settings_of_the_network_that_cannot_be_used_are_told(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv(variable, value)
    ran = tchat("models", "search", "tiny")
    assert ran.code == 5
    assert ran.err.startswith(f"tchat: {said}")
    assert ran.err.count("\n") == 1


def test_hf_variables_name_token_and_cache(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "token").write_text(server.token)
    monkeypatch.setenv("HF_HOME", str(home))
    server.repositories[REPO].gated = True
    path = Path(tchat("models", "pull", REPO).out.strip())
    assert path.is_relative_to(home / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    path = Path(tchat("models", "pull", REPO).out.strip())
    assert path.is_relative_to(tmp_path / "cache")


def test_search_lists_sizes_licence_and_downloads(server: HubServer) -> None:
    server.add("x/tiny-b", {"b-Q8_0.gguf": b"12345"}, downloads=12345, gated=True, tags=[])
    server.add("x/tiny-c", {"c.txt": b"12345"}, downloads=1)
    ran = tchat("models", "search", "tiny")
    assert [line.split("\t") for line in ran.out.splitlines()] == [
        ["x/tiny-b", "12,345", "(gated)", "596M", "2025-04-28", "Q8_0 5 B"],
        [
            *(REPO, "100", "apache-2.0", "596M", "2025-04-28"),
            "Q4_K_M 500 kB, of 2: 500 kB to 1.0 MB",
        ],
        ["x/tiny-c", "1", "apache-2.0", "596M", "2025-04-28", ""],
    ]


def test_search_as_json_names_what_can_be_pulled(server: HubServer) -> None:
    (found,) = json.loads(tchat("models", "search", "tiny", "--json").out)
    assert found["models"][1] == {
        "name": f"{REPO}:Q4_K_M",
        "quantization": "Q4_K_M",
        "size": 500_000,
    }
    assert (found["downloads"], found["licence"], found["gated"]) == (100, "apache-2.0", False)


def test_search_stays_useful_when_a_repository_tells_nothing(server: HubServer) -> None:
    server.fail("api", Fault(), Fault(500))
    assert tchat("models", "search", "tiny").out.split("\t")[0] == REPO


def test_hostile_names_reach_the_terminal_tamed(server: HubServer) -> None:
    server.repositories[REPO].tags = ["license:\x1b]52;c;aGk=\x07"]
    ran = tchat("models", "search", "tiny")
    assert ran.code == 0
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (CheckingFile(1, 4), "25 % checking what came earlier"),
        (Downloading(50, 100, 0.0, 0.0), "50 % of 100 B"),
        (Downloading(1_000_000, 4_000_000, 1e5, 30.0), "25 % of 4.0 MB · 100 kB/s · 30 s left"),
        (WaitingForLock(3, 4), "75 % another process pulls it"),
        (DownloadStalled(7.2, 20.0), "nothing came for 7 s · a new attempt after 20 s"),
        (
            RetryingDownload("the hub has a problem", 4.0),
            "the hub has a problem · a new attempt in 4 s",
        ),
        (RetryingDownload("it was cut", 0.0), "it was cut · a new attempt"),
    ],
)
def test_each_event_has_its_words(event: Downloading, words: str) -> None:
    assert pull_progress_text(event).endswith(words)


def test_a_file_with_an_ending_in_capitals_is_pulled_listed_used_and_removed(
    hub_server: HubServer, tiny_model: Path
) -> None:
    hub_server.add("someone/Loud-GGUF", {"LOUD.Q4_K_M.GGUF": tiny_model.read_bytes()})
    name = "someone/Loud-GGUF:Q4_K_M"
    assert tchat("models", "pull", "-y", name).code == 0
    assert name in tchat("models", "ls").out
    answered = tchat("-m", name, "--max-tokens", "1", "Hello")
    assert answered.code == 0, answered.err
    assert tchat("-m", "loud", "--max-tokens", "1", "Hello").code == 0
    assert tchat("models", "rm", "-y", name).code == 0
    assert name not in tchat("models", "ls").out


def test_the_projector_and_the_draft_model_come_too(server: HubServer) -> None:
    names = {"mmproj-tiny-F16.gguf": DATA[:90_000], "mtp-tiny-Q8_0.gguf": DATA[:80_000]}
    server.add(REPO, {FILE: DATA, "mmproj-tiny-F32.gguf": DATA[:95_000], **names})
    value = json.loads(tchat("models", "pull", REPO, "--no-companions", "--json").out)
    assert value["companions"] == []
    value = json.loads(tchat("models", "pull", REPO, "--json").out)
    assert [each["files"][0]["name"] for each in value["companions"]] == list(names)
    for each in value["companions"]:
        assert Path(each["path"]).read_bytes() == names[each["files"][0]["name"]]
    value = json.loads(tchat("models", "pull", f"{REPO}:mmproj-tiny-F32.gguf", "--json").out)
    assert value["companions"] == []


def test_a_companion_that_fails_does_not_fail_the_model(server: HubServer) -> None:
    server.add(REPO, {FILE: DATA, "mmproj-tiny-F16.gguf": DATA[:90_000]})
    assert tchat("models", "pull", REPO, "--no-companions").code == 0
    server.fail("storage", *[Fault(flip=80_000)] * 9)
    ran = tchat("models", "pull", REPO)
    assert (ran.code, "mmproj-tiny-F16.gguf was not downloaded" in ran.err) == (0, True)
    assert Path(ran.out.rstrip("\n")).read_bytes() == DATA
