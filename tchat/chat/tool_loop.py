"""The tools of a chat, and the loop of a turn that calls them.

A reply that calls is a step: its calls run, each result becomes a message, and the model goes on
from there. The turn ends with an answer, with the last step that it may have, when the user stops
it, or when the model makes the same call over and over.
"""

from __future__ import annotations

import json
import queue
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tchat.chat.branch import StoredQuestion
from tchat.engine.events import Event, Finished, Notice, Reason, StepFinished, StepState, ToolStep
from tchat.errors import Interrupted, TchatError
from tchat.sanitize import revealed, single_line
from tchat.sessions.records import Role, ToolCall, ToolOutcome, ToolState
from tchat.tools.executor import ApprovedCall, ToolResult
from tchat.tools.syntaxes import CallBroken, ToolChoice
from tchat.tools.tool import Effect
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.chat.reply_journal import ReplyJournal
    from tchat.chat.tool_protocol import Call, CallReplyReader, ToolProtocol
    from tchat.chat.untrusted_texts import UntrustedTexts
    from tchat.engine.binding import Cancel
    from tchat.engine.tool_reply import ToolReplies
    from tchat.redaction.outgoing import OutgoingRedaction
    from tchat.sessions.store import Store
    from tchat.tools.executor import ToolExecutor

_Key: TypeAlias = tuple[str, str]  # the tool and the arguments of a call

MAX_STEPS = 10
POLL = 0.05  # seconds between two looks at the cancel flag while a tool runs
GRACE = 1.0  # seconds that a tool has to end once it was stopped; then it is left alone
_LONGEST_RAW = 500  # characters of a broken call that the model is shown

_STOPPED = "The user stopped this call."
_SAME = "[The same call had the same result before. Answer now, or do something else.]"
_AGAIN = "[The call before was the same. Answer now, or do something else.]"
MOST_REPEATS = 2  # of one call; the turn ends with the last


@dataclass(frozen=True, slots=True)
class ChatTools:
    """The tools that a chat offers its model.

    Attributes:
        executor: Runs their calls.
        names: The tools, in the order in which the model is told of them.
        choice: Whether the model has to call one, before it may answer; None offers no tools.
        max_steps: Replies of one turn that may call tools.
        server_log_problem: Why what MCP servers are sent is not logged, the first time; else empty.
    """

    executor: ToolExecutor
    names: tuple[str, ...]
    choice: ToolChoice | None
    max_steps: int = MAX_STEPS
    server_log_problem: Callable[[], str] = field(default=lambda: "")

    def take_log_problem(self) -> str:
        """Why requests of tools are not logged, the first time; else empty."""
        of_servers = self.server_log_problem()
        return self.executor.registry.take_log_problem() or of_servers


class _Outcome(NamedTuple):
    """What became of a call."""

    state: StepState
    content: str
    decided_by: str = ""
    seconds: float = 0.0


class _Step(NamedTuple):
    """A reply that called, by its id."""

    reply: int
    calls: tuple[ToolCall, ...]
    finished: Finished


