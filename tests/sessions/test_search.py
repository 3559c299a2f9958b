"""Full-text search in any language, for any query."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.sessions.records import Role, SearchHit, Session, Status
from tchat.sessions.search import excerpt, fold, parse_query
from tchat.sessions.store import SessionStore
from tchat.tui.services.conversation import Conversation
from tchat.tui.services.sessions import MessageService, SessionService
from tests.sessions.stores import new_session

CORPUS = [
    "The quick brown fox jumps over the lazy dog",
    "吾輩は猫である。名前はまだ無い。",
    "天空为什么是蓝色的？",
    "한국어 문장도 찾을 수 있다",
    "Ein Fuß, eine Straße, ÜBER den Fluß",
    "emoji 🦊 and 👨‍👩‍👧 families",
    "he said \"stop\" AND then NOT(x) OR col:y* ^z {a} -- 'q'",
    "100% of snake_case and back\\slash",
    "C++ vs C#; a+b=c",
]


@pytest.fixture
def session(store: SessionStore) -> Session:
    session = new_session(store)
    for text in CORPUS:
        store.add(session.id, Role.USER, text, parent_id=None)
    return session


def found(store: SessionStore, query: str) -> list[int]:
    return sorted(CORPUS.index(text_of(hit)) for hit in store.search(query))


def text_of(hit: SearchHit) -> str:
    assert hit.message is not None
    return hit.message.text


def id_of(hit: SearchHit) -> int:
    assert hit.message is not None
    return hit.message.id


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("quick", [0]),
        ("QUICK fox", [0]),
        ("fox quick", [0]),
        ("uic", [0]),
        ("quick cat", []),
        ('"quick brown"', [0]),
        ('"brown quick"', []),
        ("猫", [1]),
        ("名前", [1]),
        ("吾輩は猫", [1]),
        ("蓝色", [2]),
        ("为什么是", [2]),
        ("犬", []),
        ("문장도", [3]),
        ("수", [3]),
        ("über", [4]),
        ("STRASSE", [4]),
        ("Straße", [4]),
        ("straße fuß", [4]),
        ("🦊", [5]),
        ("👨‍👩‍👧", [5]),
        ('"', [6]),
        ('said "stop"', [6]),
        ("AND", [0, 4, 5, 6, 7]),
        ("NOT(x)", [6]),
        ("col:y*", [6]),
        ("^z {a}", [6]),
        ("OR", [6]),
        ("'q'", [6]),
        ("--", [6]),
        ("%", [7]),
        ("100%", [7]),
        ("snake_case", [7]),
        ("snakeXcase", []),
        ("back\\slash", [7]),
        ("c++", [8]),
        ("c#", [8]),
        ("a+b=c", [8]),
        ("", []),
        ("   ", []),
        ("* NEAR(", []),
        ("\0", []),
        ("\ud800", []),
    ],
)
def test_queries(store: SessionStore, session: Session, query: str, expected: list[int]) -> None:
    # "AND" is contained in "and", "OR" in none but the sixth text.
    wanted = [n for n in expected if query != "AND" or "and" in CORPUS[n].casefold()]
    assert found(store, query) == wanted


def test_hits_tell_where_the_words_are(store: SessionStore, session: Session) -> None:
    (hit,) = store.search("fox LAZY")
    assert hit.session.id == session.id
    assert [hit.snippet[a:b] for a, b in hit.spans] == ["fox", "lazy"]


def test_the_latest_come_first_up_to_the_limit(store: SessionStore) -> None:
    session = new_session(store)
    ids = [store.add(session.id, Role.USER, f"same words {n}", parent_id=None).id for n in range(5)]
    assert [id_of(hit) for hit in store.search("same")] == ids[::-1]
    assert [id_of(hit) for hit in store.search("words", limit=2)] == ids[:2:-1]
    assert [id_of(hit) for hit in store.search("s", limit=1)] == ids[-1:]


def test_a_search_follows_every_change(store: SessionStore) -> None:
    session = new_session(store)
    reply = store.add(session.id, Role.ASSISTANT, "", parent_id=None, status=Status.STREAMING)
    store.journal(reply.id, "growing giraffe")
    assert store.search("giraffe") == []
    assert store.search("gi") == []
    store.finish(reply.id, status=Status.DONE, text="grown giraffe")
    assert len(store.search("giraffe")) == 1
    store.finish(reply.id, status=Status.STOPPED, text="grown elephant")
    assert store.search("giraffe") == []
    assert len(store.search("grown")) == len(store.search("elephant")) == 1
    deleted = store.delete_message(reply.id)
    assert store.search("elephant") == []
    store.restore(deleted)
    assert len(store.search("elephant")) == 1


def test_text_after_nul_is_found(store: SessionStore) -> None:
    session = new_session(store)
    store.add(session.id, Role.USER, "before\0after", parent_id=None)
    assert len(store.search("before")) == len(store.search("er")) == len(store.search("after")) == 1


def test_search_reaches_across_sessions_and_processes(file: Path) -> None:
    with SessionStore(file) as one, SessionStore(file) as other:
        for title in ("a", "b"):
            session = new_session(one, title=title)
            one.add(session.id, Role.USER, f"needle in {title}", parent_id=None)
        assert {hit.session.title for hit in other.search("needle")} == {"a", "b"}


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), words)
def test_any_piece_of_a_text_finds_it(text: str, piece: str) -> None:
    if '"' in piece or not piece.split():
        return
    with SessionStore.in_memory() as store:
        session = new_session(store)
        store.add(session.id, Role.USER, text + piece + text, parent_id=None)
        (hit,) = store.search(f'"{piece}"')
        assert all(0 <= a < b <= len(hit.snippet) for a, b in hit.spans)
        assert hit.spans


@given(st.text(max_size=40))
def test_no_query_fails(query: str) -> None:
    with SessionStore.in_memory() as store:
        session = new_session(store)
        store.add(session.id, Role.USER, query, parent_id=None)
        assert all(text_of(hit) == query for hit in store.search(query))


def test_quotes_keep_words_together() -> None:
    assert parse_query('a "b c" d') == ["a", "b c", "d"]
    assert parse_query('"open') == ['"open']
    assert parse_query('a a "" "  "') == ["a", '""']


def test_a_snippet_is_one_line_around_the_first_hit() -> None:
    text = "x" * 100 + "\nfox\n" + "y" * 300 + "fox"
    snippet, spans = excerpt(text, ["fox"])
    assert snippet.startswith("…xxx")
    assert snippet.endswith("yyy…")
    assert "\n" not in snippet
    assert [snippet[a:b] for a, b in spans] == ["fox"]


def test_a_hit_that_leaves_the_snippet_is_cut() -> None:
    snippet, ((start, end),) = excerpt("a" * 500, ["a" * 400])
    assert snippet[start:end] == "a" * 120


def test_characters_that_fold_to_several_keep_their_place() -> None:
    snippet, spans = excerpt("ßßß x İ fuß", ["fuss"])
    assert [snippet[a:b] for a, b in spans] == ["fuß"]


SAME = [
    ("Straße", "STRASSE"),
    ("\u212bngström", "ÅNGSTRÖM"),
    ("ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"),  # the final sigma
    ("ΆΙΔΗΣ ᾳ", "άιδησ αι"),
    ("İSTANBUL", "istanbul"),
    ("ISPARTA", "ısparta"),
    ("Iğdır", "IĞDIR"),
    ("ﬁnal", "FINAL"),
    ("ĲSSELMEER", "ĳsselmeer"),
    ("café", "CAFÉ"),
    ("한국어", "한국어"),
    ("각", "각"),
    ("が", "が"),
    ("Ṩ", "ṩ"),
    ("ǰ", "J̌"),
    ("কো", "কো"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_spellings_that_are_the_same_find_each_other(
    store: SessionStore, one: str, other: str, form: Literal["NFC", "NFD"]
) -> None:
    session = new_session(store)
    for text, query in ((one, other), (other, one)):
        before = f"ßßß é 한 {text} after"
        for written in (before, unicodedata.normalize(form, before)):
            store.add(session.id, Role.USER, written, parent_id=None)
            hit = store.search(f'"{query}"')[0]
            assert text_of(hit) == written
            ((start, end),) = hit.spans
            assert fold(hit.snippet[start:end]) == fold(query)


@pytest.mark.parametrize(
    ("text", "query"), [("한국", "하"), ("café", "cafe"), ("ä", "a"), ("strasse", "ss ß x")]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_others_do_not(
    store: SessionStore, text: str, query: str, form: Literal["NFC", "NFD"]
) -> None:
    session = new_session(store)
    store.add(session.id, Role.USER, unicodedata.normalize(form, text), parent_id=None)
    assert store.search(unicodedata.normalize(form, query)) == []


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_every_hit_is_marked_where_it_is(text: str) -> None:
    for at in range(len(text)):
        snippet, spans = excerpt(text, [fold(text[at : at + 3])])
        assert all(0 <= start < end <= len(snippet) for start, end in spans)


def test_titles_are_found_before_messages(store: SessionStore) -> None:
    old = new_session(store, title="Die Straße nach Süden")
    new = new_session(store, title="STRASSE")
    message = store.add(old.id, Role.USER, "eine straße", parent_id=None)
    first, second, third = store.search("strasse")
    assert [first.session.id, second.session.id] == [old.id, new.id]
    assert first.message is second.message is None
    assert [first.snippet[a:b] for a, b in first.spans] == ["Straße"]
    assert id_of(third) == message.id
    assert len(store.search("strasse", limit=2)) == 2
    assert store.search("nach eine") == []  # the words stand in different places
    assert [hit.session.id for hit in store.search("nach süden")] == [old.id]


@pytest.fixture
def long(file: Path) -> Iterator[SessionStore]:
    """A store in a file with 300 texts of 10,000 characters, which are read in several steps."""
    with SessionStore(file) as store:
        session = new_session(store, title="long")
        texts = (f"{number} häufig " + "ä" * 10_000 for number in range(300))
        for text in texts:
            store.add(session.id, Role.USER, text, parent_id=None)
        yield store


class Folds:
    """What `search.fold` was called with; ``at_each`` is done at each call for a message."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at_each: Callable[[], object]) -> None:
        self.count = 0

        def folding(text: str) -> str:
            if len(text) > 5000:
                self.count += 1
                at_each()
            return fold(text)

        monkeypatch.setattr("tchat.sessions.search.fold", folding)


