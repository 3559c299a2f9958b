"""Which files are pulled beside a model: its projector and its draft model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tchat.models.hub.companions import companions_of
from tchat.models.hub.repository import RepoFile, RepoListing, group_models, is_companion

REPO = "someone/Tiny-GGUF"


def listing(*names: str) -> RepoListing:
    files = [RepoFile(REPO, "c" * 40, "main", name, 9, "", str(n)) for n, name in enumerate(names)]
    models, companions = group_models(files)
    return RepoListing(REPO, "c" * 40, "", False, 0, models, companions)


def pulled(*names: str, model: int = 0, entry: object = None) -> list[str]:
    found = listing(*names)
    chosen = companions_of(found.models[model], found, entry)  # type: ignore[arg-type]
    return [str(each).removeprefix(f"{REPO}:") for each in chosen]


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("m-Q4_K_M.gguf",), []),
        (("m-Q4_K_M.gguf", "m-imatrix.gguf"), []),
        (("m-Q4_K_M.gguf", "mmproj-F32.gguf", "mmproj-F16.gguf"), ["mmproj-F16.gguf"]),
        (("m-Q8_0.gguf", "mmproj-F16.gguf", "mmproj-Q8_0.gguf"), ["mmproj-Q8_0.gguf"]),
        (("m-BF16.gguf", "mmproj-F16.gguf", "mmproj-Q8_0.gguf"), ["mmproj-F16.gguf"]),
        (("a/m-Q4_0.gguf", "b/mmproj-F16.gguf"), []),
        (("a/m-Q4_0.gguf", "mmproj-F16.gguf", "a/mmproj-F32.gguf"), ["a/mmproj-F32.gguf"]),
        (("m-Q4_0.gguf", "m-draft-Q4_0.gguf"), ["m-draft-Q4_0.gguf"]),
        (
            ("m-Q4_0.gguf", "mmproj-F16.gguf", "mtp-m-Q8_0.gguf"),
            ["mmproj-F16.gguf", "mtp-m-Q8_0.gguf"],
        ),
    ],
)
def test_the_nearest_of_each_kind_is_taken(names: tuple[str, ...], taken: list[str]) -> None:
    assert pulled(*names) == taken


def test_the_catalogue_names_them_first() -> None:
    entry = SimpleNamespace(mmproj="mmproj-F32.gguf", draft="other/Repo/x/mtp.gguf")
    names = ("m-Q4_0.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf", "m-draft-Q4_0.gguf")
    assert pulled(*names, entry=entry) == ["mmproj-F32.gguf", "other/Repo:x/mtp.gguf"]
    gone = SimpleNamespace(mmproj="mmproj-BF16.gguf", draft="")
    assert pulled("m-Q4_0.gguf", "mmproj-F16.gguf", entry=gone) == ["mmproj-F16.gguf"]
    assert pulled("m-Q4_0.gguf", entry=gone) == []
    nothing = SimpleNamespace(mmproj="", draft="")
    assert pulled(*names, entry=nothing) == ["mmproj-F16.gguf", "m-draft-Q4_0.gguf"]


@pytest.mark.parametrize("name", ["mtp-gemma.gguf", "a/eagle3-x-Q8_0.gguf"])
def test_heads_that_only_draft_are_no_models(name: str) -> None:
    assert is_companion(name)
    assert not is_companion("Qwen3-MTP-Q4_K_M.gguf")
