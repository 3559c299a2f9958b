"""``tchat ask``: runs one prompt, or opens a chat."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tchat.cli.chat_setup import (
    AskRequest,
    AskTurn,
    abandon_loading,
    fill_template,
    find_session,
    open_chat_store,
    require_compatible_flags,
    resolve_settings,
    resume_settings,
    sessions_file,
    settings_and_notices,
    start_loading,
)
from tchat.cli.console import Console
from tchat.errors import UsageError
from tchat.paths import expanded
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from pathlib import Path

    from tchat.chat.templates import PromptTemplate
    from tchat.encryption.encryption import Encryption
    from tchat.tui.services.conversation import StartupState

UNFIT = ("", "dumb", "unknown")  # values of TERM that promise no cursor movement


def ask(request: AskRequest, console: Console) -> int:
    """Run ``request`` and return the exit code."""
    require_compatible_flags(request)
    if request.command:
        from tchat.cli.shell_command import require_command_flags

        require_command_flags(request)
    console = replace(console, quiet=request.quiet)
    if not request.brings_text and (request.is_plain or console.stdin_is_terminal):
        return _chat(request, console)
    template = _template(request, console)
    if template is not None and opens_chat(request, template, console):
        system = template.fill_system(request.values)
        own = {**template.settings, **({"system": system} if system else {}), **request.settings}
        return _chat(replace(request, settings=own), console)
    from tchat.engine.binding import Cancel

    settings = resolve_settings(request, console, template)
    console = replace(console, accessible=settings.accessible)
    cancel = Cancel()
    # The model loads while standard input is read and the modules that answer are imported.
    known = not request.continues_session or "model" in request.settings
    preloaded = start_loading(settings, console, cancel) if known else None
    try:
        turn = _prepare(request, settings, template, console)
        if request.command:
            from tchat.cli.shell_command import answer_with_command as answer
        else:
            from tchat.cli.answer import answer
    except BaseException:
        abandon_loading(preloaded, cancel)
        raise
    return answer(turn, console, cancel, preloaded)


def opens_chat(request: AskRequest, template: PromptTemplate, console: Console) -> bool:
    """Whether a persona is asked for and nothing else, so that a chat with it opens."""
    brings_more = request.words or request.files or request.command
    return template.is_persona and not brings_more and console.stdin_is_terminal


def _chat(request: AskRequest, console: Console) -> int:
    """Open the chat screen, or the line chat if asked for or without a capable terminal."""
    settings, notices = settings_and_notices(request, console)
    for notice in notices:  # the screen hides them, and shows its own
        console.notice(notice)
    if not settings.accessible and can_draw_screen(console):
        return open_screen(request, settings, notices, console)
    from tchat.cli.repl import run_repl

    return run_repl(request, settings, console)


def _template(request: AskRequest, console: Console) -> PromptTemplate | None:
    if not request.template:
        return None
    if ":" in request.template:
        from tchat.chat.mcp_servers import server_template
        from tchat.settings import load

        settings = load(console.paths, console.environ).settings
        return server_template(request.template, request.values, settings, console.paths)
    from tchat.chat.templates import find_template

    return find_template(request.template, console.paths)


def _prepare(
    request: AskRequest, settings: Settings, template: PromptTemplate | None, console: Console
) -> AskTurn:
    from tchat.cli.console import decode_words, read_prompt, typed_words

    schema, settings = apply_reply_format(request, settings, console)
    prompt = read_prompt(console, request.words, request.files, settings.encoding)
    title, holds_document = "", bool(request.files)
    if template is None and (question := decode_words(typed_words(request.words))) != prompt:
        from tchat.chat.branch import title_for_parts

        title = title_for_parts(question, prompt)
        holds_document = holds_document or bool(question)
    if template is not None:
        is_of_server = ":" in request.template
        holds_document = holds_document or is_of_server or not console.stdin_is_terminal
        own = {} if is_of_server else request.values  # a server has filled in the others
        values = {name: decode_words([text]) for name, text in own.items()}
        prompt, system = fill_template(console, template, prompt, values)
        if system and "system" not in request.settings:
            settings = replace(settings, system=system)
    if not prompt.strip() and not request.continues_session:
        raise UsageError(
            tr("there is no prompt"),
            tr("type one, pipe one in, or run `tchat` in a terminal to chat"),
        )
    return AskTurn(request, settings, prompt, schema, title, holds_document)


def apply_reply_format(
    request: AskRequest, settings: Settings, console: Console
) -> tuple[dict[str, Any] | None, Settings]:
    """The JSON schema of the reply, and the settings with its grammar."""
    grammar, schema = "", None
    if request.schema:
        from tchat.engine.grammar.json_schema import to_gbnf
        from tchat.engine.grammar.validate import parse_schema

        schema = parse_schema(request.schema)
        converted = to_gbnf(schema)
        grammar = converted.text
        if converted.unchecked:
            words = ", ".join(converted.unchecked)
            console.notice(tr("checked only after the reply: {words}", words=words))
        if converted.ignored:
            console.notice(tr("not checked: {ignored}", ignored=", ".join(converted.ignored)))
    elif request.grammar:
        from tchat.chat.attachments import read_file
        from tchat.cli.console import report_decoding
        from tchat.engine.grammar.gbnf import require_grammar

        path = expanded(request.grammar)
        grammar = report_decoding(console, read_file(path, settings.encoding))
        if not grammar.strip():
            raise UsageError(
                tr("the grammar {grammar} is empty", grammar=request.grammar),
                tr("GBNF needs a rule `root`"),
            )
        require_grammar(grammar, tr("the grammar {path}", path=request.grammar))
    if not grammar:
        return schema, settings
    return schema, replace(settings, sampling=replace(settings.sampling, grammar=grammar))


def can_draw_screen(console: Console) -> bool:
    """Whether the screen can be drawn here; `tchat.cli.repl` is for the rest."""
    terminal = console.stdout_is_terminal and console.stderr_is_terminal  # it paints on the latter
    return terminal and console.environ.get("TERM", "") not in UNFIT


def open_screen(
    request: AskRequest, settings: Settings, notices: Sequence[str], console: Console
) -> int:
    """Open the chat screen and return the exit code."""
    shown = () if console.quiet else tuple(notices)
    file = sessions_file(request, settings, console)
    # A tenth of the time to the first picture: modules make many objects and hardly any garbage.
    # The screen switches it on again once it is drawn.
    gc.disable()
    try:
        from tchat.tui.textual_imports import import_textual

        import_textual()
        from tchat.tui.app import run_screen
    except BaseException:
        gc.enable()
        raise
    return run_screen(
        settings,
        console.paths,
        lambda: _startup_state(request, settings, file, console.paths.encryption, shown),
        open_private=lambda: _startup_state(
            replace(request, continue_last=False, session_id=""), settings, None, None, shown
        ),
        private=file is None,
        quiet=console.quiet,
    )


def _startup_state(
    request: AskRequest,
    settings: Settings,
    file: Path | None,
    encryption: Encryption | None,
    notices: tuple[str, ...],
) -> StartupState:
    """Open the store and the session to continue."""
    from tchat.tui.services.conversation import StartupState

    store, problem = open_chat_store(request, file, encryption)
    try:
        session = find_session(request, store)
        resumed = resume_settings(
            request,
            settings,
            store,
            session,
            lambda _: None,  # the screen tells it
        )
        return StartupState(
            resumed,
            store,
            session,
            problem,
            base=settings,
            flags=request.settings,
            notices=(*notices, *store.notices),
        )
    except BaseException:
        store.close()
        raise
