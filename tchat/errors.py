"""Every failure that a user can meet, and the exit code it ends in.

::

    TchatError                1  unexpected
    ├── UsageError            2  the call is wrong
    ├── ModelError            3  the model is missing, or its file is not usable
    │   ├── ModelNotFound
    │   └── ModelInvalid
    ├── DoesNotFit            4  memory or context
    │   └── PromptTooLong
    ├── NetworkError          5
    ├── StorageError          6  disk, database, permissions
    │   └── StoreLocked          the store is encrypted, and nobody unlocks it
    │       └── WrongPassphrase
    ├── (REFUSED)             7  no error: without a terminal, a call of a tool was refused
    └── Interrupted     128 + n  signal n ended the work: 130 for Ctrl-C, 143 for SIGTERM
        └── Abandoned            a second one came before the work had ended
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Self

from tchat.translation import tr, trn


class ExitCode(IntEnum):
    """Exit codes of the ``tchat`` command; stable across releases."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    MODEL = 3
    FIT = 4
    NETWORK = 5
    STORAGE = 6
    REFUSED = 7
    INTERRUPTED = 130
    CLOSED_PIPE = 141
    TERMINATED = 143


# Places in the hint for a chat, which each front end replaces by its own key or command.
SETTINGS, MODELS = "{settings}", "{models}"


class ErrorHint(str):
    """A hint for the shell, which is the text itself, and one for a chat.

    Attributes:
        chat: The hint for a chat; it can contain `SETTINGS` and `MODELS`.
    """

    chat: str

    def __new__(cls, shell: str, chat: str) -> Self:
        """The hint ``shell``, with ``chat`` beside it."""
        hint = super().__new__(cls, shell)
        hint.chat = chat
        return hint

    def __reduce__(self) -> tuple[object, ...]:
        return ErrorHint, (str(self), self.chat)


def with_hint(message: str, hint: str) -> str:
    """A message with its hint, if there is one, on one line."""
    return tr("{message}; {hint}", message=message, hint=hint) if hint else message


class TchatError(Exception):
    """A failure told in one line, with what to do next.

    Args:
        message: What happened, without a final full stop and without a newline.
        hint: What the user can do next; empty when there is nothing to add. An `ErrorHint` where
            a chat has another way to do it.
    """

    exit_code: int = ExitCode.UNEXPECTED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return _same_error, (type(self), self.message, self.hint, self.__dict__)

    def __str__(self) -> str:
        return with_hint(self.message, self.hint)

    def in_chat(self, places: Mapping[str, str]) -> str:
        """As `str`, with the hint for a chat.

        Args:
            places: The key or command for `SETTINGS` and `MODELS`; without one for a place that
                the hint contains, the hint is that for the shell.
        """
        hint = self.hint.chat if isinstance(self.hint, ErrorHint) else self.hint
        for place, name in places.items():
            hint = hint.replace(place, name)
        if SETTINGS in hint or MODELS in hint:
            hint = self.hint
        return with_hint(self.message, hint)


def _same_error(
    kind: type[TchatError], message: str, hint: str, state: dict[str, object]
) -> TchatError:
    """The error that another process pickled; constructors differ."""
    error = kind.__new__(kind)
    TchatError.__init__(error, message, hint)
    error.__dict__.update(state)
    return error


class UsageError(TchatError):
    """The call cannot be carried out as it was written."""

    exit_code = ExitCode.USAGE


class ModelError(TchatError):
    """Something about a model stands in the way."""

    exit_code = ExitCode.MODEL


class ModelNotFound(ModelError):
    """No model answers to the name."""


class ModelInvalid(ModelError):
    """The model file is damaged, hostile, or of a kind that cannot chat."""


class DoesNotFit(TchatError):
    """The request is larger than the context window or the memory."""

    exit_code = ExitCode.FIT


class PromptTooLong(DoesNotFit):
    """The prompt exceeds the context window; a chat does not store it."""


class NetworkError(TchatError):
    """A download or a lookup on the hub failed."""

    exit_code = ExitCode.NETWORK


class StorageError(TchatError):
    """The disk, the database or a permission stands in the way."""

    exit_code = ExitCode.STORAGE


class StoreLocked(StorageError):
    """The store is encrypted, and there is nothing that unlocks it."""


class WrongPassphrase(StoreLocked):
    """What should unlock the store does not, or comes too early after one that did not.

    Attributes:
        wait: Seconds until the next try is looked at; 0 for now.
        is_early: Whether this one was not looked at.
    """

    def __init__(self, wait: float = 0.0, *, is_early: bool = False) -> None:
        self.wait, self.is_early = wait, is_early
        hint = (
            trn(
                "try again in {count:,} second",
                "try again in {count:,} seconds",
                int(-(-wait // 1)),
            )
            if wait
            else tr("try again")
        )
        early, wrong = tr("too many wrong passphrases"), tr("the passphrase is wrong")
        super().__init__(early if is_early else wrong, hint)


class Interrupted(TchatError):
    """A signal ended the work. It is no failure: nothing is said, only the exit code tells."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + signal_number


class Abandoned(Interrupted):
    """A second signal ended the waiting for work that goes on; the process has to end."""
