"""All sessions: searched, opened, renamed, deleted, exported, imported; the branches of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.timer import Timer

from tchat.sanitize import printable, single_line
from tchat.sessions.records import Message, Role, SearchHit, Session, Status
from tchat.translation import N_, tr, trn
from tchat.tui.background import background
from tchat.tui.dialogs.dialog import CLOSE, Dialog, Hint, Picker
from tchat.tui.dialogs.export import ExportDialog
from tchat.tui.keys import Scope, bindings
from tchat.tui.services.sessions import SessionService
from tchat.tui.widgets.fuzzy_list import FuzzyList
from tchat.tui.widgets.item_view import Item, one_line
from tchat.tui.widgets.sidebar import (
    EMPTY,
    UNTITLED,
    clock_text,
    day_text,
    local_time,
    session_items,
)

REST = 0.12  # seconds of rest before a search starts, or a preview is read
ABOUT, PREVIEWED = 4000, 600  # characters of a message, alone and among others, beside the list


class SessionChoice(NamedTuple):
    """The session to open; with a message to go to and the words to mark, after a search."""

    session_id: str
    message_id: int | None = None
    words: str = ""


class SessionsScreen(Dialog[SessionChoice]):
    """The sessions by day with a filter on their titles, or what a search in their texts found.

    ``sessions`` are the latest first; ``query`` begins the filter, or the search of ``full_text``.
    ``now`` is in seconds since the epoch; 0 is the clock's.
    """

    TITLES: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", N_("open")),
        Hint("sessions.full-text", N_("search texts")),
        Hint("sessions.rename", N_("rename")),
        Hint("sessions.delete", N_("delete")),
        Hint("sessions.undo", N_("undo")),
        Hint("sessions.export", N_("export")),
        Hint("sessions.import", N_("import")),
        CLOSE,
    )
    TEXTS: ClassVar[tuple[Hint, ...]] = (
        Hint("enter", N_("go there")),
        Hint("sessions.full-text", N_("titles")),
        CLOSE,
    )
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.SESSIONS)]
    DEFAULT_CSS = """
    SessionsScreen FuzzyList > .about { display: none; }
    SessionsScreen.-wide FuzzyList > .about { display: block; color: $assistant; }
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        service: SessionService,
        *,
        current: str = "",
        full_text: bool = False,
        query: str = "",
        now: float = 0,
    ) -> None:
        super().__init__()
        self._sessions = list(sessions)
        self._service = service
        self._current = current
        self._full_text = full_text
        self._query = query
        self._now = now
        self._hits: Sequence[SearchHit] = ()
        self._deleted: list[tuple[int, Session]] = []
        self._resting: Timer | None = None
        self._previewing: Timer | None = None
        self.list = FuzzyList(empty=tr(EMPTY))

    def body(self) -> ComposeResult:
        """The list."""
        yield self.list

    def opened(self) -> None:
        """Show titles, or begin the search."""
        self.list.focus()
        self._show_mode()
        if self._query:
            self.list.set_query(self._query)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that act on a session are off during a search and while a title is edited."""
        if action in ("rename", "delete", "undo", "export", "import_file"):
            return not self._full_text and not self.list.editing
        return not (action == "full_text" and self.list.editing)

    def action_full_text(self) -> None:
        """Change between titles and texts; what was typed stays."""
        self._full_text = not self._full_text
        self._show_mode()

    async def action_rename(self) -> None:
        """Change the title of the highlighted session on its line."""
        await self.list.edit()

    def action_delete(self) -> None:
        """Delete the highlighted session."""
        if item := self.list.item:
            self._delete(item.key)

    def action_undo(self) -> None:
        """Bring the session back that was deleted last."""
        if self._deleted:
            self._restore(*self._deleted.pop())

    def action_export(self) -> None:
        """Ask where to write the highlighted session, and write it."""
        if item := self.list.item:
            self._export(item.key)

    def action_import_file(self) -> None:
        """Ask for a file with chats of other programs or of tchat, and import it."""
        self._import()

    @on(FuzzyList.Chosen)
    def choose(self, event: FuzzyList.Chosen) -> None:
        """End with the session, or with the message that was found."""
        if not self._full_text:
            self.finish(SessionChoice(event.item.key))
            return
        hit = self._hits[int(event.item.key)]
        found = SessionChoice(hit.session.id)
        if hit.message is not None:
            found = SessionChoice(hit.session.id, hit.message.id, self.list.query_text)
        self.finish(found)

    @on(FuzzyList.Edited)
    def rename(self, event: FuzzyList.Edited) -> None:
        """Take the new title."""
        title = single_line(event.text)
        if title and title != event.item.title:
            self._rename(event.item.key, title)

    @on(FuzzyList.Filtered)
    def search_soon(self) -> None:
        """Search once the typing rests."""
        if self._resting is not None:
            self._resting.stop()
        if self._full_text:
            self._resting = self.set_timer(REST, self._search)

    @on(FuzzyList.Highlighted)
    def preview_soon(self, event: FuzzyList.Highlighted) -> None:
        """Show the messages of the highlighted session beside the list, once the cursor rests."""
        if self._previewing is not None:
            self._previewing.stop()
        if event.item is not None and not self._full_text and self.has_class("-wide"):
            preview = partial(self._preview, event.item.key)
            self._previewing = self.set_timer(REST, preview)

    def on_resize(self) -> None:
        """Show them where the terminal became wide."""
        self.call_after_refresh(self.list.highlight_again)

    @background(group="preview", exclusive=True)
    async def _preview(self, session_id: str) -> None:
        messages = await self._service.preview(session_id)
        item = self.list.item
        if item is not None and item.key == session_id and not self._full_text:
            self.list.set_about(preview(messages))

    def _show_mode(self) -> None:
        if self._full_text:
            self.set_heading(tr("Search all messages"))
            self.show_hints(self.TEXTS)
            self._hits = ()
            self.list.set_items(
                (),
                empty=tr("Type words to search for."),
                matching=False,
                placeholder=tr("Words to search for"),
            )
            self._search()
        else:
            self.set_heading(tr("Sessions"), f"{len(self._sessions):,}")
            self.show_hints(self.TITLES)
            self._show_sessions(self._current)

    def _show_sessions(self, cursor: str | None = None) -> None:
        self.list.set_items(
            _with_room_for_preview(session_items(self._sessions, self._current, self._now)),
            cursor=cursor,
            empty=tr(EMPTY),
            matching=True,
            placeholder=tr("Type to filter the titles"),
        )

    @background(group="search", exclusive=True)
    async def _search(self) -> None:
        query = self.list.query_text.strip()
        hits = await self._service.search(query) if query else ()
        if not self._full_text:
            return
        self._hits = hits
        empty = (
            tr("No message contains “{query}”.", query=query)
            if query
            else tr("Type words to search for.")
        )
        self.list.set_items(hit_items(hits, self._now), empty=empty)
        self.set_heading(tr("Search all messages"), f"{len(hits):,}" if query else "")

    @background(group="sessions")
    async def _rename(self, session_id: str, title: str) -> None:
        await self._service.rename(session_id, title)
        at = self._index(session_id)
        self._sessions[at] = replace(self._sessions[at], title=title)
        self._show_sessions()

    @background(group="sessions")
    async def _delete(self, session_id: str) -> None:
        await self._service.delete(session_id)
        at = self._index(session_id)
        session = self._sessions.pop(at)
        self._deleted.append((at, session))
        follower = self._sessions[min(at, len(self._sessions) - 1)].id if self._sessions else ""
        self._show_sessions(follower)
        self.set_heading(
            tr("Sessions"), tr("deleted “{title}”", title=single_line(session.title, 30))
        )

    @background(group="sessions")
    async def _restore(self, at: int, session: Session) -> None:
        await self._service.restore(session.id)
        self._sessions.insert(at, session)
        self._show_sessions(session.id)
        self.set_heading(tr("Sessions"), f"{len(self._sessions):,}")

    @background(group="sessions")
    async def _export(self, session_id: str) -> None:
        title = self._sessions[self._index(session_id)].title
        target = await self.app.push_screen_wait(ExportDialog(session_id, title))
        if target is None:
            return
        place = await self._service.export(session_id, target.path, replaces=target.replaces)
        self.notify(tr("Written to {path}.", path=single_line(place)), markup=False)

    @background(group="import", exclusive=True)
    async def _import(self) -> None:
        from tchat.tui.dialogs.text_question import TextQuestion

        question = TextQuestion(
            tr("Import chats: an export of ChatGPT, Claude …, or the database of llm or oterm"),
            tr("path of the file; → completes it"),
            is_path=True,
        )
        name = await self.app.push_screen_wait(question)
        if not name:
            return
        loop = asyncio.get_running_loop()
        try:
            done = await self._service.import_file(
                name, lambda count: loop.call_soon_threadsafe(self._show_progress, count)
            )
        except Exception:
            self._show_mode()
            raise
        self._sessions = await self._service.sessions()
        self._show_mode()
        self._show_sessions(next((each.session.id for each in done.sessions if each.is_new), None))
        self.notify("\n".join(map(single_line, done.lines)), markup=False)

    def _show_progress(self, count: int) -> None:
        self.set_heading(
            tr("Sessions"), trn("{count:,} session read", "{count:,} sessions read", count)
        )

    def _index(self, session_id: str) -> int:
        return [each.id for each in self._sessions].index(session_id)


SPEAKERS = {"user": N_("you"), "assistant": N_("model"), "system": N_("system")}


def _speaker(message: Message) -> str:
    return tr(SPEAKERS[message.role]) if message.role in SPEAKERS else message.role


def _with_room_for_preview(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        yield replace(item, about=item.title)


def preview(messages: Sequence[Message]) -> Content:
    """The last messages of a session, to be recognized by."""
    parts: list[tuple[str, str]] = []
    for message in messages:
        if message.role is Role.TOOL or (message.tool_calls and not message.text.strip()):
            continue  # steps of a turn
        parts.append((f"{_speaker(message)}\n", "bold $muted"))
        text = printable(message.text.strip())
        shown = text if len(text) <= PREVIEWED else text[:PREVIEWED].rstrip() + "…"
        parts.append((f"{shown}\n\n", ""))
    return Content.assemble(*parts) if parts else Content(tr("This session has no message yet."))


class Snippet(NamedTuple):
    """Safe text, and the character positions in it that the search was for."""

    text: str
    places: tuple[int, ...]


def hit_items(hits: Sequence[SearchHit], now: float = 0) -> Iterator[Item]:
    """One item for each hit, under the title of its session; ``key`` is its place in ``hits``."""
    today = local_time(now or time.time())
    together = sorted(range(len(hits)), key=lambda at: _first_of_session(hits, at))
    for at in together:
        hit = hits[at]
        snippet = safe_snippet(hit.snippet, hit.spans)
        message = hit.message
        used = local_time(message.created_at if message else hit.session.updated_at)
        speaker = _speaker(message) if message else tr("title")
        day = day_text(local_time(hit.session.updated_at), today)
        yield Item(
            key=str(at),
            title=snippet.text,
            places=snippet.places,
            columns=(speaker, clock_text(used, today)),
            group=f"{single_line(hit.session.title, 60) or tr(UNTITLED)} · {day}",
            about=message.text[:ABOUT] if message else "",
        )


def safe_snippet(text: str, spans: Sequence[tuple[int, int]]) -> Snippet:
    """The raw snippet made safe, with its spans where they are afterwards."""
    shown = ""
    places: list[int] = []
    at = 0
    for start, end in spans:
        shown += one_line(text[at:start])
        found = one_line(text[start:end])
        places += range(len(shown), len(shown) + len(found))
        shown += found
        at = end
    return Snippet(shown + one_line(text[at:]), tuple(places))


def _first_of_session(hits: Sequence[SearchHit], at: int) -> int:
    """Where the first hit in the same session is."""
    wanted = hits[at].session.id
    return next(place for place, hit in enumerate(hits) if hit.session.id == wanted)


PREVIEW = 200  # characters of a message on its line
WIDEST_GUIDE = 24  # cells; deeper branches lose the lines on the left
FORK, LAST_FORK, PASSING, NOTHING = "├─ ", "╰─ ", "│  ", "   "


def tree_picker(messages: Sequence[Message], active: Collection[int], now: float = 0) -> Picker:
    """The messages of a session as a tree; it ends with the id of the one to go to, as text."""
    return Picker(
        tr("Branches of this session"),
        tree_items(messages, active, now),
        cursor=str(max(active, default="")),
        empty=tr("This session has no message yet."),
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
                _speaker(message),
                clock_text(local_time(message.created_at), today),
            ),
            guide=guide,
            marked=message.id in active,
            about=message.text[:ABOUT],
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
