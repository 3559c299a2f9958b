"""A chat on plain lines: for ``--plain``, ``TERM=dumb``, screen readers and scripts.

Each line is a prompt; a line that begins with ``/`` is a command, see `tchat.chat.commands`. Three
quotes begin and end a prompt of several lines, which is never a command; Ctrl-C discards it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tchat.chat.commands import parse_input
from tchat.cli.ask_request import AskRequest
from tchat.cli.chat_setup import (
    check_settings,
    find_session,
    open_chat,
    open_store,
    require_loadable,
    resolve_settings,
    resume_settings,
    start_loading,
)
from tchat.cli.console import Console
from tchat.cli.line_input import exit_on_signals, line_history, read_line
from tchat.cli.output.reply import OutputOptions, ReplyOutput
from tchat.cli.prompt_input import report_decoding
from tchat.cli.store_fallback import write_back_at_end
from tchat.decoding import decode
from tchat.engine.cancel import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.engine.events import Event
from tchat.errors import Abandoned, Interrupted, StorageError, TchatError, UsageError
from tchat.sanitize import single_line
from tchat.settings import Settings, Value, keys, needs_loading

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.sessions.fallback_store import FallbackStore
    from tchat.sessions.fallbacks import FallbackStores
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore

PROMPT = ">>> "
MORE = "... "
QUOTES = '"""'
DISCARDED = "\nThe message is discarded."
GREETING = "Type a message, or /help. Ctrl-C stops a reply, Ctrl-D ends the chat."


def run_repl(request: AskRequest, console: Console) -> int:
    """Chat until the input ends, and return the exit code.

    Raises:
        TchatError: The session is not there, or a setting is wrong.
    """
    if request.brings_text:
        raise UsageError("--plain opens a chat and takes no prompt", "leave one of them out")
    settings = resolve_settings(request, console)
    with open_store(request, settings, console) as store:
        session = find_session(request, store)
        settings = resume_settings(request, settings, store, session, console.say)
        chat = Repl(console, request, store, settings)
        chat.join(session)
        return chat.run()


