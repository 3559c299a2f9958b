"""``tchat lock``: on, off, status, passphrase, recovery, keyring, test."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import typer

from tchat.cli.app import JSON, command_group
from tchat.cli.console import Console, confirm
from tchat.cli.output.columns import fields, print_json, print_rows
from tchat.errors import StorageError, UsageError
from tchat.sanitize import printable
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tchat.encryption.encryption import Encryption
    from tchat.encryption.lock_file import EncryptionState, LockFile

app = command_group("Encrypt everything that tchat stores, with a passphrase or the keyring.")

PACKAGES = ("cryptography", "sqlcipher3")
ON, OFF = "on", "off"
PASSPHRASE_FD = typer.Option(
    None, "--passphrase-fd", metavar="N", min=0, help="Read the new passphrase from descriptor N"
)


@app.command()
def on(
    ctx: typer.Context,
    keyring: bool = typer.Option(
        False, "--keyring", help="Let the system's keyring unlock it, too"
    ),
    no_passphrase: bool = typer.Option(
        False, "--no-passphrase", help="With --keyring: without a passphrase"
    ),
    passphrase_fd: int = PASSPHRASE_FD,
    yes: bool = typer.Option(False, "-y", "--yes", help="Encrypt files put there in clear, too"),
) -> None:
    """Encrypt what is stored; ask for a passphrase, and print the recovery key.

    Goes on where it was interrupted. In an encrypted store it encrypts what was put there in clear.
    """
    from tchat.cli.unlock import new_passphrase
    from tchat.encryption.key_management import create_lock
    from tchat.encryption.lock_file import EncryptionState

    console: Console = ctx.obj
    if no_passphrase and not keyring:
        raise UsageError(tr("--no-passphrase needs --keyring"))
    if no_passphrase and passphrase_fd is not None:
        raise UsageError(tr("--no-passphrase and --passphrase-fd exclude each other"))
    _require_packages()
    encryption = console.paths.encryption
    if encryption is not None:
        if encryption.state is EncryptionState.ON:
            _encrypt_rest(console, encryption, yes=yes)
            return
        _convert(console, encryption, EncryptionState.TURNING_ON)
        console.say(
            tr("if you have no recovery key of this store, make one: `tchat lock recovery`")
        )
        return
    from tchat.chat.store_conversion import require_convertible
    from tchat.encryption.hardening import protect_process

    require_convertible(console.paths)
    protect_process()
    passphrase = None if no_passphrase else new_passphrase(console, passphrase_fd)
    lock_file = console.paths.lock_file
    made = create_lock(lock_file, passphrase, keyring=keyring, state=EncryptionState.TURNING_ON)
    _show_recovery_key(console, made.recovery_key)
    _convert(console, made.encryption, EncryptionState.TURNING_ON)


@app.command()
def off(
    ctx: typer.Context,
    yes: bool = typer.Option(False, "-y", "--yes", help="Do not ask"),
) -> None:
    """Decrypt what is stored, and remove the keys.

    A damaged file is kept as NAME.damaged, and the exit code is 6.
    """
    from tchat.encryption.lock_file import EncryptionState

    console: Console = ctx.obj
    encryption = _encryption(console)
    encryption.conversion_keys()
    if not yes and encryption.state is EncryptionState.ON:
        confirm(
            console,
            [tr("Whoever has this disk, or a backup of it, will be able to read your chats.")],
            tr("Decrypt them?"),
        )
    _convert(console, encryption, EncryptionState.TURNING_OFF)


@app.command()
def status(ctx: typer.Context, as_json: bool = JSON) -> None:
    """Show whether the store is encrypted, and what unlocks it; asks for nothing."""
    console: Console = ctx.obj
    encryption = console.paths.encryption
    lock = encryption.lock if encryption else None
    if encryption is None:
        _require_no_lost_lock(console)
    record = _record(encryption, lock)
    if as_json:
        print_json(console, record | _files(console))
        return
    rows = [(tr("encrypted"), _state_text(lock))]
    if encryption and lock:
        kinds = [tr(_KINDS[slot.kind]) for slot in lock.slots]
        rows.append((tr("unlocked by"), ", ".join(sorted(kinds))))
        rows += [(tr("key derivation"), text) for text in _derivations(lock)]
        rows.append((tr("lock file"), printable(str(encryption.lock_file))))
        rows.append((tr("its copy"), printable(str(console.paths.lock_copy))))
        if wait := int(-(-encryption.wait // 1)):
            text = trn("in {count:,} second", "in {count:,} seconds", wait)
            rows.append((tr("next try"), text))
    print_rows(console, (N_("WHAT"), N_("FOUND")), rows, whole=True)


@app.command()
def passphrase(ctx: typer.Context, passphrase_fd: int = PASSPHRASE_FD) -> None:
    """Change the passphrase, or set one; the data is not encrypted again."""
    from tchat.cli.unlock import new_passphrase
    from tchat.encryption.key_management import change_passphrase

    console: Console = ctx.obj
    encryption = _encryption(console)
    encryption.conversion_keys()
    change_passphrase(encryption, new_passphrase(console, passphrase_fd))
    console.say(tr("the passphrase is changed; copies of the old lock file open with the old one"))


@app.command()
def recovery(ctx: typer.Context) -> None:
    """Make a new recovery key and print it; the one before opens the store no more."""
    from tchat.encryption.key_management import change_recovery_key

    console: Console = ctx.obj
    encryption = _encryption(console)
    _show_recovery_key(console, change_recovery_key(encryption))


@app.command()
def keyring(
    ctx: typer.Context,
    state: str = typer.Argument(
        ..., metavar="on|off", help="Whether it unlocks the store", autocompletion=lambda: [ON, OFF]
    ),
) -> None:
    """Let the system's keyring unlock the store, or not."""
    from tchat.encryption.key_management import stop_keyring, use_keyring
    from tchat.encryption.key_slots import SlotKind

    console: Console = ctx.obj
    if state not in (ON, OFF):
        raise UsageError(tr("choose one of {names}", names=f"{ON}, {OFF}"))
    encryption = _encryption(console)
    if state == ON:
        use_keyring(encryption)
        console.say(tr("the keyring unlocks the store: whoever is logged in as you can read it"))
    elif SlotKind.KEYRING in encryption.kinds:
        stop_keyring(encryption)
        console.say(tr("the keyring unlocks the store no more"))
    else:
        console.say(tr("the keyring does not unlock the store"))


