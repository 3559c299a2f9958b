"""A keyring in the file that ``TEST_KEYRING`` names, for tests of the real command."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend

VARIABLE = "TEST_KEYRING"
ENVIRONMENT = {
    "PYTHON_KEYRING_BACKEND": "tests.encryption.file_keyring.FileKeyring",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}


class FileKeyring(KeyringBackend):
    """Keeps everything in clear."""

    priority = 0  # by name only: whoever imports it registers it

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._file.write_text(json.dumps({**self._read(), f"{service} {username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        kept = self._read()
        del kept[f"{service} {username}"]
        self._file.write_text(json.dumps(kept))

    @property
    def _file(self) -> Path:
        return Path(os.environ[VARIABLE])

    def _read(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._file.read_text()))
        except OSError:
            return {}
