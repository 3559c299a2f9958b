"""``tchat models update``: newer revisions, pulled beside what is here, which goes afterwards."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tchat.models.hub.cache import cache_folder
from tests.cli.shell import tchat
from tests.models.gguf_builder import gguf
from tests.models.hub_server import Fault, HubServer

REPO = "someone/Tiny-GGUF"
FILE, OTHER = "tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf"
OLD = (gguf() + random.Random(1).randbytes(300_000))[:300_000]
NEW = (gguf() + random.Random(2).randbytes(320_000))[:320_000]


@pytest.fixture
def server(hub_server: HubServer, measured: None) -> HubServer:
    """A hub that had the old file, which was pulled, and has a newer one now."""
    hub_server.add(REPO, {FILE: OLD, OTHER: OLD[:200_000]})
    for name in (FILE, OTHER):
        assert tchat("models", "pull", f"{REPO}:{name}").code == 0
    hub_server.add(REPO, {FILE: NEW, OTHER: OLD[:200_000]})
    return hub_server


def contents() -> list[bytes]:
    """What the names in the cache hold."""
    found = {path.resolve() for path in cache_folder().rglob("*.gguf")}
    return sorted((path.read_bytes() for path in found), key=len)


def test_a_newer_revision_takes_the_place_of_the_old(server: HubServer) -> None:
    ran = tchat("models", "update", "--all", "-y")
    assert ran.code == 0, ran.err
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert [(row[0], row[-1]) for row in rows] == [
        (f"{REPO}:Q4_K_M", "newer"),
        (f"{REPO}:Q8_0", "up to date"),
    ]
    assert f"{REPO}:Q4_K_M is up to date" in ran.err
    assert contents() == [OLD[:200_000], NEW]
    assert [path.stat().st_size for path in cache_folder().rglob("blobs/*")].count(len(OLD)) == 0
    again = json.loads(tchat("models", "update", "--all", "--json").out)
    assert [each["newer"] for each in again] == [False, False]
    listed = [line.split("\t")[0] for line in tchat("models", "ls").out.splitlines()]
    assert f"{REPO}:Q4_K_M" in listed
    assert f"{REPO}:Q8_0" in listed


def test_a_dry_run_downloads_nothing(server: HubServer) -> None:
    before = server.sent()
    (record, other) = json.loads(tchat("models", "update", "--all", "--dry-run", "--json").out)
    assert (record["name"], record["newer"], record["updated"]) == (f"{REPO}:Q4_K_M", True, False)
    assert (record["missing"], record["new_size"]) == (len(NEW), len(NEW))
    assert other["newer"] is False
    assert server.sent() == before
    assert OLD in contents()


def test_without_a_yes_it_only_tells(server: HubServer) -> None:
    ran = tchat("models", "update", f"{REPO}:Q4_K_M")
    assert (ran.code, "add --yes" in ran.err) == (2, True)
    assert "320 kB\t320 kB\tnewer" in ran.out
    assert OLD in contents()


def test_the_old_one_stays_until_the_new_one_is_verified(server: HubServer) -> None:
    server.fail("storage", *[Fault(flip=300_000)] * 9)
    ran = tchat("models", "update", "--all", "-y")
    assert ran.code == 5
    assert contents() == [OLD[:200_000], OLD]
    server.faults["storage"].clear()
    assert tchat("models", "update", "--all", "-y").code == 0
    assert NEW in contents()


def test_an_old_file_that_is_named_by_its_path_stays(server: HubServer) -> None:
    path = next(path for path in cache_folder().rglob(FILE))
    assert tchat("models", "alias", "set", "mine", str(path)).code == 0
    ran = tchat("models", "update", "--all", "-y")
    assert (ran.code, "named by its path" in ran.err) == (0, True)
    assert path.read_bytes() == OLD
    assert NEW in contents()


def test_what_is_gone_from_the_hub_stays_here(server: HubServer) -> None:
    server.add(REPO, {OTHER: OLD[:200_000]})
    ran = tchat("models", "update", "--all", "-y")
    assert (ran.code, "no longer on the hub; it stays here" in ran.out) == (0, True)
    assert OLD in contents()
    del server.repositories[REPO]
    ran = tchat("models", "update", "--all", "-y")
    assert ran.code == 3
    assert contents() == [OLD[:200_000], OLD]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "name models, or use --all"),
        (("starter", "--all"), "name models, or use --all"),
        (("mine",), "was not downloaded from the hub"),
    ],
)
def test_models_from_the_hub_are_named(
    server: HubServer, tmp_path: Path, args: tuple[str, ...], told: str
) -> None:
    (tmp_path / "own.gguf").write_bytes(gguf())
    tchat("models", "alias", "set", "mine", str(tmp_path / "own.gguf"))
    ran = tchat("models", "update", *args)
    assert (ran.code, told in ran.err) == (2, True)
