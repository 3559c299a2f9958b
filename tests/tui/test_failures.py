"""What breaks, and what the user sees of it: a block with a retry, never a traceback."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest
from textual.widgets import Input

from tchat.engine import engine
from tchat.engine.events import Event
from tchat.errors import StorageError
from tchat.paths import Paths
from tchat.sessions.database import Database
from tchat.sessions.records import Message
from tchat.sessions.store import SessionStore, Store
from tchat.settings import Settings
from tchat.tui.dialogs.settings import SettingsScreen
from tchat.tui.services.sessions import MessageService
from tchat.tui.widgets.prompt_draft import Draft
from tchat.tui.widgets.transcript.view import Transcript
from tests.engine.test_adapters import write_control_vector, write_lora

from .chat_stage import Shown, opened


class Breaking:
    """Lets the engine fail for the first so many replies."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, after: int = 0) -> None:
        self.left = 1
        for name in ("generate_reply", "generate_candidates"):
            monkeypatch.setattr(engine, name, self._broken(getattr(engine, name), error, after))

    def _broken(self, generate: Callable[..., Any], error: Exception, after: int) -> Any:
        def broken(*given: Any, **named: Any) -> Iterator[Event]:
            for number, event in enumerate(generate(*given, **named)):
                if self.left and number >= after:
                    self.left -= 1
                    raise error
                yield event

        return broken


async def failed(shown: Shown, text: str) -> None:
    await shown.until(lambda: any(text in error.text for error in shown.errors))
    await shown.idle()


