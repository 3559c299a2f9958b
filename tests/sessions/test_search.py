"""Full-text search in any language, for any query."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.sessions.records import Role, Session, Status
from tchat.sessions.search import excerpt, parse
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
    session = store.create(title="Corpus")
    for text in CORPUS:
        store.add(session.id, Role.USER, text, parent_id=None)
    return session


def found(store: SessionStore, query: str) -> list[int]:
    return sorted(CORPUS.index(hit.message.text) for hit in store.search(query))


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
        ("STRASSE", []),
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
    assert [hit.message.id for hit in store.search("same")] == ids[::-1]
    assert [hit.message.id for hit in store.search("words", limit=2)] == ids[:2:-1]
    assert [hit.message.id for hit in store.search("s", limit=1)] == ids[-1:]


def test_the_index_follows_every_change(store: SessionStore) -> None:
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
    check_index(store)


def check_index(store: SessionStore) -> None:
    """SQLite compares the index with the texts and fails where they differ."""
    with store._database.writing() as connection:
        connection.execute("INSERT INTO search_index (search_index) VALUES ('integrity-check')")


def test_text_after_nul_is_found_by_short_words_only(store: SessionStore) -> None:
    """SQLite's tokenizer ends a text at NUL."""
    session = store.create()
    store.add(session.id, Role.USER, "before\0after", parent_id=None)
    assert len(store.search("before")) == 1
    assert len(store.search("er")) == 1
    assert store.search("after") == []


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
        check_index(store)


@given(st.text(max_size=40))
def test_no_query_fails(query: str) -> None:
    with SessionStore.in_memory() as store:
        session = store.create()
        store.add(session.id, Role.USER, query, parent_id=None)
        assert all(hit.message.text == query for hit in store.search(query))


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
