"""What runs, what is asked and what is refused; and attempts to get round the rules."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tchat.errors import UsageError
from tchat.tools.approval import Approval, Decider, PreparedCall, pattern_of
from tchat.tools.approval_rule import ApprovalRule, Verdict
from tchat.tools.command_pattern import is_allowed, is_denied, suggested_pattern
from tchat.tools.executor import Answer, ApprovalChoice
from tchat.tools.tool import Effect, Tool, object_schema
from tests.tools.workplace import MARK, Workplace


def rules(*texts: str) -> list[ApprovalRule]:
    """`allow read_file`, `deny run_command(rm*)`."""
    parsed = (text.partition(" ") for text in texts)
    return [ApprovalRule.parse(Verdict(verdict), rule) for verdict, _, rule in parsed]


RUN = Tool(
    "run_command",
    "",
    object_schema(command={"type": "array"}),
    lambda _: "",
    frozenset({Effect.RUNS_PROGRAMS}),
    command_argument="command",
)


def running(*command: str) -> PreparedCall:
    arguments = {"command": list(command)}
    return PreparedCall(RUN, arguments, arguments)


# Commands that no rule `git status*` and `ls -l` may allow.
NOT_ALLOWED: Sequence[tuple[str, ...]] = (
    ("git",),
    ("git", "push"),
    ("git", "-c", "alias.status=!rm -rf /", "status"),
    ("git status",),
    ("git status", "x"),
    ("git", "stat"),
    ("git", " status"),
    ("git ", "status"),
    ("GIT", "status"),
    ("./git", "status"),
    ("/tmp/git", "status"),
    ("/usr/bin/git", "status"),
    ("../git", "status"),
    ("git\n", "status"),
    ("git\0", "status"),
    ("g\u200bit", "status"),
    ("\uff47it", "status"),
    ("git*", "status"),
    ("", "git", "status"),
    ("env", "git", "status"),
    ("sh", "-c", "git status"),
    ("git", "STATUS"),
    ("git", "--exec-path=/tmp", "status"),
    ("ls",),
    ("ls", "-l", "/etc"),
    ("ls", "-la"),
    ("ls -l",),
    ("lsof", "-l"),
    ("PATH=/tmp", "git", "status"),
    ("git", "-C", "/tmp", "status"),
    ("'git'", "status"),
    ("git;rm", "status"),
    (),
)
# Commands that a rule against `rm*` must find.
DENIED: Sequence[tuple[str, ...]] = (
    ("rm", "-rf", "x"),
    ("rm",),
    ("/bin/rm", "x"),
    ("/usr/bin/../bin/rm", "x"),
    ("./rm", "x"),
    ("RM", "x"),
    ("r\u200bm", "x"),
    ("\uff52\uff4d", "x"),
    ("env", "rm", "x"),
    ("env", "-i", "A=b", "rm", "x"),
    ("env", "-S", "rm x"),
    ("sudo", "-u", "root", "rm", "x"),
    ("sh", "-c", "rm x"),
    ("sh", "-c", "true; rm x"),
    ("sh", "-c", "true && /bin/rm x"),
    ("sh", "-c", "true|rm x"),
    ("sh", "-c", "(rm x)"),
    ("sh", "-c", "true\nrm x"),
    ("sh", "-c", "echo $(rm x)"),
    ("sh", "-c", "echo `rm x`"),
    ("sh", "-c", "{ rm x; }"),
    ("sh", "-c", "'rm' x"),
    ("sh", "-c", "r'm' x"),
    ("sh", "-c", 'r""m x'),
    ("sh", "-c", "r\\m x"),
    ("bash", "-c", "bash -c 'rm x'"),
    ("sh", "-c", '"rm" \'unclosed'),
    ("xargs", "rm"),
    ("find", ".", "-exec", "rm", "{}", ";"),
    ("git", "-c", "alias.x=!rm x", "x"),
    ("tar", "--to-command=rm x", "-xf", "y"),
    ("timeout", "5", "nice", "rm", "x"),
    ("busybox", "rm", "x"),
)


@pytest.mark.parametrize("command", NOT_ALLOWED)
def test_an_allowed_pattern_covers_nothing_else(command: tuple[str, ...]) -> None:
    approval = Approval(rules("allow run_command(git status*)", "allow run_command(ls -l)"))
    assert approval.decide(running(*command)).verdict is Verdict.ASK


@pytest.mark.parametrize("command", DENIED)
def test_a_denied_command_is_found_behind_others(command: tuple[str, ...]) -> None:
    approval = Approval(rules("allow *", "deny run_command(rm*)"))
    approval.always_allow_tool(RUN)
    decision = approval.decide(running(*command))
    assert (decision.verdict, decision.by) == (Verdict.DENY, Decider.RULE)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        (["git", "status"], "git status*"),
        (["git", "status", "--short", "x y"], "git status*"),
        (["git", "status"], "git *"),
        (["git"], "git *"),
        (["git", "log"], "git*"),
        (["a b", "c d"], "'a b' 'c d'"),
    ],
)
def test_what_a_pattern_covers(command: list[str], pattern: str) -> None:
    assert is_allowed(command, pattern)
    assert is_denied(command, pattern)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        (["git", "status", "--short"], "git status *"),
        (["git", "-C", "x", "status"], "git -C x status"),
        (["ls"], "ls"),
        (["rm", "notes"], "rm notes"),
        (["cat", "a b", "c"], "cat 'a b' c"),
        (["sh", "-c", "x"], ""),
        (["python3.11", "x.py"], ""),
        (["sudo", "ls"], ""),
        (["/tmp/x", "y"], ""),
        (["./x"], ""),
        (["echo", "*"], ""),
        ([], ""),
    ],
)
def test_the_pattern_that_is_offered(command: list[str], pattern: str) -> None:
    assert suggested_pattern(command) == pattern
    assert not pattern or is_allowed(command, pattern)


def test_a_rule_may_not_be_empty_or_unclosed() -> None:
    for text in ("", "read_file(", "read_file()", "run_command(' )", "(x)"):
        with pytest.raises(UsageError):
            ApprovalRule.parse(Verdict.ALLOW, text)


def test_denying_wins_and_asking_wins_over_allowing() -> None:
    for order in (1, -1):
        every = rules("allow run_command", "ask run_command(git *)", "deny run_command(git push*)")
        approval = Approval(every[::order])
        assert approval.decide(running("ls")).verdict is Verdict.ALLOW
        assert approval.decide(running("git", "log")).verdict is Verdict.ASK
        assert approval.decide(running("git", "push")).verdict is Verdict.DENY


def test_without_a_terminal_only_rules_allow(place: Workplace) -> None:
    executor = place.executor(rules("allow read_file"), has_terminal=False, allow_reading=True)
    assert executor.run("read_file", {"path": "notes.txt"}).content.startswith("one")
    for name, arguments in (
        ("list_files", {}),
        ("calculator", {"expression": "1"}),
        ("write_file", {"path": "x", "content": ""}),
    ):
        result = executor.run(name, arguments)
        assert result.is_refused
        assert result.decision is not None
        assert result.decision.by is Decider.NOBODY
    assert place.requests == []
    assert not (place.root / "x").exists()


def test_what_is_harmless_runs_and_the_rest_is_asked(place: Workplace) -> None:
    executor = place.executor([])
    assert executor.run("calculator", {"expression": "17*23"}).content == "391"
    assert not place.requests
    executor.run("read_file", {"path": "notes.txt"})
    executor.run("write_file", {"path": "x", "content": "text"})
    assert [each.call.tool.name for each in place.requests] == ["read_file", "write_file"]
    assert "+text" in place.requests[1].preview
    place.executor([], allow_reading=True).run("read_file", {"path": "notes.txt"})
    assert len(place.requests) == 2


def test_a_refusal_reaches_the_model_with_its_reason(place: Workplace) -> None:
    executor = place.executor([], answers=[Answer(ApprovalChoice.DENY, "not that file")])
    result = executor.run("write_file", {"path": "notes.txt", "content": ""})
    assert result.is_refused
    assert "not that file" in result.content
    assert (place.root / "notes.txt").read_text() == "one\ntwo\nthree\n"


def test_always_for_a_tool_and_for_a_pattern(place: Workplace) -> None:
    answers = [Answer(ApprovalChoice.ALWAYS_PATTERN), Answer(ApprovalChoice.ALWAYS_TOOL)]
    executor = place.executor([], answers=answers)
    executor.run("read_file", {"path": "docs/guide.md"})
    executor.run("read_file", {"path": "inside-folder/guide.md"})
    assert len(place.requests) == 1
    executor.run("read_file", {"path": "docs/../notes.txt"})
    assert len(place.requests) == 2
    executor.run("read_file", {"path": "notes.txt"})
    assert len(place.requests) == 2


def test_text_of_others_makes_calls_with_consequences_ask_again(place: Workplace) -> None:
    always = [Answer(ApprovalChoice.ALWAYS_TOOL)]
    executor = place.executor(rules("allow read_file"), answers=always)
    write = {"path": "x", "content": "1"}
    executor.run("write_file", write)
    executor.run("write_file", write)
    assert len(place.requests) == 1
    executor.run("read_file", {"path": "notes.txt"})
    executor.run("read_file", {"path": "notes.txt"})
    assert len(place.requests) == 1
    executor.run("write_file", write)
    executor.run("write_file", write)
    assert len(place.requests) == 3
    executor.approval.always_allow_tool(executor.registry.get("write_file"))
    executor.run("write_file", write)
    assert len(place.requests) == 3
    for allowed in (rules("allow *"), []):
        silent = place.executor(allowed, has_terminal=False)
        assert not silent.approval.has_untrusted
        silent.approval.add_untrusted()
        assert silent.approval.has_untrusted
        assert silent.run("write_file", write).is_refused


@pytest.mark.parametrize("granted", ["rule", "answer"])
def test_a_pattern_outlasts_its_own_results_and_no_others(place: Workplace, granted: str) -> None:
    listed = rules("allow read_file", "allow run_command(echo x)") if granted == "rule" else []
    executor = place.executor(listed or rules("allow read_file"))
    if granted == "answer":
        executor = place.executor(
            rules("allow read_file"), answers=[Answer(ApprovalChoice.ALWAYS_PATTERN)]
        )
    asked = int(not listed)
    for _ in range(3):
        assert executor.run("run_command", {"command": ["echo", "x"]}).content == "x\n"
    assert len(place.requests) == asked
    executor.run("run_command", {"command": ["echo", "y"]})
    executor.run("run_command", {"command": ["echo", "x"]})
    assert len(place.requests) == asked + 2
    executor.run("run_command", {"command": ["echo", "x"]})
    asked += 1
    assert len(place.requests) == asked + 2
    other = place.executor(rules("allow read_file", "allow run_command(echo x)"))
    other.run("read_file", {"path": "notes.txt"})
    other.run("run_command", {"command": ["echo", "x"]})
    assert len(place.requests) == asked + 3
    every = place.executor(rules("allow run_command"))
    for _ in range(2):
        every.run("run_command", {"command": ["cat", "notes.txt"]})
    assert len(place.requests) == asked + 4


# Calls that a rule against `secret/*` or `docs/*` must stop, or keep from showing anything.
HIDDEN = (
    ("read_file", {"path": "docs/guide.md"}),
    ("read_file", {"path": "./docs/./guide.md"}),
    ("read_file", {"path": "docs/deep/../guide.md"}),
    ("read_file", {"path": "DOCS/../docs/guide.md"}),
    ("read_file", {"path": "inside-folder/guide.md"}),
    ("read_file", {"path": "{root}/docs/guide.md"}),
    ("list_files", {"path": "docs"}),
    ("list_files", {"path": "docs/"}),
    ("list_files", {"path": "docs/deep/.."}),
    ("list_files", {"depth": 10}),
    ("list_files", {"path": ".", "depth": 3, "pattern": "*.md"}),
    ("search_files", {"text": "Guide"}),
    ("search_files", {"text": "guide", "ignore_case": True}),
    ("search_files", {"text": "Guide", "path": "inside-folder"}),
    ("edit_file", {"path": "docs/guide.md", "old_text": "Guide", "new_text": "x"}),
    ("write_file", {"path": "docs/guide.md", "content": "x"}),
    ("write_file", {"path": "docs/new/deep.md", "content": "x"}),
    ("write_file", {"path": "inside-folder/new.md", "content": "x"}),
)


@pytest.mark.parametrize("rule", ["deny *(docs/*)", "deny *(DOCS/*)", "deny *(inside-folder/*)"])
@pytest.mark.parametrize(("name", "arguments"), HIDDEN)
def test_a_denied_path_is_found_in_every_spelling(
    place: Workplace, rule: str, name: str, arguments: dict[str, object]
) -> None:
    executor = place.executor([*rules("allow *", rule)], ask_after_untrusted=False)
    path = str(arguments.get("path", "."))
    result = executor.run(name, {**arguments, "path": path.format(root=place.root)})
    assert "guide" not in result.content.casefold().replace("docs/guide.md", "")
    assert (place.root / "docs" / "guide.md").read_text() == "# Guide\nTwo lines\n"
    assert not (place.root / "docs" / "new").exists()
    assert not (place.root / "docs" / "new.md").exists()


@pytest.mark.parametrize("path", ["notes.txt", "docs/../notes.txt", "DOCS/x", "docs-2/x", "inside"])
def test_an_allowed_path_covers_no_other(place: Workplace, path: str) -> None:
    executor = place.executor(rules("allow read_file(docs/*)"), has_terminal=False)
    assert executor.run("read_file", {"path": path}).failed
    assert not executor.run("read_file", {"path": "inside-folder/guide.md"}).failed


def test_a_search_that_reaches_a_path_of_an_asking_rule_is_asked(place: Workplace) -> None:
    executor = place.executor(rules("allow *", "ask *(docs/*)"))
    executor.run("search_files", {"text": "x"})
    assert len(place.requests) == 1


def test_no_pattern_is_offered_for_paths_that_look_like_one(place: Workplace) -> None:
    (place.root / "[a]").mkdir()
    executor = place.executor([])
    executor.run("write_file", {"path": "[a]/x", "content": ""})
    assert pattern_of(place.requests[0].call) == ""


def test_the_log_says_what_ran_and_who_allowed_it(place: Workplace) -> None:
    executor = place.executor(rules("allow read_file", "deny write_file"))
    executor.run("read_file", {"path": "notes.txt"})
    executor.run("write_file", {"path": "x", "content": "y" * 5000})
    executor.run("no\x1b[31m_tool", {"x": 1})
    executor.run("calculator", {"expression": "1/0"})
    lines = list(executor.log.lines())
    assert [(each["event"], each.get("by")) for each in lines] == [
        ("call", "rule"),
        ("result", None),
        ("call", "rule"),
        ("call", "tool"),
        ("call", "default"),
        ("result", None),
    ]
    assert lines[0]["id"] == lines[1]["id"]
    assert len(lines[1]["sha256"]) == 64
    assert "arguments" not in lines[2]
    assert lines[5]["failed"]
    text = executor.log.path.read_text()
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines())
    assert "\x1b" not in text
    assert MARK not in text
    assert executor.log.path.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_stops_the_call(place: Workplace) -> None:
    from tchat.errors import StorageError

    executor = place.executor()
    executor.log.path.mkdir()
    with pytest.raises(StorageError):
        executor.run("write_file", {"path": "x", "content": ""})
    assert not (place.root / "x").exists()
