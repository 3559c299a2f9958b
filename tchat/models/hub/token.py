"""The token for the hub, as huggingface_hub finds it: in the environment, or in a file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tchat.models.hub.errors import HubError

HINT = "check HF_TOKEN_PATH and HF_HOME, or set HF_TOKEN to your token"


def token() -> str | None:
    """The token that is sent with each request; None for none.

    Raises:
        HubError: It cannot be read or sent.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    if not (os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")):
        _require_file(Path(constants.HF_TOKEN_PATH))
    try:
        found = get_token()
    except OSError as error:
        raise _unreadable(error.strerror or "the disk fails") from None
    except UnicodeError:
        raise _unreadable("its file holds no text") from None
    if found and not found.isascii():
        raise HubError("your token is no ASCII text", "set HF_TOKEN to it as the hub shows it")
    return found


def _require_file(path: Path) -> None:
    """Refuse a pipe or a device in the place of the token's file: reading it may never end.

    Raises:
        HubError: It is one.
    """
    try:
        status = path.stat()
        mode = status.st_mode
        regular = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        if regular or os.path.samestat(status, os.stat(os.devnull)):  # noqa: PTH116
            return
    except OSError:
        return  # reading tells
    raise _unreadable("its file is a pipe or a device")


def _unreadable(reason: str) -> HubError:
    return HubError(f"the token for the hub cannot be read: {reason}", HINT)
