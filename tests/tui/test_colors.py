"""Colours as they are drawn: contrast in every theme, 256 colours, and NO_COLOR."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import DEFAULT_TERMINAL_THEME
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter
from textual.pilot import Pilot
from textual.theme import BUILTIN_THEMES

import tchat.tui
from tchat.paths import Paths, user_paths
from tchat.settings import Settings
from tchat.tui.app import TchatApp
from tchat.tui.color_filters import (
    EightBitColors,
    NoColors,
    SixteenColors,
    nearest,
)
from tchat.tui.dialogs.dialog import Confirm
from tchat.tui.dialogs.welcome import Welcome
from tchat.tui.themes import (
    BACKGROUNDS,
    READABLE,
    VISIBLE,
    contrast,
    load_themes,
    shipped_folder,
    variable_defaults,
)
from tests.terminal import Terminal
from tests.tui.chat_stage import opened
from tests.tui.stage import Stage
from tests.tui.test_snapshots import CHATS, SHORT, TALK, WIDE, Chat

COMMAND = (sys.executable, "-m", "tchat")
CTRL_Q, F4 = "\x11", "\x1bOS"
STOCK = [name for name, theme in BUILTIN_THEMES.items() if not theme.ansi]
THEMES = sorted(path.stem for path in shipped_folder().glob("*.toml"))
DIALOGS = (
    "help",
    "command_palette",
    "sessions",
    "search",
    "tree",
    "model",
    "settings",
    "theme",
    "templates",
    "judge",
)
PARTS = 4  # of the themes, of which each dialog is looked at in one; the long form takes all
SCENES = ("foot", "private", "sidebar", "completion", "candidates", "pill", "cursor")
BLACK = Color(0, 0, 0)
channels = st.integers(0, 255)


class Dressed(Stage):
    """With the style sheet of the app, too."""

    CSS_PATH = Path(tchat.tui.__file__).with_name("app.tcss")


async def everything(chat: Chat, pilot: Pilot[None]) -> None:
    """All of the transcript: Markdown, code, search hits, selected text, notices and errors."""
    chat.transcript.show([*TALK, *SHORT[2:]])
    chat.transcript.reveal(2, "light blue")
    chat.transcript.focus()
    await pilot.press("ctrl+a")


def unreadable(app: App[Any], least: float) -> Iterator[str]:
    """The texts on the screen, or in its dialog, with less contrast, with their colours."""
    frames = app.screen.query("#frame")
    shown = frames.first().region if frames else app.screen.region
    for strip in app.screen._compositor.render_strips()[shown.y : shown.bottom]:
        for text, style, _ in strip.crop(shown.x, shown.right):
            if style is None or not any(map(str.isalnum, text)):
                continue
            assert style.color is not None, text
            assert style.bgcolor is not None, text
            front, back = map(seen, (style.color, style.bgcolor))
            if (ratio := contrast(front, back)) < least:
                yield f"{app.theme}: {text.strip()!r} {front.hex} on {back.hex}: {ratio:.2f}"


def seen(color: RichColor) -> Color:
    return Color(*color.get_truecolor(DEFAULT_TERMINAL_THEME))


async def poor_texts(
    app: App[Any], pilot: Pilot[None], themes: Sequence[str] = THEMES
) -> list[str]:
    found: list[str] = []
    for theme in themes:
        app.theme = theme
        await pilot.pause()
        await pilot.pause()
        found += unreadable(app, READABLE)
    return sorted(set(found))


@pytest.mark.parametrize("name", ["everything", *SCENES])
async def test_every_text_of_the_chat_can_be_read_in_every_theme(name: str) -> None:
    scene: Callable[[Chat, Pilot[None]], Awaitable[None]] = everything
    size = (130, 60)
    if name in CHATS:
        scene, size = CHATS[name]
    app, chat = Dressed(), Chat()
    async with app.run_test(size=size) as pilot:
        app.push_screen(chat)
        await pilot.pause()
        await scene(chat, pilot)
        # In Textual's own themes the colours of a conversation are made readable, no others.
        themes = (*THEMES, *STOCK) if name == "everything" else THEMES
        assert await poor_texts(app, pilot, themes) == []


@pytest.mark.parametrize(
    "dialog",
    [
        lambda: Confirm("Delete this message?", "Why is the sky blue?", yes="Delete", danger=True),
        lambda: Welcome(found=3),
    ],
    ids=["confirm", "welcome"],
)
async def test_every_text_of_a_question_can_be_read_in_every_theme(dialog: Any) -> None:
    app = Dressed()
    async with app.run_test(size=WIDE) as pilot:
        app.push_screen(dialog())
        await pilot.pause()
        assert await poor_texts(app, pilot, (*THEMES, *STOCK)) == []


REAL = pytest.mark.parametrize(
    ("size", "themes"), [((120, 36), THEMES), ((170, 40), STOCK)], ids=["own", "stock"]
)


@REAL
async def test_every_text_of_the_real_screen_can_be_read_in_every_theme(
    settings: Settings, paths: Paths, size: tuple[int, int], themes: Sequence[str]
) -> None:
    """Header, status and the empty chat in all themes, each dialog that a key opens in a part."""
    parts = [themes[number % PARTS :: PARTS] for number in range(len(DIALOGS))]
    assert await poor_dialogs(settings, paths, size, themes, parts) == {}


@pytest.mark.long
@pytest.mark.timeout(600)
@REAL
async def test_every_text_of_every_dialog_can_be_read_in_every_theme(
    settings: Settings, paths: Paths, size: tuple[int, int], themes: Sequence[str]
) -> None:
    parts = [themes] * len(DIALOGS)
    assert await poor_dialogs(settings, paths, size, themes, parts) == {}


async def poor_dialogs(
    settings: Settings,
    paths: Paths,
    size: tuple[int, int],
    themes: Sequence[str],
    parts: Sequence[Sequence[str]],
) -> dict[str, list[str]]:
    """What cannot be read: of the chat in ``themes``, of each dialog in its own of ``parts``."""
    async with opened(settings, paths, size=size) as shown:
        app, pilot = shown.pilot.app, shown.pilot
        assert isinstance(app, TchatApp)
        app._line_filters.clear()  # whatever the terminal of the tests has
        poor = {"chat": await poor_texts(app, pilot, themes)}
        for dialog, part in zip(DIALOGS, parts, strict=True):
            shown.screen.controllers.actions[dialog]()
            await shown.until(lambda: app.screen is not shown.screen)
            await pilot.pause()
            poor[dialog] = await poor_texts(app, pilot, part)
            await pilot.press("escape")
            await shown.until(lambda: app.screen is shown.screen)
        return {dialog: texts for dialog, texts in poor.items() if texts}


# 256 colours


class Reduced(Dressed):
    """On a terminal with 256 colours."""

    _eight_bit = EightBitColors()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._eight_bit]

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        self._eight_bit.follow_theme(variables)
        return variables


class Basic(Dressed):
    """On a terminal with 16 colours."""

    _sixteen = SixteenColors()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), self._sixteen]


@pytest.mark.parametrize("terminal", [Reduced, Basic], ids=["256", "16"])
async def test_every_text_of_the_chat_can_be_read_in_fewer_colours(
    terminal: type[Dressed],
) -> None:
    app, chat = terminal(), Chat()
    async with app.run_test(size=(130, 60)) as pilot:
        app.push_screen(chat)
        await pilot.pause()
        await everything(chat, pilot)
        assert await poor_texts(app, pilot, (*THEMES, *STOCK)) == []


@pytest.mark.parametrize("name", [*THEMES, *STOCK])
def test_bands_stand_out_and_are_greys_in_256_colours(name: str) -> None:
    themes = {each.name: each for each in load_themes(user_paths()).themes} | BUILTIN_THEMES
    theme = themes[name]
    variables = theme.to_color_system().generate() | variable_defaults(theme) | theme.variables
    colors = EightBitColors()
    colors.follow_theme(variables)
    shown = {each: background(colors, variables[each]) for each in ("background", *BACKGROUNDS)}
    for band in BACKGROUNDS:
        assert contrast(shown[band], shown["background"]) >= VISIBLE
        if theme.name in THEMES:
            assert len(set(shown[band].rgb)) == 1


def background(colors: EightBitColors, color: str) -> Color:
    """``color`` as it is shown behind text."""
    segment = Segment("x", Style(color="#888888", bgcolor=Color.parse(color).hex6))
    [drawn] = colors.apply([segment], BLACK)
    assert drawn.style is not None
    assert drawn.style.bgcolor is not None
    return seen(drawn.style.bgcolor)


def rgb(number: int) -> tuple[int, int, int]:
    red, green, blue = RichColor.from_ansi(number).get_truecolor(DEFAULT_TERMINAL_THEME)
    return red, green, blue


PALETTE = [rgb(number) for number in range(16, 256)]


@given(st.tuples(channels, channels, channels))
def test_no_colour_of_a_terminal_is_nearer(color: tuple[int, int, int]) -> None:
    def distance(other: tuple[int, int, int]) -> int:
        return sum((a - b) ** 2 for a, b in zip(color, other, strict=True))

    assert distance(rgb(nearest(*color))) == min(map(distance, PALETTE))


@given(channels, st.integers(0, 16), st.integers(0, 16), st.integers(0, 16))
def test_the_nearest_of_a_colour_without_saturation_is_a_grey(
    level: int, red: int, green: int, blue: int
) -> None:
    shown = rgb(nearest(*(min(255, level + tint) for tint in (red, green, blue))))
    assert len(set(shown)) == 1


@pytest.mark.parametrize(
    ("color", "number"),
    [("#1c2029", 235), ("#dbe2ec", 254), ("#000000", 16), ("#ffffff", 231), ("#7aa8ff", 111)],
)
def test_a_colour_becomes_that_of_the_terminal(color: str, number: int) -> None:
    segment = Segment("x", Style(color=color, bgcolor=color, bold=True, meta={"link": "y"}))
    [shown] = EightBitColors().apply([segment], BLACK)
    assert shown.style is not None
    assert shown.style.color == shown.style.bgcolor == RichColor.from_ansi(number)
    assert shown.style.bold
    assert shown.style.meta == {"link": "y"}


# No colour


def test_without_colours_what_stood_out_is_reversed_and_what_was_hidden_stays_so() -> None:
    click = Style(meta={"link": "y"})
    segments = [
        Segment("plain", Style(color="#e0e0e0", bgcolor="#101010", italic=True) + click),
        Segment("picked", Style(color="#101010", bgcolor="#7aa8ff")),
        Segment("名", Style(color="#101010", bgcolor="#101010")),
        Segment("none", None),
    ]
    plain, picked, hidden, none = NoColors().apply(segments, Color.parse("#101010"))
    assert plain.style == Style(italic=True) + click
    assert picked.style == Style(reverse=True)
    assert hidden == Segment("  ", Style())
    assert none == Segment("none", None)


_SGR = re.compile(rb"\x1b\[([\d;:]*)m")


def color_codes(written: bytes) -> set[bytes]:
    """The sequences in ``written`` that set a colour, the terminal's own included."""

    def is_color(parameters: bytes) -> bool:
        codes = {int(code or 0) for code in re.split(rb"[;:]", parameters)}
        return any(30 <= code <= 49 or 90 <= code <= 107 for code in codes)

    return {each for each in _SGR.findall(written) if is_color(each)}


