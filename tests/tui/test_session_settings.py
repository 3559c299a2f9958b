"""What a session sets for itself is kept with it, and a new one begins afresh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tchat.settings import Settings, with_values
from tests.tiny import write_tiny
from tests.tui.chat_stage import Shown, opened
from tests.tui.stage import shows, text


def temp(shown: Shown) -> float:
    return shown.screen.conversation.settings.sampling.temp


async def test_sampling_and_system_prompt_belong_to_the_session(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.type("/set temp 0.25")
        await shown.until(lambda: temp(shown) == 0.25)
        await shown.type("/system Be brief.")
        await shown.until(lambda: "system prompt is set" in shown.notices)
        first = shown.screen.conversation.session
        assert first is not None
        assert first.system == "Be brief."
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        assert temp(shown) == 0
        await shown.ask("two")
        second = shown.screen.conversation.session
        assert second is not None
        assert (second.system, second.settings) == ("", {})
        await shown.type(f"/open {first.id}")
        await shown.until(lambda: temp(shown) == 0.25)
        await shown.until(lambda: shown.entries == shown.branch)
        await shown.ask("three")
        assert shown.messages[-1].sampling["temp"] == 0.25


async def test_a_stored_setting_that_cannot_be_used_is_told_and_left_out(
    settings: Settings, paths: Paths
) -> None:
    with SessionStore(paths.sessions_db) as store:
        wrong, _ = store.begin("one", settings={"grammar": "((", "temp": 0.25})
    async with opened(settings, paths) as shown:
        await shown.type(f"/open {wrong.id}")
        await shown.until(lambda: temp(shown) == 0.25)
        await shown.until(lambda: "a setting of the session is left out" in shown.notices)
        assert shown.notices.count("a setting of the session is left out") == 1
        await shown.ask("two")
        assert shown.messages[-1].text
        assert shown.screen.conversation.settings.sampling.grammar == ""


async def test_what_is_set_before_the_first_prompt_is_kept_with_its_session(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/set top_k 7")
        await shown.until(lambda: shown.screen.conversation.settings.sampling.top_k == 7)
        await shown.type("/system Be brief.")
        await shown.until(lambda: "system prompt is set" in shown.notices)
        await shown.ask("one")
        (stored,) = shown.store.sessions()
        assert (stored.system, stored.settings) == ("Be brief.", {"top_k": 7})


async def test_a_template_sets_its_system_prompt_for_a_new_session(
    settings: Settings, paths: Paths
) -> None:
    paths.prompts.mkdir(parents=True)
    (paths.prompts / "pirate.toml").write_text(
        'prompt = "Say it like a pirate:"\nsystem = "You are a pirate."\n[sampling]\ntop_k = 9\n'
    )
    async with opened(settings, paths) as shown:
        await shown.type("/prompt pirate")
        await shown.until(lambda: shown.screen.prompt.draft.text.startswith("Say it"))
        await shown.until(lambda: shown.screen.conversation.settings.system != "")
        await shown.pilot.press("enter")
        await shown.until(lambda: len(shown.messages) == 2)
        await shown.idle()
        (stored,) = shown.store.sessions()
        assert (stored.system, stored.settings) == ("You are a pirate.", {"top_k": 9})


async def test_a_persona_sets_model_and_system_prompt_and_leaves_the_draft(
    settings: Settings, paths: Paths, tmp_path: Path
) -> None:
    other = write_tiny(tmp_path / "other.gguf")
    paths.prompts.mkdir(parents=True)
    (paths.prompts / "pirate.toml").write_text(
        f'model = "{other}"\nsystem = "You are a pirate."\n', encoding="utf-8"
    )
    async with opened(settings, paths) as shown:
        await shown.type("/prompt pirate")
        await shown.until(lambda: shown.screen.conversation.settings.model == str(other))
        await shown.idle()
        assert shown.screen.prompt.draft.text == ""
        await shown.ask("hello")
        (stored,) = shown.store.sessions()
        assert stored.system == "You are a pirate."
        assert shown.messages[-1].model == str(other)


async def test_a_value_that_is_saved_holds_in_new_sessions(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/set top_k 7")
        await shown.until(lambda: shown.screen.conversation.settings.sampling.top_k == 7)
        await shown.pilot.press("f3")
        await shown.until(lambda: "ctx_size" in text(shown.pilot.app))
        await shown.pilot.press(*"top_k")
        await shown.until(lambda: "7 tokens" in text(shown.pilot.app))
        await shown.pilot.press("ctrl+s")
        await shown.until(paths.config_file.exists)
        await shown.pilot.press("escape", "alt+n")
        await shown.pilot.pause()
        await shown.idle()
        assert shown.screen.conversation.settings.sampling.top_k == 7


async def test_times_and_token_counts_come_and_go(settings: Settings, paths: Paths) -> None:
    async with opened(replace(settings, show_details=True), paths) as shown:
        await shown.ask("Hello")
        await shows(shown.pilot.app, "12 tokens")
        await shown.pilot.press("f9")
        await shown.until(lambda: "12 tokens" not in text(shown.pilot.app))
        await shown.type("/details")
        await shown.until(lambda: "12 tokens" in text(shown.pilot.app))


async def test_a_theme_set_by_name_is_worn_at_once(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/set theme rose")
        await shown.until(lambda: shown.pilot.app.theme == "rose")
        await shown.type("/set theme rosa")
        await shown.until(lambda: "no theme rosa" in shown.toasts)
        assert shown.errors == []
        assert shown.screen.conversation.settings.theme == "rose"


async def test_the_former_name_of_a_theme_still_works(settings: Settings, paths: Paths) -> None:
    told = "the theme `nord-like` is now called `nord`; the old name still works"
    async with opened(replace(settings, theme="nord-like"), paths) as shown:
        await shown.until(lambda: told in shown.toasts)
        assert shown.pilot.app.theme == "nord"
        await shown.type("/theme catppuccin-like")
        await shown.until(lambda: shown.pilot.app.theme == "catppuccin-mocha")
        assert 'theme = "catppuccin-mocha"' in paths.config_file.read_text()
        await shown.type("/set theme dracula-like")
        await shown.until(lambda: shown.pilot.app.theme == "dracula")


async def test_a_grammar_that_cannot_be_used_is_refused_where_it_is_set(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.type('/set grammar root ::= "a"{5,2}')
        await shown.until(lambda: "repetition from 5 to 2" in text(shown.pilot.app))
        assert shown.screen.conversation.settings.sampling.grammar == ""
        await shown.ask("Hello")


async def test_a_new_session_begins_without_the_settings_of_the_resumed_one(
    settings: Settings, paths: Paths
) -> None:
    with SessionStore(paths.sessions_db) as store:
        session, _ = store.begin("one", settings={"temp": 0.25, "top_k": 7})
    resumed = with_values(settings, {"temp": 0.75, "top_k": 7})
    base = with_values(settings, {"temp": 0.75})
    async with opened(
        resumed, paths, session=session, base=base, flags=frozenset({"temp"})
    ) as shown:
        assert temp(shown) == 0.75  # the flag overrides what the session stores
        assert shown.screen.conversation.settings.sampling.top_k == 7
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        assert temp(shown) == 0.75
        assert shown.screen.conversation.settings.sampling.top_k == settings.sampling.top_k
