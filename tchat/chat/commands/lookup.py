"""Find the session, the branch or the message that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.chat.commands.command import CommandHost
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tchat.sessions.records import Message, Session
    from tchat.sessions.store import Store

NAMED = 4  # sessions that an error names
PREVIEW = 60  # characters of a message in a list


def branch_ends(messages: Sequence[Message]) -> list[Message]:
    """The last message of each branch, in the order in which they were written."""
    parents = {each.parent_id for each in messages}
    return [each for each in messages if each.id not in parents]


def find_session(store: Store, name: str) -> Session | None:
    """The session with this id, or a piece of it, or of its title; the latest one without a name.

    Raises:
        UsageError: No session matches, or several titles do; names some.
    """
    if not name:
        return store.latest()
    try:
        return store.get(name)
    except UsageError:
        found = [each for each in store.sessions() if name.casefold() in each.title.casefold()]
        if not found:
            raise
    if len(found) > 1:
        named = "; ".join(map(describe_session, found[:NAMED]))
        raise UsageError(
            tr(
                "{count:,} sessions have {name!r} in the title",
                count=len(found),
                name=single_line(name, PREVIEW),
            ),
            tr("name one by its id: {named}", named=named),
        )
    return found[0]


def describe_session(session: Session) -> str:
    """A session on one line: its id and title."""
    return f"{session.id}  {single_line(session.title)}"


def require_session(host: CommandHost) -> Session:
    """The open session.

    Raises:
        UsageError: It has no message yet.
    """
    if host.session is None:
        raise no_message()
    return host.session


def no_message() -> UsageError:
    """The error of a session that has not begun."""
    return UsageError(tr("this session has no message yet"), tr("send a prompt first"))


async def active_branch(host: CommandHost, last: int | None = None) -> list[Message]:
    """The active path of the session, or the ``last`` so many of it."""
    session = host.session
    if session is None:
        return []
    return await host.read(lambda store: store.branch(session.id, last))


async def last_reply(host: CommandHost) -> Message:
    """The last reply.

    Raises:
        UsageError: There is none.
    """
    return await _last_of(host, "assistant", tr("there is no reply yet"))


async def last_prompt(host: CommandHost, refusal: str) -> Message:
    """The last message of the user.

    Raises:
        UsageError: There is none, told by ``refusal``.
    """
    return await _last_of(host, "user", refusal)


async def _last_of(host: CommandHost, role: str, refusal: str) -> Message:
    branch = await active_branch(host)
    said = (each for each in reversed(branch) if each.text or not each.tool_calls)
    found = next((each for each in said if each.role == role), None)
    if found is None:
        raise UsageError(refusal, tr("send a prompt first"))
    return found


def parse_number(number: str, count: int, command: str) -> int:
    """The place that a number from 1 on names."""
    if not number.isdecimal() or not 1 <= int(number[:6]) <= count:
        raise UsageError(
            tr("/{command} takes a number from 1 to {count}", command=command, count=count)
        )
    return int(number) - 1
