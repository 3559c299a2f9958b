"""Training data: dialogues from JSONL files, and the user's feedback from the session store.

Shapes of a line, recognized by its keys: ``prompt`` and ``reply``; Alpaca (``instruction``,
``input``, ``output``); self-instruct (``instruction`` and ``instances`` of ``input`` and
``output``); ShareGPT (``conversations`` of ``from`` and ``value``) and its newer form (``messages``
of ``role`` and ``content``).

Of the feedback, replies to one question rank: picked or written by the user, rated good, not rated,
rated bad. Each higher one is preferred to each lower one. A rated reply without a counterpart is
paired with one of the opposite rating to another question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.stored import chat_message
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.sessions.records import Message, Role, Status
from tchat.sessions.store import Store
from tchat.sessions.tool_steps import paired
from tchat.translation import tr, trn

MAX_LINE_BYTES = 1 << 20  # bytes; a dialogue of more does not fit any context
_PEOPLE = frozenset({"human", "user", "prompter"})
_MODELS = frozenset({"gpt", "assistant", "model", "chatgpt", "bot"})


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A prompt and a human reply to it. Texts are raw."""

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class DialogueSet:
    """The dialogues of one or several files, without duplicates, in the order of the files."""

    dialogues: tuple[Dialogue, ...]
    skipped: int  # lines without a dialogue
    sha256: str  # of the dialogues


def read_dialogues(paths: Iterable[Path]) -> DialogueSet:
    """Read JSONL files of any of the known shapes.

    Raises:
        UsageError: A file cannot be read, or none of its lines holds a dialogue.
    """
    found: dict[Dialogue, None] = {}
    skipped = 0
    for path in paths:
        here, odd = parse_dialogue_lines(read_lines(path))
        skipped += odd
        found.update(dict.fromkeys(here))
        if not here:
            raise UsageError(
                tr("{name} holds no dialogue", name=single_line(path.name)),
                tr(
                    "each line is a JSON object with `prompt` and `reply`, or in the shape of "
                    "Alpaca, ShareGPT or self-instruct"
                ),
            )
    digest = hashlib.sha256()
    for each in found:
        digest.update(json.dumps([each.prompt, each.reply]).encode())
    return DialogueSet(tuple(found), skipped, digest.hexdigest())


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that are not blank.

    Raises:
        UsageError: It cannot be read, or a line has no end.
    """
    try:
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            what = tr("a folder") if path.is_dir() else tr("a pipe or a device")
            raise UsageError(
                tr("{name} cannot be read: it is {what}", name=single_line(path.name), what=what),
                tr("name a JSONL file"),
            )
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise UsageError(
                        tr(
                            "{name} has a line of over {max_line_bytes:,} bytes",
                            name=single_line(path.name),
                            max_line_bytes=MAX_LINE_BYTES,
                        ),
                        tr("write one JSON object to a line (JSONL)"),
                    )
                if line.strip():
                    yield _decoded(line)
    except OSError as error:
        raise UsageError(
            tr(
                "{name} cannot be read: {reason}",
                name=single_line(path.name),
                reason=error.strerror,
            ),
            tr("name a JSONL file"),
        ) from error


def _decoded(line: bytes) -> str:
    """Decode a line; empty, which is no dialogue, if it is not UTF-8."""
    try:
        return line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return ""


def parse_dialogue_lines(lines: Iterable[str]) -> tuple[list[Dialogue], int]:
    """The dialogues of some lines, and the number of lines without one."""
    each = [list(parse_dialogues(line)) for line in lines]
    return [dialogue for found in each for dialogue in found], each.count([])


def skipped_notice(skipped: int) -> str:
    """A notice about lines without a dialogue; empty if there are none."""
    if not skipped:
        return ""
    return trn(
        "{count:,} line holds no dialogue and had no effect",
        "{count:,} lines hold no dialogue and had no effect",
        skipped,
    )


def parse_dialogues(line: str) -> Iterator[Dialogue]:
    """Yield the dialogues of one line; none if its shape is unknown."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(row, Mapping):
        return
    if "conversations" in row or "messages" in row:
        yield from _turns(row.get("conversations", row.get("messages")))
    elif isinstance(instances := row.get("instances"), list):
        for instance in instances:
            if isinstance(instance, Mapping):
                yield from _alpaca(row.get("instruction"), instance)
    elif "instruction" in row:
        yield from _alpaca(row["instruction"], row)
    else:
        yield from _dialogue(row.get("prompt"), row.get("reply", row.get("response")))


def _alpaca(instruction: object, row: Mapping[str, object]) -> Iterator[Dialogue]:
    given = row.get("input")
    more = f"\n\n{given}" if isinstance(given, str) and given.strip() else ""
    if isinstance(instruction, str):
        yield from _dialogue(instruction + more, row.get("output"))


