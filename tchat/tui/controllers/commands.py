"""What the slash commands do on the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tchat import __version__
from tchat.chat.attachments import check_file, expand_user
from tchat.chat.commands import CommandCall
from tchat.chat.session_settings import parse_setting
from tchat.errors import ModelNotFound, TchatError, UsageError
from tchat.plural import counted
from tchat.sanitize import printable, single_line
from tchat.settings import find_key, keys, spell
from tchat.settings.coerce import parse
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.draft import DraftController
from tchat.tui.controllers.help import HelpController
from tchat.tui.controllers.judge import JudgeController
from tchat.tui.controllers.messages import MessagesController
from tchat.tui.controllers.models import ModelsController
from tchat.tui.controllers.sessions import SessionsController
from tchat.tui.controllers.settings import SettingsController
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import LONG, TurnController


class CommandController:
    """Carries out what begins with a slash; each command has the method ``_slash_NAME``."""

    def __init__(
        self,
        context: ChatContext,
        *,
        turn: TurnController,
        messages: MessagesController,
        judge: JudgeController,
        sessions: SessionsController,
        models: ModelsController,
        settings: SettingsController,
        draft: DraftController,
        help: HelpController,  # noqa: A002  as the screen calls it
        transcript: TranscriptController,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._messages = messages
        self._judge = judge
        self._sessions = sessions
        self._models = models
        self._settings = settings
        self._draft = draft
        self._help = help
        self._transcript = transcript

    @background(group="command")
    async def run(self, call: CommandCall) -> None:
        """Do what was typed; what was mistyped is a passing notice, a failure stays to be read."""
        run: Callable[[str], Awaitable[None]] = getattr(self, f"_slash_{call.command.name}")
        try:
            await run(call.argument)
        except (UsageError, ModelNotFound) as error:
            self._context.notify(printable(str(error)), severity="error", timeout=LONG)
        except TchatError as error:
            self._transcript.show_error(error)

    async def _slash_help(self, _: str) -> None:
        self._help.show_help()

    async def _slash_new(self, _: str) -> None:
        await self._sessions.open(None)

    async def _slash_regen(self, _: str) -> None:
        self._turn.run(lambda chat: chat.regenerate())

    async def _slash_good(self, _: str) -> None:
        await self._judge.rate_last(1)

    async def _slash_bad(self, _: str) -> None:
        await self._judge.rate_last(-1)

    async def _slash_continue(self, _: str) -> None:
        self._turn.run(lambda chat: chat.continue_reply())

    async def _slash_edit(self, text: str) -> None:
        await self._messages.edit_last(text)

    async def _slash_prefill(self, text: str) -> None:
        if not text:
            raise UsageError("/prefill needs the begin of a reply", "for example /prefill Sure,")
        self._turn.run(lambda chat: chat.regenerate(prefill=text))

    async def _slash_pin(self, _: str) -> None:
        await self._messages.pin_last_question()

    async def _slash_delete(self, _: str) -> None:
        await self._messages.delete_last()

    async def _slash_undo(self, _: str) -> None:
        await self._messages.undo_delete()

    async def _slash_branches(self, _: str) -> None:
        self._sessions.show_tree()

    async def _slash_judge(self, _: str) -> None:
        self._judge.show_dialog()

    async def _slash_details(self, _: str) -> None:
        await self._settings.toggle_details()

    async def _slash_copy(self, _: str) -> None:
        await self._messages.copy_last_reply()

    async def _slash_file(self, name: str) -> None:
        if not name:
            raise UsageError("/file needs a path", "for example /file notes.md")
        await asyncio.to_thread(check_file, expand_user(name))
        draft = self._context.prompt.draft
        label = f"@{single_line(name)}"
        text = f"{draft.text} {label} ".lstrip()
        files = (*draft.files, (label, name))
        self._context.prompt.load(replace(draft, text=text, files=files))

    async def _slash_prompt(self, name: str) -> None:
        if name:
            await self._help.insert_template(name)
        else:
            self._help.show_templates()

    async def _slash_system(self, text: str) -> None:
        conversation = self._context.conversation
        if text:
            await conversation.change({"system": text})
            self._transcript.show_notice("The system prompt is set; what follows it is read again.")
            self._draft.count()
            return
        session = conversation.session
        system = session.system if session else conversation.settings.system
        self._transcript.show_notice(system or "There is no system prompt.")

    async def _slash_model(self, name: str) -> None:
        if name:
            await self._settings.change({"model": name})
        else:
            self._models.show_picker()

    async def _slash_set(self, argument: str) -> None:
        if not argument.partition(" ")[2].strip():
            raise UsageError("/set needs a name and a value", "for example /set temp 0.2")
        await self._settings.change(parse_setting(argument, "/set"))

    async def _slash_show(self, name: str) -> None:
        shown = [find_key(name)] if name else list(keys().values())
        settings = self._context.settings
        self._transcript.show_notice(
            "\n".join(f"{key.name} = {spell(key.value_in(settings))}" for key in shown)
        )

    async def _slash_think(self, text: str) -> None:
        value = parse(find_key("think"), text or "on", "/think")
        await self._settings.change({"think": value})

    async def _slash_title(self, title: str) -> None:
        session = self._context.conversation.session
        if session is None:
            raise UsageError("this session has no message yet", "send a prompt first")
        if title:
            await self._context.conversation.rename(session.id, single_line(title))
            await self._sessions.refresh_sidebar()
        else:
            self._transcript.show_notice(session.title)

    async def _slash_sessions(self, _: str) -> None:
        self._sessions.find()

    async def _slash_open(self, name: str) -> None:
        if name:
            await self._sessions.open(await self._context.sessions.find(name))
        else:
            self._sessions.find()

    async def _slash_search(self, words: str) -> None:
        self._sessions.find(full_text=True, query=words)

    async def _slash_export(self, name: str) -> None:
        session = self._context.conversation.session
        if session is None:
            raise UsageError("this session has no message yet", "send a prompt first")
        written = await self._context.sessions.export(session.id, name)
        self._transcript.show_notice(f"Written to {written}.")

    async def _slash_stats(self, _: str) -> None:
        from tchat.sessions.records import Role

        branch = await self._context.conversation.branch()
        replies = [each for each in branch if each.role is Role.ASSISTANT]
        if not replies:
            raise UsageError("there is no reply yet", "send a prompt first")
        written = sum(each.usage.get("completion", 0) for each in replies)
        seconds = sum(each.timings.get("write", 0.0) for each in replies)
        read = sum(each.usage.get("read", 0) for each in replies)
        reused = sum(each.usage.get("reused", 0) for each in replies)
        rate = f", {counted(round(written / seconds), 'token')} a second" if seconds else ""
        count = counted(len(replies), "reply", "replies")
        self._transcript.show_notice(
            f"{count}: {counted(written, 'token')} written in {seconds:.1f} s{rate}; "
            f"{counted(read, 'token')} read, {reused:,} found in the KV cache"
        )

    async def _slash_private(self, _: str) -> None:
        await self._sessions.toggle_private()

    async def _slash_theme(self, name: str) -> None:
        if name:
            await self._settings.set_theme(name)
        else:
            self._settings.show_themes()

    async def _slash_version(self, _: str) -> None:
        self._transcript.show_notice(f"tchat {__version__}")

    async def _slash_quit(self, _: str) -> None:
        await self.screen.run_action("quit")
