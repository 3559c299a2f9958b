"""Rules that would protect nothing are refused, and those that restrict hold in every folder."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from tchat.errors import UsageError
from tchat.tools.approval import Approval, PreparedCall
from tchat.tools.approval_rule import ApprovalRule, Verdict
from tchat.tools.command_pattern import is_allowed, is_denied, suggested_pattern
from tchat.tools.registry import BUILT_IN, TAKE_PATTERNS, ToolSettings
from tchat.tools.roots import Roots
from tests.egress.user_log import user_log
from tests.tools.test_approval import rules, running
from tests.tools.workplace import Workplace

TOOLS = {"read_file": True, "run_command": True, "calculator": False, "files__*": False}


@pytest.mark.parametrize(
    "text",
    [
        "read_file(private/*),search_files(private/*)",
        "read_file(private/*) search_files(private/*)",
        "read_file(private/*)\nsearch_files(private/*)",
        "read_file(private/*);search_files(private/*)",
        "read_file(a)(b)",
        "read_file(a))",
        "read_file((a)",
        "read_file,search_files",
        "read_file,search_files(a)",
    ],
)
def test_several_rules_in_one_are_refused(text: str) -> None:
    for verdict in Verdict:
        with pytest.raises(UsageError) as raised:
            ApprovalRule.parse(verdict, text)
        assert "write several as a list" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "likely"),
    [
        ("secret.txt", "`*(secret.txt)`"),
        ("private/*", "`*(private/*)`"),
        ("read_file secret.txt", "`read_file(secret.txt)`"),
        ("run_command rm *", "`run_command(rm *)`"),
    ],
)
def test_a_rule_without_brackets_is_refused_with_the_likely_one(text: str, likely: str) -> None:
    with pytest.raises(UsageError) as raised:
        ApprovalRule.parse(Verdict.DENY, text)
    assert likely in raised.value.hint


@pytest.mark.parametrize(
    "text", ["read_file(a (1).txt)", " read_file ( a,b ) ", "run_command(f '(x)' *)", "*", "*_file"]
)
def test_rules_with_brackets_and_commas_in_names_are_rules(text: str) -> None:
    rule = ApprovalRule.parse(Verdict.DENY, text)
    assert ApprovalRule.parse(Verdict.DENY, str(rule)) == rule
    assert rule.pattern == rule.pattern.strip()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("deny run_comand(touch *)", "did you mean `run_command`?"),
        ("deny nothing_like_it", "tchat tools ls"),
        ("deny web__fetch", "tchat tools ls"),
        ("allow Read_File", "did you mean `read_file`?"),
        ("deny calculator(x)", "write `calculator`"),
        ("deny calc*(x)", "write `calc*`"),
        ("deny files__read(secret.txt)", "write `files__read`"),
    ],
)
def test_a_rule_that_can_match_no_call_is_refused(text: str, told: str) -> None:
    [rule] = rules(text)
    with pytest.raises(UsageError) as raised:
        rule.require_useful(TOOLS)
    assert "matches no call" in raised.value.message
    assert told in raised.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("deny Read_File(x)", "deny *(x)", "allow *", "deny calculator", "deny calc*"),
        *("deny files__read", "deny files__*", "deny files__r*", "deny f*", "deny FILES__read"),
    ],
)
def test_a_rule_that_may_match_is_none_of_these(text: str) -> None:
    [rule] = rules(text)
    rule.require_useful(TOOLS)


def test_the_tools_that_take_patterns_are_those_with_paths_and_commands(tmp_path: Path) -> None:
    settings = ToolSettings(roots=lambda _: Roots([tmp_path]), undo=tmp_path, egress=user_log)
    made = [make(settings) for make in BUILT_IN.values()]
    taking = {each.name for each in made if each.path_arguments or each.command_argument}
    assert taking == TAKE_PATTERNS


@pytest.mark.parametrize(
    "rule",
    ["*(touch *)", "run_*(touch *)", "Run_Command(touch *)", "RUN_*(touch*)", "run?command(touch)"],
)
@pytest.mark.parametrize("command", [("touch", "x"), ("sh", "-c", "touch x")])
def test_a_pattern_for_several_tools_is_about_commands_too(
    rule: str, command: tuple[str, ...]
) -> None:
    for verdict in (Verdict.DENY, Verdict.ASK):
        approval = Approval(rules("allow *", f"{verdict} {rule}"))
        assert approval.decide(running(*command)).verdict is verdict
        assert approval.decide(running("ls")).verdict is Verdict.ALLOW


@pytest.mark.parametrize("pattern", ["my file.txt", "it's.txt", "secret.txt"])
def test_a_file_denied_to_all_tools_is_denied_as_an_argument(pattern: str) -> None:
    approval = Approval(rules("allow *", f"deny *({pattern})"))
    assert approval.decide(running("cat", pattern)).verdict is Verdict.DENY
    assert approval.decide(running("cat", f"sub/{pattern}")).verdict is Verdict.DENY
    assert approval.decide(running("cat", "other.txt")).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    "command",
    [
        ("cat", "docs/guide.md"),
        ("cat", "./docs/../docs/guide.md"),
        ("cat", "inside-folder/guide.md"),
        ("cat", "{root}/docs/guide.md"),
        ("dd", "if=docs/guide.md"),
        ("grep", "-r", "x", "docs"),
        ("sh", "-c", "cat <docs/guide.md >x"),
        ("sh", "-c", "cat 'docs/guide.md'; true"),
    ],
)
@pytest.mark.parametrize("rule", ["*(docs/*)", "*({root}/docs/*)", "*(**/docs/*)"])
def test_a_path_denied_to_all_tools_is_denied_in_commands(
    place: Workplace, rule: str, command: tuple[str, ...]
) -> None:
    executor = place.executor(
        rules("allow *", f"deny {rule.format(root=place.root)}"), ask_after_untrusted=False
    )
    words = [each.format(root=place.root) for each in command]
    assert executor.run("run_command", {"command": words}).is_refused
    assert not executor.run("run_command", {"command": ["cat", "notes.txt"]}).failed


def test_a_rule_that_allows_paths_allows_no_command_in_them(place: Workplace) -> None:
    executor = place.executor(rules("allow *(docs/*)"), has_terminal=False)
    command = {"command": ["touch", "made"], "directory": "docs/deep"}
    assert executor.run("run_command", command).is_refused
    assert not executor.run("read_file", {"path": "docs/guide.md"}).failed


ODD_NAMES = ("w[1]", "w*", "w?", "[a-z]", "w[", "w\uff3b1\uff3d", "w[!x]")


@pytest.mark.parametrize("name", ODD_NAMES)
class TestInAFolderWithAnOddName:
    @pytest.fixture
    def odd(self, tmp_path: Path, name: str) -> Workplace:
        (tmp_path / name).mkdir()
        place = Workplace(tmp_path / name)
        (place.root / "a.key").write_text("key\n")
        return place

    @pytest.mark.parametrize("rule", ["*(*.key)", "*(a.key)", "*(**/a.key)", "*(./?.key)"])
    def test_a_rule_that_denies_holds(self, odd: Workplace, rule: str) -> None:
        executor = odd.executor(rules("allow *", f"deny {rule}"), ask_after_untrusted=False)
        assert executor.run("read_file", {"path": "a.key"}).is_refused
        assert executor.run("write_file", {"path": "a.key", "content": ""}).is_refused
        assert "key" not in executor.run("search_files", {"text": "key"}).content.replace(rule, "")
        assert not executor.run("read_file", {"path": "notes.txt"}).failed

    def test_a_rule_that_asks_holds(self, odd: Workplace) -> None:
        executor = odd.executor(rules("allow *", "ask *(docs/*)"))
        executor.run("read_file", {"path": "docs/guide.md"})
        executor.run("search_files", {"text": "x"})
        executor.run("read_file", {"path": "notes.txt"})
        assert len(odd.requests) == 2

    def test_a_rule_that_allows_holds(self, odd: Workplace) -> None:
        executor = odd.executor(rules("allow read_file(docs/*)"), has_terminal=False)
        assert not executor.run("read_file", {"path": "docs/guide.md"}).failed
        assert executor.run("read_file", {"path": "notes.txt"}).is_refused


@pytest.mark.parametrize(
    "pattern",
    ["p[1]/x.txt", "p[1]/*", "p[1]", "**/x.txt", "p*/../p[1]/x.txt", "./p[1]//x.txt", "*/x.txt"],
)
@pytest.mark.parametrize("verdict", [Verdict.DENY, Verdict.ASK])
def test_a_pattern_that_restricts_is_meant_widely(
    place: Workplace, pattern: str, verdict: Verdict
) -> None:
    (place.root / "p[1]").mkdir()
    (place.root / "p[1]" / "x.txt").write_text("hidden\n")
    executor = place.executor(rules("allow *", f"{verdict} *({pattern})"))
    result = executor.run("read_file", {"path": "p[1]/x.txt"})
    assert (result.failed, len(place.requests)) == ((True, 0), (False, 1))[verdict is Verdict.ASK]


def test_a_relative_pattern_that_restricts_starts_at_every_root(place: Workplace) -> None:
    approval = Approval(
        rules("allow read_file", "deny read_file(*.key)"), place.root, [place.outside]
    )
    tool = place.executor().registry.get("read_file")
    for folder in (place.root, place.outside):
        arguments = {"path": str(folder / "sub" / "a.key")}
        call = PreparedCall(tool, arguments, arguments)
        assert approval.decide(call).verdict is Verdict.DENY
        assert approval.denies_path("read_file", folder / "a.key")


@pytest.mark.parametrize("name", ["read_file", "search_files", "edit_file"])
def test_another_name_of_a_denied_file_is_denied(place: Workplace, name: str) -> None:
    os.link(place.root / "docs" / "guide.md", place.root / "hard.md")
    executor = place.executor(rules("allow *", "deny *(docs/guide.md)"), ask_after_untrusted=False)
    arguments = {
        "read_file": {"path": "hard.md"},
        "search_files": {"text": "Guide"},
        "edit_file": {"path": "hard.md", "old_text": "Guide", "new_text": "x"},
    }
    assert "# Guide" not in executor.run(name, arguments[name]).content
    assert (place.root / "hard.md").read_text().startswith("# Guide")


def test_what_is_denied_is_hidden_from_programs_in_the_sandbox(place: Workplace) -> None:
    approval = Approval(rules("deny *(notes.txt)"), place.root)
    roots = place.roots(lambda path: approval.denies_path("run_command", path))
    assert place.root / "notes.txt" in roots.hidden()
    assert place.root / "docs" not in roots.hidden()


def test_a_refusal_names_its_rule(place: Workplace) -> None:
    executor = place.executor(rules("allow *", "deny read_file(notes.txt)"))
    result = executor.run("read_file", {"path": "notes.txt"})
    assert result.content == "The user's rule `read_file(notes.txt)` refuses this call."
    assert next(executor.log.lines())["rule"] == "read_file(notes.txt)"


def nested(command: str, depth: int) -> list[str]:
    words = ["rm", "x"]
    for _ in range(depth):
        words = ["sh", "-c", shlex.join(words)]
    return [*words, command]


@pytest.mark.parametrize(
    "command",
    [
        ["echo", *["a b c d; " * 3000] * 60],
        ["sh", "-c", ";" * 300_000],
        ["sh", "-c", "(a b)" * 60_000],
        ["x", *(f"a{n}=b{n}" for n in range(20_000))],
        *(nested("", depth) for depth in range(12)),
    ],
)
def test_a_command_too_long_or_deep_to_look_through_is_covered(command: list[str]) -> None:
    assert is_denied(command, "rm *")


def test_a_long_text_in_a_command_is_looked_through() -> None:
    text = "one line of a commit; and another (with brackets)\n" * 1000
    assert not is_denied(["git", "commit", "-m", text], "rm *")
    assert is_denied(["sh", "-c", f"{text}\nrm x"], "rm *")


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        (["git", "log", "--output=/tmp/x"], "git log *"),
        (["git", "log", "--output", "/tmp/x"], "git log*"),
        (["git", "log", "--outp=/tmp/x"], "git *"),
        (["git", "-c", "alias.x=!touch y", "x"], "git *"),
        (["git", "--exec-path=/tmp", "log"], "git*"),
        (["git", "--config-env=a=b", "log"], "git*"),
        (["git", "diff", "--ext-diff"], "git diff *"),
        (["git", "diff", "-p", "--no-color", "--output=x"], "git diff -p *"),
        (["git", "grep", "-Ovim", "x"], "git grep *"),
        (["git", "grep", "-nOvim", "x"], "git grep *"),
        (["git", "grep", "--open-files-in-pager=vim", "x"], "git grep *"),
        (["git", "archive", "-o", "x", "HEAD"], "git archive *"),
        (["git", "rebase", "-x", "touch y"], "git rebase *"),
        (["git", "log", "--output=x"], "git log --*"),
        (["git", "log", "--output=x"], "git log --o*"),
        (["git", "log", "--output=x"], "git log ?*"),
        (["sort", "-ox", "y"], "sort *"),
        (["rg", "--pre=sh", "x"], "rg *"),
        (["fd", "x", "-x", "rm"], "fd *"),
        (["hg", "log", "--config", "alias.x=!y"], "hg log *"),
    ],
)
def test_a_star_that_allows_stands_for_no_option_that_acts(
    command: list[str], pattern: str
) -> None:
    assert not is_allowed(command, pattern)
    assert is_denied(command, pattern)
    offered = suggested_pattern(command)
    assert not offered or is_allowed(command, offered)


@pytest.mark.parametrize(
    ("command", "pattern"),
    [
        (["git", "log", "--oneline", "-n", "3", "--stat"], "git log *"),
        (["git", "log", "--", "-O", "--output=x"], "git log *"),
        (["git", "log", "--output=x"], "git log --output=*"),
        (["git", "log", "--output=x"], "git log --output=x"),
        (["git", "diff", "--cached", "HEAD~1"], "git diff *"),
        (["git", "grep", "-n", "Oxo"], "git grep *"),
        (["sort", "-o", "x", "y"], "sort -o *"),
        (["rg", "-n", "--glob=*.py", "x"], "rg *"),
        (["mytool", "--output=x", "-o"], "mytool *"),
    ],
)
def test_a_star_that_allows_stands_for_other_options(command: list[str], pattern: str) -> None:
    assert is_allowed(command, pattern)
