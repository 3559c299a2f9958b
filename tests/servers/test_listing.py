"""The models of several servers, and of programs on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.servers import listing
from tchat.servers.config import Server
from tchat.servers.listing import list_models, local_servers
from tests.egress.user_log import user_log
from tests.servers.fake_server import FakeServer, models


def test_models_of_all_servers_are_listed(fake: FakeServer) -> None:
    fake.put("/v1/models", models("a", "b/c", owner="vllm", max_model_len=99))
    gone = Server("gone", "http://127.0.0.1:9/v1")
    found = list_models([Server("box", fake.url), gone], user_log(), {})
    assert [(row.name, row.kind, row.context) for row in found.rows] == [
        ("box/a", "vLLM", 99),
        ("box/b/c", "vLLM", 99),
    ]
    assert [error.message for error in found.errors] == ["cannot reach 127.0.0.1:9"]


def test_a_server_without_its_key_is_told(fake: FakeServer) -> None:
    found = list_models([Server("box", fake.url, key_env="NOT_SET")], user_log(), {})
    assert "NOT_SET is empty" in found.errors[0].message
    assert fake.seen == []


def test_a_program_that_is_installed_here_is_asked(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = fake.url.removesuffix("/v1")
    monkeypatch.setattr(listing, "LOCAL", ((".ollama", "ollama", url), (".x", "x", "http://x")))
    fake.put("/v1/models", models("qwen3:4b", owner="library"))
    environ = {"HOME": str(tmp_path)}
    assert list_models([], user_log(), environ).rows == ()
    (tmp_path / ".ollama").mkdir()
    (row,) = list_models([], user_log(), environ).rows
    assert (row.name, row.kind) == (f"{url}/qwen3:4b", "Ollama")
    assert not list(local_servers([Server("mine", fake.url)], environ))


def test_a_program_that_does_not_serve_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOCAL", ((".ollama", "ollama", "http://127.0.0.1:9"),))
    (tmp_path / ".ollama").mkdir()
    assert list_models([], user_log(), {"HOME": str(tmp_path)}) == listing.Listing((), ())
