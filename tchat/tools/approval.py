"""Whether a call may run: the user's rules, what was granted in this session, and who decides.

Denying wins over everything. What no rule and no grant decides is asked; where nobody can be
asked it is refused. Once the chat has read what others wrote, calls with consequences are asked
again, whatever was granted before: a text must not use what the user allowed for something else.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tchat.errors import UsageError
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.tools.command_pattern import is_allowed, is_denied, suggested_pattern, words_of
from tchat.tools.protected_names import folded
from tchat.tools.tool import CONSEQUENCES, Effect, Tool
from tchat.translation import tr


class Verdict(StrEnum):
    """What becomes of a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class Decider(StrEnum):
    """Who decided about a call; in the audit log."""

    RULE = "rule"  # of the configuration
    DEFAULT = "default"  # what is harmless by its effects
    SESSION = "session"  # "always", said in this session
    USER = "user"  # asked for this call
    NOBODY = "nobody"  # there was nobody to ask
    TOOL = "tool"  # the call itself was not possible


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """A line of the configuration.

    Attributes:
        verdict: What it decides.
        tool: The name of a tool; ``*`` in it stands for anything.
        path: A pattern that a path argument must match; empty for calls of any path. ``*`` stands
            for anything, ``/`` too.
        command: A pattern for the command, see `tchat.tools.command_pattern`; empty for any.
    """

    verdict: Verdict
    tool: str
    path: str = ""
    command: str = ""

    @classmethod
    def parse(cls, verdict: Verdict, text: str) -> ApprovalRule:
        """``read_file``, ``read_file(docs/*)`` or ``run_command(git status*)``.

        Raises:
            UsageError: It is none of these.
        """
        tool, bracket, rest = text.strip().partition("(")
        pattern = rest.removesuffix(")")
        if not tool or (bracket and (not rest.endswith(")") or not pattern.strip())):
            raise UsageError(
                tr("`{rule}` is no rule for tools", rule=single_line(text)),
                tr("write one such as `read_file(docs/*)` or `run_command(git status*)`"),
            )
        if tool == "run_command" and pattern:
            words_of(pattern)
            return cls(verdict, tool, command=pattern)
        return cls(verdict, tool, path=pattern)


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
        has_terminal: Whether somebody can be asked.
        allow_reading: Whether tools that only read files run without a rule.
        ask_after_untrusted: Whether calls with consequences are asked again after text of others.
    """

    rules: Sequence[ApprovalRule] = ()
    base: Path = field(default_factory=Path.cwd)
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
            and rule.path
            and fnmatchcase(folded(tool), folded(rule.tool))
            and self._is_path_of(rule, str(path))
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
            if (rule.command or rule.path) and self._rules_since.get(rule, 0) == before:
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
        if not fnmatchcase(call.tool.name, rule.tool):
            return False
        if rule.command and not (call.command and is_allowed(call.command, rule.command)):
            return False
        if not rule.path:
            return True
        pattern = self._pattern(rule.path)
        return bool(call.paths) and all(fnmatchcase(each, pattern) for each in call.paths)

    def _concerns(self, rule: ApprovalRule, call: PreparedCall) -> bool:
        """Whether a rule that restricts touches a call, in any spelling of it."""
        if not fnmatchcase(folded(call.tool.name), folded(rule.tool)):
            return False
        if rule.command and not (call.command and is_denied(call.command, rule.command)):
            return False
        if not rule.path:
            return True
        names = {*call.paths, *map(self._absolute, call.asked_paths)}
        if any(self._is_path_of(rule, each) for each in names):
            return True
        # A denied path below is left out of what a tool finds; about another one is asked.
        fixed = _fixed_part(self._pattern(rule.path))
        return rule.verdict is Verdict.ASK and any(map(fixed.is_relative_to, call.paths))

    def _is_path_of(self, rule: ApprovalRule, path: str) -> bool:
        """Whether a pattern that restricts covers ``path``, in any spelling."""
        # Before and after links in the pattern itself are resolved.
        written = os.path.normpath(self.base / expanded(rule.path))
        patterns = (_folded_path(each) for each in (self._pattern(rule.path), written))
        name = _folded_path(path)
        return any(
            fnmatchcase(name, pattern) or name == pattern.removesuffix("/**").removesuffix("/*")
            for pattern in patterns
        )

    def _absolute(self, name: str) -> str:
        return os.path.normpath(self.base / expanded(name))

    def _pattern(self, path: str) -> str:
        """A pattern as an absolute path; links before its first wildcard are resolved."""
        whole = self.base / expanded(path)
        fixed = _fixed_part(str(whole))
        rest = whole.parts[len(fixed.parts) :]
        return str(Path(os.path.realpath(fixed)).joinpath(*rest))


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


def _fixed_part(pattern: str) -> Path:
    """The folders of a pattern before its first wildcard."""
    parts = Path(pattern).parts
    end = next((n for n, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return Path(*parts[:end])


def _folded_path(path: str) -> str:
    return "/".join(folded(part) for part in path.split("/"))
