"""Runs the calls of a model: arguments checked, links resolved, approved, and logged.

It never raises for what a model or a tool does wrong: that is a result, which the model reads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from tchat.errors import Interrupted, TchatError, UsageError
from tchat.sanitize import single_line
from tchat.tools.approval import Approval, Decider, Decision, PreparedCall, pattern_of
from tchat.tools.approval_rule import Verdict
from tchat.tools.audit_log import AuditLog
from tchat.tools.registry import ToolRegistry
from tchat.tools.roots import Roots
from tchat.tools.tool import Arguments, Effect, ToolError
from tchat.translation import english, tr

if TYPE_CHECKING:
    from tchat.redaction.outgoing import OutgoingRedaction

MAX_CONTENT = 128 << 10  # characters that a model is given of one call


class ApprovalChoice(Enum):
    """What the user says to a call."""

    ONCE = auto()
    ALWAYS_TOOL = auto()
    ALWAYS_PATTERN = auto()
    DENY = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """The user's choice, with a word to the model where the call is denied."""

    choice: ApprovalChoice
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A call that waits for the user.

    Attributes:
        call: What the model wants to do.
        preview: What it would change, as a diff; empty where the tool shows none.
        pattern: What "always with these arguments' pattern" would allow; empty where it is not
            offered.
    """

    call: PreparedCall
    preview: str
    pattern: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call.

    Attributes:
        content: For the model.
        failed: The call was refused, or the tool failed.
        decision: Who allowed or refused it; None when the call itself was not possible.
        seconds: How long the tool took.
    """

    content: str
    failed: bool
    decision: Decision | None
    seconds: float = 0.0

    @property
    def is_refused(self) -> bool:
        """Whether a rule, the user, or the lack of one kept it from running."""
        return self.decision is not None and self.decision.verdict is Verdict.DENY


@dataclass(frozen=True, slots=True)
class ApprovedCall:
    """A call that may run now.

    Attributes:
        call: What runs.
        decision: Who allowed it.
        logged: Its id in the audit log.
    """

    call: PreparedCall
    decision: Decision
    logged: str


