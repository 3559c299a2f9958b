"""Whether a call may run: the user's rules, what was granted in this session, and who decides.

Denying wins over everything. What no rule and no grant decides is asked; where nobody can be
asked it is refused. Once the chat has read what others wrote, calls with consequences are asked
again, whatever was granted before: a text must not use what the user allowed for something else.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tchat.paths import expanded
from tchat.tools.approval_rule import RUNS_COMMANDS, ApprovalRule, Verdict
from tchat.tools.command_pattern import (
    is_allowed,
    is_denied,
    is_pattern,
    suggested_pattern,
    words_in,
)
from tchat.tools.path_pattern import is_covered, is_touched, literal_folder
from tchat.tools.tool import CONSEQUENCES, Effect, Tool


class Decider(StrEnum):
    """Who decided about a call; in the audit log."""

    RULE = "rule"  # of the configuration
    DEFAULT = "default"  # what is harmless by its effects
    SESSION = "session"  # "always", said in this session
    USER = "user"  # asked for this call
    NOBODY = "nobody"  # there was nobody to ask
    TOOL = "tool"  # the call itself was not possible


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call whose arguments are valid and whose paths have no links.

    Attributes:
        tool: What is called.
        arguments: With what.
        asked: The arguments as the model wrote them.
    """

    tool: Tool
    arguments: Mapping[str, Any]
    asked: Mapping[str, Any]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths in the arguments."""
        return _paths(self.tool, self.arguments)

    @property
    def asked_paths(self) -> tuple[str, ...]:
        """The paths as the model wrote them."""
        return _paths(self.tool, self.asked)

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its arguments; empty where the tool runs none."""
        if not self.tool.command_argument:
            return ()
        return tuple(self.arguments.get(self.tool.command_argument, ()))

    @property
    def has_consequences(self) -> bool:
        """Whether it may write, run programs or use the network."""
        return bool(self.tool.effects & CONSEQUENCES)


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, who reached it, and the rule if one did."""

    verdict: Verdict
    by: Decider
    rule: ApprovalRule | None = None


@dataclass
class Approval:
    """The rules of the user, and the grants of one session.

    Attributes:
        rules: In any order: denying wins over asking, asking over allowing.
        base: Where relative patterns of paths start.
        others: More folders where those start that restrict.
        has_terminal: Whether somebody can be asked.
        allow_reading: Whether tools that only read files run without a rule.
        ask_after_untrusted: Whether calls with consequences are asked again after text of others.
    """

    rules: Sequence[ApprovalRule] = ()
    base: Path = field(default_factory=Path.cwd)
    others: Sequence[Path] = ()
    has_terminal: bool = True
    allow_reading: bool = False
    ask_after_untrusted: bool = True
    _read: int = 0  # texts of others in the chat
    # What was granted, and how many such texts there were when that was last known to be harmless.
    _rules_since: dict[ApprovalRule, int] = field(default_factory=dict)
    _granted_tools: dict[str, int] = field(default_factory=dict)
    _granted_patterns: dict[tuple[str, str], int] = field(default_factory=dict)

    def decide(self, call: PreparedCall) -> Decision:
        """What becomes of ``call``; ASK only where somebody can be asked."""
        decision = self._decide(call)
        if decision.verdict is Verdict.ASK and not self.has_terminal:
            return Decision(Verdict.DENY, Decider.NOBODY, decision.rule)
        return decision

    def denies_path(self, tool: str, path: Path) -> bool:
        """Whether a rule denies ``tool`` this path; for `tchat.tools.roots.Roots`."""
        return any(
            rule.verdict is Verdict.DENY
            and rule.pattern
            and rule.is_about(tool)
            and (rule.has_wildcard or tool != RUNS_COMMANDS)
            and is_touched(str(path), rule.pattern, self._bases)
            for rule in self.rules
        )

    @property
    def has_untrusted(self) -> bool:
        """Whether the chat holds text that others wrote."""
        return self._read > 0

    def add_untrusted(self, call: PreparedCall | None = None) -> None:
        """The chat now holds text that others wrote.

        What comes of ``call`` does not end the pattern that allows it: a text that it holds could
        only lead to calls of the same kind.
        """
        before, self._read = self._read, self._read + 1
        if call is None:
            return
        for (name, pattern), granted in self._granted_patterns.items():
            if granted == before and name == call.tool.name and _fits(call, pattern):
                self._granted_patterns[name, pattern] = self._read
        for rule in self._rules_for(call, Verdict.ALLOW):
            if rule.pattern and self._rules_since.get(rule, 0) == before:
                self._rules_since[rule] = self._read

    def follow(self, before: Approval, changed: Collection[str] = ()) -> None:
        """Go on with what was granted and read in the same session under other rules.

        Args:
            before: That of the session until now.
            changed: Tools that became others under the same name: what was granted them is over.
        """
        self._read = before._read
        self._rules_since = dict(before._rules_since)
        tools, patterns = before._granted_tools, before._granted_patterns
        self._granted_tools = {name: tools[name] for name in tools if name not in changed}
        self._granted_patterns = {key: patterns[key] for key in patterns if key[0] not in changed}

    def always_allow_tool(self, tool: Tool) -> None:
        """Allow every call of ``tool`` in this session."""
        self._granted_tools[tool.name] = self._read

    def always_allow_pattern(self, call: PreparedCall) -> str:
        """Allow calls like ``call`` in this session, and return their pattern; empty if none is."""
        pattern = pattern_of(call)
        if pattern:
            self._granted_patterns[call.tool.name, pattern] = self._read
        return pattern

    def _decide(self, call: PreparedCall) -> Decision:
        for verdict in (Verdict.DENY, Verdict.ASK):
            for rule in self._rules_for(call, verdict):
                return Decision(verdict, Decider.RULE, rule)
        must_ask = self.ask_after_untrusted and call.has_consequences
        for rule in self._rules_for(call, Verdict.ALLOW):
            if not must_ask or self._rules_since.get(rule, 0) == self._read:
                return Decision(Verdict.ALLOW, Decider.RULE, rule)
        for granted in self._grants(call):
            if not must_ask or granted == self._read:
                return Decision(Verdict.ALLOW, Decider.SESSION)
        return Decision(self._default(call.tool), Decider.DEFAULT)

    def _default(self, tool: Tool) -> Verdict:
        if not self.has_terminal:
            return Verdict.ASK  # only what a rule allows
        if not tool.effects:
            return Verdict.ALLOW
        only_reads = tool.effects == {Effect.READS_FILES}
        return Verdict.ALLOW if only_reads and self.allow_reading else Verdict.ASK

    def _rules_for(self, call: PreparedCall, verdict: Verdict) -> Iterator[ApprovalRule]:
        covers = self._allows if verdict is Verdict.ALLOW else self._concerns
        return (rule for rule in self.rules if rule.verdict is verdict and covers(rule, call))

    def _grants(self, call: PreparedCall) -> Iterator[int]:
        if call.tool.name in self._granted_tools:
            yield self._granted_tools[call.tool.name]
        for (name, pattern), granted in self._granted_patterns.items():
            if name == call.tool.name and _fits(call, pattern):
                yield granted

    def _allows(self, rule: ApprovalRule, call: PreparedCall) -> bool:
        """Whether a rule covers all of a call, as it will be carried out."""
        if not rule.is_about(call.tool.name):
            return False
        if not rule.pattern:
            return True
        if call.tool.command_argument:
            return is_pattern(rule.pattern) and is_allowed(call.command, rule.pattern)
        return bool(call.paths) and all(
            is_covered(each, rule.pattern, self.base) for each in call.paths
        )

    def _concerns(self, rule: ApprovalRule, call: PreparedCall) -> bool:
        """Whether a rule that restricts touches a call, in any spelling of it."""
        if not rule.is_about(call.tool.name):
            return False
        if not rule.pattern:
            return True
        if call.tool.command_argument and not rule.has_wildcard:
            return self._concerns_command(rule, call)
        names = {*call.paths, *map(self._absolute, call.asked_paths)}
        if call.tool.command_argument:
            # A rule for several tools may mean a file that is an argument of a program.
            if self._concerns_command(rule, call):
                return True
            names.update(self._files_named_in(call))
        if any(is_touched(each, rule.pattern, self._bases) for each in names):
            return True
        # A denied path below is left out of what a tool finds; about another one is asked.
        return rule.verdict is Verdict.ASK and any(
            literal_folder(rule.pattern, base).is_relative_to(path)
            for base in self._bases
            for path in call.paths
        )

    def _concerns_command(self, rule: ApprovalRule, call: PreparedCall) -> bool:
        """Whether a rule that restricts is about the command; its pattern may be one long word."""
        meant = {rule.pattern, shlex.quote(rule.pattern)} if rule.has_wildcard else {rule.pattern}
        return any(is_denied(call.command, each) for each in meant if is_pattern(each))

    def _files_named_in(self, call: PreparedCall) -> Iterator[str]:
        """The paths that words of a command may mean, with links and without."""
        start = Path(call.paths[0]) if call.paths else self.base
        for word in words_in(call.command):
            if word and "\0" not in word and len(word) < 4096:
                path = start / expanded(word)
                yield os.path.normpath(path)
                yield os.path.realpath(path)

    @property
    def _bases(self) -> Sequence[Path]:
        return (self.base, *self.others)

    def _absolute(self, name: str) -> str:
        return os.path.normpath(self.base / expanded(name))


def pattern_of(call: PreparedCall) -> str:
    """The pattern of a call that can be granted for the session; empty where there is none."""
    if call.command:
        return suggested_pattern(call.command)
    if len(call.paths) == 1 and not set(call.paths[0]) & set("*?["):
        return f"{os.path.dirname(call.paths[0])}/*"  # noqa: PTH120
    return ""


def _fits(call: PreparedCall, pattern: str) -> bool:
    if call.command:
        return is_allowed(call.command, pattern)
    return len(call.paths) == 1 and fnmatchcase(call.paths[0], pattern)


def _paths(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    found = (arguments.get(name) for name in tool.path_arguments)
    return tuple(each for each in found if isinstance(each, str))
