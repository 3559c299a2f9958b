"""``tchat ask``: the flags of one prompt. What is done with them is in `tchat.cli.ask`."""

from __future__ import annotations

import typer

from tchat.cli.ask import ask
from tchat.cli.ask_request import AskRequest
from tchat.cli.prompts import complete_name
from tchat.cli.setting_options import (
    QUIET,
    PromptCommand,
    require_finite,
    require_value,
    template_values,
    typed_settings,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

HELP = """\
Answer one prompt.

The prompt is what is piped in, then the words typed. Without either, and on a terminal, a chat
begins with the flags given. The answer goes to standard output and nothing else does.
"""


@app.command(
    cls=PromptCommand,
    help=HELP,
    options_metavar="[OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command(
    ctx: typer.Context,
    *,
    words: list[str] = typer.Argument(
        None,
        metavar="[PROMPT]...",
        show_default=False,
        help="Words; they come behind what is piped in",
    ),
    resume: bool = typer.Option(False, "-c", "--continue", help="Go on with the last session"),
    cid: str = typer.Option(
        None, metavar="ID", help="Go on with this session", callback=require_value
    ),
    template: str = typer.Option(
        None,
        "-t",
        "--template",
        metavar="NAME",
        help="Use a prompt template, see `tchat prompts ls`",
        autocompletion=complete_name,
        callback=require_value,
    ),
    file: list[str] = typer.Option(
        None, "-f", "--file", metavar="PATH", help="Put a text file in front; patterns; repeatable"
    ),
    extract: bool = typer.Option(
        False, "-x", "--extract", help="Print only the first code block, or all where there is none"
    ),
    log: bool = typer.Option(
        None, "--log/--no-log", " /-n", help="Store the session, or not", show_default=False
    ),
    usage: bool = typer.Option(False, "-u", "--usage", help="Tell tokens and speed on stderr"),
    as_json: bool = typer.Option(False, "--json", help="Print the reply and its facts as JSON"),
    schema: str = typer.Option(
        None,
        metavar="FILE|JSON",
        help="Answer with JSON of this JSON schema, validated",
        callback=require_value,
    ),
    grammar: str = typer.Option(
        None, metavar="FILE", help="Answer by this GBNF grammar", callback=require_value
    ),
    choose: str = typer.Option(
        None, metavar="A,B,C", help="Answer with one of these labels", callback=require_value
    ),
    yes_no: bool = typer.Option(False, "--yes-no", help="Exit with 0 for yes, 1 for no, 2 unsure"),
    threshold: float = typer.Option(
        None,
        metavar="P",
        min=0.5,
        max=1.0,
        help="Surer than this, or --yes-no is unsure  [0.6]",
        callback=require_finite,
    ),
    candidates: int = typer.Option(
        0, "-N", "--candidates", metavar="N", min=0, max=16, help="Write N replies side by side"
    ),
    best_of: int = typer.Option(
        0, "--best-of", metavar="N", min=0, max=16, help="Write N replies, print the best"
    ),
    stream: bool = typer.Option(True, "--stream/--no-stream", help="Print while it is written"),
    raw: bool = typer.Option(False, "--raw", help="Change nothing in a pipe, byte for byte"),
    plain: bool = typer.Option(False, "--plain", help="Chat on plain lines, without a screen"),
    quiet: bool = QUIET,
) -> int:
    """Make a request of the flags and carry it out."""
    request = AskRequest(
        words=tuple(words or ()),
        settings=typed_settings(ctx),
        resume=resume,
        cid=cid,
        template=template,
        values=template_values(ctx),
        files=tuple(file or ()),
        extract=extract,
        log=log,
        usage=usage,
        as_json=as_json,
        schema=schema,
        grammar=grammar,
        choose=choose,
        yes_no=yes_no,
        threshold=threshold,
        candidates=candidates,
        best_of=best_of,
        stream=stream,
        raw=raw,
        plain=plain,
        quiet=quiet,
    )
    return ask(request, ctx.obj)