@dataclass(slots=True)
class Repl:
    """The state of a chat on plain lines.

    Attributes:
        console: Its streams.
        request: The call it came from, with the flags typed.
        store: Where all sessions are kept.
        kept: The store of the session, which goes on in memory where the disk fails.
        settings: In force now; `/set` changes them.
        attached: Texts that go in front of the next prompt.
        tries: Ids of the replies that were written side by side last.
        ended: Whether the user asked to end it.
    """

    console: Console
    request: AskRequest
    store: SessionStore
    settings: Settings
    attached: list[str] = field(default_factory=list)
    tries: list[int] = field(default_factory=list)
    ended: bool = False
    kept: FallbackStore = field(init=False)
    cancel: Cancel = field(default_factory=Cancel)
    _chat: Chat | None = None
    _fallbacks: FallbackStores = field(init=False)
    _told: str = ""  # the failure of the disk that was told last

    def __post_init__(self) -> None:
        from tchat.sessions.fallbacks import FallbackStores

        self._fallbacks = FallbackStores()
        self.kept = self._fallbacks.open(self.store)

    @property
    def chat(self) -> Chat:
        """The session joined to the model."""
        if self._chat is None:
            self.join(None)
        assert self._chat is not None  # noqa: S101 - `join` made it
        return self._chat

    def join(self, session: Session | None, settings: Settings | None = None) -> None:
        """Go on in ``session``, or in a new one, with ``settings`` when they changed.

        The model stays loaded unless the settings want it otherwise.
        """
        settings = settings or self.settings
        model = None
        if self._chat is not None and not needs_loading(self.settings, settings):
            model = self._chat.release_model()
        self.close()
        self.settings = settings
        self.cancel.clear()
        # The model loads while the first message is typed.
        begun = None if model else start_loading(settings, self.console, self.cancel)
        self.kept = self._fallbacks.open(self.store, session.id if session else "")
        self._chat = open_chat(
            settings, self.console, self.kept, session, self.cancel, begun=begun, model=model
        )
        if session is not None:
            self._tell_unfinished(session)

    def close(self) -> None:
        """Free the model."""
        if self._chat is not None:
            self._chat.close()
            self._chat = None

    def change(self, values: dict[str, Value]) -> None:
        """Change settings by name; the model is loaded anew when it must be.

        Raises:
            UsageError: They do not fit the others; nothing is changed.
            ModelError: There is no such model, or it is none; nothing is changed.
        """
        settings = self.settings
        for name, value in values.items():
            settings = keys()[name].put(settings, value)
        settings = check_settings(settings)
        session = self.chat.session
        if needs_loading(self.settings, settings):
            require_loadable(settings, self.console)
            self.join(session, settings)
        else:
            self.settings = self.chat.settings = settings
        if "system" in values and session is not None:
            self.chat.session = self.kept.update(session.id, system=settings.system)

    def run(self) -> int:
        """Read and carry out lines until the input ends."""
        try:
            if self.console.stdin_is_terminal:
                self.tell(GREETING)
            private = self.store.path is None
            with (
                write_back_at_end(self._fallbacks, self.console),
                exit_on_signals(),
                line_history(self.console, private=private),
            ):
                while not self.ended:
                    self._step()
        finally:
            self.close()
        return 0

    def _store_again(self) -> None:
        """Try again to store what the disk refused; tell once that it does, and when it is over."""
        failure = self._fallbacks.failure
        if failure is None:
            return
        notices = len(self.store.notices)
        try:
            self._fallbacks.write_back()
        except StorageError as error:
            if error.message != self._told:
                self._told = error.message
                lost = "The chat goes on in memory and is lost when tchat ends"
                self.console.say(f"{error.message}. {lost}; {error.hint}")
            return
        self._told = ""
        self.tries.clear()  # messages may have other ids in a file that was replaced
        for line in (*self.store.notices[notices:], f"{failure.message}: everything is stored now"):
            self.console.say(line)

    def _tell_unfinished(self, session: Session) -> None:
        branch = self.kept.branch(session.id)
        if branch and branch[-1].status in ("stopped", "interrupted"):
            self.tell(f"The last reply was {branch[-1].status}; /continue goes on with it.")

    def tell(self, text: str = "") -> None:
        """Write a line for the user: on a terminal beside the chat, else to standard error."""
        stream = self.console.stdout if self.console.stdout_is_terminal else self.console.stderr
        stream.write(text + "\n")
        stream.flush()

    def reply(self, events: Callable[[Chat], Iterator[Event]]) -> None:
        """Print one reply. Ctrl-C stops it; the chat goes on.

        Raises:
            TchatError: There is no reply.
            Interrupted: Another signal ended the process's work.
        """
        output = OutputOptions(
            markdown=self.settings.markdown,
            usage=self.request.usage,
            show_reasoning=self.settings.show_reasoning,
        )

        def work() -> None:
            with ReplyOutput(self.console, output) as renderer:
                for event in events(self.chat):
                    renderer.show(event)
            self.chat.save_snapshot()

        self._work(work)

    def candidates(self, count: int, prompt: str) -> None:
        """Print several replies, to ``prompt`` or to the last question; Ctrl-C stops them."""
        from tchat.cli.output.candidates import CandidateOutput

        output = OutputOptions(markdown=self.settings.markdown, usage=self.request.usage)

        def work() -> None:
            with CandidateOutput(self.console, output, count) as renderer:
                for event in self.chat.candidates(count, prompt):
                    renderer.show(event)
            self.tries = [renderer.stored[index] for index in sorted(renderer.finished)]

        self._work(work)

    def best(self, count: int, prompt: str) -> None:
        """Print the best of several replies, and what the others got; Ctrl-C stops them."""
        from tchat.cli.output.best_of import BestOfOutput

        output = OutputOptions(markdown=self.settings.markdown, usage=self.request.usage)

        def work() -> None:
            with BestOfOutput(self.console, output, count) as renderer:
                judge = self.settings.ranker
                for event in self.chat.candidates(count, prompt, judge=judge, fallback=True):
                    renderer.show(event)
            self.tries = [renderer.stored[index] for index in renderer.order]
            for line in (*renderer.others(), renderer.summary()):
                self.tell(line)

        self._work(work)

    def _work(self, work: Callable[[], None]) -> None:
        """Do it on the engine's thread; Ctrl-C ends it, and the chat goes on."""
        self.cancel.clear()
        try:
            run_on_engine_thread(work, self.cancel)
        except Abandoned:
            self._chat = None  # the model is still in use
            raise
        except Interrupted as interrupted:
            if interrupted.exit_code != 128 + signal.SIGINT:
                raise
            self.tell()

    def _step(self) -> None:
        """Read one line and carry it out; a failure is told, and the chat goes on."""
        try:
            line = self._line(PROMPT)
            if line is None:
                self.ended = True
            elif line.lstrip().startswith(QUOTES):
                self._send(self._quoted(line))
            else:
                self._carry_out(line)
        except Interrupted:
            raise
        except TchatError as error:
            self.console.say(str(error))
        except KeyboardInterrupt:  # during a command
            self.tell()
        self._store_again()

    def _carry_out(self, line: str) -> None:
        from tchat.cli.repl_commands import COMMANDS, run_command

        entered = parse_input(line, COMMANDS)
        if isinstance(entered, str):
            self._send(entered)
        else:
            run_command(self, entered)

    def _send(self, text: str) -> None:
        if text.strip():
            prompt = "\n\n".join([*self.attached, text])
            self.attached.clear()
            self.reply(lambda chat: chat.send(prompt))

    def _quoted(self, line: str) -> str:
        """The message of several lines that ``line`` begins; Ctrl-C discards it all."""
        lines = [line.lstrip().removeprefix(QUOTES)]
        try:
            while not lines[-1].rstrip().endswith(QUOTES):
                following = self._read(MORE)
                if following is None:
                    break
                lines.append(following)
        except KeyboardInterrupt:
            self.tell(DISCARDED)
            return ""
        return "\n".join(lines).rstrip().removesuffix(QUOTES).strip("\n")

    def _line(self, prompt: str) -> str | None:
        """One line; Ctrl-C drops it, and twice in a row ends the chat."""
        for hint in ("Press Ctrl-C again, or Ctrl-D, to end the chat.", ""):
            try:
                return self._read(prompt)
            except KeyboardInterrupt:
                if not self.console.stdin_is_terminal:
                    raise
                self.tell(f"\n{hint}" if hint else "")
        return None

    def _read(self, prompt: str) -> str | None:
        """One line, or `None` at the end of the input."""
        if not self.console.stdin_is_terminal:
            stdin = self.console.stdin
            data = stdin.readline() if stdin else b""
            decoded = decode(data, "the line", self.settings.encoding)
            return report_decoding(self.console, decoded).rstrip("\r\n") if data else None
        try:
            return read_line(self.console, prompt)
        except EOFError:
            self.tell()
            return None


def describe(session: Session) -> str:
    """A session on one line: its id and title."""
    return f"{session.id}  {single_line(session.title)}"
