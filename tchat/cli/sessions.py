"""``tchat sessions``: ls, show, search, rename, rm, export, import, path."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import DRY_RUN, JSON, command_group
from tchat.cli.console import Console, confirm, decode_words
from tchat.cli.output.columns import fields, iso, print_json, print_rows
from tchat.errors import StorageError, UsageError
from tchat.humanize import when
from tchat.paths import path_text
from tchat.private_files import is_writable, write_new
from tchat.sanitize import printable, printable_json, revealed, single_line
from tchat.sessions.formats import FORMATS, MARKDOWN, TCHAT_JSON, ExportFormat, export_format
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.redaction.redactor import Redactor
    from tchat.redaction.sensitive_span import DataKind
    from tchat.sessions.formats.format import SessionReader
    from tchat.sessions.records import ImportedSession, SearchHit, Session
    from tchat.sessions.store import SessionStore
    from tchat.settings import Settings


app = command_group("List, search, show, rename, export, import and delete saved sessions.")

CHUNK = 1 << 16  # bytes copied at a time
SHOWN = 40  # characters of an id that was imported
LAST = "last"
NAMES = typer.Option(
    None,
    "--names/--no-names",
    help="Also replace names that the model in this process guesses (default: redact_names)",
)
FORMAT_NAMES = "|".join(each.name for each in FORMATS)
ID = typer.Argument(..., help="Session id, its beginning or end, or `last`")


@app.command()
def ls(
    ctx: typer.Context,
    limit: int = typer.Option(0, "-l", "--limit", min=0, help="Maximum number; 0 is all"),
    as_json: bool = JSON,
) -> None:
    """List the sessions, most recently used first."""
    console: Console = ctx.obj
    with sessions_to_read(console) as store:
        sessions = store.sessions(limit or None)
    if as_json:
        print_json(console, [_record(session) for session in sessions])
        return
    rows = [(s.id, when(s.updated_at), str(s.messages), s.title) for s in sessions]
    print_rows(
        console,
        (N_("ID"), N_("USED"), N_("MESSAGES"), N_("TITLE")),
        rows,
        empty=tr("there is no session yet"),
    )


@app.command()
def show(
    ctx: typer.Context,
    session: str = ID,
    reasoning: bool = typer.Option(False, "--show-reasoning", help="Include the reasoning"),
    as_json: bool = JSON,
) -> None:
    """Print a session as Markdown."""
    console: Console = ctx.obj
    for piece in _exported(console, [session], TCHAT_JSON if as_json else MARKDOWN, reasoning):
        console.stdout.write(piece)


@app.command()
def search(
    ctx: typer.Context,
    words: list[str] = typer.Argument(..., help='Words to find; quote a phrase: "several words"'),
    limit: int = typer.Option(50, "-l", "--limit", min=1, help="Maximum number"),
    as_json: bool = JSON,
) -> None:
    """Find sessions by title and messages that contain all words, latest first."""
    console: Console = ctx.obj
    if not decode_words(words).strip():
        raise UsageError(tr("the search has no words"), tr("type a word"))
    from tchat.sessions.search import without_repeats

    query = " ".join(f'"{word}"' if " " in word else word for word in words)
    with sessions_to_read(console) as store:
        hits = without_repeats(store.search(query, limit))
    if as_json:
        print_json(console, [_hit(hit) for hit in hits])
        return
    rows = [(h.session.id, when(_written_at(h)), tr(_part(h)), revealed(h.snippet)) for h in hits]
    nothing = tr("no session has these words")
    print_rows(console, (N_("ID"), N_("WRITTEN"), N_("BY"), N_("TEXT")), rows, empty=nothing)


@app.command()
def rename(
    ctx: typer.Context,
    session: str = ID,
    title: list[str] = typer.Argument(..., help="The new title"),
) -> None:
    """Change the title of a session."""
    console: Console = ctx.obj
    text = single_line(decode_words(title))
    if not text:
        raise UsageError(tr("the new title is empty"), tr("type one"))
    with open_sessions(console) as store:
        found = _find(store, session).id
        store.rename(found, text)
    console.say(tr("session {found} is now called {text}", found=found, text=text))


@app.command()
def rm(
    ctx: typer.Context,
    *,
    sessions: list[str] = typer.Argument(None, metavar="[ID]...", help="Session ids, or `last`"),
    everything: bool = typer.Option(False, "--all", help="All sessions"),
    history: bool = typer.Option(False, "--history", help="Also delete the prompt history (Up)"),
    backups: bool = typer.Option(
        False, "--backups", help="Also delete copies of the database left by upgrades and repairs"
    ),
    dry_run: bool = DRY_RUN,
    yes: bool = typer.Option(False, "-y", "--yes", help="Do not ask for confirmation"),
) -> None:
    """Delete sessions, and tell where copies of them remain."""
    if not (sessions or everything or history or backups):
        raise UsageError(tr("no session was named"), tr("name sessions, or use --all"))
    from tchat.sessions.database_file import remove_files

    console: Console = ctx.obj
    histories = _histories(console) if history else []
    with open_sessions(console) as store:
        found = store.sessions() if everything else [_find(store, n) for n in sessions or ()]
        files = [*(store.backup_files() if backups else ()), *histories]
        lines = [*map(_removal_line, found), *(single_line(str(path)) for path in files)]
        if dry_run:
            for line in lines:
                console.out(line)
            console.say(tr("nothing was deleted"))
            return
        if not yes:
            confirm(console, lines, tr("Delete?"))
        deleted: set[str] = set()
        with ExitStack() as rest:  # what fails holds up nothing else
            rest.callback(_erase, console, store, deleted)
            rest.callback(_forget_snapshots, console, deleted)
            for session in found:
                if session.id not in deleted:
                    store.delete(session.id)
                    deleted.add(session.id)
            rest.callback(remove_files, histories)
            if backups:
                rest.callback(store.remove_backups)
        copies = store.backup_files()
    if deleted:
        console.say(trn("deleted {count:,} session", "deleted {count:,} sessions", len(deleted)))
    _report_copies(console, copies, _histories(console))


@app.command()
def export(
    ctx: typer.Context,
    *,
    sessions: list[str] = typer.Argument(None, metavar="[ID]...", help="Session ids; default: all"),
    output: Path = typer.Option(
        None, "-o", "--output", help="Output file (default: standard output)"
    ),
    form: str = typer.Option(
        "", "--format", metavar=FORMAT_NAMES, help="Format; default: by the file name, else json"
    ),
    reasoning: bool = typer.Option(
        False, "--show-reasoning", help="Include the reasoning (json has it)"
    ),
    as_json: bool = typer.Option(False, "--json", help="Same as --format json"),
    redact: bool = typer.Option(
        False, "--redact", help="Replace personal data and secrets by placeholders"
    ),
    table: Path = typer.Option(
        None, "--redact-table", help="New file for what the placeholders stand for (with --redact)"
    ),
    names: bool = NAMES,
) -> None:
    """Export sessions as Markdown, HTML, OpenAI messages, or JSON that `import` reads whole."""
    console: Console = ctx.obj
    if as_json and form and form.lower() != TCHAT_JSON.name:
        raise UsageError(tr("--json and --format cannot be combined"), tr("leave out one of them"))
    chosen = TCHAT_JSON if as_json else export_format(form, output, TCHAT_JSON)
    if table is not None and not redact:
        raise UsageError(tr("--redact-table needs --redact"), tr("add --redact"))
    if names and not redact:
        raise UsageError(tr("--names needs --redact"), tr("add --redact"))
    redactor = _redactor(console, sessions or [], names) if redact else None
    pieces = _exported(
        console, sessions or [], chosen, reasoning, raw=output is not None, redactor=redactor
    )
    if output is None:
        for piece in pieces:
            console.stdout.write(piece)
    else:
        write_new(output, (piece.encode("utf-8", "surrogatepass") for piece in pieces))
        console.say(
            tr("wrote {output} ({name})", output=single_line(path_text(output)), name=chosen.name)
        )
    if redactor is not None:
        from tchat.chat.redaction import guess_notice, redaction_summary, write_table

        if table is not None:
            write_table(redactor, table)
        console.say(redaction_summary(redactor))
        if notice := guess_notice(redactor):
            console.say(notice)


@app.command()
def redact(
    ctx: typer.Context,
    session: str = ID,
    *,
    text: str = typer.Option("", "--text", help="Replace this text only, wherever it stands"),
    messages: list[int] = typer.Option(
        [], "--message", help="Only this message, by its id in `sessions export`; repeatable"
    ),
    names: bool = NAMES,
    dry_run: bool = DRY_RUN,
    yes: bool = typer.Option(False, "-y", "--yes", help="Do not ask for confirmation"),
) -> None:
    """Replace personal data and secrets in a stored session, for good."""
    from tchat.chat.redaction import guess_notice
    from tchat.chat.stored_redaction import find_stored
    from tchat.settings.load import load

    console: Console = ctx.obj
    settings = load(console.paths, console.environ).settings
    with open_sessions(console) as store:
        stored = _find(store, session)
        for number in messages:
            if store.message(number).session_id != stored.id:
                raise UsageError(
                    tr("message {number} is not of session {name}", number=number, name=stored.id),
                    tr(
                        "`tchat sessions export {name}` has the ids of its messages", name=stored.id
                    ),
                )
        guessed = {} if text else _guessed(console, settings, store, [stored], names)
        only = frozenset(messages)
        found = find_stored(store, stored, settings, text=text, only=only, names=guessed)
        if dry_run or found.is_empty:
            for line in found.lines:
                console.out(printable(line))
            console.say(tr("nothing was replaced"))
            return
        if notice := guess_notice(found.redactor):
            console.say(notice)
        if not yes:
            confirm(console, list(map(printable, found.lines)), found.question)
        with ExitStack() as rest:  # what fails holds up nothing else
            rest.callback(_erase, console, store, {stored.id})
            rest.callback(_forget_snapshots, console, {stored.id})
            found.apply(console.paths)
        copies = store.backup_files()
    console.say(found.summary)
    _report_copies(console, copies, ())


def _redactor(console: Console, sessions: Sequence[str], names: bool | None) -> Redactor:
    from tchat.chat.redaction import open_redactor
    from tchat.settings.load import load

    settings = load(console.paths, console.environ).settings
    redactor = open_redactor(settings)
    with sessions_to_read(console) as store:
        found = [_find(store, name) for name in sessions] or store.sessions()
        redactor.names = _guessed(console, settings, store, found, names)
    return redactor


def _guessed(
    console: Console,
    settings: Settings,
    store: SessionStore,
    sessions: Iterable[Session],
    wanted: bool | None,
) -> Mapping[str, DataKind]:
    """Names that the model in this process guesses in sessions, where they are ``wanted``."""
    if not (settings.redact_names if wanted is None else wanted):
        return {}
    from tchat.chat.name_finder import find_names, require_local
    from tchat.chat.stored_redaction import session_texts
    from tchat.cli.chat_setup import run_with_model

    if settings.server:
        require_local(None)
    texts = [text for each in sessions for text in session_texts(store, each)]
    return run_with_model(
        console,
        settings,
        lambda model, _: find_names(require_local(model.engine.local_engine), texts),
    )


@app.command("import")
def import_(
    ctx: typer.Context,
    files: list[Path] = typer.Argument(
        None, metavar="[FILE]...", help="Files to import (default: standard input)"
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="List what would be imported, and store nothing"
    ),
    as_json: bool = JSON,
) -> None:
    """Import chats of other programs, and sessions that `export` wrote; prints their ids.

    Reads exports of ChatGPT (ZIP or JSON), Claude, Open WebUI, LM Studio, llama.cpp's web UI and
    SillyTavern, the databases of llm (logs.db) and oterm (store.db), OpenAI messages, and tchat's
    JSON and Markdown. The program is told by the content of a file.

    Imports all of them or none. An existing session gets the messages that it lacks.
    """
    from tchat.chat.session_import import import_summary
    from tchat.cli.session_import import import_files
    from tchat.sessions.importers import ImportReport

    console: Console = ctx.obj
    report = ImportReport()
    imported = import_files(console, files or (), report, dry_run=dry_run)
    if as_json:
        print_json(console, [_import_record(each) for each in imported])
    elif dry_run:
        rows = [(each.session.id, str(each.added), each.session.title) for each in imported]
        names = (N_("ID"), N_("NEW"), N_("TITLE"))
        print_rows(console, names, rows, empty=tr("there is nothing to import"))
    else:
        for each in imported:
            console.out(printable(each.session.id))
    for line in import_summary(imported, report, dry_run=dry_run):
        console.say(line)


@app.command()
def path(ctx: typer.Context) -> None:
    """Print where the sessions are stored."""
    console: Console = ctx.obj
    console.out(printable(str(console.paths.sessions_db)))


def sessions_to_read(console: Console) -> SessionStore:
    """As `open_sessions`, to be read only: works where the file cannot be written, too."""
    from tchat.sessions.store import SessionStore

    path = console.paths.sessions_db
    if path.is_file() and not is_writable(path.resolve()):
        return SessionStore(path, console.paths.encryption, read_only=True)
    return open_sessions(console)


def open_sessions(console: Console) -> SessionStore:
    """Open the user's sessions; an empty store in memory if there are none yet."""
    from tchat.sessions.store import SessionStore

    path = console.paths.sessions_db
    store = SessionStore(path if path.exists() else None, console.paths.encryption)
    for notice in store.notices:
        console.say(notice)
    return store


