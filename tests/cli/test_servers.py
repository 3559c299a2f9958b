"""``tchat servers``, and prompts that a model on a server answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell, tchat
from tests.servers.cuts import CUTS, TIMEOUT, WRITTEN, Cut
from tests.servers.fake_server import (
    Answer,
    FakeServer,
    json_answer,
    models,
    piece,
    reply,
    serving,
    sse,
)

KEY = "sk-abc123DEF456"


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        server.put("/v1/models", models("tiny", owner="vllm", max_model_len=2048))
        server.chat(reply("It is blue", prompt_tokens=9, completion_tokens=3))
        yield server


@pytest.fixture
def lab(fake: FakeServer, home: Path) -> FakeServer:
    assert tchat("servers", "add", "lab", fake.url).code == 0
    assert fake.seen == [], "nothing is sent before it is used"
    return fake


def test_servers_are_added_listed_and_removed(shell: Shell) -> None:
    assert shell("servers", "ls").out == ""
    ran = shell("servers", "add", "lab", "https://lab.example", "-m", "q/w", "--key-env", "LAB")
    assert ran.code == 0
    shell("servers", "add", "b", "http://127.0.0.1:1/v1", "--private", "--timeout", "5")
    rows = [line.split("\t") for line in shell("servers", "ls").out.splitlines()]
    assert rows == [
        ["lab", "https://lab.example/v1", "q/w", "LAB", "", "no", "no"],
        ["b", "http://127.0.0.1:1/v1", "", "", "", "yes", "no"],
    ]
    listed = json.loads(shell("servers", "ls", "--json").out)
    assert [each["name"] for each in listed] == ["lab", "b"]
    again = shell("servers", "add", "b", "http://127.0.0.1:1/v1", "--private", "--timeout", "5")
    assert "was there already: its entry is replaced" in again.err
    assert "replaced" not in ran.err
    assert shell("servers", "rm", "lab", "--dry-run").out == "lab\thttps://lab.example/v1\n"
    assert shell("servers", "rm", "lab").code == 0
    assert json.loads(shell("servers", "ls", "--json").out) == listed[1:]


@pytest.mark.parametrize(
    "args",
    [
        ("add", "a/b", "http://h"),
        ("add", "-x", "http://h"),
        ("add", "lab", "h"),
        ("add", "lab", "http://u:sk-abc123DEF456@h"),
        ("add", "lab", "http://h", "--key-env", "sk-abc123DEF456"),
        ("add", "lab", "http://h", "--kind", "x"),
        ("add", "lab", "http://h", "--timeout", "0"),
        ("add", "lab", "http://h", "--keyring", "--key-env", "A"),
        ("rm", "lab"),
        ("test", "lab"),
        ("test", "http://u:sk-abc123DEF456@h"),
    ],
    ids=" ".join,
)
def test_a_call_that_is_wrong_is_one_line(args: tuple[str, ...], shell: Shell) -> None:
    ran = shell("servers", *args)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert KEY not in ran.err
    assert shell("servers", "ls").out == ""


def test_a_server_is_tested(lab: FakeServer) -> None:
    ran = tchat("servers", "test", "lab")
    assert (ran.code, ran.out) == (0, "tiny\t2,048\n")
    assert "vLLM, 1 model" in ran.err
    found = json.loads(tchat("servers", "test", lab.url, "--json").out)
    assert found["kind"] == "vllm"
    assert found["capabilities"]["grammar"] is True
    assert found["models"] == [{"id": "tiny", "owner": "vllm", "context": 2048}]
    assert lab.bodies() == []


def test_a_server_that_is_not_there_ends_in_the_code_of_networks(home: Path) -> None:
    ran = tchat("servers", "test", "http://127.0.0.1:9")
    assert ran.code == 5
    assert ran.err == "tchat: cannot reach 127.0.0.1:9; is it running?\n"
    assert tchat("-m", "http://127.0.0.1:9", "hi").code == 5


def test_a_prompt_is_answered_there_and_continued(lab: FakeServer) -> None:
    ran = tchat("-m", "lab", "why?")
    assert (ran.code, ran.out) == (0, "It is blue\n")
    lab.chat(reply("Still"))
    assert tchat("-c", "and now?").out == "Still\n"
    assert [each["content"] for each in lab.bodies()[-1]["messages"]][:2] == ["why?", "It is blue"]
    found = json.loads(tchat("-m", lab.url.removesuffix("/v1") + "/tiny", "--json", "why?").out)
    assert found["reply"] == "Still"


def test_a_key_from_the_environment_is_sent_and_never_printed(fake: FakeServer, home: Path) -> None:
    tchat("servers", "add", "lab", fake.url, "--key-env", "LAB_KEY")
    assert tchat("-m", "lab", "why?").code == 2
    env = {"LAB_KEY": KEY}
    assert tchat("-m", "lab", "why?", env=env).code == 0
    assert fake.seen[-1].headers["authorization"] == f"Bearer {KEY}"
    fake.chat(json_answer({"error": {"message": f"bad key {KEY}"}}, 401))
    ran = tchat("-m", "lab", "why?", env=env)
    assert ran.code == 5
    assert KEY not in ran.err
    kept = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert KEY.encode() not in kept


def test_json_names_the_server_of_a_reply(lab: FakeServer) -> None:
    assert json.loads(tchat("-m", "lab", "--json", "why?").out)["model"] == "lab/tiny"
    assert ", 1 model\n" in tchat("servers", "test", "lab").err


@pytest.mark.parametrize("name", ["starter", "Starter", "http", "https"])
def test_no_server_takes_the_place_of_the_default_model(name: str, lab: FakeServer) -> None:
    ran = tchat("servers", "add", name, lab.url)
    assert ran.code == 2
    assert f"a server cannot be called {name}" in ran.err
    assert name not in tchat("servers", "ls").out.split()


def test_rows_are_mapped_with_tools_on_a_server(lab: FakeServer, tmp_path: Path) -> None:
    rows = tmp_path / "rows.txt"
    rows.write_text("one\ntwo\n")
    call = piece(
        tool_calls=[
            {
                "index": 0,
                "id": "a",
                "type": "function",
                "function": {"name": "calculator", "arguments": '{"expression": "1+1"}'},
            }
        ]
    )
    lab.chat(Answer(sse(call, piece(end="tool_calls"))), reply("It is 2"))
    ran = tchat("map", "-m", "lab", "-T", "calculator", "sum {}", str(rows))
    assert ran.code == 0, ran.err
    first, second = map(json.loads, ran.out.splitlines())
    assert (first["output"], second["output"]) == ("It is 2", "It is 2")


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_cut_reply_is_printed_kept_and_ends_in_the_code_of_networks(
    cut: Cut, fake: FakeServer, home: Path
) -> None:
    added = tchat("servers", "add", "lab", fake.url, "--timeout", str(TIMEOUT))
    assert added.code == 0
    fake.chat(cut.answer)
    ran = tchat("-m", "lab", "why?")
    assert (ran.code, ran.out.rstrip("\n")) == (5, WRITTEN)
    assert cut.says in ran.err
    assert len(ran.err.splitlines()) == 1
    (session,) = json.loads(tchat("sessions", "ls", "--json").out)
    (kept,) = json.loads(tchat("sessions", "show", session["id"], "--json").out)["sessions"]
    last = kept["messages"][-1]
    assert (last["role"], last["text"], last["status"]) == ("assistant", WRITTEN, "interrupted")
    fake.chat(reply(" blue", prompt_tokens=9, completion_tokens=1))
    assert tchat("-c", "-m", "lab", "go on").code == 0


def test_a_schema_goes_to_the_server_as_it_is(lab: FakeServer) -> None:
    lab.chat(reply('{"a":1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    ran = tchat("-m", "lab", "--schema", json.dumps(schema), "give")
    assert json.loads(ran.out) == {"a": 1}
    form = lab.bodies()[-1]["response_format"]
    assert form["json_schema"]["schema"] == schema
    assert "structured_outputs" not in lab.bodies()[-1]


def test_a_private_prompt_is_not_sent(lab: FakeServer) -> None:
    ran = tchat("-n", "-m", "lab", "a secret")
    assert ran.code == 2
    assert "this session is private" in ran.err
    assert lab.seen == []
    tchat("servers", "add", "lab", lab.url, "--private")
    assert tchat("-n", "-m", "lab", "hello").out == "It is blue\n"


def test_the_chat_on_lines_uses_it(lab: FakeServer) -> None:
    ran = tchat("-m", "lab", "--plain", stdin=b"why?\n/exit\n")
    assert ran.code == 0
    assert "It is blue" in ran.out


@pytest.mark.parametrize("args", [("bench", "lab"), ("tune", "lab")])
def test_what_needs_a_file_says_so(args: tuple[str, ...], lab: FakeServer) -> None:
    ran = tchat(*args)
    assert ran.code == 2
    assert "lab is on a server" in ran.err
    assert lab.seen == []


def test_candidates_labels_and_columns(lab: FakeServer) -> None:
    top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -3.0}]
    logprobs = {"content": [{**top[0], "top_logprobs": top}]}
    choice = {"index": 0, "delta": {"content": "yes"}, "logprobs": logprobs}
    lab.chat(Answer(sse({"choices": [choice]}, piece(end="length"))))
    assert tchat("-m", "lab", "--yes-no", "is it?").code == 0

    def chunk(index: int, text: str) -> dict[str, object]:
        return {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": "stop"}]}

    lab.chat(Answer(sse(chunk(0, "Red"), chunk(1, "Blue"))))
    ran = tchat("-m", "lab", "--candidates", "2", "why?")
    assert "Red" in ran.out
    assert "Blue" in ran.out


def test_a_model_on_a_server_may_be_the_default(lab: FakeServer) -> None:
    assert tchat("models", "default", "lab/tiny").code == 0
    assert tchat("models", "default").out == "lab/tiny\tlab\n"
    assert tchat("config", "show").code == 0
    assert "lab/tiny" in tchat("doctor").out
    assert tchat("models", "ls").code == 0
    assert lab.seen == []
    assert tchat("why?").out == "It is blue\n"


def test_the_list_of_all_models_has_those_of_servers(lab: FakeServer) -> None:
    tchat("servers", "add", "gone", "http://127.0.0.1:9")
    assert "lab/" not in tchat("models", "ls").out
    assert lab.seen == []
    ran = tchat("models", "ls", "--all")
    assert ran.code == 0
    rows = [line.split("\t") for line in ran.out.splitlines()]
    (row,) = (row for row in rows if row[0] == "lab/tiny")
    assert (row[1], row[5], row[-1]) == ("lab", "2,048", "on a server")
    assert "cannot reach 127.0.0.1:9" in ran.err
    found = json.loads(tchat("models", "ls", "--all", "--json").out)
    (record,) = (each for each in found if each["name"] == "lab/tiny")
    assert (record["url"], record["context"], record["path"]) == (lab.url, 2048, None)
    assert all(set(each) <= set(record) for each in found)
