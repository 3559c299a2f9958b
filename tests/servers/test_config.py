"""Servers in config.toml, names of their models, and their keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from tchat.errors import UsageError
from tchat.paths import Paths, user_paths
from tchat.servers.api_key import delete_key, find_key, save_key
from tchat.servers.config import (
    Server,
    ServerModel,
    base_url,
    find_server,
    find_server_model,
    read_servers,
    remove_server,
    save_server,
)
from tchat.settings import load
from tests.egress.user_log import user_log

KEY = "sk-abc123DEF456"
HTTPS = Server("lab", "https://lab.example/v1")


@pytest.fixture
def paths(home: Path) -> Paths:
    home.mkdir()
    return user_paths()


class MemoryKeyring(KeyringBackend):
    """A keyring in memory; a locked one refuses."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept: dict[tuple[str, str], str] = {}
        self.is_locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.is_locked:
            raise KeyringLocked(KEY)
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.is_locked:
            raise KeyringLocked(password)
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring() -> Iterator[MemoryKeyring]:
    before, made = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_a_server_is_saved_read_replaced_and_removed(paths: Paths) -> None:
    paths.config_file.write_text("# mine\ntheme = 'nord'  # dark\n", encoding="utf-8")
    server = Server(
        "lab.1", "https://lab.example/v1", "a/b", "LAB_KEY", timeout=7.5, ctx_size=99, kind="vllm"
    )
    save_server(paths, server)
    save_server(paths, Server("b", "http://127.0.0.1:1/v1", private=True))
    assert read_servers(paths)["lab.1"] == server
    text = paths.config_file.read_text(encoding="utf-8")
    assert text.startswith("# mine\ntheme = 'nord'  # dark\n")
    save_server(paths, HTTPS)
    assert read_servers(paths)["lab"] == HTTPS
    for name in ("lab.1", "lab", "b"):
        remove_server(paths, name)
    assert read_servers(paths) == {}
    assert load(paths, {}).warnings == ()


def test_a_table_of_servers_is_no_unknown_setting(paths: Paths) -> None:
    save_server(paths, HTTPS)
    settings, warnings, _ = load(paths, {}, {"model": "lab/qwen"})
    assert warnings == ()
    assert settings.server == "lab"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('api_key = "sk-abc123DEF456"', "holds `api_key`: keys are not kept in clear"),
        ('token = "sk-abc123DEF456"', "holds `token`"),
        ('key_env = "sk-abc123DEF456"', "key_env is the name of an environment variable"),
        ('key_env = "A"\nkeyring = true', "exclude each other"),
        ("timeout = 0", "timeout is a number of seconds"),
        ("timeout = inf", "timeout is a number of seconds"),
        ("timeout = nan", "timeout is a number of seconds"),
        ('timeout = "5"', "`timeout` is of the wrong type"),
        ("private = 1", "`private` is of the wrong type"),
        ("ctx_size = -1", "ctx_size is a number of tokens"),
        ("ctx_size = true", "`ctx_size` is of the wrong type"),
        ('kind = "vlm"', "kind is one of vllm, sglang"),
        ('modle = "x"', "there is no `modle`"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_place(
    table: str, says: str, paths: Paths
) -> None:
    text = f'[servers.lab]\nurl = "https://lab.example"\n{table}\n'
    paths.config_file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        find_server("lab", paths)
    assert says in str(caught.value)
    assert "servers.lab" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[servers.lab]", 'servers = "x"', "servers = 3", '[servers]\na="b"']
)
def test_what_is_no_table_is_refused(text: str, paths: Paths) -> None:
    paths.config_file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        read_servers(paths)


