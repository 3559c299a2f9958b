"""Shell commands of the chat: ``!COMMAND`` puts its output into the draft, once the user agrees."""

from __future__ import annotations

import asyncio
import threading

from tchat.sanitize import single_line
from tchat.translation import tr
from tchat.tui.controllers.context import ChatContext

QUICK = 0.4  # seconds within which a command ends that needs no notice


class ShellController:
    """Asks, runs one command at a time off the event loop, and stops it."""

    def __init__(self, context: ChatContext) -> None:
        self.screen = context.screen
        self._context = context
        self._stop: threading.Event | None = None

    async def run(self, command: str) -> bool:
        """Ask, and run ``command``; False when the user does not agree.

        Raises:
            UsageError: The shell cannot be started.
        """
        from tchat.chat.shell_output import run_bounded
        from tchat.tui.dialogs.dialog import Confirm

        question = Confirm(
            tr("Run this command? Its output goes into the draft."),
            command,
            yes=tr("Run"),
            no=tr("Cancel"),
        )
        if not await self.screen.app.push_screen_wait(question):
            return False
        self._stop = stop = threading.Event()
        work = asyncio.ensure_future(asyncio.to_thread(run_bounded, command, stop))
        try:
            await asyncio.wait([work], timeout=QUICK)
            if not work.done():
                key = self._context.key_name("chat.stop")
                name = single_line(command, 60)
                self._context.notify(
                    tr("`{command}` is running; {key} stops it.", command=name, key=key)
                )
            output = await work
        finally:
            stop.set()
            self._stop = None
        if output.notice:
            self._context.notify(output.notice, severity="warning")
        if not output.text.strip():
            self._context.notify(tr("The command wrote nothing."))
            return True
        prompt = self._context.prompt
        before = "\n\n" if prompt.draft.text.strip() else ""
        prompt.insert(f"{before}{output}\n\n")
        prompt.focus()
        return True

    def stop(self) -> bool:
        """Stop the command that runs; False when none does."""
        if self._stop is None:
            return False
        self._stop.set()
        return True
