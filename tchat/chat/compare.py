"""Several models on one question: each is loaded in turn, its reply stored beside the others."""

from __future__ import annotations

from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tchat.engine.events import (
    CandidateEvent,
    Event,
    Finished,
    MessageStored,
    Notice,
    Reason,
    ReplyDelta,
    TextDelta,
)
from tchat.errors import (
    DoesNotFit,
    ModelError,
    NetworkError,
    PromptTooLong,
    TchatError,
    UsageError,
)
from tchat.humanize import size_text, speed_text
from tchat.models.files import has_gguf_ending, short_model_name
from tchat.models.sources.starter import STARTER
from tchat.paths import Paths, expanded
from tchat.sanitize import single_line
from tchat.settings.schema import has_url_scheme
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.models.metadata import MetadataCache, ModelMetadata
    from tchat.settings import Settings

COMPARE = "compare"  # the kind of its notices
LEAST, MOST = 2, 8  # models
# Errors of one model, which leave the others as they are; of servers the last two.
OF_ONE_MODEL = (ModelError, DoesNotFit, PromptTooLong, NetworkError, UsageError)
NO_SERVERS: Mapping[str, Any] = MappingProxyType({})
PULLED = ("qwen3:4b", "gemma3:4b")  # in the example where none are installed


def parse_models(
    argument: str, paths: Paths, servers: Mapping[str, Any] = NO_SERVERS
) -> tuple[list[str], str]:
    """Parse ``/compare MODEL MODEL… [QUESTION]``: the models, and the question or nothing.

    The first two words are models; a later one is if it is written as one. Nothing is loaded, and
    no server is asked. ``servers`` is the table ``[servers]`` of ``config.toml``.

    Raises:
        ModelError: No model has such a name, or it is not on this disk.
        UsageError: There are too few, too many, or the same twice, or a server is not described
            correctly.
    """
    from tchat.models.models_file import aliases
    from tchat.models.resolve import resolve
    from tchat.servers.config import find_server_model

    known = {*aliases(paths), *servers}
    names: list[str] = []
    found: list[object] = []
    rest = argument.strip()
    while rest:
        word, *more = rest.split(maxsplit=1)
        if len(names) >= LEAST and not _is_written_as_model(word, known, servers):
            break
        served = find_server_model(word, servers, str(paths.config_file))
        path = resolve(word, paths) if served is None else Path(word)
        model = served or path.resolve()
        if model in found:
            raise UsageError(
                tr("{model} is named twice", model=single_line(word, 80)),
                tr("/compare needs different models"),
            )
        found.append(model)
        is_path = served is None and path == expanded(word)
        names.append(str(path.absolute()) if is_path else word)
        rest = more[0] if more else ""
    if not LEAST <= len(names) <= MOST:
        raise UsageError(
            tr("/compare needs {least} to {most} models", least=LEAST, most=MOST),
            tr(
                "for example /compare {models} Why is the sky blue?",
                models=" ".join(_example(paths)),
            ),
        )
    return names, rest


def _example(paths: Paths) -> Sequence[str]:
    """Two models that are installed and can be typed as one word, or two that can be pulled."""
    from tchat.models.sources.registry import local_models

    installed: dict[Path, str] = {}
    with suppress(TchatError):
        for model in local_models(paths):
            if not any(each.isspace() for each in model.name):
                installed.setdefault(model.path.resolve(), single_line(model.name, 80))
    return list(installed.values())[:LEAST] if len(installed) >= LEAST else PULLED


def _is_written_as_model(word: str, known: Container[str], servers: Container[str]) -> bool:
    name, colon, tag = word.partition(":")
    is_tagged = bool(colon and name and tag) and "//" not in word
    server, slash, model = word.partition("/")
    is_served = bool(slash and model) and server in servers
    return word == STARTER or word in known or is_tagged or is_served or has_gguf_ending(word)


def shown_model(name: str, servers: Container[str] = NO_SERVERS) -> str:
    """What a model is called beside others: one on a server with that server. Raw."""
    if has_url_scheme(name):
        return name.partition("://")[2]
    return name if name.partition("/")[0] in servers else short_model_name(name)


def compare_models(
    chat: Chat, names: Sequence[str], prompt: str, *, stopped: Container[int] = ()
) -> Iterator[Event]:
    """Write a reply of each model to ``prompt``, or to the last question, one after the other.

    The events are those of `Chat.candidates`, by the place of the model in ``names``. A model that
    cannot be used is told in a notice, and the others go on. The model of the chat leaves the
    memory only where another does not fit beside it, and is loaded again at the end.

    Raises:
        TchatError: No model could be used.
    """
    comparison = _Comparison(chat, names, stopped)
    yield from comparison.run(prompt)