def _find(store: SessionStore, name: str) -> Session:
    if name != LAST:
        return store.get(name)
    session = store.latest()
    if session is None:
        raise UsageError(tr("there is no session yet"), tr("start one: tchat PROMPT"))
    return session


def _exported(
    console: Console,
    names: Sequence[str],
    form: ExportFormat,
    reasoning: bool,
    *,
    raw: bool = False,
    redactor: Redactor | None = None,
) -> Iterator[str]:
    """Yield the sessions as text; sanitized unless ``raw``."""
    with sessions_to_read(console) as store:
        found: Iterable[Session] = [_find(store, name) for name in names] or store.sessions()
        reader: SessionReader = store
        if redactor is not None:
            from tchat.chat.redaction import RedactedSessions

            reader = redacted = RedactedSessions(store, redactor)
            found = redacted.sessions(found)
        printed = printable_json if form.is_json else revealed
        for piece in form.export(reader, found, show_reasoning=reasoning):
            yield piece if raw else printed(piece)


def _record(session: Session) -> dict[str, Any]:
    return {
        **fields(session, "id", "title", "system", "messages"),
        "created_at": iso(session.created_at),
        "updated_at": iso(session.updated_at),
    }


def _import_record(imported: ImportedSession) -> dict[str, Any]:
    return {
        **_record(imported.session),
        "new": imported.is_new,
        "added": imported.added,
    }


