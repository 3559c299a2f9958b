"""Which turns go into the prompt."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tchat.chat.context_window import fit_window, reply_reserve
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit

SYSTEM = [ChatMessage("system", "s" * 10)]


def turns(lengths: Sequence[int]) -> list[list[ChatMessage]]:
    answered = [[ChatMessage("user", "u" * n), ChatMessage("assistant", "a")] for n in lengths]
    return [*answered[:-1], answered[-1][:1]]


def count(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content) for message in messages)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 500))
def test_system_and_last_turn_stay_and_the_rest_fits(lengths: list[int], room: int) -> None:
    every = turns(lengths)
    window = fit_window(SYSTEM, every, room=room, count=count)
    assert window.messages[0] == SYSTEM[0]
    assert window.messages[-1] == every[-1][-1]
    assert list(window.messages[1:]) == [m for turn in every[window.first :] for m in turn]
    alone = window.first == len(every) - 1
    assert count(window.messages) <= room or alone
    if window.first:
        less = [*SYSTEM, *(m for turn in every[window.first - 1 :] for m in turn)]
        assert count(less) > room * 0.75


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30), st.integers(1, 500))
def test_what_left_stays_out(lengths: list[int], room: int) -> None:
    every = turns(lengths)
    first = fit_window(SYSTEM, every, room=room, count=count).first
    again = fit_window(SYSTEM, every, room=10_000, count=count, first=first)
    assert again.first == first


def test_a_history_too_long_to_count_is_cut() -> None:
    def refusing(messages: Sequence[ChatMessage]) -> int:
        if count(messages) > 100:
            raise DoesNotFit("too long")
        return count(messages)

    window = fit_window([], turns([60, 60, 20]), room=90, count=refusing)
    assert window.first == 1 or window.first == 2
    assert count(window.messages) <= 90


def test_room_for_the_reply() -> None:
    assert reply_reserve(8192, -1) == 1024
    assert reply_reserve(1024, -1) == 256
    assert reply_reserve(8192, 100) == 100
    assert reply_reserve(1024, 5000) == 512
    assert reply_reserve(1024, 0) == 1


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=30),
    st.integers(1, 500),
    st.sets(st.integers(0, 28), max_size=3),
)
def test_pinned_turns_stay(lengths: list[int], room: int, pinned: set[int]) -> None:
    every = turns(lengths)
    window = fit_window(SYSTEM, every, room=room, count=count, pinned=pinned)
    here = [place for place in range(len(every)) if place >= window.first or place in pinned]
    assert list(window.messages[1:]) == [m for place in here for m in every[place]]
    assert sorted([*here, *window.left_out]) == list(range(len(every)))
    assert count(window.messages) <= room or window.first == len(every) - 1
