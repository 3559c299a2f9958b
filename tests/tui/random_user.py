"""A user who does anything at any time: keys, mouse, sizes, sessions, and parts that fail.

``python -m tests.tui.random_user STEPS [SEED]`` lets one loose and tells what it did last when
something that must hold does not.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unittest import mock

from textual import events
from textual.worker import WorkerState

from tchat.chat.chat import Chat
from tchat.engine import engine
from tchat.engine.snapshots.snapshots import Snapshots
from tchat.errors import StorageError
from tchat.paths import user_paths
from tchat.sessions.database import Database
from tchat.sessions.records import Message, Role, Session, SessionTree
from tchat.sessions.store import SessionStore, Store
from tchat.settings import Sampling, Settings
from tchat.tui.app import TchatApp
from tchat.tui.engine_state import Phase
from tchat.tui.widgets.prompt_area import PromptArea
from tchat.tui.widgets.transcript.entry import GUTTER
from tchat.tui.widgets.transcript.layout import EntryLayout
from tests.sessions.stores import new_session
from tests.sessions.trees import insert_tree
from tests.tiny import write_tiny

from .chat_stage import Shown, opened
from .stage import PATIENCE

LIMITS = (0, 2, 198, 202, 2_000)  # messages: around what is shown at once and kept laid out
INJECTED = "injected fault"
# Groups of workers that may wait for the answer to a dialog.
WAIT_FOR_DIALOGS = ("dialog", "session", "quit", "save", "command", "pull", "files")
REMEMBERED = 25  # steps that are told when one fails
SIZES = ((100, 30), (60, 16), (40, 10), (160, 50), (20, 6))

TEXT = "The quick **brown** fox `jumps`.\n\n- one\n- two\n\n```python\nx = {0}\n```\n"

# What leaves the draft as it is.
HARMLESS = (
    *("pageup", "pagedown", "ctrl+home", "ctrl+end", "alt+r", "alt+g", "alt+c", "alt+z"),
    *("f7", "f9", "ctrl+b", "f8", "alt+n"),
)
# What may empty it, or put something else there.
OTHERS = (
    *("escape", "escape", "up", "down", "tab", "ctrl+c", "backspace", "alt+t"),
    *("ctrl+w", "ctrl+y", "alt+y", "ctrl+p", "alt+slash"),
    *("alt+up", "alt+down", "left", "right", "enter"),
)
DIALOGS = ("f1", "alt+x", "ctrl+o", "ctrl+r", "f6", "alt+k", "f2", "f3", "f4", "f5", "alt+j")
IN_DIALOGS = ("down", "up", "enter", "escape", "tab", "a", "e", "backspace", "pagedown", "ctrl+d",
              "ctrl+underscore", "ctrl+s", "f2", "home", "end")  # fmt: skip
ON_MESSAGES = "cergbdpt+-<>jk"
COMMANDS = (
    *("/undo", "/delete", "/regen", "/continue", "/edit anew", "/good", "/bad", "/pin", "/stats"),
    *("/try 2 both", "/try 3", "/details", "/details", "/title of it", "/title", "/show temp"),
    *("/set temp 0.3", "/set max_tokens 9", "/system be brief", "/theme nord", "/theme none"),
    *(
        "/search fox",
        "/nonsense",
        "/set nonsense 1",
        "/private",
        "/copy",
        "/think off",
        "/branches",
    ),
    *("/prefill Sure", "/edit", "/file nowhere.txt", "/export", "/new", "/help", "/model nope"),
)


class Faults:
    """Parts of the program that fail when they are used next, as often as they are armed."""

    def __init__(self) -> None:
        self._armed: dict[str, Exception] = {}
        storage, other = StorageError(INJECTED), RuntimeError(INJECTED)
        self._parts: dict[str, tuple[Any, str, Exception]] = {
            "engine": (engine, "generate_reply", other),
            "memory": (engine, "generate_reply", MemoryError(INJECTED)),
            "write": (Database, "writing", storage),
            "read": (Database, "reading", storage),
            "branch": (Store, "branch", storage),
            "search": (Store, "search", other),
            "sessions": (Store, "sessions", other),
            "measure": (Chat, "count_draft", other),
            "price": (Chat, "prefill_cost", other),
            "save": (Snapshots, "save", other),
        }

    def arm(self, chance: random.Random) -> str:
        """Let one of them fail; its name."""
        name = chance.choice(list(self._parts))
        self._armed[name] = self._parts[name][2]
        return name

    def clear(self) -> None:
        """Let nothing fail any more."""
        self._armed.clear()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """What is done in here does not fail."""
        armed, self._armed = self._armed, {}
        try:
            yield
        finally:
            self._armed = armed

    @contextmanager
    def installed(self) -> Iterator[None]:
        """In here they can be armed."""
        with mock.patch.multiple("tchat.tui.terminal", copy=lambda *_: "test"):
            patches = [
                mock.patch.object(owner, name, self._failing(part, getattr(owner, name)))
                for part, (owner, name, _) in self._parts.items()
                if part != "memory"
            ]
            for patch in patches:
                patch.start()
            try:
                yield
            finally:
                for patch in patches:
                    patch.stop()

    def _failing(self, part: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if args and isinstance(args[0], Database) and args[0].path is None:
                return original(*args, **named)  # what is in memory does not fail
            for name in (part, "memory") if part == "engine" else (part,):
                if error := self._armed.pop(name, None):
                    raise error
            return original(*args, **named)

        return call


class RandomUser:
    """One user at one screen.

    Args:
        shown: The app under a pilot.
        sessions: Those that can be opened.
        chance: Decides what is done.
        faults: What can be made to fail.
    """

    def __init__(
        self, shown: Shown, sessions: list[Session], chance: random.Random, faults: Faults
    ) -> None:
        self._shown = shown
        self._sessions = sessions
        self._chance = chance
        self._faults = faults
        self._words = 0
        self._typed: set[str] = set()  # words that must be in the prompt, or wait, or be stored
        self.log: deque[str] = deque(maxlen=REMEMBERED)
        self._steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (14, self._type),
            (8, self._send),
            (10, self._press_harmless),
            (8, self._press_other),
            (5, self._command),
            (5, self._dialog),
            (8, self._on_messages),
            (8, self._click),
            (6, self._scroll),
            (3, self._drag),
            (3, self._resize),
            (6, self._open),
            (4, self._fail),
            (6, self._rest),
            (2, self._ask),
        ]

    async def walk(self, steps: int) -> None:
        """Do so many things; fails when something that must hold does not."""
        weights, does = zip(*self._steps, strict=True)
        for number in range(steps):
            [step] = self._chance.choices(does, weights)
            await step()
            assert self._shown.pilot.app.is_running, "the app ended"
            assert self._shown.pilot.app._exception is None
            if number % 8 == 7:
                await self.settle()
        await self._ask()

    # What a user does

    async def _press(self, *keys: str) -> None:
        self.log.append(f"press {' '.join(keys)}")
        if "ctrl+c" in keys:
            self._shown.screen.controllers._interrupted = 0.0  # twice quits
        await self._shown.pilot.press(*keys)

    async def _type(self) -> None:
        if not await self._at_prompt():
            return
        area = self._shown.screen.prompt._area
        area.move_cursor(area.document.end)  # what was selected would be typed over
        self._words += 1
        word = f"w{self._words}w"
        await self._press(*word, "space")
        if self._area_has_focus and len(self._shown.pilot.app.screen_stack) == 1:
            self._typed.add(word)
            self._look_for_words()

    async def _send(self) -> None:
        if not self._is_long and await self._at_prompt():
            await self._press("enter")

    async def _press_harmless(self) -> None:
        if len(self._shown.pilot.app.screen_stack) == 1 and not self._is_long:
            await self._press(self._chance.choice(HARMLESS))

    async def _press_other(self) -> None:
        if self._is_long:
            return
        await self._press(self._chance.choice(OTHERS))
        await self._forget_typed()

    async def _command(self) -> None:
        if self._is_long or not await self._at_prompt():
            return
        command = self._chance.choice(COMMANDS)
        self.log.append(f"command {command}")
        self._shown.screen.prompt.load(command)
        self._typed.clear()
        await self._press("escape")  # no completion
        await self._press("enter")
        await self._forget_typed()

    async def _dialog(self) -> None:
        await self._press(self._chance.choice(DIALOGS))
        for _ in range(self._chance.randint(0, 4)):
            if len(self._shown.pilot.app.screen_stack) > 1:
                await self._press(self._chance.choice(IN_DIALOGS))
        if self._chance.random() < 0.8:
            await self._leave_dialogs()
        await self._forget_typed()

    async def _on_messages(self) -> None:
        if (
            len(self._shown.pilot.app.screen_stack) > 1
            or self._shown.screen.controllers.candidates.is_open
        ):
            return
        await self._press("alt+up")
        if self._shown.screen.controllers.transcript.view.has_focus:
            await self._press(self._chance.choice(ON_MESSAGES))
        await self._forget_typed()

    async def _click(self) -> None:
        app = self._shown.pilot.app
        x, y = self._chance.randrange(app.size.width), self._chance.randrange(app.size.height)
        times = self._chance.choice((1, 1, 1, 2, 3))
        self.log.append(f"click {x},{y} times {times}")
        await self._shown.pilot.click(offset=(x, y), times=times)
        await self._forget_typed()

    async def _scroll(self) -> None:
        app = self._shown.pilot.app
        x, y = self._chance.randrange(app.size.width), self._chance.randrange(app.size.height)
        kind = self._chance.choice((events.MouseScrollUp, events.MouseScrollDown))
        times = self._chance.randint(1, 12)
        self.log.append(f"{kind.__name__} {x},{y} times {times}")
        for _ in range(times):
            app.screen._forward_event(
                kind(
                    None,
                    x=x,
                    y=y,
                    delta_x=0,
                    delta_y=0,
                    button=0,
                    shift=False,
                    meta=False,
                    ctrl=False,
                    screen_x=x,
                    screen_y=y,
                )
            )
        await self._shown.pilot.pause()

    async def _drag(self) -> None:
        size = self._shown.pilot.app.size
        spots = [
            (self._chance.randrange(size.width), self._chance.randrange(size.height))
            for _ in range(3)
        ]
        self.log.append(f"drag {spots}")
        pilot = self._shown.pilot
        await pilot.mouse_down(offset=spots[0])
        for spot in spots[1:]:
            await pilot.hover(offset=spot)
        if self._chance.random() < 0.5:
            await self._press(self._chance.choice(("pageup", "alt+n", "alt+z")))
        await pilot.mouse_up(offset=spots[-1])
        if self._chance.random() < 0.4:
            await self._press("ctrl+c")
        await self._forget_typed()

    async def _resize(self) -> None:
        size = self._chance.choice(SIZES)
        self.log.append(f"resize {size}")
        await self._shown.pilot.resize_terminal(*size)

    async def _open(self) -> None:
        session = self._chance.choice(self._sessions)
        self.log.append(f"open {session.title}")
        await self._leave_dialogs()
        self._shown.screen.controllers.commands.run(_call(f"/open {session.id}"))
        if self._chance.random() < 0.7:
            await self.settle()

    async def _fail(self) -> None:
        self.log.append(f"let {self._faults.arm(self._chance)} fail")

    async def _rest(self) -> None:
        seconds = self._chance.choice((0.0, 0.05, 0.2))
        self.log.append(f"rest {seconds}")
        await self._shown.pilot.pause(seconds)

    async def _ask(self) -> None:
        """Whatever happened: the next prompt is answered."""
        await self.settle()
        self.log.append("ask")
        self._faults.clear()
        await self._leave_dialogs()
        if self._is_long:
            await self._shown.screen.controllers.sessions.open(None)
        self._typed.clear()
        while (
            self._shown.screen.controllers.candidates.is_open
            or self._shown.screen.controllers.prompt_mode.mode is not None
        ):
            self._shown.screen.prompt.focus()
            await self._press("escape")
            await self.settle()
        self._words += 1
        text = f"question {self._words}"
        assert await self._at_prompt()
        await self._shown.type(text)
        await self.settle()
        stored = self._shown.messages
        assert [each.text for each in stored[-2:-1]] == [text], "the question is not stored"
        assert stored[-1].role is Role.ASSISTANT
        assert stored[-1].status.value == "done"
        assert not self._shown.screen.controllers.transcript.is_stale

    # Where the user is

    @property
    def _is_long(self) -> bool:
        """Whether a prompt would take seconds to be counted."""
        return self._shown.screen.controllers.transcript.view.column.height > 5_000

    @property
    def _area_has_focus(self) -> bool:
        return isinstance(self._shown.pilot.app.focused, PromptArea)

    async def _leave_dialogs(self) -> None:
        app = self._shown.pilot.app
        for _ in range(20):
            if len(app.screen_stack) == 1:
                return
            await self._press("escape")
            await self._shown.pilot.pause()
        raise AssertionError(f"{app.screen} does not close")

    async def _at_prompt(self) -> bool:
        """Go to the prompt; False where several replies are to choose from."""
        await self._leave_dialogs()
        if self._shown.screen.controllers.candidates.is_open:
            return False
        if not self._area_has_focus:
            self._shown.screen.prompt.focus()
            await self._shown.pilot.pause()
        return True

    # What must hold

    async def settle(self) -> None:
        """Wait until everything is at rest, and look at it."""
        await self._rests()
        self._look_for_words()
        self._look_at_status()
        if not self._shown.screen.controllers.candidates.is_open:
            self._look_at_messages()
            self._look_at_rows()

    async def _rests(self) -> None:
        loop, app = asyncio.get_running_loop(), self._shown.pilot.app
        end, calm = loop.time() + PATIENCE, 0
        while calm < 2:
            busy = [
                each.name
                for each in app.workers
                if each.state in (WorkerState.PENDING, WorkerState.RUNNING)
                and (each.group not in WAIT_FOR_DIALOGS or len(app.screen_stack) == 1)
            ]
            calm = calm + 1 if not (busy or self._shown.screen.controllers.turn.is_busy) else 0
            assert loop.time() < end, f"it does not come to rest: {busy}"
            await self._shown.pilot.pause(0.01)

    def _look_at_status(self) -> None:
        screen = self._shown.screen
        assert screen.context.status.data().state is Phase.IDLE, screen.context.status.data().state
        assert screen.controllers.candidates.is_open or not screen.controllers.turn.queue, (
            "a prompt waits for nothing"
        )
        said = [each.text for each in self._shown.errors] + self._shown.toasts.split("\n")
        for line in said:
            assert "unexpected error" not in line or INJECTED in line, line
            assert "Traceback" not in line

    def _look_for_words(self) -> None:
        missing = self._typed - self._found_words()
        assert not missing, f"the draft lost {missing}"

    def _found_words(self) -> set[str]:
        screen = self._shown.screen
        places = [
            screen.prompt.draft.full_text,
            *(each.full_text for each in screen.controllers.turn.queue),
        ]
        places += [each.text for each in self._shown.all_entries]
        places += [each.text for each in screen.prompt._area._recall._entries]
        return {word for word in self._typed for text in places if word in text}

    async def _forget_typed(self) -> None:
        """What was done may have emptied the prompt."""
        await self._shown.pilot.pause()
        text = self._shown.screen.prompt.draft.full_text
        self._typed = {word for word in self._typed if word in text}

    def _look_at_messages(self) -> None:
        """The transcript shows the active path, once and in its order."""
        if (
            self._shown.screen.controllers.transcript.is_stale
        ):  # they could not be read; the next turn tries it again
            return
        entries = [each for each in self._shown.all_entries if isinstance(each.key, int)]
        with self._faults.resting():
            messages = self._shown.messages
        shown = [(each.key, each.role, each.status, each.text) for each in entries]
        stored = [(each.id, each.role.value, each.status.value, each.text) for each in messages]
        # Not the lists themselves: pytest explains how they differ for minutes.
        pairs = enumerate(zip_longest(shown, stored))
        differs = next(
            (f"{at}: {one} != {other}" for at, (one, other) in pairs if one != other), ""
        )
        assert not differs, f"what is shown is not what is stored: {differs}"

    def _look_at_rows(self) -> None:
        """What is drawn are the lines of the entries in view."""
        transcript = self._shown.screen.controllers.transcript.view
        column = transcript.column
        if not len(column) or not transcript.size or column.form.width != transcript._width:
            return
        place, number = column.find(transcript._top)
        expected: list[tuple[int, str]] = []
        while len(expected) < transcript.size.height and place < len(column):
            layout = EntryLayout(column.entry(place), column.form, column.layout(place).shape)
            expected += [(place, row.text) for row in layout.lines()][number:]
            place, number = place + 1, 0
        for y, (at, text) in enumerate(expected[: transcript.size.height]):
            drawn = transcript.render_line(y).text[column.form.left + GUTTER :].rstrip()
            pointed = (transcript.cursor, *transcript._painter.pointed)
            bar = column.entry(at).key in pointed  # facts and actions are drawn over it
            pill = transcript.unseen and y == transcript.size.height - 1
            assert bar or pill or drawn == text.rstrip()[: len(drawn)], (y, drawn, text)


def _call(typed: str) -> Any:
    from tchat.chat.commands import Surface, commands_for, parse_input

    return parse_input(typed, commands_for(Surface.SCREEN))


def filled(store: SessionStore, count: int) -> Session:
    """A session of ``count`` messages whose last reply has a sibling."""
    session = new_session(store, title=f"{count} messages")
    asked = store.add(session.id, Role.USER, "prompt 0", parent_id=None)
    store.add(session.id, Role.ASSISTANT, TEXT.format(0), parent_id=asked.id)
    first = store.tree(session.id)
    messages: list[Message] = []
    for number in range(count):
        kind = first.messages[number % 2]
        text = TEXT.format(number) if number % 2 else f"prompt {number}"
        parent = number or None
        messages.append(replace(kind, id=number + 1, parent_id=parent, text=text))
    active = frozenset(each.id for each in messages)
    if messages:
        messages.append(replace(messages[-1], id=count + 1, text="another"))
    tree = SessionTree(session=first.session, messages=tuple(messages), active=active)
    store.delete(session.id)
    return insert_tree(store, tree)


async def let_loose(
    settings: Settings, steps: int, seed: int, sizes: tuple[int, ...] = LIMITS
) -> None:
    """Let a user do so many things with sessions of these sizes."""
    paths, chance, faults = user_paths(), random.Random(seed), Faults()
    with SessionStore(paths.sessions_db) as store:
        sessions = [filled(store, size) for size in sizes]
    with faults.installed(), mock.patch("tchat.tui.app.TchatApp.open_url"):
        async with opened(settings, paths) as shown:
            user = RandomUser(shown, sessions, chance, faults)
            try:
                with mock.patch.object(TchatApp, "action_quit", _stay):
                    await user.walk(steps)
            except BaseException:
                print(f"seed {seed}; the last steps:", *user.log, sep="\n  ")
                raise


async def _stay(_: TchatApp) -> None:
    """What quits, the palette's /quit for one, is walked up to here."""


def tiny_settings(folder: Path) -> Settings:
    """A tiny model that answers in a moment."""
    model = write_tiny(folder / "tiny.gguf")
    return Settings(model=str(model), threads=1, sampling=Sampling(temp=0, max_tokens=12))


def main(steps: int, seed: int) -> None:
    """Let one loose in a home of its own."""
    import os

    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TCHAT_HOME": f"{folder}/home", "HF_HUB_OFFLINE": "1", "HOME": folder}
        os.environ["HF_HOME"] = f"{folder}/hub"
        os.chdir(folder)
        asyncio.run(let_loose(tiny_settings(Path(folder)), steps, seed))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6))
