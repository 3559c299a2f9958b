"""`tchat privacy` and `tchat privacy wipe` as the shell sees them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tchat.egress.egress_log import EgressLog, Purpose
from tchat.paths import user_paths
from tchat.private_files import acquire_lock
from tests.cli.shell import COMMAND, tchat
from tests.egress.user_log import user_log
from tests.encryption.locks import PASSPHRASE, make_lock
from tests.terminal import Terminal


def test_the_first_sentence_says_that_nothing_left(home: Path) -> None:
    code, out, err = tchat("privacy")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Nothing has left this machine since this log began."
    assert not home.exists()


def test_hosts_are_told_first() -> None:
    for host in ("api.example", "hub.example"):
        transfer = user_log().begin(Purpose.SERVER, host, name="work", sent=2000)
        transfer.received = 10
        transfer.end()
        time.sleep(0.01)  # the log counts milliseconds
    out = tchat("privacy").out.splitlines()
    assert out[0].startswith("2 hosts were sent 4.0 kB in all since ")
    assert out[1].startswith("  hub.example: 1 request, sent 2.0 kB, received 10 B; first ")


@pytest.mark.parametrize("flags", [(), ("--json",), ("--log",), ("--log", "--json")])
def test_damaged_lines_of_the_log_are_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    paths = user_paths()
    log = EgressLog(paths.egress_log, make_lock(paths))
    for host in ("api.example", "hub.example"):
        log.begin(Purpose.SERVER, host, sent=20).end()
    lines = paths.egress_log.read_bytes().split(b"\n")
    lines[0] = lines[0][:-9] + b"AAAAAAAA"
    lines[1] = b'{"id": "abc", "for": "server", "host": "evil.example"}'
    paths.egress_log.write_bytes(b"\n".join(lines))
    monkeypatch.setenv("TCHAT_PASSPHRASE_COMMAND", f"echo {PASSPHRASE}")
    code, out, err = tchat("privacy", *flags)
    assert code == 0
    assert "hub.example" in out
    assert err == f"tchat: 2 lines of {paths.egress_log} are damaged and left out: 1, 2\n"


def test_damaged_sums_are_told(home: Path) -> None:
    user_log().begin(Purpose.SERVER, "hub.example", sent=20).end()
    (home / "egress-hosts.json").write_bytes(b"{")
    ran = tchat("privacy")
    assert "hub.example" in ran.out
    assert "the sums of what left this machine begin again" in ran.err


def test_json_tells_the_same(home: Path) -> None:
    user_log().begin(Purpose.SERVER, "api.example", name="work", session="s1", sent=20).end()
    (home / "history").write_text("x")
    found = json.loads(tchat("privacy", "--json").out)
    assert [each["host"] for each in found["left"]] == ["api.example"]
    kinds = {each["kind"]: each for each in found["stored"]}
    assert kinds["prompts"]["protection"] == "clear"
    assert (found["sessions"], found["messages"], found["lock"]) == (0, 0, None)
    (line,) = json.loads(tchat("privacy", "--log", "--json").out)
    assert (line["for"], line["name"], line["session"], line["sent"]) == (
        *("server", "work", "s1"),
        20,
    )
    assert "api.example" in tchat("privacy", "--log").out


def test_what_may_leave_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "config.toml").write_text(
        'redact_outgoing = true\n[tools]\nenabled = ["fetch_url"]\nnetwork = true\n'
    )
    (home / "mcp.json").write_text('{"mcpServers": {"far": {"url": "https://far.example/mcp"}}}')
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cret@proxy.example:8080")
    out = tchat("privacy").out
    for words in (
        "fetch_url",
        "may use the network",
        "far.example",
        "is redacted",
        "proxy.example",
    ):
        assert words in out
    assert "s3cret" not in out
    assert "s3cret" not in tchat("privacy", "--json").out


def test_a_broken_configuration_leaves_the_rest_of_the_report(home: Path) -> None:
    home.mkdir()
    (home / "mcp.json").write_text("[")
    code, out, _ = tchat("privacy")
    assert code == 0
    assert "What may leave is not known" in out


def test_a_wipe_wants_a_word(home: Path) -> None:
    user_log().begin(Purpose.HUB, "a.example").end()
    code, _, err = tchat("privacy", "wipe")
    assert code == 2
    assert "add --yes" in err
    assert (home / "egress.jsonl").exists()


def test_a_wipe_can_be_tried(home: Path) -> None:
    user_log().begin(Purpose.HUB, "a.example").end()
    code, out, err = tchat("privacy", "wipe", "--dry-run")
    assert (code, err) == (0, "tchat: nothing was removed\n")
    assert "egress log" in out
    assert (home / "egress.jsonl").exists()


def test_a_wipe_tells_what_it_cannot_do(home: Path) -> None:
    user_log().begin(Purpose.HUB, "a.example").end()
    code, out, err = tchat("privacy", "wipe", "--yes")
    assert (code, out) == (0, "")
    assert "removed 1 file" in err
    assert "SSD" in err
    assert "scrollback" in err
    assert not home.exists()


def test_a_locked_store_is_wiped_without_its_passphrase(home: Path) -> None:
    home.mkdir()
    make_lock(user_paths())
    (home / "history").write_bytes(b"tchatENC1\n...")
    (home / "egress.jsonl").write_bytes(b"tchat1:xxxx\n")
    for path in home.iterdir():
        path.chmod(0o600)
    code, out, err = tchat("privacy", start_new_session=True)
    assert (code, err) == (0, "")
    assert out.startswith("The store is locked")
    found = json.loads(tchat("privacy", "--json", start_new_session=True).out)
    assert (found["left"], found["sessions"], found["lock"]) == (None, None, "on")
    assert tchat("privacy", "--log", start_new_session=True).code == 6
    code, out, err = tchat("privacy", "wipe", "--yes", start_new_session=True)
    assert code == 0
    assert "The keys are gone" in err
    assert not home.exists()


def test_the_word_is_asked_for_on_a_terminal(home: Path) -> None:
    user_log().begin(Purpose.HUB, "a.example").end()
    for word, code in (("yes", 2), ("wipe", 0)):
        with Terminal((*COMMAND, "privacy", "wipe")) as terminal:
            terminal.until("Type wipe to do it:")
            terminal.send(f"{word}\r")
            assert terminal.ended() == code
        assert home.exists() is (code != 0)


def test_a_wipe_looks_again_for_others_after_its_question(home: Path) -> None:
    user_log().begin(Purpose.HUB, "a.example").end()
    folder = home / "sessions.db.writers"
    with Terminal((*COMMAND, "privacy", "wipe")) as terminal:
        terminal.until("Type wipe to do it:")
        folder.mkdir(exist_ok=True)
        held = acquire_lock(folder / "another.lock", 0)
        assert held is not None
        terminal.send("wipe\r")
        assert terminal.ended() == 2
        held.release()
    assert (home / "egress.jsonl").exists()
