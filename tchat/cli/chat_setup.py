"""Opening settings, store, session and chat, for one prompt and for a whole chat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.cli.ask_request import AskRequest
from tchat.cli.console import Console
from tchat.errors import StorageError, UsageError
from tchat.paths import expanded
from tchat.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tchat.chat.chat import Chat
    from tchat.chat.model import ChatModel
    from tchat.chat.preload import Preloaded
    from tchat.chat.templates import PromptTemplate
    from tchat.engine.binding import Cancel
    from tchat.sessions.fallback_store import FallbackStores
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore, Store


def resolve_settings(
    request: AskRequest, console: Console, template: PromptTemplate | None = None
) -> Settings:
    """Load the settings, with warnings on standard error.

    The sampling of a template overrides the configuration; flags override both.

    Raises:
        UsageError: A setting is invalid.
    """
    values = {**(template.sampling if template else {}), **request.settings}
    settings, warnings, _ = load(console.paths, console.environ, values)
    for warning in warnings:
        console.notice(f"warning: {warning}")
    return check_settings(settings)


def check_settings(settings: Settings) -> Settings:
    """Normalize texts and paths, and check the grammar.

    Raises:
        UsageError: The grammar is invalid.
    """
    if settings.sampling.grammar:
        from tchat.engine.grammar.gbnf import require_grammar

        require_grammar(settings.sampling.grammar)
    system = settings.system
    if system:  # only then: the first picture would wait for the import
        from tchat.cli.prompt_input import decode_words

        system = decode_words([system])
    return replace(settings, model=_absolute_model_path(settings.model), system=system)


def require_loadable(settings: Settings, console: Console) -> None:
    """Check that the model of ``settings`` can be loaded with them.

    Raises:
        ModelError: It is missing, is no chat model, or an adapter is invalid.
        UsageError: The settings cannot be combined.
    """
    if console.open_chat is None:
        from tchat.chat.preload import require_valid_options

        require_valid_options(settings, console.paths)


def abandon_loading(begun: Preloaded | None, cancel: Cancel) -> None:
    """Free a model that started to load, if nothing else did."""
    if begun is not None:
        cancel.set()
        begun.opening.abandon()


def open_store(request: AskRequest, settings: Settings, console: Console) -> SessionStore:
    """Open the session store: the user's, or one in memory.

    Raises:
        StorageError: It cannot be opened.
    """
    from tchat.sessions.store import SessionStore

    store = SessionStore(sessions_file(request, settings, console))
    for notice in store.notices:
        console.say(notice)
    return store


def sessions_file(request: AskRequest, settings: Settings, console: Console) -> Path | None:
    """The file of the session store; None for one in memory."""
    wanted = settings.save_oneshots if request.log is None else request.log
    return console.paths.sessions_db if wanted or request.resumes else None


def find_session(request: AskRequest, store: SessionStore) -> Session | None:
    """The session to continue; `None` for a new one.

    Raises:
        UsageError: There is none.
    """
    if request.cid:
        return store.get(request.cid)
    if not request.resume:
        return None
    session = store.latest()
    if session is None:
        raise UsageError("there is no session to continue", "start one: tchat PROMPT")
    return session


def resume_settings(
    request: AskRequest,
    settings: Settings,
    store: SessionStore,
    session: Session | None,
    notice: Callable[[str], None],
) -> Settings:
    """``settings``, overridden by those of ``session`` and the model of its last reply.

    Flags override both. ``notice`` gets a line for each setting that cannot be used.
    """
    if session is None:
        return settings
    from tchat.chat.session_settings import usable_settings, with_session_settings

    for line in usable_settings(session.settings)[1]:
        notice(line)
    settings = with_session_settings(settings, session.settings, request.settings)
    if "model" in request.settings:
        return settings
    model = store.last_model(session.id)
    return replace(settings, model=model) if model else settings


def start_loading(settings: Settings, console: Console, cancel: Cancel) -> Preloaded | None:
    """Start loading the model in the background; `None` if that is not possible."""
    if console.open_chat is not None:
        return None
    from tchat.chat.preload import preload

    return preload(settings, console.paths, cancel)


def open_chat(
    settings: Settings,
    console: Console,
    store: Store,
    session: Session | None,
    cancel: Cancel,
    *,
    begun: Preloaded | None = None,
    model: ChatModel | None = None,
) -> Chat:
    """Open a chat, or the stand-in of a test.

    Uses ``model``, or the one ``begun`` to load; else loads it on demand.
    """
    if console.open_chat is not None:
        return console.open_chat(settings, console.paths, store, session=session, cancel=cancel)
    from tchat.chat.chat import Chat
    from tchat.chat.model import preloaded_model

    if model is None and begun is not None:
        model = preloaded_model(begun, settings, console.paths, cancel)
    return Chat(settings, console.paths, store, session=session, cancel=cancel, model=model)


def _absolute_model_path(model: str) -> str:
    """Make ``model`` absolute if it is a path, since sessions save it."""
    path = expanded(model)
    # Unlike Path's, it never raises: a name can be longer than any file system allows.
    return str(path.absolute()) if os.path.isfile(path) else model  # noqa: PTH113


@contextmanager
def write_back_at_end(fallbacks: FallbackStores, console: Console) -> Iterator[None]:
    """At the end of a block, save what is only in memory.

    Raises:
        StorageError: It still cannot be saved; only reported if another error ends the block.
    """
    try:
        yield
    except BaseException:
        if error := _lost(fallbacks):
            console.say(str(error))
        raise
    if error := _lost(fallbacks):
        raise error


def _lost(fallbacks: FallbackStores) -> StorageError | None:
    try:
        fallbacks.write_back()
    except StorageError as error:
        return StorageError(f"{error.message}; the last messages are not stored", error.hint)
    finally:
        fallbacks.close()
    return None