def environ(**more: str) -> dict[str, str]:
    unset = ("COLORTERM", "NO_COLOR", "TEXTUAL_COLOR_SYSTEM")
    return {name: value for name, value in os.environ.items() if name not in unset} | more


def walked(home: Path, **more: str) -> bytes:
    """What the screen writes from its start to its end, dialogs, completion and selection in it."""
    with Terminal((*COMMAND, "-m", "/none.gguf"), environ=environ(**more)) as terminal:
        terminal.until("there is no file none.gguf")
        terminal.send("/he")
        terminal.until("/help")
        terminal.send("\x1b[1;2D")  # Shift and Left: a character is selected
        terminal.send(F4)
        terminal.until("is left.")
        terminal.send("\x1b[B")
        terminal.read(0.3)
        terminal.send("\x1b")
        terminal.until(lambda: "is left." not in terminal.text)
        terminal.send(CTRL_Q)
        assert terminal.ended() == 0
        return bytes(terminal.written)


def test_no_color_sends_no_colour_from_the_screen(home: Path) -> None:
    written = walked(home, NO_COLOR="1")
    assert color_codes(written) == set()
    assert b"\x1b[7m" in written or b";7m" in written  # what is picked is still to be seen


def test_256_colours_have_grey_grounds(home: Path) -> None:
    written = walked(home, NO_COLOR="")
    codes = color_codes(written)
    assert b"48;5;233" in b"\n".join(codes)  # the background of the default theme
    assert not any(b"38;2" in code or b"48;2" in code for code in codes)
    assert not any(b"48;5;16" in code or b"48;5;17" in code for code in codes)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--no-such",),
        ("models", "list"),
        ("config", "list"),
        ("-m", "/none.gguf", "x"),
    ],
    ids=" ".join,
)
def test_no_color_sends_no_colour_from_a_command(home: Path, arguments: tuple[str, ...]) -> None:
    with Terminal((*COMMAND, *arguments), environ=environ(NO_COLOR="1")) as terminal:
        terminal.ended()
        assert terminal.written
        assert color_codes(bytes(terminal.written)) == set()


MARKDOWN = """
import sys
from tchat.cli.console import process_console
from tchat.cli.output.reply import OutputOptions, ReplyOutput
from tchat.engine.events import TextDelta
with ReplyOutput(process_console(), OutputOptions(markdown="always")) as output:
    output.show(TextDelta("# A `b`\\n\\n```python\\ndef f(): return 1 # g\\n```\\n"))
"""


@pytest.mark.parametrize("value", ["1", ""])
def test_no_color_sends_no_colour_from_a_reply_in_markdown(home: Path, value: str) -> None:
    command = (sys.executable, "-c", MARKDOWN)
    with Terminal(command, environ=environ(NO_COLOR=value)) as terminal:
        assert terminal.ended() == 0, terminal.text
        assert "def f(): return 1" in terminal.text
        assert (not color_codes(bytes(terminal.written))) == bool(value)
        assert b"\x1b[1" in terminal.written  # weight is no colour
