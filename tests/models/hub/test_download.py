"""A pulled model is complete and right under its names, or not there; what came is never lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tchat.errors import ModelNotFound, StorageError
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.hub.client import HubError, ResponseLimits, _abort
from tchat.models.hub.download import (
    CheckingFile,
    Downloading,
    DownloadStalled,
    PullStopped,
    RetryingDownload,
    RetryPolicy,
    WaitingForLock,
)
from tchat.models.hub.pull import HubUnavailable, ModelSelected, Pulled, PullEvent, pull
from tchat.models.hub.repository import HubName
from tests.egress.user_log import hub_api
from tests.models.hub.pull_stage import DATA, FILE, NAME, NO_WAIT, PARTS, REPO, SIZE, PullStage, of
from tests.models.hub_server import SIGNATURE, Fault, limited, sha256


def test_a_pulled_model_lies_in_the_shared_layout(pull_stage: PullStage) -> None:
    events = pull_stage.pull()
    found, pulled = events[0], events[-1]
    assert isinstance(found, ModelSelected)
    assert isinstance(pulled, Pulled)
    assert (found.model.name, found.missing) == (f"{REPO}:Q4_K_M", SIZE)
    commit = pull_stage.server.repositories[REPO].commit
    folder = pull_stage.cache.folder(REPO)
    (path,) = pulled.paths
    assert path == folder / "snapshots" / commit / FILE
    assert path.read_bytes() == DATA
    assert path.readlink() == Path("../../blobs") / sha256(DATA)
    assert (folder / "refs" / "main").read_text() == commit
    assert not pull_stage.incomplete().exists()
    assert (pulled.fetched, pull_stage.server.sent()) == (SIZE, SIZE)


def test_huggingface_hub_finds_what_was_pulled(pull_stage: PullStage) -> None:
    pulled = pull_stage.pull()[-1]
    assert isinstance(pulled, Pulled)
    code = f"from huggingface_hub import *; print(hf_hub_download({REPO!r}, {FILE!r}))"
    for offline in ("0", "1"):
        env = {**os.environ, "HF_HUB_OFFLINE": offline}
        told = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
        assert told.strip() == str(pulled.paths[0])
    assert len(pull_stage.fetched()) == 1


def test_what_huggingface_hub_fetched_is_found(pull_stage: PullStage) -> None:
    code = f"from huggingface_hub import *; hf_hub_download({REPO!r}, {FILE!r})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    pulled = pull_stage.pull()[-1]
    assert isinstance(pulled, Pulled)
    assert (pulled.fetched, len(pull_stage.fetched())) == (0, 1)


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_HUB_CACHE": "~/a"},
        {"HUGGINGFACE_HUB_CACHE": "/b"},
        {"HF_HOME": "$HOME/c"},
        {"XDG_CACHE_HOME": "/d", "HF_HOME": ""},
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert str(cache_folder()) == done.stdout.strip()


def test_a_model_in_parts_appears_when_all_of_them_are_there(pull_stage: PullStage) -> None:
    pull_stage.server.fail("storage", Fault(), Fault(), Fault(403), Fault(403))
    name = HubName(REPO, "Q2_K")
    with pytest.raises(HubError):
        pull_stage.pull(name, retry_policy=RetryPolicy(attempts=1, first_wait=0))
    assert not list(pull_stage.cache.folder(REPO).glob("snapshots/*/*"))
    pulled = pull_stage.pull(name)[-1]
    assert isinstance(pulled, Pulled)
    assert [path.name for path in pulled.paths] == list(PARTS)
    assert [path.read_bytes() for path in pulled.paths] == list(PARTS.values())
    assert pull_stage.server.sent() == 150_000


def test_a_cut_download_goes_on_where_it_was_cut(pull_stage: PullStage) -> None:
    pull_stage.server.fail("storage", Fault(cut=100_000), Fault(cut=0), Fault(cut=50_000))
    events = pull_stage.pull()
    assert pull_stage.blob().read_bytes() == DATA
    ranges = [seen.headers.get("range") for seen in pull_stage.fetched()]
    assert ranges == [None, "bytes=100000-", "bytes=100000-", "bytes=150000-"]
    assert [event.reason for event in of(RetryingDownload, events)] == [
        "the connection to 127.0.0.1 was cut"
    ] * 3
    assert pull_stage.server.sent() == SIZE


def test_another_request_that_is_given_up_cuts_a_download_which_goes_on(
    pull_stage: PullStage,
) -> None:
    """The client's connections are closed together."""
    pull_stage.server.pace = 0.02  # 16 KiB each
    events: list[PullEvent] = []
    for event in pull(
        NAME, pull_stage.hub, pull_stage.cache, hashes=pull_stage.hashes, retry_policy=NO_WAIT
    ):
        if isinstance(event, Downloading) and event.done and not of(Downloading, events):
            _abort(Future())
        events.append(event)
    assert pull_stage.blob().read_bytes() == DATA
    assert len(of(RetryingDownload, events)) == 1
    assert pull_stage.fetched()[1].headers["range"].startswith("bytes=")


