"""Which turns go into the prompt."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tchat.chat.context_window import (
    ALL_WHOLE,
    REFILL,
    ContextWindow,
    Cut,
    Excerpts,
    WindowFitter,
    reply_reserve,
)
from tchat.engine.prompt import ChatMessage, MessageCall
from tchat.engine.prompt.encoder import EncodedPrompt
from tchat.engine.prompt.reasoning import ReplyPhase
from tchat.errors import DoesNotFit

SYSTEM = [ChatMessage("system", "s" * 10)]

Turns = list[list[ChatMessage]]
ESTIMATES: dict[str, Callable[[ChatMessage], int]] = {
    "exact": lambda message: len(message.content),
    "low": lambda message: len(message.content) // 5,
    "high": lambda message: 7 * len(message.content) + 3,
    "nothing": lambda _: 0,
}


def turns(lengths: Sequence[int]) -> Turns:
    answered = [[ChatMessage("user", "u" * n), ChatMessage("assistant", "a")] for n in lengths]
    return [*answered[:-1], answered[-1][:1]]


def size(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content) for message in messages)


def encoded(messages: Sequence[ChatMessage]) -> EncodedPrompt:
    return EncodedPrompt([0] * size(messages), "", ReplyPhase.ANSWER, (), ())


def fitted(
    system: Sequence[ChatMessage],
    every: Turns,
    *,
    limit: int,
    first: int = 0,
    pinned: Collection[int] = (),
    cut: Cut = ALL_WHOLE,
    excerpts: Excerpts = (),
    estimate: str = "exact",
    encode: Callable[[Sequence[ChatMessage]], EncodedPrompt] = encoded,
) -> ContextWindow:
    *before, new = every
    count = ESTIMATES[estimate]
    fitter = WindowFitter(
        system,
        before,
        limit=limit,
        count=count,
        first=first,
        pinned=pinned,
        cut=cut,
        excerpts=excerpts,
    )
    return fitter.fit(new, encode)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 500))
def test_system_and_last_turn_stay_and_the_rest_fits(lengths: list[int], limit: int) -> None:
    every = turns(lengths)
    window = fitted(SYSTEM, every, limit=limit)
    assert window.messages[0] == SYSTEM[0]
    assert window.messages[-1] == every[-1][-1]
    assert list(window.messages[1:]) == [m for turn in every[window.first :] for m in turn]
    assert window.prompt is not None
    assert len(window.prompt.tokens) == size(window.messages)
    alone = window.first == len(every) - 1
    assert size(window.messages) <= limit or alone
    if window.first:
        less = [*SYSTEM, *(m for turn in every[window.first - 1 :] for m in turn)]
        assert size(less) > limit * REFILL


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.integers(1, 500),
    st.integers(0, 10),
    st.sets(st.integers(0, 58), max_size=3),
    st.sampled_from(sorted(ESTIMATES)),
)
def test_an_estimate_never_decides(
    lengths: list[int], limit: int, first: int, pinned: set[int], estimate: str
) -> None:
    """The place is the one that trying every place in turn finds."""
    every = turns(lengths)
    last = len(every) - 1
    first, pinned = min(first, last), {place for place in pinned if place < last}

    def tokens(start: int) -> int:
        kept = [turn for n, turn in enumerate(every) if n >= start or n in pinned]
        return size([*SYSTEM, *(message for turn in kept for message in turn)])

    expected = first
    if tokens(first) > limit and first < last:
        places = (n for n in range(first + 1, last) if tokens(n) <= limit * REFILL)
        expected = next(places, last)
    window = fitted(SYSTEM, every, limit=limit, first=first, pinned=pinned, estimate=estimate)
    assert window.first == expected


@given(
    st.lists(st.integers(1, 50), min_size=2, max_size=60),
    st.integers(60, 500),
    st.lists(st.integers(0, 200), min_size=1, max_size=5),
)
def test_what_one_new_turn_showed_changes_nothing_for_the_next(
    lengths: list[int], limit: int, drafts: list[int]
) -> None:
    *before, _ = turns(lengths)
    fitter = WindowFitter(SYSTEM, before, limit=limit, count=ESTIMATES["exact"])
    for draft in drafts:
        new = [ChatMessage("user", "d" * draft)]
        assert fitter.fit(new, encoded) == fitted(SYSTEM, [*before, new], limit=limit)


def test_a_template_that_looks_into_a_draft_is_believed() -> None:
    """One that writes ten times as much of every reply where the draft is a word."""

    def encode(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        times = 10 if messages[-1].content == "think" else 1
        replies = [each for each in messages if each.role == "assistant"]
        return EncodedPrompt(
            [0] * (size(messages) + (times - 1) * 5 * len(replies)), "", ReplyPhase.ANSWER, (), ()
        )

    *before, _ = turns([20] * 100)
    fitter = WindowFitter(SYSTEM, before, limit=1500, count=ESTIMATES["exact"])
    for draft in ("Why", "think", "And", "think"):
        new = [ChatMessage("user", draft)]
        alone = WindowFitter(SYSTEM, before, limit=1500, count=ESTIMATES["exact"])
        assert fitter.fit(new, encode) == alone.fit(new, encode)


def test_no_prompt_is_encoded_that_is_much_longer_than_the_room() -> None:
    made: list[int] = []

    def encode(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        made.append(size(messages))
        return encoded(messages)

    *before, new = turns([20] * 10_000)
    fitter = WindowFitter(SYSTEM, before, limit=2000, count=ESTIMATES["low"])
    assert size(fitter.fit(new, encode).messages) <= 1500
    assert max(made) < 15_000
    assert len(made) < 12
    made.clear()
    fitter.fit([ChatMessage("user", "another")], encode)
    assert len(made) == 1  # and then one for each draft


@given(st.lists(st.integers(1, 50), min_size=2, max_size=30), st.integers(1, 500))
def test_what_left_stays_out(lengths: list[int], limit: int) -> None:
    every = turns(lengths)
    first = fitted(SYSTEM, every, limit=limit).first
    assert fitted(SYSTEM, every, limit=10_000, first=first).first == first


def test_a_history_too_long_to_count_is_cut() -> None:
    def refusing(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        if size(messages) > 100:
            raise DoesNotFit("too long")
        return encoded(messages)

    window = fitted([], turns([60, 60, 20]), limit=90, encode=refusing)
    assert window.first == 1 or window.first == 2
    assert size(window.messages) <= 90


def test_a_turn_too_long_to_count_is_left_to_the_engine() -> None:
    def refusing(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        raise DoesNotFit("too long")

    window = fitted([], turns([60, 60, 2000]), limit=90, encode=refusing)
    assert window.prompt is None
    assert size(window.messages) == 2000


def test_a_stop_ends_it() -> None:
    def stopped(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fitted([], turns([60, 60, 20]), limit=90, encode=stopped)


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
def test_pinned_turns_stay(lengths: list[int], limit: int, pinned: set[int]) -> None:
    every = turns(lengths)
    pinned = {place for place in pinned if place < len(every) - 1}
    window = fitted(SYSTEM, every, limit=limit, pinned=pinned)
    here = [place for place in range(len(every)) if place >= window.first or place in pinned]
    assert list(window.messages[1:]) == [m for place in here for m in every[place]]
    assert sorted([*here, *window.left_out]) == list(range(len(every)))
    assert size(window.messages) <= limit or window.first == len(every) - 1


def step(result: int, call_id: str = "c") -> list[ChatMessage]:
    """A reply with a call, and the result, of so many characters."""
    asked = ChatMessage("assistant", "", tool_calls=(MessageCall(call_id, "look", "{}"),))
    return [asked, ChatMessage("tool", "r" * result, tool_name="look", tool_call_id=call_id)]


def tool_turns(results: Sequence[Sequence[int]]) -> Turns:
    """Turns with a step for each result; the last one waits for its answer."""
    every = [
        [
            ChatMessage("user", "u" * 10),
            *(m for n, size in enumerate(sizes) for m in step(size, f"c{turn}-{n}")),
        ]
        for turn, sizes in enumerate(results)
    ]
    return [*([*turn, ChatMessage("assistant", "a" * 10)] for turn in every[:-1]), every[-1]]


def is_stub(message: ChatMessage) -> bool:
    return message.content.startswith("[result of look, ")


def is_excerpt(message: ChatMessage) -> bool:
    return " characters left out]\n" in message.content


RESULTS = st.lists(
    st.lists(st.one_of(st.integers(1, 40), st.integers(200, 900)), max_size=3),
    min_size=1,
    max_size=12,
)


@given(RESULTS, st.integers(150, 3000), st.sets(st.integers(0, 10), max_size=2))
def test_results_shrink_before_turns_leave(
    results: list[list[int]], limit: int, pinned: set[int]
) -> None:
    every = tool_turns(results)
    last = len(every) - 1
    pinned = {place for place in pinned if place < last}
    window = fitted(SYSTEM, every, limit=limit, pinned=pinned)
    here = [place for place in range(last + 1) if place >= window.first or place in pinned]
    original = [message for place in here for message in every[place]]
    shown = window.messages[1:]
    assert len(shown) == len(original)
    for before, now in zip(original, shown, strict=True):
        is_short = is_stub(now) or is_excerpt(now)
        assert now == before or (before.role == "tool" and is_short)
    # What the model has not seen yet, and what is pinned, is whole; nothing parts.
    assert shown[-2:] == tuple(original[-2:]) or window.excerpts
    assert not any(map(is_excerpt, shown[:-1]))
    whole = [message for place in here if place in pinned for message in every[place]]
    assert all(message in shown for message in whole)
    stubs = [now for now in shown if now.role == "tool" and is_stub(now)]
    assert len(stubs) >= len(window.shortened)
    if size([*SYSTEM, *(m for turn in every for m in turn)]) <= limit:
        assert (window.first, window.cut) == (0, ALL_WHOLE)
    if window.first:  # then all that is before the last half is short
        old = [m for m in shown if m.role == "tool" and m not in whole and len(m.content) > 100]
        assert sum(len(m.content) for m in old[1:]) <= limit * 0.5 + 900 or window.first == last
    if window.prompt is not None and len(window.prompt.tokens) > limit:
        assert window.first == last
        short = [m for m in shown[:-1] if m not in whole and m.role == "tool"]
        assert all(is_stub(m) or len(m.content) < 100 for m in short)
        rest = len(window.prompt.tokens) - len(shown[-1].content)
        assert limit - rest < 100 or shown[-1].role == "user"


@given(RESULTS, st.integers(150, 3000))
def test_a_prompt_begins_as_the_last_one_until_something_leaves(
    results: list[list[int]], limit: int
) -> None:
    """The KV cache holds over the steps of a turn, and from turn to turn."""
    every = tool_turns(results)
    first, cut, before = 0, ALL_WHOLE, tuple(SYSTEM)
    excerpts: Excerpts = ()
    for number, turn in enumerate(every):
        for end in range(1, len(turn) + 1):
            if turn[end - 1].role == "assistant":
                continue  # no prompt ends here
            window = fitted(
                SYSTEM,
                [*every[:number], turn[:end]],
                limit=limit,
                first=first,
                cut=cut,
                excerpts=excerpts,
            )
            excerpts += window.excerpts
            assert window.first >= first
            assert window.cut >= cut
            if (window.first, window.cut) == (first, cut):
                assert window.messages[: len(before)] == before
            first, cut, before = window.first, window.cut, window.messages


@pytest.mark.parametrize("estimate", sorted(ESTIMATES))
def test_results_go_until_enough_is_free(estimate: str) -> None:
    every = tool_turns([[400], [400], [400], [20], []])
    window = fitted(SYSTEM, every, limit=1200, estimate=estimate)
    assert window.prompt is not None
    assert len(window.prompt.tokens) <= 1200
    if estimate == "exact":
        assert (window.first, window.cut, window.shortened) == (0, Cut(1, 1), ("look", "look"))
        stub = "[result of look, 400 tokens, left out]"
        assert [message.content for message in window.messages].count(stub) == 2


def test_results_of_a_long_chat_that_is_opened_again_stay_near_its_end() -> None:
    window = fitted(SYSTEM, tool_turns([[150]] * 1000 + [[]]), limit=2000)
    results = [message for message in window.messages if message.role == "tool"]
    assert not any(map(is_stub, results[-4:]))
    assert is_stub(results[0])
    assert window.prompt is not None
    assert len(window.prompt.tokens) <= 2000


def test_earlier_results_of_the_own_turn_shrink_too() -> None:
    window = fitted(SYSTEM, tool_turns([[300], [300, 300, 300]]), limit=500)
    results = [message for message in window.messages if message.role == "tool"]
    assert window.first == 0
    assert [is_stub(message) for message in results] == [True, True, True, False]


def test_results_too_long_to_count_are_shortened() -> None:
    def refusing(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        if size(messages) > 1000:
            raise DoesNotFit("too long")
        return encoded(messages)

    window = fitted([], tool_turns([[50_000], [20], []]), limit=500, encode=refusing)
    assert window.first == 0
    assert [is_stub(m) for m in window.messages if m.role == "tool"] == [True, False]


@pytest.mark.parametrize("estimate", ["exact", "low", "high"])
def test_of_a_new_result_that_is_too_long_the_ends_are_shown(estimate: str) -> None:
    def refusing(messages: Sequence[ChatMessage]) -> EncodedPrompt:
        if size(messages) > 4000:
            raise DoesNotFit("too long")
        return encoded(messages)

    result = replace(step(1)[1], content="head " + "x" * 9000 + " tail")
    every = [*tool_turns([[20], []])[:1], [ChatMessage("user", "u"), *step(20), step(1)[0], result]]
    window = fitted(SYSTEM, every, limit=1000, estimate=estimate, encode=refusing)
    assert window.prompt is not None
    assert window.excerpts == ((result, window.messages[-1]),)
    assert len(window.prompt.tokens) <= 1000
    shown = window.messages[-1].content
    assert shown.startswith("head xxx")
    assert shown.endswith("xxx tail")
    assert is_excerpt(window.messages[-1])
    if estimate == "exact":
        assert size(window.messages) > 500
        assert (window.first, window.shortened) == (0, ())  # before anything else leaves


def test_short_ones_of_several_new_results_stay_whole() -> None:
    calls = tuple(MessageCall(each, "look", "{}") for each in "abc")
    results = [
        ChatMessage("tool", text, tool_name="look", tool_call_id=each)
        for each, text in zip("abc", ("x" * 5000, "small", "y" * 3000), strict=True)
    ]
    every = [[ChatMessage("user", "u"), ChatMessage("assistant", "", tool_calls=calls), *results]]
    window = fitted([], every, limit=500)
    first, second, third = window.messages[-3:]
    assert second == results[1]
    assert is_excerpt(first)
    assert is_excerpt(third)
    assert 200 < size(window.messages) <= 500
    assert abs(len(first.content) - len(third.content)) < 30


def test_a_result_behind_a_begun_reply_is_new() -> None:
    every = tool_turns([[300], [300]])
    every[-1].append(ChatMessage("assistant", "So far"))
    window = fitted(SYSTEM, every, limit=600)
    assert is_stub(window.messages[3])
    assert window.messages[-2] == every[-1][-2]