class ToolLoop:
    """The steps of one turn.

    Args:
        tools: The tools.
        protocol: How the model is told of them.
        store: Where results are stored.
        untrusted: Knows the texts of others in the chat.
        cancel: Ends the turn.
        redaction: Gives the redaction of the session, for calls that leave this machine.
    """

    def __init__(
        self,
        tools: ChatTools,
        protocol: ToolProtocol,
        store: Store,
        untrusted: UntrustedTexts,
        cancel: Cancel,
        *,
        redaction: Callable[[], OutgoingRedaction] | None = None,
    ) -> None:
        self._redaction = redaction
        self._protocol = protocol
        self._tools, self._executor = tools, tools.executor
        self._store, self._untrusted, self._cancel = store, untrusted, cancel
        self._parent = 0  # the message that the next one is stored below
        self._steps = 0  # replies that called
        self._step: _Step | None = None  # the last one, until its calls have run
        self._ended: list[Finished] = []  # the replies that called
        self._readers: list[CallReplyReader] = []
        self._results: dict[_Key, str] = {}
        self._last: _Key | None = None  # of the call before
        self._repeats: Counter[_Key] = Counter()  # how often each call was made again for nothing

    def replies(self) -> ToolReplies:
        """How the next reply is read. A call is demanded at most once in a turn.

        In the envelope, the last reply that may come is an answer.

        Raises:
            UsageError: The schemas of the tools make no grammar.
        """
        choice = self._tools.choice
        if choice is None or self._steps:
            choice = ToolChoice()
        self._readers.clear()
        must_answer = bool(self._repeats) or self._steps >= self._tools.max_steps
        return self._protocol.replies(choice, self._readers, must_answer=must_answer)

    def end_reply(
        self, finished: Finished, journal: ReplyJournal
    ) -> Generator[Event, None, Finished | StepFinished]:
        """The end of a reply, or of a step if it calls; one that was cut off calls nothing."""
        calls = self._last_calls
        if finished.reason is Reason.LOOP and (calls or self._is_calling):
            text = tr("the model began to repeat itself where it calls a tool, so none was called")
            yield Notice("tool", text)
        elif calls and finished.reason is Reason.LENGTH:
            yield Notice(
                "tool", tr("the reply was cut off where it calls a tool, so none was called")
            )
        if not calls or finished.reason is not Reason.STOP:
            return replace(finished, steps=tuple(self._ended))
        finished = replace(finished, reason=Reason.TOOL_CALLS)
        journal.tool_calls = tuple(_stored(calls))
        self._step = _Step(journal.message_id, journal.tool_calls, finished)
        return StepFinished(finished)

    @property
    def _last_calls(self) -> Sequence[Call]:
        return self._readers[-1].calls if self._readers else ()

    @property
    def _is_calling(self) -> bool:
        """Whether the last reply ended within a call."""
        return bool(self._readers) and self._readers[-1].is_calling

    def run(self, session: str) -> Generator[Event, None, StoredQuestion | None]:
        """Run the calls of the last reply, and store what comes of them in a session.

        Returns:
            What the next reply follows; None where the turn has ended.
        """
        step, self._step = self._step, None
        if step is None:
            return None
        self._steps += 1
        if self._steps > self._tools.max_steps:
            for index, call in enumerate(step.calls):
                yield _told(step.reply, index, call, StepState.STOPPED)
            text = trn(
                "the turn ended after {count:,} step with tools, without an answer: allow more "
                "with --max-steps",
                "the turn ended after {count:,} steps with tools, without an answer: allow more "
                "with --max-steps",
                self._tools.max_steps,
            )
            yield Notice("tool", text)
            yield self._end(step)
            return None
        self._parent = step.reply
        calls = dict(enumerate(step.calls))
        groups = [calls] if self._only_read(step.calls) else [{n: calls[n]} for n in calls]
        for group in groups:
            yield from self._run_at_once(session, step.reply, group)
        if problem := self._tools.take_log_problem():
            yield Notice("storage", problem)
        if self._cancel.is_set() or self._parent == step.reply:
            yield self._end(step, Reason.CANCELLED)
            return None
        if max(self._repeats.values(), default=0) >= MOST_REPEATS:
            text = tr("the model made the same call again and again: the turn ended there")
            yield Notice("tool", text)
            yield self._end(step)
            return None
        self._ended.append(step.finished)
        return StoredQuestion(self._store.message(self._parent), is_step=True)

    def _end(self, step: _Step, reason: Reason = Reason.TOOL_CALLS) -> Finished:
        """The end of a turn without an answer."""
        return replace(step.finished, reason=reason, steps=tuple(self._ended))

    # Running

    def _run_at_once(
        self, session: str, reply: int, calls: Mapping[int, ToolCall]
    ) -> Iterator[Event]:
        """Run calls beside each other, once all are decided about; store what comes of them."""
        approved: dict[int, ApprovedCall] = {}
        outcomes: dict[int, _Outcome] = {}
        for index, call in calls.items():
            if self._cancel.is_set():
                break
            decided = yield from self._approve(reply, index, call)
            if isinstance(decided, _Outcome):
                outcomes[index] = decided
            else:
                approved[index] = decided
                yield _told(reply, index, call, StepState.RUNNING)
        outcomes.update(self._execute(approved))
        for index in sorted(outcomes):
            yield self._store_result(session, reply, index, calls[index], outcomes[index])

    def _store_result(
        self, session: str, reply: int, index: int, call: ToolCall, outcome: _Outcome
    ) -> ToolStep:
        content = self._noted(call, outcome)
        message = self._store.add(
            session,
            Role.TOOL,
            content,
            parent_id=self._parent,
            tool_outcome=ToolOutcome(
                call_id=call.id,
                name=call.name,
                state=ToolState(outcome.state.value),
                decided_by=outcome.decided_by,
                seconds=outcome.seconds,
            ),
        )
        self._parent = message.id
        self._untrusted.add(message.id)  # the executor told of it
        step = _told(reply, index, call, outcome.state, content, outcome.seconds)
        return replace(step, message=message.id)

    def _approve(
        self, reply: int, index: int, call: ToolCall
    ) -> Generator[Event, None, ApprovedCall | _Outcome]:
        broken = self._last_calls[index]
        if isinstance(broken, CallBroken):
            return _Outcome(StepState.FAILED, _about_broken(broken))
        if self._executor.will_ask(call.name, call.arguments):
            yield _told(reply, index, call, StepState.ASKING)
        try:
            decided = self._executor.approve(call.name, call.arguments)
        except Interrupted:
            return _Outcome(StepState.STOPPED, _STOPPED)
        return _outcome(decided) if isinstance(decided, ToolResult) else decided

    def _only_read(self, calls: Sequence[ToolCall]) -> bool:
        """Whether all of them may run at once."""
        if len(calls) < 2:
            return False
        with suppress(TchatError):
            tools = [self._executor.registry.get(call.name) for call in calls]
            return all(tool.effects <= {Effect.READS_FILES} for tool in tools)
        return False

    def _execute(self, approved: Mapping[int, ApprovedCall]) -> dict[int, _Outcome]:
        """Run calls at once, each on a thread; those that the user stops are left alone."""
        if not approved:
            return {}
        done: queue.SimpleQueue[tuple[int, _Outcome | BaseException]] = queue.SimpleQueue()

        def run(index: int) -> None:
            try:
                done.put(
                    (index, _outcome(self._executor.execute(approved[index], self._redaction)))
                )
            except Interrupted:
                done.put((index, _Outcome(StepState.STOPPED, _STOPPED)))
            except BaseException as error:  # noqa: BLE001 - raised on the caller's thread
                done.put((index, error))

        for index in approved:
            threading.Thread(target=run, args=(index,), name="tool", daemon=True).start()
        outcomes: dict[int, _Outcome] = {}
        patience = GRACE
        while len(outcomes) < len(approved) and patience > 0:
            try:
                index, outcome = done.get(timeout=POLL)
            except queue.Empty:
                patience -= POLL if self._cancel.is_set() else 0
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes[index] = outcome
        left = dict.fromkeys(
            approved.keys() - outcomes.keys(), _Outcome(StepState.STOPPED, _STOPPED)
        )
        return outcomes | left

    def _noted(self, call: ToolCall, outcome: _Outcome) -> str:
        """The content of a result, with a word to a model that repeats itself."""
        content = revealed(outcome.content)
        key = (call.name, json.dumps(call.arguments, sort_keys=True, default=str))
        word = _SAME if self._results.get(key) == content else ""
        word = word or (_AGAIN if self._last == key else "")
        self._results[key], self._last = content, key
        if not word:
            return content
        self._repeats[key] += 1
        return f"{content}\n{word}"