def test_what_an_earlier_process_left_is_checked_and_used(pull_stage: PullStage) -> None:
    pull_stage.leave(DATA[:200_000])
    events = pull_stage.pull()
    assert of(CheckingFile, events)[-1] == CheckingFile(200_000, 200_000)
    assert pull_stage.blob().read_bytes() == DATA
    assert pull_stage.server.sent() == 100_000
    found, pulled = events[0], events[-1]
    assert isinstance(found, ModelSelected)
    assert isinstance(pulled, Pulled)
    assert (found.missing, pulled.fetched) == (100_000, 100_000)


def test_what_was_complete_but_not_renamed_is_not_fetched_again(pull_stage: PullStage) -> None:
    pull_stage.leave(DATA)
    pull_stage.pull()
    assert pull_stage.blob().read_bytes() == DATA
    assert pull_stage.fetched() == []


@pytest.mark.parametrize("left", [bytes(200_000), DATA[:199_999] + b"\0", DATA + b"more"])
def test_a_damaged_earlier_part_is_fetched_anew(pull_stage: PullStage, left: bytes) -> None:
    pull_stage.leave(left)
    pull_stage.pull()
    assert pull_stage.blob().read_bytes() == DATA


def test_a_server_without_ranges_starts_over(pull_stage: PullStage) -> None:
    pull_stage.server.fail("storage", Fault(cut=100_000), Fault(no_range=True))
    pull_stage.pull()
    assert pull_stage.blob().read_bytes() == DATA
    assert pull_stage.server.sent() == SIZE + 100_000


def test_a_server_that_never_gets_further_is_given_up(pull_stage: PullStage) -> None:
    pull_stage.server.fail("storage", *[Fault(cut=100_000, no_range=True)] * 9)
    with pytest.raises(HubError, match="was cut"):
        pull_stage.pull()
    assert len(pull_stage.fetched()) == 1 + NO_WAIT.attempts


def test_wrong_bytes_never_get_a_final_name(pull_stage: PullStage) -> None:
    pull_stage.server.fail("storage", Fault(flip=123_456))
    with pytest.raises(HubError, match=rf"{FILE} does not have the hash .* discarded"):
        pull_stage.pull()
    assert pull_stage.names() == []
    assert pull_stage.incomplete().stat().st_size == 0
    pull_stage.pull()
    assert pull_stage.blob().read_bytes() == DATA


def test_a_stall_is_told_and_left(pull_stage: PullStage) -> None:
    pull_stage.server.fail("storage", Fault(stall=100_000))
    pull_stage.hub = hub_api(limits=ResponseLimits(silence=1.0))
    events = pull_stage.pull()
    stalled = of(DownloadStalled, events)
    assert stalled[0].seconds >= NO_WAIT.warn
    assert stalled[0].timeout == 1.0
    assert [event.reason for event in of(RetryingDownload, events)] == [
        "127.0.0.1 does not answer in time"
    ]
    assert pull_stage.blob().read_bytes() == DATA
    assert pull_stage.server.sent() == SIZE


@pytest.mark.parametrize(
    ("place", "faults"),
    [
        ("api", [Fault(500), Fault(503)]),
        ("api", [limited(0)]),
        ("resolve", [Fault(502), limited(0), Fault(504)]),
        ("storage", [Fault(403), Fault(500), Fault(403)]),  # a link that expired
    ],
)
def test_what_may_pass_is_tried_again(
    pull_stage: PullStage, place: Any, faults: list[Fault]
) -> None:
    pull_stage.server.fail(place, *faults)
    events = pull_stage.pull()
    assert len(of(RetryingDownload, events)) == len(faults)
    assert pull_stage.blob().read_bytes() == DATA


def test_the_hub_may_name_the_wait(pull_stage: PullStage) -> None:
    pull_stage.server.fail("resolve", limited(1))
    (retrying,) = of(RetryingDownload, pull_stage.pull())
    assert retrying.wait == 1.0


def test_a_long_wait_is_left_to_the_user(pull_stage: PullStage) -> None:
    pull_stage.server.fail("api", limited(600))
    with pytest.raises(HubError, match="try again in 600 s"):
        pull_stage.pull()


