"""What Enter does with the prompt: send it, edit a message, or begin a branch."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from tchat.sessions.records import Message, Role
from tchat.translation import tr
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.tui.services.conversation import DraftCall


class PromptMode(NamedTuple):
    """What Enter does with the prompt instead of sending it as the next message.

    Attributes:
        label: Shown in the border of the prompt.
        call: What Enter does with the chat.
        prefixed_call: The same for a reply that the model is to go on with; None for no reply.
        follows: The message that comes before it; None where none does.
        about: The message that is edited, or that the branch begins at.
    """

    label: str
    call: DraftCall
    prefixed_call: DraftCall | None = None
    follows: int | None = None
    about: int | None = None


class PromptModeController:
    """Edits messages and begins branches in the prompt."""

    def __init__(
        self, context: ChatContext, turn: TurnController, transcript: TranscriptController
    ) -> None:
        self.mode: PromptMode | None = None  # None for the next message
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._aside: Draft | None = None  # the draft whose place an edit took

    def edit(self, message: Message) -> None:
        """Put a message into the prompt; what comes of it is a branch beside it."""
        key = message.id
        self._set_aside()
        if message.role is Role.ASSISTANT:
            keep = self._context.key_name("prompt.send")
            go_on = self._context.key_name("chat.continue")
            self._enter(
                PromptMode(
                    tr(
                        "editing a reply · {keep} saves · {go_on} continues it",
                        keep=keep,
                        go_on=go_on,
                    ),
                    lambda chat, text: chat.edit(key, text),
                    lambda chat, text: chat.regenerate(key, reply_prefix=text),
                    about=key,
                )
            )
        else:
            self._enter(
                PromptMode(
                    tr("editing a message"),
                    lambda chat, text: chat.edit(key, text),
                    follows=message.parent_id,
                    about=key,
                )
            )
        self._context.prompt.load(message.text)

    def branch(self, message: Message) -> None:
        """Let the next prompt follow a reply, or stand beside a question, as a branch."""
        key = message.id
        follows: int | None = key
        if message.role is Role.USER:
            follows = message.parent_id
            call: DraftCall = lambda chat, text: chat.edit(key, text)  # noqa: E731
        else:
            call = lambda chat, text: chat.send(text, after=key)  # noqa: E731
        self._enter(PromptMode(tr("new branch from here"), call, follows=follows, about=key))

    def _enter(self, mode: PromptMode) -> None:
        self.mode = mode
        leave = tr("{key} cancels", key=self._context.key_name("chat.stop"))
        self._context.prompt.mode = f"{mode.label} · {leave}"
        self._transcript.view.leave()
        self._context.prompt.focus()

    def leave(self) -> bool:
        """Return the prompt to the next message; returns whether it was in another mode.

        The draft whose place an edit took comes back.
        """
        was, self.mode = self.mode, None
        aside, self._aside = self._aside, None
        self._context.prompt.mode = ""
        if aside is not None and aside.text.strip():
            self._context.prompt.give_back(aside)
        return was is not None

    def cancel(self) -> bool:
        """As `leave`, but drop the text of an edit."""
        if self._aside is not None:
            self._context.prompt.load("")
        return self.leave()

    def leave_deleted(self, deleted: Collection[int]) -> None:
        """Leave an edit or branch of a message that is deleted."""
        if self.mode is not None and self.mode.about in deleted:
            self.leave()
            self._context.notify(tr("The message was deleted; the draft is now a new prompt."))

    def _set_aside(self) -> None:
        """Keep the draft until the edit that takes its place is over."""
        if self._aside is None:
            self._aside = self._context.prompt.draft

    def submit(self, draft: Draft) -> bool:
        """Submit a draft in the prompt's mode; False when it is the next message."""
        if self.mode is None:
            return False
        self._submit(self.mode, draft, self.mode.call)
        return True

    def _submit(self, mode: PromptMode, draft: Draft, call: DraftCall) -> None:
        edits = self._aside is not None

        def unsent(draft: Draft) -> None:
            if edits and self._aside is None:
                self._set_aside()
                self._context.prompt.load("")
            self._enter(mode)
            self._context.prompt.give_back(draft)

        if not self._turn.is_busy:
            self.leave()
        self._turn.run_draft(draft, call, unsent=unsent)

    def continue_reply(self) -> None:
        """Continue the reply being edited, or the last one."""
        mode, draft = self.mode, self._context.prompt.draft
        if mode is None or mode.prefixed_call is None:
            self._turn.run(lambda chat: chat.continue_reply())
        elif not self._turn.is_busy and not self._context.select_blank():
            self._context.prompt.load("")
            self._submit(mode, draft, mode.prefixed_call)
