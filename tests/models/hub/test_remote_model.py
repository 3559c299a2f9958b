"""Which quantization of a repository is taken, by the header of one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.errors import ModelInvalid
from tchat.models.hub.cache import HubCache, cache_folder
from tchat.models.hub.download import RetryingDownload, RetryPolicy
from tchat.models.hub.pull import ModelSelected, Pulled, PullEvent, ReadingHeader, pull
from tchat.models.hub.remote_model import inspect_listing
from tchat.models.hub.repository import HubName, base_name
from tchat.models.memory import Machine, Memory
from tchat.models.metadata import MetadataCache
from tchat.paths import user_paths
from tests.egress.user_log import hub_api
from tests.models.hub_server import Fault, HubServer

REPO = "acme/Mixed-GGUF"
ROOMY = Machine(Memory(8 << 30, 8 << 30))


@pytest.fixture
def server(hub_server: HubServer, tiny_model: Path) -> HubServer:
    """Two quantizations of one model, its projector, and another model that is larger."""
    data = tiny_model.read_bytes()
    hub_server.add(
        REPO,
        {
            "Small-Q4_K_M.gguf": data,
            "Small-Q6_K.gguf": data + bytes(100_000),
            "mmproj-Small-Q8_0.gguf": data + bytes(200_000),
            "Large-Q8_0.gguf": data + bytes(300_000),
        },
    )
    return hub_server


def pulled(machine: Machine = ROOMY) -> list[PullEvent]:
    hasty = RetryPolicy(first_wait=0.0)
    cache = HubCache(cache_folder())
    with MetadataCache(user_paths()) as store:
        return list(
            pull(
                HubName(REPO),
                hub_api(),
                cache,
                hashes=store,
                machine=lambda: machine,
                retry_policy=hasty,
            )
        )


def test_only_quantizations_of_the_same_model_are_chosen_from(server: HubServer) -> None:
    hub = hub_api()
    remote_model = inspect_listing(hub.listing(REPO), HubName(REPO), hub.read_range, ROOMY)
    assert remote_model.model.name == f"{REPO}:Q6_K"
    assert remote_model.reason == "it is the largest that fits with 4,096 tokens of context"
    assert len({request.path for request in server.requests("storage")}) == 1
    closer = inspect_listing(hub.listing(REPO), HubName(REPO), hub.read_range, ROOMY, closely=True)
    assert (
        closer.dimensions.weights < remote_model.dimensions.weights
    )  # of its own header, not by its size
    named = inspect_listing(hub.listing(REPO), HubName(REPO, "q4_k_m"), hub.read_range, ROOMY)
    assert (named.model.quantization, named.reason) == ("Q4_K_M", "")


def test_files_of_one_model_have_a_name_in_common(server: HubServer) -> None:
    names = [base_name(model.first.name) for model in hub_api().listing(REPO).models]
    assert names == ["large", "small", "small"]


def test_a_hub_that_fails_is_asked_for_the_header_again(server: HubServer) -> None:
    server.fail("storage", Fault(503))
    events = pulled()
    kinds = [type(event) for event in events]
    assert kinds[:3] == [ReadingHeader, RetryingDownload, ModelSelected]
    assert kinds[-1] is Pulled


def test_a_download_goes_on_behind_the_header(server: HubServer) -> None:
    data = server.repositories[REPO].files["Small-Q4_K_M.gguf"]
    server.add(REPO, {"Small-Q4_K_M.gguf": data + bytes(1 << 20)})
    server.fail("storage", Fault(cut=1000))
    last = pulled()[-1]
    assert isinstance(last, Pulled)
    assert server.sent() == last.fetched == last.model.size
    ranges = [request.headers["range"] for request in server.requests("storage")]
    assert ranges[:2] == ["bytes=0-262143", "bytes=1000-262143"]


def test_a_header_that_came_damaged_is_fetched_again(server: HubServer) -> None:
    data = server.repositories[REPO].files["Small-Q4_K_M.gguf"] + bytes(1 << 20)
    server.add(REPO, {"Small-Q4_K_M.gguf": data})
    server.fail("storage", Fault(flip=200_000))
    *_, last = pulled()
    assert isinstance(last, Pulled)
    assert last.paths[0].read_bytes() == data


def test_what_is_here_needs_no_header(server: HubServer) -> None:
    pulled()
    asked = len(server.requests("storage"))
    first, last = pulled(Machine(Memory(0, 1)))
    assert isinstance(first, ModelSelected)
    assert first.remote_model is None
    assert isinstance(last, Pulled)
    assert last.model.quantization == "Q6_K"
    assert len(server.requests("storage")) == asked


def test_what_is_no_model_is_not_pulled(server: HubServer) -> None:
    server.repositories[REPO].files["Small-Q4_K_M.gguf"] = b"<!doctype html>" * 100
    with pytest.raises(ModelInvalid, match="is not a GGUF file: it is a web page"):
        pulled()
    assert not list(cache_folder().rglob("*.incomplete"))
