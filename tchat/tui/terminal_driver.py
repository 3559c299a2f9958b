"""Terminal input for the screen: a terminal that may go away, pastes taken as a whole.

Both classes replace private parts of Textual 8.2; the benchmark ``tui_keys`` times a paste.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import select
import signal
from collections.abc import Iterable, Iterator
from typing import Any

from textual import events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START, XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

PATIENCE = 0.1  # seconds without input until an Esc is taken for the key
READ = 64 * 1024  # bytes
SET_TITLE = "\x1b]2;{}\x07"
PUSH_TITLE, POP_TITLE = "\x1b[22;2t", "\x1b[23;2t"


class TerminalDriver(LinuxDriver):
    """Textual's driver, for a terminal that is closed, and a program suspended, at any moment.

    Textual writes from a thread of its own through a short queue. When the terminal is gone that
    thread ends, the queue fills, and whoever draws next would wait for ever, deaf to signals.

    Textual's handlers of SIGTSTP and SIGCONT write too. Where one interrupts a write, it waits for
    ever for the lock of the queue, so the event loop calls them here, between two writes.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_gone = False
        self._title: str | None = None  # that the terminal is to have; None for its own
        self._is_titled = False
        self._gives_way = False  # another program has the terminal, such as the user's editor
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTSTP, self._sigtstp_application)
        self._loop.add_signal_handler(signal.SIGCONT, self._sigcont_application)

    def suspend_group(self) -> None:
        """Suspend this process and its group, as a terminal does it, once the terminal is released.

        A script that started tchat is suspended with it: the shell waits for the script. The system
        ignores the signal where the group has no shell that could resume it.
        """
        self.suspend_application_mode()
        self._must_signal_resume = True
        self._loop.remove_signal_handler(signal.SIGTSTP)  # the default stops it at once
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        self._loop.add_signal_handler(signal.SIGTSTP, self._sigtstp_application)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal back, also after a SIGSTOP, which leaves no time to release it.

        In the background, where `bg` continues it, nothing can be drawn: it waits for `fg`.
        """
        if self._auto_restart and not self._is_in_foreground():
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        if self._auto_restart and not self._gives_way:
            self.suspend_application_mode()
        super()._sigcont_application()

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self.fileno) == os.getpgrp()
        except OSError:  # no terminal, or one of another session
            return True

    def write(self, data: str) -> None:
        """Write while the terminal is open."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)
        elif not self._gives_way:
            self._leave()

    def set_title(self, title: str | None) -> None:
        """Title the terminal, without control characters; None restores what it was before."""
        if title == self._title:
            return
        self._title = title
        if title is None:
            self._restore_title()
        else:
            self._show_title(title)

    def _show_title(self, title: str) -> None:
        if not self._is_titled:
            self._is_titled = True
            self.write(PUSH_TITLE)
        self.write(SET_TITLE.format(title))

    def _restore_title(self) -> None:
        """An empty title is the terminal's own, where it has no stack of titles."""
        if self._is_titled:
            self._is_titled = False
            self.write(SET_TITLE.format("") + POP_TITLE)

    def start_application_mode(self) -> None:
        """Take the terminal, once it is ours, with the title that it had when it was released."""
        while not self._is_in_foreground():  # started with `&`
            os.kill(os.getpid(), signal.SIGSTOP)
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._title is not None:
            self._show_title(self._title)

    def stop_application_mode(self) -> None:
        """Release the terminal, with its own title."""
        self._restore_title()
        super().stop_application_mode()

    def suspend_application_mode(self) -> None:
        """Release the terminal; what is drawn meanwhile is lost, and drawn again afterwards."""
        super().suspend_application_mode()
        self._gives_way = True

    def resume_application_mode(self) -> None:
        """Take the terminal back, and draw everything anew: what it showed is lost."""
        self._gives_way = False
        super().resume_application_mode()
        self._app.refresh(layout=True)

    def run_input_thread(self) -> None:
        """Read keys until the end, or until there is no keyboard any more."""
        parser = PasteParser()
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        try:
            while not self.exit_event.is_set():
                ready, _, _ = select.select([self.fileno], [], [], PATIENCE)
                if ready:
                    if not (data := os.read(self.fileno, READ)):
                        self._leave()
                        return
                    if text := decode(data):  # half a character waits for its rest
                        self._process(parser.feed(text))
                self._process(parser.tick())
        except OSError:
            self._leave()

    def _process(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)

    def close(self) -> None:
        """Let the writing thread end, if it has not."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().close()

    def _leave(self) -> None:
        """Ask the app, once, to keep what was written and to end."""
        if not self._is_gone:
            self._is_gone = True
            self._app.call_later(self._app.action_quit)


ESCAPE = "\x1b"
INTRODUCERS = "[OP]X^_"  # what a longer sequence goes on with behind ESC


# What a terminal sends for Alt and a key that is a control character itself.
_CONTROLS = {"\x7f": "alt+backspace", "\b": "alt+backspace", "\r": "alt+enter", "\n": "alt+enter"}
# Keys in the form of xterm's modifyOtherKeys, and in Kitty's with the codes of other layouts.
_OTHER_KEYS = re.compile(r"\x1b\[27;(?P<modifiers>\d+);(?P<code>\d+)~")
_ALTERNATES = re.compile(r"\x1b\[(?P<code>\d+):[\d:]*(?P<rest>[\d;:]*)u")


# What a terminal answers to a program that asked before and ended: its kind, colours, settings.
_ANSWERS = re.compile(
    r"\x1b\[[?>=][\d;]*[cnRu]|\x1b\]\d+;[^\x07\x1b]*(?:\x07|\x1b\\)|\x1b(?:P[01>!]|_G)[^\x1b]*\x1b\\"
)


def _with_alt(key: events.Key) -> events.Key:
    """``key`` with Alt, which Textual forgets for all but letters and digits."""
    if key.key.startswith("alt+") or key.key == "escape":
        return key
    return events.Key(f"alt+{key.key}", key.character)


class PasteParser(XTermParser):
    """Textual's parser of what a terminal sends, but for pastes, quick Alt keys, and late answers.

    Textual looks at each character of a paste: 45 ms for 100 kB. Here a paste never reaches it.

    A terminal sends Alt and a key as ESC and the key. Textual waits for more before it takes that
    for a key, and makes ``^`` and a letter of it when the next ESC comes first.

    An answer that nobody waits for any more would be typed into the prompt.
    """

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._started = ""  # what may be the begin of a start mark, and is with Textual already
        self._pasted: list[str] | None = None  # the paste so far; None outside of one
        self._held = ""  # what may be the begin of its end mark
        self._is_alt = False  # whether the next character is one with Alt

    def feed(self, data: str) -> Iterator[Message]:
        """The events in ``data``; the empty string is the end of all input."""
        if not data:
            yield from super().feed(data)
        while data:
            if self._pasted is None:
                keys, data = self._until_paste(data)
                if keys := _ANSWERS.sub("", keys):
                    yield from super().feed(keys)
            else:
                text, data = self._until_end(data, self._pasted)
                if text is not None:
                    yield events.Paste(text.replace("\0", ""))

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterator[events.Key]:
        """The keys that ``sequence`` stands for; none while it may be the begin of a longer one."""
        if found := _OTHER_KEYS.fullmatch(sequence):
            sequence = f"{ESCAPE}[{found['code']};{found['modifiers']}u"
        elif found := _ALTERNATES.fullmatch(sequence):
            sequence = f"{ESCAPE}[{found['code']}{found['rest']}u"
        if sequence == ESCAPE:  # of a sequence that is none: its characters follow, one by one
            self._is_alt = True
            return
        if len(sequence) == 1:
            alt, self._is_alt = alt or self._is_alt, False
        if len(sequence) == len(ESCAPE) + 1 and sequence[-1] in _CONTROLS:
            keys = [events.Key(_CONTROLS[sequence[-1]], None)]
        else:
            keys = list(super()._sequence_to_key_events(sequence, alt))
        if not keys and len(sequence) == len(ESCAPE) + 1 and sequence[-1] not in INTRODUCERS:
            alt, sequence = True, sequence[-1]
            keys = list(super()._sequence_to_key_events(sequence, alt=True))
        yield from (_with_alt(key) if alt and len(sequence) == 1 else key for key in keys)

    def _until_paste(self, data: str) -> tuple[str, str]:
        """What stands in front of a paste, and what stands behind its start mark."""
        if (self._started + data).startswith(BRACKETED_PASTE_START):
            # Textual has the begin of the mark: let it forget that.
            self._gen = self.parse(self._tokens.append)
            self._awaiting = next(self._gen)
            self._timeout_time = None
            data = self._started + data
        keys, mark, behind = data.partition(BRACKETED_PASTE_START)
        self._started = "" if mark else _begin_of(BRACKETED_PASTE_START, self._started + keys)
        if mark:
            self._pasted = []
        return keys, behind

    def _until_end(self, data: str, pasted: list[str]) -> tuple[str | None, str]:
        """The paste, None while it goes on, and what stands behind it."""
        text, mark, behind = (self._held + data).partition(BRACKETED_PASTE_END)
        self._held = "" if mark else _begin_of(BRACKETED_PASTE_END, text)
        pasted.append(text.removesuffix(self._held))
        if not mark:
            return None, ""
        self._pasted = None
        return "".join(pasted), behind


def _begin_of(mark: str, text: str) -> str:
    """The longest end of ``text`` that ``mark``, which is not in it, begins with."""
    sizes = range(min(len(mark) - 1, len(text)), 0, -1)
    return next((mark[:size] for size in sizes if text.endswith(mark[:size])), "")
