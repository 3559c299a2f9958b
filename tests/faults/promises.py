"""The promises, each with the tests that hold it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised, and what shows it.

    Attributes:
        what: In one line.
        tests: Files of tests.
        matching: As of ``pytest -k``; empty for all of the files.
    """

    what: str
    tests: tuple[str, ...]
    matching: str = ""


PROMISES = {
    "kill": Promise(
        "A kill loses no stored message, and little of the reply being written",
        (
            "tests/sessions/test_processes.py",
            "tests/chat/test_reply_journal.py",
            "tests/cli/test_kill.py",
        ),
    ),
    "lock": Promise(
        "A kill while the store is encrypted or decrypted leaves it whole, and no word in clear",
        ("tests/encryption/test_conversion.py",),
    ),
    "write": Promise(
        "A disk that fails at any write is told in one line; nothing stored is lost",
        (
            "tests/cli/test_write_limits.py",
            "tests/cli/test_fallback.py",
            "tests/tui/test_disk_full.py",
            "tests/sessions/test_fallbacks.py",
        ),
    ),
    "call": Promise(
        "A llama.cpp that refuses any call costs one line, and the next prompt works",
        ("tests/refusals", "tests/engine/test_refusals.py"),
    ),
    "files": Promise(
        "A damaged or hostile model file is refused before it is trusted",
        (
            "tests/models/gguf/test_header_parser.py",
            "tests/models/test_mutations.py",
            "tests/models/test_verify.py",
        ),
    ),
    "downloads": Promise(
        "A download is whole and verified, or not there, however it is broken off",
        (
            "tests/models/hub/test_download.py",
            "tests/models/hub/test_download_faults.py",
            "tests/models/hub/test_shared_cache.py",
            "tests/models/hub/test_limits.py",
        ),
    ),
    "workers": Promise(
        "A worker that ends or hangs is told in one line, and loses nothing that was written",
        ("tests/engine/rpc", "tests/tui/test_rpc.py"),
    ),
    "stops": Promise(
        "A stop ends its turn at any moment, and nothing else",
        (
            "tests/engine/test_stopping.py",
            "tests/engine/test_requests.py",
            "tests/tui/test_stopping_turns.py",
            "tests/cli/test_process.py",
        ),
        "stop or signal or pipe or request or esc",
    ),
    "screen": Promise(
        "No worker, key or click ends the screen",
        (
            "tests/tui/test_background.py",
            "tests/tui/test_failures.py",
            "tests/tui/test_random_user.py",
        ),
    ),
    "memory": Promise(
        "Memory stays while turns go on",
        ("tests/chat/test_many_turns.py",),
    ),
    "sockets": Promise(
        "No command that chats or lists opens a socket",
        ("tests/cli/test_no_network.py",),
    ),
    "servers": Promise(
        "A server that dies loses no row, and only its rows in flight are asked again",
        ("tests/servers/test_pool.py",),
    ),
    "permissions": Promise(
        "Everything written is private, whatever the umask",
        ("tests/cli/test_process.py", "tests/test_paths.py"),
        "private or permission or umask or mode",
    ),
    "inputs": Promise(
        "Bad input ends in one line and the documented exit code",
        ("tests/cli/test_bad_inputs.py", "tests/models/hub/test_api.py"),
    ),
}
