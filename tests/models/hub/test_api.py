"""What the hub lists, what of it is meant, and what its refusals become."""

from __future__ import annotations

import random

import pytest

from tchat.errors import ModelNotFound
from tchat.models.hub.api import HubApi
from tchat.models.hub.client import HubError, RepositoryNotFound, ResponseLimits
from tchat.models.hub.repository import (
    HubName,
    RepoListing,
    choose_model,
    is_companion,
    parse_hub_name,
    quantization_in,
)
from tests.egress.user_log import hub_api
from tests.models.hub_server import PORTAL, SIGNATURE, Fault, HubServer, limited, sha256

REPO = "someone/Tiny-GGUF"


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


FILES = {
    "README.md": b"# Tiny",
    "tiny-Q8_0.gguf": noise(3000, 1),
    "tiny-Q4_K_M.gguf": noise(2000, 2),
    "tiny-Q2_K-00001-of-00002.gguf": noise(1000, 3),
    "tiny-Q2_K-00002-of-00002.gguf": noise(500, 4),
    "BF16/tiny-BF16-00001-of-00002.gguf": noise(100, 5),
    "mmproj-tiny-f16.gguf": noise(700, 6),
    "tiny.imatrix.gguf": noise(60, 7),
    "tiny-draft-Q4_0.gguf": noise(80, 8),
}


@pytest.fixture
def server(hub_server: HubServer) -> HubServer:
    hub_server.add(REPO, FILES, small={"README.md"})
    return hub_server


@pytest.fixture
def hub(server: HubServer) -> HubApi:
    return hub_api()


@pytest.fixture
def listing(hub: HubApi) -> RepoListing:
    return hub.listing(REPO)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("user/repo", HubName("user/repo")),
        ("user/repo:Q4_K_M", HubName("user/repo", "Q4_K_M")),
        ("hf.co/user/repo:q8_0", HubName("user/repo", "q8_0")),
        ("huggingface.co/user/repo", HubName("user/repo")),
        ("https://huggingface.co/user/repo", HubName("user/repo")),
        ("https://huggingface.co/user/repo/tree/v2", HubName("user/repo", revision="v2")),
        ("user/repo:a-Q4_0.gguf", HubName("user/repo", file="a-Q4_0.gguf")),
        (
            "https://huggingface.co/user/repo/resolve/main/sub/a%20b.gguf?download=true",
            HubName("user/repo", file="sub/a b.gguf"),
        ),
        (
            "https://huggingface.co/user/repo/blob/abc123/a.gguf",
            HubName("user/repo", file="a.gguf", revision="abc123"),
        ),
        (
            "http://127.0.0.1:8080/user/repo/resolve/main/a.gguf",
            HubName("user/repo", file="a.gguf"),
        ),
    ],
)
def test_a_name_on_the_hub_is_known_in_all_its_forms(text: str, name: HubName) -> None:
    assert parse_hub_name(text, "http://127.0.0.1:8080") == name


@pytest.mark.parametrize(
    "text",
    [
        *("starter", "qwen3:0.6b", "./a/b", "/models/a.gguf", "models/a.gguf", "a/b/c", "a//b"),
        *("a/..", "../b", "a/b--c", "a/b:", "a/b:c:d", "a/b c", "ftp://huggingface.co/a/b"),
        *("https://example.com/a/b", "https://huggingface.co/a/b/resolve/main/../x.gguf"),
        *(
            "https://huggingface.co/a/b/resolve/main/config.json",
            "https://[/a/b",
            "",
            "a/b:../x.gguf",
        ),
    ],
)
def test_what_is_no_name_on_the_hub_is_left_to_others(text: str) -> None:
    assert parse_hub_name(text) is None


