"""What a user does with a chat, each use small enough to be done once for every refusal.

A use is prepared without a fault, carried out with one, and looked at afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tchat.chat.chat import Chat
from tchat.chat.judge import learn
from tchat.engine.batch import BatchOptions, BatchTask
from tchat.engine.events import CandidateEvent, Finished
from tchat.engine.loading import ControlVector
from tchat.engine.prompt import ChatMessage
from tchat.errors import TchatError
from tchat.judge.features import FeatureExtractor
from tchat.judge.ranking import LOGPROB
from tchat.paths import Paths
from tchat.sessions.records import Role
from tchat.sessions.store import SessionStore
from tchat.settings import Sampling, Settings
from tests.sessions.stores import new_session
from tests.tiny import N_EMBD

# More than the 512 tokens that a context begins with, so that it has to grow.
LONG = "why is the sky blue and what would you say about the people in it? " * 40
DRAFT = "what would they say about the sky and the people in it, over and over again? " * 3
GRAMMAR = 'root ::= ("yes" | "no") " " root | "end"'
LABELS = ("yes", "no", "not at all")


@dataclass
class World:
    """Where uses take place.

    Args:
        paths: The user's folders.
        store: The sessions.
        models: ``plain``, ``mamba``, ``sliding`` and ``lora``: the files.
        ended: Replies that the last use wrote to their ends.
    """

    paths: Paths
    store: SessionStore
    models: dict[str, Path]
    chat: Chat = field(init=False)
    ended: list[Finished] = field(default_factory=list)

    def open(self, model: str = "plain", *, session: Any = None, **values: Any) -> Chat:
        """Another chat, not loaded; the sampling's fields and the settings' are keywords."""
        sampling: dict[str, Any] = {"temp": 0.0, "max_tokens": 8}
        sampling |= {name: values.pop(name) for name in list(values) if name in Sampling.__slots__}
        values = {"threads": 1, "ctx_size": 2048, **values}
        if "draft" in values:
            values["draft_model"] = str(self.models[values.pop("draft")])
        if "lora" in values:
            values["lora"] = tuple(str(self.models[name]) for name in values["lora"])
        settings = Settings(model=str(self.models[model]), sampling=Sampling(**sampling), **values)
        self.chat = Chat(settings, self.paths, self.store, session=session)
        return self.chat

    def do(self, events: Iterable[Any]) -> None:
        """Take all events, and keep the ends of replies."""
        for event in events:
            inner = event.event if isinstance(event, CandidateEvent) else event
            if isinstance(inner, Finished):
                self.ended.append(inner)

    def texts(self) -> dict[int, tuple[str, str]]:
        """All messages of the session that are closed: what may never be lost."""
        session = self.chat.session
        if session is None:
            return {}
        tree = self.store.tree(session.id)
        return {m.id: (m.role, m.text) for m in tree.messages if m.status != "streaming"}


Step = Callable[[World], None]


@dataclass(frozen=True)
class Use:
    """One thing that users do.

    Args:
        prepare: Before the fault.
        act: With it.
        asks: Whether it stores a question.
    """

    prepare: Step
    act: Step
    asks: bool = False


def _begun(model: str = "plain", **values: Any) -> Step:
    """A chat with two turns."""

    def prepare(world: World) -> None:
        chat = world.open(model, **values)
        world.do(chat.send("Hello, why is the sky blue?"))
        world.do(chat.send("and how is it now?"))

    return prepare


def _cold(model: str = "plain", **values: Any) -> Step:
    def prepare(world: World) -> None:
        world.open(model, **values)

    return prepare


def _send(text: str = "who would say that?") -> Step:
    return lambda world: world.do(world.chat.send(text))


def _tries(judge: str = "") -> Step:
    def act(world: World) -> None:
        world.do(world.chat.candidates(3, "what is it?", ranker=judge))

    return act


def _ahead_and_send(world: World) -> None:
    for _ in world.chat.prefill_draft(DRAFT, lambda: True):
        pass
    world.do(world.chat.send(DRAFT + "so?"))


def _saved(model: str = "plain") -> Step:
    """A long chat that was saved and closed, and is opened again."""

    def prepare(world: World) -> None:
        chat = world.open(model)
        world.do(chat.send(LONG))
        chat.save_snapshot()
        chat.close()
        world.open(model, session=chat.session)

    return prepare


def _read_long(model: str = "plain") -> Step:
    def prepare(world: World) -> None:
        world.do(world.open(model).send(LONG))

    return prepare


def _reopen(world: World) -> None:
    world.do(world.chat.load_and_restore())
    world.do(world.chat.send("and then?"))


def _save(world: World) -> None:
    world.chat.save_snapshot()


def _map(labels: tuple[str, ...] = ()) -> Step:
    def act(world: World) -> None:
        engine = world.chat.require_model().require_engine()
        tasks = [BatchTask(n, _asking(f"why is number {n} the first?")) for n in range(6)]
        sampling = Sampling(temp=0, max_tokens=6)
        options = BatchOptions(sampling=sampling, labels=labels, slots=3)
        for outcome in engine.map(tasks, options):
            if isinstance(outcome.result, TchatError):
                raise outcome.result

    return act


def _asking(text: str) -> Callable[[], Sequence[ChatMessage]]:
    return lambda: [ChatMessage("user", text)]


def _picked(world: World) -> None:
    """Choices enough to learn from, in a session of its own."""
    _begun()(world)
    if any(s.title == "choices" for s in world.store.sessions()):
        return
    session = new_session(world.store, title="choices")
    for number in range(9):
        asked = world.store.add(session.id, Role.USER, f"what is {number}?", parent_id=None)
        for text in ("it is a long reply of many words", f"short {number}"):
            reply = world.store.add(session.id, Role.ASSISTANT, text, parent_id=asked.id)
        world.store.pick(reply.id)


def _learn(world: World) -> None:
    for _ in learn(world.chat, world.store, None):
        pass


def _score(world: World) -> None:
    engine = world.chat.require_model().require_engine()
    with FeatureExtractor(engine, [1]) as reader:
        for reply in ("it is day", "because they want to see"):
            assert reader.read([ChatMessage("user", "why?")], reply) is not None


def _steer(world: World) -> None:
    engine = world.chat.require_model().require_engine()
    vector = ControlVector(Path("v"), N_EMBD, {1: [0.5] * N_EMBD})
    with engine.steered((vector,)):
        world.do(engine.generate([ChatMessage("user", "hello")], Sampling(temp=0, max_tokens=4)))


def _measure(world: World) -> None:
    world.chat.count_draft("what would it be?")
    world.chat.prefill_cost("what would it be?")


def _regenerate(world: World) -> None:
    world.do(world.chat.regenerate())


def _choose(world: World) -> None:
    world.do(world.chat.choose("is it so?", LABELS))


def _close(world: World) -> None:
    session = world.chat.session
    world.chat.close()
    world.open(session=session)


EVERY_SAMPLER: dict[str, Any] = {
    "temp": 0.8,
    "seed": 1,
    "typical_p": 0.9,
    "top_p": 0.9,
    "min_p": 0.01,
    "xtc_probability": 0.1,
    "repeat_penalty": 1.1,
    "dry_multiplier": 0.5,
    "logit_bias": ("5=-1",),
}

USES: dict[str, Use] = {
    "load and send": Use(_cold(), _send(), asks=True),
    "send": Use(_begun(), _send(), asks=True),
    "send, longer than the context": Use(_begun(), _send(LONG), asks=True),
    "send, recurrent": Use(_begun("mamba"), _send(LONG), asks=True),
    "send, sliding window": Use(_begun("sliding"), _send(LONG), asks=True),
    "send, every sampler": Use(_begun(**EVERY_SAMPLER), _send(), asks=True),
    "send, mirostat": Use(_begun(temp=0.8, seed=1, mirostat=2), _send(), asks=True),
    "send, grammar": Use(_begun(grammar=GRAMMAR, temp=0.8, seed=3), _send(), asks=True),
    "send, draft model": Use(_begun(draft="plain", max_tokens=40), _send(), asks=True),
    "send, LoRA": Use(_cold(lora=("lora",)), _send(), asks=True),
    "regenerate": Use(_begun(temp=0.9, seed=1), _regenerate),
    "choose": Use(_begun(), _choose, asks=True),
    "try": Use(_begun(temp=0.9, seed=1), _tries(), asks=True),
    "try, recurrent": Use(_begun("mamba", temp=0.9, seed=1), _tries(), asks=True),
    "try, until the context grows": Use(
        _begun(temp=0.9, seed=1, max_tokens=300), _tries(), asks=True
    ),
    "best by likelihood": Use(_begun(temp=0.9, seed=1), _tries(LOGPROB), asks=True),
    "measure": Use(_begun(), _measure),
    "read ahead": Use(_begun(), _ahead_and_send),
    "read ahead, recurrent": Use(_begun("mamba"), _ahead_and_send),
    "save": Use(_read_long(), _save),
    "save, recurrent": Use(_read_long("mamba"), _save),
    "close": Use(_read_long(), _close),
    "reopen": Use(_saved(), _reopen),
    "reopen, recurrent": Use(_saved("mamba"), _reopen),
    "reopen, sliding window": Use(_saved("sliding"), _reopen),
    "map": Use(_begun(), _map()),
    "map, choose": Use(_begun(), _map(LABELS)),
    "map, recurrent": Use(_begun("mamba"), _map()),
    "train the judge": Use(_picked, _learn),
    "score": Use(_begun(), _score),
    "steer": Use(_begun(), _steer),
}
