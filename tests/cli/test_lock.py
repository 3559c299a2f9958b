"""``tchat lock`` as a user meets it: real passphrases, on a real terminal and in scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tchat.encryption.encryption import Encryption
from tchat.encryption.key_management import create_lock
from tchat.encryption.key_slots import SlotKind
from tchat.encryption.lock_file import EncryptionState
from tchat.encryption.stored_file import StoredFile
from tchat.errors import ExitCode
from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tests.cli.locked_store import LOCKED, QUESTION, end_of, script, terminal
from tests.encryption import file_keyring
from tests.encryption.locks import PASSPHRASE, cheap_derivation, make_lock

RECOVERY_KEY = re.compile(r"^([0-9A-Z]{5}-){7}[0-9A-Z]{5}$", re.MULTILINE)
OTHER = "another long passphrase"


@pytest.fixture
def keyring_env(tmp_path: Path) -> dict[str, str]:
    """The environment of a command that has a keyring."""
    return {**file_keyring.ENVIRONMENT, file_keyring.VARIABLE: str(tmp_path / "keyring.json")}


def opened(passphrase: str) -> SlotKind:
    return Encryption(user_paths().lock_file).kind_of(passphrase)


def test_a_store_is_encrypted_with_a_passphrase_that_is_typed_twice() -> None:
    with terminal("lock", "on") as child:
        child.expect_exact("New passphrase (not shown):")
        child.sendline(PASSPHRASE)
        child.expect_exact("Once more:")
        child.sendline(PASSPHRASE)
        child.expect_exact("the store is encrypted")
        shown = child.before
        assert end_of(child) == 0
    assert PASSPHRASE not in shown
    key = RECOVERY_KEY.search(shown.replace("\r", ""))
    assert key is not None
    assert opened(PASSPHRASE) is SlotKind.PASSPHRASE
    assert opened(key[0]) is SlotKind.RECOVERY


def test_in_a_script_the_recovery_key_alone_is_the_output() -> None:
    ran = script("lock", "on", "--passphrase-fd", "{fd}", given=f"{PASSPHRASE}\nmore\n")
    assert ran.code == 0
    assert RECOVERY_KEY.fullmatch(ran.out.rstrip("\n"))
    assert opened(PASSPHRASE) is SlotKind.PASSPHRASE
    again = script("lock", "on", "--passphrase-fd", "{fd}", given=OTHER)
    assert (again.code, again.out) == (ExitCode.USAGE, "")
    assert "encrypted already" in again.err


@pytest.mark.parametrize(
    ("args", "given", "said"),
    [
        (("--passphrase-fd", "{fd}"), "short\n", "8 characters or more"),
        (("--passphrase-fd", "{fd}"), "", "gave no passphrase"),
        (("--passphrase-fd", "77"), "", "cannot read a passphrase"),
        (("--passphrase-fd", "-1"), "", "passphrase-fd"),
        (("--no-passphrase",), "", "needs --keyring"),
        (("--keyring", "--no-passphrase", "--passphrase-fd", "{fd}"), "", "exclude each other"),
        ((), "", "no terminal to ask"),
    ],
)
def test_what_is_no_passphrase_makes_no_lock(args: tuple[str, ...], given: str, said: str) -> None:
    ran = script("lock", "on", *args, given=given)
    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert said in ran.err
    assert not user_paths().lock_file.exists()


def test_a_slip_of_the_new_passphrase_is_asked_again_three_times_at_most() -> None:
    with terminal("lock", "on") as child:
        child.expect_exact("a passphrase has 8 characters or more")
        child.expect_exact("New passphrase (not shown):")
        child.sendline("short")
        child.expect_exact("8 characters or more; try again")
        for told in ("differ; try again", "differ; nothing was changed"):
            child.expect_exact("New passphrase (not shown):")
            child.sendline(PASSPHRASE)
            child.expect_exact("Once more:")
            child.sendline(OTHER)
            child.expect_exact(f"the two passphrases {told}")
        assert end_of(child) == ExitCode.USAGE
    assert not user_paths().lock_file.exists()


def test_a_passphrase_that_was_mistyped_once_is_taken_when_it_is_typed_twice() -> None:
    with terminal("lock", "on") as child:
        for second in (OTHER, PASSPHRASE):
            child.expect_exact("New passphrase (not shown):")
            child.sendline(PASSPHRASE)
            child.expect_exact("Once more:")
            child.sendline(second)
        child.expect_exact("the store is encrypted")
        assert end_of(child) == 0


def test_a_changed_setting_tells_that_what_runs_does_not_follow() -> None:
    assert "keeps its value" not in script("config", "set", "lock_after", "4").err
    with terminal("lock", "on") as child:
        child.expect_exact("New passphrase (not shown):")
        told = script("config", "set", "lock_after", "5").err
        assert f"keeps its value until it is started again (process {child.pid})" in told


def test_no_passphrase_at_all_ends_the_question() -> None:
    with terminal("lock", "on") as child:
        child.expect_exact("New passphrase (not shown):")
        child.sendline("")
        child.expect_exact("no passphrase was typed; nothing was changed")
        assert end_of(child) == ExitCode.USAGE
    assert not user_paths().lock_file.exists()


def test_a_weak_passphrase_is_taken_with_a_warning() -> None:
    ran = script("lock", "on", "--passphrase-fd", "{fd}", given="12345678")
    assert ran.code == 0
    assert "may guess this passphrase" in ran.err


def test_the_status_asks_nothing_and_tells_what_unlocks_the_store() -> None:
    assert "no; `tchat lock on`" in script("lock", "status").out
    assert json.loads(script("lock", "status", "--json").out)["state"] == "off"
    make_lock(user_paths())
    ran = script("lock", "status")
    assert ran.code == 0
    assert "unlocked by\tpassphrase, recovery key" in ran.out
    found = json.loads(script("lock", "status", "--json").out)
    assert found["state"] == "on"
    assert sorted(found["unlocked_by"]) == ["passphrase", "recovery"]
    assert found["key_derivation"]["name"] == "argon2id"


def test_without_a_way_to_unlock_it_says_so_and_exits_with_6() -> None:
    make_lock(user_paths())
    ran = script("lock", "recovery", stdin=PASSPHRASE)  # standard input is data, and not asked
    assert (ran.code, ran.out) == (ExitCode.STORAGE, "")
    assert ran.err.startswith(LOCKED)
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("flag", [("--unlock-fd", "{fd}"), ("--unlock-fd={fd}",)])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_descriptor_unlocks_it(flag: tuple[str, ...], is_first: bool) -> None:
    make_lock(user_paths())
    words = ("lock", "recovery")
    args = (*flag, *words) if is_first else (*words, *flag)
    ran = script(*args, given=f"{PASSPHRASE}\n")
    assert ran.code == 0
    assert opened(ran.out.strip()) is SlotKind.RECOVERY


def test_a_recovery_key_unlocks_it_too(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    ran = script(
        "lock", "passphrase", "--unlock-fd", "0", "--passphrase-fd", "{fd}",
        stdin=made.recovery_key, given=OTHER,
    )  # fmt: skip
    assert ran.code == 0
    assert opened(OTHER) is SlotKind.PASSPHRASE
    typo = made.recovery_key[:-1] + ("0" if made.recovery_key[-1] != "0" else "1")
    ran = script("lock", "recovery", "--unlock-fd", "0", stdin=typo)
    assert ran.code == ExitCode.USAGE
    assert "typing mistake in group 8" in ran.err


@pytest.mark.parametrize("number", ["", "x", "-1", "99", "99999999999999999999", "٣"])
def test_a_descriptor_that_is_none_is_named(number: str) -> None:
    make_lock(user_paths())
    ran = script(f"--unlock-fd={number}", "lock", "recovery")
    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert "descriptor" in ran.err
    assert ran.err.count("\n") == 1


def test_a_command_unlocks_it(tmp_path: Path) -> None:
    make_lock(user_paths())
    (tmp_path / "pass phrase").write_text(f"{PASSPHRASE}\n")
    command = f"cat '{tmp_path / 'pass phrase'}'"
    ran = script("lock", "recovery", TCHAT_PASSPHRASE_COMMAND=command)
    assert ran.code == 0
    assert opened(ran.out.strip()) is SlotKind.RECOVERY


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        ("false", "failed with exit code 1", ExitCode.STORAGE),
        ("true", "printed nothing", ExitCode.USAGE),
        ("/nowhere/pass", "cannot run TCHAT_PASSPHRASE_COMMAND", ExitCode.STORAGE),
        ("echo 'unclosed", "cannot run TCHAT_PASSPHRASE_COMMAND", ExitCode.STORAGE),
        ("echo wrong", "the passphrase is wrong", ExitCode.STORAGE),
        ("sh -c 'echo my agent is out >&2; exit 3'", "my agent is out", ExitCode.STORAGE),
        ("echo $HOME;echo", "the passphrase is wrong", ExitCode.STORAGE),  # there is no shell
    ],
)
def test_a_command_that_fails_is_told(command: str, said: str, code: int) -> None:
    make_lock(user_paths())
    ran = script("lock", "recovery", TCHAT_PASSPHRASE_COMMAND=command)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err


def test_the_terminal_asks_three_times_and_never_reads_the_data() -> None:
    make_lock(user_paths())
    with terminal("lock", "recovery") as child:
        for word in ("wrong", "also wrong", "wrong again"):
            child.expect_exact(QUESTION)
            child.sendline(word)
        child.expect_exact("the passphrase is wrong")
        assert end_of(child) == ExitCode.STORAGE
    with terminal("lock", "recovery") as child:
        child.expect_exact("the next try is possible in")
        child.expect_exact(QUESTION)
        child.sendline(PASSPHRASE)
        child.expect(RECOVERY_KEY.pattern.strip("^$"))
        assert end_of(child) == 0
    with terminal("lock", "recovery") as child:  # a right one ends the waiting
        child.expect_exact(QUESTION)
        assert "possible in" not in child.before
        child.sendeof()
        child.expect_exact("the store is locked")
        assert "\n" in child.before  # it begins a line
        assert end_of(child) == ExitCode.STORAGE
    with terminal("lock", "recovery") as child:
        child.expect_exact(QUESTION)
        child.sendintr()
        assert end_of(child) == ExitCode.INTERRUPTED
        assert "\n" in child.before


def test_the_recovery_key_can_be_tried_as_it_was_written_down(home: Path) -> None:
    made = create_lock(home / "lock.json", PASSPHRASE, calibration=cheap_derivation)
    with terminal("lock", "test") as child:
        child.expect_exact(QUESTION)
        child.sendline("mistyped")
        child.expect_exact("the passphrase is wrong")
        child.expect_exact(QUESTION)
        child.sendline(made.recovery_key.lower().replace("-", " "))
        child.expect_exact("right: this is the recovery key")
        assert end_of(child) == 0
    ran = script("--unlock-fd", "{fd}", "lock", "test", given="wrong")
    assert ran.code == ExitCode.STORAGE


def test_a_keyring_alone_opens_a_store(keyring_env: dict[str, str]) -> None:
    ran = script("lock", "on", "--keyring", "--no-passphrase", **keyring_env)
    assert ran.code == 0
    assert script("lock", "recovery", **keyring_env).code == 0
    ran = script("lock", "recovery")  # another keyring
    assert ran.code == ExitCode.STORAGE
    assert "the keyring does not unlock it; use the session" in ran.err
    ran = script("lock", "keyring", "off", **keyring_env)
    assert ran.code == ExitCode.USAGE
    assert "set a passphrase first" in ran.err
    set_one = script("lock", "passphrase", "--passphrase-fd", "{fd}", given=OTHER, **keyring_env)
    assert set_one.code == 0
    assert script("lock", "keyring", "off", **keyring_env).code == 0
    assert script("lock", "recovery", **keyring_env).err.startswith(LOCKED)
    assert json.loads(Path(keyring_env[file_keyring.VARIABLE]).read_text()) == {}
    ran = script("lock", "keyring", "on", "--unlock-fd", "{fd}", given=OTHER, **keyring_env)
    assert ran.code == 0
    assert script("lock", "recovery", **keyring_env).code == 0


def test_without_a_keyring_the_lock_says_so() -> None:
    ran = script(
        "lock", "on", "--keyring", "--passphrase-fd", "{fd}", given=PASSPHRASE,
        PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring",
    )  # fmt: skip
    assert ran.code == ExitCode.USAGE
    assert "keyring of this system cannot be used" in ran.err
    assert not user_paths().lock_file.exists()


def test_a_keyring_that_fails_keeps_nobody_from_turning_it_off(
    keyring_env: dict[str, str],
) -> None:
    fails = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    given = script(
        "lock", "on", "--keyring", "--passphrase-fd", "{fd}", given=PASSPHRASE, **keyring_env
    )
    assert given.code == 0
    ran = script("lock", "keyring", "off", "--unlock-fd", "{fd}", given=PASSPHRASE, **fails)
    assert ran.code == 0
    ran = script("lock", "off", "--yes", "--unlock-fd", "{fd}", given=PASSPHRASE, **fails)
    assert ran.code == 0
    assert not user_paths().lock_file.exists()


def test_turned_off_nothing_is_left_of_it(home: Path, keyring_env: dict[str, str]) -> None:
    assert script("lock", "on", "--keyring", "--no-passphrase", **keyring_env).code == 0
    ran = script("lock", "off", **keyring_env)
    assert ran.code == ExitCode.USAGE
    assert "add --yes" in ran.err
    assert script("lock", "off", "--yes", **keyring_env).code == 0
    assert not [path.name for path in home.iterdir() if path.name.startswith("lock")]
    assert json.loads(Path(keyring_env[file_keyring.VARIABLE]).read_text()) == {}
    assert script("lock", "off", "--yes").code == ExitCode.USAGE


@pytest.mark.parametrize(
    "args",
    [("models", "ls"), ("config", "show"), ("prompts", "ls"), ("lock", "status"), ("help",)],
)
def test_commands_that_need_no_store_ask_nothing(args: tuple[str, ...]) -> None:
    make_lock(user_paths())
    assert script(*args).code == 0
    with terminal(*args, PAGER="cat") as child:
        assert end_of(child) == 0
        assert QUESTION not in child.before


def test_other_commands_of_a_damaged_lock_file_are_one_line(home: Path) -> None:
    make_lock(user_paths())
    for path in (user_paths().lock_file, user_paths().lock_copy):
        path.write_text("{}")
    ran = script("lock", "recovery")
    assert ran.code == ExitCode.STORAGE
    assert ran.err.count("\n") == 1
    assert "restore it from a backup" in ran.err


def test_what_is_stored_is_encrypted_and_decrypted_where_it_lies(home: Path) -> None:
    with SessionStore(user_paths().sessions_db) as store:
        store.begin("the heron waits")
    on = script("lock", "on", "--passphrase-fd", "{fd}", given=PASSPHRASE)
    assert on.code == 0
    assert "the store is encrypted" in on.err
    assert "flash memory" in on.err
    content = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"heron" not in content
    assert script("sessions", "ls").code == ExitCode.STORAGE
    shown = script("sessions", "show", "last", "--unlock-fd", "{fd}", given=PASSPHRASE)
    assert "the heron waits" in shown.out
    off = script("lock", "off", "--yes", "--unlock-fd", "{fd}", given=PASSPHRASE)
    assert (off.code, off.err) == (0, "tchat: the store is in clear\n")
    assert "the heron waits" in script("sessions", "show", "last").out


def test_files_with_other_names_are_told_when_they_are_encrypted(home: Path) -> None:
    SessionStore(user_paths().sessions_db).close()
    home.joinpath("copy").hardlink_to(user_paths().sessions_db)
    ran = script("lock", "on", "--passphrase-fd", "{fd}", given=PASSPHRASE)
    assert ran.code == 0
    assert "1 file has another name" in ran.err
    assert str(user_paths().sessions_db) in ran.err


def test_who_finishes_a_conversion_hears_of_the_recovery_key(home: Path) -> None:
    make_lock(user_paths(), state=EncryptionState.TURNING_ON)
    ran = script("--unlock-fd", "{fd}", "lock", "on", given=PASSPHRASE)
    assert ran.code == 0
    assert "`tchat lock recovery`" in ran.err


@pytest.mark.parametrize("command", ["on", "off"])
def test_a_conversion_that_was_interrupted_is_finished(home: Path, command: str) -> None:
    with SessionStore(user_paths().sessions_db) as store:
        store.begin("the heron waits")
    make_lock(user_paths(), state=EncryptionState(f"turning {command}"))
    refused = script("sessions", "show", "last", "--unlock-fd", "{fd}", given=PASSPHRASE)
    assert refused.code == ExitCode.STORAGE
    assert f"run `tchat lock {command}` to finish it" in refused.err
    finished = script("lock", command, "--unlock-fd", "{fd}", given=PASSPHRASE)
    assert finished.code == 0, finished.err
    shown = script("sessions", "show", "last", "--unlock-fd", "{fd}", given=PASSPHRASE)
    assert "the heron waits" in shown.out


def content_of(home: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and ".writers" not in str(path)
    }


@pytest.mark.parametrize("kept", ["sessions.db", "history.jsonl", "history", "egress.jsonl"])
@pytest.mark.parametrize("command", ["on", "status", "status --json", "off", "test", "recovery"])
def test_a_lock_file_that_is_lost_is_asked_for(home: Path, kept: str, command: str) -> None:
    encryption = make_lock(user_paths())
    if kept == "sessions.db":
        with SessionStore(home / kept, encryption) as store:
            store.begin("the heron waits")
    elif kept == "history":
        StoredFile(home / kept, encryption, "typed lines").write(b"heron")
    else:
        StoredFile(home / kept, encryption, "any").append_line(b"heron")
    for lock in (user_paths().lock_file, user_paths().lock_copy):
        lock.unlink()
    before = content_of(home)
    ran = script("lock", *command.split(), given=PASSPHRASE)
    assert ran.code == ExitCode.STORAGE
    assert f"{home / kept} is encrypted, and the lock file that opens it is missing" in ran.err
    assert "put lock.json back" in ran.err
    assert content_of(home) == before


def test_a_database_that_was_put_there_in_clear_is_encrypted_on_request(home: Path) -> None:
    make_lock(user_paths())
    with SessionStore(user_paths().sessions_db) as store:
        store.begin("the heron waits")
    show = ("--unlock-fd", "{fd}", "sessions", "show", "last")
    refused = script(*show, given=PASSPHRASE)
    assert "encrypt it if it is yours: tchat lock on" in refused.err
    before = content_of(home)
    asked = script("--unlock-fd", "{fd}", "lock", "on", given=PASSPHRASE)
    assert (asked.code, content_of(home)) == (ExitCode.USAGE, before)
    assert "add --yes" in asked.err
    ran = script("--unlock-fd", "{fd}", "lock", "on", "--yes", given=PASSPHRASE)
    assert ran.code == 0, ran.err
    assert "the heron waits" in script(*show, given=PASSPHRASE).out
    assert b"heron" not in b"".join(content_of(home).values())
    assert "already" in script("lock", "on", "--yes").err


def test_another_open_tchat_keeps_the_lock_from_being_made(home: Path) -> None:
    with SessionStore(user_paths().sessions_db):
        ran = script("lock", "on", "--passphrase-fd", "{fd}", given=PASSPHRASE)
    assert ran.code == ExitCode.STORAGE
    assert "close every other tchat and try again" in ran.err
    assert not user_paths().lock_file.exists()
