"""How a command unlocks an encrypted store, and the questions for passphrases."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tchat.cli.console import Console
from tchat.encryption.unlock_sources import (
    from_command,
    from_descriptor,
    read_descriptor,
    unlock_from_keyring,
    unlock_from_open_keyring,
    without_wait,
)
from tchat.errors import UsageError, WrongPassphrase
from tchat.paths import path_text
from tchat.translation import tr, trn

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption, UnlockSource
    from tchat.encryption.key_slots import SlotKind

TERMINAL = "/dev/tty"
TRIES = 3
SHORTEST, SHORT = 8, 14  # characters of a passphrase: fewer are refused, fewer are warned of


def prepare_unlock(encryption: Encryption, console: Console) -> None:
    """Tell an encrypted store what this call has to unlock it; nobody is asked yet."""
    from tchat.encryption.hardening import protect_process
    from tchat.encryption.lock_copies import repair_lock
    from tchat.encryption.permissions import repair_permissions

    protect_process()
    paths = console.paths
    has_own_folders = "TCHAT_HOME" not in console.environ  # that one may hold other things, too
    repaired = repair_permissions(paths.config, paths.cache, with_folders=has_own_folders)
    if repaired:
        names = ", ".join(sorted(map(path_text, repaired)))
        console.say(tr("others could read {names}: only you can now", names=names))
    number = console.unlock_fd
    given = () if number is None else (from_descriptor(number),)
    if told := repair_lock(encryption.lock_file):
        console.say(told)
    encryption.sources = (unlock_from_keyring, *given, from_command(console.environ))
    encryption.silent_sources = (unlock_from_open_keyring, *map(without_wait, given))
    encryption.question = question_on_terminal(console)


def descriptor_number(text: str) -> int:
    """The value of ``--unlock-fd``.

    Raises:
        UsageError: It is no number.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 8):
        raise UsageError(
            tr("invalid value for {name}: {reason}", name="'--unlock-fd'",
               reason=tr("it is no number of a descriptor")),
            tr("for example: tchat --unlock-fd 3 3< FILE"),
        )  # fmt: skip
    return int(text)


def has_terminal() -> bool:
    """Whether there is a terminal to ask on, wherever standard input comes from."""
    try:
        os.close(os.open(TERMINAL, os.O_RDWR | getattr(os, "O_NOCTTY", 0)))
    except OSError:
        return False
    return True


def question_on_terminal(console: Console) -> UnlockSource:
    """Asks for the passphrase, three times at most; never reads standard input."""

    def unlock(encryption: Encryption) -> bool:
        if not has_terminal():
            return False
        if encryption.failure is not None:  # of a command, say: the user can type it all the same
            console.say(str(encryption.failure))
        for left in reversed(range(TRIES)):
            _wait(encryption, console)
            typed = ask_secret(tr("Passphrase or recovery key:"))
            if not typed:
                return False
            try:
                encryption.unlock(typed)
            except (WrongPassphrase, UsageError) as error:
                if not left:
                    raise
                is_wrong = isinstance(error, WrongPassphrase)  # then how long to wait comes next
                console.say(error.message if is_wrong else str(error))
            else:
                return True
        return False

    return unlock


def _wait(encryption: Encryption, console: Console) -> None:
    """Wait out what wrong passphrases cost, and say so."""
    if (seconds := encryption.wait) > 0:
        whole = int(-(-seconds // 1))
        console.say(
            trn("the next try is possible in {count:,} second",
                "the next try is possible in {count:,} seconds", whole)
        )  # fmt: skip
        time.sleep(seconds)


def ask_secret(question: str) -> str:
    """What is typed on the terminal, not shown; empty at its end.

    Raises:
        UsageError: It is no text.
    """
    from contextlib import suppress
    from getpass import getpass
    from pathlib import Path

    try:
        return getpass(f"{question} ")
    except (EOFError, KeyboardInterrupt) as error:
        with suppress(OSError), Path(TERMINAL).open("w", encoding="utf-8") as terminal:
            terminal.write("\n")  # what is printed next begins a line
        if isinstance(error, KeyboardInterrupt):
            raise
        return ""
    except UnicodeDecodeError:
        raise UsageError(tr("the passphrase is no text in UTF-8")) from None


def try_secret(encryption: Encryption, console: Console) -> SlotKind:
    """What the passphrase or recovery key of ``--unlock-fd``, or of the terminal, opens.

    On the terminal it is asked for three times at most.

    Raises:
        UsageError: There is none.
        WrongPassphrase: It opens nothing.
    """
    if console.unlock_fd is not None:
        return encryption.kind_of(read_descriptor(console.unlock_fd))
    for _ in range(TRIES - 1):
        _wait(encryption, console)
        typed = _secret_to_test()
        try:
            return encryption.kind_of(typed)
        except WrongPassphrase as error:
            console.say(error.message)
        except UsageError as error:
            console.say(str(error))
    _wait(encryption, console)
    return encryption.kind_of(_secret_to_test())


def _secret_to_test() -> str:
    typed = ask_secret(tr("Passphrase or recovery key:")) if has_terminal() else ""
    if not typed:
        raise UsageError(
            tr("there is no passphrase to try"), tr("for example: tchat --unlock-fd 3 3< FILE")
        )
    return typed


def new_passphrase(console: Console, descriptor: int | None) -> str:
    """A new passphrase: from a descriptor, or typed twice on the terminal.

    Raises:
        UsageError: There is none, it is too short, or it was typed in two ways.
    """
    if descriptor is not None:
        text = read_descriptor(descriptor)
        _require_length(text)
    elif not has_terminal():
        raise UsageError(
            tr("there is no terminal to ask for a passphrase"),
            tr("hand it over: --passphrase-fd 3 3< FILE"),
        )
    else:
        text = _typed_twice(console)
    if is_weak(text):
        console.say(
            tr(
                "warning: who has a copy of the disk may guess this passphrase; five random words "
                "are better: tchat lock passphrase"
            )
        )
    return text


def _typed_twice(console: Console) -> str:
    """A new passphrase that was typed twice, asked for three times at most.

    Else what is typed after a slip would go to the shell, and be seen there.
    """
    console.say(tr("a passphrase has {count:,} characters or more", count=SHORTEST))
    for left in reversed(range(TRIES)):
        text = ask_secret(tr("New passphrase (not shown):"))
        if not text:
            raise UsageError(tr("no passphrase was typed"), tr("nothing was changed"))
        try:
            _require_length(text)
            _require_equal(text, ask_secret(tr("Once more:")))
        except UsageError as error:
            if not left:
                raise
            console.say(tr("{reason}; try again", reason=error.message))
        else:
            break
    return text


def _require_equal(text: str, again: str) -> None:
    if again != text:
        raise UsageError(tr("the two passphrases differ"), tr("nothing was changed"))


def _require_length(text: str) -> None:
    if len(text) < SHORTEST:
        raise UsageError(
            tr("a passphrase has {count:,} characters or more", count=SHORTEST),
            tr("nothing was changed"),
        )


def is_weak(text: str) -> bool:
    """Whether few tries find it: it is short, or repeats few characters."""
    return len(text) < SHORT or len(set(text)) < SHORTEST