def _outcome(result: ToolResult) -> _Outcome:
    state = StepState.DONE
    if result.failed:
        state = StepState.REFUSED if result.is_refused else StepState.FAILED
    by = result.decision.by.value if result.decision is not None else ""
    return _Outcome(state, result.content, by, result.seconds)


def _stored(calls: Sequence[Call]) -> Iterator[ToolCall]:
    """Calls as the session keeps them; their ids tell them apart."""
    used: set[str] = set()
    for call in calls:
        if isinstance(call, CallBroken):
            yield ToolCall(id=_new_id(), name=call.name or "unknown", arguments={})
            continue
        call_id = _new_id() if call.id in ("", *used) else call.id
        used.add(call_id)
        yield ToolCall(id=call_id, name=call.name, arguments=call.arguments)


def _new_id() -> str:
    """Nine letters and digits, which every template takes."""
    return secrets.token_hex(5)[:9]


def _about_broken(call: CallBroken) -> str:
    """What the model is told of a call that cannot be read."""
    raw = single_line(call.raw, limit=_LONGEST_RAW)
    return f"This call could not be read: {call.reason}. You wrote: {raw}"


def _told(  # noqa: PLR0917 - as a step has them
    reply: int,
    index: int,
    call: ToolCall,
    state: StepState,
    content: str = "",
    seconds: float = 0.0,
) -> ToolStep:
    return ToolStep(reply, index, call.name, call.arguments, state, content, seconds)
