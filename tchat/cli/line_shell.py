"""``!COMMAND`` in a chat on lines: a shell command that runs after a yes."""

from __future__ import annotations

from threading import Event

from tchat.chat.shell_output import ShellOutput, run_bounded
from tchat.cli.console import Console, ask_yes_no
from tchat.errors import UsageError
from tchat.translation import tr


def run_confirmed(console: Console, command: str) -> ShellOutput | None:
    """Run ``command`` after a yes, until it ends or Ctrl-C; None where there is no output.

    Raises:
        UsageError: There is no terminal to ask on, or the shell cannot be started.
    """
    if not console.stdin_is_terminal:
        raise UsageError(
            tr("a shell command needs a terminal, where it is confirmed"),
            tr("!!{command} sends the line as text", command=command),
        )
    if not ask_yes_no(console, [f"  {command}"], tr("Run this command?")):
        return None
    output = run_bounded(command, Event(), console.environ)
    if output.notice:
        console.notice(output.notice)
    if not output.text.strip():
        console.say(tr("The command wrote nothing."))
        return None
    return output
