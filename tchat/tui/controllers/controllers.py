"""The controllers of the chat screen, and who is given whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tchat.tui.controllers.candidates import CandidatesController
from tchat.tui.controllers.commands import CommandController
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.draft import DraftController, PromptModeController
from tchat.tui.controllers.help import HelpController
from tchat.tui.controllers.messages import JudgeController, MessagesController
from tchat.tui.controllers.models import ModelsController
from tchat.tui.controllers.reply import ReplyController
from tchat.tui.controllers.sessions import SessionsController
from tchat.tui.controllers.settings import SettingsController
from tchat.tui.controllers.startup import StartupController
from tchat.tui.controllers.status import PendingPrompts, StatusController, TurnState
from tchat.tui.controllers.transcript import StorageController, TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.services.downloads import Downloads
from tchat.tui.widgets.prompt_draft import Draft


class Controllers:
    """All controllers of one chat screen.

    Args:
        context: What they share.
        settle: Called when a turn is over, or the session changed.
        submit: Called with what was sent before the sessions were open.
        on_switch: Called when another session is open.
    """

    def __init__(
        self,
        context: ChatContext,
        *,
        settle: Callable[[], Awaitable[None]],
        submit: Callable[[Draft], None],
        on_switch: Callable[[], None],
    ) -> None:
        state, queue = TurnState(), PendingPrompts(context)
        self.downloads = downloads = Downloads(context.paths)
        self.status = status = StatusController(context, state, downloads)
        self.transcript = transcript = TranscriptController(context, state)
        self.storage = storage = StorageController(context, transcript, status)
        reply = ReplyController(
            context, turn=state, transcript=transcript, storage=storage, status=status
        )
        self.turn = turn = TurnController(
            context,
            state=state,
            queue=queue,
            reply=reply,
            transcript=transcript,
            storage=storage,
            status=status,
            settle=settle,
        )
        self.candidates = candidates = CandidatesController(
            context, turn=turn, transcript=transcript, settle=settle
        )
        turn.observe(candidates)
        self.help = shown_help = HelpController(context)
        self.prompt_mode = prompt_mode = PromptModeController(
            context, turn=turn, transcript=transcript, key_name=shown_help.key_name
        )
        self.judge = judge = JudgeController(
            context, turn=turn, transcript=transcript, settle=settle
        )
        self.messages = messages = MessagesController(
            context,
            turn=turn,
            prompt_mode=prompt_mode,
            judge=judge,
            transcript=transcript,
            key_name=shown_help.key_name,
            settle=settle,
        )
        self.draft = counted = DraftController(
            context, turn=turn, prompt_mode=prompt_mode, candidates=candidates, status=status
        )
        self.sessions = sessions = SessionsController(
            context,
            turn=turn,
            transcript=transcript,
            storage=storage,
            on_switch=on_switch,
            settle=settle,
        )
        self.settings = changed = SettingsController(
            context,
            turn=turn,
            transcript=transcript,
            status=status,
            count_draft=counted.count,
        )
        self.models = models = ModelsController(
            context,
            turn=turn,
            settings=changed,
            transcript=transcript,
            status=status,
            downloads=downloads,
        )
        self.startup = StartupController(
            context,
            turn=state,
            queue=queue,
            sessions=sessions,
            models=models,
            transcript=transcript,
            status=status,
            submit=submit,
        )
        self.commands = CommandController(
            context,
            turn=turn,
            messages=messages,
            judge=judge,
            sessions=sessions,
            models=models,
            settings=changed,
            draft=counted,
            candidates=candidates,
            prompt_mode=prompt_mode,
            help=shown_help,
            transcript=transcript,
            submit=submit,
        )