class _Comparison:
    """One run of `compare_models`."""

    def __init__(self, chat: Chat, names: Sequence[str], stopped: Container[int]) -> None:
        self._chat = chat
        self._names = names
        self._stopped = stopped
        self._ended: list[CandidateEvent] = []  # ends that come before the first reply begins
        self._ids: dict[int, int] = {}
        self._whole: list[int] = []  # those that ended by themselves
        self._texts: dict[int, list[str]] = {}
        self._failure: TchatError | None = None

    def run(self, prompt: str) -> Iterator[Event]:
        """Write all replies."""
        chat = self._chat
        notice, stays = self._plan_memory()
        yield Notice(COMPARE, notice)
        if not stays and chat.model is not None:
            chat.save_snapshot()
            chat.unload()
        try:
            for index in range(len(self._names)):
                yield from self._reply_of(index, prompt)
                prompt = prompt if not self._is_question_stored(prompt) else ""
        finally:
            if self._whole:
                chat.store.activate(self._ids[self._whole[0]])
        yield from self._ended
        if not self._ids and self._failure is not None:
            raise self._failure
        if chat.model is None and not chat.cancel.is_set():
            yield from chat.load_and_restore()

    def _is_question_stored(self, prompt: str) -> bool:
        """Whether the question is stored: it is answered from then on, not asked again."""
        if self._ids or not prompt or self._chat.session is None:
            return bool(self._ids)
        last = self._chat.store.branch(self._chat.session.id, 1)
        return bool(last) and last[-1].role == "user" and last[-1].text == prompt

    def _plan_memory(self) -> tuple[str, bool]:
        """What is told first, and whether the chat's model stays in memory meanwhile."""
        from tchat.chat.machine import require_memory
        from tchat.models.metadata import MetadataCache
        from tchat.models.resolve import resolve

        parts, stays = [], True
        with MetadataCache(self._chat.paths) as metadata_cache:
            for name in self._names:
                if self._settings(name).server:  # needs no memory here
                    parts.append(self._shown(name))
                    continue
                try:
                    metadata = metadata_cache.metadata(resolve(name, self._chat.paths))
                    if name != self._chat.settings.model:
                        require_memory(self._settings(name), metadata)
                except DoesNotFit:
                    stays = False
                except ModelError:  # told when it is its turn
                    continue
                parts.append(_described(name, metadata, metadata_cache))
        models = ", ".join(parts)
        if stays:
            return tr("One after the other: {models}", models=models), True
        return (
            tr(
                "One after the other, since memory holds one at a time: {models}; then {model} is "
                "loaded again",
                models=models,
                model=self._shown(self._chat.settings.model),
            ),
            False,
        )

    def _settings(self, name: str) -> Settings:
        """The settings for a model: adapters and draft models belong to the chat's own."""
        return replace(self._chat.settings, model=name, lora=(), control_vector=(), draft_model="")

    def _reply_of(self, index: int, prompt: str) -> Iterator[Event]:
        """Write the reply of one model; tell where it cannot."""
        from tchat.chat.chat import Chat

        chat = self._chat
        if chat.cancel.is_set() or index in self._stopped:
            yield from self._finish(CandidateEvent(index, _empty("")))
            return
        name = self._names[index]
        is_own = name == chat.settings.model
        writer = chat
        if not is_own:
            writer = Chat(
                self._settings(name), chat.paths, chat.store, session=chat.session,
                is_private=chat.is_private, cancel=chat.cancel,
            )  # fmt: skip
            writer.session_overrides = chat.session_overrides
        try:
            with closing(self._send(writer, prompt)) as events:
                yield from self._reply_events(index, events)
        except OF_ONE_MODEL as error:
            self._failure = error
            model, written = self._shown(name), "".join(self._texts.get(index, ()))
            if written:
                text = tr("the reply of {model} ends here: {reason}", model=model, reason=error)
            else:
                text = tr("{model} is left out: {reason}", model=model, reason=error)
            yield Notice(COMPARE, text)
            yield from self._finish(CandidateEvent(index, _empty(written)))
        finally:
            chat.session = writer.session
            if not is_own:
                writer.unload()

    def _send(self, writer: Chat, prompt: str) -> Generator[Event, None, None]:
        yield from writer.send(prompt) if prompt else writer.regenerate()

    def _reply_events(self, index: int, events: Iterator[Event]) -> Iterator[Event]:
        """The events of one reply, until it ends or is stopped."""
        text = self._texts.setdefault(index, [])
        for event in events:
            if isinstance(event, MessageStored):
                self._ids[index] = event.reply
                yield CandidateEvent(index, event)
                yield from self._ended
                self._ended.clear()
            elif isinstance(event, Finished):
                if event.reason is not Reason.CANCELLED:
                    self._whole.append(index)
                yield from self._finish(CandidateEvent(index, event))
            elif isinstance(event, ReplyDelta):
                text += [event.text] if isinstance(event, TextDelta) else []
                yield CandidateEvent(index, event)
            else:
                yield event
            if index in self._stopped and not isinstance(event, Finished):
                yield from self._finish(CandidateEvent(index, _empty("".join(text))))
                return

    def _shown(self, name: str) -> str:
        return single_line(shown_model(name, self._chat.settings.servers), 60)

    def _finish(self, event: CandidateEvent) -> Iterator[Event]:
        """The end of a reply; held back until one has begun, which the view waits for."""
        if self._ids:
            yield event
        else:
            self._ended.append(event)


def _described(name: str, metadata: ModelMetadata, metadata_cache: MetadataCache) -> str:
    """A model with its size, and how fast it writes here, as far as that is known."""
    from tchat.chat.machine import estimated_speed, known_machine

    speed = metadata_cache.speed(metadata) or estimated_speed(
        metadata, known_machine(metadata_cache)
    )
    size, shown = size_text(metadata.size), single_line(short_model_name(name), 60)
    if not speed:
        return f"{shown} ({size})"
    return tr(
        "{model} ({size}, about {speed} tok/s)",
        model=shown,
        size=size,
        speed=speed_text(speed),
    )


def _empty(text: str) -> Finished:
    """The end of a reply that was stopped."""
    from tchat.engine.events import empty_reply

    return replace(empty_reply(), text=text)
