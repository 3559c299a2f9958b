"""Actions on one message, ratings included; and the judge's dialog."""

from __future__ import annotations

from dataclasses import replace

from tchat.errors import TchatError
from tchat.sanitize import printable
from tchat.sessions.records import Deletion, Role, Session
from tchat.translation import tr, trn
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.prompt_mode import PromptModeController
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController

OF_STEPS = ("continue", "delete", "previous", "next")  # actions on the result of a tool


class MessagesController:
    """Acts on the messages of the session."""

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        prompt_mode: PromptModeController,
        transcript: TranscriptController,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._prompt_mode = prompt_mode
        self._transcript = transcript
        self._deleted: list[Deletion] = []

    @background(group="message")
    async def act_on(self, key: int | str, action: str) -> None:
        """Do what is asked for with an entry of the transcript."""
        if action == "retry":
            self._transcript.retry(key)
        elif action == "stop":
            if self._is_written(key):
                self._turn.stop()
        elif action == "copy":
            await self._copy(key)
        elif isinstance(key, int) and not (self._is_written(key) and self._turn.reject_if_busy()):
            try:
                await self._act_on_message(key, action)
            except TchatError as error:
                self._context.notify_error(error)

    def _is_written(self, key: int | str) -> bool:
        view = self._transcript.view
        return view.has(key) and view.entry(key).status == "streaming"

    async def _act_on_message(self, key: int, action: str) -> None:
        view = self._transcript.view
        if view.has(key) and view.entry(key).step is not None and action not in OF_STEPS:
            self._context.notify(
                tr("A step can be unfolded, copied, continued behind, and deleted, no more.")
            )
            return
        match action:
            case "edit":
                self._prompt_mode.edit(await self._context.messages.message(key))
            case "branch":
                self._prompt_mode.branch(await self._context.messages.message(key))
            case "regenerate":
                self._turn.run(lambda chat: chat.regenerate(key))
            case "continue":
                self._turn.run(lambda chat: chat.continue_reply(key))
            case "delete":
                await self.delete(key)
            case "pin":
                pinned = (await self._context.messages.message(key)).pinned
                await self.set_pin(key, not pinned)
            case "good" | "bad":
                await self.rate(key, 1 if action == "good" else -1)
            case "previous" | "next":
                await self._flip(key, -1 if action == "previous" else 1)

    @background(group="message")
    async def edit_last_question(self) -> None:
        """Put the last question into the prompt; what comes of it is a branch beside it."""
        branch = await self._context.messages.branch()
        last = next((each for each in reversed(branch) if each.role is Role.USER), None)
        if last is not None and not self._turn.is_busy:
            self._prompt_mode.edit(last)

    # Copying

    async def _copy(self, key: int | str) -> None:
        """Copy a message as it is stored, or as far as it came, without what acts on a terminal."""
        if isinstance(key, int) and not self._is_written(key):
            text = (await self._context.messages.message(key)).text
        elif self._transcript.view.has(key):
            text = self._transcript.view.entry(key).text
        else:  # it is gone meanwhile
            return
        self.screen.app.copy_to_clipboard(printable(text))

    async def copy_last_reply(self) -> None:
        """Copy the last reply."""
        branch = await self._context.messages.branch()
        replies = (each for each in reversed(branch) if each.role is Role.ASSISTANT)
        reply = next((each for each in replies if each.text or not each.tool_calls), None)
        if reply is None:
            self._context.notify(tr("There is no reply yet."))
        else:
            self.screen.app.copy_to_clipboard(printable(reply.text))

    @background(group="dialog", exclusive=True)
    async def open_link(self, url: str) -> None:
        """Open a link after showing where it leads."""
        from tchat.tui.dialogs.dialog import Confirm

        app = self.screen.app
        if await app.push_screen_wait(Confirm(tr("Open this address?"), url, yes=tr("Open"))):
            app.open_url(url)

    # Deleting

    async def delete(self, key: int) -> None:
        """Delete a message with all that follows; it can be undone."""
        if self._turn.reject_if_busy():
            return
        deleted = await self._context.messages.delete_message(key)
        self._deleted.append(deleted)
        self._prompt_mode.leave_deleted({row["id"] for row in deleted.rows})
        await self._transcript.reload()
        self._context.notify(
            trn(
                "Deleted {count:,} message. {key} or /undo brings it back.",
                "Deleted {count:,} messages. {key} or /undo brings them back.",
                len(deleted.rows),
                key=self._context.key_name("chat.undo-delete"),
            )
        )
        await self._context.settle()

    async def undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted:
            self._context.notify(tr("Nothing was deleted here."))
            return
        if self._turn.reject_if_busy():
            return
        deleted = self._deleted.pop()
        await self._context.messages.with_store(lambda store: store.restore(deleted))
        await self._transcript.reload()
        await self._context.settle()

    async def show_rewritten(self, session: Session) -> None:
        """Show the texts that the open session has now; those from before are forgotten."""
        self._context.conversation.show_stored(session)
        self._deleted.clear()
        await self._context.messages.forget(session.id)
        await self._transcript.reload()
        await self._context.settle()

    def forget_deleted(self) -> None:
        """Another session is open: deletions in the previous one are final."""
        self._deleted.clear()

    # Pinning

    async def set_pin(self, key: int, pinned: bool) -> None:
        """Keep a message, with its turn, in the context window, or let it leave like others."""
        await self._context.messages.with_store(lambda store: store.pin(key, pinned))
        if self._transcript.view.has(key):
            entry = self._transcript.view.entry(key)
            self._transcript.view.update(replace(entry, pinned=pinned))
            self._context.status.pins += pinned - entry.pinned
        await self._context.settle()

    # Looking

    async def _flip(self, key: int, step: int) -> None:
        """Go to another sibling, and stay on it."""
        if self._turn.reject_if_busy():
            return
        sibling = await self._context.messages.flip(key, step)
        if sibling is not None:
            await self._transcript.reload()
            if self._transcript.view.has(sibling):
                self._transcript.view.point_at(sibling)
            await self._context.settle()

    async def toggle_reasoning(self) -> None:
        """Fold or unfold the reasoning of the last reply that has any."""
        branch = await self._context.messages.branch()
        last = next((each for each in reversed(branch) if each.reasoning), None)
        if last is not None and self._transcript.view.has(last.id):
            self._transcript.view.toggle_reasoning(last.id)

    # Rating

    async def rate(self, key: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1); the same again takes it back."""
        message = await self._context.messages.message(key)
        if message.role is not Role.ASSISTANT:
            self._context.notify(tr("Only replies can be rated."))
            return
        await self.set_rating(key, 0 if message.rating == rating else rating)

    async def set_rating(self, key: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1), or neither (0)."""
        view = self._transcript.view
        await self._context.messages.with_store(lambda store: store.rate(key, rating))
        if view.has(key):
            view.update(replace(view.entry(key), rating=rating))
        await self._context.settle()

    @background(group="dialog", exclusive=True)
    async def show_judge(self) -> None:
        """Show what the judge learnt, train it, play the game."""
        from tchat.tui.dialogs.judge import JudgeScreen

        if not self._turn.reject_if_busy():
            await self.screen.app.push_screen_wait(JudgeScreen(self._context.conversation))
