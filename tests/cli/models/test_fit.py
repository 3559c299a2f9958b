"""Whether a model fits and how fast it would be, as the listings and ``pull`` tell it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tchat.chat import machine
from tchat.models.catalogue import load_catalogue
from tchat.models.memory import Machine, Memory
from tchat.models.metadata import MetadataCache
from tchat.paths import user_paths
from tests.cli.models.conftest import RATE
from tests.cli.shell import Ran, Shell, tchat
from tests.models.gguf_builder import STRING, but, gguf, key
from tests.models.hub_server import HubServer
from tests.models.model_folders import hub_file

REPO = "acme/Tiny-GGUF"
SMALL, LARGE = "Tiny-Q4_K_M.gguf", "Tiny-Q8_0.gguf"
pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def hub(hub_server: HubServer, tiny_model: Path) -> HubServer:
    """A hub with one model in two quantizations; the larger file is twice as large."""
    data = tiny_model.read_bytes()
    hub_server.add(REPO, {SMALL: data, LARGE: data + bytes(len(data))})
    return hub_server


@pytest.fixture
def shell(hub: HubServer, home: Path, tmp_path: Path) -> Shell:
    """The program in this process, over the hub."""
    user = str(tmp_path / "user")
    return Shell({"TCHAT_HOME": str(home), "HF_ENDPOINT": hub.url, "HOME": user, "TERM": "dumb"})


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    found = Machine(Memory(size, 64 << 30))
    monkeypatch.setattr(machine, "this_machine", lambda: found)


def told(ran: Ran) -> dict[str, str]:
    assert ran.code == 0, ran.err
    return dict(line.split("\t", 1) for line in ran.out.splitlines())


def test_show_tells_all_of_a_model_on_the_hub(shell: Shell, hub: HubServer) -> None:
    rows = told(shell("models", "show", f"{REPO}:Q4_K_M"))
    assert rows["name"] == f"{REPO}:Q4_K_M"
    assert rows["owner"] == "not on this disk"
    assert (rows["licence"], rows["family"]) == ("apache-2.0", "llama")
    assert rows["fit"] == "it fits, with its whole context of 4,096 tokens"
    assert "speed" not in rows  # of so small a file it cannot be told
    assert "with q8_0" in rows["needs at 4,096"]
    assert rows["token eos"].endswith("<|im_end|>")
    assert "chosen" not in rows
    size = len(hub.repositories[REPO].files[SMALL])
    assert hub.sent() <= size


def test_without_a_quantization_the_largest_that_fits_is_shown_and_pulled(shell: Shell) -> None:
    rows = told(shell("models", "show", REPO))
    assert rows["quantization"] == "Q8_0"
    assert rows["chosen"] == "it is the largest that fits with 4,096 tokens of context"
    ran = shell("models", "pull", REPO, terminal=True)
    assert ran.code == 0
    assert Path(ran.out.strip()).name == LARGE
    assert f"{REPO}:Q8_0 (" in ran.err
    assert "it is the largest that fits" in ran.err
    assert "needs at 4,096" in ran.err


def test_a_program_gets_the_same(shell: Shell) -> None:
    shown = json.loads(shell("models", "show", REPO, "--json").out)
    assert (shown["path"], shown["chosen"][:17]) == (None, "it is the largest")
    assert shown["fit"]["speed"] is None
    assert shown["fit"]["speed_measured"] is False
    assert [file["name"] for file in shown["files"]] == [LARGE]
    pulled = json.loads(shell("models", "pull", REPO, "--json").out)
    assert pulled["chosen"] == shown["chosen"]
    assert pulled["fit"]["words"] == shown["fit"]["words"]


def test_what_does_not_fit_is_not_pulled_by_a_script(
    shell: Shell, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 1_000_000)
    ran = shell("models", "pull", REPO)
    assert (ran.code, ran.out) == (4, "")
    assert "none fits with 4,096 tokens of context, and it is the usual one" in ran.err
    assert "does not fit: 2,048 tokens need 0.0" in ran.err
    assert "free are 0.00 GB; name a smaller one, or download it anyway with --yes" in ran.err
    ran = shell("models", "pull", REPO, "--yes")
    assert (ran.code, Path(ran.out.strip()).name) == (0, SMALL)


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 2), (b"", 2)])
def test_what_does_not_fit_is_pulled_after_asking(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: bytes, code: int
) -> None:
    free(monkeypatch, 1_000_000)
    ran = shell("models", "pull", REPO, terminal=True, stdin=answer)
    assert ran.code == code
    assert "does not fit" in ran.err
    assert "anyway? [y/N]" in ran.err


def test_what_was_begun_is_gone_on_with_unasked(
    shell: Shell, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shell("models", "pull", f"{REPO}:Q4_K_M").out
    blob = Path(whole.strip()).resolve()
    blob.rename(blob.with_name(f"{blob.name}.incomplete"))
    Path(whole.strip()).unlink()
    free(monkeypatch, 1_000_000)
    assert shell("models", "pull", REPO).out == whole


def test_what_cannot_chat_is_told_before_it_is_pulled(shell: Shell, hub: HubServer) -> None:
    data = gguf(but(key("general.architecture", STRING, "nomic-bert")))
    hub.add("acme/Embed-GGUF", {"Embed-Q8_0.gguf": data})
    ran = shell("models", "pull", "acme/Embed-GGUF")
    assert ran.code == 3
    assert "is an embedding model, not a model that can chat" in ran.err
    assert shell("models", "pull", "acme/Embed-GGUF", "-y").code == 0


# The catalogue


def test_the_catalogue_tells_how_each_would_do_here(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, 9_500_000_000)
    rows = [line.split("\t") for line in shell("models", "catalogue").out.splitlines()]
    by_name = {row[0]: row for row in rows}
    assert len(rows) == len(load_catalogue())
    assert by_name["qwen3:8b"][1:5] == ["8.2B", "Q4_K_M", "5.1 GB", "fits"]
    assert by_name["llama3.3:70b"][4] == "too large"
    assert by_name["qwen3:30b"][1] == "31B, 3.4B active"
    assert by_name["starter"][6] == "yes"
    seconds = float(by_name["gpt-oss:20b"][5]), float(by_name["mistral-small3.2:24b"][5])
    assert seconds[0] > 3 * seconds[1]


def test_a_program_gets_the_whole_catalogue(shell: Shell) -> None:
    found = {each["name"]: each for each in json.loads(shell("models", "catalogue", "--json").out)}
    entry = found["gemma3:4b"]
    assert (entry["repo"], entry["licence"]) == ("ggml-org/gemma-3-4b-it-GGUF", "Gemma")
    assert entry["path"] is None
    assert entry["sampling"] == {"temperature": 1.0, "top_k": 64, "top_p": 0.95, "min_p": 0.0}
    assert found["gemma4:31b"]["mmproj"] == "mmproj-F16.gguf"
    assert found["starter"]["path"].endswith(".gguf")


def test_the_catalogue_is_narrowed_to_a_purpose_and_a_size(shell: Shell) -> None:
    found = json.loads(
        shell("models", "catalogue", "--for", "code", "--max-size", "8GB", "--json").out
    )
    assert {"qwen3:8b", "qwen2.5-coder:7b"} <= {each["name"] for each in found}
    assert all(each["size"] <= 8e9 and "code" in each["abilities"] for each in found)
    small = json.loads(shell("models", "catalogue", "--max-size", "1GB", "--json").out)
    [narrowed] = [each for each in small if each["name"] == "llama3.2:1b"]
    assert narrowed["quantization"] == "Q5_K_M"  # its Q8_0 has 1.3 GB
    embedding = json.loads(shell("models", "catalogue", "--for", "embedding", "--json").out)
    assert {"embeddinggemma:300m", "qwen3-embedding:8b"} <= {each["name"] for each in embedding}
    assert shell("models", "catalogue", "--max-size", "1MB").out == ""


@pytest.mark.parametrize("purpose", ["code", "vision", "embedding"])
@pytest.mark.parametrize("width", [80, 120, 400])
def test_a_model_of_the_catalogue_is_on_one_line(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, purpose: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    header, *lines = shell("models", "catalogue", "--for", purpose, terminal=True).out.splitlines()
    names = [name for name, entry in load_catalogue().items() if purpose in entry.abilities]
    assert [line.split()[0] for line in lines] == names
    assert all(len(line) <= width for line in (header, *lines))
    assert all(word in header for word in ("NAME", "SIZE", "FIT", "TOKENS/S", "ABILITIES"))
    assert ("LICENCE" in header) == (width == 400)
    if width > 80:
        assert all(purpose in line for line in lines)


def test_the_catalogue_in_a_pipe_has_all_columns(shell: Shell) -> None:
    rows = [line.split("\t") for line in shell("models", "catalogue").out.splitlines()]
    abilities = {row[0]: row[10] for row in rows}
    assert abilities["gemma4:e2b"] == "chat, code, reasoning, vision, tools"


@pytest.mark.parametrize("size", ["big", "-1", "8XB", "1e9"])
def test_what_is_no_size_is_refused(shell: Shell, size: str) -> None:
    ran = shell("models", "catalogue", "--max-size", size)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"tchat: {size} is no size; write it as in 8GB or 700MB\n"


def test_names_of_the_catalogue_are_names_everywhere(
    shell: Shell, hub: HubServer, tiny_model: Path
) -> None:
    hub.add("Qwen/Qwen3-0.6B-GGUF", {"Qwen3-0.6B-Q8_0.gguf": tiny_model.read_bytes()})
    absent = tchat("-m", "qwen3:0.6b", "hi")
    assert (absent.code, absent.out) == (3, "")
    assert absent.err == (
        "tchat: qwen3:0.6b is not on this disk; get it: tchat models pull qwen3:0.6b\n"
    )
    assert told(shell("models", "show", "qwen3:0.6b"))["repository"] == "Qwen/Qwen3-0.6B-GGUF"
    path = shell("models", "pull", "QWEN3:0.6b").out.strip()
    assert told(shell("models", "show", "qwen3:0.6b"))["file"] == path
    assert shell("models", "alias", "set", "small", "qwen3:0.6b").code == 0
    assert told(shell("models", "show", "small"))["file"] == path
    assert shell("models", "rm", "qwen3:0.6b", "--yes").code == 0
    assert told(shell("models", "show", "small"))["repository"] == "Qwen/Qwen3-0.6B-GGUF"
    assert shell("models", "pull", "small").out.strip() == path


# Speed


def test_the_machine_is_measured_once_an_hour(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([10e9, 30e9, 20e9])
    monkeypatch.setattr(machine, "weights_rate", lambda: next(rates))
    now = time.time()

    def rate(after: float) -> float:
        return machine.measured_machine(user_paths(), lambda: now + after).speed

    assert rate(60) == RATE  # as the fixture measured it
    assert rate(2 * 3600) == RATE  # 10 now: busy
    assert rate(2 * 3600 + 60) == RATE
    assert rate(4 * 3600) == 30e9
    assert rate(6 * 3600) == 30e9


def test_speeds_are_told_by_the_last_replies(home: Path, tiny_model: Path) -> None:
    with MetadataCache(user_paths()) as store:
        metadata = store.metadata(tiny_model)
        assert store.speed(metadata) == 0
        store.record_speed(metadata, 10.0)
        store.record_speed(metadata, 20.0)
        assert 10 < store.speed(metadata) < 20


def test_a_file_on_this_disk_is_shown_without_the_hub(
    shell: Shell, hub: HubServer, tmp_path: Path
) -> None:
    hub_file(tmp_path / "user", REPO, SMALL)
    asked = len(hub.seen)
    assert told(shell("models", "show", REPO))["owner"] == "Hugging Face"
    assert len(hub.seen) == asked


def test_show_tells_whether_a_model_fits(tiny_model: Path) -> None:
    shown = tchat("models", "show", str(tiny_model))
    assert "fit\tit fits, with its whole context of 4,096 tokens" in shown.out
    assert "needs at 4,096\t0.0" in shown.out


def test_the_needs_as_json(tiny_model: Path) -> None:
    fit = json.loads(tchat("models", "show", "--json", str(tiny_model)).out)["fit"]
    assert fit["good"] is True
    assert fit["largest_context"] == {"f16": 4096, "q8_0": 4096, "q4_0": 4096}
    for need in fit["needs"]:
        assert need["total"] == need["weights"] + need["cache"] + need["buffers"]
