"""The branches of a session: every message that was ever said in it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

from tchat.sanitize import single_line
from tchat.sessions.records import Message, Status
from tchat.tui.dialogs.dialog import Picker
from tchat.tui.dialogs.sessions import SPEAKERS
from tchat.tui.widgets.item_view import Item
from tchat.tui.widgets.sidebar import clock_text, local_time

PREVIEW, ABOUT = 200, 400  # characters of a message on its line, and below the list
WIDEST_GUIDE = 24  # cells; deeper branches lose the lines on the left
FORK, LAST_FORK, PASSING, NOTHING = "├─ ", "╰─ ", "│  ", "   "


def tree_picker(messages: Sequence[Message], active: Collection[int], now: float = 0) -> Picker:
    """The messages of a session as a tree; it ends with the id of the one to go to, as text.

    Args:
        messages: All of the session's.
        active: The ids on the path that is shown now.
        now: Seconds since the epoch; 0 is the clock's.
    """
    return Picker(
        "Branches of this session",
        tree_items(messages, active, now),
        cursor=str(max(active, default="")),
        empty="This session has no message yet.",
    )


def tree_items(
    messages: Sequence[Message], active: Collection[int], now: float = 0
) -> Iterator[Item]:
    """One item for each message, parents first; only a fork goes one step to the right.

    A chat is mostly one long line: it stays at the left, and its branches can be told apart.
    """
    today = local_time(now or time.time())
    children: dict[int | None, list[Message]] = {}
    for message in sorted(messages, key=lambda each: each.id):
        children.setdefault(message.parent_id, []).append(message)
    waiting = _forked(children.get(None, []), "")
    while waiting:
        message, guide, below = waiting.pop()
        yield Item(
            key=str(message.id),
            title=_preview(message),
            columns=(
                SPEAKERS.get(message.role, message.role),
                clock_text(local_time(message.created_at), today),
            ),
            guide=guide,
            marked=message.id in active,
            about=single_line(message.text, ABOUT),
        )
        waiting += _forked(children.get(message.id, []), below)


def _forked(siblings: Sequence[Message], before: str) -> list[tuple[Message, str, str]]:
    """The siblings from the last to the first, each with its guide and that of what follows it."""
    before = f"…{before[-WIDEST_GUIDE:]}" if len(before) > WIDEST_GUIDE else before
    if len(siblings) == 1:
        return [(siblings[0], before, before)]
    last, *others = reversed(siblings) if siblings else [None]
    forked = [(each, before + FORK, before + PASSING) for each in others if each is not None]
    return [(last, before + LAST_FORK, before + NOTHING), *forked] if last else []


def _preview(message: Message) -> str:
    text = single_line(message.text, PREVIEW) or "(empty)"
    if message.status in (Status.STOPPED, Status.INTERRUPTED):
        return f"{text} ({message.status})"
    return text
