"""The header of a model on the hub, before anything is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.errors import ModelInvalid
from tchat.models.gguf.dimensions import read_dimensions
from tchat.models.gguf.header_parser import read_header
from tchat.models.hub.api import HubApi
from tchat.models.hub.client import HubError
from tchat.models.hub.remote_model import CHUNK, RemoteHeader
from tchat.models.hub.repository import HubName, RepoModel, choose_model
from tchat.models.metadata import read_metadata
from tests.egress.user_log import hub_api
from tests.models.gguf.test_split_files import write_parts
from tests.models.gguf_builder import STRING, array, but, gguf
from tests.models.hub_server import Fault, HubServer

REPO = "someone/Tiny-GGUF"


def model(server: HubServer, files: dict[str, bytes]) -> tuple[HubApi, RepoModel]:
    server.add(REPO, files)
    hub = hub_api()
    return hub, choose_model(hub.listing(REPO), HubName(REPO))


def test_it_is_that_of_the_file(hub_server: HubServer, tiny_model: Path) -> None:
    hub, remote = model(hub_server, {"tiny-Q8_0.gguf": tiny_model.read_bytes()})
    header = RemoteHeader(remote, hub.read_range).read()
    assert header == read_header(tiny_model)
    assert read_dimensions(header) == read_metadata(tiny_model).dimensions


def test_no_more_is_read_than_the_header(hub_server: HubServer, tiny_model: Path) -> None:
    data = tiny_model.read_bytes() + bytes(32 << 20)
    hub, remote = model(hub_server, {"tiny-Q8_0.gguf": data})
    RemoteHeader(remote, hub.read_range).read()
    assert hub_server.sent() <= CHUNK[0]
    assert len(hub_server.requests("storage")) == 1


def test_a_large_vocabulary_takes_a_few_requests(hub_server: HubServer) -> None:
    words = [f"word {number:012}" for number in range(250_000)]
    content = gguf(
        but(
            array("tokenizer.ggml.tokens", STRING, words),
            array("tokenizer.ggml.merges", STRING, words),
        )
    )
    hub, remote = model(hub_server, {"tiny-Q8_0.gguf": content})
    assert read_dimensions(RemoteHeader(remote, hub.read_range).read()).merges == 250_000
    assert len(content) > 12_000_000
    assert len(hub_server.requests("storage")) <= 8


def test_the_parts_are_read_together(hub_server: HubServer, tmp_path: Path) -> None:
    files = {f"tiny-Q8_0-{path.name[4:]}": path.read_bytes() for path in write_parts(tmp_path)}
    hub, remote = model(hub_server, files)
    header = RemoteHeader(remote, hub.read_range).read()
    assert len(remote.files) == 3
    assert len(header.tensors) == 4
    assert header.context_length == 512


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!doctype html>", "tiny-Q8_0.gguf is not a GGUF file: it is a web page"),
        (bytes(64), "is not a GGUF file: it is filled with zeros"),
        (gguf()[:60], "is not usable"),
        (gguf(key_count=1 << 40), "is not usable: it claims"),
    ],
)
def test_what_is_no_model_is_told_in_one_line(
    hub_server: HubServer, content: bytes, words: str
) -> None:
    hub, remote = model(hub_server, {"tiny-Q8_0.gguf": content})
    with pytest.raises(ModelInvalid, match=words) as refused:
        RemoteHeader(remote, hub.read_range).read()
    assert "\n" not in refused.value.message


def test_a_hub_that_fails_says_so(hub_server: HubServer, tiny_model: Path) -> None:
    hub, remote = model(hub_server, {"tiny-Q8_0.gguf": tiny_model.read_bytes()})
    hub_server.fail("resolve", Fault(503))
    with pytest.raises(HubError):
        RemoteHeader(remote, hub.read_range).read()


def test_a_server_that_knows_no_ranges_is_read_from_the_start(
    hub_server: HubServer, tiny_model: Path
) -> None:
    hub, remote = model(hub_server, {"tiny-Q8_0.gguf": tiny_model.read_bytes()})
    hub_server.fail("storage", Fault(no_range=True))
    assert RemoteHeader(remote, hub.read_range).read() == read_header(tiny_model)
