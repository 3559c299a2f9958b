"""``tchat --cmd``: the reply is one shell command, which runs after a confirmation.

What is shown is what runs, character by character: a command is made safe to print before it is
shown, not only for showing it.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any

from tchat.chat.shell_output import shell_exit_code, shell_failure, user_shell
from tchat.cli.answer import answer
from tchat.cli.chat_setup import AskRequest, AskTurn
from tchat.cli.console import Console, ask_line, drop_typed_ahead
from tchat.cli.output.reply import usage_line
from tchat.cli.output.status import ReplyProgress, TerminalStatus, print_notice
from tchat.engine.events import Finished, Notice, Reason, TextDelta
from tchat.errors import TchatError, UsageError
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.preload import Preloaded
    from tchat.engine.binding import Cancel

STOPS = ("\n```", "\n\n")  # behind the command, with a fence or without
MAX_TOKENS = 400  # more than a command has
FENCE = "```"
REPLY_PREFIX = f"{FENCE}sh\n"  # keeps small models from explaining instead
PROMPT_MARKS = ("$ ", "% ", "# ")  # what a shell puts before a command, in examples
YES, EDIT, NO = "y", "e", "n"


def answer_with_command(
    turn: AskTurn, console: Console, cancel: Cancel, preloaded: Preloaded | None
) -> int:
    """Let the model propose a command; print it, or on a terminal run it if the user agrees.

    Returns the exit code of the command, or 0 if none ran.

    Raises:
        TchatError: The reply holds no command.
    """
    replies: list[Finished] = []

    def collect(turn: AskTurn, settings: Settings, chat: Chat, console: Console) -> int:
        del settings
        replies.extend(_finished(turn, chat, console))
        return 0

    shell = user_shell(console.environ)
    answer(_instructed(turn, shell), console, cancel, preloaded, act=collect)
    if turn.request.usage:
        for reply in replies:
            console.say(usage_line(reply))
    if any(reply.reason is Reason.LENGTH for reply in replies):
        raise TchatError(
            tr("the proposed command was cut off, so it is not shown"),
            tr("say it in other words, or allow more with --max-tokens"),
        )
    command = "".join(proposed_command(reply.text) for reply in replies)
    if not command:
        raise TchatError(
            tr("the model proposed no command"),
            tr("say it in other words, or name a larger model with -m"),
        )
    if not (console.stdin_is_terminal and console.stdout_is_terminal):
        console.out(command)
        return 0
    agreed = _confirmed(console, command)
    return run_command(agreed, shell) if agreed else 0


def proposed_command(reply: str) -> str:
    """The command in a reply, safe to print; empty if there is none.

    It is the first line of the first code block, or of the reply; with the lines that continue it.
    """
    lines = [line.rstrip() for line in printable(reply).strip().splitlines()]
    opening = next((n for n, line in enumerate(lines) if line.lstrip().startswith(FENCE)), None)
    if opening is not None:
        lines = list(takewhile(lambda line: not line.startswith(FENCE), lines[opening + 1 :]))
    lines = [line for line in lines if line.strip()]
    while len(lines) > 1 and lines[0].startswith("#"):  # a comment above it
        del lines[0]
    continued = list(takewhile(lambda line: line.endswith("\\"), lines))
    command = "\n".join(lines[: len(continued) + 1]).strip()
    for mark in PROMPT_MARKS:
        command = command.removeprefix(mark)
    if len(command) > 2 and command[0] == command[-1] == "`" and "`" not in command[1:-1]:
        command = command[1:-1]
    return command.strip()


def run_command(command: str, shell: str) -> int:
    """Run ``command`` on this terminal, and return its exit code, as a shell gives it.

    Raises:
        UsageError: The shell cannot be started.
    """
    try:
        with _signals_for_the_command():
            code = subprocess.run([shell, "-c", command], check=False).returncode
    except OSError as error:
        raise shell_failure(shell, error) from error
    return shell_exit_code(code)


def require_command_flags(request: AskRequest) -> None:
    """Check that the other flags go with ``--cmd``.

    Raises:
        UsageError: One does not; names it.
    """
    others = {
        "--json": request.as_json,
        "--extract": request.extract,
        "--schema": request.schema,
        "--grammar": request.grammar,
        "--choose": request.choose,
        "--yes-no": request.yes_no,
        "--candidates": request.candidates,
        "--best-of": request.best_of,
    }
    if flag := next((flag for flag, given in others.items() if given), ""):
        raise UsageError(
            tr("{first} and {second} cannot be combined", first="--cmd", second=flag),
            tr("leave one out"),
        )


def _instructed(turn: AskTurn, shell: str) -> AskTurn:
    """The turn with what the model has to know, and settings for a short reply."""
    system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    asked = f"Reply with one command for {os.path.basename(shell)} on {system}, nothing else."  # noqa: PTH119
    settings = turn.settings
    sampling = replace(settings.sampling, stop=(*settings.sampling.stop, *STOPS))
    if sampling.max_tokens < 0:
        sampling = replace(sampling, max_tokens=MAX_TOKENS)
    settings = replace(settings, sampling=sampling)
    if not settings.system:
        settings = replace(settings, system="You write shell commands. " + asked)
    prompt = f"{turn.prompt}\n\n{asked}" if turn.prompt else asked
    return turn._replace(settings=settings, prompt=prompt)


def _finished(turn: AskTurn, chat: Chat, console: Console) -> Iterator[Finished]:
    """Iterate the reply with its progress on the terminal; yields its end."""
    progress = ReplyProgress(spoken=console.accessible)
    text = ""
    with TerminalStatus(console) as status:
        for event in chain(chat.load_model(), chat.send(turn.prompt, reply_prefix=REPLY_PREFIX)):
            progress.record(event)
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Notice):
                print_notice(console, status, event)
            elif isinstance(event, Finished):
                yield event
            if status.due:
                status.show(progress.words(text))


def _confirmed(console: Console, command: str) -> str:
    """The command to run, which the user may have edited; empty if none is to run."""
    while True:
        drop_typed_ahead(console)  # no answer to a command that was not there yet
        console.stderr.write(f"\n{_indented(command)}\n\n")
        question = tr("Run it? y runs it, e edits it, Enter or n leaves it:")
        try:
            word = ask_line(console, question).strip().lower()
        except UsageError:  # the end of the input
            return ""
        if word in (YES, "yes"):
            return command
        if word in ("", NO, "no", "q"):
            return ""
        if word in (EDIT, "edit"):
            command = printable(_edited(console, command)).strip() or command


def _indented(command: str) -> str:
    return "\n".join(f"  {line}" for line in command.split("\n"))


def _edited(console: Console, command: str) -> str:
    """What the user makes of ``command``; on a terminal with readline it is there to edit."""
    one_line = command.replace("\\\n", " ")
    try:
        import readline
    except ImportError:
        return ask_line(console, tr("Command:"))
    if console.stdin is not getattr(sys.stdin, "buffer", None):
        return ask_line(console, tr("Command:"))
    from tchat.cli.repl import read_line

    readline.set_startup_hook(lambda: readline.insert_text(one_line))
    try:
        return read_line(console, f"{tr('Command:')} ")
    except EOFError:
        return command
    finally:
        readline.set_startup_hook(None)


@contextmanager
def _signals_for_the_command() -> Iterator[None]:
    """Leave Ctrl-C to the command that runs, as a shell does."""

    def leave(*_: Any) -> None:
        """Nothing: an ignored signal would be ignored by the command too."""

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
