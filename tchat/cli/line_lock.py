"""The lock of the line chat: what was said is cleared from the terminal, and the key forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.chat.screen_lock import require_lock
from tchat.cli.line_history import save_line_history
from tchat.errors import TchatError, UsageError
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.session import SessionState
    from tchat.cli.console import Console
    from tchat.encryption.encryption import Encryption

CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # the screen, and what was scrolled out of it


def lock_lines(console: Console, state: SessionState, chat: Chat) -> bool:
    """Lock the chat until the passphrase is typed; False where the user ends the chat instead.

    Raises:
        UsageError: There is no terminal, the store is not encrypted, or has no passphrase.
        StorageError: Something is in memory only, and cannot be stored: the key is needed for it.
    """
    encryption = _required_encryption(console)
    state.fallbacks.write_back()
    if state.persistent.path is not None:
        save_line_history(console)
    if chat.model is not None:
        chat.model.close_snapshots()
    state.persistent.suspend()
    encryption.forget()
    console.stdout.write(CLEAR)
    console.stdout.flush()
    console.say(tr("The chat is locked. Ctrl+D ends it."))
    may_lose = not state.is_lost_when_left(chat.session)
    while not encryption.is_unlocked:
        typed = _ask(console)
        if typed is None:
            if may_lose:
                return False
            may_lose = True
            console.say(tr("The messages of this private session are stored nowhere."))
            console.say(tr("Ctrl+D once more ends the chat and loses them."))
        try:
            if typed:
                encryption.unlock(typed)
        except TchatError as error:
            console.say(str(error))
    state.persistent.resume()
    return True


def _required_encryption(console: Console) -> Encryption:
    """The encryption of the store, which a passphrase opens again."""
    encryption = console.paths.encryption
    if not (console.stdin_is_terminal and console.stdout_is_terminal):
        raise UsageError(tr("the chat is locked on a terminal only"))
    require_lock(encryption)
    assert encryption is not None  # noqa: S101 - required
    return encryption


def _ask(console: Console) -> str | None:
    """What the user types; None at the end of the input. Ctrl+C asks again."""
    from getpass import getpass

    try:
        return getpass(tr("Passphrase:") + " ", stream=console.stderr)
    except EOFError:
        return None
    except KeyboardInterrupt:
        return ""
    finally:
        console.stderr.flush()
