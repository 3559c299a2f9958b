"""The README and the manual tell what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tchat import manual
from tchat.cli.app import load_command
from tchat.cli.commands import COMMANDS
from tchat.settings import keys
from tests.manual_tables import generated, unwrapped

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / ".github" / "README.zh-CN.md").read_text(encoding="utf-8")
PAGES = {topic: manual.page(topic) for topic in manual.TOPICS}


@pytest.mark.parametrize(("topic", "text"), generated())
def test_the_tables_are_those_of_the_code(topic: str, text: str) -> None:
    assert PAGES[topic] == text, "run: python -m tests.manual_tables"


def test_each_page_is_a_topic_with_a_heading() -> None:
    assert {path.stem for path in manual.FOLDER.glob("*.md")} == set(manual.TOPICS)
    for text in PAGES.values():
        assert text.startswith("# ")
        assert (
            len(re.findall(r"^# ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE))
            == 1
        )


@pytest.mark.parametrize("topic", manual.TOPICS)
def test_a_paragraph_is_one_line(topic: str) -> None:
    assert PAGES[topic] == unwrapped(PAGES[topic])


def test_every_command_is_documented() -> None:
    for name in COMMANDS:
        command = load_command(name)
        for child, subcommand in getattr(command, "commands", {"": command}).items():
            assert subcommand.hidden or f"`tchat {name} {child}".rstrip() in PAGES["commands"]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_says_what_each_argument_is(name: str) -> None:
    command = load_command(name)
    for each in getattr(command, "commands", {"": command}).values():
        arguments = [param for param in each.params if isinstance(param, click.Argument)]
        told = [param.get_help_record(click.Context(each)) for param in arguments]
        assert all(record and record[1] for record in told), (each.name, told)


def test_every_setting_is_documented() -> None:
    for key in keys().values():
        assert f"| `{key.name}` |" in PAGES["settings"]


def test_every_flag_of_a_prompt_is_documented() -> None:
    tables = PAGES["commands"] + PAGES["settings"]
    for param in load_command("ask").params:
        for flag in param.opts if isinstance(param, click.Option) and not param.hidden else ():
            assert re.search(rf"`{re.escape(flag)}`", tables), flag


@pytest.mark.parametrize("text", [README, CHINESE, *PAGES.values()])
def test_every_command_and_flag_that_is_shown_exists(text: str) -> None:
    blocks = "\n".join(re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL))
    calls = re.findall(r"^(?:\$ )?(?:.*(?:\||&&) )?tchat(?: (.*))?$", blocks, re.MULTILINE)
    for call in filter(None, calls):
        unquoted = re.sub(r"\"[^\"]*\"|'[^']*'|#.*", "", call.partition(" < ")[0])
        words = unquoted.split() or [""]
        command = load_command(words[0] if words[0] in COMMANDS else "ask")
        if isinstance(command, click.Group):
            assert words[1] in command.commands, call
            command = command.commands[words[1]]
        known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
        known |= {"--version", "--help", "--plain", "--accessible", "--lang"}
        for flag in re.findall(r"(?<!\S)--?[A-Za-z][A-Za-z-]*", unquoted):
            assert flag in known, call


def test_the_shown_calls_are_seen() -> None:
    shown = "\n".join([README, CHINESE, *PAGES.values()])
    assert len(re.findall(r"^(?:\$ )?(?:.*(?:\||&&) )?tchat ", shown, re.MULTILINE)) > 40


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", ROOT / ".github" / "README.zh-CN.md", *manual.FOLDER.glob("*.md")]
)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_readme_fits_on_one_page() -> None:
    assert len(README.splitlines()) < 110


def test_every_path_that_contributors_are_told_exists() -> None:
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`((?:tchat|tests|themes|\.ci)/[\w./]*)`", text))
    assert len(told) > 15
    assert {path for path in told if not (ROOT / path).exists()} == set()
