"""The README tells what the code does."""

from __future__ import annotations

import re

import click
import pytest

from tchat.cli.app import load_command
from tchat.cli.commands import COMMANDS
from tchat.settings import keys
from tests.readme_tables import README, section, sections


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


@pytest.mark.parametrize(("title", "text"), sections())
def test_the_tables_are_those_of_the_code(readme: str, title: str, text: str) -> None:
    assert section(readme, title) == text, "run: python -m tests.readme_tables"


def test_every_command_is_documented(readme: str) -> None:
    for name in COMMANDS:
        command = load_command(name)
        for child, subcommand in getattr(command, "commands", {"": command}).items():
            assert subcommand.hidden or f"`tchat {name} {child}".rstrip() in readme


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_help_says_what_each_argument_is(name: str) -> None:
    command = load_command(name)
    for each in getattr(command, "commands", {"": command}).values():
        arguments = [param for param in each.params if isinstance(param, click.Argument)]
        told = [param.get_help_record(click.Context(each)) for param in arguments]
        assert all(record and record[1] for record in told), (each.name, told)


def test_every_setting_is_documented(readme: str) -> None:
    for key in keys().values():
        assert f"| `{key.name}` |" in readme


def test_every_flag_of_a_prompt_is_documented(readme: str) -> None:
    command = load_command("ask")
    for param in command.params:
        for flag in param.opts if isinstance(param, click.Option) and not param.hidden else ():
            assert re.search(rf"`{re.escape(flag)}`", readme), flag


def test_every_flag_that_the_readme_shows_exists(readme: str) -> None:
    calls = re.findall(r"^(?:.*\| )?tchat (.*)$", readme, re.MULTILINE)
    assert len(calls) > 20
    for call in calls:
        name = call.split(" ")[0]
        command = load_command(name if name in COMMANDS else "ask")
        if isinstance(command, click.Group):
            continue
        known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
        known |= {"--version", "--help", "--install-completion", "--show-completion"}
        unquoted = re.sub(r"\"[^\"]*\"|'[^']*'", "", call)
        for flag in re.findall(r"(?<!\S)--?[a-z][a-z-]*", unquoted):
            assert flag in known, call


def test_every_path_that_contributors_are_told_exists() -> None:
    root = README.parent
    text = (root / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`((?:tchat|tests|themes|\.ci)/[\w./]*)`", text))
    assert len(told) > 15
    assert {path for path in told if not (root / path).exists()} == set()