PARTS = (N_("user"), N_("assistant"), N_("system"), N_("tool"), N_("title"))  # what `_part` returns


def _part(hit: SearchHit) -> str:
    return hit.message.role if hit.message else "title"


def _written_at(hit: SearchHit) -> float:
    return hit.message.created_at if hit.message else hit.session.created_at


def _hit(hit: SearchHit) -> dict[str, Any]:
    return {
        "session": hit.session.id,
        "title": hit.session.title,
        "message": hit.message.id if hit.message else None,
        "role": _part(hit),
        "created_at": iso(_written_at(hit)),
        "snippet": hit.snippet,
        "spans": [list(span) for span in hit.spans],
    }


def _removal_line(session: Session) -> str:
    title = single_line(session.title) or tr("(no title)")
    count = trn("{count:,} message", "{count:,} messages", session.messages)
    return f"{session.id}  {count}  {title}"


def _forget_snapshots(console: Console, deleted: Collection[str]) -> None:
    if deleted:
        from tchat.chat.preload import forget_sessions

        forget_sessions(console.paths, deleted)


def _erase(console: Console, store: SessionStore, deleted: Collection[str]) -> None:
    if not deleted:
        return
    try:
        store.erase()
    except StorageError as error:
        console.say(
            tr(
                "deleted, but fragments may remain in the file: {message}; delete another "
                "session later, which erases them",
                message=error.message,
            )
        )


def _histories(console: Console) -> list[Path]:
    from tchat.chat.prompt_history import FILE
    from tchat.chat.stored_files import TYPED_LINES

    config = console.paths.config
    return [path for name in (FILE, TYPED_LINES) if (path := config / name).is_file()]


def _report_copies(console: Console, copies: Sequence[Path], histories: Sequence[Path]) -> None:
    """Report files that may still contain deleted text."""
    if copies:
        names = ", ".join(single_line(path.name) for path in copies)
        console.say(
            tr(
                "copies of the database are still there: {names}; delete them: tchat sessions "
                "rm --backups",
                names=names,
            )
        )
    if histories:
        names = ", ".join(single_line(path.name) for path in histories)
        console.say(
            tr(
                "typed prompts are still in the input history: {names}; delete them: tchat "
                "sessions rm --history",
                names=names,
            )
        )
