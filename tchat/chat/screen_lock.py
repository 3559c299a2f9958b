"""When a chat can be locked while it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tchat.errors import UsageError
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption


def require_lock(encryption: Encryption | None) -> None:
    """Require that the store is encrypted, and opened by what the user types.

    Raises:
        UsageError: It is in clear, or has no passphrase.
    """
    if encryption is None:
        raise UsageError(
            tr("there is nothing to lock: the chats are stored in clear"),
            tr("`tchat lock on` encrypts them"),
        )
    if not encryption.has_passphrase:
        raise UsageError(
            tr("only the keyring opens the store, and would do so at once again"),
            tr("`tchat lock passphrase` sets a passphrase"),
        )
