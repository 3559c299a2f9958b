"""The controllers of the chat screen, how they are wired, and what concerns several of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from textual.actions import SkipAction

from tchat.chat.commands import CommandCall, Surface, commands_for, parse_input
from tchat.errors import UsageError
from tchat.translation import tr
from tchat.tui.controllers.candidates import CandidatesController
from tchat.tui.controllers.commands import CommandController
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.draft import DraftController
from tchat.tui.controllers.find import FindController
from tchat.tui.controllers.first_screen import FirstScreenController
from tchat.tui.controllers.help import HelpController
from tchat.tui.controllers.history import HistoryController
from tchat.tui.controllers.leader import LeaderController
from tchat.tui.controllers.lock import LockController
from tchat.tui.controllers.messages import MessagesController
from tchat.tui.controllers.models import ModelsController
from tchat.tui.controllers.other_windows import OtherWindowsController
from tchat.tui.controllers.prompt_mode import PromptModeController
from tchat.tui.controllers.reply import ReplyController
from tchat.tui.controllers.sessions import SessionsController
from tchat.tui.controllers.settings import SettingsController
from tchat.tui.controllers.startup import StartupController
from tchat.tui.controllers.titles import TitleController
from tchat.tui.controllers.tools import ToolsController
from tchat.tui.controllers.transcript import StorageController, TranscriptController
from tchat.tui.controllers.turn import TurnController
from tchat.tui.widgets.prompt_draft import Draft

TWICE = 2.0  # seconds within which a second Ctrl+C quits
TWICE_ESCAPE = 0.8  # seconds within which a second Esc edits the last question


class Controllers:
    """All controllers of one chat screen."""

    def __init__(self, context: ChatContext) -> None:
        context.settle = self._settle
        self._context = context
        self._interrupted = 0.0
        self._escaped = 0.0  # when Esc was pressed last with nothing to stop or leave
        self.transcript = transcript = TranscriptController(context)
        self.find = FindController(context, transcript)
        self.storage = storage = StorageController(context, transcript)
        reply = ReplyController(context, transcript, storage)
        self.turn = turn = TurnController(context, reply, transcript, storage)
        self.candidates = turn.follower = CandidatesController(context, turn, transcript)
        turn.guard = OtherWindowsController(context, turn, transcript)
        self.leader = LeaderController(context)
        self.history = HistoryController(context)
        self.prompt_mode = PromptModeController(context, turn, transcript)
        self.messages = MessagesController(context, turn, self.prompt_mode, transcript)
        self.draft = DraftController(context, turn, self.prompt_mode, self.candidates, transcript)
        self.sessions = SessionsController(context, turn, transcript, storage, self._leave_session)
        self.titles = TitleController(context, turn, self.candidates, self.sessions)
        self.settings = SettingsController(context, turn, transcript, self.draft.count)
        self.help = HelpController(context, self.settings.change, transcript.act_on_last)
        self.models = ModelsController(context, turn, self.settings, transcript)
        self.first_screen = FirstScreenController(
            context, self.sessions.open_by_id, self.models.pull_and_offer
        )
        self.models.on_download = self.first_screen.refresh
        self.tools = ToolsController(context, turn, self.settings)
        self.startup = StartupController(
            context,
            tools=self.tools,
            turn=turn,
            sessions=self.sessions,
            models=self.models,
            transcript=transcript,
            first_screen=self.first_screen,
            history=self.history,
            submit=self.submit,
        )
        self.lock = LockController(context, turn)
        self.actions = self._actions()  # of keys and commands, by the names in `KEYS`
        self.commands = CommandController(
            context,
            actions=self.actions,
            turn=turn,
            messages=self.messages,
            sessions=self.sessions,
            settings=self.settings,
            draft=self.draft,
            candidates=self.candidates,
            prompt_mode=self.prompt_mode,
            help=self.help,
            transcript=transcript,
            submit=self.submit,
            lock=self.lock.lock,
        )

    async def _settle(self) -> None:
        """A turn is over, or the session changed: refresh what depends on it."""
        self._context.status.refresh_model()
        self.find.refresh_keys()
        self.draft.count()
        self.draft.save_soon()
        self.titles.write_soon()
        await self.sessions.refresh_sidebar()
        self.first_screen.refresh()

    def _leave_session(self) -> None:
        """Another session is open: edits and undos of the one before are over."""
        self.prompt_mode.leave()
        self.messages.forget_deleted()

    def submit(self, draft: Draft) -> None:
        """Carry out a command, or send a prompt; behind a command that runs, at its end."""
        if self.commands.wait(draft):
            return
        try:
            parsed = parse_input(draft.full_text, commands_for(Surface.SCREEN))
        except UsageError as error:
            self._context.notify_error(error)
            self._context.prompt.give_back(draft)
            return
        self.history.remember(draft)
        if not self.turn.is_busy:
            self.candidates.close()
        if isinstance(parsed, CommandCall):
            self.commands.run(parsed, draft)
            return
        draft = draft if parsed == draft.full_text else Draft(parsed, files=draft.files)
        if not self.prompt_mode.submit(draft):
            self.turn.send(draft)

    def stop(self) -> None:
        """Leave an edit, else stop the reply; twice on an idle prompt, edit the last question."""
        now, before, self._escaped = time.monotonic(), self._escaped, 0.0
        if self.commands.stop_shell():
            return
        if self._is_idle():
            if now - before < TWICE_ESCAPE:
                self.messages.edit_last_question()
            else:
                self._escaped = now
            return
        if not self.candidates.is_open and self.prompt_mode.cancel():
            self._context.prompt.focus()
            return
        if self._context.is_ready:
            self.turn.queue.hold()
        if self.turn.is_busy:
            self.turn.stop()
            if self.candidates.is_open:
                return
        else:
            self.candidates.leave()
        self._context.prompt.focus()

    def _is_idle(self) -> bool:
        """Whether the prompt has the focus and is empty, and nothing can be stopped or left."""
        prompt = self._context.prompt
        can_stop = not self._context.is_ready or self.turn.is_busy or bool(self.turn.queue)
        can_leave = self.candidates.is_open or self.prompt_mode.mode is not None
        return prompt.has_focus_within and not (can_stop or can_leave or prompt.draft.text)

    def interrupt(self) -> bool:
        """Clear the prompt, else stop the reply; True when a second time asks to quit."""
        prompt, now = self._context.prompt, time.monotonic()
        if prompt.draft.text:
            prompt.load("")
        elif self.turn.is_busy:
            self.turn.queue.hold()
            self.turn.stop()
        elif now - self._interrupted < TWICE:
            self._interrupted = -TWICE  # after a question that is answered with no, twice again
            return True
        else:
            self._interrupted = now
            key = self._context.key_name("chat.interrupt")
            self._context.notify(tr("Press {key} again to quit.", key=key), timeout=TWICE)
        return False

    def _actions(self) -> Mapping[str, Callable[[], object]]:
        sessions, messages, transcript = self.sessions, self.messages, self.transcript
        return {
            "help": self.help.show_help,
            "manual": self.help.show_manual,
            "command_palette": self.help.show_palette,
            "templates": self.help.show_templates,
            "new_session": sessions.open_new,
            "sessions": sessions.find,
            "rename": sessions.edit_title,
            "search": partial(sessions.find, full_text=True),
            "find": self.find.open_anywhere,
            "sidebar": sessions.toggle_sidebar,
            "tree": sessions.show_tree,
            "private": sessions.switch_private,
            "model": self.models.show_picker,
            "settings": self.settings.show_dialog,
            "theme": self.settings.show_themes,
            "details": self.settings.toggle_details,
            "judge": messages.show_judge,
            "try": self.candidates.begin,
            "go_on": self.prompt_mode.continue_reply,
            "copy_reply": messages.copy_last_reply,
            "undo_delete": messages.undo_delete,
            "reasoning": messages.toggle_reasoning,
            "message_up": partial(transcript.move_cursor, -1),
            "message_down": partial(transcript.move_cursor, 1),
            "page_up": partial(self._scroll, -1),
            "page_down": partial(self._scroll, 1),
            "top": self._scroll_to_top,
            "end": self._follow_end,
            "regenerate": self._regenerate,
            "history": self.history.search,
            "export": self.sessions.export,
            "leader": self.leader.begin,
            "tools": self.tools.show_dialog,
            "servers": self.tools.show_servers,
            "lock": self.lock.try_lock,
        }

    def _regenerate(self) -> None:
        """Do again what failed, or write another reply to the last message."""
        if not self.transcript.retry_last():
            self.turn.run(lambda chat: chat.regenerate())

    def _scroll(self, pages: int) -> None:
        """Scroll the messages, wherever the focus is; in the side bar its list moves."""
        self._skip_in_sidebar()
        if self.candidates.scroll(pages):
            return
        if pages < 0:
            self.transcript.view.action_page_up()
        else:
            self.transcript.view.action_page_down()

    def _scroll_to_top(self) -> None:
        self._skip_in_sidebar()
        self.transcript.view.action_scroll_home()

    def _follow_end(self) -> None:
        self._skip_in_sidebar()
        self.transcript.view.follow()

    def _skip_in_sidebar(self) -> None:
        if self.sessions.is_in_sidebar:
            raise SkipAction
