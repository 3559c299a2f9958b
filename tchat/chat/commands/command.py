"""A slash command, the front end that it acts on, and how a typed line is parsed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, Flag, StrEnum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.settings.keys import did_you_mean
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.engine.events import Event
    from tchat.paths import Paths
    from tchat.sessions.records import Message, Session
    from tchat.sessions.store import Store
    from tchat.settings import Settings, Value
    from tchat.tools.mcp.servers import McpServers

T = TypeVar("T")

SHELL = "shell"  # the command that `!` stands for
MAX_CANDIDATES = 16  # replies at a time: more are slower than one after the other on most machines
DEFAULT_CANDIDATES = 4


def speaker(role: str) -> str:
    """The name of a role in a chat; the role itself if it is none of a chat."""
    names = {
        "user": tr("You"),
        "assistant": tr("Assistant"),
        "system": tr("System"),
        "tool": tr("Tool"),
    }
    return names.get(role, role)


def said_by(role: str, text: str) -> str:
    """``text`` behind the name of who said it; ``role`` as for `speaker`."""
    return tr("{speaker}: {text}", speaker=speaker(role), text=text)


def message_line(message: Message, limit: int = 200) -> str:
    """A message on one line, behind the name of who said it; of a step the calls."""
    from tchat.step_text import one_line, short_arguments

    if message.role == "tool":
        return said_by(message.role, one_line(message.text, limit))
    text = single_line(message.text, limit)
    if not text and message.tool_calls:
        calls = (f"{each.name} {short_arguments(each.arguments)}" for each in message.tool_calls)
        text = one_line(", ".join(calls), limit)
    return said_by(message.role, text)


class Surface(Flag):
    """Where a command can be typed."""

    LINES = auto()
    SCREEN = auto()
    BOTH = LINES | SCREEN


class Group(StrEnum):
    """What a command is about; ``/help`` takes the value."""

    REPLIES = "replies"
    MESSAGES = "messages"
    SETTINGS = "settings"
    SESSIONS = "sessions"
    OTHER = "other"

    @property
    def heading(self) -> str:
        """Its name, in the user's language."""
        headings = {
            Group.REPLIES: tr("Replies"),
            Group.MESSAGES: tr("Messages"),
            Group.SETTINGS: tr("Settings"),
            Group.SESSIONS: tr("Sessions"),
        }
        return headings.get(self, tr("Other"))


class CommandDialog(Enum):
    """What a front end may show in a dialog of its own instead of in text."""

    HELP = auto()
    MANUAL = auto()
    SESSIONS = auto()
    SEARCH = auto()
    BRANCHES = auto()
    MODELS = auto()
    TEMPLATES = auto()
    THEMES = auto()
    JUDGE = auto()
    EXPORT = auto()
    TOOLS = auto()
    MCP = auto()


