"""Keys of locks in the system's keyring; no message contains one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from tchat.errors import UsageError
from tchat.translation import tr

T = TypeVar("T")
SERVICE = "tchat"  # under which the keyring keeps them
BACKEND = "PYTHON_KEYRING_BACKEND"  # the user's choice of another keyring
RECOMMENDED = 1  # the least priority of a keyring that protects what it keeps


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
        UsageError: There is no keyring here, it refuses, does not keep what it is given, or keeps
            it in clear without the user's choice of it.
    """
    _require_protection()
    _call("set_password", account, secret.hex())
    if _call("get_password", account) != secret.hex():
        raise UsageError(tr("the keyring of this system keeps nothing"), tr("use the passphrase"))


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


def _require_protection() -> None:
    """Raise UsageError where the only keyring is a file in clear, say, that nobody chose.

    The package `keyring` gives such ones a priority below 1.
    """

    def priority(keyring: Any) -> float:
        if os.environ.get(BACKEND) or keyring.core.load_config() is not None:
            return RECOMMENDED  # the user's choice
        found = keyring.get_keyring()
        best = next(iter(getattr(found, "backends", ())), found)  # of several, the first is used
        return float(best.priority)

    if _guarded(priority) < RECOMMENDED:
        raise UsageError(
            tr("the keyring of this system does not protect what it keeps"),
            tr("use the passphrase"),
        )


def _call(function: str, *arguments: str) -> Any:
    return _guarded(lambda keyring: getattr(keyring, function)(SERVICE, *arguments))


def _guarded(use: Callable[[Any], T]) -> T:
    """What ``use`` returns for the package `keyring`."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise UsageError(
            tr("the keyring needs one more package"), tr("run: pip install 'tchat[lock]'")
        ) from None
    passphrase = tr("use the passphrase")
    try:
        return use(keyring)
    except KeyringError:  # its text may name what was stored
        raise UsageError(tr("the keyring of this system cannot be used"), passphrase) from None
    except Exception:  # noqa: BLE001 - backends raise what their system does; none may show a key
        raise UsageError(tr("the keyring of this system fails"), passphrase) from None
