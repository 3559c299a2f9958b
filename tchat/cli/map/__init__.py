"""The flags of ``tchat map``; `tchat.cli.map.run` carries it out."""

from __future__ import annotations

import typer

from tchat.cli.ask_request import AskRequest
from tchat.cli.setting_options import (
    QUIET,
    MapCommand,
    require_finite,
    require_value,
    typed_settings,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

HELP = """\
Run one prompt over many rows, several at a time.

A row is a line of standard input or of the files; with --files, a whole file. In the prompt, {}
is replaced by the row and {name} by a field of a JSON row; {{}} and {{name}} are literal braces.
Without a placeholder the row follows the prompt. Prints one line of JSON per row. A common
beginning of the prompts is processed once. No session is saved.

Exit code: 0 all rows have a result, 1 some rows failed, 2 and above as for a prompt.
"""


@app.command(
    cls=MapCommand,
    help=HELP,
    options_metavar="[OPTIONS]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def command(
    ctx: typer.Context,
    *,
    prompt: str = typer.Argument(
        ..., metavar="PROMPT", help="Prompt, with placeholders for the row"
    ),
    inputs: list[str] = typer.Argument(
        None,
        metavar="[FILE]...",
        show_default=False,
        help="Files of rows (default: standard input)",
    ),
    files: bool = typer.Option(
        False,
        "--files",
        help="Each file is one row: names, globs, or names on stdin (also -print0)",
    ),
    output: str = typer.Option(
        None,
        "-o",
        "--output",
        metavar="FILE",
        help="Output file; run again to process only rows without a result",
        callback=require_value,
    ),
    keep_errors: bool = typer.Option(
        False, "--keep-errors", help="With -o: do not retry rows that failed"
    ),
    unordered: bool = typer.Option(
        False, "--unordered", help="Print results as they finish, not in row order"
    ),
    parallel: int = typer.Option(
        16, "--parallel", metavar="N", min=1, max=64, help="Rows processed in parallel"
    ),
    schema: str = typer.Option(
        None,
        metavar="FILE|JSON",
        help="Constrain replies to a JSON schema",
        callback=require_value,
    ),
    grammar: str = typer.Option(
        None, metavar="FILE", help="Constrain replies to a GBNF grammar", callback=require_value
    ),
    choose: str = typer.Option(
        None, metavar="A,B,C", help="Choose one of these labels", callback=require_value
    ),
    yes_no: bool = typer.Option(False, "--yes-no", help="Answer yes, no, or unsure"),
    threshold: float = typer.Option(
        None,
        metavar="P",
        min=0.5,
        max=1.0,
        help="Minimum probability for yes or no; below it the answer is unsure  [0.6]",
        callback=require_finite,
    ),
    quiet: bool = QUIET,
) -> int:
    """Make a `MapRequest` of the flags and run it."""
    from tchat.cli.map.run import MapRequest, run_map

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