class CommandHost(Protocol):
    """A front end with an open chat.

    Methods that may take long are coroutines. A front end without an event loop does their work
    before they return, without suspending. Every method raises `TchatError` if it fails.
    """

    @property
    def surface(self) -> Surface:
        """What it is."""

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def settings_for_model(self) -> Settings:
        """``settings`` with what the open model recommends, and what is set for it."""

    @property
    def session(self) -> Session | None:
        """The open session; None before its first message."""

    @property
    def paths(self) -> Paths:
        """The user's folders."""

    @property
    def candidate_ids(self) -> Sequence[int]:
        """The replies that were written side by side last, in the order shown."""

    @property
    def listed_sessions(self) -> list[str]:
        """Ids of the sessions that were listed last, in the order shown; it can be replaced."""

    # Output

    def show(self, text: str) -> None:
        """Show ``text``, which is raw, beside the chat."""

    def acknowledge(self, text: str) -> None:
        """Tell that something is done, where the front end does not show it by itself."""

    def open_dialog(self, dialog: CommandDialog, query: str = "") -> bool:
        """Open a dialog; False where there is none, so that the command answers in text."""

    async def confirm(self, question: str, lines: Sequence[str]) -> bool:
        """Whether the user says yes to ``question`` about ``lines``, which are raw."""

    async def copy(self, text: str) -> None:
        """Put ``text`` into the clipboard."""

    # Stored data

    async def read(self, work: Callable[[Store], T]) -> T:
        """The result of ``work`` with the store of the open session."""

    async def read_all(self, work: Callable[[Store], T]) -> T:
        """The result of ``work`` with the store of all sessions."""

    async def rename(self, title: str) -> None:
        """Give the open session another title."""

    async def rate(self, message_id: int, rating: int) -> None:
        """Call a reply good (1) or bad (-1), or take that back (0)."""

    async def pin(self, message_id: int, pinned: bool) -> None:
        """Keep a message in the context window, or let it leave like others."""

    async def delete(self, message_id: int) -> None:
        """Delete a message with all below it, and tell how to undo that."""

    async def undo_delete(self) -> None:
        """Bring back what was deleted last, or tell that nothing was."""

    async def show_rewritten(self, session: Session, change: Callable[[str], str]) -> None:
        """Show the open session with the texts that it has now, and forget the former ones.

        ``change`` does to a text what was done to those that are stored.
        """

    async def pick(self, message_id: int) -> None:
        """Go on with one of several replies; the judge learns from that."""

    async def go_to(self, message_id: int) -> None:
        """Go on in the branch of a message."""

    async def open_session(self, session: Session | None) -> None:
        """Go on in a stored session, or in a new one; a model that stays the same stays loaded."""

    async def toggle_private(self) -> None:
        """Begin a session that is not stored, or one that is; tell which."""

    # The chat

    async def change(self, values: Mapping[str, Value]) -> None:
        """Change settings for this chat."""

    async def toggle_details(self) -> None:
        """Show times and token counts, or hide them."""

    async def set_theme(self, name: str) -> None:
        """Use a colour theme from now on."""

    async def reply(self, act: Callable[[Chat], Iterator[Event]], reply_prefix: str = "") -> None:
        """Run a turn, which continues ``reply_prefix`` where the user typed one."""

    async def write_candidates(self, count: int, prompt: str, ranker: str = "") -> None:
        """Write several replies to ``prompt``, or to the last question if it is empty.

        ``ranker`` finds the best of them, if one is named.
        """

    async def compare_models(self, models: Sequence[str], prompt: str) -> None:
        """Let each model reply to ``prompt``, or to the last question if it is empty."""

    async def edit(self, message: Message) -> None:
        """Let the user edit a prompt."""

    async def attach(self, path: str) -> None:
        """Put a file before the next message."""

    async def run_shell(self, command: str) -> None:
        """Ask, run a shell command, and put its output before the next message."""

    async def insert_template(self, name: str, text: str) -> None:
        """Begin a message with a prompt template, with ``text`` as its input."""

    async def insert_text(self, text: str) -> None:
        """Begin a message with ``text``."""

    async def with_servers(self, work: Callable[[McpServers], T]) -> T:
        """The result of ``work`` with the MCP servers of the chat."""

    async def lock(self) -> None:
        """Hide the chat, and forget the key of the store, until it is unlocked."""

    async def quit(self) -> None:
        """End the chat."""


