"""The blanks of a prompt template: selected, typed over, and asked for once."""

from __future__ import annotations

import pytest

from tchat.paths import Paths
from tchat.settings import Settings

from .chat_stage import opened
from .stage import shows, text

TWO = 'prompt = "{greeting}, say {input} in {language}."\n[defaults]\nlanguage = "Latin"\n'
TWICE = 'prompt = "{word}? Decline {word}.\\nThen {word} in {case}."\n'
SAY = 'prompt = "Say {input} {times} times, {how}."\n[defaults]\nhow = "loudly"\ntimes = "3"\n'
SYSTEM = 'system = "You speak {tongue}."\nprompt = "{input}"\n'


def write_template(paths: Paths, name: str, content: str) -> None:
    paths.prompts.mkdir(parents=True, exist_ok=True)
    (paths.prompts / f"{name}.toml").write_text(content, encoding="utf-8")


async def test_a_blank_of_a_template_is_selected_and_typed_over(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/prompt translate")
        await shown.until(lambda: "⟨input⟩" in shown.screen.prompt.draft.text)
        await shown.pilot.press(*"Bonjour", "tab", *"Dutch")
        draft = shown.screen.prompt.draft
        assert draft.text.startswith("Bonjour\n")
        assert "into Dutch." in draft.text
        assert draft.blanks == ()
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.branch[0][1].startswith("Bonjour\n")
        assert "⟨" not in shown.branch[0][1]


async def test_a_blank_that_needs_a_value_is_named_at_the_prompt(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("translate", "Bonjour")
        await shown.pilot.pause()
        await shows(shown.pilot.app, "fill in ⟨language⟩")
        await shown.pilot.press("D", "u")
        await shown.pilot.pause()
        assert "fill in" not in text(shown.pilot.app)


async def test_a_default_is_a_blank_that_holds_unless_it_is_typed_over(
    settings: Settings, paths: Paths
) -> None:
    write_template(paths, "say", SAY)
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("say", "ave")
        prompt = shown.screen.prompt
        assert prompt.draft.text == "Say ave ⟨times=3⟩ times, ⟨how=loudly⟩."
        assert prompt.draft.full_text == "Say ave 3 times, loudly."
        await shown.pilot.press("tab", "tab", "shift+tab", *"softly", "enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.branch[0][1] == "Say ave 3 times, softly."
        await shown.pilot.press("up")  # the form again
        assert prompt.draft.blanks == ("⟨times=3⟩",)


@pytest.mark.parametrize(
    "keys", [(), ("B", "ctrl+underscore"), ("B", "ctrl+underscore", "alt+slash", "ctrl+underscore")]
)
async def test_ctrl_c_on_a_blank_clears_the_prompt(
    settings: Settings, paths: Paths, keys: tuple[str, ...]
) -> None:
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("translate")
        await shown.pilot.press(*keys)
        await shown.until(lambda: "⟨input⟩" in shown.screen.prompt.draft.text)
        await shown.pilot.press("ctrl+c")
        assert shown.screen.prompt.draft.text == ""
        assert shown.pilot.app.clipboard == ""
        await shown.pilot.press("ctrl+underscore")
        assert "⟨input⟩" in shown.screen.prompt.draft.text


async def test_ctrl_c_copies_what_the_user_selected_around_a_blank(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("translate")
        before = shown.screen.prompt.draft
        await shown.pilot.press("shift+down", "ctrl+c")
        assert shown.screen.prompt.draft == before
        assert "⟨input⟩" in shown.pilot.app.clipboard


async def test_every_blank_has_to_be_filled_in_before_it_is_sent(
    settings: Settings, paths: Paths
) -> None:
    write_template(paths, "two", TWO)
    async with opened(settings, paths) as shown:
        await shown.type("/prompt two")
        await shown.until(lambda: "⟨input⟩" in shown.screen.prompt.draft.text)
        await shown.pilot.press("enter", "alt+t", "enter")
        await shown.pilot.pause()
        assert "Fill in ⟨greeting⟩ first" in shown.toasts
        assert shown.branch == []
        await shown.pilot.press(*"Salve", "tab", *"ave", "enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.branch[0][1] == "Salve, say ave in Latin."


@pytest.mark.parametrize("keys", [("tab",), ("enter",)])
async def test_a_blank_that_is_there_twice_is_asked_once(
    settings: Settings, paths: Paths, keys: tuple[str, ...]
) -> None:
    write_template(paths, "twice", TWICE)
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("twice")
        prompt = shown.screen.prompt
        assert prompt.draft.text.count("⟨word⟩") == 3
        await shown.pilot.press(*"Amo", *keys)
        await shown.pilot.pause()
        if keys == ("tab",):
            assert prompt.draft.text == "Amo? Decline Amo.\nThen Amo in ⟨case⟩."
        else:
            assert "Fill in ⟨case⟩ first" in shown.toasts
        await shown.pilot.press("x", "enter")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.branch[0][1] == "Amo? Decline Amo.\nThen Amo in x."


async def test_a_blank_that_is_left_as_it_is_leaves_the_others(
    settings: Settings, paths: Paths
) -> None:
    write_template(paths, "twice", TWICE)
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("twice")
        prompt = shown.screen.prompt
        before = prompt.draft.text
        await shown.pilot.press("tab", "tab", "tab", "tab", "shift+tab")
        assert prompt.draft.text == before


async def test_what_is_typed_is_the_input_of_a_template(settings: Settings, paths: Paths) -> None:
    write_template(paths, "two", TWO)
    async with opened(settings, paths) as shown:
        shown.screen.prompt.load("ave")
        await shown.screen.controllers.help.insert_template("two")
        assert shown.screen.prompt.draft.text == "⟨greeting⟩, say ave in ⟨language=Latin⟩."
        await shown.pilot.press(*"Salve", "enter")
        await shown.until(lambda: len(shown.branch) == 2)


async def test_a_blank_can_be_deleted_and_its_look_alike_typed(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("translate")
        await shown.pilot.press("backspace", *"{input}", "tab", *"Dutch", "enter")
        await shown.until(lambda: len(shown.branch) == 2)
        assert shown.branch[0][1].startswith("{input}")


async def test_a_system_prompt_with_a_blank_is_never_set(settings: Settings, paths: Paths) -> None:
    write_template(paths, "system", SYSTEM)
    async with opened(settings, paths) as shown:
        await shown.screen.controllers.help.insert_template("system")
        await shown.until(lambda: "needs tongue" in shown.toasts)
        assert shown.screen.context.settings.system == settings.system


async def test_shift_tab_leaves_a_prompt_without_blanks(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        area = shown.pilot.app.focused
        await shown.pilot.press("shift+tab")
        assert shown.pilot.app.focused is not area


async def test_what_a_template_sets_is_told_with_its_values(
    settings: Settings, paths: Paths
) -> None:
    content = 'prompt = "{input}"\nsystem = "Be brief"\n[sampling]\ntemp = 0.25\n'
    write_template(paths, "own", content)
    async with opened(settings, paths) as shown:
        before = settings.sampling.temp
        await shown.screen.controllers.help.insert_template("own")
        await shown.until(lambda: "/set NAME VALUE undoes one." in shown.toasts)
        assert f"For this session: temp = 0.25 (was {before})" in shown.toasts
        assert "system = Be brief" in shown.toasts
        shown.screen.prompt.load("")
        await shown.type(f"/set temp {before}")
        await shown.until(lambda: shown.screen.context.settings.sampling.temp == before)
