"""Several replies to one prompt: columns on a terminal, blocks in a pipe, or JSON."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Self

from tchat.cli.console import Console
from tchat.cli.output.columns import TextColumns
from tchat.cli.output.reply import OutputOptions, choose_writer, cut_off_count, loop_count
from tchat.cli.output.status import ReplyProgress, TerminalStatus, print_notice
from tchat.cli.output.writers import ReplyRecord, StdoutWriter, Writer
from tchat.engine.events import (
    CacheRestored,
    CandidateEvent,
    Event,
    Finished,
    LoadProgress,
    MessageStored,
    Notice,
    PromptProgress,
    Ranked,
    Reason,
    ReplyDelta,
    TextDelta,
    Timings,
)
from tchat.markdown import first_code_block
from tchat.sanitize import single_line
from tchat.translation import tr, trn

NARROWEST = 24  # cells of a column; replies in narrower ones are printed one below the other


class CandidateOutput:
    """Prints the events of several replies; use it as a context manager.

    With ``names``, each is headed by its own, and they are printed one after the other. With
    ``best``, only progress is shown until the replies are ranked, then the best one; the
    first where none can be ranked.

    Attributes:
        finished: The replies by index.
        stored: Ids of their messages by index.
        ranked: The scores, once they are there.
    """

    def __init__(
        self,
        console: Console,
        output: OutputOptions,
        count: int,
        *,
        best: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        self._console, self._output, self._count, self._best = console, output, count, best
        self._names = names
        self._status = TerminalStatus(console)
        self._progress = ReplyProgress(spoken=console.accessible)
        self._stdout = StdoutWriter(console, self._status.erase)
        self._facts: dict[str, Any] = {}
        self._notices: list[Notice] = []
        self._form = self._chosen_form()
        self.finished: dict[int, Finished] = {}
        self.stored: dict[int, int] = {}  # ids of the messages
        self.ranked: Ranked | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object = None, *_: object) -> None:
        if self._best and failure is None and self.ranked is None:
            unseen = [index for index in self.order if self.finished[index].text]
            self._print_best(unseen[:1])
        with ExitStack() as last:
            last.callback(self._status.erase)
            if self._output.json and self.finished:
                self._print_json()
        cut_off = sum(reply.reason is Reason.LENGTH for reply in self.finished.values())
        if cut_off:
            self._console.notice(cut_off_count(cut_off, len(self.finished)))
        looped = sum(reply.reason is Reason.LOOP for reply in self.finished.values())
        if looped:
            self._console.notice(loop_count(looped, len(self.finished)))
        if self._output.usage and self.finished:
            self._console.say(usage_line(self.finished))

    def describe(self, **facts: Any) -> None:
        """Add ``facts`` to the JSON object, for example ``session``."""
        self._facts |= facts

    def show(self, event: Event) -> None:
        """Show ``event``."""
        inner = event.event if isinstance(event, CandidateEvent) else event
        self._progress.record(inner)
        if isinstance(event, CandidateEvent) and isinstance(inner, ReplyDelta | Finished):
            if isinstance(inner, Finished):
                self.finished[event.index] = inner
            if self._form is not None:
                self._form.show(event.index, inner)
        elif isinstance(event, CandidateEvent) and isinstance(inner, MessageStored):
            self.stored[event.index] = inner.reply
        elif isinstance(event, Notice):
            self._notices.append(event)
            print_notice(self._console, self._status, event)
        elif isinstance(event, LoadProgress):
            self._facts.setdefault("model", event.model)
        elif isinstance(event, Ranked) and self._best:
            self.ranked = event
            self.describe(judge=event.ranker, reply=self.finished[event.scores[0][0]].text)
            self._print_best([event.scores[0][0]])
            return
        waiting = (
            isinstance(event, LoadProgress | CacheRestored | PromptProgress) or self._form is None
        )
        if waiting and self._status.due:
            self._status.show(self._progress.words())

    @property
    def order(self) -> list[int]:
        """Indexes of the replies that are finished: the best first, then as they were begun."""
        ranked = [index for index, _ in self.ranked.scores] if self.ranked else []
        return [*ranked, *(index for index in sorted(self.finished) if index not in ranked)]

    def others(self) -> list[str]:
        """A line for each reply but the best: its number in the order, score and beginning."""
        scores = self.ranked.scores if self.ranked else ()
        return [
            tr(
                "Reply {number}, score {score:.2f}: {text}",
                number=place,
                score=score,
                text=single_line(self.finished[index].text, _SHOWN),
            )
            for place, (index, score) in enumerate(scores, 1)
            if place > 1
        ]

    def summary(self) -> str:
        """The scores on one line."""
        if self.ranked is None:
            return tr("no reply was ranked")
        scores = ", ".join(f"{score:.2f}" for _, score in self.ranked.scores)
        return tr(
            "best of {total} by {ranker}: {scores}",
            total=len(self.ranked.scores),
            ranker=self.ranked.ranker,
            scores=scores,
        )

    def _chosen_form(self) -> _SideBySide | _Stacked | None:
        if self._output.json or self._best:
            return None
        width = shutil.get_terminal_size().columns
        whole = self._output.extract or self._output.raw or not self._output.stream
        announced = self._count if self._console.accessible else 0
        one_by_one = bool(announced or self._names)
        if self._console.stdout_is_terminal and not whole and not one_by_one:
            columns = TextColumns(self._count, width)
            if columns.width >= NARROWEST:
                return _SideBySide(columns, self._stdout, self._count)
        return _Stacked(self._stdout, self._writer, announced, self._names)

    def _writer(self) -> Writer:
        return choose_writer(self._output, self._console, self._stdout, self._status)

    def _print_best(self, indexes: list[int]) -> None:
        for index in () if self._output.json else indexes:
            self._status.erase()
            writer = self._writer()
            writer.text(self.finished[index].text)
            writer.close(ReplyRecord(finished=self.finished[index]))

    def _print_json(self) -> None:
        self._stdout.write_json(
            {
                "candidates": [self._object(index) for index in self.order],
                "notices": [asdict(notice) for notice in self._notices],
                **self._facts,
            }
        )

    def _object(self, index: int) -> dict[str, Any]:
        finished = self.finished[index]
        scores = dict(self.ranked.scores) if self.ranked else {}
        value: dict[str, Any] = {"reply": finished.text}
        if self._output.extract:
            value["extracted"] = first_code_block(finished.text)
        return value | {
            "log_probability": finished.log_probability,
            "reasoning": finished.reasoning or None,
            "finish_reason": finished.reason.value,
            "usage": finished.usage.as_json(),
            "timings": finished.timings.as_json(),
            "seed": finished.seed,
            **({"score": scores.get(index)} if self._best else {}),
        }


class _SideBySide:
    """Candidates in columns, with a footer each."""

    def __init__(self, columns: TextColumns, stdout: StdoutWriter, count: int) -> None:
        self._columns, self._stdout = columns, stdout
        self._feet = [""] * count
        self._left = count
        self._headed = False

    def show(self, index: int, piece: ReplyDelta | Finished) -> None:
        if not self._headed:
            self._headed = True
            numbers = range(1, len(self._feet) + 1)
            self._print([self._columns.row([f"[{number}]" for number in numbers])])
        if isinstance(piece, TextDelta):
            self._columns.feed(index, piece.text)
        elif isinstance(piece, Finished):
            self._columns.close(index)
            self._feet[index] = candidate_footer(piece)
            self._left -= 1
        self._print(self._columns.rows())
        if not self._left:
            self._print([self._columns.row(self._feet)])
            self._left = -1

    def _print(self, rows: Iterator[str] | list[str]) -> None:
        self._stdout.write("".join(f"{row}\n" for row in rows))


class _Stacked:
    """Candidates one after the other; the first is streamed, later ones are held back.

    ``announced`` is their number where each is announced in words, ``names`` are their names.
    """

    def __init__(
        self,
        stdout: StdoutWriter,
        writer: Callable[[], Writer],
        announced: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        self._stdout, self._make = stdout, writer
        self._announced, self._names = announced, names
        self._writer: Writer | None = None
        self._now = 0
        self._held: dict[int, list[ReplyDelta | Finished]] = {}

    def show(self, index: int, piece: ReplyDelta | Finished) -> None:
        self._held.setdefault(index, []).append(piece)
        while held := self._held.pop(self._now, None):
            for each in held:
                self._write(each)
            if not isinstance(held[-1], Finished):
                break
            self._now += 1

    def _write(self, piece: ReplyDelta | Finished) -> None:
        if self._writer is None:
            gap = "\n" if self._now else ""
            self._stdout.write(f"{gap}{self._title()}\n")
            self._writer = self._make()
        if isinstance(piece, TextDelta):
            self._writer.text(piece.text)
        elif isinstance(piece, Finished):
            self._writer.close(ReplyRecord(finished=piece))
            self._writer = None

    def _title(self) -> str:
        number = self._now + 1
        name = single_line(self._names[self._now]) if self._names else ""
        if not self._announced:
            return f"[{number}] {name}".rstrip()
        total = self._announced
        if name:
            return tr("Reply {number} of {total}, {name}:", number=number, total=total, name=name)
        return tr("Reply {number} of {total}:", number=number, total=total)


def candidate_footer(finished: Finished) -> str:
    """Token count, finish reason and log-probability of a candidate."""
    facts = [trn("{count:,} token", "{count:,} tokens", finished.usage.completion)]
    if finished.reason is not Reason.STOP:
        facts.append(str(finished.reason))
    if finished.log_probability is not None:
        facts.append(tr("logprob {value:.2f}", value=finished.log_probability))
    return " · ".join(facts)


def usage_line(replies: dict[int, Finished]) -> str:
    """Token counts and speed of all replies on one line."""
    written = sum(reply.usage.completion for reply in replies.values())
    seconds = max(reply.timings.decode for reply in replies.values())
    first = next(iter(replies.values()))
    facts = [
        trn(
            "{count:,} token of prompt, read once",
            "{count:,} tokens of prompt, read once",
            first.usage.prompt,
        ),
        trn("{count:,} reply", "{count:,} replies", len(replies)),
        trn("{count:,} token written", "{count:,} tokens written", written),
    ]
    if rate := Timings.rate(written, seconds):
        facts.append(tr("{rate:.0f} tok/s in all", rate=rate))
    return " · ".join(facts)


_SHOWN = 60  # characters of the others that are shown in a chat


def active_text(candidates: Sequence[int], last: int | None, *, ranked: bool) -> str:
    """Which of several replies the chat goes on with, by the id of its last message.

    When all of them were stopped, it is the one from before.
    """
    if last is None or last not in candidates:
        return tr("Continuing with the reply from before; /pick N chooses one of these.")
    if place := candidates.index(last):
        return tr("Continuing with reply {number}; /pick N chooses another.", number=place + 1)
    if ranked:
        return tr("Continuing with the best; /pick N chooses another.")
    return tr("Continuing with the first; /pick N chooses another.")