class SlashCommand(NamedTuple):
    """One command, with its other names.

    Attributes:
        takes: Its argument for the reader; ``[…]`` is optional, empty takes none.
        summary: What it does, in English; `help` translates it.
        surface: Where it is served.
        takes_prompt: Whether its argument holds a prompt, so that it begins a turn at once.
        group: What it is about.
    """

    name: str
    takes: str
    summary: str
    handler: Callable[[CommandHost, str], Awaitable[None]]
    aliases: tuple[str, ...] = ()
    surface: Surface = Surface.BOTH
    takes_prompt: bool = False
    group: Group = Group.OTHER

    @property
    def help(self) -> str:
        """What it does, in the user's language."""
        return tr(self.summary)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it answers to, the first one first."""
        return (self.name, *self.aliases)

    @property
    def needs_argument(self) -> bool:
        """Whether it cannot do without an argument."""
        return bool(self.takes) and not self.takes.startswith("[")

    @property
    def usage(self) -> str:
        """Every way to type it: ``/export [FILE], /save [FILE]``."""
        return ", ".join(f"/{name} {self.takes}".strip() for name in self.names)


class CommandCall(NamedTuple):
    """A command as it was typed: which one, and the text behind it."""

    command: SlashCommand
    argument: str

    async def run(self, host: CommandHost) -> None:
        """Carry it out.

        Raises:
            TchatError: It cannot be carried out.
        """
        await self.command.handler(host, self.argument)

    def run_now(self, host: CommandHost) -> None:
        """Carry it out without an event loop; for a command that does not suspend in this host.

        Raises:
            TchatError: It cannot be carried out.
            RuntimeError: It suspends.
        """
        work = self.run(host)
        try:
            work.send(None)
        except StopIteration:
            return
        finally:
            work.close()
        raise RuntimeError(f"/{self.command.name} waits for an event loop")


def parse_input(text: str, commands: Iterable[SlashCommand]) -> CommandCall | str:
    """A command, or the text of a prompt.

    A line that begins with two slashes is text that begins with one. So is a path: no command has
    a slash in its name. ``!LS`` is ``/shell LS``, and two ``!`` begin a text with one.

    Raises:
        UsageError: There is no such command, or it takes no argument; names the nearest.
    """
    if text.startswith("!"):
        return _parse_shell(text, commands)
    if not text.startswith("/"):
        return text
    if text.startswith("//"):
        return text[1:]
    name, argument = split_argument(text[1:])
    if text[1:2].isspace():
        name, argument = "", text[1:].strip()
    if "/" in name:
        return text
    known = {each: command for command in commands for each in command.names}
    command = known.get(name.lower())
    if command is None:
        shown = single_line(name, 40)
        names = [f"/{each}" for each in known]
        hint = did_you_mean(f"/{name.lower()}", names) or tr("/help lists the commands")
        raise UsageError(
            tr("there is no command /{name}", name=shown),
            tr("{hint} (//{name} sends it as text)", hint=hint, name=shown),
        )
    if argument and not command.takes:
        raise UsageError(
            tr("/{name} takes no argument", name=name),
            tr("//{name} sends the line as text", name=name),
        )
    return CommandCall(command, argument)


def _parse_shell(text: str, commands: Iterable[SlashCommand]) -> CommandCall | str:
    """``!COMMAND`` on a line of its own; anything else is a prompt."""
    if text.startswith("!!"):
        return text[1:]
    line = text[1:].strip()
    shell = next((each for each in commands if each.name == SHELL), None)
    return CommandCall(shell, line) if shell and line and "\n" not in line else text


def without_flag(argument: str, flag: str) -> tuple[str, bool]:
    """An argument without the flag before or behind it, and whether it was there."""
    name = f" {argument} ".removeprefix(f" {flag} ").removesuffix(f" {flag} ").strip()
    return name, name != argument.strip()


def split_argument(argument: str) -> tuple[str, str]:
    """The first word of ``argument``, and the rest; any white space parts them."""
    words = argument.split(maxsplit=1)
    return words[0] if words else "", words[1].strip() if len(words) > 1 else ""


def parse_candidates(argument: str, command: str = "try") -> tuple[int, str]:
    """Parse ``/try [N] [TEXT]``: the count, and the prompt (empty: the last question).

    Raises:
        UsageError: The count is out of bounds.
    """
    first, rest = split_argument(argument)
    if not first.removeprefix("-").isdecimal():
        return DEFAULT_CANDIDATES, argument.strip()
    count = int(first) if len(first) < 6 else 0
    if not 2 <= count <= MAX_CANDIDATES:
        raise UsageError(
            tr(
                "/{command} writes 2 to {most} replies",
                command=command,
                most=MAX_CANDIDATES,
            ),
            tr("for example /{command} 4", command=command),
        )
    return count, rest