def _turns(turns: object) -> Iterator[Dialogue]:
    """Yield the first exchange; later ones depend on it."""
    if not isinstance(turns, list):
        return
    spoken = (
        (str(turn.get("from", turn.get("role"))), turn.get("value", turn.get("content")))
        for turn in turns
        if isinstance(turn, Mapping)
    )
    # A reply before the first prompt answers something that is not there.
    prompt = next((text for role, text in spoken if role in _PEOPLE), None)
    reply = next((text for role, text in spoken if role in _MODELS), None)
    yield from _dialogue(prompt, reply)


def _dialogue(prompt: object, reply: object) -> Iterator[Dialogue]:
    if isinstance(prompt, str) and isinstance(reply, str) and prompt.strip() and reply.strip():
        yield Dialogue(prompt.strip(), reply.strip())


_BY_HAND, _LIKED, _UNSAID, _DISLIKED = 2, 1, 0, -1


@dataclass(frozen=True, slots=True)
class PromptedReply:
    """A reply with its prompt: system prompt and messages, the question last."""

    messages: tuple[ChatMessage, ...]
    text: str


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """A chosen and a rejected reply, usually to the same question."""

    chosen: PromptedReply
    rejected: PromptedReply
    question: int  # its id


@dataclass(frozen=True, slots=True)
class EditedReply:
    """A reply that the user rewrote: the user's text and the model's."""

    messages: tuple[ChatMessage, ...]
    person: str
    generated: str
    model: str  # as the user called it
    model_sha256: str  # empty if unknown


@dataclass(frozen=True, slots=True)
class Feedback:
    """All feedback of the user: examples, and numbers of replies."""

    choices: tuple[PreferencePair, ...] = ()  # for the preference model
    edits: tuple[EditedReply, ...] = ()  # for the discriminator
    picked: int = 0  # among candidates
    liked: int = 0  # rated good
    disliked: int = 0
    written: int = 0  # by the user


def read_feedback(store: Store) -> Feedback:
    """Read the feedback of all sessions.

    Raises:
        StorageError: The store cannot be read.
    """
    judged = [message for message in store.with_feedback() if _is_answer(message)]
    questions = {each.parent_id: each for each in judged if each.parent_id is not None}
    choices: list[PreferencePair] = []
    edits: list[EditedReply] = []
    for question, one in questions.items():
        replies = _replies(store, one)
        messages = _messages_to(store, question)
        if messages:
            choices += _choices(question, messages, replies)
            edits += _edits(messages, replies)
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
    siblings = store.siblings(one.id)
    return [
        each
        for each in siblings
        if _is_answer(each) and each.status is not Status.STREAMING and each.text.strip()
    ]


def _is_answer(message: Message) -> bool:
    """Whether a message answers, and is no step on the way: those are not like each other."""
    return message.role is Role.ASSISTANT and not message.tool_calls


def _messages_to(store: Store, question: int) -> tuple[ChatMessage, ...]:
    """The messages up to a question; none if it was deleted meanwhile."""
    try:
        path = store.path_to(question)
        system = store.get(path[-1].session_id).system
    except UsageError:
        return ()
    begins = [ChatMessage("system", system)] if system else []
    stored = (replace(each, reasoning="") for each in paired(path))
    return (*begins, *map(chat_message, stored))


def _standing(message: Message) -> int:
    if message.rating < 0:
        return _DISLIKED
    if message.by_person or message.picked_at:
        return _BY_HAND
    return _LIKED if message.rating > 0 else _UNSAID


def _choices(
    question: int, messages: tuple[ChatMessage, ...], replies: Sequence[Message]
) -> Iterable[PreferencePair]:
    """Yield a pair for every two replies of different rank."""
    for above in replies:
        for below in replies:
            apart = above.text != below.text and _standing(above) > _standing(below)
            if apart and _known(above, below):
                yield PreferencePair(
                    PromptedReply(messages, above.text),
                    PromptedReply(messages, below.text),
                    question,
                )


def _known(above: Message, below: Message) -> bool:
    """Whether ``below`` existed when ``above`` was picked, unless a rating decides."""
    rated = above.rating != 0 or below.rating != 0
    picked_only = above.picked_at > 0 and not above.by_person and not rated
    return not picked_only or below.created_at <= above.picked_at


def _edits(messages: tuple[ChatMessage, ...], replies: Sequence[Message]) -> Iterable[EditedReply]:
    """Yield each reply by the user with the model's closest in length, usually the one edited."""
    generated = [each for each in replies if not each.by_person and each.model]
    by_hand = [each for each in replies if each.by_person]
    for mine in by_hand:
        others = [each for each in generated if each.text != mine.text]
        if len(others) == len(generated) > 0:  # nothing was left as the model had written it
            other = min(others, key=lambda each: abs(len(each.text) - len(mine.text)))
            yield EditedReply(messages, mine.text, other.text, other.model, other.model_sha256)


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
    messages = _messages_to(store, reply.parent_id) if reply.parent_id is not None else ()
    return PromptedReply(messages, reply.text) if messages else None
