"""The command that prints a passphrase: what is taken of it, and how long it is waited for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tchat.encryption import unlock_sources
from tchat.encryption.encryption import Encryption
from tchat.encryption.unlock_sources import from_command
from tchat.errors import StorageError
from tchat.paths import user_paths
from tests.encryption.locks import PASSPHRASE, make_lock

# They print without an end, children of them too.
ENDLESS = [
    f"yes '{PASSPHRASE}'",
    f"""sh -c "echo '{PASSPHRASE}'; yes; true" """,
    f"""sh -c "echo '{PASSPHRASE}'; cat /dev/zero" """,
]
LEAVES_A_PROCESS = [
    f"""sh -c "echo '{PASSPHRASE}'; sleep 30 &" """,
    f"""sh -c "sleep 30 & echo '{PASSPHRASE}'" """,
]


@pytest.fixture
def encryption() -> Encryption:
    return Encryption(make_lock(user_paths()).lock_file)


def unlock(encryption: Encryption, command: str) -> None:
    from_command({"TCHAT_PASSPHRASE_COMMAND": command, "PATH": "/usr/bin:/bin"})(encryption)


@pytest.mark.parametrize("command", ENDLESS)
def test_one_that_prints_for_ever_is_ended_after_a_passphrase(
    encryption: Encryption, command: str
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))"
    code = (
        f"{limit}\nfrom pathlib import Path\n"
        "from tchat.encryption.encryption import Encryption\n"
        "from tchat.encryption.unlock_sources import from_command\n"
        f"encryption = Encryption(Path({str(encryption.lock_file)!r}))\n"
        f"from_command({{'TCHAT_PASSPHRASE_COMMAND': {command!r}, 'PATH': '/usr/bin:/bin'}})"
        "(encryption)\nprint(encryption.is_unlocked)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert (ran.stdout, ran.stderr) == ("True\n", "")


@pytest.mark.parametrize("command", LEAVES_A_PROCESS)
def test_a_process_that_it_leaves_behind_is_not_waited_for(
    encryption: Encryption, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlock_sources, "COMMAND_SECONDS", 20.0)
    unlock(encryption, command)
    assert encryption.is_unlocked


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (f"""sh -c "echo '{PASSPHRASE}'; exit 3" """, "failed with exit code 3"),
        (f"""sh -c "echo '{PASSPHRASE}'; sleep 30" """, "took longer than 1 second"),
        ("sleep 30", "took longer than 1 second"),
        ("""sh -c "exec >&-; sleep 30" """, "took longer than 1 second"),
        ("no-such-command", "cannot run TCHAT_PASSPHRASE_COMMAND"),
    ],
)
def test_one_that_fails_or_takes_too_long_unlocks_nothing(
    encryption: Encryption, command: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlock_sources, "COMMAND_SECONDS", 1.0)
    with pytest.raises(StorageError, match=reason):
        unlock(encryption, command)
    assert not encryption.is_unlocked


def test_what_it_prints_slowly_and_in_several_lines_is_whole(encryption: Encryption) -> None:
    first, second = PASSPHRASE[:7], PASSPHRASE[7:]
    unlock(encryption, f"""sh -c "printf '{first}'; sleep 0.2; printf '{second}\\nuser: x\\n'" """)
    assert encryption.is_unlocked
