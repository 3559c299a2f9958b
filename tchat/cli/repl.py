"""The line chat: for ``--plain``, ``TERM=dumb``, screen readers and scripts.

Each line is a prompt, or a command if it begins with ``/``, see `tchat.chat.commands`. Triple
quotes enclose a prompt of several lines, which is never a command; Ctrl-C discards it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import TextIO

from tchat.chat.commands import Surface, commands_for, parse_input
from tchat.chat.commands.command import said_by
from tchat.cli.chat_setup import (
    AskRequest,
    find_session,
    open_chat_store,
    resume_settings,
    sessions_file,
    write_back_at_end,
)
from tchat.cli.console import Console, report_decoding
from tchat.cli.line_chat import LineChat
from tchat.cli.line_history import forget_last_line, line_history
from tchat.decoding import decode
from tchat.errors import SETTINGS, ExitCode, Interrupted, StorageError, TchatError
from tchat.models.sources.starter import STARTER
from tchat.settings import Settings
from tchat.translation import tr

QUOTES = '"""'


def run_repl(request: AskRequest, settings: Settings, console: Console) -> int:
    """Chat until the input ends, and return the exit code."""
    console = replace(console, accessible=True)
    file = sessions_file(request, settings, console)
    store, problem = open_chat_store(request, file, console.paths.encryption)
    with store:
        for line in (*store.notices, *filter(None, [problem])):
            console.say(str(line))
        session = find_session(request, store)
        resumed = resume_settings(request, settings, store, session, console.say)
        chat = LineChat(console, request, store, settings)
        chat.resume(session, resumed.model)
        if resumed.model == STARTER and console.stdin_is_terminal and console.stderr_is_terminal:
            from tchat.cli.model_suggestion import suggest_better_model

            suggest_better_model(console)
        return Repl(chat).run()


class Repl:
    """Reads lines, and sends prompts or runs commands; closes ``chat`` at the end."""

    def __init__(self, chat: LineChat) -> None:
        self._chat = chat
        self._console = chat.console
        self._told = ""  # the failure of the disk that was told last

    def run(self) -> int:
        """Run until the input ends, and return the exit code."""
        chat, console = self._chat, self._console
        try:
            if console.stdin_is_terminal:
                chat.show(
                    tr(
                        "Type a message, or a command: /find, /settings, /models, /help. "
                        "Ctrl+C stops a reply, Ctrl+D ends the chat."
                    )
                )
            with (
                write_back_at_end(chat.session_state.fallbacks, console),
                exit_on_signals(),
                line_history(console, private=chat.session_state.persistent.path is None),
            ):
                while not chat.ended:
                    self._step()
            if console.stdin_is_terminal and not console.quiet:
                chat.show_resume_hint()
        finally:
            chat.close()
        return ExitCode.REFUSED if chat.refused else ExitCode.OK

    def _step(self) -> None:
        """Process one line; an error is printed, and the chat goes on."""
        try:
            line = self._line()
            if line is None:
                self._chat.leave()
            elif line.lstrip().startswith(QUOTES):
                self._chat.send(self._quoted(line))
            else:
                self._carry_out(line)
        except Interrupted:
            raise
        except TchatError as error:
            self._console.say(error.in_chat({SETTINGS: "/show"}))
        except KeyboardInterrupt:  # during a command
            self._chat.show()
        self._store_again()

    def _carry_out(self, line: str) -> None:
        entered = parse_input(line, commands_for(Surface.LINES))
        if isinstance(entered, str):
            self._chat.send(entered)
            return
        entered.run_now(self._chat)
        if entered.command.name == "help" and not entered.argument:
            text = tr("{quotes} begins and ends a message of several lines.", quotes=QUOTES)
            self._chat.show(text)

    def _store_again(self) -> None:
        """Retry to save what the disk refused; reports the failure and its end once."""
        chat = self._chat
        failure = chat.session_state.fallbacks.failure
        if failure is None:
            return
        notices = len(chat.session_state.persistent.notices)
        try:
            chat.session_state.fallbacks.write_back()
        except StorageError as error:
            if error.message != self._told:
                self._told = error.message
                self._console.say(
                    tr(
                        "{error}. The chat continues in memory, and is lost when tchat ends; "
                        "{hint}",
                        error=error.message,
                        hint=error.hint,
                    )
                )
            return
        self._told = ""
        chat.candidate_ids.clear()  # messages may have other ids in a file that was replaced
        for line in (
            *chat.session_state.persistent.notices[notices:],
            tr("{error}: everything is stored now", error=failure.message),
        ):
            self._console.say(line)

    def _quoted(self, line: str) -> str:
        """The message of several lines that ``line`` begins; Ctrl-C discards it all."""
        lines = [line.lstrip().removeprefix(QUOTES)]
        try:
            while not lines[-1].rstrip().endswith(QUOTES):
                following = self._read(tr("More:"))
                if following is None:
                    break
                lines.append(following)
        except KeyboardInterrupt:
            self._chat.show("\n" + tr("The message is discarded."))
            return ""
        return "\n".join(lines).rstrip().removesuffix(QUOTES).strip("\n")

    def _line(self) -> str | None:
        """One line; Ctrl-C drops it, and twice in a row ends the chat."""
        for hint in (tr("Press Ctrl+C again, or Ctrl+D, to end the chat."), ""):
            try:
                return self._read(said_by("user", "").rstrip())
            except KeyboardInterrupt:
                if not self._console.stdin_is_terminal:
                    raise
                self._chat.show(f"\n{hint}" if hint else "")
        return None

    def _read(self, prompt: str) -> str | None:
        """One line, or `None` at the end of the input."""
        if not self._console.stdin_is_terminal:
            stdin = self._console.stdin
            data = stdin.readline() if stdin else b""
            decoded = decode(data, tr("the line"), self._chat.settings.encoding)
            return report_decoding(self._console, decoded).rstrip("\r\n") if data else None
        try:
            line = read_line(self._console, f"{prompt} ")
        except EOFError:
            self._chat.show()
            return None
        if self._chat.session_state.is_private:
            forget_last_line()
        return line


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM and SIGHUP, so that the terminal is restored."""

    def receive(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    names = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_line(console: Console, prompt: str) -> str:
    """Read a line; the prompt is printed on the terminal even if standard output is redirected.

    Raises:
        EOFError: The input has ended.
    """
    if console.stdout_is_terminal:
        return input(prompt)
    with _terminal(console) as terminal:
        terminal.write(prompt)
        terminal.flush()
        return input()


@contextmanager
def _terminal(console: Console) -> Iterator[TextIO]:
    """The terminal, while standard output is redirected."""
    if console.stderr_is_terminal:
        yield console.stderr
        return
    try:
        terminal = open("/dev/tty", "w", encoding="utf-8")  # noqa: PTH123, SIM115
    except OSError:
        terminal = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    with terminal:
        yield terminal
