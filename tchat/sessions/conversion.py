"""The session database and its copies: encrypted, or decrypted, where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tchat.encrypted_sqlite import OtherKey, first_bytes, require_own_key
from tchat.encryption.convertible_files import moved_aside
from tchat.encryption.encryption import StoreKeys
from tchat.encryption.file_cipher import DamagedFile, FileCipher
from tchat.encryption.replacing import erase_file, overwriting, replace_file
from tchat.encryption.sqlcipher_logs import any_authentic, decrypted_log
from tchat.encryption.sqlcipher_pages import CLEAR, MARK, PageCipher
from tchat.encryption.stored_paths import find_files, is_file, reading
from tchat.errors import StorageError
from tchat.private_files import BESIDE
from tchat.sessions import schema
from tchat.sessions.database import KEY_NAME, Database, DatabaseDamaged, KeySource
from tchat.sessions.database_file import ENDINGS
from tchat.sqlite_conversion import decrypt_database, encrypt_database
from tchat.translation import N_

_PURPOSE = "copy of the sessions"
_PASSING = (".salvaged*", ".patched*")  # what a salvage that was killed left; it begins anew


@dataclass(frozen=True, slots=True)
class _KeysAtHand:
    """Keys for a database that nobody else may open yet."""

    store_keys: StoreKeys

    def keys(self) -> StoreKeys:
        return self.store_keys


class SessionsConversion:
    """`tchat.encryption.conversion.Convertible`: the database at ``path`` and what lies beside."""

    name = N_("sessions")

    def __init__(self, path: Path) -> None:
        self._place = path.absolute()
        self._path = self._place.resolve()

    def paths(self) -> Iterable[Path]:
        """The database and its copies.

        Raises:
            StorageError: They cannot be looked at.
        """
        database = [self._path] if is_file(self._place) else []
        endings = (self._path.name + ending for ending in ENDINGS)
        return [*database, *find_files(self._path.parent, *endings)]

    def find_clear(self, keys: StoreKeys) -> Iterator[Path]:
        """Those that are in clear."""
        for path in self.paths():
            if first_bytes(path) and not self.opens(path, keys):
                yield path

    def opens(self, path: Path, keys: StoreKeys) -> bool:
        """Whether a page of the file is encrypted, or it is as a copy."""
        pages = PageCipher(keys.database_key(KEY_NAME))
        if pages.any_authentic(path) or any_authentic(pages, path):
            return True
        with reading(path), path.open("rb") as file:
            return keys.files().opens(file, _PURPOSE)

    def encrypt(self, keys: StoreKeys) -> None:
        """Encrypt them; a damaged database is salvaged first.

        Raises:
            OtherKey: It is encrypted with another key: it stays as it is.
        """
        self._remove_passing()
        key = keys.database_key(KEY_NAME)
        if first_bytes(self._path) and not PageCipher(key).any_authentic(self._path):
            if first_bytes(self._path) == MARK:
                require_own_key(self._path, key)
            # Whoever opens it first merges its journals, and removes them.
            logs = [self._path.with_name(self._path.name + suffix) for suffix in BESIDE[1:]]
            with overwriting(logs):
                self._salvage_if_damaged(None)
                encrypt_database(self._path, key)
        for copy in self._copies():
            _encrypt_copy(copy, key, keys.files())

    def decrypt(self, keys: StoreKeys) -> Sequence[Path]:
        """Decrypt them; a damaged database is salvaged first.

        Only one of another key is moved aside: else nothing would open the store any more.
        """
        self._remove_passing()
        key = keys.database_key(KEY_NAME)
        aside: list[Path] = []
        if first_bytes(self._path) not in {CLEAR, b""}:
            try:
                self._salvage_if_damaged(_KeysAtHand(keys))
                decrypt_database(self._path, key)
            except OtherKey:
                aside.append(self._moved_aside())
        for copy in self._copies():
            _decrypt_copy(copy, key, keys.files())
        return aside

    def _moved_aside(self) -> Path:
        moved = moved_aside(self._path)
        for suffix in BESIDE[1:]:
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).replace(f"{moved}{suffix}")
        return moved

    def _copies(self) -> Iterator[Path]:
        """The copies; converting one may remove the journals beside it."""
        yield from (path for path in self.paths() if path != self._path and is_file(path))

    def _remove_passing(self) -> None:
        for path in find_files(
            self._path.parent, *(self._path.name + ending for ending in _PASSING)
        ):
            erase_file(path)

    def _salvage_if_damaged(self, keys: KeySource | None) -> None:
        try:
            with closing(Database(self._path, keys)) as database:
                schema.check(database, rows=False)
        except DatabaseDamaged:
            from tchat.sessions.salvage import replace_damaged

            replace_damaged(self._path, keys)


def _encrypt_copy(path: Path, key: bytes, cipher: FileCipher) -> None:
    """Encrypt a sound copy as a database, and anything else as a file."""
    if ".backup-v" in path.name:
        with suppress(StorageError):  # what is damaged is encrypted as it is
            encrypt_database(path, key)
    if PageCipher(key).any_authentic(path):
        return
    with reading(path), path.open("rb") as file:
        if cipher.opens(file, _PURPOSE):
            return
        file.seek(0)
        pieces = cipher.encrypt(iter(partial(file.read, 1 << 20), b""), _PURPOSE)
        replace_file(path, pieces, overwrite=True)


def _decrypt_copy(path: Path, key: bytes, cipher: FileCipher) -> None:
    """Decrypt a copy by whatever encrypted it; of damaged pages no text is kept."""
    if ".backup-v" in path.name:
        try:
            decrypt_database(path, key)
        except StorageError:
            pass
        else:
            return
    pages = PageCipher(key)
    with reading(path), path.open("rb") as file:
        if cipher.opens(file, _PURPOSE):
            file.seek(0)
            replace_file(path, _sound_part(cipher, file), overwrite=False)
        elif pages.any_authentic(path):
            replace_file(path, pages.decrypted(path), overwrite=False)
        elif any_authentic(pages, path):
            replace_file(path, decrypted_log(pages, path), overwrite=False)


def _sound_part(cipher: FileCipher, file: BinaryIO) -> Iterator[bytes]:
    """The text up to the first damage: it is a copy, and the lock is not kept for its sake."""
    with suppress(DamagedFile):
        yield from cipher.decrypt_stream(file, _PURPOSE)
