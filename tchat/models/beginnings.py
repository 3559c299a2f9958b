"""What was read of files on the hub before they are downloaded: it need not be fetched again."""

from __future__ import annotations

from tchat.models.hub import Hub
from tchat.models.hub_files import RemoteFile


class Beginnings:
    """The first bytes of files on ``hub``, kept in memory as they come.

    To be used by one thread.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._begun: dict[RemoteFile, bytearray] = {}

    def read_range(self, file: RemoteFile, start: int, length: int) -> bytes:
        """As `Hub.read_range`; no byte of the beginning is asked for twice, not after a cut either.

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

    def take(self, file: RemoteFile) -> bytes:
        """What came of ``file``, from its first byte on; it is not kept any longer."""
        return bytes(self._begun.pop(file, b""))