@app.command()
def test(ctx: typer.Context) -> None:
    """Try the passphrase, or the recovery key as you wrote it down; nothing is unlocked."""
    from tchat.cli.unlock import try_secret

    console: Console = ctx.obj
    kind = try_secret(_encryption(console), console)
    console.say(tr("right: this is the {kind} of the store", kind=tr(_KINDS[kind])))


_KINDS = {
    "passphrase": N_("passphrase"),
    "keyring": N_("keyring"),
    "recovery": N_("recovery key"),
}


def _encrypt_rest(console: Console, encryption: Encryption, *, yes: bool) -> None:
    """Encrypt files of an encrypted store that are in clear, once the user says that they are his.

    Raises:
        UsageError: There is none, or the answer is no.
    """
    from tchat.chat.store_conversion import find_clear
    from tchat.encryption.lock_file import EncryptionState

    found = find_clear(console.paths, encryption)
    if not found:
        raise UsageError(tr("the store is encrypted already"), tr("`tchat lock status` tells more"))
    if not yes:
        lines = [
            tr("In clear, so that tchat did not write them:"),
            *(f"  {path}" for path in found),
            tr("Who put them there may have changed what they say."),
        ]
        confirm(console, lines, tr("Encrypt them as yours?"))
    _convert(console, encryption, EncryptionState.TURNING_ON)


def _require_no_lost_lock(console: Console) -> None:
    """Raise StorageError where something is encrypted and there is no lock file."""
    from tchat.chat.store_conversion import require_no_lost_lock

    require_no_lost_lock(console.paths)


