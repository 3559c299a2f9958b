"""What the commands of `tchat.chat.commands` do in a chat on plain lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tchat import __version__
from tchat.chat.commands import Surface, commands_for
from tchat.chat.session_settings import parse_setting
from tchat.errors import UsageError
from tchat.paths import expanded
from tchat.plural import counted
from tchat.sanitize import printable, single_line
from tchat.settings import find_key, keys
from tchat.settings.coerce import parse

if TYPE_CHECKING:
    from tchat.chat.commands import CommandCall
    from tchat.cli.repl import Repl
    from tchat.sessions.records import Message, Session


def run_command(chat: Repl, call: CommandCall) -> None:
    """Carry out a command as it was typed.

    Raises:
        TchatError: It cannot be carried out.
    """
    _HANDLERS[call.command.name](chat, call.argument)


def _help(chat: Repl, _: str) -> None:
    for command in COMMANDS:
        chat.tell(f"  {command.usage:<34}{command.help}")
    chat.tell('  """ begins and ends a message of several lines.')


def _quit(chat: Repl, _: str) -> None:
    chat.ended = True


def _new(chat: Repl, _: str) -> None:
    chat.join(None)
    chat.tell("A new session.")


def _regenerate(chat: Repl, _: str) -> None:
    chat.reply(lambda each: each.regenerate())


def _try(chat: Repl, argument: str) -> None:
    from tchat.chat.candidates import parse_candidates

    chat.candidates(*parse_candidates(argument))
    if len(chat.tries) > 1:
        chat.tell("The chat goes on with the first; /pick N takes another.")


def _best(chat: Repl, argument: str) -> None:
    from tchat.chat.candidates import parse_candidates

    chat.best(*parse_candidates(argument, "best"))
    if len(chat.tries) > 1:
        chat.tell("The chat goes on with the best; /pick N takes another.")


def _pick(chat: Repl, number: str) -> None:
    if not chat.tries:
        raise UsageError("there is nothing to pick from", "/try writes several replies")
    if not number.isdecimal() or not 1 <= int(number[:3]) <= len(chat.tries):
        raise UsageError(f"/pick takes a number from 1 to {len(chat.tries)}")
    chat.chat.pick(chat.tries[int(number) - 1])
    chat.tell(f"The chat goes on with reply {int(number)}.")


def _good(chat: Repl, _: str) -> None:
    _rate(chat, 1, "good")


def _bad(chat: Repl, _: str) -> None:
    _rate(chat, -1, "bad")


def _rate(chat: Repl, rating: int, word: str) -> None:
    chat.chat.rate(rating)
    chat.tell(f"Noted: a {word} reply. `tchat judge train` learns from it.")


def _mine(chat: Repl, text: str) -> None:
    if not text:
        raise UsageError("/mine needs the reply as you would have written it")
    last = _branch(chat)[-1:]
    if not last or last[0].role != "assistant":
        raise UsageError("there is no reply to put yours in place of", "send a prompt first")
    for _ in chat.chat.edit(last[0].id, text):
        pass
    chat.tell("The chat goes on with your reply.")


def _continue(chat: Repl, _: str) -> None:
    chat.reply(lambda each: each.continue_reply())


def _edit(chat: Repl, text: str) -> None:
    if not text:
        raise UsageError("/edit needs the new text of your last message")
    questions = [m for m in _branch(chat) if m.role == "user"]
    if not questions:
        raise UsageError("there is no message to edit yet")
    chat.reply(lambda each: each.edit(questions[-1].id, text))


def _system(chat: Repl, text: str) -> None:
    if text:
        chat.change({"system": text})
        return
    session = chat.chat.session
    system = session.system if session else chat.settings.system
    chat.tell(printable(system) or "There is no system prompt.")


def _model(chat: Repl, name: str) -> None:
    if name:
        chat.change({"model": name})
    chat.tell(f"Model: {single_line(chat.settings.model)}")


