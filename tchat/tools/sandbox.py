"""Programs behind walls: bubblewrap (``bwrap``), where it is installed and allowed to work.

In the sandbox a program sees the system read-only, an empty home folder and ``/tmp``, and only the
folders that it was given. It has no network unless it is given one, and ends with tchat.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "bwrap"
PROBE_SECONDS = 10
# What a program needs from the system to start.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_CONFIGURATION = (
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/ssl/certs", "/etc/pki", "/etc/resolv.conf", "/etc/nsswitch.conf"),
    *("/etc/passwd", "/etc/group", "/etc/hosts"),
)
HOME = "/tmp/home"  # noqa: S108 - inside the sandbox, where it is new and empty


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A working ``bwrap``."""

    program: Path

    def command(
        self,
        command: Sequence[str],
        *,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
        directory: Path | None = None,
        network: bool = False,
    ) -> list[str]:
        """``command``, to be run in the sandbox.

        Args:
            command: The program and its arguments.
            writable: Folders that it may change.
            readable: Folders that it may read besides the system.
            hidden: Existing files and folders in these that are empty for it.
            directory: Where it starts; one of them or below.
            network: Whether it may use the network.
        """
        arguments = [str(self.program), "--unshare-all", "--die-with-parent", "--new-session"]
        if network:
            arguments.append("--share-net")
        for system in (*_SYSTEM, *_CONFIGURATION):
            arguments += ["--ro-bind-try", system, system]
        arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
        arguments += ["--dir", HOME, "--setenv", "HOME", HOME, "--setenv", "TMPDIR", "/tmp"]  # noqa: S108
        for path in readable:
            arguments += ["--ro-bind", str(path), str(path)]
        for path in writable:
            arguments += ["--bind", str(path), str(path)]
            for below in (".git/hooks", ".git/config"):
                arguments += ["--ro-bind-try", str(path / below), str(path / below)]
        for path in hidden:
            empty = ["--tmpfs"] if path.is_dir() else ["--ro-bind", "/dev/null"]
            arguments += [*empty, str(path)]
        arguments += ["--chdir", str(directory) if directory is not None else HOME]
        return [*arguments, "--", *command]


def find_sandbox(program: str = PROGRAM) -> Sandbox | None:
    """The sandbox, if ``program`` is installed and the system lets it work; starts it once."""
    path = shutil.which(program)
    if path is None or os.name != "posix":
        return None
    sandbox = Sandbox(Path(path))
    try:
        done = subprocess.run(
            sandbox.command(["/bin/sh", "-c", "exit 0"]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return sandbox if done.returncode == 0 else None


def python_command() -> tuple[list[str], list[Path]]:
    """A Python isolated from packages and the environment, and the folders that it needs."""
    python = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
    return [str(python), "-I"], [Path(sys.base_prefix).resolve()]