@pytest.mark.parametrize(("fault", "tried"), [(Fault(403), 1), (Fault(500), 4)])
def test_what_does_not_pass_ends_it(pull_stage: PullStage, fault: Fault, tried: int) -> None:
    pull_stage.server.fail("resolve", *[fault] * 9)
    with pytest.raises(HubError):
        pull_stage.pull()
    assert len(pull_stage.server.requests("resolve")) == tried
    assert pull_stage.names() == []


def test_a_gated_model_is_listed_and_not_pulled(pull_stage: PullStage) -> None:
    pull_stage.server.repositories[REPO].gated = True
    with pytest.raises(HubError, match="is gated: its terms must be accepted"):
        pull_stage.pull()
    assert pull_stage.fetched() == []


def test_a_token_opens_a_gated_model(
    pull_stage: PullStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull_stage.server.repositories[REPO].gated = True
    monkeypatch.setenv("HF_TOKEN", pull_stage.server.token)
    pull_stage.pull()
    assert pull_stage.blob().read_bytes() == DATA


def test_what_is_there_is_not_fetched_again(pull_stage: PullStage) -> None:
    first, second = pull_stage.pull()[-1], pull_stage.pull()[-1]
    assert isinstance(first, Pulled)
    assert isinstance(second, Pulled)
    assert (second.paths, second.fetched) == (first.paths, 0)
    assert len(pull_stage.fetched()) == 1


def test_a_new_commit_with_the_same_file_is_linked(pull_stage: PullStage) -> None:
    pull_stage.pull()
    pull_stage.server.repositories[REPO].files["README.md"] = b"new"
    pulled = pull_stage.pull()[-1]
    assert isinstance(pulled, Pulled)
    assert pulled.paths[0].parent.name == pull_stage.server.repositories[REPO].commit
    assert pulled.fetched == 0


def test_a_small_file_outside_the_large_file_storage_is_verified(pull_stage: PullStage) -> None:
    small = {"small-Q8_0.gguf": b"small"}
    pull_stage.server.add("a/b", small, small=set(small))
    pull_stage.server.fail("resolve", Fault(flip=2))
    with pytest.raises(HubError, match="does not have the hash"):
        pull_stage.pull(HubName("a/b"))
    pulled = pull_stage.pull(HubName("a/b"))[-1]
    assert isinstance(pulled, Pulled)
    assert pulled.paths[0].read_bytes() == b"small"


def test_without_the_hub_a_complete_model_is_named(pull_stage: PullStage) -> None:
    pulled = pull_stage.pull()[-1]
    pull_stage.server.fail("api", *[Fault(500)] * 9)
    events = pull_stage.pull()
    (unasked,) = of(HubUnavailable, events)
    assert unasked.reason == "the hub has a problem (HTTP 500)"
    assert isinstance(pulled, Pulled)
    assert isinstance(events[-1], Pulled)
    assert events[-1].paths == pulled.paths
    with pytest.raises(HubError, match="HTTP 500"):
        pull_stage.pull(HubName(REPO, "Q2_K"))


def test_an_unknown_repository_names_the_nearest_ones(pull_stage: PullStage) -> None:
    with pytest.raises(ModelNotFound, match=rf"no model some/tiny; did you mean {REPO}\?"):
        pull_stage.pull(HubName("some/tiny"))


@pytest.mark.parametrize(("free", "told"), [(1000, r"1\.0 kB are"), (0, "0 B are")])
def test_the_disk_is_looked_at_first(
    pull_stage: PullStage, monkeypatch: pytest.MonkeyPatch, free: int, told: str
) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))
    with pytest.raises(StorageError, match=rf"300 kB are missing, but only {told} free"):
        pull_stage.pull()
    assert pull_stage.fetched() == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 150 kB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_keeps_what_came(pull_stage: PullStage) -> None:
    with pytest.raises(StorageError, match=r"the disk is full: .* which resumes"):
        pull_stage.pull()
    assert pull_stage.incomplete().read_bytes() == DATA[: pull_stage.incomplete().stat().st_size]
    assert pull_stage.incomplete().stat().st_size == 150_000


def test_a_folder_that_cannot_be_made_is_told(pull_stage: PullStage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"Not a directory; .* HF_HUB_CACHE"):
        list(
            pull(
                NAME,
                pull_stage.hub,
                HubCache(tmp_path / "file" / "hub"),
                hashes=pull_stage.hashes,
                retry_policy=NO_WAIT,
            )
        )


