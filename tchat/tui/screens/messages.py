"""What can be done with one message: copy, edit, branch, delete, pin, flip, go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tchat.errors import TchatError, UsageError
from tchat.paths import Paths
from tchat.plural import counted
from tchat.sanitize import printable
from tchat.settings import Settings
from tchat.tui.background import background
from tchat.tui.screens.dialogs import Dialogs
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.sessions.records import Deletion, Message, Role
    from tchat.tui.services.conversation import Act
    from tchat.tui.widgets.transcript.view import Transcript

LEAVES = "Esc leaves it"


class PromptMode(NamedTuple):
    """What Enter does with the prompt instead of sending it as the next message.

    Attributes:
        told: Shown in the border of the prompt.
        act: From the text to what the engine shall do.
        prefill: The same for a reply that the model is to go on with; None where there is none.
        follows: The message that comes before it; None where none does.
        about: The message that is edited, or that the branch begins at.
    """

    told: str
    act: Callable[[str], Act]
    prefill: Callable[[str], Act] | None = None
    follows: int | None = None
    about: int | None = None


class Messages(Dialogs):
    """The part of the chat screen that acts on messages."""

    def __init__(self, settings: Settings, paths: Paths) -> None:
        super().__init__(settings, paths)
        self._prompt_mode: PromptMode | None = None
        self._aside: Draft | None = None  # the draft whose place an edit took
        self._deleted: list[Deletion] = []

    @background(group="message")
    async def on_transcript_action_requested(self, event: Transcript.ActionRequested) -> None:
        """Do what is asked for with a message."""
        if event.action == "retry":
            self.retry(event.key)
        elif event.action == "copy":
            await self.copy_entry(event.key)
        elif isinstance(event.key, int):
            try:
                await self._do(event.key, event.action)
            except TchatError as error:
                self.notify(str(error), severity="error", markup=False)

    async def _do(self, key: int, action: str) -> None:
        match action:
            case "edit":
                self.begin_edit(await self.conversation.message(key))
            case "branch":
                await self._begin_branch(key)
            case "regenerate":
                self.act(lambda chat: chat.regenerate(key))
            case "continue":
                self.act(lambda chat: chat.continue_reply(key))
            case "delete":
                await self.delete(key)
            case "pin":
                await self.pin(key)
            case "good" | "bad":
                await self.rate(key, 1 if action == "good" else -1)
            case "previous" | "next":
                await self._flip(key, -1 if action == "previous" else 1)

    # Copying

    async def copy_entry(self, key: int | str) -> None:
        """Copy a message as it is stored, without what acts on a terminal."""
        if isinstance(key, int):
            text = (await self.conversation.message(key)).text
        elif self.transcript.has(key):
            text = self.transcript.entry(key).text
        else:  # it is gone meanwhile
            return
        self.app.copy_to_clipboard(printable(text))

    async def copy_last_reply(self) -> None:
        """Copy the last reply."""
        from tchat.sessions.records import Role

        reply = await self._last(Role.ASSISTANT)
        if reply is None:
            self.notify("There is no reply yet.", markup=False)
        else:
            self.app.copy_to_clipboard(printable(reply.text))

    async def _last(self, role: Role | None = None) -> Message | None:
        """The last message on the active path, or the last of one role."""
        branch = await self.conversation.branch()
        return next((each for each in reversed(branch) if role in (None, each.role)), None)

    # Another prompt_mode of the prompt

    def begin_edit(self, message: Message) -> None:
        """Put a message into the prompt; what comes of it is a branch beside it."""
        from tchat.sessions.records import Role

        key = message.id
        self._set_aside()
        if message.role is Role.ASSISTANT:
            go_on = next(each for each in self.keys_in_force() if each.id == "chat.continue")
            self._take_up(
                PromptMode(
                    f"editing a reply · Enter keeps it · {go_on.shown} lets the model go on",
                    lambda text: lambda chat: chat.edit(key, text),
                    lambda text: lambda chat: chat.regenerate(key, prefill=text),
                    about=key,
                )
            )
        else:
            self._take_up(
                PromptMode(
                    "editing a message",
                    lambda text: lambda chat: chat.edit(key, text),
                    follows=message.parent_id,
                    about=key,
                )
            )
        self.prompt.load(message.text)

    async def _begin_branch(self, key: int) -> None:
        """Let the next prompt follow a reply, or stand beside a question, as a branch."""
        from tchat.sessions.records import Role

        message = await self.conversation.message(key)
        follows: int | None = key
        if message.role is Role.USER:
            follows = message.parent_id
            act: Callable[[str], Act] = lambda text: lambda chat: chat.edit(key, text)  # noqa: E731
        else:
            act = lambda text: lambda chat: chat.send(text, after=key)  # noqa: E731
        self._take_up(PromptMode("a new branch from here", act, follows=follows, about=key))

    def _take_up(self, prompt_mode: PromptMode) -> None:
        self._prompt_mode = prompt_mode
        self.prompt.mode = f"{prompt_mode.told} · {LEAVES}"
        self.transcript.leave()
        self.prompt.focus()

    @property
    def prompt_mode(self) -> PromptMode | None:
        """What the prompt is for; None for the next message."""
        return self._prompt_mode

    def leave_purpose(self) -> bool:
        """Let the prompt be for the next message again; whether it was for something else.

        The draft whose place an edit took comes back.
        """
        was, self._prompt_mode = self._prompt_mode, None
        aside, self._aside = self._aside, None
        self.prompt.mode = ""
        if aside is not None and aside.text.strip():
            self.prompt.give_back(aside)
        return was is not None

    def cancel_purpose(self) -> bool:
        """As `leave_purpose`; what was typed of an edit is dropped."""
        if self._aside is not None:
            self.prompt.load("")
        return self.leave_purpose()

    def _set_aside(self) -> None:
        """Keep the draft until the edit that takes its place is over."""
        if self._aside is None:
            self._aside = self.prompt.draft

    def send_for_purpose(self, draft: Draft) -> bool:
        """Do what the prompt is for with a draft; False when it is the next message."""
        if self._prompt_mode is None:
            return False
        self._submit_for(self._prompt_mode, draft, self._prompt_mode.act)
        return True

    def _submit_for(self, prompt_mode: PromptMode, draft: Draft, how: Callable[[str], Act]) -> None:
        edits = self._aside is not None

        def unsent(draft: Draft) -> None:
            if edits and self._aside is None:
                self._set_aside()
                self.prompt.load("")
            self._take_up(prompt_mode)
            self.prompt.give_back(draft)

        if not self.busy:
            self.leave_purpose()
        self.submit(draft, how, unsent=unsent)

    def action_go_on(self) -> None:
        """Let the model go on: with the reply being edited, or with the last one."""
        prompt_mode, draft = self._prompt_mode, self.prompt.draft
        if prompt_mode is None or prompt_mode.prefill is None:
            self.act(lambda chat: chat.continue_reply())
        elif not self.busy and not self.has_blank():
            self.prompt.load("")
            self._submit_for(prompt_mode, draft, prompt_mode.prefill)

    def prefill(self, text: str) -> None:
        """Write another reply to the last question, which begins with ``text``."""
        self.act(lambda chat: chat.regenerate(prefill=text))

    def forget_context(self) -> None:
        """Another session is open: edits and undos of the one before are over."""
        self.leave_purpose()
        self._deleted.clear()

    # Changing the tree

    async def delete(self, key: int) -> None:
        """Delete a message with all that follows; it can be undone."""
        if self.refuses():
            return
        deleted = await self.conversation.delete_message(key)
        self._deleted.append(deleted)
        if self._prompt_mode is not None and self._prompt_mode.about in {
            row["id"] for row in deleted.rows
        }:
            self.leave_purpose()
            self.notify("Its message is deleted; the draft is the next prompt now.", markup=False)
        await self.reload()
        undo = next(each for each in self.keys_in_force() if each.id == "chat.undo")
        said = counted(len(deleted.rows), "message")
        self.notify(f"Deleted {said}. {undo.shown} or /undo brings it back.", markup=False)
        await self.settled()

    async def delete_last(self) -> None:
        """Delete the last message."""
        last = await self._last()
        if last is None:
            raise UsageError("this session has no message yet", "send a prompt first")
        await self.delete(last.id)

    @background(group="message")
    async def action_undo_delete(self) -> None:
        """Bring back what was deleted last."""
        await self.undo_delete()

    async def undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted:
            self.notify("Nothing was deleted here.", markup=False)
            return
        if self.refuses():
            return
        deleted = self._deleted.pop()
        await self.conversation.restore_message(deleted)
        await self.reload()
        await self.settled()

    async def pin(self, key: int) -> None:
        """Keep a message, with its turn, in the context window; or let it leave like others."""
        pinned = not (await self.conversation.message(key)).pinned
        await self.conversation.pin(key, pinned)
        if self.transcript.has(key):
            self.transcript.update(replace(self.transcript.entry(key), pinned=pinned))
        await self.settled()

    async def rate(self, key: int, rating: int) -> None:
        """Call a reply good or bad; the same again takes it back. The judge learns from it."""
        from tchat.sessions.records import Role

        message = await self.conversation.message(key)
        if message.role is not Role.ASSISTANT:
            self.notify("Replies are rated, not prompts.", markup=False)
            return
        rating = 0 if message.rating == rating else rating
        await self.conversation.rate(key, rating)
        if self.transcript.has(key):
            self.transcript.update(replace(self.transcript.entry(key), rating=rating))
        await self.settled()

    async def rate_last(self, rating: int) -> None:
        """Call the last reply good or bad."""
        from tchat.sessions.records import Role

        reply = await self._last(Role.ASSISTANT)
        if reply is None:
            raise UsageError("there is no reply to rate yet", "send a prompt first")
        await self.rate(reply.id, rating)

    async def pin_last_question(self) -> None:
        """Pin the last prompt, or take its pin away."""
        from tchat.sessions.records import Role

        asked = await self._last(Role.USER)
        if asked is None:
            raise UsageError("there is no message to pin yet", "send a prompt first")
        await self.pin(asked.id)

    async def _flip(self, key: int, step: int) -> None:
        """Go to another sibling, and stay on it."""
        if self.refuses():
            return
        sibling = await self.conversation.flip(key, step)
        if sibling is not None:
            await self.reload()
            if self.transcript.has(sibling):
                self.transcript.point_at(sibling)
            await self.settled()
