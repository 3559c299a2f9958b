"""Printing the events of a reply.

Standard output carries only the answer. Status, notices and statistics go to standard error;
progress only if that is a terminal.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Self

from tchat.cli.console import Console
from tchat.cli.output.status import (
    DIM,
    PLAIN,
    Clock,
    ReplyProgress,
    TerminalStatus,
    print_notice,
    supports_escapes,
    terminal_width,
)
from tchat.cli.output.writers import (
    JsonWriter,
    PlainWriter,
    ReplyRecord,
    StdoutWriter,
    WholeWriter,
    WrappedStdout,
    Writer,
)
from tchat.engine.events import (
    CacheRestored,
    Event,
    Finished,
    LabelScores,
    LoadProgress,
    Notice,
    PromptProgress,
    Reason,
    ReasoningDelta,
    StepFinished,
    StepState,
    TextDelta,
    Timings,
    ToolStep,
)
from tchat.translation import tr, trn

TOOL_NOTICE = "tool"  # how the calls of a turn ended it
END_NOTICES = (Reason.LENGTH, Reason.LOOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What the flags ask of the output.

    Attributes:
        markdown: ``auto`` (on a terminal), ``always`` or ``never``.
        json: One object at the end.
        raw: Byte-exact text. A terminal gets text that is safe all the same.
        stream: Print while the reply is written.
        extract: Print the first code block only; all of the reply where there is none.
        usage: Say token counts and times at the end.
        show_reasoning: Print the reasoning too.
        speaker: What a screen reader's chat announces the reply with.
        has_commands: Whether the user can type commands after the reply.
    """

    markdown: str = "auto"
    json: bool = False
    raw: bool = False
    stream: bool = True
    extract: bool = False
    usage: bool = False
    show_reasoning: bool = False
    speaker: str = ""
    has_commands: bool = False