@pytest.mark.parametrize(
    ("file", "quantization"),
    [
        ("Qwen3-0.6B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("llama-2-7b.Q4_0.gguf", "Q4_0"),
        ("gemma-3-4b-it-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("model-IQ2_XXS.gguf", "IQ2_XXS"),
        ("x-Q4_0_4_8.gguf", "Q4_0_4_8"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Phi-3-mini-4k-instruct-fp16.gguf", "FP16"),
        ("BF16/big-BF16", "BF16"),
        ("Q4_K_M/model", "Q4_K_M"),
        ("Q8_0.gguf", "Q8_0"),
        ("bitnet-TQ2_0.gguf", "TQ2_0"),
        ("some-model.gguf", ""),
        ("q4-is-not-one.gguf", ""),
    ],
)
def test_a_file_name_tells_its_quantization(file: str, quantization: str) -> None:
    assert quantization_in(file) == quantization


@pytest.mark.parametrize("name", ["mmproj-F16.gguf", "a/x.imatrix.gguf", "m-draft-Q4_0.gguf"])
def test_companions_are_known_by_their_names(name: str) -> None:
    assert is_companion(name)
    assert not is_companion("Draftsman-7B-Q4_0.gguf")


def test_a_listing_has_whole_models_with_sizes_and_hashes(listing: RepoListing) -> None:
    described = [(model.quantization, model.size, len(model.files)) for model in listing.models]
    assert described == [("Q2_K", 1500, 2), ("Q4_K_M", 2000, 1), ("Q8_0", 3000, 1)]
    assert listing.models[1].first.sha256 == sha256(FILES["tiny-Q4_K_M.gguf"])
    assert listing.models[1].name == f"{REPO}:Q4_K_M"
    assert [file.name for file in listing.companions] == [
        *("mmproj-tiny-f16.gguf", "tiny-draft-Q4_0.gguf", "tiny.imatrix.gguf"),
    ]
    assert (listing.licence, listing.gated, listing.downloads) == ("apache-2.0", False, 100)


def test_the_default_is_q4_k_m_then_q8_0_then_the_first(hub: HubApi, server: HubServer) -> None:
    chosen = []
    for gone in ("", "tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf"):
        server.repositories[REPO].files.pop(gone, None)
        chosen.append(choose_model(hub.listing(REPO), HubName(REPO)).quantization)
    assert chosen == ["Q4_K_M", "Q8_0", "Q2_K"]


def test_a_quantization_is_found_whatever_its_case(listing: RepoListing) -> None:
    assert choose_model(listing, HubName(REPO, "q8_0")).quantization == "Q8_0"


def test_an_unknown_quantization_names_the_nearest_ones(listing: RepoListing) -> None:
    with pytest.raises(ModelNotFound, match=r"has no Q4_K_L; did you mean Q4_K_M.* It has Q2_K,"):
        choose_model(listing, HubName(REPO, "Q4_K_L"))


def test_a_companion_is_found_by_its_file_name_only(listing: RepoListing) -> None:
    model = choose_model(listing, HubName(REPO, file="mmproj-tiny-f16.gguf"))
    assert model.files == (listing.companions[0],)


def test_two_models_in_one_quantization_need_a_file_name(hub: HubApi, server: HubServer) -> None:
    server.repositories[REPO].files["other-Q8_0.gguf"] = b"other"
    listing = hub.listing(REPO)
    with pytest.raises(ModelNotFound, match=rf"{REPO}:other-Q8_0.gguf, {REPO}:tiny-Q8_0.gguf"):
        choose_model(listing, HubName(REPO, "Q8_0"))


def test_names_and_sizes_of_a_hostile_hub_are_left_out(hub: HubApi, server: HubServer) -> None:
    good = {"rfilename": "a-Q8_0.gguf", "size": 5, "lfs": {"sha256": "a" * 64, "size": 5}}
    bad: list[object] = [
        {**good, "rfilename": "../../x.gguf"},
        {**good, "rfilename": "/etc/x.gguf"},
        {**good, "rfilename": "a\x1b[2J.gguf"},
        {**good, "lfs": {"sha256": "../../x", "size": 5}},
        {**good, "lfs": {"sha256": "a" * 64, "size": -1}},
        {**good, "lfs": {"sha256": "a" * 64, "size": "5"}},
        *("text", None, {}),
    ]
    server.repositories[REPO].extra = {"siblings": [*bad, good], "tags": [3], "downloads": "many"}
    listing = hub.listing(REPO)
    assert [model.first.name for model in listing.models] == ["a-Q8_0.gguf"]
    assert (listing.licence, listing.downloads) == ("", 0)


@pytest.mark.parametrize("value", [5, 0.5, True, "license:mit", {"license:mit": 1}, [5], 10**400])
def test_fields_of_another_type_count_as_unknown(
    hub: HubApi, server: HubServer, value: object
) -> None:
    names = ("tags", "downloads", "likes", "lastModified", "gguf", "gated")
    server.repositories[REPO].extra = dict.fromkeys(names, value)
    [hit] = hub.search("tiny")
    assert (hit.repo, hit.licence, hit.updated) == (REPO, "", "")
    assert (hit.architecture, hit.parameters, hit.context_length) == ("", 0, 0)
    assert hit.downloads == hit.likes == (5 if value == 5 else 0)
    assert hub.listing(REPO).licence == ""


def test_counts_of_no_possible_size_are_unknown(hub: HubApi, server: HubServer) -> None:
    server.repositories[REPO].extra = {"gguf": {"total": 10**400, "context_length": 10**400}}
    [hit] = hub.search("tiny")
    assert (hit.parameters, hit.context_length) == (0, 0)


@pytest.mark.parametrize("extra", [{"sha": "main"}, {"siblings": None}, {"sha": None}])
def test_an_answer_of_another_shape_is_no_hub(
    hub: HubApi, server: HubServer, extra: dict[str, object]
) -> None:
    server.repositories[REPO].extra = extra
    with pytest.raises(HubError, match="web page"):
        hub.listing(REPO)


def test_a_range_of_a_file_is_read(hub: HubApi, listing: RepoListing) -> None:
    file = listing.models[1].first
    data = FILES[file.name]
    assert hub.read_range(file, 0, 64) == data[:64]
    assert hub.read_range(file, 500, 700) == data[500:1200]
    assert hub.read_range(file, 1990, 64) == data[1990:]
    assert hub.read_range(file, 2000, 64) == b""


def test_a_range_is_cut_out_where_the_server_knows_none(
    hub: HubApi, server: HubServer, listing: RepoListing
) -> None:
    server.fail("storage", Fault(no_range=True))
    file = listing.models[1].first
    assert hub.read_range(file, 500, 700) == FILES[file.name][500:1200]


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    hub: HubApi, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", server.token)
    hub.read_range(hub.listing(REPO).models[0].first, 0, 10)
    told = {seen.place: seen.headers.get("authorization") for seen in server.seen}
    assert told == {
        "api": f"Bearer {server.token}",
        "resolve": f"Bearer {server.token}",
        "storage": None,
    }


def test_nobody_is_told_more_than_name_and_version(hub: HubApi, server: HubServer) -> None:
    hub.listing(REPO)
    assert [seen.headers["user-agent"].split("/")[0] for seen in server.seen] == ["tchat"]
    assert ";" not in server.seen[0].headers["user-agent"]


def test_a_search_is_sorted_by_downloads(hub: HubApi, server: HubServer) -> None:
    server.add("other/tiny-two", {"a.gguf": b"a"}, downloads=500, gated=True, tags=["license:mit"])
    found = hub.search("tiny")
    assert [(hit.repo, hit.downloads, hit.gated, hit.licence) for hit in found] == [
        ("other/tiny-two", 500, True, "mit"),
        (REPO, 100, False, "apache-2.0"),
    ]
    assert (found[0].architecture, found[0].context_length) == ("qwen3", 40960)
    assert found[0].updated == "2025-04-28"


REFUSALS = [
    (
        PORTAL,
        "the network sent a web page instead of the hub's answer; sign in to this network",
        False,
    ),
    (limited(), "the hub limits the rate of requests .*; try again later", True),
    (limited(17), "try again in 17 s, or set HF_TOKEN", True),
    (Fault(429, {"RateLimit": '"api";r=0;t=55'}), "try again in 55 s", True),
    (Fault(500), r"the hub has a problem \(HTTP 500\)", True),
    (Fault(503), r"the hub has a problem \(HTTP 503\)", True),
    (Fault(403), f"the hub refuses access to {REPO}", False),
    (Fault(418), "the hub answers with HTTP 418; check HF_ENDPOINT", False),
    (Fault(403, {"X-Error-Message": "Access to this resource is disabled."}), "disabled", False),
    (Fault(200, {"Content-Type": "application/json"}, b"{"), "web page", False),
    (Fault(200, {"Content-Type": "application/json"}, b"[" * 100_000), "web page", False),
]


@pytest.mark.parametrize(("fault", "line", "passing"), REFUSALS)
def test_each_refusal_has_its_own_line(
    hub: HubApi, server: HubServer, fault: Fault, line: str, passing: bool
) -> None:
    server.fail("api", fault)
    with pytest.raises(HubError, match=line) as raised:
        hub.listing(REPO)
    assert raised.value.transient is passing
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418])
@pytest.mark.parametrize(
    "headers", [{}, {"X-Error-Code": "GatedRepo"}, {"X-Error-Message": "disabled"}]
)
def test_a_refused_search_is_about_the_endpoint(
    hub: HubApi, server: HubServer, status: int, headers: dict[str, str]
) -> None:
    server.fail("api", Fault(status, headers))
    line = rf"^the hub answers a search with HTTP {status}; check HF_ENDPOINT, if it is set"
    with pytest.raises(HubError, match=line) as raised:
        hub.search("tiny")
    assert raised.value.exit_code == 5
    assert ("your token" in str(raised.value)) is (status in (401, 403))


def test_a_search_with_a_wrong_token_is_told(hub: HubApi, server: HubServer) -> None:
    server.fail("api", Fault(401, {"X-Error-Message": "Invalid credentials in header"}))
    with pytest.raises(HubError, match="the hub refuses your token; set HF_TOKEN"):
        hub.search("tiny")


def test_a_gated_model_can_be_listed_and_says_how_to_get_it(hub: HubApi, server: HubServer) -> None:
    server.repositories[REPO].gated = True
    listing = hub.listing(REPO)
    assert listing.gated
    with pytest.raises(
        HubError, match=f"is gated: .* accept them at https://huggingface.co/{REPO}"
    ):
        hub.read_range(listing.models[0].first, 0, 4)


def test_unknown_and_private_repositories_are_not_found(hub: HubApi, server: HubServer) -> None:
    server.add("someone/secret", {}, private=True)
    for repo in ("someone/nothing", "someone/secret"):
        with pytest.raises(RepositoryNotFound, match=f"the hub has no model {repo}; if it is"):
            hub.listing(repo)


def test_an_unknown_revision_is_not_found(hub: HubApi) -> None:
    with pytest.raises(ModelNotFound, match="has no such revision"):
        hub.listing(REPO, "v/2")


def test_a_wrong_token_is_told_without_the_token(
    hub: HubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong_secret")
    with pytest.raises(HubError, match="the hub refuses your token; set HF_TOKEN") as raised:
        hub.listing(REPO)
    assert "hf_wrong_secret" not in str(raised.value)


def test_a_refusing_storage_is_told_without_the_signed_link(
    hub: HubApi, server: HubServer, listing: RepoListing
) -> None:
    server.fail("storage", Fault(403))
    with pytest.raises(HubError, match=r"storage refuses the download \(HTTP 403\)") as raised:
        hub.read_range(listing.models[0].first, 0, 4)
    assert raised.value.transient
    assert SIGNATURE not in repr(raised.value)
    assert raised.value.__cause__ is None


def test_no_server_is_told_by_its_host() -> None:
    with pytest.raises(HubError, match=r"cannot reach 127\.0\.0\.1; check the network") as raised:
        hub_api({"HF_ENDPOINT": "http://127.0.0.1:9"}).listing(REPO)
    assert raised.value.transient


@pytest.mark.parametrize("endpoint", ["huggingface.co", "http://", "http://[::1", "ftp://x", "//"])
def test_an_endpoint_that_is_no_address_is_told(endpoint: str) -> None:
    with pytest.raises(HubError, match="HF_ENDPOINT is not a usable URL"):
        hub_api({"HF_ENDPOINT": endpoint}).listing(REPO)


def test_a_password_in_the_endpoint_is_not_told(server: HubServer) -> None:
    hub = hub_api({"HF_ENDPOINT": "http://user:s3cret@127.0.0.1:9"})
    with pytest.raises(HubError, match=r"cannot reach 127\.0\.0\.1;") as raised:
        hub.listing(REPO)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("token", ["hf_ü", "hf_\x07"])
def test_a_token_that_cannot_be_sent_is_told(
    hub: HubApi, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match="HF_TOKEN") as raised:
        hub.listing(REPO)
    assert token not in str(raised.value)


def test_a_server_that_stays_silent_is_given_up(server: HubServer, listing: RepoListing) -> None:
    server.fail("storage", Fault(stall=10))
    hub = hub_api(limits=ResponseLimits(silence=0.2))
    with pytest.raises(HubError, match=r"127\.0\.0\.1 does not answer in time"):
        hub.read_range(listing.models[0].first, 0, 1000)


@pytest.mark.parametrize("fault", [Fault(size=1), Fault(no_range=True, size=7)])
def test_another_file_than_the_listed_one_is_refused(
    hub: HubApi, server: HubServer, listing: RepoListing, fault: Fault
) -> None:
    server.fail("storage", fault)
    with pytest.raises(HubError, match="sent a different file than listed"):
        hub.read_range(listing.models[0].first, 5, 10)
