"""API keys of servers: from the environment or the system's keyring, never from a file of tchat.

No message contains a key, and none is logged.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tchat.errors import UsageError
from tchat.servers.config import Server
from tchat.translation import tr

SERVICE = "tchat"  # under which the keyring keeps them; the user name is that of the server
LONGEST = 8192


def find_key(server: Server, environ: Mapping[str, str] = os.environ) -> str:
    """The key of ``server``; empty where it takes none.

    Raises:
        UsageError: It is not where it should be, is no key, or would be sent in clear.
    """
    if server.key_env:
        key = environ.get(server.key_env, "").strip()
        if not key:
            raise UsageError(
                tr(
                    "the key of {name} is not set: {variable} is empty",
                    name=server.name,
                    variable=server.key_env,
                ),
                tr("set it: export {variable}=…", variable=server.key_env),
            )
    elif server.keyring:
        key = _call_keyring("get_password", server.name) or ""
        if not key:
            raise UsageError(
                tr("the keyring has no key of {name}", name=server.name),
                tr(
                    "save it: tchat servers add {name} {url} --keyring",
                    name=server.name,
                    url=server.url,
                ),
            )
    else:
        return ""
    require_key(key)
    if server.url.startswith("http:") and not (server.is_loopback or server.insecure):
        raise UsageError(
            tr("the key of {name} would be sent unencrypted to {host}", name=server.name,
               host=server.host),
            tr("use https, or a tunnel (ssh -L); --insecure sends it all the same"),
        )  # fmt: skip
    return key


def require_key(key: str) -> None:
    """Check that ``key`` can be sent in a header.

    Raises:
        UsageError: It cannot; the message does not repeat it.
    """
    if not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            tr("the key is not one that can be sent: it has blanks or other characters"),
            tr("copy it again, on one line"),
        )


def save_key(name: str, key: str) -> None:
    """Keep the key of the server ``name`` in the system's keyring.

    Raises:
        UsageError: There is no keyring here, or it refuses.
    """
    require_key(key)
    _call_keyring("set_password", name, key)


def delete_key(name: str) -> None:
    """Remove the key of the server ``name`` from the keyring, if it is there."""
    if _call_keyring("get_password", name) is not None:
        _call_keyring("delete_password", name)


def _call_keyring(function: str, *arguments: str) -> Any:
    """Call ``function`` of the package `keyring` for tchat."""
    variable = tr("or name a variable of the environment that holds the key: --key-env NAME")
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise UsageError(
            tr("the keyring needs one more package"),
            "; ".join((tr("run: pip install 'tchat[servers]'"), variable)),
        ) from None
    try:
        return getattr(keyring, function)(SERVICE, *arguments)
    except KeyringError:  # its text may name what was stored
        raise UsageError(tr("the keyring of this system cannot be used"), variable) from None
    except Exception:  # noqa: BLE001 - backends raise what their system does; none may show a key
        raise UsageError(tr("the keyring of this system fails"), variable) from None
