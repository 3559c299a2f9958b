"""Sending one prompt and printing its reply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING

from tchat.cli.chat_setup import (
    AskRequest,
    AskTurn,
    abandon_loading,
    find_session,
    open_chat,
    open_store,
    resume_settings,
    write_back_at_end,
)
from tchat.cli.console import Console
from tchat.cli.output.reply import OutputOptions, ReplyOutput
from tchat.engine.binding import Cancel
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.engine.events import Event, Finished, LabelScores, Reason, TextDelta
from tchat.errors import ExitCode, PromptTooLong, with_hint
from tchat.models.sources.starter import STARTER
from tchat.settings import Settings, load
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.preload import Preloaded

YES, NO, UNSURE = 0, 1, 2  # exit codes of --yes-no


def answer(
    turn: AskTurn,
    console: Console,
    cancel: Cancel,
    preloaded: Preloaded | None,
    *,
    act: Callable[[AskTurn, Settings, Chat, Console], int] | None = None,
) -> int:
    """Send ``turn``, print the reply, and return the exit code.

    ``preloaded`` is the model, if it is loading already; it is always freed. ``act`` takes the
    place of printing, on the engine thread.

    Raises:
        TchatError: There is no reply, or it is not of the form asked for.
        Interrupted: A signal ended it.
    """
    act = act or _print
    return run_on_engine_thread(lambda: _answer(turn, console, cancel, preloaded, act), cancel)


def _answer(
    turn: AskTurn,
    console: Console,
    cancel: Cancel,
    preloaded: Preloaded | None,
    act: Callable[[AskTurn, Settings, Chat, Console], int],
) -> int:
    from tchat.sessions.fallback_store import FallbackStores

    with ExitStack() as resources:
        resources.callback(abandon_loading, preloaded, cancel)
        store = resources.enter_context(open_store(turn.request, turn.settings, console))
        session = find_session(turn.request, store)
        settings = resume_settings(turn.request, turn.settings, store, session, console.say)
        fallbacks = FallbackStores()
        resources.enter_context(write_back_at_end(fallbacks, console))
        session_store = fallbacks.open(store, session.id if session else "")
        chat = resources.enter_context(
            open_chat(settings, console, session_store, session, cancel, preloaded=preloaded)
        )
        chat.title = turn.title
        if turn.request.may_call_tools and _names_tools(turn.request, settings):
            from tchat.cli.chat_tools import open_chat_tools, open_servers

            servers = resources.enter_context(open_servers(chat, console, cancel))
            chat.tools = open_chat_tools(
                turn.request,
                settings,
                console,
                store=store,
                cancel=cancel,
                servers=servers,
                is_private=store.path is None,
            )
            if chat.tools is not None and turn.holds_document:
                chat.tools.executor.approval.add_untrusted()
        if turn.schema is not None and settings.server:
            chat.require_schema(turn.schema)
        try:
            return act(turn, settings, chat, console)
        except PromptTooLong as error:
            raise _with_file_sizes(error, turn.prompt) from None


def _names_tools(request: AskRequest, settings: Settings) -> bool:
    """Whether a tool is on, or a flag is about tools."""
    return bool(settings.tools.enabled) or "tools.tool_choice" in request.settings


def _with_file_sizes(error: PromptTooLong, prompt: str) -> PromptTooLong:
    """The error, which names the largest of several files in the prompt."""
    from tchat.chat.attachments import attachment_sizes

    sizes = attachment_sizes(prompt)
    if len(sizes) < 2:
        return error
    from tchat.chat.folder_files import largest_text

    return PromptTooLong(error.message, with_hint(error.hint, largest_text(sizes)))


def _print(turn: AskTurn, settings: Settings, chat: Chat, console: Console) -> int:
    """Iterate the reply, show it, check it, and return the exit code."""
    if turn.request.candidates or turn.request.best_of:
        return _print_candidates(turn, settings, chat, console)
    finished, code = None, YES
    with ReplyOutput(console, _output_options(turn.request, settings)) as output:
        for event in chain(_load_model(turn, chat), _events(turn, chat)):
            if isinstance(event, LabelScores) and turn.request.yes_no:
                code = _show_yes_no(event, turn.request, output)
            else:
                output.show(event)
            if isinstance(event, Finished):
                finished = event
        output.describe(session=_stored(chat))
    if output.refused and code == YES and not _can_be_asked(chat):
        code = _tell_refused(output.refused, chat, console)
    _validate(turn, [finished] if finished else [])
    if settings.model == STARTER and _is_for_reading(turn, console):
        from tchat.cli.model_suggestion import suggest_better_model

        suggest_better_model(console)
    return code


def _can_be_asked(chat: Chat) -> bool:
    return chat.tools is None or chat.tools.executor.approval.has_terminal


def _tell_refused(count: int, chat: Chat, console: Console) -> int:
    """Tell that calls were refused as nobody could be asked; returns the exit code."""
    told = trn(
        "{count:,} call of a tool was refused: nobody can be asked here",
        "{count:,} calls of tools were refused: nobody can be asked here",
        count,
    )
    hint = tr("a rule allows such calls: --allow 'TOOL(PATTERN)', see `tchat help tools`")
    if chat.tools is not None and chat.tools.executor.approval.has_untrusted:
        hint = tr(
            "behind text of others, rules allow only what reads: see `tchat help tools` on "
            "tools.ask_after_untrusted"
        )
    console.notice(with_hint(told, hint))
    return ExitCode.REFUSED


def _is_for_reading(turn: AskTurn, console: Console) -> bool:
    """Whether a person reads the reply on a terminal."""
    on_terminal = console.stdout_is_terminal and console.stderr_is_terminal
    return on_terminal and not (console.quiet or turn.request.as_json or turn.request.labels)


def _stored(chat: Chat) -> str | None:
    """The id of the session if it is saved, else None."""
    return chat.session.id if chat.session and chat.store.path is not None else None


def _print_candidates(turn: AskTurn, settings: Settings, chat: Chat, console: Console) -> int:
    """Print candidates, or the best of them, and validate what is printed."""
    from tchat.cli.output.candidates import CandidateOutput

    best = turn.request.best_of
    count, ranker = (best, settings.ranker) if best else (turn.request.candidates, "")
    options = _output_options(turn.request, settings)
    with CandidateOutput(console, options, count, best=bool(best)) as output:
        fallback = not _is_ranker_set(turn, settings, console)
        replies = chat.candidates(count, turn.prompt, ranker=ranker, fallback=fallback)
        for event in chain(_load_model(turn, chat), replies):
            output.show(event)
        output.describe(session=_stored(chat))
    if best and (turn.request.usage or console.stderr_is_terminal):
        console.say(output.summary())
    shown = output.order[:1] if best and not turn.request.as_json else output.order
    _validate(turn, (output.finished[index] for index in shown))
    return YES


def _validate(turn: AskTurn, replies: Iterable[Finished]) -> None:
    """Validate the replies that were not stopped against the JSON schema, if there is one."""
    if turn.schema is None:
        return
    from tchat.engine.grammar.validate import validate

    for finished in replies:
        if finished.reason is not Reason.CANCELLED:
            validate(finished.text, turn.schema)


def _is_ranker_set(turn: AskTurn, settings: Settings, console: Console) -> bool:
    """Whether a flag, the environment, config.toml or the session sets the ranker."""
    loaded = load(console.paths, console.environ, turn.request.settings)
    return "ranker" in loaded.origins or settings.ranker != loaded.settings.ranker


def _show_yes_no(chosen: LabelScores, request: AskRequest, output: ReplyOutput) -> int:
    """Show the answer, which is "unsure" below the threshold; returns the exit code."""
    label, probability = chosen.probabilities[0]
    if request.is_unsure(probability):
        output.show(TextDelta("unsure"))
        output.describe(reply="unsure", choices=dict(chosen.probabilities))
        return UNSURE
    output.show(chosen)
    return YES if label == "yes" else NO


def _load_model(turn: AskTurn, chat: Chat) -> Iterator[Event]:
    """Load the model before anything is saved; then set a new system prompt."""
    yield from chat.load_model()
    if chat.session is not None and "system" in turn.request.settings:
        chat.session = chat.store.update(chat.session.id, system=chat.settings.system)


def _events(turn: AskTurn, chat: Chat) -> Iterator[Event]:
    if turn.request.labels:
        return chat.choose(turn.request.with_labels(turn.prompt), turn.request.labels)
    if not turn.prompt:
        return chat.continue_reply()
    return chat.send(turn.prompt)


def _output_options(request: AskRequest, settings: Settings) -> OutputOptions:
    return OutputOptions(
        markdown=settings.markdown,
        json=request.as_json,
        raw=request.raw,
        stream=request.stream,
        extract=request.extract,
        usage=request.usage,
        show_reasoning=settings.show_reasoning,
    )
