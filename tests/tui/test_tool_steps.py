"""A turn that calls tools, in the screen: its steps while it runs, and as they are stored."""

from __future__ import annotations

from tchat.engine.events import Notice, StepState
from tchat.paths import Paths
from tchat.settings import Settings
from tests.tui.chat_stage import Shown, opened
from tests.tui.scripted_turn import Called, Script
from tests.tui.stage import shows, text
from tests.tui.test_transcript import rows

READ = Called("read_file", {"path": "README.md"}, "x" * 2100)
FAILS = Called("list_files", {"path": "nowhere"}, "there is no nowhere", StepState.FAILED)
LIST = Called("list_files", {"path": "."}, "a\nb")
TURN = (("Let me see.\n", (READ, FAILS)), ("", (LIST,)), ("Two files.", ()))


def seen(shown: Shown) -> list[str]:
    """The rows of the transcript from the last question on."""
    found = [row.strip() for row in rows(shown.screen.controllers.transcript.view)]
    first = max(at for at, row in enumerate(found) if row.endswith("Look"))
    return [row for row in found[first + 1 :] if row]


STEPS = [
    "▸ read_file README.md · 2.1 kB · 3 ms",
    "▸ ✗ list_files · failed · there is no nowhere · nowhere",
    "▸ list_files . · 3 B · 3 ms",
]


async def test_steps_are_shown_as_they_come_and_again_when_the_session_is_opened(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script(TURN).play(shown)
        await shown.until(lambda: shown.last.text == "Two files.")
        await shown.idle()
        live = seen(shown)
        assert live[1:] == ["Let me see.", *STEPS, "Two files."]
        assert [role for role, _ in shown.branch[2:]] == [
            *("user", "assistant", "tool", "tool", "assistant", "tool", "assistant")
        ]
        session = shown.screen.conversation.session
        await shown.screen.controllers.sessions.open(None)
        await shown.screen.controllers.sessions.open(session)
        await shown.idle()
        assert seen(shown) == live


async def test_a_call_that_leaves_the_machine_is_marked(settings: Settings, paths: Paths) -> None:
    fetch = Called("fetch_url", {"url": "https://page.example/a"}, "text")
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script((("", (fetch,)), ("End", ()))).play(shown)
        await shown.until(lambda: shown.last.text == "End")
        await shown.idle()
        (call,) = [row for row in seen(shown) if "fetch_url" in row]
        assert call.startswith("▸ fetch_url ⇄ page.example ")
        session = shown.screen.conversation.session
        await shown.screen.controllers.sessions.open(None)
        await shown.screen.controllers.sessions.open(session)
        await shown.idle()
        assert call in seen(shown)


async def test_the_status_line_tells_what_runs_and_a_call_that_waits_is_listed(
    settings: Settings, paths: Paths
) -> None:
    waits = Called("run_command", {"command": ["sleep", "9"]}, "done", waits=True)
    script = Script((("", (READ, waits)), ("End", ())))
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        script.play(shown)
        await shown.until(lambda: "● run_command sleep 9" in text(shown.pilot.app))
        await shown.until(lambda: "run_command sleep 9" in text(shown.pilot.app).splitlines()[-1])
        await shows(shown.pilot.app, STEPS[0])
        script.go_on.set()
        await shown.until(lambda: shown.last.text == "End")
        await shown.idle()
        await shows(shown.pilot.app, "▸ run_command sleep 9 · 4 B · 3 ms")


async def test_a_call_under_way_is_shown_as_stopped(settings: Settings, paths: Paths) -> None:
    waits = Called("run_command", {"command": ["sleep", "9"]}, "done", waits=True)
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script((("", (waits,)),)).play(shown)
        await shown.until(lambda: "● run_command sleep 9" in text(shown.pilot.app))
        await shown.pilot.press("escape")
        await shown.idle()
        await shows(shown.pilot.app, "■ run_command sleep 9 · stopped")
        await shown.ask("Again")
        assert [role for role, _ in shown.branch[-2:]] == ["user", "assistant"]


async def test_a_step_is_found_copied_unfolded_and_deleted_by_keys(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script(TURN).play(shown)
        await shown.until(lambda: shown.last.text == "Two files.")
        await shown.idle()
        await shown.point_at(4)
        await shown.pilot.press("enter")
        await shows(shown.pilot.app, "┆ path  README.md")
        await shows(shown.pilot.app, "/ find  y copy  d delete  Space fold  Esc leave")
        await shown.pilot.press("enter", "e", "e", "r")
        assert "A step can be unfolded, copied" in shown.toasts
        await shown.pilot.press("y")
        assert shown.pilot.app.clipboard == READ.content
        await shown.pilot.press("slash", *"nowhere")
        await shown.until(lambda: "1 of 2" in text(shown.pilot.app))
        await shows(shown.pilot.app, "┆ path  nowhere")
        await shown.pilot.press("enter", "escape")
        await shown.point_at(7)
        await shown.pilot.press("d")
        await shown.until(lambda: len(shown.branch) == 7)
        await shown.idle()
        assert STEPS[2] not in text(shown.pilot.app)


async def test_copying_the_last_reply_skips_one_that_only_calls(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script(TURN).play(shown)
        await shown.until(lambda: shown.last.text == "Two files.")
        await shown.idle()
        await shown.point_at(8)
        await shown.pilot.press("d")
        await shown.until(lambda: len(shown.branch) == 8)
        await shown.pilot.press("alt+c")
        await shown.until(lambda: shown.pilot.app.clipboard == "Let me see.\n")


async def test_what_is_told_of_a_turn_stays_below_its_steps(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script(TURN, [Notice("window", "It is told.")]).play(shown)
        await shown.until(lambda: shown.last.text == "Two files.")
        await shown.idle()
        found = seen(shown)
        assert found[1:5] == ["Let me see.", *STEPS]
        assert [row for row in found[5:] if row] == ["Two files.", *["— It is told."] * 3]


async def test_a_program_that_failed_is_told_on_its_line(settings: Settings, paths: Paths) -> None:
    failed = Called("run_command", {"command": ["git", "log"]}, "[stderr]\nno\n[Exit code 128.]")
    async with opened(settings, paths, (100, 40)) as shown:
        await shown.ask("Hello")
        Script((("", (failed,)), ("End", ()))).play(shown)
        await shown.until(lambda: shown.last.text == "End")
        await shown.idle()
        await shows(shown.pilot.app, "▸ run_command git log · 28 B · 3 ms · exit code 128")
