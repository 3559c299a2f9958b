"""One prompt from the shell: decides whether it is one, and makes it ready to be answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tchat.chat.attachments import read_file
from tchat.cli.console import Console
from tchat.cli.input import gather, told, typed
from tchat.cli.opening import begin_loading, drop, settings_of
from tchat.cli.request import AskRequest, Turn, refuse_contradictions
from tchat.errors import UsageError
from tchat.paths import expanded
from tchat.settings import Settings

if TYPE_CHECKING:
    from tchat.chat.templates import PromptTemplate


def ask(request: AskRequest, console: Console) -> int:
    """Carry out ``request`` and return the exit code.

    Raises:
        TchatError: It cannot be carried out.
    """
    refuse_contradictions(request)
    console = replace(console, quiet=request.quiet)
    if request.plain or (not request.brings_text and console.stdin_is_terminal):
        return _chat(request, console)
    from tchat.engine.cancel import Cancel

    template = _template(request, console)
    settings = settings_of(request, console, template)
    cancel = Cancel()
    # The model loads while standard input is read and the modules that answer are imported.
    known = not request.resumes or "model" in request.settings
    begun = begin_loading(settings, console, cancel) if known else None
    try:
        turn = _prepare(request, settings, template, console)
        from tchat.cli.answer import answer
    except BaseException:
        drop(begun, cancel)
        raise
    return answer(turn, console, cancel, begun)


def _chat(request: AskRequest, console: Console) -> int:
    """The chat on the screen, or on plain lines where that is asked for or nothing else fits."""
    from tchat.cli.screen import fits, open_screen

    if not request.plain and fits(console):
        return open_screen(request, console)
    from tchat.cli.plain import line_chat

    return line_chat(request, console)


def _template(request: AskRequest, console: Console) -> PromptTemplate | None:
    if not request.template:
        return None
    from tchat.chat.templates import find_template

    return find_template(request.template, console.paths)


def _prepare(
    request: AskRequest, settings: Settings, template: PromptTemplate | None, console: Console
) -> Turn:
    schema, settings = formed(request, settings, console)
    prompt = gather(console, request.words, request.files, settings.encoding)
    if template is not None:
        values = {name: typed([text]) for name, text in request.values.items()}
        prompt, system = template.fill(prompt, values)
        if system and "system" not in request.settings:
            settings = replace(settings, system=system)
    if not prompt.strip() and not request.resumes:
        raise UsageError(
            "there is no prompt", "type one, pipe one in, or run `tchat` in a terminal to chat"
        )
    return Turn(request, settings, prompt, schema)


def formed(
    request: AskRequest, settings: Settings, console: Console
) -> tuple[dict[str, Any] | None, Settings]:
    """The schema that the reply must follow, and the settings with its grammar."""
    grammar, schema = "", None
    if request.schema:
        from tchat.engine.grammar.json_schema import to_gbnf
        from tchat.engine.grammar.reply import parse_schema

        schema = parse_schema(request.schema)
        converted = to_gbnf(schema)
        grammar = converted.text
        if converted.unchecked:
            words = ", ".join(converted.unchecked)
            console.notice(f"checked only after the reply: {words}")
        if converted.ignored:
            console.notice(f"not checked: {', '.join(converted.ignored)}")
    elif request.grammar:
        from tchat.engine.grammar.gbnf import require_grammar

        path = expanded(request.grammar)
        grammar = told(console, read_file(path, settings.encoding))
        if not grammar.strip():
            raise UsageError(f"the grammar {request.grammar} is empty", "GBNF needs a rule `root`")
        require_grammar(grammar, f"the grammar {request.grammar}")
    if not grammar:
        return schema, settings
    return schema, replace(settings, sampling=replace(settings.sampling, grammar=grammar))