def test_without_links_the_file_itself_gets_the_name(
    pull_stage: PullStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "symlink_to", refuse)
    pulled = pull_stage.pull()[-1]
    assert isinstance(pulled, Pulled)
    assert pulled.paths[0].read_bytes() == DATA
    again = pull_stage.pull()[-1]
    assert isinstance(again, Pulled)
    assert (again.model, again.paths, again.fetched) == (pulled.model, pulled.paths, 0)


def test_cancelling_keeps_what_came(pull_stage: PullStage) -> None:
    cancel = threading.Event()
    pull_stage.server.fail("storage", Fault(stall=100_000))
    events = pull(
        NAME,
        pull_stage.hub,
        pull_stage.cache,
        hashes=pull_stage.hashes,
        retry_policy=NO_WAIT,
        cancelled=cancel.is_set,
    )
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, DownloadStalled):
            cancel.set()
    assert seen[-1] == PullStopped(100_000, SIZE)
    pull_stage.pull()
    assert pull_stage.server.sent() == SIZE


def test_leaving_the_generator_lets_the_next_one_in(pull_stage: PullStage) -> None:
    pull_stage.server.pace = 0.01
    events = pull(
        NAME, pull_stage.hub, pull_stage.cache, hashes=pull_stage.hashes, retry_policy=NO_WAIT
    )
    assert any(isinstance(event, Downloading) for event in events)
    assert isinstance(events, Generator)
    events.close()
    pull_stage.server.pace = 0.0
    assert isinstance(pull_stage.pull()[-1], Pulled)


def test_progress_tells_rate_and_time_left(pull_stage: PullStage) -> None:
    pull_stage.server.pace = 0.05
    progress = of(Downloading, pull_stage.pull())
    assert [event.total for event in progress] == [SIZE] * len(progress)
    assert sorted(event.done for event in progress) == [event.done for event in progress]
    last = progress[-1]
    assert 0 < last.rate < 1e6
    assert last.left == pytest.approx((SIZE - last.done) / last.rate)


LIBRARY = f"from huggingface_hub import *; hf_hub_download({REPO!r}, {FILE!r})"
OURS = f"""
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.hub.repository import HubName
from tchat.models.hub.pull import pull
from tests.egress.user_log import hub_api
from tests.models.hub.pull_stage import MemoryHashes
list(pull(HubName({REPO!r}), hub_api(), HubCache(cache_folder()), hashes=MemoryHashes()))
"""


@pytest.mark.parametrize("code", [OURS, LIBRARY], ids=["tchat", "huggingface_hub"])
def test_two_processes_share_one_transfer(pull_stage: PullStage, code: str) -> None:
    pull_stage.server.pace = 0.05
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        pull_stage.server.wait_until_sent(50_000)
        events = pull_stage.pull()
        assert other.wait(30) == 0
    assert of(WaitingForLock, events)[0].total == SIZE
    pulled = events[-1]
    assert isinstance(pulled, Pulled)
    assert (pulled.fetched, pull_stage.server.sent()) == (0, SIZE)
    assert pulled.paths[0].read_bytes() == DATA


def test_a_killed_process_leaves_its_bytes_and_no_lock(pull_stage: PullStage) -> None:
    pull_stage.server.pace = 0.02
    with subprocess.Popen([sys.executable, "-c", OURS]) as other:
        pull_stage.server.wait_until_sent(150_000)
        other.send_signal(signal.SIGKILL)
    assert pull_stage.names() == []
    pull_stage.server.pace = 0.0
    pulled = pull_stage.pull()[-1]
    assert isinstance(pulled, Pulled)
    assert pulled.fetched <= SIZE - 50_000
    assert pull_stage.blob().read_bytes() == DATA


def test_who_waits_takes_over_from_who_was_killed(pull_stage: PullStage) -> None:
    pull_stage.server.pace = 0.05
    with subprocess.Popen([sys.executable, "-c", OURS]) as other:
        pull_stage.server.wait_until_sent(150_000)
        events = pull(
            NAME, pull_stage.hub, pull_stage.cache, hashes=pull_stage.hashes, retry_policy=NO_WAIT
        )
        assert any(isinstance(event, WaitingForLock) for event in events)
        other.send_signal(signal.SIGKILL)
    pulled = list(events)[-1]
    assert isinstance(pulled, Pulled)
    assert 0 < pulled.fetched <= SIZE - 50_000
    assert pulled.paths[0].read_bytes() == DATA


def test_no_event_holds_a_signed_link_or_a_token(
    pull_stage: PullStage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", pull_stage.server.token)
    pull_stage.server.fail("storage", Fault(403), Fault(500), Fault(cut=5))
    told = repr(pull_stage.pull()) + "".join(capfd.readouterr())
    assert SIGNATURE.partition("=")[2] not in told
    assert pull_stage.server.token not in told