@pytest.mark.parametrize(
    ("error", "told"),
    [(RuntimeError("boom"), "RuntimeError: boom"), (MemoryError(), "out of memory")],
)
async def test_an_engine_that_breaks_is_a_block_with_a_retry(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    async with opened(settings, paths) as shown:
        Breaking(monkeypatch, error)
        await shown.type("Hello")
        await failed(shown, told)
        assert "Traceback" not in shown.errors[0].text
        assert shown.branch == [("user", "Hello")]
        await shown.pilot.press("alt+r")
        await shown.until(lambda: len(shown.branch) == 2)
        await shown.idle()
        assert shown.entries == shown.branch  # the block is gone, the question is there once
        assert len(shown.store.siblings(shown.messages[0].id)) == 1


async def test_a_reply_that_breaks_off_keeps_what_was_written(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        Breaking(monkeypatch, RuntimeError("boom"), after=6)
        await shown.type("Hello")
        await failed(shown, "boom")
        assert shown.messages[-1].status == "interrupted"
        assert shown.last.text == shown.messages[-1].text != ""
        assert shown.last.status == "interrupted"
        log = paths.log_file.read_text()
        assert "RuntimeError: boom" in log


async def test_a_model_that_does_not_load_can_be_tried_again(
    settings: Settings, paths: Paths, tmp_path: Path, tiny_model: Path
) -> None:
    late = tmp_path / "late.gguf"
    async with opened(replace(settings, model=str(late)), paths) as shown:
        assert "late.gguf" in shown.errors[0].text
        late.write_bytes(tiny_model.read_bytes())
        await shown.pilot.press("alt+r")
        await shown.until(lambda: shown.screen.conversation.metadata is not None)
        await shown.idle()
        assert shown.errors == []
        await shown.ask("Hello")


async def test_a_prompt_comes_back_when_the_second_try_to_load_is_stopped(
    settings: Settings,
    paths: Paths,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late, gate, load = tmp_path / "late.gguf", threading.Event(), engine.Engine.load

    def waiting(self: engine.Engine) -> Iterator[Event]:
        gate.wait(20)
        yield from load(self)

    async with opened(replace(settings, model=str(late)), paths) as shown:
        late.write_bytes(tiny_model.read_bytes())
        monkeypatch.setattr(engine.Engine, "load", waiting)
        turn = shown.screen.controllers.turn
        await shown.until(lambda: bool(shown.errors))
        await shown.pilot.press("alt+r")
        await shown.until(lambda: turn.is_busy)
        await shown.type("Hello")
        await shown.until(lambda: len(turn.queue) == 1)
        await shown.pilot.press("escape")
        gate.set()
        await shown.idle()
        assert shown.screen.prompt.draft.text == "Hello"
        assert shown.branch == []


async def test_a_wrong_model_name_changes_nothing(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/model /nowhere/else.gguf")
        await shown.until(lambda: "else.gguf" in shown.toasts)
        assert shown.screen.conversation.settings.model == settings.model
        await shown.ask("Hello")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/set draft nosuch", "nosuch"),
        ("/set lora {tmp}", "{tmp}"),
        ("/set lora {tmp}/note.txt", "note.txt"),
        ("/set control_vector {tmp}/none.gguf", "none.gguf"),
        ("/model {tmp}/note.txt", "note.txt"),
    ],
)
async def test_what_cannot_be_loaded_is_refused_before_the_model_is_closed(
    settings: Settings, paths: Paths, tmp_path: Path, typed: str, told: str
) -> None:
    (tmp_path / "note.txt").write_text("A text.\n")
    async with opened(settings, paths) as shown:
        metadata = shown.screen.conversation.metadata
        await shown.type(typed.format(tmp=tmp_path))
        name = Path(told.format(tmp=tmp_path)).name
        await shown.until(
            lambda: name in shown.toasts or any(name in each.text for each in shown.errors)
        )
        await shown.idle()
        assert shown.screen.conversation.settings == settings
        assert shown.screen.conversation.metadata is metadata
        await shown.ask("Hello")
        assert shown.messages[-1].status == "done"


async def type_into_focused(shown: Shown, text: str) -> None:
    field = shown.pilot.app.focused
    assert isinstance(field, Input)
    field.value = text
    await shown.pilot.pause()


@pytest.mark.parametrize("name", ["draft_model", "lora", "control_vector"])
async def test_what_belongs_to_another_model_is_told_and_the_old_value_comes_back(
    settings: Settings, paths: Paths, tmp_path: Path, tiny_spm: Path, name: str
) -> None:
    made = {
        "draft_model": lambda: tiny_spm,
        "lora": lambda: write_lora(tmp_path / "other.gguf", 48),
        "control_vector": lambda: write_control_vector(tmp_path / "other.gguf", 48),
    }
    value = str(made[name]())
    async with opened(settings, paths) as shown:
        await shown.ask("Hello")
        before = shown.branch
        await shown.pilot.press("f3")
        await shown.until(lambda: isinstance(shown.pilot.app.screen, SettingsScreen))
        dialog = shown.pilot.app.screen
        assert isinstance(dialog, SettingsScreen)
        await shown.until(lambda: isinstance(shown.pilot.app.focused, Input))
        await type_into_focused(shown, name)
        await shown.until(lambda: dialog.list.item is not None and dialog.list.item.key == name)
        await shown.pilot.press("enter")
        await shown.until(lambda: dialog.list.editing)
        await type_into_focused(shown, value)
        await shown.pilot.press("enter")
        await shown.until(lambda: "✗ not changed" in dialog.list.shown[0].columns)
        await shown.idle()
        item = dialog.list.item
        assert item is not None
        assert item.about.startswith("✗ ")
        assert item.columns[0] == "–"
        await shown.pilot.press("escape")
        now = shown.screen.conversation.settings
        assert replace(now, fixed=settings.fixed) == settings
        assert [each.text.count("not changed") for each in shown.errors] == [1]
        assert shown.branch == before
        await shown.ask("and now")
        assert shown.messages[-1].status == "done"


async def test_a_list_is_emptied_by_two_quotes(settings: Settings, paths: Paths) -> None:
    async with opened(settings, paths) as shown:
        await shown.type("/set stop END")
        await shown.until(lambda: shown.screen.conversation.settings.sampling.stop == ("END",))
        await shown.type('/set stop ""')
        await shown.until(lambda: shown.screen.conversation.settings.sampling.stop == ())


async def test_a_broken_setting_can_be_mended_one_by_one(settings: Settings, paths: Paths) -> None:
    broken = replace(settings, draft_model="nosuch")
    async with opened(broken, paths) as shown:
        await shown.type("/set ctx_size 300")
        await shown.until(lambda: shown.screen.conversation.settings.ctx_size == 300)
        await shown.idle()
        await shown.type('/set draft ""')
        await shown.until(lambda: shown.screen.conversation.settings.draft_model == "")
        await shown.idle()
        await shown.ask("Hello")


async def test_a_session_deleted_by_another_process_is_told(
    settings: Settings, paths: Paths
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        session = shown.screen.conversation.session
        assert session is not None
        shown.store.delete(session.id)
        await shown.type("/regen")
        await failed(shown, "no session")
        await shown.pilot.press("alt+n")
        await shown.until(lambda: shown.screen.conversation.session is None)
        await shown.ask("two")


async def test_what_breaks_in_the_background_does_not_end_the_program(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:

        def broken(_: int | None = None) -> None:
            raise ZeroDivisionError("oh")

        monkeypatch.setattr(shown.store, "sessions", broken)
        await shown.pilot.press("ctrl+o")
        await failed(shown, "ZeroDivisionError: oh")
        await shown.ask("still there")
        assert shown.branch[0] == ("user", "still there")


async def test_messages_that_could_not_be_read_again_are_with_the_next_turn(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("one")
        await shown.ask("two")
        branch, left = SessionStore.branch, [StorageError("the disk is slow")]

        def failing(*args: Any, **named: Any) -> list[Message]:
            if left:
                raise left.pop()
            return branch(*args, **named)

        deleted = shown.messages[2].id
        forget = MessageService.forget

        async def broken_after(here: MessageService, session_id: str) -> None:
            await forget(here, session_id)
            monkeypatch.setattr(Store, "branch", failing)

        monkeypatch.setattr(MessageService, "forget", broken_after)
        shown.screen.post_message(Transcript.ActionRequested(deleted, "delete"))
        await shown.until(lambda: "the disk is slow" in shown.toasts)
        assert len(shown.entries) == 4  # as they were
        await shown.ask("three")
        assert shown.entries == shown.branch
        assert [text for role, text in shown.branch if role == "user"] == ["one", "three"]


class FailingReads:
    """Lets one read of the sessions fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None  # reads until one fails
        reading = Database.reading

        def failing(database: Database) -> AbstractContextManager[Connection]:
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    self.left = None
                    raise StorageError("the disk is slow")
            return reading(database)

        monkeypatch.setattr(Database, "reading", failing)


async def test_whichever_read_of_a_turn_fails_the_messages_are_shown_as_they_are_stored(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings, paths) as shown:
        await shown.ask("first")
        reads, number, failed = FailingReads(monkeypatch), 0, True
        while failed:  # until a turn needs fewer reads than that
            reads.left = number
            await shown.type(f"question {number}")
            await shown.idle()
            failed, reads.left = reads.left is None, None
            seen = [
                (each.key, each.text, each.status)
                for each in shown.all_entries
                if isinstance(each.key, int)
            ]
            stored = [(each.id, each.text, each.status.value) for each in shown.messages]
            assert seen == stored, number
            number += 1
        assert number > 5
        await shown.ask("last")
        assert shown.messages[-1].status == "done"
        questions = [text for role, text in shown.branch if role == "user"]
        assert len(questions) == len(set(questions))


@pytest.mark.parametrize("typed", ["Hello", "/try 2 Hello"])
async def test_a_retry_goes_on_with_what_was_written_before_the_failure(
    settings: Settings, paths: Paths, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    async with opened(settings, paths) as shown:
        Breaking(monkeypatch, RuntimeError("boom"), after=6)
        await shown.type(typed)
        await failed(shown, "boom")
        assert [role for role, _ in shown.branch] == ["user", "assistant"]
        await shown.pilot.press("alt+r")
        await shown.until(lambda: shown.messages[-1].status == "done")
        await shown.idle()
        assert [role for role, _ in shown.branch] == ["user", "assistant"]
        assert shown.entries == shown.branch


async def test_a_prompt_that_is_too_long_comes_back(settings: Settings, paths: Paths) -> None:
    """It is not stored; what was typed is, where it can be shortened."""
    text = "why " * 400
    async with opened(replace(settings, ctx_size=256), paths) as shown:
        shown.screen.prompt.load(text)
        await shown.pilot.press("enter")
        await failed(shown, "the context holds 256")
        assert shown.screen.prompt.draft.full_text == text
        assert [role for role, _ in shown.entries] == ["error"]
        assert shown.store.sessions() == []
        shown.screen.prompt.load("")
        await shown.ask("short")
        assert [each for each in shown.entries if each[0] != "error"] == shown.branch
        assert shown.branch[0] == ("user", "short")


CRASH = """
import os, signal, sys, tty
from pathlib import Path
from tchat.tui.terminal import guarded
from tchat.log_file import LogFile
with guarded(LogFile(Path(sys.argv[1]))):
    tty.setraw(0)
    sys.__stderr__.write("\\x1b[?1049h")
    sys.__stderr__.flush()
    os.write(2, b"noise of a library\\n")
    {end}
"""
RUN = """
import os, pty, sys, termios, time
child, terminal = pty.fork()
if not child:  # under a shell, as for a user: a terminal goes with the first process on it
    command = 'python=$0; "$python" -c "$1" "$2"; read -r line'
    os.execv("/bin/sh", ["/bin/sh", "-c", command, sys.executable, sys.argv[1], sys.argv[2]])
seen = b""
try:
    while piece := os.read(terminal, 4096):
        seen += piece
        if b"Details" in seen and termios.tcgetattr(terminal)[3] & termios.ICANON:
            break
        if b"DONE" in seen:
            break
except OSError:
    pass
sys.stdout.buffer.write(seen)
"""


@pytest.mark.parametrize(
    "end", ["os.kill(os.getpid(), signal.SIGKILL)", "os.abort()", "print('DONE')"]
)
def test_a_crash_leaves_the_terminal_usable(tmp_path: Path, end: str) -> None:
    log = tmp_path / "tchat.log"
    script = CRASH.format(end=end)
    ran = subprocess.run(
        [sys.executable, "-c", RUN, script, str(log)], capture_output=True, timeout=30, check=True
    )
    assert b"noise" not in ran.stdout
    assert "noise of a library" in log.read_text()
    crashed = "DONE" not in end
    assert (b"\x1b[?1049l" in ran.stdout) == crashed
    assert (b"ended by a crash" in ran.stdout) == crashed


async def test_what_is_said_of_an_encoding_names_the_command_that_changes_it(
    settings: Settings, paths: Paths, tmp_path: Path
) -> None:
    binary, old = tmp_path / "b.bin", tmp_path / "old.txt"
    binary.write_bytes(bytes(range(256)) * 20)
    old.write_bytes("Съешь ещё этих мягких французских булок, да выпей чаю. ".encode("koi8-r") * 9)
    async with opened(settings, paths) as shown:
        for file in (binary, old):
            name = f"@{file.name}"
            shown.screen.prompt.load(Draft(name, files=((name, str(file)),)))
            await shown.pilot.press("enter")
            await shown.until(
                lambda: "/set encoding" in shown.toasts + shown.notices + str(shown.errors)
            )
            await shown.idle()
            told = shown.toasts + shown.notices + "".join(each.text for each in shown.errors)
            assert "--encoding" not in told
        assert "/set encoding names another" in shown.notices
