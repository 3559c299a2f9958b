"""`tchat map --ray` without Ray: what is refused, and how a model comes to a node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tchat.cli.map.ray_worker import SentFile, local_model
from tchat.errors import ModelInvalid
from tests.cli.test_map import model, rows, tchat_map

__all__ = ["model", "rows"]  # fixtures


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)


@pytest.mark.usefixtures("no_ray", "home")
def test_without_the_package_it_is_one_line(rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    ran = tchat_map("why {}", str(rows), "--ray", "local", "-o", str(output))
    assert ran.code == 2
    assert ran.err == (
        "tchat: --ray needs the package `ray`; install it: pip install 'tchat[ray]'\n"
    )
    assert not output.exists()


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--ray", "local", "--servers", "a"), "--ray needs a model file"),
        (("--ray", "local", "-m", "http://127.0.0.1:9"), "--ray needs a model file"),
        (("--ray", "local", "-T", "calculator"), "--ray needs a model file"),
        (("--workers", "2"), "need --ray"),
        (("--cpus-per-worker", "2"), "need --ray"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_one_line(
    flags: tuple[str, ...], why: str, rows: Path
) -> None:
    ran = tchat_map("why {}", str(rows), *flags)
    assert ran.code == 2
    assert why in ran.err
    assert len(ran.err.splitlines()) == 1


def sent(tmp_path: Path, name: str, content: bytes) -> SentFile:
    path = tmp_path / "caller" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return SentFile.of(path)


def test_a_model_that_a_node_has_is_not_sent(tmp_path: Path) -> None:
    file = sent(tmp_path, "m.gguf", b"weights")
    assert local_model([file], tmp_path / "node", None) == file.path
    assert not (tmp_path / "node").exists()


def test_a_model_is_sent_once_a_node_with_all_its_parts(tmp_path: Path) -> None:
    files = [sent(tmp_path, name, name.encode() * 9) for name in ("a-1.gguf", "a-2.gguf")]
    contents = [list(file.pieces()) for file in files]
    for file in files:
        file.path.unlink()
    folder, asked = tmp_path / "node", []

    def fetch(number: int) -> Iterator[bytes]:
        asked.append(number)
        return iter(contents[number])

    assert local_model(files, folder, None) is None
    found = local_model(files, folder, fetch)
    assert found is not None
    assert found.read_bytes() == contents[0][0]
    assert found.with_name("a-2.gguf").read_bytes() == contents[1][0]
    assert local_model(files, folder, None) == found, "the next worker of the node"
    assert asked == [0, 1]
    found.write_bytes(b"damaged")
    assert local_model(files, folder, fetch) == found
    assert asked == [0, 1, 0]


def test_a_model_that_arrives_damaged_is_refused(tmp_path: Path) -> None:
    file = sent(tmp_path, "m.gguf", b"weights")
    file.path.write_bytes(b"other weights")  # another model at the same place
    with pytest.raises(ModelInvalid, match=r"m\.gguf arrived damaged"):
        local_model([file], tmp_path / "node", lambda _: iter([b"weighty"]))
    assert not [*(tmp_path / "node").rglob("*.gguf*")]
