"""``tchat models search`` and ``pull``: models to download."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import JSON
from tchat.cli.console import Console, ask_yes_no, confirm
from tchat.cli.models.local import set_default
from tchat.cli.models.show import fit_record
from tchat.cli.output.columns import align_columns, print_json, print_rows
from tchat.cli.output.status import TerminalStatus
from tchat.errors import (
    DoesNotFit,
    Interrupted,
    ModelError,
    NetworkError,
    StorageError,
    UsageError,
)
from tchat.humanize import count_text, duration_text, size_text
from tchat.sanitize import single_line
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.chat.better_model import BetterModel
    from tchat.models.hub.api import SearchResult
    from tchat.models.hub.download import Downloading
    from tchat.models.hub.pull import Pulled, PullEvent
    from tchat.models.hub.remote_model import RemoteModel
    from tchat.models.hub.repository import HubName, RepoListing

SEARCH_HEADER = (
    *(N_("NAME"), N_("DOWNLOADS"), N_("LICENCE"), N_("WEIGHTS"), N_("UPDATED"), N_("SIZES")),
)


def search(
    ctx: typer.Context,
    words: list[str] = typer.Argument(..., help="Words in the model name"),
    limit: int = typer.Option(10, "-l", "--limit", min=1, max=100, help="Maximum number"),
    as_json: bool = JSON,
) -> None:
    """Search the Hugging Face Hub for models, most downloaded first."""
    from tchat.egress.egress_log import open_egress_log
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.api import search_models as ask

    console: Console = ctx.obj
    egress = open_egress_log(console.paths)
    results = ask(HubApi(egress, console.environ), " ".join(words), limit)
    if problem := egress.take_problem():
        console.notice(problem)
    if as_json:
        print_json(console, [_hit_record(result) for result in results])
        return
    if not results and console.stderr_is_terminal:
        console.say(tr("the hub has no GGUF model of that name"))
    print_rows(console, SEARCH_HEADER, [_hit_cells(result) for result in results])


def _hit_cells(result: SearchResult) -> Sequence[str]:
    hit = result.hit
    return (
        hit.repo,
        f"{hit.downloads:,}",
        tr("{licence} (gated)", licence=hit.licence) if hit.gated else hit.licence,
        count_text(hit.parameters),
        hit.updated,
        _sizes(result),
    )


def _sizes(result: SearchResult) -> str:
    """The default model and the range of all: ``Q4_K_M 397 MB, of 12: 250 MB to 1.2 GB``."""
    from tchat.models.hub.repository import default_model

    models = result.listing.models if result.listing else ()
    if not models:
        return ""
    chosen, sizes = default_model(models), sorted(model.size for model in models)
    words = f"{chosen.quantization} {size_text(chosen.size)}".strip()
    if len(models) == 1:
        return words
    return tr(
        "{model}, of {count}: {smallest} to {largest}",
        model=words,
        count=len(models),
        smallest=size_text(sizes[0]),
        largest=size_text(sizes[-1]),
    )


def _hit_record(result: SearchResult) -> dict[str, Any]:
    hit = result.hit
    return {
        "name": hit.repo,
        "downloads": hit.downloads,
        "likes": hit.likes,
        "licence": hit.licence or None,
        "gated": hit.gated,
        "updated": hit.updated or None,
        "family": hit.architecture or None,
        "parameters": hit.parameters or None,
        "context": hit.context_length or None,
        "models": [
            {"name": model.name, "quantization": model.quantization or None, "size": model.size}
            for model in (result.listing.models if result.listing else ())
        ],
    }


NAME = typer.Argument(
    "",
    metavar="[NAME]",
    help="user/repo, user/repo:QUANT, the URL of a file on the hub, or a catalogue name",
)
BEST = typer.Option(
    False,
    "--best",
    help="The best for this machine; NAME: chat (default), code, vision, reasoning or tools",
)
COMPANIONS = typer.Option(
    True,
    "--companions/--no-companions",
    help="Also download its projector (mmproj) and draft model, where there are any",
    show_default=False,
)
YES = typer.Option(False, "-y", "--yes", help="Download without asking, even if it does not fit")


def pull(
    ctx: typer.Context,
    *,
    name: str = NAME,
    best: bool = BEST,
    companions: bool = COMPANIONS,
    yes: bool = YES,
    as_json: bool = JSON,
) -> None:
    """Download a model from the hub; resumes an interrupted download.

    Default quantization: the largest that fits this machine and writes as fast as people read, else
    Q4_K_M. Asks before downloading one that does not fit, unless --yes. With --best, it asks at the
    end whether to make it the default model.
    """
    from tchat.chat.machine import measured_machine
    from tchat.egress.egress_log import open_egress_log
    from tchat.models.hub.api import HubApi
    from tchat.models.hub.cache import HubCache, cache_folder
    from tchat.models.hub.pull import pull as begin
    from tchat.models.metadata import MetadataCache
    from tchat.models.name_lookup import resolve_remote

    console: Console = ctx.obj
    better = _best(console, name) if best else None
    if not name and better is None:
        raise UsageError(
            tr("name a model"), tr("`tchat models pull --best` takes the best one for this machine")
        )
    name = better.full_name if better else name
    named = resolve_remote(name, console.paths, console.environ)
    cache = HubCache(cache_folder(console.environ))
    egress = open_egress_log(console.paths)
    hub = HubApi(egress, console.environ)
    output = PullOutput(name, console, yes=yes)
    with MetadataCache(console.paths) as metadata_cache:
        events = begin(
            named,
            hub,
            cache,
            hashes=metadata_cache,
            machine=lambda: measured_machine(console.paths),
        )
        pulled = output.follow(events)
        beside = []
        for each in _companions(name, pulled, output, console) if companions else ():
            other = PullOutput(str(each), console, yes=True)
            try:
                beside.append(other.follow(begin(each, hub, cache, hashes=metadata_cache)))
            except (ModelError, NetworkError, StorageError) as error:
                shown, reason = single_line(str(each)), error.message
                console.say(tr("{name} was not downloaded: {reason}", name=shown, reason=reason))
    if problem := egress.take_problem():
        console.notice(problem)
    if as_json:
        also = {"companions": [_pull_record(each) for each in beside]}
        print_json(console, {**_pull_record(pulled), **output.judgement, **also})
        return
    if console.stderr_is_terminal:
        for each_pulled in (pulled, *beside):
            console.say(_summary(each_pulled))
    console.out(single_line(str(pulled.paths[0]), 4096))
    can_ask = console.stdin_is_terminal and console.stderr_is_terminal
    if better and can_ask:
        question = tr("Make {model} the default model?", model=better.name)
        if ask_yes_no(console, (), question):
            set_default(console, better.name)


def _companions(name: str, pulled: Pulled, output: PullOutput, console: Console) -> list[HubName]:
    """What belongs to a model that was pulled; nothing where the hub could not be asked."""
    from tchat.models.catalogue import find_entry
    from tchat.models.hub.companions import companions_of

    if output.listing is None:
        return []
    entry = find_entry(name, console.paths)
    return companions_of(pulled.model, output.listing, entry[0] if entry else None)


def _best(console: Console, purpose: str) -> BetterModel:
    """The best model of the catalogue for a purpose; says which it is.

    Raises:
        UsageError: There is no such purpose.
        DoesNotFit: No model runs well enough here.
    """
    from tchat.chat.better_model import better_model
    from tchat.models.recommendation import PURPOSES

    purpose = purpose or PURPOSES[0]
    if purpose not in PURPOSES:
        raise UsageError(
            tr("there is no best model for {purpose!r}", purpose=single_line(purpose, 40)),
            tr("there is one for {purposes}", purposes=", ".join(PURPOSES)),
        )
    better = better_model(console.paths, console.environ, purpose)
    if better is None:
        raise DoesNotFit(
            tr("no model of the catalogue for {purpose} runs well here", purpose=purpose),
            tr("`tchat models catalogue` tells how each would do"),
        )
    if console.stderr_is_terminal:
        console.say(tr("best here: {model}", model=better.words))
    return better


def _summary(pulled: Pulled) -> str:
    what = f"{single_line(pulled.model.name)} ({size_text(pulled.model.size)})"
    if not pulled.fetched:
        return tr("{model} is here", model=what)
    rate = size_text(round(pulled.fetched / max(pulled.seconds, 0.001)))
    return tr(
        "{model} came in {seconds:.0f} s, {rate}/s, and its SHA-256 is right",
        model=what,
        seconds=pulled.seconds,
        rate=rate,
    )


def _pull_record(pulled: Pulled) -> dict[str, Any]:
    model = pulled.model
    return {
        "name": model.name,
        "repo": model.first.repo,
        "commit": model.first.commit,
        "quantization": model.quantization or None,
        "size": model.size,
        "path": str(pulled.paths[0]),
        "files": [
            {"name": file.name, "path": str(path), "size": file.size, "sha256": file.sha256 or None}
            for file, path in zip(model.files, pulled.paths, strict=True)
        ],
        "fetched": pulled.fetched,
        "seconds": round(pulled.seconds, 3),
    }


class PullOutput:
    """Follows a download.

    Attributes:
        judgement: Whether the model fits, and why it was chosen, as JSON.
        listing: The repository; None where the hub was not asked.
    """

    def __init__(self, name: str, console: Console, *, yes: bool) -> None:
        self.judgement: dict[str, Any] = {}
        self.listing: RepoListing | None = None
        self._name = single_line(name)
        self._console = console
        self._yes = yes
        self._line = TerminalStatus(console)

    def follow(self, events: Iterator[PullEvent]) -> Pulled:
        """Show ``events`` on a terminal and return the last one.

        Raises:
            Interrupted: Ctrl-C was pressed; what came is kept.
            DoesNotFit: It does not fit, and nobody confirmed.
            UsageError: The user declined.
        """
        from tchat.models.hub.download import Downloading
        from tchat.models.hub.pull import Pulled

        done = 0
        try:
            for event in events:
                if isinstance(event, Pulled):
                    return event
                done = event.done if isinstance(event, Downloading) else done
                self._show(event)
        except KeyboardInterrupt:
            self._line.erase()
            told = tr("stopped; `tchat models pull {name}` resumes it", name=self._name)
            if done:
                told = tr(
                    "stopped; {size} are kept; `tchat models pull {name}` resumes it",
                    size=size_text(done),
                    name=self._name,
                )
            self._console.say(told)
            raise Interrupted(signal.SIGINT) from None
        finally:
            self._line.erase()
        raise AssertionError("a pull ends with Pulled or raises")

    def _show(self, event: PullEvent) -> None:
        from tchat.models.hub.pull import HubUnavailable, ModelSelected

        if isinstance(event, ModelSelected):
            self.listing = event.listing
        if isinstance(event, ModelSelected) and event.remote_model is not None:
            self._line.erase()
            self._judge(event.remote_model)
        if isinstance(event, HubUnavailable) and self._console.stderr_is_terminal:
            self._console.say(tr("{reason}; what is here is complete", reason=event.reason))
        elif self._line.due:
            self._line.show(pull_progress_text(event, bar=not self._console.accessible))

    def _judge(self, remote_model: RemoteModel) -> None:
        """Print whether the model fits, and ask if it does not."""
        from tchat.models.fit_report import fit_rows
        from tchat.models.hub.remote_model import describe, pull_objection

        report = remote_model.report
        self.judgement = {"chosen": remote_model.reason or None}
        lines = [describe(remote_model)]
        if not remote_model.refusal:
            self.judgement["fit"] = fit_record(report)
            lines += align_columns([*fit_rows(report)], shutil.get_terminal_size().columns)
        objection = pull_objection(remote_model)
        if objection is None or self._yes:
            self._print(lines)
        elif not self._console.stdin_is_terminal:
            raise objection
        else:
            question = tr(
                "{objection}. Download {size} anyway?",
                objection=objection.message,
                size=size_text(remote_model.size),
            )
            confirm(self._console, lines[1:], question)

    def _print(self, lines: Sequence[str]) -> None:
        if self._console.stderr_is_terminal:
            self._console.say(lines[0])
            for line in lines[1:]:
                self._console.stderr.write(f"  {line}\n")


BAR = 24  # cells
FULL, EMPTY = "━", "─"


def pull_progress_text(event: PullEvent, *, bar: bool = True) -> str:
    """The status line for ``event``; empty for one that needs none."""
    from tchat.models.hub.download import (
        CheckingFile,
        Downloading,
        DownloadStalled,
        RetryingDownload,
        WaitingForLock,
    )
    from tchat.models.hub.pull import ModelSelected, ReadingHeader

    words = ""
    match event:
        case ReadingHeader(file):
            words = tr("reading the header of {file}", file=file)
        case ModelSelected(model=model):
            words = tr("found {model}, {size}", model=model.name, size=size_text(model.size))
        case CheckingFile(done, total):
            words = f"{_bar(done, total, bar)} {tr('checking what came earlier')}"
        case Downloading():
            words = _pulling(event, bar)
        case WaitingForLock(done, total):
            words = f"{_bar(done, total, bar)} {tr('another process pulls it')}"
        case DownloadStalled(seconds, timeout):
            words = tr(
                "nothing came for {seconds:.0f} s · a new attempt after {timeout:.0f} s",
                seconds=seconds,
                timeout=timeout,
            )
        case RetryingDownload(reason, wait):
            words = tr("{reason} · a new attempt", reason=reason)
            if wait >= 1:
                words = tr(
                    "{reason} · a new attempt in {seconds:.0f} s", reason=reason, seconds=wait
                )
    return words


def _pulling(event: Downloading, bar: bool) -> str:
    share = _bar(event.done, event.total, bar)
    words = tr("{share} of {size}", share=share, size=size_text(event.total))
    if event.rate < 1:
        return words
    left = tr("{time} left", time=duration_text(event.left))
    return f"{words} · {size_text(round(event.rate))}/s · {left}"


def _bar(done: int, total: int, drawn: bool) -> str:
    share = done / total if total else 0.0
    if not drawn:
        return f"{int(share * 100)} %"
    full = int(share * BAR)
    return f"{FULL * full}{EMPTY * (BAR - full)} {int(share * 100)} %"