def _set(chat: Repl, argument: str) -> None:
    if not argument:
        raise UsageError("/set needs a name and a value", "for example /set temp 0.2")
    chat.change(parse_setting(argument, "/set"))


def _show(chat: Repl, name: str) -> None:
    from tchat.settings import spell

    for key in [find_key(name)] if name else keys().values():
        chat.tell(f"  {key.name:<20}{printable(spell(key.value_in(chat.settings)))}")


def _think(chat: Repl, text: str) -> None:
    key = find_key("think")
    chat.change({"think": parse(key, text or "on", "/think")})


def _file(chat: Repl, pattern: str) -> None:
    from tchat.chat.attachments import expand_patterns, read_attachment

    if not pattern:
        raise UsageError("/file needs a path")
    for path in expand_patterns([pattern]):
        attached = read_attachment(str(path), encoding=chat.settings.encoding)
        chat.attached.append(str(attached))
        if attached.assumed:
            chat.console.notice(attached.assumed)
        chat.tell(f"{single_line(str(path))} goes with your next message.")


def _title(chat: Repl, title: str) -> None:
    session = _session(chat)
    if title:
        session = chat.kept.rename(session.id, single_line(title))
    else:
        session = chat.kept.get(session.id)
    chat.tell(single_line(session.title))


def _sessions(chat: Repl, _: str) -> None:
    from tchat.cli.repl import describe

    for session in chat.store.sessions(20):
        chat.tell(f"  {describe(session)}")


def _open(chat: Repl, name: str) -> None:
    session = chat.store.get(name) if name else chat.store.latest()
    if session is None:
        raise UsageError("there is no session yet")
    chat.join(session)
    for message in _branch(chat)[-2:]:
        chat.tell(f"{message.role}: {single_line(message.text)}")


def _export(chat: Repl, name: str) -> None:
    from tchat.sessions.export import to_markdown
    from tchat.settings.write import write_new

    path = expanded(name or "chat.md")
    session = chat.kept.get(_session(chat).id)
    write_new(path, to_markdown(session, _branch(chat)).encode("utf-8", "surrogatepass"))
    chat.tell(f"Written to {single_line(str(path))}.")


def _stats(chat: Repl, _: str) -> None:
    replies = [message for message in _branch(chat) if message.usage]
    if not replies:
        chat.tell("No reply yet.")
        return
    usage, timings = replies[-1].usage, replies[-1].timings
    counts = ", ".join(f"{name} {count:,}" for name, count in usage.items())
    seconds = ", ".join(f"{name} {value:.2f} s" for name, value in timings.items())
    chat.tell(f"Last reply: {counts}; {seconds}")
    written = sum(message.usage.get("completion", 0) for message in replies)
    chat.tell(
        f"This session: {counted(len(replies), 'reply', 'replies')}, "
        f"{counted(written, 'token')} written"
    )


def _version(chat: Repl, _: str) -> None:
    chat.tell(f"tchat {__version__}")


def _session(chat: Repl) -> Session:
    session = chat.chat.session
    if session is None:
        raise UsageError("there is no message yet", "type one first")
    return session


def _branch(chat: Repl) -> list[Message]:
    session = chat.chat.session
    return chat.kept.branch(session.id) if session else []


COMMANDS = commands_for(Surface.LINES)
_HANDLERS: Mapping[str, Callable[[Repl, str], None]] = {
    "help": _help,
    "new": _new,
    "regen": _regenerate,
    "try": _try,
    "best": _best,
    "pick": _pick,
    "good": _good,
    "bad": _bad,
    "mine": _mine,
    "continue": _continue,
    "edit": _edit,
    "file": _file,
    "system": _system,
    "model": _model,
    "set": _set,
    "show": _show,
    "think": _think,
    "title": _title,
    "sessions": _sessions,
    "open": _open,
    "export": _export,
    "stats": _stats,
    "version": _version,
    "quit": _quit,
}
