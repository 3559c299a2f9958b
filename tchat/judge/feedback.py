"""Training examples from the user's feedback on replies, read from the session store.

Replies to one question rank: picked or written by the user, rated good, not rated, rated bad. Each
higher one is preferred to each lower one. A rated reply without a counterpart is paired with one of
the opposite rating to another question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import Store

_BY_HAND, _LIKED, _UNSAID, _DISLIKED = 2, 1, 0, -1


@dataclass(frozen=True, slots=True)
class PromptedReply:
    """A reply with its prompt.

    Args:
        asked: System prompt and messages, the question last.
        text: The reply.
    """

    asked: tuple[ChatMessage, ...]
    text: str


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A chosen and a rejected reply.

    Args:
        chosen: The preferred reply.
        rejected: The other one, usually to the same question.
        question: Id of the question.
    """

    chosen: PromptedReply
    rejected: PromptedReply
    question: int


@dataclass(frozen=True, slots=True)
class EditedReply:
    """A reply that the user rewrote.

    Args:
        asked: The prompt of both.
        person: The user's reply.
        generated: The model's reply.
        model: Name of the model, as the user called it.
        model_sha256: Hash of its file; empty if unknown.
    """

    asked: tuple[ChatMessage, ...]
    person: str
    generated: str
    model: str
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Feedback:
    """All feedback of the user.

    Args:
        choices: Examples for the preference model.
        edits: Examples for the discriminator.
        picked: Number of replies picked among candidates.
        liked: Number rated good.
        disliked: Number rated bad.
        written: Number written by the user.
    """

    choices: tuple[PreferencePair, ...] = ()
    edits: tuple[EditedReply, ...] = ()
    picked: int = 0
    liked: int = 0
    disliked: int = 0
    written: int = 0


def read_feedback(store: Store) -> Feedback:
    """Read the feedback of all sessions.

    Raises:
        StorageError: The store cannot be read.
    """
    judged = [message for message in store.with_feedback() if message.role is Role.ASSISTANT]
    questions = {each.parent_id: each for each in judged if each.parent_id is not None}
    choices: list[PreferencePair] = []
    edits: list[EditedReply] = []
    for question, one in questions.items():
        replies = _replies(store, one)
        asked = _asked(store, question)
        if asked:
            choices += _choices(question, asked, replies)
            edits += _edits(asked, replies)
    choices += _across(store, judged, {choice.question for choice in choices})
    return Feedback(
        tuple(choices),
        tuple(edits),
        picked=sum(each.picked_at > 0 for each in judged),
        liked=sum(each.rating > 0 for each in judged),
        disliked=sum(each.rating < 0 for each in judged),
        written=sum(each.by_person for each in judged),
    )


def _replies(store: Store, one: Message) -> list[Message]:
    """``one`` and its siblings."""
    return [
        each
        for each in store.siblings(one.id)
        if each.role is Role.ASSISTANT and each.status is not Status.STREAMING and each.text.strip()
    ]


def _asked(store: Store, question: int) -> tuple[ChatMessage, ...]:
    """The messages up to a question; none if it was deleted meanwhile."""
    try:
        path = store.path_to(question)
        system = store.get(path[-1].session_id).system
    except UsageError:
        return ()
    begins = [ChatMessage("system", system)] if system else []
    return (*begins, *(ChatMessage(each.role.value, each.text) for each in path))


def _standing(message: Message) -> int:
    if message.rating < 0:
        return _DISLIKED
    if message.by_person or message.picked_at:
        return _BY_HAND
    return _LIKED if message.rating > 0 else _UNSAID


def _choices(
    question: int, asked: tuple[ChatMessage, ...], replies: Sequence[Message]
) -> Iterable[PreferencePair]:
    """Yield a pair for every two replies of different rank."""
    for above in replies:
        for below in replies:
            apart = above.text != below.text and _standing(above) > _standing(below)
            if apart and _known(above, below):
                yield PreferencePair(
                    PromptedReply(asked, above.text), PromptedReply(asked, below.text), question
                )


def _known(above: Message, below: Message) -> bool:
    """Whether ``below`` existed when ``above`` was picked, unless a rating decides."""
    rated = above.rating != 0 or below.rating != 0
    picked_only = above.picked_at > 0 and not above.by_person and not rated
    return not picked_only or below.created_at <= above.picked_at


def _edits(asked: tuple[ChatMessage, ...], replies: Sequence[Message]) -> Iterable[EditedReply]:
    """Yield each reply by the user with the model's closest in length, usually the one edited."""
    generated = [each for each in replies if not each.by_person and each.model]
    by_hand = [each for each in replies if each.by_person]
    for mine in by_hand:
        others = [each for each in generated if each.text != mine.text]
        if len(others) == len(generated) > 0:  # nothing was left as the model had written it
            other = min(others, key=lambda each: abs(len(each.text) - len(mine.text)))
            yield EditedReply(asked, mine.text, other.text, other.model, other.model_sha256)


def _across(store: Store, judged: Sequence[Message], paired: set[int]) -> Iterable[PreferencePair]:
    """Pair rated replies that have no counterpart with ones of the opposite rating."""
    alone = [each for each in judged if each.parent_id not in paired and each.text.strip()]
    liked = [each for each in alone if each.rating > 0]
    disliked = [each for each in alone if each.rating < 0]
    if not liked or not disliked:
        return
    count = max(len(liked), len(disliked))
    for _, good, bad in zip(range(count), cycle(liked), cycle(disliked), strict=False):
        chosen, rejected = _answer(store, good), _answer(store, bad)
        if chosen and rejected:
            yield PreferencePair(chosen, rejected, good.parent_id or 0)


def _answer(store: Store, reply: Message) -> PromptedReply | None:
    asked = _asked(store, reply.parent_id) if reply.parent_id is not None else ()
    return PromptedReply(asked, reply.text) if asked else None
