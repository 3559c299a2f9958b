"""Hostile text, drawn by the real program on a real terminal: it stays in its own place."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from pathlib import Path

from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tests.sessions.stores import new_session
from tests.terminal import Terminal

SIZE = (100, 60)
CONTROLS = "".join(map(chr, [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)]))
REPLIES = (
    "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[H\x1b[?1049l\x1b[?25h\x1bc\x1b[100Aover",
    "\x9b2J\x9d52;c;b3duZWQ=\x9c \x90q\x9c \x1bP\x1b\\ \x1b_x\x1b\\ \x1b[6n \x1b[5i \x05",
    f"every control: {CONTROLS}",
    "\u202egnirts\u202c \u2066isolated\u2069 \u200e\u200f\u061c \U000e0041\U000e007f \u200b\ufeff",
    "[/foo] [bold red]x[/] [@click=app.quit]quit[/] [link=file:///etc/passwd]y[/link] [[[",
    "```\x1b[2J\x9b\nx = '\x1b[31m'\n```\n\n| a\x1b[H | b |\n|---|---|\n| \x9b2J | \x07 |\n",
    "<script>\x1b[2J</script> [link](javascript:alert(1)) ![x](\x1b]8;;http://a\x07)",
    "日本語" * 60 + " " + "e" + "\u0301" * 200 + " שלום עולם مرحبا 👩\u200d👩\u200d👧 ❤\ufe0f",
    "a" * 300 + "\t" * 40 + "-" * 300 + "\r\roverwritten\r\n\x0b\x0c\x08\x08",
)
PLAIN = tuple(f"Reply {number}." for number in range(len(REPLIES)))
# What Textual itself sends: colours, positions, its modes and questions, the pointer's shape.
DRAWING = re.compile(
    r"\x1b\[[\d;]*m|\x1b\[\d+;\d+H|\x1b\[\?(?:7|25|1000|1003|1004|1006|1015|1049|2004)[hl]"
    r"|\x1b\[[<>]\d*u|\x1b\[\?(?:2026|2048)\$p|\x1b\]22;[a-z-]*(?:\x07|\x1b\\)"
    r"|\x1b\]2;[^\x00-\x1f\x7f-\x9f]*\x07|\x1b\[2[23];2t"
)


def screen_of(home: Path, replies: tuple[str, ...]) -> tuple[list[str], Terminal]:
    """The screen of a session of these replies, scrolled through, and its terminal."""
    with SessionStore(home / "sessions.db") as store:
        session = new_session(store, title=replies[0] if replies is REPLIES else "A title")
        parent = None
        for text in replies:
            asked = store.add(session.id, Role.USER, text, parent_id=parent)
            parent = store.add(
                session.id, Role.ASSISTANT, text, parent_id=asked.id, reasoning=text
            ).id
    environ = {**os.environ, "TCHAT_HOME": str(home), "TCHAT_MODEL": "/nowhere/no.gguf"}
    with Terminal((sys.executable, "-m", "tchat", "-c"), SIZE, environ) as terminal:
        terminal.until("no.gguf")
        for keys in ("\x1b[1;3A", "\x1b[1;3A", "\x1b[5~", "\x1b[5~", "\x1b[1;5H", "\x1b[F"):
            terminal.send(keys)
            while terminal.read(0.1):
                pass
        lines = terminal.lines
        terminal.send("\x11")
        terminal.ended()
    return lines, terminal


def test_hostile_text_stays_in_the_transcript_and_acts_on_nothing(tmp_path: Path) -> None:
    lines, terminal = screen_of(tmp_path / "hostile", REPLIES)
    plain, _ = screen_of(tmp_path / "plain", PLAIN)
    prompt = plain.index(next(line for line in plain if line.startswith("╭")))
    assert lines[prompt:] == plain[prompt:]
    assert "[/foo]" in terminal.written.decode()
    left = DRAWING.sub("", terminal.written.decode())
    acting = {char for char in left if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")}
    assert acting <= {"\n", "\r", "\u200c", "\u200d"}
