"""An allowed folder with everything that may lead out of it, and tools that work there."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tchat.tools.approval import Approval
from tchat.tools.approval_rule import ApprovalRule, Verdict
from tchat.tools.audit_log import AuditLog
from tchat.tools.executor import Answer, ApprovalChoice, ApprovalRequest, ToolExecutor, ToolResult
from tchat.tools.registry import BUILT_IN, ToolRegistry, ToolSettings
from tchat.tools.roots import Roots
from tchat.tools.sandbox import Sandbox
from tests.egress.user_log import user_log

MARK = "TOP-SECRET-CONTENT"
ALLOW_ALL = (ApprovalRule(Verdict.ALLOW, "*"),)


@dataclass
class Workplace:
    """``root`` is allowed; ``outside`` and ``root/own`` (tchat's own files) are not."""

    base: Path
    root: Path = field(init=False)
    outside: Path = field(init=False)
    requests: list[ApprovalRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        base = Path(os.path.realpath(self.base))
        self.base, self.root, self.outside = base, base / "root", base / "outside"
        for folder in (self.root / "docs" / "deep", self.root / "own", self.outside / "folder"):
            folder.mkdir(parents=True)
        sibling = base / "root-sibling"
        sibling.mkdir()
        for secret in (
            self.outside / "secret.txt",
            self.outside / "folder" / "secret.txt",
            self.root / "own" / "config.toml",
            self.root / ".env",
            sibling / "secret.txt",
        ):
            secret.write_text(f"{MARK}\n")
        for name in (".ssh", ".git"):
            (self.root / name).mkdir()
        (self.root / ".ssh" / "id_rsa").write_text(MARK)
        (self.root / ".git" / "config").write_text("[core]\n")
        (self.root / "notes.txt").write_text("one\ntwo\nthree\n")
        (self.root / "docs" / "guide.md").write_text("# Guide\nTwo lines\n")
        os.mkfifo(self.root / "pipe")
        self._link()

    def _link(self) -> None:
        root, outside = self.root, self.outside
        targets: dict[str, str | Path] = {
            "out": outside / "secret.txt",
            "out-folder": outside,
            "relative-out": "../outside/secret.txt",
            "relative-folder": "../outside",
            "chain": "chain-2",
            "chain-2": "out",
            "loop": "loop",
            "loop-a": "loop-b",
            "loop-b": "loop-a/x",
            "up": "..",
            "docs/up-up": "../..",
            "docs/deep/far": "../../../outside/folder",
            "slash": "/",
            "process": "/proc/self/root",
            "dangling": outside / "new.txt",
            "inside": "notes.txt",
            "inside-folder": "docs",
            "absolute-inside": root / "notes.txt",
            "through": "docs/../../outside/secret.txt",
            "to-own": "own/config.toml",
            "to-env": ".env",
            "harmless-name": ".ssh/id_rsa",
            "hooks": ".git",
        }
        for name, target in targets.items():
            (root / name).symlink_to(target)

    def roots(self, is_denied: Callable[[Path], bool] = lambda _: False) -> Roots:
        return Roots([self.root], [self.root / "own"], is_denied)

    def executor(
        self,
        rules: Sequence[ApprovalRule] = ALLOW_ALL,
        *,
        answers: Sequence[Answer] = (),
        sandbox: Sandbox | None = None,
        trusted: frozenset[str] = frozenset(),
        **options: Any,
    ) -> ToolExecutor:
        """Everything enabled; asks `answers` one after the other, then allows once."""
        approval = Approval(rules, base=self.root, **options)
        left = list(answers)

        def ask(request: ApprovalRequest) -> Answer:
            self.requests.append(request)
            return left.pop(0) if left else Answer(ApprovalChoice.ONCE)

        def roots(tool: str) -> Roots:
            return self.roots(partial(approval.denies_path, tool))

        settings = ToolSettings(
            roots=roots,
            undo=self.base / "undo",
            egress=user_log,
            sandbox=lambda: sandbox,
            trusted_servers=trusted,
        )
        registry = ToolRegistry(settings, self.base / "tools")
        return ToolExecutor(
            registry=registry,
            enabled=frozenset({*BUILT_IN, *registry.names()}),
            roots=self.roots(),
            approval=approval,
            log=AuditLog(self.base / "audit.jsonl"),
            ask=ask,
        )

    def run(self, name: str, /, **arguments: Any) -> ToolResult:
        """A call that every rule allows."""
        options: Mapping[str, Any] = {"ask_after_untrusted": False}
        return self.executor(**options).run(name, arguments)

    def tree(self) -> dict[str, bytes]:
        """The content of every file that tools must not change."""
        kept = (self.outside, self.root / "own", self.root / ".git", self.root / ".ssh")
        return {
            str(path): path.read_bytes()
            for folder in kept
            for path in folder.rglob("*")
            if path.is_file()
        }
