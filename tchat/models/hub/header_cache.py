"""What was read of files on the hub before they are downloaded: it need not be fetched again."""

from __future__ import annotations

from tchat.models.hub.api import HubApi
from tchat.models.hub.repo_files import RepoFile


class HeaderCache:
    """The first bytes of files on ``hub``, kept in memory as they come.

    To be used by one thread.
    """

    def __init__(self, hub: HubApi) -> None:
        self._hub = hub
        self._begun: dict[RepoFile, bytearray] = {}

    def read_range(self, file: RepoFile, start: int, length: int) -> bytes:
        """As `HubApi.read_range`; no byte of the beginning is requested twice.

        Raises:
            ModelNotFound: The file is gone.
            HubError: The hub cannot be asked, or refuses.
        """
        begun = self._begun.setdefault(file, bytearray())
        if start > len(begun):  # what was skipped may be larger than memory
            return self._hub.read_range(file, start, length)
        end = min(start + length, file.size)
        for chunk in self._hub.chunks(file, len(begun), end):
            begun += chunk
        return bytes(begun[start:end])

    def pop(self, file: RepoFile) -> bytes:
        """What came of ``file``, from its first byte on; it is not kept any longer."""
        return bytes(self._begun.pop(file, b""))
