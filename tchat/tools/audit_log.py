"""The audit log: what tools were called with, who allowed it, and a hash of what came of it.

JSON Lines, one object a line, only readable by the user, each encrypted where the store is. A call
has a line before it runs and one after it; both have its ``id``.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tchat.encryption.stored_file import StoredFile
from tchat.private_files import private_file, writing
from tchat.tools.approval import Decider, Decision

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

PURPOSE = "tool log"
MAX_SIZE = 4 << 20  # bytes; then the file is kept as `.1`, and a new one begins
MAX_ARGUMENTS = 2000  # characters of JSON; longer arguments are logged by their hash


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AuditLog:
    """Writes to ``path``; several processes may do so at once.

    Attributes:
        path: The file.
        is_private: Whether a call leaves only its time, its tool and the decision: no arguments,
            rule or result, and nothing of a call that is none.
    """

    path: Path
    is_private: bool = False
    now: Callable[[], datetime] = _now
    encryption: Encryption | None = None

    def add_call(self, tool: str, arguments: Mapping[str, Any], decision: Decision) -> str:
        """Log a call before it runs, or that it was refused, and return its id.

        Raises:
            StorageError: It cannot be written; then the call must not run.
        """
        call = secrets.token_hex(8)
        verdict, by = decision.verdict.value, decision.by.value
        if self.is_private:
            if decision.by is not Decider.TOOL:  # else its name may be a text of the chat
                self._write(
                    {"event": "call", "id": call, "tool": tool, "verdict": verdict, "by": by}
                )
            return call
        text = json.dumps(arguments, sort_keys=True, default=str)
        logged = (
            {"arguments": dict(arguments)}
            if len(text) <= MAX_ARGUMENTS
            else {"arguments_sha256": hashlib.sha256(text.encode()).hexdigest()}
        )
        self._write(
            {
                "event": "call",
                "id": call,
                "tool": tool,
                **logged,
                "verdict": verdict,
                "by": by,
                **({"rule": str(decision.rule)} if decision.rule else {}),
            }
        )
        return call

    def add_result(self, call: str, content: str, *, failed: bool, seconds: float) -> None:
        """Log what came of a call.

        Raises:
            StorageError: It cannot be written.
        """
        if self.is_private:
            return
        data = content.encode(errors="surrogatepass")
        self._write(
            {
                "event": "result",
                "id": call,
                "failed": failed,
                "sha256": hashlib.sha256(data).hexdigest(),
                "size": len(data),
                "milliseconds": round(seconds * 1000),
            }
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        """What was logged, oldest first; lines that cannot be read are left out."""
        for path in (self._older, self.path):
            try:
                lines = list(StoredFile(path, self.encryption, PURPOSE).lines())
            except OSError:
                continue
            for line in lines:
                with suppress(ValueError):
                    if isinstance(found := json.loads(line.decode(errors="replace")), dict):
                        yield found

    def damage(self) -> Iterator[str]:
        """Which lines `lines` leaves out, a text for each file with such."""
        for path in (self._older, self.path):
            with suppress(OSError):
                if damage := StoredFile(path, self.encryption, PURPOSE).damage():
                    yield damage

    @property
    def _older(self) -> Path:
        return self.path.with_name(f"{self.path.name}.1")

    def _write(self, values: Mapping[str, Any]) -> None:
        moment = self.now().isoformat(timespec="milliseconds")
        locked = self.encryption is not None and not self.encryption.is_unlocked
        if locked and self.is_private:  # nobody is asked for a passphrase
            return
        private_file(self.path)
        with writing(self.path):
            if self.path.stat().st_size > MAX_SIZE:
                self.path.replace(self._older)
        line = json.dumps({"time": moment, **values}).encode()
        StoredFile(self.path, self.encryption, PURPOSE).append_line(line)
