"""The status line and the meter count the branch that is shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tchat.paths import Paths
from tchat.settings import Settings

from .chat_stage import Shown, opened
from .stage import lines


def counts(shown: Shown) -> tuple[int, str]:
    """Tokens in the status line, and what the meter says."""
    return shown.screen.context.status.data().used, lines(shown.pilot.app)[-2]


async def settled(shown: Shown, before: tuple[int, str]) -> tuple[int, str]:
    """The counts once both differ from ``before``."""
    await shown.until(lambda: all(a != b for a, b in zip(counts(shown), before, strict=True)))
    await shown.pilot.pause(0.3)
    return counts(shown)


async def choose_first_branch(shown: Shown) -> None:
    await shown.pilot.press("alt+k")
    await shown.pilot.pause()
    await shown.pilot.press(*"apples", "enter")


async def name_first_branch(shown: Shown) -> None:
    await shown.type("/branches 1")


Go = Callable[[Shown], Awaitable[None]]


@pytest.mark.parametrize("go", [choose_first_branch, name_first_branch])
async def test_another_branch_is_counted(settings: Settings, paths: Paths, go: Go) -> None:
    async with opened(settings, paths) as shown:
        nothing = counts(shown)
        await shown.ask("about apples")
        short = await settled(shown, nothing)
        first = shown.messages[-1].id
        await shown.type("/edit about pears " + "and plums " * 40)
        await shown.until(lambda: shown.messages[-1].id not in (first, first + 1))
        await shown.idle()
        longer = await settled(shown, short)
        await go(shown)
        await shown.until(lambda: shown.messages[-1].id == first)
        assert await settled(shown, longer) == short


async def test_a_command_is_not_counted_as_a_prompt(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        for typed, words in (
            ("some words", True),
            ("/exp", False),
            ("/export notes.md", False),
            ("/try 2 some words", True),
            ("/usr/bin what?", True),
        ):
            shown.screen.prompt.load(typed)
            await shown.until(lambda words=words: ("draft " in counts(shown)[1]) == words)  # type: ignore[misc]
