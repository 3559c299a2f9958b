"""Several replies to one question while they are written; imported when they are first wanted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tchat.engine.events import Finished, Reason, Reasoning, Token
from tchat.tui.widgets.candidates import Stage

if TYPE_CHECKING:
    from tchat.tui.widgets.candidates import Candidates

STAGES = {
    Reason.STOP: Stage.DONE,
    Reason.LENGTH: Stage.CUT_OFF,
    Reason.CANCELLED: Stage.STOPPED,
}


class CandidateRun:
    """One set of replies, from its first event until one is taken.

    Args:
        count: Replies.
        details: Whether the mean log-probability of a reply's tokens is shown.

    Attributes:
        stopped: Indexes of those that shall end; the engine looks at it between two tokens.
        ids: The messages that they are.
        view: Where they are shown; None until they begin.
        taken: The index of the one that the user goes on with.
    """

    def __init__(self, count: int, *, details: bool = False) -> None:
        self.count = count
        self._details = details
        self.stopped: set[int] = set()
        self.ids: dict[int, int] = {}
        self.view: Candidates | None = None
        self.taken: int | None = None
        self._pieces: defaultdict[int, list[Token | Reasoning]] = defaultdict(list)

    def buffer(self, index: int, piece: Token | Reasoning) -> None:
        """Keep a piece until the next `flush`."""
        self._pieces[index].append(piece)

    def flush(self) -> None:
        """Show what came since the last time."""
        if self.view is not None:
            for index in list(self._pieces):
                self.view.feed(index, *self.drain(index))
        self._pieces.clear()

    def drain(self, index: int) -> tuple[str, str, int]:
        """Text, reasoning and tokens of one that came since the last `flush`; takes them away."""
        pieces = self._pieces.pop(index, [])
        text = "".join(each.text for each in pieces if isinstance(each, Token))
        thought = "".join(each.text for each in pieces if isinstance(each, Reasoning))
        return text, thought, len(pieces)

    def finish(self, index: int, end: Finished) -> None:
        """Show the end of one."""
        self._pieces.pop(index, None)
        if self.view is not None:
            stage, tokens = STAGES[end.reason], end.usage.completion
            self.view.finish(index, stage, end.text, end.reasoning, tokens)
            if self._details and end.log_probability is not None:
                self.view.label(index, f"log p {end.log_probability:.2f}")

    def rank(self, judge: str, scores: tuple[tuple[int, float], ...]) -> None:
        """Show what a judge says of each, the best first."""
        if self.view is None:
            return
        for place, (index, score) in enumerate(scores):
            self.view.label(index, f"{'★ ' if not place else ''}{judge} {score:.2f}")
        if scores:
            self.view.keep(scores[0][0])
            self.view.point_at(scores[0][0])

    def take(self, index: int) -> None:
        """Go on with one: the others shall end, also while they are being written."""
        self.taken = index
        self.stopped |= set(range(self.count)) - {index}