def test_others_write_while_texts_are_compared(
    long: SessionStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (session,) = long.sessions()
    written: list[bool] = []

    def write() -> None:
        if written:
            return
        thread = threading.Thread(target=long.rename, args=(session.id, "new"), daemon=True)
        thread.start()
        thread.join(10)
        written.append(not thread.is_alive())
        with closing(sqlite3.connect(file, timeout=0)) as other, other:  # another process
            other.execute("UPDATE messages SET rating = 1 WHERE id = 1")

    Folds(monkeypatch, write)
    assert long.search("nowhere") == []
    assert written == [True]
    assert long.get(session.id).title == "new"
    assert long.message(1).rating == 1


def test_a_search_that_is_stopped_reads_no_further(
    long: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()
    folds = Folds(monkeypatch, stopped.set)
    long.search("nowhere", stopped=stopped.is_set)
    assert 0 < folds.count < 50
    stopped.clear()
    folds.count = 0
    long.search("nowhere")
    assert folds.count == 300


def test_no_message_is_missed_between_two_steps(long: SessionStore) -> None:
    assert [id_of(hit) for hit in long.search("häufig", 1000)] == list(range(300, 0, -1))
    assert [id_of(hit) for hit in long.search("HÄUFIG", 7)] == list(range(300, 293, -1))


def test_what_is_deleted_during_the_search_is_passed_over(
    long: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[object] = []

    def delete() -> None:
        if not deleted:
            deleted.append(long.delete_message(299))

    Folds(monkeypatch, delete)
    assert [id_of(hit) for hit in long.search("häufig", 3)] == [300, 298, 297]


async def test_a_search_that_the_screen_gave_up_ends(
    long: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, free = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert free.wait(30)

    folds = Folds(monkeypatch, wait)
    services = SessionService(
        cast(Conversation, SimpleNamespace(persistent=long)), cast(MessageService, None)
    )
    task = asyncio.create_task(services.search("nowhere"))
    await asyncio.to_thread(entered.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    free.set()
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for the search's thread
    assert 0 < folds.count < 50
