"""``tchat map``: each row through the model, its record to the output."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import typer

from tchat.chat.attachments import expand_patterns, read_file
from tchat.cli.app import ALWAYS_JSON, single_command
from tchat.cli.ask import apply_reply_format
from tchat.cli.chat_setup import (
    AskRequest,
    require_compatible_flags,
    resolve_settings,
    run_with_model,
)
from tchat.cli.console import Console
from tchat.cli.map.results import PrintedResults, Record, Results, open_results
from tchat.cli.map.rows import MapRow, RowPrompt, read_rows
from tchat.cli.map.shard import MERGE, Shard, merge_help, merge_shards
from tchat.cli.map.tally import Tally
from tchat.cli.output.status import TerminalStatus
from tchat.cli.setting_options import (
    CHOOSE,
    GRAMMAR,
    QUIET,
    SCHEMA,
    THRESHOLD,
    SettingsCommand,
    require_value,
    typed_notices,
    typed_settings,
)
from tchat.engine.prompt import ChatMessage
from tchat.errors import Interrupted, TchatError, UsageError
from tchat.humanize import Eta
from tchat.paths import Paths, expanded
from tchat.sanitize import single_line
from tchat.settings import Settings
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.chat.model import ChatModel
    from tchat.chat.tool_loop import ChatTools
    from tchat.cli.map.ray_rows import RayRequest
    from tchat.cli.map.server_rows import ServerRows
    from tchat.engine.batch import BatchOptions, BatchResult, BatchTask
    from tchat.engine.events import Finished, Notice
    from tchat.engine.grammar.validate import ReplyValidator


@dataclass(frozen=True, slots=True)
class MapRequest:
    """The flags of ``tchat map``, each a field of its name; ``ask`` are those of a prompt too."""

    ask: AskRequest
    prompt: str
    inputs: tuple[str, ...]
    files: bool
    output: str
    unordered: bool
    parallel: int
    keep_errors: bool = False
    shard: Shard | None = None
    servers: tuple[str, ...] = ()
    in_flight: int = 0
    ray: RayRequest | None = None


def run_map(request: MapRequest, console: Console) -> int:
    """Run ``request`` and return the exit code: 0 if all rows have a result, else 1."""
    require_compatible_flags(request.ask)
    console = replace(console, quiet=request.ask.quiet)
    if request.keep_errors and not request.output:
        raise UsageError(tr("--keep-errors needs -o"), tr("name a file with -o"))
    if not request.prompt.strip():
        raise UsageError(
            tr("the prompt is empty"), tr("for example: tchat map 'Classify: {}' FILE")
        )
    settings = resolve_settings(request.ask, console)
    schema, settings = apply_reply_format(request.ask, settings, console)
    _require_order(request)
    tools = _reading_tools(request.ask, settings, console.paths)
    rows = read_rows(console, request.inputs, files=request.files, encoding=settings.encoding)
    # From all rows, so that a shard fills the prompt as the whole would.
    prompt = RowPrompt(request.prompt, rows)
    if request.shard is not None:
        rows = request.shard.rows(rows, console)
    with ExitStack() as opened:
        servers = None
        if names := _servers(request, settings, tools):
            from tchat.cli.map.server_rows import open_server_rows

            servers = opened.enter_context(
                open_server_rows(names, request.in_flight, settings, console, schema)
            )
        work = _MapJob(
            request,
            settings,
            schema,
            _validator(schema),
            prompt,
            console.paths,
            tools,
            servers,
        )
        return _run(work, rows, console)


def _servers(request: MapRequest, settings: Settings, tools: ChatTools | None) -> tuple[str, ...]:
    """The servers that answer; none where the engine in this process does.

    Raises:
        UsageError: ``--servers`` does not go with another flag.
    """
    if request.ray is not None:
        if request.servers or settings.server or settings.rpc or tools is not None:
            raise UsageError(
                tr("--ray needs a model file, and excludes --servers, --rpc and -T"),
                tr("leave them out"),
            )
        return ()
    if not request.servers:
        if request.in_flight and not settings.server:
            raise UsageError(
                tr("--in-flight needs --servers"), tr("in this process it is --parallel")
            )
        return (settings.model,) if settings.server and tools is None else ()
    if "model" in request.ask.settings:
        raise UsageError(
            tr("--servers excludes -m"), tr("name the model after the server: --servers lab/MODEL")
        )
    if tools is not None:
        raise UsageError(
            tr("--servers and -T cannot be combined"), tr("with tools, name one: -m lab")
        )
    return request.servers


def _run(work: _MapJob, rows: Sequence[MapRow], console: Console) -> int:
    tally = Tally(console)
    with work.results(rows, console) as results:
        tally.failed.update(results.failed)
        todo = [row for row in rows if row.index not in results.done]
        if len(todo) < len(rows):
            there = len(rows) - len(todo)
            console.notice(
                trn(
                    "{count:,} of {total} is there already",
                    "{count:,} of {total} are there already",
                    there,
                    total=trn("{count:,} row", "{count:,} rows", len(rows)),
                )
            )
        try:
            if todo:
                work.run(todo, results, tally, console)
        except Interrupted:
            console.notice(results.resume_hint(len(rows)))
            raise
    return tally.exit_code(len(rows), len(todo))


def _reading_tools(ask: AskRequest, settings: Settings, paths: Paths) -> ChatTools | None:
    """The tools that were typed; those of the configuration are for chats."""
    names = cast("tuple[str, ...]", ask.settings.get("tools.enabled", ()))
    if not names:
        return None
    from tchat.cli.map.tool_rows import open_reading_tools

    return open_reading_tools(settings, paths, names)


def _require_order(request: MapRequest) -> None:
    """Refuse a prompt that is the name of a file, before what is none: they were swapped.

    Raises:
        UsageError: They are.
    """
    # Unlike Path's, it never raises: a prompt can be longer than any file system allows.
    if not request.inputs or not os.path.isfile(expanded(request.prompt)):  # noqa: PTH113
        return
    try:
        next(expand_patterns(request.inputs))
    except UsageError:
        raise UsageError(
            tr("{name} is a file; PROMPT comes before FILE", name=single_line(request.prompt, 80)),
            tr("for example: tchat map 'Classify: {}' FILE"),
        ) from None


def _validator(schema: dict[str, Any] | None) -> ReplyValidator | None:
    if schema is None:
        return None
    from tchat.engine.grammar.validate import ReplyValidator

    return ReplyValidator(schema)


@dataclass(frozen=True, slots=True)
class _MapJob:
    """A request made ready."""

    request: MapRequest
    settings: Settings
    schema: dict[str, Any] | None
    validator: ReplyValidator | None
    prompt: RowPrompt
    paths: Paths
    tools: ChatTools | None = None
    servers: ServerRows | None = None

    def results(self, rows: Sequence[MapRow], console: Console) -> AbstractContextManager[Results]:
        """Where the records go."""
        ordered = not self.request.unordered
        if not self.request.output:
            return nullcontext(
                PrintedResults(console, [row.index for row in rows] if ordered else ())
            )
        inputs = {row.index: self._input(row) for row in rows}
        call = self._call()
        return open_results(
            expanded(self.request.output),
            call,
            inputs,
            ordered=ordered,
            keep_errors=self.request.keep_errors,
            resumes=partial(self.servers.resumes, self._call())
            if self.servers
            else lambda _: False,
        )

    def run(self, rows: Sequence[MapRow], results: Results, tally: Tally, console: Console) -> None:
        """Run all rows through the model, or the servers."""
        from tchat.engine.batch import BatchTask

        tasks = [BatchTask(row.index, partial(self._chat, row, tally)) for row in rows]
        collect = partial(self._collect, rows, results, tally)
        if self.servers is not None:
            options = self._options(self.settings)
            self.servers.run(
                console, lambda pool, status: collect(status, outcomes=pool.results(tasks, options))
            )
            return
        if self.request.ray is not None:
            self._run_on_cluster(self.request.ray, tasks, collect, console)
            return

        def work(model: ChatModel, status: TerminalStatus) -> None:
            from tchat.models.model_sampling import with_model_sampling

            settings = with_model_sampling(self.settings, self.paths, model.metadata)
            if self.tools is None:
                outcomes = model.require_engine().map(tasks, self._options(settings))
                collect(status, outcomes=outcomes)
                return
            from tchat.cli.map.tool_rows import ToolRows

            tool_rows = ToolRows(self.settings, self.paths, model, self.tools)
            collect(status, outcomes=tool_rows.results(tasks), calls=tool_rows.calls)

        run_with_model(console, self.settings, work)

    def _run_on_cluster(
        self,
        request: RayRequest,
        tasks: Sequence[BatchTask],
        collect: Callable[..., None],
        console: Console,
    ) -> None:
        from tchat.cli.map.ray_rows import open_fleet
        from tchat.cli.map.spread import spread
        from tchat.engine.binding import Cancel
        from tchat.engine.engine_thread import run_on_engine_thread

        cancel = Cancel()

        def work() -> None:
            options = self._options(self.settings)
            with (
                open_fleet(request, self.settings, options, console) as fleet,
                TerminalStatus(console) as status,
            ):
                collect(status, outcomes=spread(tasks, fleet, self.request.parallel, cancel))

        run_on_engine_thread(work, cancel)

    def _options(self, settings: Settings) -> BatchOptions:
        from tchat.engine.batch import BatchOptions

        return BatchOptions(
            sampling=settings.sampling,
            labels=self.request.ask.labels,
            think=settings.think,  # type: ignore[arg-type]  # checked by its key
            slots=self.request.parallel,
        )

    def _collect(
        self,
        rows: Sequence[MapRow],
        results: Results,
        tally: Tally,
        status: TerminalStatus,
        *,
        outcomes: Iterable[BatchResult | Notice],
        calls: dict[int, list[Record]] | None = None,
    ) -> None:
        """Write the record of each outcome; ``calls`` are those of tools, by row."""
        from tchat.engine.events import Notice

        by_index = {row.index: row for row in rows}
        shown, done, stage = Eta(), 0, tr("mapping")
        status.show(shown.words(stage, done, len(rows)))
        for outcome in outcomes:
            if isinstance(outcome, Notice):
                tally.notice(outcome, status)
                continue
            record = self._record(by_index[outcome.index], outcome)
            if calls is not None:
                record["tool_calls"] = calls.pop(outcome.index, [])
            done += 1
            status.erase()
            tally.record(outcome, record, status)
            results.add(record)
            words = shown.words(stage, done, len(rows))
            status.show(
                tr("{words} · {failed:,} failed", words=words, failed=len(tally.failed))
                if tally.failed
                else words
            )

    def _chat(self, row: MapRow, tally: Tally) -> list[ChatMessage]:
        whole = row.text
        if row.is_file:
            whole, assumed = read_file(Path(row.text), self.settings.encoding)
            tally.assume(assumed)
        text = self.request.ask.with_labels(self.prompt.filled(row, whole))
        system = [ChatMessage("system", self.settings.system)] if self.settings.system else []
        return [*system, ChatMessage("user", text)]

    def _input(self, row: MapRow) -> Any:
        try:
            return self.prompt.input_of(row)
        except UsageError:  # its record tells
            return row.text

    def _record(self, row: MapRow, outcome: BatchResult) -> Record:
        record: Record = {"index": row.index, "input": self._input(row)}
        result = outcome.result
        if isinstance(result, TchatError):
            return record | {"error": str(result)}
        if isinstance(result, tuple):
            return record | self._chosen(result)
        return record | self._written(result)

    def _chosen(self, probabilities: tuple[tuple[str, float], ...]) -> Record:
        label, probability = probabilities[0]
        ask = self.request.ask
        unsure = ask.yes_no and ask.is_unsure(probability)
        return {"output": "unsure" if unsure else label, "probabilities": dict(probabilities)}

    def _written(self, finished: Finished) -> Record:
        record: Record = {"output": finished.text}
        if finished.reasoning and self.settings.show_reasoning:
            record["reasoning"] = finished.reasoning
        if finished.reason != "stop":
            record["finish_reason"] = finished.reason.value
        if self.validator is None:
            return record
        try:
            return record | {"output": self.validator.value(finished.text)}
        except TchatError as error:
            return record | {"error": str(error)}

    def _call(self) -> str:
        """A hash of the call: all that determines results, except rows and seed.

        With servers, its end is that of their models alone.
        """
        ask, settings = self.request.ask, self.settings
        models = () if self.servers else (Path(settings.model).name,)
        parts = (
            *(self.prompt.text, settings.system, *models, self.schema),
            *(settings.sampling.grammar, ask.labels, ask.threshold, settings.think),
            *((self.tools.names, settings.tools.tool_choice) if self.tools is not None else ()),
        )
        name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        return self.servers.call(name) if self.servers else name


class MapCommand(SettingsCommand):
    """``tchat map``, where ``-o`` is the output file; ``map merge`` has a help of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As of any command, but for ``merge --help``."""
        if args[:1] == [MERGE] and not {"-h", "--help"}.isdisjoint(args):
            click.echo(merge_help(ctx), color=ctx.color)
            ctx.exit()
        return super().parse_args(ctx, args)

    def pairs(self) -> list[click.Parameter]:
        """None."""
        return []


app = single_command()

HELP = N_("""\
Run one prompt over many rows, several at a time.