@dataclass(frozen=True, slots=True)
class ToolExecutor:
    """Runs calls of the tools of ``registry``.

    Attributes:
        registry: The tools.
        enabled: The names of those that the model was given.
        roots: Where paths are resolved; None where no tool has paths.
        approval: Decides.
        log: Where calls are logged.
        ask: Asks the user; called only where the approval says so.
        redacts_outgoing: Whether what calls send elsewhere is redacted, of every tool.
    """

    registry: ToolRegistry
    enabled: frozenset[str]
    roots: Roots | None
    approval: Approval
    log: AuditLog
    ask: Callable[[ApprovalRequest], Answer]
    redacts_outgoing: bool = False

    def run(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Run a call, if it is allowed.

        Raises:
            StorageError: The audit log cannot be written; an allowed call did not run, or its
                result was not logged.
        """
        approved = self.approve(name, arguments)
        return approved if isinstance(approved, ToolResult) else self.execute(approved)

    def will_ask(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether the user is asked about a call."""
        try:
            call = self._prepared(name, arguments)
        except TchatError:
            return False
        return self.approval.decide(call).verdict is Verdict.ASK

    def approve(self, name: str, arguments: Mapping[str, Any]) -> ApprovedCall | ToolResult:
        """Decide about a call, and ask the user where nothing else decides.

        Returns:
            What `execute` runs; or the result of a call that may not run, or cannot.

        Raises:
            StorageError: The audit log cannot be written.
        """
        try:
            call = self._prepared(name, arguments)
        except TchatError as error:
            decision = Decision(Verdict.DENY, Decider.TOOL)
            self.log.add_call(single_line(name), arguments, decision)
            return ToolResult(_message(error), failed=True, decision=None)
        decision = self.approval.decide(call)
        reason = ""
        if decision.verdict is Verdict.ASK:
            try:
                decision, reason = self._asked(call)
            except (ToolError, UsageError) as error:  # of the preview
                self.log.add_call(name, call.arguments, Decision(Verdict.DENY, Decider.TOOL))
                return ToolResult(_message(error), failed=True, decision=None)
        logged = self.log.add_call(name, call.arguments, decision)
        if decision.verdict is Verdict.DENY:
            return ToolResult(_refusal(decision, reason), failed=True, decision=decision)
        return ApprovedCall(call, decision, logged)

    def _prepared(self, name: str, arguments: Mapping[str, Any]) -> PreparedCall:
        """The call with its paths as they really are: what is approved is what is opened."""
        if name not in self.enabled:
            raise ToolError(
                tr("there is no tool {name}", name=single_line(name)),
                tr("call one that you were given"),
            )
        tool = self.registry.get(name)
        tool.require_valid(arguments)
        resolved = dict(arguments)
        for key in tool.path_arguments:
            if self.roots is not None:
                writing = Effect.WRITES_FILES in tool.effects and not tool.command_argument
                # A call without a path is about the first root.
                name = str(arguments.get(key, "."))
                resolved[key] = str(self.roots.resolve(name, writing=writing))
        return PreparedCall(tool, resolved, arguments)

    def _asked(self, call: PreparedCall) -> tuple[Decision, str]:
        preview = call.tool.preview(call.arguments) if call.tool.preview is not None else ""
        answer = self.ask(ApprovalRequest(call, preview, pattern_of(call)))
        if answer.choice is ApprovalChoice.DENY:
            return Decision(Verdict.DENY, Decider.USER), answer.reason
        if answer.choice is ApprovalChoice.ALWAYS_TOOL:
            self.approval.always_allow_tool(call.tool)
        elif answer.choice is ApprovalChoice.ALWAYS_PATTERN:
            self.approval.always_allow_pattern(call)
        return Decision(Verdict.ALLOW, Decider.USER), ""

    def execute(
        self, approved: ApprovedCall, redaction: Callable[[], OutgoingRedaction] | None = None
    ) -> ToolResult:
        """Run a call; several that only read may run at once, on threads.

        What leaves this machine gets the placeholders of ``redaction``, where the user wants that,
        and the values are put back in the result.

        Raises:
            StorageError: The result cannot be logged.
            Interrupted: The user stopped it.
        """
        call, decision, logged = approved.call, approved.decision, approved.logged
        start = time.monotonic()
        failed, used = False, None
        arguments = call.arguments
        try:
            arguments, used = self._sent(call, redaction)
            content = call.tool.run(arguments)
        except Interrupted:
            raise
        except TchatError as error:
            content, failed = _message(error), True
        except Exception as error:  # noqa: BLE001 - a user's tool may raise anything
            kind = type(error).__name__
            content, failed = single_line(f"the tool failed: {kind}: {error}", limit=2000), True
        seconds = time.monotonic() - start
        if call.tool.is_untrusted:  # what it says may be text of others also when it fails
            self.approval.add_untrusted(call)
        content = content if isinstance(content, str) else str(content)
        if used is not None:
            count = used.count(json.dumps(arguments, ensure_ascii=False, default=str))
            content = used.restore(content)
            if count:
                content += f"\n[Values of this call were replaced before it left: {count}.]"
        self.log.add_result(logged, content, failed=failed, seconds=seconds)
        if len(content) > MAX_CONTENT:
            content = f"{content[:MAX_CONTENT]}\n[{len(content) - MAX_CONTENT} characters left out]"
        return ToolResult(content, failed, decision, seconds)

    def _sent(
        self, call: PreparedCall, redaction: Callable[[], OutgoingRedaction] | None
    ) -> tuple[Arguments, OutgoingRedaction | None]:
        """The arguments that the tool gets, and what they were redacted with."""
        outgoing = call.tool.outgoing
        if outgoing is None or not (outgoing.is_always or self.redacts_outgoing):
            return call.arguments, None
        if redaction is None:  # a call by hand
            return call.arguments, None
        used = redaction()
        return outgoing.redact(call.arguments, used), used


def _message(error: TchatError) -> str:
    """An error for the model, which reads English."""
    hint = english(error.hint)
    return f"{english(error.message)}; {hint}" if hint else english(error.message)


def _refusal(decision: Decision, reason: str) -> str:
    if decision.by is Decider.USER:
        return f"The user refused this call: {reason}" if reason else "The user refused this call."
    if decision.by is Decider.NOBODY:
        return "This call was refused: nobody can be asked, and no rule allows it."
    return f"The user's rule `{single_line(str(decision.rule))}` refuses this call."
