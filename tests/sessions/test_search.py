"""Full-text search in any language, for any query."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.sessions.records import Hit, Role, Session, Status
from tchat.sessions.search import excerpt, fold, parse
from tchat.sessions.store import SessionStore

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
    session = store.create()
    for text in CORPUS:
        store.add(session.id, Role.USER, text, parent_id=None)
    return session


def found(store: SessionStore, query: str) -> list[int]:
    return sorted(CORPUS.index(text_of(hit)) for hit in store.search(query))


def text_of(hit: Hit) -> str:
    assert hit.message is not None
    return hit.message.text


def id_of(hit: Hit) -> int:
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
    session = store.create()
    ids = [store.add(session.id, Role.USER, f"same words {n}", parent_id=None).id for n in range(5)]
    assert [id_of(hit) for hit in store.search("same")] == ids[::-1]
    assert [id_of(hit) for hit in store.search("words", limit=2)] == ids[:2:-1]
    assert [id_of(hit) for hit in store.search("s", limit=1)] == ids[-1:]


def test_a_search_follows_every_change(store: SessionStore) -> None:
    session = store.create()
    reply = store.add(session.id, Role.ASSISTANT, "", parent_id=None, status=Status.STREAMING)
    store.journal(reply.id, "growing giraffe")
    assert store.search("giraffe") == []
    assert store.search("gi") == []
    store.finish(reply.id, status=Status.DONE, text="grown giraffe")
    assert len(store.search("giraffe")) == 1
    store.finish(reply.id, status=Status.STOPPED, text="grown elephant")
    assert store.search("giraffe") == []
    assert len(store.search("grown")) == len(store.search("elephant")) == 1
    store.resume(reply.id)
    assert store.search("elephant") == []
    store.finish(reply.id, status=Status.DONE, text="grown elephant again")
    deleted = store.delete_message(reply.id)
    assert store.search("elephant") == []
    store.restore(deleted)
    assert len(store.search("elephant")) == 1


def test_text_after_nul_is_found(store: SessionStore) -> None:
    session = store.create()
    store.add(session.id, Role.USER, "before\0after", parent_id=None)
    assert len(store.search("before")) == len(store.search("er")) == len(store.search("after")) == 1


def test_search_reaches_across_sessions_and_processes(file: Path) -> None:
    with SessionStore(file) as one, SessionStore(file) as other:
        for title in ("a", "b"):
            session = one.create(title=title)
            one.add(session.id, Role.USER, f"needle in {title}", parent_id=None)
        assert {hit.session.title for hit in other.search("needle")} == {"a", "b"}


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30), words)
def test_any_piece_of_a_text_finds_it(text: str, piece: str) -> None:
    if '"' in piece or not piece.split():
        return
    with SessionStore.in_memory() as store:
        session = store.create()
        store.add(session.id, Role.USER, text + piece + text, parent_id=None)
        (hit,) = store.search(f'"{piece}"')
        assert all(0 <= a < b <= len(hit.snippet) for a, b in hit.spans)
        assert hit.spans


@given(st.text(max_size=40))
def test_no_query_fails(query: str) -> None:
    with SessionStore.in_memory() as store:
        session = store.create()
        store.add(session.id, Role.USER, query, parent_id=None)
        assert all(text_of(hit) == query for hit in store.search(query))


def test_quotes_keep_words_together() -> None:
    assert parse('a "b c" d') == ["a", "b c", "d"]
    assert parse('"open') == ['"open']
    assert parse('a a "" "  "') == ["a", '""']


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
    session = store.create()
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
    session = store.create()
    store.add(session.id, Role.USER, unicodedata.normalize(form, text), parent_id=None)
    assert store.search(unicodedata.normalize(form, query)) == []


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_every_hit_is_marked_where_it_is(text: str) -> None:
    for at in range(len(text)):
        snippet, spans = excerpt(text, [fold(text[at : at + 3])])
        assert all(0 <= start < end <= len(snippet) for start, end in spans)


def test_titles_are_found_before_messages(store: SessionStore) -> None:
    old = store.create(title="Die Straße nach Süden")
    new = store.create(title="STRASSE")
    message = store.add(old.id, Role.USER, "eine straße", parent_id=None)
    first, second, third = store.search("strasse")
    assert [first.session.id, second.session.id] == [old.id, new.id]
    assert first.message is second.message is None
    assert [first.snippet[a:b] for a, b in first.spans] == ["Straße"]
    assert id_of(third) == message.id
    assert len(store.search("strasse", limit=2)) == 2
    assert store.search("nach eine") == []  # the words stand in different places
    assert [hit.session.id for hit in store.search("nach süden")] == [old.id]