A row is a line of standard input or of the files; with --files, a whole file. In the prompt, {}
is replaced by the row and {name} by a field of a JSON row; {{}} and {{name}} are literal braces.
Without a placeholder the row follows the prompt. Prints one line of JSON per row. A common
beginning of the prompts is processed once. No session is saved. With -T, tools that only read can
be called; the rows are then answered one after the other.

With --ray the rows go to workers on the nodes of a Ray cluster, each with the model file.
With --servers they go to servers (see `tchat servers`), several at a time to each; a fast one
gets more of them. A server that fails is left out until it is back, and its rows go to another.

Several machines can share the rows: each runs the same command with another --shard and output
file, and `tchat map merge OUT FILE...` puts the files together in the order of the rows.

Exit code: 0 all rows have a result, 1 some rows failed, 2 and above as for a prompt.""")


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
    shard: str = typer.Option(
        None,
        "--shard",
        metavar="I/N",
        help="Process only every Nth row, from the Ith on: 1/4 to 4/4",
        callback=require_value,
    ),
    servers: str = typer.Option(
        None,
        "--servers",
        metavar="NAME,...",
        help="Model servers that answer the rows, each named as with -m: lab,gpu/qwen3:4b",
        callback=require_value,
    ),
    in_flight: int = typer.Option(
        0,
        "--in-flight",
        metavar="N",
        min=0,
        max=256,
        help="Rows that each server gets at a time (0: what its kind takes)",
    ),
    ray: str = typer.Option(
        None,
        "--ray",
        metavar="ADDRESS",
        help="Answer the rows on a Ray cluster: its address, auto for the one here, or local",
        callback=require_value,
    ),
    workers: int = typer.Option(
        0, "--workers", metavar="N", min=0, help="With --ray: workers (0: as many as there is room)"
    ),
    cpus_per_worker: int = typer.Option(
        1, "--cpus-per-worker", metavar="N", min=1, help="With --ray: CPUs of each worker"
    ),
    schema: str = SCHEMA,
    grammar: str = GRAMMAR,
    choose: list[str] = CHOOSE,
    yes_no: bool = typer.Option(False, "--yes-no", help="Answer yes, no, or unsure"),
    threshold: float = THRESHOLD,
    quiet: bool = QUIET,
    as_json: bool = ALWAYS_JSON,  # noqa: ARG001
) -> int:
    """Make a `MapRequest` of the flags and run it."""
    if prompt == MERGE and inputs:
        return merge_shards(ctx.obj, inputs[0], inputs[1:], output or shard or servers or ray)
    ask = AskRequest(
        settings=typed_settings(ctx),
        schema=schema,
        grammar=grammar,
        choose=tuple(choose or ()),
        yes_no=yes_no,
        threshold=threshold,
        quiet=quiet,
        notices=typed_notices(ctx),
    )
    request = MapRequest(
        ask, prompt, tuple(inputs or ()), files, output, unordered, parallel, keep_errors
    )
    if shard:
        request = replace(request, shard=Shard.parse(shard))
    if servers:
        from tchat.cli.map.server_rows import split_names

        request = replace(request, servers=split_names(servers))
    request = replace(request, in_flight=in_flight)
    if ray:
        from tchat.cli.map.ray_rows import RayRequest

        request = replace(request, ray=RayRequest(ray, workers, cpus_per_worker))
    elif workers or cpus_per_worker > 1:
        raise UsageError(
            tr("--workers and --cpus-per-worker need --ray"), tr("for example --ray local")
        )
    return run_map(request, ctx.obj)