def _encryption(console: Console) -> Encryption:
    encryption = console.paths.encryption
    if encryption is None:
        _require_no_lost_lock(console)
        raise UsageError(tr("the store is not encrypted"), tr("encrypt it: tchat lock on"))
    return encryption


def _require_packages() -> None:
    """Raise UsageError unless the packages of the extra are there."""
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        raise UsageError(
            tr("the encrypted store needs more packages"), tr("run: pip install 'tchat[lock]'")
        )


def _show_recovery_key(console: Console, key: str) -> None:
    """Print it, alone on standard output."""
    console.say(
        tr(
            "This is the recovery key. Write it down and keep it away from this machine: it opens "
            "the store when the passphrase is forgotten, and is not shown again."
        )
    )
    console.out(key)
    console.flush()


def _convert(console: Console, encryption: Encryption, target: EncryptionState) -> None:
    """Encrypt or decrypt what is stored, and record that it is done."""
    from tchat.chat.store_conversion import find_linked, turn_off, turn_on
    from tchat.cli.output.status import TerminalStatus
    from tchat.encryption.lock_file import EncryptionState

    is_on = target is EncryptionState.TURNING_ON
    damaged: Sequence[Path] = ()
    linked = find_linked(console.paths) if is_on else []
    with TerminalStatus(console) as status:
        for progress in (turn_on if is_on else turn_off)(console.paths, encryption):
            if progress.damaged:
                damaged = progress.damaged
                continue
            count = trn(
                "{done:,} of {count:,} kind of files is done",
                "{done:,} of {count:,} kinds of files are done",
                progress.total,
                done=progress.done,
            )
            status.show(tr("{count}; next: {name}", count=count, name=tr(progress.name)))
    if is_on:
        console.say(tr("the store is encrypted"))
        console.say(
            tr(
                "what was in clear was overwritten; flash memory, snapshots of the file system and "
                "backups may still have it"
            )
        )
        if linked:
            console.say(
                trn(
                    "{count:,} file has another name, where its content is still in clear: {names}",
                    "{count:,} files have other names, where their content is still in clear: "
                    "{names}",
                    len(linked),
                    names=printable(", ".join(map(str, linked))),
                )
            )
        return
    console.say(tr("the store is in clear"))
    if damaged:
        raise StorageError(
            trn(
                "{count:,} file is damaged, and stays encrypted: {names}",
                "{count:,} files are damaged, and stay encrypted: {names}",
                len(damaged),
                names=", ".join(map(str, damaged)),
            ),
            tr("delete them, unless you have a copy of lock.json, which alone opens them"),
        )


def _state_text(lock: LockFile | None) -> str:
    if lock is None:
        return tr("no; `tchat lock on` encrypts the store")
    return {
        "on": tr("yes"),
        "turning on": tr("not to its end; `tchat lock on` finishes it"),
        "turning off": tr("in part; `tchat lock off` finishes the decryption"),
    }[lock.state]


def _derivations(lock: LockFile) -> list[str]:
    return [
        trn("{name}, {memory}, {count:,} pass", "{name}, {memory}, {count:,} passes",
            slot.derivation.iterations, name=slot.derivation.name,
            memory=f"{slot.derivation.memory >> 10:,} MiB")
        for slot in lock.slots
        if slot.derivation
    ]  # fmt: skip


def _files(console: Console) -> dict[str, str]:
    return {"lock_file": str(console.paths.lock_file), "lock_copy": str(console.paths.lock_copy)}


def _record(encryption: Encryption | None, lock: LockFile | None) -> dict[str, Any]:
    if encryption is None or lock is None:
        return {"state": "off", "unlocked_by": [], "key_derivation": None, "wait_seconds": 0}
    derivations = [
        fields(slot.derivation, "name", "memory", "iterations", "lanes")
        for slot in lock.slots
        if slot.derivation
    ]
    return {
        "state": str(lock.state),
        "unlocked_by": [str(slot.kind) for slot in lock.slots],
        "key_derivation": derivations[0] if derivations else None,
        "wait_seconds": round(encryption.wait, 1),
    }
