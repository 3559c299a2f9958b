"""What Enter does with the prompt: the next message, an edit, or a branch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.prompt_draft import Draft

if TYPE_CHECKING:
    from tchat.sessions.records import Message
    from tchat.tui.services.conversation import Act

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


class PromptModeController:
    """Edits messages and begins branches in the prompt.

    Args:
        context: The open chat.
        turn: Sends what was typed.
        transcript: The messages.
        key_name: From the id of an action to the key that does it.

    Attributes:
        mode: The one in force; None for the next message.
    """

    def __init__(
        self,
        context: ChatContext,
        *,
        turn: TurnController,
        transcript: TranscriptController,
        key_name: Callable[[str], str],
    ) -> None:
        self.mode: PromptMode | None = None
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._key_name = key_name
        self._aside: Draft | None = None  # the draft whose place an edit took

    def edit(self, message: Message) -> None:
        """Put a message into the prompt; what comes of it is a branch beside it."""
        from tchat.sessions.records import Role

        key = message.id
        self._set_aside()
        if message.role is Role.ASSISTANT:
            go_on = self._key_name("chat.continue")
            self._enter(
                PromptMode(
                    f"editing a reply · Enter keeps it · {go_on} lets the model continue",
                    lambda text: lambda chat: chat.edit(key, text),
                    lambda text: lambda chat: chat.regenerate(key, prefill=text),
                    about=key,
                )
            )
        else:
            self._enter(
                PromptMode(
                    "editing a message",
                    lambda text: lambda chat: chat.edit(key, text),
                    follows=message.parent_id,
                    about=key,
                )
            )
        self._context.prompt.load(message.text)

    def branch(self, message: Message) -> None:
        """Let the next prompt follow a reply, or stand beside a question, as a branch."""
        from tchat.sessions.records import Role

        key = message.id
        follows: int | None = key
        if message.role is Role.USER:
            follows = message.parent_id
            act: Callable[[str], Act] = lambda text: lambda chat: chat.edit(key, text)  # noqa: E731
        else:
            act = lambda text: lambda chat: chat.send(text, after=key)  # noqa: E731
        self._enter(PromptMode("a new branch from here", act, follows=follows, about=key))

    def _enter(self, mode: PromptMode) -> None:
        self.mode = mode
        self._context.prompt.mode = f"{mode.told} · {LEAVES}"
        self._transcript.view.leave()
        self._context.prompt.focus()

    def leave(self) -> bool:
        """Let the prompt be for the next message again; whether it was for something else.

        The draft whose place an edit took comes back.
        """
        was, self.mode = self.mode, None
        aside, self._aside = self._aside, None
        self._context.prompt.mode = ""
        if aside is not None and aside.text.strip():
            self._context.prompt.give_back(aside)
        return was is not None

    def cancel(self) -> bool:
        """As `leave`; what was typed of an edit is dropped."""
        if self._aside is not None:
            self._context.prompt.load("")
        return self.leave()

    def leave_deleted(self, deleted: Collection[int]) -> None:
        """Leave an edit or branch of a message that is deleted."""
        if self.mode is not None and self.mode.about in deleted:
            self.leave()
            self._context.notify("The message was deleted; the draft is now a new prompt.")

    def _set_aside(self) -> None:
        """Keep the draft until the edit that takes its place is over."""
        if self._aside is None:
            self._aside = self._context.prompt.draft

    def submit(self, draft: Draft) -> bool:
        """Do what the prompt is for with a draft; False when it is the next message."""
        if self.mode is None:
            return False
        self._submit(self.mode, draft, self.mode.act)
        return True

    def _submit(self, mode: PromptMode, draft: Draft, how: Callable[[str], Act]) -> None:
        edits = self._aside is not None

        def unsent(draft: Draft) -> None:
            if edits and self._aside is None:
                self._set_aside()
                self._context.prompt.load("")
            self._enter(mode)
            self._context.prompt.give_back(draft)

        if not self._turn.is_busy:
            self.leave()
        self._turn.submit(draft, how, unsent=unsent)

    def continue_reply(self) -> None:
        """Let the model go on: with the reply being edited, or with the last one."""
        mode, draft = self.mode, self._context.prompt.draft
        if mode is None or mode.prefill is None:
            self._turn.run(lambda chat: chat.continue_reply())
        elif not self._turn.is_busy and not self._context.select_blank():
            self._context.prompt.load("")
            self._submit(mode, draft, mode.prefill)
