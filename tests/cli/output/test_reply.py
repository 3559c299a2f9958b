"""Events of a reply to standard output and standard error, as a person and a pipe see them."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tchat.cli.console import Console
from tchat.cli.output.reply import OutputOptions, ReplyOutput
from tchat.engine.events import (
    PREFILL_COST,
    PREFILL_TIME,
    Event,
    Finished,
    LabelScores,
    LoadProgress,
    Notice,
    PromptProgress,
    Reason,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenUsage,
)
from tchat.errors import StorageError
from tchat.sanitize import printable

REPLY = "# Sky\n\nIt is **blue**:\n\n1. air\n1. light\n\n```python\nx = 1\n```\n"


class Stream(io.TextIOWrapper):
    """A standard stream that may be a terminal."""

    def __init__(self, raw: io.BytesIO, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__(raw, encoding=encoding, errors="replace", newline="\n")
        self.raw_bytes = raw
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def written(self) -> bytes:
        self.flush()
        return self.raw_bytes.getvalue()

    @property
    def shown(self) -> str:
        return self.written.decode()


@dataclass
class World:
    """The two streams of one call; on a terminal both go to the same screen."""

    terminal: bool = False
    stderr_terminal: bool | None = None
    encoding: str = "utf-8"
    environ: Mapping[str, str] = field(default_factory=lambda: {"TERM": "xterm-256color"})
    seconds: float = 1.0
    quiet: bool = False

    def __post_init__(self) -> None:
        stderr = self.terminal if self.stderr_terminal is None else self.stderr_terminal
        out = io.BytesIO()
        # On one terminal, what both streams write stands in the order of writing.
        err = out if self.terminal and stderr else io.BytesIO()
        self.stdout = Stream(out, self.terminal, self.encoding)
        self.stderr = Stream(err, stderr)
        self.console = Console(
            io.BytesIO(), self.stdout, self.stderr, self.environ, quiet=self.quiet
        )
        self._time = itertools.count(0.0, self.seconds)

    def renderer(self, **output: Any) -> ReplyOutput:
        return ReplyOutput(self.console, OutputOptions(**output), clock=lambda: next(self._time))

    def run(self, *events: Event, **output: Any) -> World:
        with self.renderer(**output) as renderer:
            for event in events:
                renderer.show(event)
        return self

    def screen(self, columns: int = 80, lines: int = 24) -> list[str]:
        """What a terminal shows after it was given everything."""
        screen = pyte.Screen(columns, lines)
        screen.set_mode(pyte.modes.LNM)
        pyte.Stream(screen).feed(self.stdout.shown)
        return [line.rstrip() for line in screen.display]


def finished(text: str = "", reason: Reason = Reason.STOP, reasoning: str = "") -> Finished:
    usage = TokenUsage(
        prompt=1200, reused=1000, prefilled=200, completion=50, reasoning=len(reasoning)
    )
    return Finished(reason, text, reasoning, 42, usage, Timings(0.5, 2.0, 1.0))


def reply(text: str, size: int = 3) -> Iterator[Event]:
    """What an engine says while it writes ``text``."""
    yield LoadProgress("tiny", 0.4)
    yield PromptProgress(0, 200, 0)
    yield PromptProgress(100, 200, 0)
    for start in range(0, len(text), size):
        yield TextDelta(text[start : start + size])
    yield finished(text)


# To a pipe


def test_a_pipe_gets_the_text_as_it_comes_and_a_last_newline() -> None:
    world = World()
    renderer = world.renderer()
    renderer.show(LoadProgress("tiny", 0.5))
    renderer.show(TextDelta("**Hel"))
    assert world.stdout.written == b"**Hel"
    renderer.show(TextDelta("lo**"))
    assert world.stdout.written == b"**Hello**"
    renderer.close()
    renderer.close()
    assert world.stdout.written == b"**Hello**\n"
    assert world.stderr.written == b""


@pytest.mark.parametrize(("text", "written"), [("a\n", "a\n"), ("a\n\n", "a\n\n"), ("", "")])
def test_a_pipe_gets_no_newline_that_is_there_or_ends_nothing(text: str, written: str) -> None:
    assert World().run(*reply(text)).stdout.shown == written


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 9))
def test_a_pipe_gets_the_safe_form_of_the_text(text: str, size: int) -> None:
    shown = World().run(*reply(text, size)).stdout.shown
    assert shown == printable(text) + (
        "" if not text or printable(text)[-1:] in ("\n", "") else "\n"
    )


@given(st.text(), st.integers(1, 9))
def test_raw_to_a_pipe_is_byte_exact(text: str, size: int) -> None:
    assert World().run(*reply(text, size), raw=True).stdout.written == text.encode()


def test_a_pipe_gets_utf8_whatever_the_locale() -> None:
    world = World(encoding="ascii").run(*reply("Grüße 日本 👍"))
    assert world.stdout.shown == "Grüße 日本 👍\n"


def test_a_terminal_of_another_encoding_gets_what_it_can_show() -> None:
    world = World(terminal=True, encoding="ascii", stderr_terminal=False)
    assert world.run(*reply("Grüße"), markdown="never").stdout.written == b"Gr??e\n"


def test_nothing_but_the_answer_is_on_a_pipe() -> None:
    events = [Notice("window", "old turns left out"), ReasoningDelta("secret"), *reply("yes")]
    world = World(stderr_terminal=True).run(*events)
    assert world.stdout.shown == "yes\n"
    assert "old turns left out" in world.stderr.shown
    assert "secret" not in world.stderr.shown


@pytest.mark.parametrize("kind", ["model", "price", "reread"])
def test_what_only_takes_longer_is_told_on_a_terminal(kind: str) -> None:
    notice = Notice(kind, "later")
    assert World().run(notice, *reply("yes")).stderr.written == b""
    terminal = World(stderr_terminal=True).run(notice, *reply("yes"))
    assert "tchat: later" in terminal.stderr.shown


def test_a_reload_is_told_once_by_what_it_will_cost() -> None:
    notices = Notice(PREFILL_COST, "Reloading 9 tokens"), Notice(PREFILL_TIME, "Reloaded 9 tokens")
    shown = World(stderr_terminal=True).run(*notices, *reply("yes")).stderr.shown
    assert "Reloading 9 tokens" in shown
    assert "Reloaded" not in shown


@pytest.mark.parametrize("kind", ["template", "system", "think", "context", "window", "judge"])
def test_what_changes_the_result_is_told_in_a_pipe_too_unless_quiet(kind: str) -> None:
    notice = Notice(kind, "something else")
    assert World().run(notice, *reply("yes")).stderr.shown == "tchat: something else\n"
    assert World(quiet=True).run(notice, *reply("yes")).stderr.shown == ""


def test_a_reply_cut_off_is_told_in_a_pipe_too_unless_quiet() -> None:
    cut_off: list[Event] = [TextDelta("yes"), finished("yes", Reason.LENGTH)]
    assert "the reply was cut off" in World().run(*cut_off).stderr.shown
    assert World(quiet=True).run(*cut_off).stderr.shown == ""
    [notice] = json.loads(World().run(*cut_off, json=True).stdout.shown)["notices"]
    assert "the reply was cut off" in notice["text"]


def test_a_reply_that_is_not_stored_is_told_in_a_pipe_too() -> None:
    world = World().run(Notice("storage", "not stored"), *reply("yes"))
    assert world.stderr.shown == "tchat: not stored\n"
    quiet = World(quiet=True).run(Notice("storage", "not stored"), *reply("yes"))
    assert quiet.stderr.shown == "tchat: not stored\n"


def test_no_stream_gives_the_same_text_at_the_end() -> None:
    world = World()
    renderer = world.renderer(stream=False)
    for event in reply("Hello"):
        renderer.show(event)
    assert world.stdout.written == b""
    renderer.close()
    assert world.stdout.shown == "Hello\n"


def test_reasoning_to_a_pipe_stands_between_marks_when_asked_for() -> None:
    events: list[Event] = [
        ReasoningDelta("hm"),
        ReasoningDelta("m\n"),
        TextDelta("yes"),
        finished("yes", reasoning="hmm\n"),
    ]
    world = World().run(*events, show_reasoning=True)
    assert world.stdout.shown == "<think>\nhmm\n</think>\n\nyes\n"


def test_reasoning_that_was_cut_off_still_gets_its_closing_mark() -> None:
    assert (
        World().run(ReasoningDelta("hm"), show_reasoning=True).stdout.shown.endswith("</think>\n\n")
    )


def test_usage_is_told_even_to_a_pipe() -> None:
    world = World().run(*reply("yes"), usage=True)
    assert world.stdout.shown == "yes\n"
    line = world.stderr.shown
    assert line.count("\n") == 1
    assert "1,200 tokens of prompt (1,000 from the cache), 100 tok/s" in line
    assert "50 tokens written, 50 tok/s" in line


def test_usage_of_a_turn_counts_its_steps() -> None:
    step = finished(reason=Reason.TOOL_CALLS)
    end = replace(finished("yes"), steps=(step, step))
    world = World().run(TextDelta("yes"), end, usage=True)
    assert "3,600 tokens of prompt (3,000 from the cache), 100 tok/s" in world.stderr.shown
    assert "150 tokens written, 50 tok/s · 10.50 s, including 1.50 s" in world.stderr.shown
    told = json.loads(World().run(TextDelta("yes"), end, json=True).stdout.shown)
    assert (told["usage"]["completion"], told["timings"]["write"]) == (150, 3.0)


def test_the_first_code_block_alone() -> None:
    world = World(stderr_terminal=True).run(*reply(REPLY), extract=True)
    assert world.stdout.shown == "x = 1\n"


@pytest.mark.parametrize("text", ["none here", "```", "```python\n```", "~~~\n\n~~~\n"])
def test_without_a_code_block_all_is_printed_and_that_is_said(text: str) -> None:
    # A script is told too: it counts on code.
    world = World().run(*reply(text), extract=True)
    assert world.stdout.shown == f"{text.rstrip(chr(10))}\n"
    assert "no code block" in world.stderr.shown


def test_a_choice_is_its_likeliest_label() -> None:
    chosen = LabelScores((("ham", 0.9), ("spam", 0.1)))
    assert World().run(chosen, finished("ham")).stdout.shown == "ham\n"


def test_markdown_to_a_pipe_has_the_layout_and_no_escapes() -> None:
    shown = World().run(*reply(REPLY), markdown="always").stdout.shown
    assert shown == "Sky\n\nIt is blue:\n\n1. air\n2. light\n\n```python\nx = 1\n```\n"


# JSON


def test_json_is_one_line_with_everything() -> None:
    world = World()
    with world.renderer(json=True) as renderer:
        for event in [Notice("think", "no switch"), *reply("Hi\n")]:
            renderer.show(event)
        renderer.describe(model="tiny-q4", session="abc")
    assert world.stdout.shown.count("\n") == 1
    assert json.loads(world.stdout.shown) == {
        "reply": "Hi\n",
        "reasoning": None,
        "finish_reason": "stop",
        "usage": {
            "prompt": 1200,
            "reused": 1000,
            "read": 200,
            "completion": 50,
            "reasoning": 0,
            "restored": 0,
            "guessed": 0,
            "right": 0,
        },
        "timings": {"load": 0.5, "read": 2.0, "write": 1.0, "restore": 0.0},
        "seed": 42,
        "notices": [{"kind": "think", "text": "no switch"}],
        "model": "tiny-q4",
        "session": "abc",
    }


def test_json_holds_the_probability_of_each_label() -> None:
    world = World().run(LabelScores((("b", 0.75), ("a", 0.25))), finished("b"), json=True)
    value = json.loads(world.stdout.shown)
    assert value["reply"] == "b"
    assert list(value["choices"].items()) == [("b", 0.75), ("a", 0.25)]


def test_json_holds_the_reasoning_only_when_asked_for() -> None:
    events: list[Event] = [ReasoningDelta("hm"), finished("yes", reasoning="hm")]
    assert json.loads(World().run(*events, json=True).stdout.shown)["reasoning"] is None
    world = World().run(*events, json=True, show_reasoning=True)
    assert json.loads(world.stdout.shown)["reasoning"] == "hm"


def test_json_can_hold_the_extracted_code() -> None:
    world = World().run(*reply(REPLY), json=True, extract=True)
    assert json.loads(world.stdout.shown)["extracted"] == "x = 1"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_is_safe_and_exact(text: str) -> None:
    shown = World().run(finished(text), json=True).stdout.shown
    assert printable(shown) == shown
    assert json.loads(shown)["reply"] == text


def test_json_of_a_reply_that_never_finished_is_nothing() -> None:
    assert World().run(TextDelta("half"), json=True).stdout.shown == ""


# To a terminal


def test_a_terminal_gets_finished_blocks_and_one_newline_at_the_end() -> None:
    world = World(terminal=True).run(*reply(REPLY + "\n\n"))
    lines = [
        "Sky", "", "It is blue:", "", "1. air", "2. light", "", "```python", "x = 1", "```",
    ]  # fmt: skip
    assert world.screen()[:11] == [*lines, ""]
    alone = World(terminal=True, stderr_terminal=False).run(*reply(REPLY + "\n\n"))
    assert alone.stdout.shown.endswith("```\x1b[0m\n")


def test_a_block_is_printed_when_it_is_finished_and_not_again() -> None:
    world = World(terminal=True, stderr_terminal=False)
    renderer = world.renderer()
    renderer.show(TextDelta("One\n\ntw"))
    assert world.stdout.shown == "One\n"
    renderer.show(TextDelta("o"))
    assert world.stdout.shown == "One\n"
    renderer.close()
    assert world.stdout.shown == "One\n\ntwo\n"


def test_what_was_written_before_a_stop_is_printed() -> None:
    world = World(terminal=True, stderr_terminal=False)

    def interrupted() -> None:
        with world.renderer() as renderer:
            renderer.show(TextDelta("half a sen"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert world.stdout.shown == "half a sen\n"


def test_colours_follow_the_environment() -> None:
    assert "\x1b[1;36mx\x1b[0m" in World(terminal=True).run(*reply("`x`")).stdout.shown
    quiet = World(terminal=True, environ={"TERM": "xterm", "NO_COLOR": "1"})
    assert "\x1b[1mx\x1b[0m" in quiet.run(*reply("`x`")).stdout.shown


@pytest.mark.parametrize("markdown", ["auto", "always", "never"])
def test_a_dumb_terminal_gets_no_escape_at_all(markdown: str) -> None:
    world = World(terminal=True, environ={"TERM": "dumb"})
    world.run(ReasoningDelta("hm"), *reply(REPLY), markdown=markdown, show_reasoning=True)
    assert "\x1b" not in world.stdout.shown
    assert "\r" not in world.stdout.shown


def test_markdown_never_streams_the_text_itself() -> None:
    world = World(terminal=True, stderr_terminal=False).run(*reply(REPLY), markdown="never")
    assert world.stdout.shown == REPLY


def test_raw_on_a_terminal_is_unrendered_and_still_safe() -> None:
    world = World(terminal=True, stderr_terminal=False).run(*reply("**a**\x1b[2J"), raw=True)
    assert world.stdout.shown == "**a**␛[2J\n"


def test_reasoning_on_a_terminal_is_dim_behind_a_bar_and_above_the_answer() -> None:
    events: list[Event] = [
        ReasoningDelta("let me\nth"),
        ReasoningDelta("ink" + " think" * 15),
        TextDelta("yes"),
    ]
    world = World(terminal=True).run(*events, show_reasoning=True)
    lines = world.screen()
    assert lines[0] == "│ let me"
    assert lines[1].startswith("│ think think")
    assert lines[2].startswith("│ think")
    assert lines[3:5] == ["", "yes"]
    assert "\x1b[2mlet me" in world.stdout.shown


def test_a_reply_cut_off_at_the_limit_is_said() -> None:
    world = World(terminal=True).run(TextDelta("and"), finished("and", Reason.LENGTH))
    assert world.screen()[0] == "and"
    assert "cut off" in world.screen()[1]


# The status line


def test_the_status_says_what_is_going_on_and_leaves_no_trace() -> None:
    world = World(terminal=True)
    seen = []
    renderer = world.renderer()
    for event in reply("Hello world, this is\n\nthe end"):
        renderer.show(event)
        seen.append(world.screen())
    renderer.close()
    tops = [screen[0] for screen in seen]
    assert "loading 40 %" in tops
    assert any(top.startswith("reading 100/200 · ") and top.endswith(" s left") for top in tops)
    assert any(top.startswith("writing ") and "tok/s · Hello wor" in top for top in tops)
    assert world.screen()[:4] == ["Hello world, this is", "", "the end", ""]


def test_hidden_reasoning_is_told_by_the_status() -> None:
    world = World(terminal=True)
    renderer = world.renderer()
    renderer.show(ReasoningDelta("secret"))
    renderer.show(ReasoningDelta("secret"))
    assert world.screen()[0].startswith("thinking")
    assert "secret" not in world.stdout.shown


def test_the_status_is_one_line_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    world = World(terminal=True)
    renderer = world.renderer()
    for char in "日本語の長い文章がここに続きます" * 3:
        renderer.show(TextDelta(char))
        assert world.screen(20)[1] == ""


def test_a_notice_stands_on_its_own_line_below_no_status() -> None:
    world = World(terminal=True)
    world.run(LoadProgress("tiny", 0.4), Notice("model", "a\x1b]0;evil\x07\nb"), *reply("yes"))
    assert world.screen()[:2] == ["tchat: a␛]0;evil␇ b", "yes"]


def test_the_status_is_not_drawn_more_often_than_is_seen() -> None:
    world = World(terminal=True, seconds=0.001).run(*reply("word " * 100, size=1))
    assert world.stdout.shown.count("writing") < 30


def test_a_pipe_shows_its_status_until_the_first_text() -> None:
    world = World(stderr_terminal=True)
    world.run(*reply("Hello world"))
    assert "reading" in world.stderr.shown
    assert "writing" not in world.stderr.shown
    assert world.stderr.shown.endswith("\r\x1b[K")


# Text that attacks the terminal

ATTACKS = [
    "\x1b]52;c;ZXZpbA==\x07",  # writes the clipboard
    "\x1b]0;evil\x07",  # sets the title
    "\x1b[1;1Hevil\x1b[2J\x1b[10A",  # moves the cursor, clears the screen
    "\x9b2J\x9b1;1Hevil",  # the same by C1
    "\x1b[?1049h\x1b[?25l",  # another screen, no cursor
    "\x1bPq#0~~\x1b\\",  # draws
    "a\rb\x08\x08\x08evil",  # writes over the line
    "\u202eevil\u2066",  # turns the reading order
    "&#x202E; &#27;[2J &#155;2J [x](&#x1b;[2J) ",
    "\x1b]8;;file:///etc/passwd\x1b\\x\x1b]8;;\x1b\\",  # a link that hides where it goes
]
FRAMES = [
    "{}",
    "# {}",
    "- {}",
    "```{}\n{}\n```",
    "> {}",
    "| {} |\n|---|\n| {} |",
    "<p>{}</p>",
    "*{}*",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("frame", FRAMES)
def test_the_screen_outside_the_text_is_unchanged(frame: str, attack: str) -> None:
    text = frame.replace("{}", attack)
    world = World(terminal=True)
    world.stdout.write("above\n")
    world.stdout.flush()
    world.run(Notice("model", attack), ReasoningDelta(attack), *reply(text), show_reasoning=True)
    screen = pyte.Screen(80, 60)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(world.stdout.shown + "below\n")
    lines = [line.rstrip() for line in screen.display]
    used = [line for line in lines if line]
    assert used[0] == "above"
    assert used[-1] == "below"
    assert (screen.title, screen.icon_name) == ("", "")
    assert not screen.cursor.hidden
    assert not set("\u202e\u2066") & set("".join(lines))


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab*`#>-|<&;\n\r\t \x1b[]0;1HJ\x07\x9b\u202e"), max_size=80))
def test_only_our_own_escapes_reach_a_terminal(text: str) -> None:
    shown = World(terminal=True, stderr_terminal=False).run(*reply(text)).stdout.shown
    rest = re.sub(r"\x1b\[[0-9;]*m", "", shown)  # colours
    assert printable(rest) == rest


# Failures


class Failing(io.BytesIO):
    """Standard output of which the first ``room`` bytes can be written."""

    def __init__(self, error: OSError, room: int = 0) -> None:
        super().__init__()
        self._error = error
        self._room = room

    def write(self, data: Any, /) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise self._error
        return super().write(data)


def failing(error: OSError, room: int = 0) -> tuple[World, Stream]:
    world = World()
    stream = Stream(Failing(error, room), terminal=False)
    world.console = Console(io.BytesIO(), stream, world.stderr, {})
    return world, stream


@pytest.mark.parametrize("output", [{}, {"stream": False}, {"json": True}, {"markdown": "always"}])
def test_a_closed_pipe_ends_in_broken_pipe_error(output: dict[str, Any]) -> None:
    world, _ = failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    with pytest.raises(BrokenPipeError):
        world.run(*reply("text"), **output)


def test_a_full_disk_is_a_storage_error_with_its_reason_told_once() -> None:
    world, stream = failing(OSError(errno.ENOSPC, "No space left on device"), room=3)
    with pytest.raises(StorageError, match="No space left on device"):
        world.run(*reply("first second", 3))
    assert stream.written == b"fir"


def test_a_standard_error_that_fails_costs_no_answer() -> None:
    world = World(stderr_terminal=True)
    world.stderr = Stream(Failing(OSError(errno.ENOSPC, "full")), terminal=True)
    world.console = Console(io.BytesIO(), world.stdout, world.stderr, {"TERM": "xterm"})
    world.run(Notice("model", "x"), *reply("yes"), usage=True)
    assert world.stdout.shown == "yes\n"


def test_a_pipe_never_imports_rich(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "import sys\n"
        "from tchat.cli.console import process_console\n"
        "from tchat.cli.output.reply import OutputOptions, ReplyOutput\n"
        "from tchat.engine.events import TextDelta\n"
        "with ReplyOutput(process_console(), OutputOptions()) as renderer:\n"
        "    renderer.show(TextDelta('Grüße'))\n"
        "assert not {'rich', 'pygments', 'markdown_it'} & set(sys.modules)\n"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Grüße\n".encode()), done.stderr
