"""A rule of the user about calls of tools, such as ``run_command(git status*)``.

A rule that can match no call is refused: one that denies would otherwise protect nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings.keys import nearest
from tchat.tools.command_pattern import words_of
from tchat.tools.protected_names import folded
from tchat.translation import tr

RUNS_COMMANDS = "run_command"
"""The built-in tool whose pattern is that of a command."""
_TOOL = re.compile(r"[A-Za-z0-9_*?-]+")


class Verdict(StrEnum):
    """What becomes of a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """A line of the configuration.

    Attributes:
        verdict: What it decides.
        tool: The name of a tool; ``*`` in it stands for anything.
        pattern: What the call must be about, empty for all calls. For tools that run programs it
            is a pattern of the command, see `tchat.tools.command_pattern`; for others it is one of
            paths, see `tchat.tools.path_pattern`.
    """

    verdict: Verdict
    tool: str
    pattern: str = ""

    @classmethod
    def parse(cls, verdict: Verdict, text: str) -> ApprovalRule:
        """``read_file``, ``read_file(docs/*)`` or ``run_command(git status*)``.

        Raises:
            UsageError: It is none of these.
        """
        text = text.strip()
        tool, bracket, rest = text.partition("(")
        tool, pattern = tool.strip(), rest.removesuffix(")").strip()
        shown = single_line(text)
        if "," in tool or not _is_balanced(pattern):
            raise UsageError(
                tr("`{rule}` is not one rule for tools", rule=shown),
                tr(
                    "write several as a list, such as {example}; for a bracket in a name write ?",
                    example="""'["read_file(docs/*)", "search_files(docs/*)"]'""",
                ),
            )
        if not tool or (bracket and not (rest.endswith(")") and pattern)):
            raise _no_rule(shown)
        if not _TOOL.fullmatch(tool):
            if bracket:
                raise _no_rule(shown)
            raise UsageError(
                tr("`{rule}` is no rule for tools", rule=shown),
                tr("put a path or a command behind the tool, as in `{tool}`", tool=_likely(shown)),
            )
        if folded(tool) == RUNS_COMMANDS and pattern:
            words_of(pattern)
        return cls(verdict, tool, pattern)

    def __str__(self) -> str:
        return f"{self.tool}({self.pattern})" if self.pattern else self.tool

    @property
    def has_wildcard(self) -> bool:
        """Whether it is about several tools."""
        return bool(set(self.tool) & set("*?"))

    def is_about(self, tool: str) -> bool:
        """Whether it is about calls of ``tool``; letter case only counts for what allows."""
        if self.verdict is Verdict.ALLOW:
            return fnmatchcase(tool, self.tool)
        return fnmatchcase(folded(tool), folded(self.tool))

    def require_useful(self, tools: Mapping[str, bool]) -> None:
        """Refuse a rule that can match no call.

        Args:
            tools: All tools, and whether a pattern can match their calls. A name that ends with
                ``*`` stands for tools that begin so.

        Raises:
            UsageError: It is such a rule.
        """
        found = [
            takes_pattern
            for name, takes_pattern in tools.items()
            if self.is_about(name) or (name.endswith("*") and self._may_begin_with(name[:-1]))
        ]
        if not found:
            near = nearest(self.tool.lower(), tools)
            hint = tr("did you mean `{name}`?", name=near) if near else ""
            raise UsageError(
                tr(
                    "tools.{verdict}: `{rule}` matches no call, as there is no such tool",
                    verdict=self.verdict.value,
                    rule=single_line(str(self)),
                ),
                hint or tr("`tchat tools ls` lists them; `tchat config edit` corrects the rule"),
            )
        if self.pattern and not any(found):
            raise UsageError(
                tr(
                    "tools.{verdict}: `{rule}` matches no call, as those of {tool} have no path "
                    "and no command",
                    verdict=self.verdict.value,
                    rule=single_line(str(self)),
                    tool=self.tool,
                ),
                tr("for all its calls write `{tool}`", tool=self.tool),
            )

    def _may_begin_with(self, prefix: str) -> bool:
        """Whether it may be about a tool whose name begins with ``prefix``."""
        literal = re.split(r"[*?]", self.tool)[0]
        if self.verdict is not Verdict.ALLOW:
            literal, prefix = folded(literal), folded(prefix)
        return literal.startswith(prefix) or (self.has_wildcard and prefix.startswith(literal))


def _no_rule(shown: str) -> UsageError:
    return UsageError(
        tr("`{rule}` is no rule for tools", rule=shown),
        tr("write one such as `read_file(docs/*)` or `run_command(git status*)`"),
    )


def _likely(text: str) -> str:
    """What a rule without brackets was probably meant to be."""
    tool, space, rest = text.partition(" ")
    return f"{tool}({rest.strip()})" if space and _TOOL.fullmatch(tool) else f"*({text})"


def _is_balanced(pattern: str) -> bool:
    """Whether every bracket in ``pattern`` is closed, and none that was not opened."""
    depth = 0
    for letter in pattern:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0
