"""What MCP servers write besides messages: into the log, bounded, and never on the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field

from tchat.log_file import LogFile
from tchat.sanitize import single_line

MAX_LOG = 256 << 10  # characters of one run of a server
MAX_LINE = 500


@dataclass
class ServerLog:
    """The log of one run of a server.

    Attributes:
        log: Lines are appended to it.
        server: The name in front of each line.
        last: The last line, for the error that the server's end becomes.
    """

    log: LogFile
    server: str
    last: str = ""
    _left: int = field(default=MAX_LOG)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is kept."""
        return self._left <= 0

    def add(self, text: str) -> None:
        """Append the lines of ``text``, without what acts on a terminal."""
        lines = [line for part in text.split("\n") if (line := single_line(part, MAX_LINE))]
        if not lines:
            return
        self.last = lines[-1]
        if self.is_full:
            return
        written = "".join(f"mcp {self.server}: {line}\n" for line in lines)
        self._left -= len(written)
        if self.is_full:
            written += f"mcp {self.server}: it writes more than is kept\n"
        self.log.append(written)
