"""The title that the model writes: what is taken for one, and that the chat stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tchat.chat import title
from tchat.chat.chat import Chat
from tchat.chat.title import clean_title
from tchat.paths import user_paths
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Why the Sky Is Blue", "Why the Sky Is Blue"),
        ('"Boiling Eggs."', "Boiling Eggs"),
        ("**Title: Boiling Eggs**", "Boiling Eggs"),
        ("标题很短", "标题很短"),
        ("Title：标题很短", "标题很短"),
        ("«Le ciel bleu»", "Le ciel bleu"),
        ("", ""),
        ("...", ""),
        ("Sure, here is a title", ""),
        ("I am an assistant", ""),
        ("Here's a title for you", ""),
        ("Three to six words, in its language", ""),
        ("The sky is blue. It scatters light", ""),
        ("eggs eggs eggs eggs", ""),
        ("one two three four five six seven eight nine ten", ""),
        ("x" * 61, ""),
        ("A\x1b[2J title\u202e", "A␛[2J title⟦U+202E⟧"),
    ],
)
def test_what_is_taken_for_a_title(reply: str, found: str) -> None:
    assert clean_title(reply) == found


@pytest.fixture
def chat(tiny_model: Path, home: Path) -> Chat:
    settings = Settings(model=str(tiny_model), threads=1, sampling=Sampling(temp=0, max_tokens=8))
    return Chat(settings, user_paths(), SessionStore.in_memory())


def held(chat: Chat) -> list[int]:
    assert chat.model is not None
    loaded = chat.model.require_engine().loaded
    assert loaded is not None
    return list(loaded.kv.tokens)


def test_the_kv_cache_is_that_of_the_chat_again(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(title, "clean_title", lambda text: f"<{text}>")
    with chat:
        assert chat.write_title(lambda: True) == ""  # there is no session
        list(chat.send("one"))
        before = held(chat)
        list(chat.send("two"))
        stored = [each.text for each in chat.store.branch(chat.session.id)] if chat.session else []
        whole = held(chat)
        chat.write_title(lambda: True)
        after = held(chat)
        assert after == whole[: len(after)]
        assert len(after) >= len(whole) - 2 > len(before)
        assert [each.text for each in chat.store.branch(chat.session.id)] == stored  # type: ignore[union-attr]


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_it_gives_way_after_any_step(chat: Chat, steps: int) -> None:
    with chat:
        list(chat.send("one"))
        before = held(chat)
        left = iter([True] * steps)
        assert chat.write_title(lambda: next(left, False)) == ""
        assert held(chat) == before[: len(held(chat))]
        assert len(held(chat)) >= len(before) - 2
        list(chat.send("two"))
