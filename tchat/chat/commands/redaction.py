"""``/export`` and ``/redact``: a session as a file, and personal data taken out of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.chat.commands.command import CommandDialog, without_flag
from tchat.chat.commands.lookup import require_session
from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from collections.abc import Collection

    from tchat.chat.commands.command import CommandHost


async def export_session(host: CommandHost, name: str) -> None:
    """Write the open session to a file."""
    from tchat.chat.session import write_session
    from tchat.paths import path_text

    session = require_session(host)
    if not name and host.open_dialog(CommandDialog.EXPORT):
        return
    name, is_redacted = without_flag(name, "--redact")
    name, has_names = without_flag(name, "--names")
    if has_names:
        raise UsageError(
            tr("/export does not guess names"),
            tr("run: tchat sessions export {id} --redact --names -o FILE", id=session.id),
        )
    redactor = None
    if is_redacted:
        from tchat.chat.redaction import open_redactor, redaction_summary

        redactor = open_redactor(host.settings)
    written = await host.read(
        lambda store: write_session(store, session.id, name, redactor=redactor)
    )
    host.show(tr("Written to {written}.", written=single_line(path_text(written))))
    if redactor is not None:
        host.show(redaction_summary(redactor))
        if host.settings.redact_names:
            host.show(
                tr(
                    "No names were guessed: `tchat sessions export {name} --redact --names` does.",
                    name=session.id,
                )
            )


async def redact_session(host: CommandHost, text: str) -> None:
    """Replace personal data and secrets, or ``text``, in the stored session, after a yes."""
    await _redact(host, tr("There is nothing to replace in this session."), text=text)


async def redact_message(host: CommandHost, message_id: int) -> None:
    """Replace personal data and secrets in one message, after a yes."""
    nothing = tr("There is nothing to replace in this message.")
    await _redact(host, nothing, only=frozenset({message_id}))


async def redact_selected(host: CommandHost, text: str) -> None:
    """Replace ``text``, as it was selected on the screen, wherever it stands, after a yes."""
    nothing = tr(
        "The selected text is not stored as it is shown: select whole words of one line, or type "
        "/redact TEXT."
    )
    await _redact(host, nothing, text=text)


async def _redact(
    host: CommandHost, nothing: str, *, text: str = "", only: Collection[int] = ()
) -> None:
    from tchat.chat.stored_redaction import find_stored

    session = require_session(host)
    found = await host.read(
        lambda store: find_stored(store, session, host.settings, text=text, only=only)
    )
    if found.is_empty:
        host.show(nothing)
        return
    if not await host.confirm(found.question, found.lines):
        host.show(tr("Nothing was replaced."))
        return
    paths = host.paths
    changed = await host.read(lambda _: found.apply(paths))
    await host.show_rewritten(changed, found.without_values)
    host.show(found.summary)
