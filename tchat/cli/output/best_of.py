"""The best of several replies: printed when all are judged, with what the others got."""

from __future__ import annotations

from typing import Any

from tchat.cli.output.candidates import CandidateLayout, CandidateOutput
from tchat.cli.output.writers import ReplyRecord
from tchat.engine.events import Event, Finished, Ranked
from tchat.sanitize import single_line

_SHOWN = 60  # characters of the others that are shown in a chat


class BestOfOutput(CandidateOutput):
    """Shows nothing but progress until the replies are ranked, then the best of them.

    Where none can be judged, the first is shown.

    Attributes:
        ranked: The order, once it is there.
    """

    ranked: Ranked | None = None

    def __exit__(self, failure: object = None, *rest: object) -> None:
        unseen = [index for index in self.order if self.finished[index].text]
        if failure is None and self.ranked is None and unseen and not self._output.json:
            self._print(self.finished[unseen[0]])
        super().__exit__(failure, *rest)

    def show(self, event: Event) -> None:
        """Show ``event``."""
        if isinstance(event, Ranked):
            self.ranked = event
            self.describe(judge=event.judge, reply=self.finished[event.scores[0][0]].text)
            if not self._output.json:
                self._print(self.finished[event.scores[0][0]])
        else:
            super().show(event)

    @property
    def order(self) -> list[int]:
        """Indexes of the replies, the best first; as they were written where none was ranked."""
        if self.ranked is None:
            return super().order
        ranked = [index for index, _ in self.ranked.scores]
        return [*ranked, *(index for index in super().order if index not in ranked)]

    def others(self) -> list[str]:
        """A line for each reply but the best: its number in the order, score and beginning."""
        scores = self.ranked.scores if self.ranked else ()
        return [
            f"[{place}] {score:.2f}  {single_line(self.finished[index].text, _SHOWN)}"
            for place, (index, score) in enumerate(scores, 1)
            if place > 1
        ]

    def summary(self) -> str:
        """The scores on one line."""
        if self.ranked is None:
            return "no reply was judged"
        told = ", ".join(f"{score:.2f}" for _, score in self.ranked.scores)
        return f"best of {len(self.ranked.scores)} by {self.ranked.judge}: {told}"

    def _chosen_form(self) -> CandidateLayout | None:
        return None

    def _print(self, best: Finished) -> None:
        self._status.erase()
        writer = self._writer()
        writer.text(best.text)
        writer.close(ReplyRecord(finished=best))

    def _object(self, index: int) -> dict[str, Any]:
        scores = dict(self.ranked.scores) if self.ranked else {}
        return super()._object(index) | {"score": scores.get(index)}
