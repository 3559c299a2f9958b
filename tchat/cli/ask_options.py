"""The flags of ``tchat ask``; `tchat.cli.ask` carries it out."""

from __future__ import annotations

import typer

from tchat.cli.app import single_command
from tchat.cli.ask import ask
from tchat.cli.chat_setup import AskRequest
from tchat.cli.setting_options import (
    CHOOSE,
    GRAMMAR,
    QUIET,
    SCHEMA,
    THRESHOLD,
    PromptCommand,
    require_value,
    template_values,
    typed_notices,
    typed_settings,
)
from tchat.translation import N_

app = single_command()

HELP = N_("""\
Answer one prompt.

The prompt is standard input followed by the words. Without either, on a terminal, opens a chat
with the given flags. Only the answer goes to standard output.""")


def complete_template(incomplete: str) -> list[str]:
    """Names of prompt templates, for the shell's completion."""
    from tchat.cli.prompts import complete_name

    return complete_name(incomplete)


WORDS = typer.Argument(
    None, metavar="[PROMPT]...", show_default=False, help="Prompt; follows piped input"
)
CID = typer.Option(
    None, "--cid", metavar="ID", help="Continue this session", callback=require_value
)
TEMPLATE = typer.Option(
    None,
    "-t",
    "--template",
    metavar="NAME",
    help="Use a prompt template, see `tchat prompts ls`",
    autocompletion=complete_template,
    callback=require_value,
)
FILES = typer.Option(
    None,
    "-f",
    "--file",
    metavar="PATH",
    help="Prepend a file, a folder's text files, or `-` for piped input; accepts globs; repeatable",
)
EXTRACT = typer.Option(
    False, "-x", "--extract", help="Print only the first code block, or everything if there is none"
)
LOG = typer.Option(
    None, "--log/--no-log", " /-n", help="Save, or don't save, this session", show_default=False
)
USAGE = typer.Option(False, "-u", "--usage", help="Print token counts and speed to stderr")
YES_NO = typer.Option(False, "--yes-no", help="Answer yes or no; exit code 0 yes, 1 no, 2 unsure")
COMMAND = typer.Option(
    False, "--cmd", help="Propose one shell command; on a terminal, run it after confirmation"
)
CANDIDATES = typer.Option(
    0, "-N", "--candidates", metavar="N", min=0, max=16, help="Write N candidate replies"
)
BEST_OF = typer.Option(
    0,
    "--best-of",
    metavar="N",
    min=0,
    max=16,
    help="Write N replies and print the best, see --ranker",
)
STREAM = typer.Option(True, "--stream/--no-stream", help="Print tokens as they are generated")


@app.command(
    cls=PromptCommand,
    help=HELP,
    options_metavar="[OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command(
    ctx: typer.Context,
    *,
    words: list[str] = WORDS,
    continue_last: bool = typer.Option(False, "-c", "--continue", help="Continue the last session"),
    session_id: str = CID,
    template: str = TEMPLATE,
    file: list[str] = FILES,
    extract: bool = EXTRACT,
    log: bool = LOG,
    usage: bool = USAGE,
    as_json: bool = typer.Option(False, "--json", help="Print the reply and its metadata as JSON"),
    schema: str = SCHEMA,
    grammar: str = GRAMMAR,
    choose: list[str] = CHOOSE,
    yes_no: bool = YES_NO,
    as_command: bool = COMMAND,
    threshold: float = THRESHOLD,
    candidates: int = CANDIDATES,
    best_of: int = BEST_OF,
    stream: bool = STREAM,
    raw: bool = typer.Option(False, "--raw", help="Do not sanitize piped output"),
    quiet: bool = QUIET,
) -> int:
    """Make an `AskRequest` of the flags and run it."""
    request = AskRequest(
        words=tuple(words or ()),
        settings=typed_settings(ctx),
        continue_last=continue_last,
        session_id=session_id,
        template=template,
        values=template_values(ctx),
        files=tuple(file or ()),
        extract=extract,
        log=log,
        usage=usage,
        as_json=as_json,
        schema=schema,
        grammar=grammar,
        choose=tuple(choose or ()),
        yes_no=yes_no,
        command=as_command,
        threshold=threshold,
        candidates=candidates,
        best_of=best_of,
        stream=stream,
        raw=raw,
        quiet=quiet,
        notices=typed_notices(ctx),
    )
    return ask(request, ctx.obj)
