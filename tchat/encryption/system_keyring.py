"""Keys of locks in the system's keyring; no message contains one."""

from __future__ import annotations

import os
import sys
from typing import Any

from tchat.errors import UsageError
from tchat.translation import tr

SERVICE = "tchat"  # under which the keyring keeps them
BACKEND = "PYTHON_KEYRING_BACKEND"  # the user's choice of another keyring


def find_secret(account: str, *, may_ask: bool = True) -> bytes | None:
    """The key of ``account``; None where there is none.

    Args:
        account: Whose key.
        may_ask: Whether the keyring may ask the user to open it.

    Raises:
        UsageError: There is no keyring here, or it refuses.
    """
    found = _from_secret_service(account)
    if not found and (may_ask or not _has_secret_service()):
        found = _call("get_password", account)
    try:
        return bytes.fromhex(found) if found else None
    except ValueError:
        return None


def save_secret(account: str, secret: bytes) -> None:
    """Keep the key of ``account``.

    Raises:
        UsageError: There is no keyring here, or it refuses.
    """
    _call("set_password", account, secret.hex())


def delete_secret(account: str) -> None:
    """Remove the key of ``account``, if it is there.

    Raises:
        UsageError: There is no keyring here, or it refuses.
    """
    if _call("get_password", account) is not None:
        _call("delete_password", account)


def _from_secret_service(account: str) -> str:
    """What Linux's own service holds, asked without the package `keyring`; empty for nothing.

    Importing that package and looking for its backends takes several times as long as the answer.
    Nothing is unlocked here: where the service must ask the user, `keyring` lets it.
    """
    if not _has_secret_service():
        return ""
    try:
        from tchat.encryption.secret_service import find_password

        return find_password({"service": SERVICE, "username": account})
    except Exception:  # noqa: BLE001 - whatever is wrong with it, `keyring` tells
        return ""


def _has_secret_service() -> bool:
    """Whether the keyring is Linux's own service, as far as can be told without asking it."""
    return sys.platform == "linux" and not os.environ.get(BACKEND)


def _call(function: str, *arguments: str) -> Any:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise UsageError(
            tr("the keyring needs one more package"), tr("run: pip install 'tchat[lock]'")
        ) from None
    passphrase = tr("use the passphrase")
    try:
        return getattr(keyring, function)(SERVICE, *arguments)
    except KeyringError:  # its text may name what was stored
        raise UsageError(tr("the keyring of this system cannot be used"), passphrase) from None
    except Exception:  # noqa: BLE001 - backends raise what their system does; none may show a key
        raise UsageError(tr("the keyring of this system fails"), passphrase) from None
