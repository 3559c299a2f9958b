"""What the slash commands do on the screen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

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
from tchat.tui.screens.messages import Messages
from tchat.tui.screens.telling import LONG

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Commands(Messages):
    """The part of the chat screen that carries out what begins with a slash."""

    @background(group="command")
    async def carry_out(self, call: CommandCall) -> None:
        """Do what was typed; what was mistyped is a passing notice, a failure stays to be read."""
        run: Callable[[str], Awaitable[None]] = getattr(self, f"_slash_{call.command.name}")
        try:
            await run(call.argument)
        except (UsageError, ModelNotFound) as error:
            self.notify(printable(str(error)), severity="error", timeout=LONG, markup=False)
        except TchatError as error:
            self.tell_error(error)

    async def _slash_help(self, _: str) -> None:
        self.action_help()

    async def _slash_new(self, _: str) -> None:
        await self.open_session(None)

    async def _slash_regen(self, _: str) -> None:
        self.act(lambda chat: chat.regenerate())

    async def _slash_good(self, _: str) -> None:
        await self.rate_last(1)

    async def _slash_bad(self, _: str) -> None:
        await self.rate_last(-1)

    async def _slash_continue(self, _: str) -> None:
        self.act(lambda chat: chat.continue_reply())

    async def _slash_edit(self, text: str) -> None:
        from tchat.sessions.records import Role

        asked = await self._last(Role.USER)
        if asked is None:
            raise UsageError("there is no message to edit yet", "send a prompt first")
        if text:
            self.act(lambda chat: chat.edit(asked.id, text))
        else:
            self.begin_edit(asked)

    async def _slash_prefill(self, text: str) -> None:
        if not text:
            raise UsageError("/prefill needs the begin of a reply", "for example /prefill Sure,")
        self.prefill(text)

    async def _slash_pin(self, _: str) -> None:
        await self.pin_last_question()

    async def _slash_delete(self, _: str) -> None:
        await self.delete_last()

    async def _slash_undo(self, _: str) -> None:
        await self.undo_delete()

    async def _slash_branches(self, _: str) -> None:
        self.action_tree()

    async def _slash_judge(self, _: str) -> None:
        self.action_judge()

    async def _slash_details(self, _: str) -> None:
        await self.run_action("details")

    async def _slash_copy(self, _: str) -> None:
        await self.copy_last_reply()

    async def _slash_file(self, name: str) -> None:
        if not name:
            raise UsageError("/file needs a path", "for example /file notes.md")
        await asyncio.to_thread(check_file, expand_user(name))
        draft = self.prompt.draft
        label = f"@{single_line(name)}"
        text = f"{draft.text} {label} ".lstrip()
        self.prompt.load(replace(draft, text=text, files=(*draft.files, (label, name))))

    async def _slash_prompt(self, name: str) -> None:
        if name:
            await self.insert_template(name)
        else:
            self.action_templates()

    async def _slash_system(self, text: str) -> None:
        if text:
            await self.conversation.change({"system": text})
            self.tell("The system prompt is set; what follows it is read again.")
            self.count_draft()
            return
        session = self.conversation.session
        system = session.system if session else self.conversation.settings.system
        self.tell(system or "There is no system prompt.")

    async def _slash_model(self, name: str) -> None:
        if name:
            await self.change({"model": name})
        else:
            self.action_model()

    async def _slash_set(self, argument: str) -> None:
        if not argument.partition(" ")[2].strip():
            raise UsageError("/set needs a name and a value", "for example /set temp 0.2")
        await self.change(parse_setting(argument, "/set"))

    async def _slash_show(self, name: str) -> None:
        shown = [find_key(name)] if name else list(keys().values())
        values = (
            f"{key.name} = {spell(key.value_in(self.conversation.settings))}" for key in shown
        )
        self.tell("\n".join(values))

    async def _slash_think(self, text: str) -> None:
        await self.change({"think": parse(find_key("think"), text or "on", "/think")})

    async def _slash_title(self, title: str) -> None:
        session = self.conversation.session
        if session is None:
            raise UsageError("this session has no message yet", "send a prompt first")
        if title:
            await self.conversation.rename(session.id, single_line(title))
            await self.refresh_sessions()
        else:
            self.tell(session.title)

    async def _slash_sessions(self, _: str) -> None:
        self.action_sessions()

    async def _slash_open(self, name: str) -> None:
        if not name:
            self.action_sessions()
            return
        await self.open_session(await self.desk.find(name))

    async def _slash_search(self, words: str) -> None:
        self.find_messages(words)

    async def _slash_export(self, name: str) -> None:
        session = self.conversation.session
        if session is None:
            raise UsageError("this session has no message yet", "send a prompt first")
        self.tell(f"Written to {await self.desk.export(session.id, name)}.")

    async def _slash_stats(self, _: str) -> None:
        from tchat.sessions.records import Role

        replies = [m for m in await self.conversation.branch() if m.role is Role.ASSISTANT]
        if not replies:
            raise UsageError("there is no reply yet", "send a prompt first")
        written = sum(m.usage.get("completion", 0) for m in replies)
        seconds = sum(m.timings.get("write", 0.0) for m in replies)
        read = sum(m.usage.get("read", 0) for m in replies)
        reused = sum(m.usage.get("reused", 0) for m in replies)
        rate = f", {counted(round(written / seconds), 'token')} a second" if seconds else ""
        count = counted(len(replies), "reply", "replies")
        self.tell(
            f"{count}: {counted(written, 'token')} written in {seconds:.1f} s{rate}; "
            f"{counted(read, 'token')} read, {reused:,} found in the KV cache"
        )

    async def _slash_private(self, _: str) -> None:
        await self.toggle_private()

    async def _slash_theme(self, name: str) -> None:
        if name:
            await self.choose_theme(name)
        else:
            self.action_theme()

    async def _slash_version(self, _: str) -> None:
        self.tell(f"tchat {__version__}")

    async def _slash_quit(self, _: str) -> None:
        await self.run_action("quit")
