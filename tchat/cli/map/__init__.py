"""``tchat map``: the flags. What is done with them is in `tchat.cli.map.work`."""

from __future__ import annotations

import typer

from tchat.cli.ask_request import AskRequest
from tchat.cli.setting_options import (
    QUIET,
    SettingsCommand,
    require_finite,
    require_value,
    typed_settings,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

HELP = """\
Send many rows through one prompt, several at a time.

A row is a line of standard input or of the files named; with --files, a file. {} in the prompt
stands for the row, {name} for a field of a row in JSON, {{}} and {{name}} for the braces
themselves; without any, the row comes behind the prompt. Each row becomes a line of JSON. What
all prompts begin with is read once. No session is stored.

Exit code: 0 every row has a result, 1 some rows failed, 2 and above as for a prompt.
"""


@app.command(
    cls=SettingsCommand,
    help=HELP,
    options_metavar="[OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command(
    ctx: typer.Context,
    *,
    prompt: str = typer.Argument(..., metavar="PROMPT", help="Said to each row"),
    inputs: list[str] = typer.Argument(
        None, metavar="[FILE]...", show_default=False, help="Rows; standard input if none"
    ),
    files: bool = typer.Option(
        False,
        "--files",
        help="A row is a whole file; names and patterns, or names on stdin (also with -print0)",
    ),
    output: str = typer.Option(
        None,
        "-o",
        "--output",
        metavar="FILE",
        help="Write there; called again, only rows without a result are done",
        callback=require_value,
    ),
    keep_errors: bool = typer.Option(
        False, "--keep-errors", help="With -o: do not try rows again that failed before"
    ),
    unordered: bool = typer.Option(
        False, "--unordered", help="Give the results as they come, not in the order of the rows"
    ),
    parallel: int = typer.Option(
        16, "--parallel", metavar="N", min=1, max=64, help="Rows at a time"
    ),
    schema: str = typer.Option(
        None,
        metavar="FILE|JSON",
        help="Answer with JSON of this JSON schema",
        callback=require_value,
    ),
    grammar: str = typer.Option(
        None, metavar="FILE", help="Answer by this GBNF grammar", callback=require_value
    ),
    choose: str = typer.Option(
        None, metavar="A,B,C", help="Answer with one of these labels", callback=require_value
    ),
    yes_no: bool = typer.Option(False, "--yes-no", help="Answer with yes, no, or unsure"),
    threshold: float = typer.Option(
        None,
        metavar="P",
        min=0.5,
        max=1.0,
        help="Surer than this, or --yes-no is unsure  [0.6]",
        callback=require_finite,
    ),
    quiet: bool = QUIET,
) -> int:
    """Make a request of the flags and carry it out."""
    from tchat.cli.map.work import MapRequest, run_map

    ask = AskRequest(
        settings=typed_settings(ctx),
        schema=schema,
        grammar=grammar,
        choose=choose,
        yes_no=yes_no,
        threshold=threshold,
        quiet=quiet,
    )
    request = MapRequest(
        ask, prompt, tuple(inputs or ()), files, output, unordered, parallel, keep_errors
    )
    return run_map(request, ctx.obj)
