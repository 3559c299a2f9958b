"""The chat of the REPL: its session, its model, and its side of the slash commands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

from tchat.chat.commands import CommandDialog, Surface
from tchat.chat.commands.command import message_line, said_by
from tchat.chat.mcp_servers import ChatServers
from tchat.chat.session import SessionState, resume_command, usable_settings
from tchat.cli.cells import wrapped
from tchat.cli.chat_setup import (
    AskRequest,
    check_settings,
    fill_template,
    open_chat,
    require_valid_settings,
    start_loading,
)
from tchat.cli.console import Console, ask_yes_no
from tchat.cli.mcp_host import LineMcpHost
from tchat.cli.output.reply import OutputOptions, ReplyOutput
from tchat.cli.output.status import terminal_width
from tchat.cli.type_ahead import hidden_typing
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.engine.events import Event, Ranked, TextDelta
from tchat.errors import Abandoned, Interrupted, StorageError, UsageError
from tchat.paths import Paths, is_directory
from tchat.sanitize import printable, single_line
from tchat.settings import Settings, Value, needs_loading, with_values
from tchat.settings.keys import renamed_theme
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.chat.chat import Chat
    from tchat.chat.templates import PromptTemplate
    from tchat.chat.tool_loop import ChatTools
    from tchat.sessions.records import Deletion, Message, Session
    from tchat.sessions.store import SessionStore, Store
    from tchat.tools.mcp.servers import McpServers

T = TypeVar("T")

RECENT = 50  # messages among which the last question and its answer are, steps between them


class LineChat:
    """The `CommandHost` of the REPL; none of its methods suspends.

    Attributes:
        session_state: The settings and the store of the open session.
        candidate_ids: The replies that were written side by side last, in the order printed.
        listed_sessions: Ids of the sessions that were listed last, in the order printed.
        refused: How many calls of tools were refused as nobody could be asked.
        ended: Whether the user asked to end the chat.
    """

    surface = Surface.LINES

    def __init__(
        self, console: Console, request: AskRequest, store: SessionStore, settings: Settings
    ) -> None:
        self.console = console
        self.session_state = SessionState(settings, store)
        self.candidate_ids: list[int] = []
        self.listed_sessions: list[str] = []
        self.refused = 0
        self.ended = False
        self._cancel = Cancel()
        self._attached: list[str] = []
        self._deleted: list[Deletion] = []
        self._request = request
        self._details = request.usage
        self._joined_chat: Chat | None = None
        self._mcp_host = LineMcpHost(console, self._cancel)
        self._servers = ChatServers(self.paths, self._mcp_host)
        self._named_tools: set[str] = set()

    # The session and the model

    @property
    def paths(self) -> Paths:
        """The user's folders."""
        return self.console.paths

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.session_state.settings

    @property
    def settings_for_model(self) -> Settings:
        """The settings with what the open model recommends, and what is set for it."""
        chat = self._joined_chat
        return chat.settings_for_model if chat is not None else self.settings

    @property
    def session(self) -> Session | None:
        """The open session."""
        return self._chat.session

    @property
    def _chat(self) -> Chat:
        if self._joined_chat is None:
            self._join(None)
        assert self._joined_chat is not None  # noqa: S101 - `_join` made it
        return self._joined_chat

    def resume(self, session: Session | None, model: str) -> None:
        """Begin with ``model`` in ``session``, or in a new one; the flags hold there too."""
        with self.session_state.switch(session, model=model, typed=self._request.settings):
            self._join(session)

    def _join(self, session: Session | None, *, keep_model: bool = False) -> None:
        """Join the session to the model; a model that is not kept loads during the first line."""
        model = self._joined_chat.release_model() if self._joined_chat and keep_model else None
        self._free_model()
        self._cancel.clear()
        state = self.session_state
        preloaded = None if model else start_loading(state.settings, self.console, self._cancel)
        self._joined_chat = open_chat(
            state.settings,
            self.console,
            state.store,
            session,
            self._cancel,
            preloaded=preloaded,
            model=model,
        )
        self._mcp_host.chat = self._joined_chat
        self._joined_chat.session_overrides = state.session_overrides
        self._open_tools(self._joined_chat)
        if session is not None:
            self._show_unfinished(session)

    def _open_tools(self, chat: Chat, before: ChatTools | None = None) -> None:
        """Give the model the tools that are on; where one is not there, none, and tell why."""
        chat.tools = None
        if not self.settings.tools.enabled:
            return
        from tchat.cli.chat_tools import open_chat_tools

        try:
            chat.tools = open_chat_tools(
                self._request,
                self.settings,
                self.console,
                store=self.session_state.persistent,
                cancel=self._cancel,
                servers=self._servers,
                is_private=self.session_state.is_private,
                named=self._named_tools,
                before=before,
            )
        except UsageError as error:
            self.show(tr("Tools are off: {error}", error=error))

    def close(self) -> None:
        """Free the model, and end the MCP servers."""
        self._free_model()
        self._servers.close()

    def _free_model(self) -> None:
        if self._joined_chat is not None:
            self._joined_chat.close()
            self._joined_chat = None

    def _show_unfinished(self, session: Session) -> None:
        branch = self.session_state.store.branch(session.id, 1)
        status = branch[-1].status if branch else ""
        if status == "stopped":
            self.show(tr("The last reply was stopped; /continue resumes it."))
        elif status == "interrupted":
            self.show(tr("The last reply was interrupted; /continue resumes it."))

    async def open_session(self, session: Session | None) -> None:
        """Go on in a session with its own settings, or in a new one without any."""
        self._confirm_leaving()
        for line in usable_settings(session.settings)[1] if session else ():
            self.show(line)
        was_private = self.session_state.is_private
        self._switch(session)
        if session is not None:
            if was_private and not self.session_state.is_private:
                self.show(tr("Sessions are stored again."))
            recent = self.session_state.store.branch(session.id, RECENT)
            said = [each for each in recent if each.role != "tool" and each.text]
            for message in said[-2:]:
                self.show(message_line(message))

    async def toggle_private(self) -> None:
        """Begin a session that is not stored, or one that is."""
        self.session_state.require_stored_sessions()
        self._confirm_leaving()
        private = not self.session_state.is_private
        self._switch(None, private=private)
        self.show(
            tr("Private: nothing of this session is stored.")
            if private
            else tr("Sessions are stored again.")
        )

    def _confirm_leaving(self) -> None:
        """On a terminal, ask before a private session with messages is left: it is gone then."""
        if not (
            self.session_state.is_lost_when_left(self.session) and self.console.stdin_is_terminal
        ):
            return
        lines = [tr("The messages of this private session are stored nowhere.")]
        if ask_yes_no(self.console, lines, tr("Leave it and lose them?")) is False:
            raise UsageError(tr("nothing was changed"))

    def _switch(self, session: Session | None, *, private: bool | None = None) -> None:
        """Go on in another session, with the model in use."""
        self.candidate_ids.clear()
        self._deleted.clear()
        before = self.settings
        with self.session_state.switch(session, model=before.model, private=private):
            self._join(session, keep_model=not needs_loading(before, self.settings))

    # Output

    def show(self, text: str = "") -> None:
        """Write lines for the user: on a terminal beside the chat, else to standard error."""
        terminal = self.console.stdout_is_terminal
        stream = self.console.stdout if terminal else self.console.stderr
        shown = printable(text)
        stream.write((wrapped(shown, terminal_width()) if terminal else shown) + "\n")
        stream.flush()

    def acknowledge(self, text: str) -> None:
        """Write what was done."""
        self.show(text)

    def open_dialog(self, dialog: CommandDialog, query: str = "") -> bool:  # noqa: ARG002
        """There are no dialogs."""
        return False

    async def confirm(self, question: str, lines: Sequence[str]) -> bool:
        """Ask; the next line is the answer."""
        return bool(ask_yes_no(self.console, [f"  {line}" for line in lines], question))

    async def copy(self, text: str) -> None:
        """Copy ``text`` by the system's tool, or through the terminal."""
        from tchat.tui.terminal import copy

        if not self.console.stdout_is_terminal:
            raise UsageError(tr("/copy needs a terminal"), tr("/export writes the chat to a file"))
        used = copy(printable(text), self._write_osc52, self.console.environ)
        if not used:
            raise UsageError(
                tr("the reply is too long to copy"), tr("/export writes the chat to a file")
            )
        self.show(tr("Copied with {used}.", used=used))

    def _write_osc52(self, text: str) -> None:
        import base64

        encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
        self.console.stdout.write(f"\x1b]52;c;{encoded}\a")
        self.console.stdout.flush()

    # Stored data

    async def read(self, work: Callable[[Store], T]) -> T:
        """Read from the store of the open session."""
        return work(self.session_state.store)

    async def read_all(self, work: Callable[[Store], T]) -> T:
        """Read from the store of all sessions."""
        return work(self.session_state.persistent)

    async def rename(self, title: str) -> None:
        """Give the session another title."""
        chat = self._chat
        if chat.session is not None:
            chat.session = self.session_state.store.rename(chat.session.id, title)

    async def rate(self, message_id: int, rating: int) -> None:
        """Rate a reply."""
        self.session_state.store.rate(message_id, rating)

    async def pin(self, message_id: int, pinned: bool) -> None:
        """Pin a message, or take its pin away."""
        self.session_state.store.pin(message_id, pinned)

    async def delete(self, message_id: int) -> None:
        """Delete a message with its descendants, and the KV cache snapshots of the session."""
        deleted = self.session_state.store.delete_message(message_id)
        self._forget_texts(deleted.session.id)
        self._deleted.append(deleted)
        self.show(
            trn(
                "Deleted {count:,} message. /undo brings it back.",
                "Deleted {count:,} messages. /undo brings them back.",
                len(deleted.rows),
            )
        )

    def _forget_texts(self, session_id: str) -> None:
        """Remove from disk what the model has read of a session, and what was deleted of it."""
        self._chat.forget_snapshots(session_id)
        with suppress(StorageError):  # no room, or another process: then the next deletion does it
            self.session_state.persistent.erase()

    async def show_rewritten(self, session: Session, change: Callable[[str], str]) -> None:  # noqa: ARG002
        """Go on with the texts that the session has now."""
        self._chat.session = session
        self._forget_texts(session.id)
        self._deleted.clear()

    async def undo_delete(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted:
            raise UsageError(tr("nothing was deleted in this session"))
        self.session_state.store.restore(self._deleted.pop())
        self.show(tr("What was deleted is back."))

    async def pick(self, message_id: int) -> None:
        """Go on with one of several replies."""
        self.session_state.store.pick(message_id)

    async def go_to(self, message_id: int) -> None:
        """Go on in the branch of a message."""
        self.session_state.store.activate(message_id)

    # The chat

    async def change(self, values: Mapping[str, Value]) -> None:
        """Change settings for this chat; the model is loaded anew when it must be.

        Sampling and reasoning are the session's own and kept with it.
        """
        if "theme" in values:
            from tchat.tui.themes import require_theme

            theme = require_theme(self.paths, name := str(values["theme"]))
            if theme != name:
                self.show(renamed_theme(name))
            values = {**values, "theme": theme}
        settings = check_settings(with_values(self.settings, values))
        session = self.session
        if needs_loading(self.settings, settings):
            require_valid_settings(settings, self.console)
        if self.session_state.change(values, settings):
            self._join(session)
        chat = self._chat
        chat.settings, chat.session_overrides = settings, self.session_state.session_overrides
        if any(name.startswith("tools.") for name in values):
            self._named_tools.update(cast("tuple[str, ...]", values.get("tools.enabled", ())))
            self._open_tools(chat, chat.tools)
        if session is not None:
            chat.session = self.session_state.save_settings(session, values)

    async def toggle_details(self) -> None:
        """Print token counts and times after each reply, or do not."""
        self._details = not self._details
        self.show(tr("Details are on.") if self._details else tr("Details are off."))

    async def set_theme(self, name: str) -> None:
        """There are no colours to choose."""
        raise UsageError(
            tr("themes are for the screen"), tr("tchat config set theme {name}", name=name)
        )

    def leave(self) -> None:
        """End the chat after this line; asks first when a private session would be lost.

        The end of the input is taken for a yes.
        """
        self._confirm_leaving()
        self.ended = True

    def show_resume_hint(self) -> None:
        """Tell how to resume the session, if it is stored."""
        state, session = self.session_state, self.session
        if not state.settings.resume_hint:
            return
        with suppress(StorageError, UsageError):
            if command := resume_command(state.persistent, session):
                self.show(tr("Resume: {command}", command=command))

    async def quit(self) -> None:
        """End the chat, as `leave` does."""
        self.leave()

    async def lock(self) -> None:
        """Clear the terminal, and go on once the store is unlocked."""
        from tchat.cli.line_lock import lock_lines

        self.ended = not lock_lines(self.console, self.session_state, self._chat)

    # Replies

    def send(self, text: str) -> None:
        """Send a prompt with the files attached, and print the reply."""
        if text.strip():
            prompt = "\n\n".join([*self._attached, self._with_mentions(text)])
            self._attached.clear()
            self._print_reply(lambda chat: chat.send(prompt))

    def _with_mentions(self, text: str) -> str:
        """``text`` behind the files and resources that it mentions as ``@NAME``."""
        from tchat.chat.attachments import mentioned_files, read_attachment, with_attachments

        encoding = self.settings.encoding
        resources = self._servers.mentioned(self.settings, text)
        files = mentioned_files(text, resources)
        attached = [read_attachment(each, encoding=encoding) for each in files]
        attached += self._servers.read(self.settings, resources)
        for each in attached:
            if each.assumed:
                self.console.notice(each.assumed)
        return with_attachments(text, attached)

    async def reply(self, act: Callable[[Chat], Iterator[Event]], reply_prefix: str = "") -> None:
        """Print one reply, after its prefix. Ctrl-C stops it; the chat goes on."""
        self._print_reply(act, reply_prefix)

    def _print_reply(self, act: Callable[[Chat], Iterator[Event]], reply_prefix: str = "") -> None:
        if self._servers.is_stale:
            self._open_tools(self._chat, self._chat.tools)
        options = OutputOptions(
            markdown=self.settings.markdown,
            usage=self._details,
            show_reasoning=self.settings.show_reasoning,
            speaker=said_by("assistant", "") if self.console.stdout_is_terminal else "",
            has_commands=True,
        )
        scores: dict[str, float] = {}  # of a reply that is scored, see `show_scores`

        def work() -> None:
            with ReplyOutput(self.console, options) as output:
                begun = False
                for event in act(self._chat):
                    if reply_prefix and not begun:  # not for a turn that is refused
                        output.show(TextDelta(reply_prefix))
                    begun = True
                    output.show(event)
                    if isinstance(event, Ranked):
                        scores[event.ranker] = event.scores[0][1]
                tools = self._chat.tools
                if tools is not None and not tools.executor.approval.has_terminal:
                    self.refused += output.refused
            self._chat.save_snapshot()

        self._work(work)
        for name, score in scores.items():
            self.show(tr("Score: {score:.2f} ({name})", score=score, name=name))

    async def write_candidates(self, count: int, prompt: str, ranker: str = "") -> None:
        """Print several replies, or the best of them and what the others got."""
        from tchat.cli.output.candidates import CandidateOutput

        prompt = self._with_mentions(prompt)
        options = OutputOptions(markdown=self.settings.markdown, usage=self._details)
        ranked = False

        def work() -> None:
            nonlocal ranked
            with CandidateOutput(self.console, options, count, best=bool(ranker)) as output:
                replies = self._chat.candidates(count, prompt, ranker=ranker, fallback=True)
                for event in replies:
                    output.show(event)
            ranked = output.ranked is not None
            self.candidate_ids = [output.stored[index] for index in output.order]
            for line in (*output.others(), output.summary()) if ranker else ():
                self.show(line)

        self._work(work)
        if len(self.candidate_ids) > 1:
            self.show(self._active_candidate(ranked))

    async def compare_models(self, models: Sequence[str], prompt: str) -> None:
        """Print the reply of each model, one after the other."""
        from tchat.chat.compare import compare_models, shown_model
        from tchat.cli.output.candidates import CandidateOutput

        prompt = self._with_mentions(prompt)
        options = OutputOptions(markdown=self.settings.markdown, usage=self._details)

        def work() -> None:
            names = [shown_model(each, self.settings.servers) for each in models]
            with CandidateOutput(self.console, options, len(models), names=names) as output:
                for event in compare_models(self._chat, models, prompt):
                    output.show(event)
            self.candidate_ids = [
                output.stored[index] for index in output.order if index in output.stored
            ]

        self._work(work)
        if len(self.candidate_ids) > 1:
            self.show(self._active_candidate(ranked=False))

    def _active_candidate(self, ranked: bool) -> str:
        """Which reply is the active one; when all were stopped, it is the one from before."""
        from tchat.cli.output.candidates import active_text

        last = self.session_state.store.branch(self.session.id, 1) if self.session else []
        return active_text(self.candidate_ids, last[0].id if last else None, ranked=ranked)

    def _work(self, work: Callable[[], None]) -> None:
        """Run on the engine thread; Ctrl-C stops it, and the chat goes on."""
        self._cancel.clear()
        try:
            with hidden_typing(self.console):
                run_on_engine_thread(work, self._cancel)
        except Abandoned:
            self._joined_chat = None  # the model is still in use
            raise
        except Interrupted as interrupted:
            if interrupted.exit_code != 128 + signal.SIGINT:
                raise
            self.show(tr("Stopped."))

    async def edit(self, message: Message) -> None:  # noqa: ARG002
        """A line holds the new text."""
        raise UsageError(tr("/edit needs the new text of your last message"))

    async def attach(self, path: str) -> None:
        """Put files before the next message; patterns are expanded."""
        from tchat.chat.attachments import expand_patterns, read_attachment

        for each in expand_patterns([path]):
            if is_directory(each):
                self._attach_folder(each)
                continue
            attached = read_attachment(str(each), encoding=self.settings.encoding)
            self._attached.append(str(attached))
            if attached.assumed:
                self.console.notice(attached.assumed)
            self.show(tr("{each} goes with your next message.", each=single_line(str(each))))

    def _attach_folder(self, folder: Path) -> None:
        from tchat.chat.folder_files import read_folder

        found = read_folder(folder, self.settings.encoding)
        self._attached += map(str, found.attachments)
        self.show(tr("{each} goes with your next message.", each=found.summary))

    async def run_shell(self, command: str) -> None:
        """Run a shell command after a yes; Ctrl-C stops it. Its output goes before the message."""
        from tchat.cli.line_shell import run_confirmed

        if (output := run_confirmed(self.console, command)) is not None:
            self.show(output.text.rstrip("\n"))
            self._attached.append(str(output))
            self.show(tr("{each} goes with your next message.", each=tr("The output")))

    async def insert_template(self, name: str, text: str) -> None:
        """Send a prompt template filled with ``text``.

        Its model, system prompt and sampling hold for a session that has not begun.
        """
        from tchat.chat.templates import find_template

        template = find_template(name, self.paths)
        if template.is_persona and not text:
            await self._apply_persona(template)
            return
        try:
            prompt, system = fill_template(self.console, template, text, {}, confirm_defaults=True)
        except UsageError as error:
            hint = tr(
                "/prompt {name} TEXT; `tchat -t {name}` takes variables too", name=template.name
            )
            raise UsageError(error.message, hint) from None
        await self._apply_settings(template, system)
        self.send(prompt)

    async def insert_text(self, text: str) -> None:
        """Send a text."""
        self.show(text)
        self.send(text)

    async def with_servers(self, work: Callable[[McpServers], T]) -> T:
        """The result of ``work`` with the MCP servers of the chat."""
        return work(self._servers.open(self.settings))

    async def _apply_persona(self, template: PromptTemplate) -> None:
        """Apply the settings of a persona, without a prompt."""
        await self._apply_settings(template, template.fill_system({}))
        if self.session is None:
            self.show(tr("Set for this session: {names}.", names=template.name))

    async def _apply_settings(self, template: PromptTemplate, system: str) -> None:
        """Apply the settings of a template to a session that has not begun."""
        own = {**template.settings, **({"system": system} if system else {})}
        if own and self.session is None:
            await self.change(own)
        elif own:
            names = ", ".join(own)
            self.show(tr("Settings of the template for a new session only: {names}", names=names))
