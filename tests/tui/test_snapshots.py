"""Pictures of the screen at fixed sizes, characters and styles, against those in ``snapshots/``.

After a change that was meant, look at what ``git diff`` shows after::

    RENEW_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import TextArea

from tchat.tui.dialogs.dialog import Confirm
from tchat.tui.dialogs.welcome import Welcome
from tchat.tui.engine_state import Decoding, Phase, Prefilling, State
from tchat.tui.widgets.candidates import Candidates, Stage
from tchat.tui.widgets.fuzzy_match import Candidate
from tchat.tui.widgets.header import ChatHeader, HeaderData
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.sidebar import Sidebar
from tchat.tui.widgets.status import (
    DraftCost,
    StatusData,
    StatusHint,
    StatusLine,
)
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.view import Transcript
from tests.tui.session_service import DAY, NOW, session
from tests.tui.stage import shown, until

FOLDER = Path(__file__).parent / "snapshots"
RENEW = "RENEW_SNAPSHOTS"
NORMAL, NARROW, WIDE = (90, 28), (60, 16), (130, 32)
REPLY = """\
# Scattering

Short waves scatter **more** than `long` ones, see [Rayleigh](https://example.org/r).

1. Blue light is scattered
   - in all directions
2. Red light *goes through*

| wave | length |
|------|-------:|
| blue | 450 nm |
| red  | 700 nm |

```python
def colour(angle: float) -> str:
    return "blue" if angle > 10 else "red"  # roughly
```

> The sky is blue by day. <b>Not</b> by night.
"""
TALK = (
    Entry(key=1, role="user", text="Why is the sky blue?\nAnd 名前 and שלום?"),
    Entry(key=2, role="assistant", text=REPLY, reasoning="First, light.", reasoning_tokens=3),
)
SHORT = (
    Entry(key=1, role="user", text="Hello"),
    Entry(key=2, role="assistant", text="Hello! What can I do?", sibling=(2, 4)),
    Entry(key=3, role="user", text="Stop."),
    Entry(key=4, role="assistant", text="I was about to", status="stopped"),
    Entry(key=5, role="assistant", text="It broke off", status="interrupted"),
    Entry(key=6, role="notice", text="2 messages left the context"),
    Entry(key=7, role="error", text="the model does not fit"),
)
LONG_CODE = """\
```python
def total(rows: list[Row], *, discount: float = 0.0) -> float:
    return sum(row.price * row.count for row in rows) * (1 - discount)  # in EUR, rounded at the end
```
"""
TURNS = (
    Entry(key=1, role="user", text="Why is the sky blue?"),
    Entry(key=2, role="assistant", text="\n\n".join("word " * 30 for _ in range(30)), label="a:4b"),
    Entry(key=3, role="user", text="And in code?"),
    Entry(
        key=4,
        role="assistant",
        text=LONG_CODE,
        label="qwen3:4b",
        tokens=512,
        speed=43.2,
        seconds=12.3,
        sibling=(2, 3),
        pinned=True,
    ),
)
Scene = Callable[["Chat", Pilot[None]], Awaitable[None]]


class Chat(Screen[None]):
    """The widgets of the chat screen in their places, without a chat."""

    DEFAULT_CSS = """
    Chat { background: $background; & #body { height: 1fr; } & #main { width: 1fr; } }
    """

    def compose(self) -> ComposeResult:
        header = ChatHeader()
        header.fit_height(self.app.size.height)
        yield header
        with Horizontal(id="body"):
            yield Sidebar()
            with Vertical(id="main"):
                yield Transcript()
                yield Prompt()
        yield StatusLine()

    def on_mount(self) -> None:
        self.query_one(TextArea).cursor_blink = False
        self.prompt.offer([Candidate("regen", "another reply"), Candidate("new", "a new session")])
        self.prompt.focus()
        self.app.animation_level = "none"
        self.show_status()

    def show_status(self, state: State = Phase.IDLE, *, private: bool = False, **more: Any) -> None:
        said = HeaderData("Why is the sky blue?", (2, 3), "SmolLM2 135M", private=private)
        header = self.query_one(ChatHeader)
        header.show(said)
        folded = None if header.display else said
        data = StatusData(state, 1_126, 8_192, hint=StatusHint("F1", "help"), header=folded, **more)
        self.query_one(StatusLine).show(data)

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)


async def markdown(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(TALK)


async def foot(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(SHORT)


async def turns(chat: Chat, pilot: Pilot[None]) -> None:
    """A folded reply, long code, and the facts and actions of the reply under the mouse."""
    chat.transcript.show(TURNS)
    await pilot.pause()
    rows = [chat.transcript.render_line(y).text for y in range(chat.transcript.size.height)]
    y = next(number for number, row in enumerate(rows) if "def total" in row)
    await pilot.hover(chat.transcript, offset=(chat.transcript.size.width // 2, y))


async def cursor(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(SHORT[:2])
    chat.transcript.focus()
    chat.transcript.move_cursor(-1)


async def writing(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(TALK[:1])
    chat.transcript.begin(Entry(key=2, role="assistant"))
    chat.transcript.feed(2, REPLY[:230])
    chat.show_status(Decoding(54, (20, 40, 60, 54)), queued=2)
    chat.prompt.queue = ["and then?", "why?"]


async def pill(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show([*SHORT, *(Entry(key=n, role="user", text="more") for n in range(20, 40))])
    chat.transcript.focus()
    await pilot.press("home")
    chat.transcript.append(Entry(key=50, role="user", text="new"))


async def found(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(TALK)
    chat.transcript.reveal(2, "light blue")


async def completion(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(SHORT[:2])
    await pilot.press("slash")


async def private(chat: Chat, pilot: Pilot[None]) -> None:
    chat.prompt.private = True
    chat.prompt.mode = "editing a message · Esc cancels"
    chat.prompt.load("one line\nanother, 名前")
    chat.show_status(Prefilling(1_024, 3_072, 65), private=True, offline=True)


async def large_draft(chat: Chat, pilot: Pilot[None]) -> None:
    chat.transcript.show(SHORT[:2])
    chat.prompt.load("one line\nanother, 名前")
    short = "Reloading 1,057 tokens (about 8 s)"
    draft = DraftCost(2_140, 6_000, 0.4, (f"{short}: branch changed", short))
    chat.show_status(draft=draft)


async def sidebar(chat: Chat, pilot: Pilot[None]) -> None:
    side = chat.query_one(Sidebar)
    titles = ("Why is the sky blue?", "[/foo] 名前", "Older")
    side.show([session(n, each, n * DAY) for n, each in enumerate(titles)], "s000000000", NOW)
    side.toggle()
    chat.transcript.show(SHORT[:2])
    view = chat.transcript
    await until(pilot, lambda: 0 < view.size.width < 110 and view.column.form.width == view._width)


async def light(chat: Chat, pilot: Pilot[None]) -> None:
    await markdown(chat, pilot)
    pilot.app.theme = "tchat-light"


async def candidates(chat: Chat, pilot: Pilot[None]) -> None:
    view = Candidates("Why is the sky blue?\nAnd 名前?", 3)
    chat.transcript.display = False
    await chat.query_one("#main").mount(view, before=0)
    view.focus()
    view.finish(0, Stage.DONE, "The air scatters **blue** most.", "", 7)
    view.label(0, "★ human 0.91")
    view.feed(1, "- Light\n- Air\n", "", 6)
    await pilot.press("right")


CHATS: dict[str, tuple[Scene, tuple[int, int]]] = {
    "markdown": (markdown, (90, 44)),
    "markdown-narrow": (markdown, NARROW),
    "light": (light, (90, 44)),
    "foot": (foot, NORMAL),
    "cursor": (cursor, NORMAL),
    "turns-60": (turns, (60, 16)),
    "turns-80": (turns, (80, 24)),
    "turns-120": (turns, (120, 36)),
    "turns-200": (turns, (200, 60)),
    "writing": (writing, NORMAL),
    "pill": (pill, NORMAL),
    "found": (found, NORMAL),
    "completion": (completion, NORMAL),
    "private": (private, NORMAL),
    "draft": (large_draft, (80, 24)),
    "draft-narrow": (large_draft, NARROW),
    "sidebar": (sidebar, WIDE),
    "candidates": (candidates, (90, 16)),
    "candidates-narrow": (candidates, NARROW),
}


@pytest.mark.parametrize("name", CHATS)
async def test_the_chat_looks_as_it_did(name: str) -> None:
    scene, size = CHATS[name]
    chat = Chat()
    async with shown(chat, size) as (app, pilot):
        await scene(chat, pilot)
        await pilot.pause()
        compare(name, app)


async def test_the_welcome_looks_as_it_did() -> None:
    async with shown(Welcome(found=3), NORMAL) as (app, _):
        compare("welcome", app)


async def test_a_question_looks_as_it_did() -> None:
    question = Confirm("Delete this message?", "Why is the sky blue?", yes="Delete", danger=True)
    async with shown(question, NORMAL) as (app, _):
        compare("confirm", app)


def compare(name: str, app: App[Any]) -> None:
    """Hold the screen against the picture of this name, or make it the picture."""
    drawn = picture(app.screen._compositor.render_strips())
    file = FOLDER / f"{name}.txt"
    if os.environ.get(RENEW):
        file.parent.mkdir(exist_ok=True)
        file.write_text(drawn, encoding="utf-8")
    assert drawn == file.read_text(encoding="utf-8")


def picture(strips: Iterable[Strip]) -> str:
    """The characters of each row, then a letter for the style of each, then the styles."""
    letters: dict[str, str] = {}
    texts: list[str] = []
    styles: list[str] = []
    for strip in strips:
        texts.append(strip.text.rstrip())
        row = "".join(letter(letters, part.style) * len(part.text) for part in strip)
        styles.append(row)
    legend = [f"{sign} {style}" for style, sign in letters.items()]
    return "\n".join([*texts, "", *styles, "", *legend, ""])


def letter(letters: dict[str, str], style: Style | None) -> str:
    """The letter of a style; what it does when it is clicked is no part of it."""
    return letters.setdefault(str(style), chr(ord("A") + len(letters)))