class ReplyOutput:
    """Prints the events of one reply; use it as a context manager, or close it.

    Raises, from every method:
        BrokenPipeError: The reader of standard output is gone: `tchat.cli.console` ends the
            command silently with 141.
        StorageError: Standard output cannot be written.
    """

    def __init__(
        self, console: Console, output: OutputOptions, clock: Clock = time.monotonic
    ) -> None:
        self._console = console
        self._output = output
        self._status = TerminalStatus(console, clock)
        self._progress = ReplyProgress(clock, spoken=console.accessible)
        stdout = StdoutWriter(console, self._status.erase)
        self._writer = choose_writer(output, console, stdout, self._status)
        self._reply = ReplyRecord()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def refused(self) -> int:
        """How many calls of tools were refused."""
        steps = self._reply.facts.get("tool_calls", ())
        return sum(step["state"] == StepState.REFUSED for step in steps)

    def describe(self, **facts: Any) -> None:
        """Add ``facts`` to the JSON object, for example ``model`` and ``session``."""
        self._reply.facts |= facts

    def show(self, event: Event) -> None:
        """Show ``event``."""
        self._progress.record(event)
        match event:
            case TextDelta(text):
                self._writer.text(text)
                if self._writer.live:  # it shows that the reply goes on
                    return
            case ReasoningDelta(text):
                if self._output.show_reasoning:
                    self._writer.reasoning(text)
            case Notice():
                self._reply.notices.append(event)
                print_notice(self._console, self._status, event)
            case LabelScores(probabilities):
                self._reply.chosen = event
                self._writer.text(probabilities[0][0])
            case Finished():
                self._finish(event)
            case LoadProgress(model):
                self._reply.facts.setdefault("model", model)
            case StepFinished() | ToolStep():
                self._show_step(event)
        self._show_status(event)

    def close(self) -> None:
        """Print what is left; doing it twice changes nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._writer.close(self._reply)
        finally:
            self._status.erase()
        if finished := self._reply.finished:
            if self._needs_notice(finished):
                self._console.notice(self._end_notice(finished.reason).text)
            if self._output.usage:
                self._console.say(usage_line(finished))

    def _needs_notice(self, finished: Finished) -> bool:
        """Whether its end is to be told; of a turn that ended at its calls, that is done."""
        told = any(notice.kind == TOOL_NOTICE for notice in self._reply.notices)
        return finished.reason in END_NOTICES and not told

    def _end_notice(self, reason: Reason) -> Notice:
        if reason is Reason.LENGTH:
            return Notice("length", cut_off_text())
        return Notice("loop", loop_text(has_commands=self._output.has_commands))

    def _finish(self, finished: Finished) -> None:
        self._reply.finished = finished
        if self._needs_notice(finished):  # printed after the reply
            self._reply.notices.append(self._end_notice(finished.reason))

    def _show_step(self, step: StepFinished | ToolStep) -> None:
        """Print a call that has ended, and let the status tell of one that has not."""
        from tchat.cli.output.steps import ENDED, call_text, step_line, step_record

        self._status.erase()
        if isinstance(step, StepFinished):
            self._writer.end_step()
            return
        if step.state not in ENDED:
            if self._status.due and step.state is not StepState.ASKING:
                self._status.show(call_text(step.name, step.arguments))
            return
        self._reply.facts.setdefault("tool_calls", []).append(step_record(step))
        if not self._console.quiet:
            self._console.tell(step_line(step, spoken=self._console.accessible))

    def _show_status(self, event: Event) -> None:
        waiting = isinstance(event, LoadProgress | CacheRestored | PromptProgress | TextDelta)
        hidden = isinstance(event, ReasoningDelta) and not (
            self._writer.live and self._output.show_reasoning
        )
        if (waiting or hidden) and self._status.due:
            self._status.show(self._progress.words(self._writer.preview))


def cut_off_text() -> str:
    """Tell that a reply was cut off."""
    return tr("the reply was cut off: --max-tokens or the context limit was reached")


def loop_text(*, has_commands: bool = False) -> str:
    """Tell that a reply was stopped by the loop guard, and what can be done."""
    if has_commands:
        return tr(
            "stopped: it began to repeat itself; /continue goes on, /regen dry tries again with a "
            "repetition penalty"
        )
    return tr(
        "stopped: it began to repeat itself; --no-loop-guard lets it go on, --dry-multiplier 0.8 "
        "penalizes repetition"
    )


def loop_count(count: int, total: int) -> str:
    """Tell how many of ``total`` replies the loop guard stopped."""
    return trn(
        "{count:,} of {total} was stopped: it began to repeat itself; --no-loop-guard lets it go "
        "on, --dry-multiplier 0.8 penalizes repetition",
        "{count:,} of {total} were stopped: they began to repeat themselves; --no-loop-guard lets "
        "them go on, --dry-multiplier 0.8 penalizes repetition",
        count,
        total=trn("{count:,} reply", "{count:,} replies", total),
    )


def cut_off_count(count: int, total: int) -> str:
    """Tell how many of ``total`` replies were cut off."""
    return trn(
        "{count:,} of {total} was cut off: --max-tokens or the context limit was reached",
        "{count:,} of {total} were cut off: --max-tokens or the context limit was reached",
        count,
        total=trn("{count:,} reply", "{count:,} replies", total),
    )


def choose_writer(
    output: OutputOptions, console: Console, stdout: StdoutWriter, status: TerminalStatus
) -> Writer:
    """Choose the writer for the flags and the kind of standard output."""
    terminal = console.stdout_is_terminal
    if output.json:
        return JsonWriter(stdout, extract=output.extract)
    styled = terminal and supports_escapes(console)
    plain = PlainWriter(
        WrappedStdout(stdout, terminal_width()) if terminal and console.accessible else stdout,
        raw=output.raw and not terminal,
        tidy=terminal,
        marks=_reasoning_marks(console, dim=styled),
        speaker=output.speaker,
    )
    if output.extract:
        return WholeWriter(plain, lambda text: _extracted(text, console, status))
    is_markdown = {"always": True, "never": False}.get(
        output.markdown, styled and not console.accessible
    )
    answer: Writer = plain
    if is_markdown and not output.raw:
        from tchat.cli.output.writers import MarkdownWriter

        answer = MarkdownWriter(stdout, console, styled=styled)
    return answer if output.stream else WholeWriter(answer)


def _reasoning_marks(console: Console, *, dim: bool) -> tuple[str, str]:
    """What is printed before and after the reasoning."""
    if console.accessible:
        return tr("Reasoning:") + "\n", "\n\n"
    return (f"{DIM}<think>\n", f"\n</think>{PLAIN}\n\n") if dim else ("<think>\n", "\n</think>\n\n")


def _extracted(text: str, console: Console, status: TerminalStatus) -> str:
    from tchat.markdown import first_code_block

    code = first_code_block(text)
    if code is not None:
        return code
    status.erase()
    console.notice(tr("the reply has no code block; all of it is printed"))
    return text


def usage_line(finished: Finished) -> str:
    """Token counts and times of a reply on one line."""
    timings = finished.turn_timings
    seconds = timings.load + timings.restore + timings.prefill + timings.decode
    total = tr(
        "{seconds:.2f} s, including {load:.2f} s to load the model",
        seconds=seconds,
        load=timings.load,
    )
    return " · ".join([_prompt_usage(finished), _reply_usage(finished), total])


def _prompt_usage(finished: Finished) -> str:
    usage, timings = finished.turn_usage, finished.turn_timings
    cached = tr("{tokens:,} from the cache", tokens=usage.reused)
    if usage.restored:
        cached = tr(
            "{tokens:,} from the cache, {restored:,} of them restored in {seconds:.2f} s",
            tokens=usage.reused,
            restored=usage.restored,
            seconds=timings.restore,
        )
    words = trn(
        "{count:,} token of prompt ({cached})",
        "{count:,} tokens of prompt ({cached})",
        usage.prompt,
        cached=cached,
    )
    return _with_rate(words, Timings.rate(usage.prefilled, timings.prefill))


def _reply_usage(finished: Finished) -> str:
    usage = finished.turn_usage
    words = trn("{count:,} token written", "{count:,} tokens written", usage.completion)
    if usage.reasoning:
        words = tr("{written} ({tokens:,} of reasoning)", written=words, tokens=usage.reasoning)
    if usage.drafted:
        words = tr(
            "{written} ({accepted:,} of {drafted:,} drafted tokens accepted)",
            written=words,
            accepted=usage.accepted,
            drafted=usage.drafted,
        )
    return _with_rate(words, Timings.rate(usage.completion, finished.turn_timings.decode))


def _with_rate(words: str, rate: float) -> str:
    return tr("{words}, {rate:.0f} tok/s", words=words, rate=rate) if rate else words