@pytest.mark.parametrize(
    "url",
    [
        *("", "lab", "ftp://lab/", "http://", "http://[::1", "http://lab:0/", "http://lab:x/"),
        *("http://la b/", "http://lab\\x/", "http://lab/\x1b[31m", "javascript:alert(1)"),
        *("http://user:sk-abc123DEF456@lab/", "http://sk-abc123DEF456@lab/", "http://lab/?key=x"),
        *("http://lab/#x", "http://" + "a" * 3000, "http://läb/"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        base_url(url)
    assert KEY not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://lab", "http://lab/v1"),
        ("http://lab:8000/", "http://lab:8000/v1"),
        ("https://lab/v1/", "https://lab/v1"),
        ("https://lab/api/openai/v1", "https://lab/api/openai/v1"),
        ("https://lab/v1/chat/completions", "https://lab/v1"),
        ("http://[::1]:8000/v1/models", "http://[::1]:8000/v1"),
    ],
)
def test_the_base_url_of_what_people_type(url: str, base: str) -> None:
    assert base_url(url) == base


@pytest.mark.parametrize(
    ("name", "url", "model"),
    [
        ("lab", "https://lab.example/v1", "usual"),
        ("lab/Qwen/Qwen3-32B", "https://lab.example/v1", "Qwen/Qwen3-32B"),
        ("http://h:8000", "http://h:8000/v1", ""),
        ("http://h:8000/", "http://h:8000/v1", ""),
        ("http://h:8000/qwen3:4b", "http://h:8000/v1", "qwen3:4b"),
        ("http://h:8000/org/model", "http://h:8000/v1", "org/model"),
        ("https://h/v1", "https://h/v1", ""),
        ("https://h/v1/org/model", "https://h/v1", "org/model"),
        ("https://h/api/v1/a%20b", "https://h/api/v1", "a b"),
        ("https://h/v1beta", "https://h/v1", "v1beta"),
    ],
)
def test_the_name_of_a_model_leads_to_its_server(name: str, url: str, model: str) -> None:
    tables = {"lab": {"url": "https://lab.example", "model": "usual"}}
    found = find_server_model(name, tables, "config.toml")
    assert found is not None
    assert (found.server.url, found.model) == (url, model)


@pytest.mark.parametrize("name", ["starter", "labs/x", "./lab/x", "/lab/x", "qwen3:4b", ""])
def test_other_names_lead_to_no_server(name: str) -> None:
    tables = {"lab": {"url": "https://lab.example"}}
    assert find_server_model(name, tables, "config.toml") is None


# Keys


def with_key(**more: object) -> Server:
    return Server("lab", **{"url": "https://lab.example/v1", **more})  # type: ignore[arg-type]


def test_a_key_comes_from_the_environment() -> None:
    assert find_key(with_key(key_env="LAB"), {"LAB": f" {KEY}\n"}) == KEY
    assert find_key(with_key(), {"OPENAI_API_KEY": KEY}) == ""
    with pytest.raises(UsageError, match="LAB is empty"):
        find_key(with_key(key_env="LAB"), {})


def test_a_key_is_kept_in_the_keyring(ring: MemoryKeyring) -> None:
    with pytest.raises(UsageError, match="the keyring has no key of lab"):
        find_key(with_key(keyring=True))
    save_key("lab", KEY)
    assert ring.kept == {("tchat", "lab"): KEY}
    assert find_key(with_key(keyring=True)) == KEY
    delete_key("lab")
    delete_key("lab")
    assert ring.kept == {}


def test_a_keyring_that_refuses_is_one_line(ring: MemoryKeyring) -> None:
    ring.is_locked = True
    for call in (lambda: save_key("lab", KEY), lambda: find_key(with_key(keyring=True))):
        with pytest.raises(UsageError, match="keyring of this system") as caught:
            call()
        assert KEY not in str(caught.value)
        assert "--key-env" in caught.value.hint


@pytest.mark.parametrize("key", ["two words", "ключ", "a\x00b", "a\nX-Header: b", "x" * 9000])
def test_what_cannot_be_sent_as_a_key_is_refused(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_key(with_key(key_env="LAB"), {"LAB": key})
    assert key not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.9.9.9"])
def test_a_key_goes_over_plain_http_to_this_machine(host: str) -> None:
    server = with_key(url=f"http://{host}:1/v1", key_env="LAB")
    assert find_key(server, {"LAB": KEY}) == KEY


@pytest.mark.parametrize("host", ["lab", "192.168.1.5", "localhost.evil.example", "0.0.0.0"])
def test_a_key_goes_over_plain_http_nowhere_else(host: str) -> None:
    server = with_key(url=f"http://{host}:1/v1", key_env="LAB")
    with pytest.raises(UsageError, match="unencrypted"):
        find_key(server, {"LAB": KEY})
    assert find_key(with_key(url=f"http://{host}/v1", key_env="LAB", insecure=True), {"LAB": KEY})


def test_no_representation_shows_a_key() -> None:
    from tchat.servers.connection import ServerConnection

    assert KEY not in repr(ServerConnection(HTTPS, user_log(), KEY))
    assert KEY not in repr(ServerModel(HTTPS, "x"))
