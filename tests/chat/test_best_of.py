"""The best of several replies: judged, kept with its score, and gone on with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy
import pytest

from tchat.chat.chat import Chat
from tchat.engine.events import CandidateEvent, Event, Finished, MessageStored, Notice, Ranked
from tchat.errors import UsageError
from tchat.judge.discriminator import Discriminator, TrainingProvenance, judge_folder, save
from tchat.judge.features import SCALAR_FEATURES
from tchat.judge.linear_head import LinearHead, LinearModel, PlattScaling
from tchat.models.metadata import read_metadata
from tchat.paths import Paths
from tchat.sessions.store import SessionStore
from tests.chat.conftest import OpenChat

DRAWN = {"temp": 1.5, "seed": 3, "max_tokens": 24}
WIDTH = 64


def taught(
    tiny_model: Path, paths: Paths, layer: int, width: int = WIDTH, fingerprint: str = ""
) -> None:
    """A head that likes long replies, and looks at states of ``layer``."""
    weights = numpy.zeros(width + len(SCALAR_FEATURES))
    weights[width] = 1.0
    zero, one = numpy.zeros_like(weights), numpy.ones_like(weights)
    head = LinearHead(layer, zero, one, LinearModel(weights, -3.0), PlattScaling())
    folder = judge_folder(read_metadata(tiny_model), paths)
    facts = TrainingProvenance("m", fingerprint or folder.fingerprint, "d", (40, 40), None, {}, 1.0)
    save(Discriminator(head, facts), folder.human)


def run(events: Iterable[Event]) -> tuple[dict[int, Finished], dict[int, int], Ranked]:
    ends: dict[int, Finished] = {}
    ids: dict[int, int] = {}
    for event in events:
        if isinstance(event, CandidateEvent) and isinstance(event.event, Finished):
            ends[event.index] = event.event
        elif isinstance(event, CandidateEvent) and isinstance(event.event, MessageStored):
            ids[event.index] = event.event.reply
    assert isinstance(event, Ranked)
    return ends, ids, event


def test_the_likeliest_is_gone_on_with(open_chat: OpenChat, store: SessionStore) -> None:
    chat: Chat = open_chat(**DRAWN)
    ends, ids, ranked = run(chat.candidates(4, "hello", ranker="logprob"))
    scores = [score for _, score in ranked.scores]
    assert scores == sorted(scores, reverse=True)
    assert dict(ranked.scores) == {i: end.log_probability for i, end in ends.items() if end.text}
    best = ranked.scores[0][0]
    assert chat.session is not None
    last = store.branch(chat.session.id)[-1]
    assert (last.id, last.scores) == (ids[best], {"logprob": scores[0]})
    assert len(store.siblings(last.id)) == 4


@pytest.mark.parametrize("layer", [2, 1])
def test_a_head_judges_what_was_written(
    open_chat: OpenChat, store: SessionStore, tiny_model: Path, paths: Paths, layer: int
) -> None:
    """The final state comes with the writing; for another layer the replies are read."""
    taught(tiny_model, paths, layer)
    ends, _, ranked = run(open_chat(**DRAWN).candidates(4, "hello", ranker="human"))
    assert all((end.hidden_states is not None) == (layer == 2) for end in ends.values())
    lengths = [ends[index].usage.completion for index, _ in ranked.scores]
    if layer == 2:
        assert lengths == sorted(lengths, reverse=True)
    assert all(0 <= score <= 1 for _, score in ranked.scores)
    # What is not decided yet is nothing to learn from.
    assert store.with_feedback() == []


@pytest.mark.parametrize("other", [{"layer": 9}, {"width": WIDTH + 8}, {"fingerprint": "f"}])
def test_a_head_of_another_model_is_refused_before_anything_is_written(
    open_chat: OpenChat,
    store: SessionStore,
    tiny_model: Path,
    paths: Paths,
    other: dict[str, Any],
) -> None:
    taught(tiny_model, paths, **({"layer": 2} | other))
    with pytest.raises(UsageError, match=r"human\.npz belongs to another model") as caught:
        list(open_chat(**DRAWN).candidates(2, "hello", ranker="human"))
    assert "train it for this one" in str(caught.value)
    assert store.sessions() == []


def test_replies_that_cannot_be_read_have_no_score_and_are_not_lost(
    open_chat: OpenChat,
    store: SessionStore,
    tiny_model: Path,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is read again for a head of a middle layer may be longer than is read at once."""
    monkeypatch.setattr("tchat.engine.engine.READER_CONTEXT", 256)
    taught(tiny_model, paths, layer=1)
    chat = open_chat(**DRAWN)
    events = list(chat.candidates(2, "hello " * 400, ranker="human"))
    assert not any(isinstance(event, Ranked) for event in events)
    [notice] = [event for event in events if isinstance(event, Notice) and event.kind == "judge"]
    assert "no reply could be ranked" in notice.text
    assert chat.session is not None
    last = store.branch(chat.session.id)[-1]
    assert (bool(last.text), last.scores) == (True, {})


def test_without_a_training_it_says_what_to_do_and_stores_nothing(
    open_chat: OpenChat, store: SessionStore
) -> None:
    with pytest.raises(UsageError, match="the discriminator is not trained") as caught:
        list(open_chat(**DRAWN).candidates(2, "hello", ranker="human"))
    assert "--ranker logprob" in str(caught.value)
    with pytest.raises(UsageError, match="the preference model is not trained"):
        list(open_chat(**DRAWN).candidates(2, "hello", ranker="preference"))
    assert store.sessions() == []


@pytest.mark.parametrize("judge", ["human", "preference"])
def test_likelihood_takes_the_place_of_an_untrained_judge_where_that_is_wanted(
    open_chat: OpenChat, judge: str
) -> None:
    events = list(open_chat(**DRAWN).candidates(2, "hello", ranker=judge, fallback=True))
    [notice] = [event for event in events if isinstance(event, Notice) and event.kind == "judge"]
    assert "config set ranker logprob" in notice.text
    assert isinstance(events[-1], Ranked)
    assert events[-1].ranker == "logprob"
