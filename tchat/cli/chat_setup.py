"""The request of a prompt or a chat, and what it opens: settings, store, session, chat, model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tchat.cli.console import Console, ask_line
from tchat.errors import StorageError, StoreLocked, UsageError
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.settings import Settings, Value, load
from tchat.translation import LOCALE, tr, use_setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tchat.chat.chat import Chat
    from tchat.chat.model import ChatModel
    from tchat.chat.preload import Preloaded
    from tchat.chat.templates import PromptTemplate
    from tchat.cli.output.status import TerminalStatus
    from tchat.encryption.encryption import Encryption
    from tchat.engine.binding import Cancel
    from tchat.engine.events import Event
    from tchat.sessions.fallback_store import FallbackStores
    from tchat.sessions.records import Session
    from tchat.sessions.store import SessionStore, Store

T = TypeVar("T")
SHOWN_DEFAULT = 40  # characters of a default that a question for a value shows
UNSURE_BELOW = 0.6  # the probability of yes or no, without --threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRequest:
    """The flags of ``tchat ask``, each a field of its name.

    ``continue_last`` is ``--continue``, ``session_id`` is ``--cid`` and ``command`` is ``--cmd``.
    ``settings`` are the setting flags, ``values`` the template variables. ``log`` and ``threshold``
    are `None` if not given. ``notices`` are about the flags themselves, such as one that was
    renamed.
    """

    words: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: Mapping[str, Value] = field(default_factory=dict)
    continue_last: bool = False
    session_id: str = ""
    template: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    extract: bool = False
    log: bool | None = None
    usage: bool = False
    as_json: bool = False
    schema: str = ""
    grammar: str = ""
    choose: tuple[str, ...] = ()
    yes_no: bool = False
    command: bool = False
    threshold: float | None = None
    stream: bool = True
    candidates: int = 0
    best_of: int = 0
    raw: bool = False
    quiet: bool = False
    notices: tuple[str, ...] = ()

    @property
    def continues_session(self) -> bool:
        """Whether it continues a saved session."""
        return self.continue_last or bool(self.session_id)

    @property
    def is_plain(self) -> bool:
        """Whether a flag asks for the screen reader's mode."""
        return self.settings.get("accessible") is True

    @property
    def brings_text(self) -> bool:
        """Whether the command line holds a prompt."""
        return bool(self.words or self.files or self.template)

    @property
    def may_call_tools(self) -> bool:
        """Whether the model may call tools for it: not where the form of the reply is given."""
        return not self.form_flags

    @property
    def form_flags(self) -> list[str]:
        """The flags that are given and say of what form replies are."""
        forms = {
            "--schema": self.schema,
            "--grammar": self.grammar,
            "--choose": self.choose,
            "--yes-no": self.yes_no,
            "--candidates": self.candidates,
            "--best-of": self.best_of,
            "--cmd": self.command,
        }
        return [flag for flag, given in forms.items() if given]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels to choose from; empty for free text."""
        if self.yes_no:
            return ("yes", "no")
        if len(self.choose) != 1:
            return tuple(label.strip() for label in self.choose)
        return _labels_in(self.choose[0])

    def with_labels(self, prompt: str) -> str:
        """The prompt with the labels to choose from, if any."""
        if not self.labels:
            return prompt
        separator = "; " if any("," in label for label in self.labels) else ", "
        return f"{prompt}\n\nAnswer with one of: {separator.join(self.labels)}."

    def is_unsure(self, probability: float) -> bool:
        """Whether ``probability`` is too low to answer yes or no."""
        return probability < (UNSURE_BELOW if self.threshold is None else self.threshold)


def _labels_in(text: str) -> tuple[str, ...]:
    """The labels in one ``--choose``: a JSON list of texts, or separated by commas."""
    labels: object = text.split(",")
    if text.lstrip().startswith("["):
        import json

        with suppress(ValueError, RecursionError):
            labels = json.loads(text)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UsageError(
            tr("--choose takes labels, not other JSON"),
            tr("for example {value}", value="""--choose '["red", "dark blue"]'"""),
        )
    return tuple(label.strip() for label in labels)


class AskTurn(NamedTuple):
    """A request with its settings, prompt and JSON schema.

    An empty ``prompt`` continues the last reply of the session. ``title`` is that of a new one;
    where empty, the prompt makes it. ``holds_document`` tells that the prompt is more than what the
    user typed: a file or piped text.
    """

    request: AskRequest
    settings: Settings
    prompt: str
    schema: dict[str, Any] | None
    title: str = ""
    holds_document: bool = False


def require_compatible_flags(request: AskRequest) -> None:
    """Check that the flags of ``request`` go together.

    Raises:
        UsageError: Some cannot be combined; names them.
    """
    forms = {
        "--schema": request.schema,
        "--grammar": request.grammar,
        "--choose": request.choose,
        "--yes-no": request.yes_no,
    }
    _require_at_most_one(*(flag for flag, given in forms.items() if given))
    _require_at_most_one(
        *(["--continue"] * request.continue_last), *(["--cid"] * bool(request.session_id))
    )
    if request.settings.get("tools.enabled") and not request.may_call_tools:
        _require_at_most_one("--tools", *request.form_flags)
    if request.log is False and request.continues_session:
        raise UsageError(tr("--no-log excludes --continue and --cid"), tr("leave one out"))
    if request.values and not request.template:
        raise UsageError(tr("-p needs a template"), tr("name the template with -t"))
    if request.candidates and request.labels:
        raise UsageError(tr("--candidates excludes --choose and --yes-no"), tr("leave one out"))
    if request.best_of and (request.labels or request.candidates):
        raise UsageError(
            tr("--best-of excludes --choose, --yes-no and --candidates"), tr("leave one out")
        )
    if request.best_of == 1:
        raise UsageError(tr("--best-of needs at least 2"), tr("for example --best-of 4"))
    if request.threshold is not None and not request.yes_no:
        raise UsageError(tr("--threshold needs --yes-no"), tr("add --yes-no"))
    if request.choose and (len(request.labels) < 2 or "" in request.labels):
        fault = (
            tr("--choose has an empty label")
            if any(request.labels[1:])
            else tr("--choose takes two or more labels")
        )
        raise UsageError(fault, tr("for example --choose red,green,blue"))
    if len(set(request.labels)) < len(request.labels):
        raise UsageError(tr("--choose names a label twice"), tr("name each once"))


def _require_at_most_one(*flags: str) -> None:
    if len(flags) > 1:
        raise UsageError(
            tr("{first} and {second} cannot be combined", first=flags[0], second=flags[1]),
            tr("leave one out"),
        )


def resolve_settings(
    request: AskRequest, console: Console, template: PromptTemplate | None = None
) -> Settings:
    """Load the settings, with warnings on standard error.

    The model and the sampling of a template override the configuration; flags override both.

    Raises:
        UsageError: A setting is invalid.
    """
    settings, notices = settings_and_notices(request, console, template)
    for notice in notices:
        console.notice(notice)
    return settings


def settings_and_notices(
    request: AskRequest, console: Console, template: PromptTemplate | None = None
) -> tuple[Settings, list[str]]:
    """As `resolve_settings`, with the warnings returned instead of printed."""
    values = {**(template.settings if template else {}), **request.settings}
    settings, warnings, _ = load(console.paths, console.environ, values)
    if settings.lang != LOCALE:
        use_setting(settings.lang)
    notices = [*request.notices, *(tr("warning: {text}", text=warning) for warning in warnings)]
    return check_settings(settings), notices


def settings_for_model(console: Console, model: str) -> Settings:
    """The settings, with ``model`` if one is named."""
    settings = load(console.paths, console.environ).settings
    return replace(settings, model=model or settings.model)


def check_settings(settings: Settings) -> Settings:
    """Normalize texts and paths, and check the grammar."""
    if settings.sampling.grammar:
        from tchat.engine.grammar.gbnf import require_grammar

        require_grammar(settings.sampling.grammar)
    system = settings.system
    if system:  # only then: the first picture would wait for the import
        from tchat.cli.console import decode_words

        system = decode_words([system])
    return replace(settings, model=_absolute_model_path(settings.model), system=system)


def require_valid_settings(settings: Settings, console: Console) -> None:
    """Check that the model of ``settings`` can be loaded with them.

    Raises:
        ModelError: It is missing, is no chat model, or an adapter is invalid.
        UsageError: The settings cannot be combined.
    """
    if console.open_chat is None:
        from tchat.chat.preload import require_valid_options

        require_valid_options(settings, console.paths)


def abandon_loading(preloaded: Preloaded | None, cancel: Cancel) -> None:
    """Free a model that started to load, if nothing else did."""
    if preloaded is not None:
        cancel.set()
        preloaded.background.abandon()


def open_store(request: AskRequest, settings: Settings, console: Console) -> SessionStore:
    """Open the session store of one prompt: the user's, or one in memory.

    Raises:
        StorageError: The user's cannot be opened; the hint names ``-n``, where that helps.
    """
    from tchat.sessions.store import SessionStore

    try:
        file = sessions_file(request, settings, console)
        store = SessionStore(file, console.paths.encryption)
    except StorageError as error:
        if request.continues_session:
            raise
        hints = filter(None, (error.hint, tr("or add -n, which does not save the session")))
        raise StorageError(error.message, ", ".join(hints)) from error
    for notice in store.notices:
        console.say(notice)
    return store


def open_chat_store(
    request: AskRequest, file: Path | None, encryption: Encryption | None
) -> tuple[SessionStore, StorageError | None]:
    """The store of a chat; if the disk refuses a new session, one in memory, and the error.

    Raises:
        StorageError: The disk refuses a session that is to be continued.
    """
    from tchat.sessions.store import SessionStore

    try:
        return SessionStore(file, encryption), None
    except StoreLocked:
        raise  # a chat that nothing is kept of is not what was asked for: -n does that
    except StorageError as error:
        if request.continues_session:
            raise
        problem = StorageError(
            tr("{message}. Nothing of this chat is stored", message=error.message), error.hint
        )
        return SessionStore.in_memory(), problem


def sessions_file(request: AskRequest, settings: Settings, console: Console) -> Path | None:
    """The file of the session store; None for one in memory."""
    is_stored = settings.save_oneshots if request.log is None else request.log
    return console.paths.sessions_db if is_stored or request.continues_session else None


def find_session(request: AskRequest, store: SessionStore) -> Session | None:
    """The session to continue; `None` for a new one."""
    if request.session_id:
        return store.get(request.session_id)
    if not request.continue_last:
        return None
    session = store.latest()
    if session is None:
        raise UsageError(tr("there is no session to continue"), tr("start one: tchat PROMPT"))
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
    from tchat.chat.session import usable_settings, with_session_settings

    for line in usable_settings(session.settings)[1]:
        notice(line)
    settings = with_session_settings(settings, session.settings, request.settings)
    if "model" in request.settings:
        return settings
    model = store.model_to_continue(session.id)
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
    preloaded: Preloaded | None = None,
    model: ChatModel | None = None,
) -> Chat:
    """Open a chat, or the stand-in of a test.

    Uses ``model``, or the one ``preloaded`` to load; else loads it on demand.
    """
    if console.open_chat is not None:
        return console.open_chat(settings, console.paths, store, session=session, cancel=cancel)
    from tchat.chat.chat import Chat
    from tchat.chat.model import preloaded_model

    if model is None and preloaded is not None:
        model = preloaded_model(preloaded, settings, console.paths, cancel)
    return Chat(settings, console.paths, store, session=session, cancel=cancel, model=model)


def run_with_model(
    console: Console, settings: Settings, work: Callable[[ChatModel, TerminalStatus], T]
) -> T:
    """Load the model of ``settings`` and run ``work`` with it, on the engine thread.

    Raises:
        ModelError, DoesNotFit: The model cannot be loaded.
        Interrupted: A signal stopped it.
    """

    from tchat.cli.output.status import print_notice
    from tchat.engine.events import Notice

    def loaded(model: ChatModel, status: TerminalStatus) -> T:
        for event in model.engine.load():
            if isinstance(event, Notice):
                print_notice(console, status, event)
            status.show(tr("loading {name}", name=model.metadata.name))
        return work(model, status)

    return run_with_checked_model(console, settings, loaded)


def run_with_checked_model(
    console: Console, settings: Settings, work: Callable[[ChatModel, TerminalStatus], T]
) -> T:
    """As `run_with_model`, with the model resolved and checked but not loaded."""
    from tchat.engine.binding import Cancel
    from tchat.engine.engine_thread import run_on_engine_thread

    cancel = Cancel()
    return run_on_engine_thread(
        lambda: _run_with_open_model(console, settings, cancel, work), cancel
    )


def _run_with_open_model(
    console: Console,
    settings: Settings,
    cancel: Cancel,
    work: Callable[[ChatModel, TerminalStatus], T],
) -> T:
    from tchat.chat.model import open_model
    from tchat.cli.output.status import TerminalStatus, show_events

    def show(event: Event) -> None:
        if text := getattr(event, "text", ""):
            status.show(text)

    with TerminalStatus(console) as status:
        model = show_events(open_model(settings, console.paths, cancel), show)
        with closing(model.engine):
            return work(model, status)


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
        if error := _write_back_and_close(fallbacks):
            console.say(str(error))
        raise
    if error := _write_back_and_close(fallbacks):
        raise error


def _write_back_and_close(fallbacks: FallbackStores) -> StorageError | None:
    try:
        fallbacks.write_back()
    except StorageError as error:
        return StorageError(
            tr("{message}; the last messages are not stored", message=error.message), error.hint
        )
    finally:
        fallbacks.close()
    return None


def fill_template(
    console: Console,
    template: PromptTemplate,
    text: str,
    values: Mapping[str, str],
    *,
    confirm_defaults: bool = False,
) -> tuple[str, str]:
    """Prompt and system prompt, as `PromptTemplate.fill`; a terminal is asked for missing values.

    ``confirm_defaults`` asks for the variables with a default too; an empty line keeps it.
    """
    from tchat.chat.templates import INPUT

    text_given, known = text, dict(values)
    if console.stdin_is_terminal:
        missing = template.missing(text, known)
        for name in (*template.variables, INPUT):
            default = template.defaults.get(name)
            if name in missing:
                answer = ask_line(console, f"{name}:")
            elif confirm_defaults and default is not None and name not in known:
                answer = ask_line(console, f"{name} [{single_line(default, SHOWN_DEFAULT)}]:")
            else:
                continue
            if name == INPUT:
                text_given = answer
            elif answer:
                known[name] = answer
    return template.fill(text_given, known)
