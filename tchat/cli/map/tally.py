"""What goes wrong in a map: counted, and reported on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.cli.console import Console
from tchat.cli.map.results import Record
from tchat.cli.output.reply import TOOL_NOTICE, cut_off_count, loop_count
from tchat.cli.output.status import TerminalStatus, print_notice
from tchat.errors import ExitCode
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.engine.batch import BatchResult
    from tchat.engine.events import Notice

LISTED = 5  # files whose encoding was assumed that are named


class Tally:
    """Counts failures and notices, and reports them on standard error.

    Attributes:
        failed: The error of each row that has no result.
    """

    def __init__(self, console: Console) -> None:
        self.failed: dict[int, str] = {}
        self._console = console
        self._told: set[Notice] = set()
        self._assumed: list[str] = []
        self._cut_off = self._looped = 0

    def assume(self, assumed: str) -> None:
        """Note what was assumed of a file's encoding, if anything was."""
        if assumed:
            self._assumed.append(assumed)

    def record(self, outcome: BatchResult, record: Record, status: TerminalStatus) -> None:
        """Count a row; prints each different notice once."""
        if "error" in record:
            self.failed[record["index"]] = record["error"]
        self._cut_off += record.get("finish_reason") == "length"
        ended_by_calls = any(notice.kind == TOOL_NOTICE for notice in outcome.notices)
        self._looped += record.get("finish_reason") == "loop" and not ended_by_calls
        for notice in outcome.notices:
            if notice not in self._told:
                self._told.add(notice)
                self.notice(notice, status)

    def notice(self, notice: Notice, status: TerminalStatus) -> None:
        """Print a notice."""
        print_notice(self._console, status, notice)

    def exit_code(self, rows: int, done: int) -> int:
        """Report the result, and return the exit code; ``done`` of ``rows`` were processed now."""
        for assumed in self._assumed[:LISTED]:
            self._console.notice(assumed)
        if len(self._assumed) > LISTED:
            self._console.notice(
                tr("and {assumed:,} more files like these", assumed=len(self._assumed) - LISTED)
            )
        if self._cut_off:
            self._console.notice(cut_off_count(self._cut_off, done))
        if self._looped:
            self._console.notice(loop_count(self._looped, done))
        if not self.failed:
            return ExitCode.OK
        first = min(self.failed)
        self._console.say(
            tr(
                "{failed:,} of {rows} failed; the first is row {first}: {error}",
                failed=len(self.failed),
                rows=trn("{count:,} row", "{count:,} rows", rows),
                first=first,
                error=self.failed[first],
            )
        )
        return ExitCode.UNEXPECTED
