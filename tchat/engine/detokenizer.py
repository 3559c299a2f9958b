"""The bytes of tokens as text: whole characters, up to a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextDecoder:
    """UTF-8 across token boundaries; bytes that are no UTF-8 become U+FFFD at once.

    Args:
        unfinished: The first bytes of a character that goes on with what is fed.
    """

    def __init__(self, unfinished: bytes = b"") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.decode(unfinished)

    def feed(self, data: bytes) -> str:
        """The characters that ``data`` completes."""
        return self._decoder.decode(data)

    @property
    def unfinished(self) -> bytes:
        """The bytes so far of a character that is not complete."""
        return self._decoder.getstate()[0]

    @property
    def pending(self) -> bool:
        """Whether a character is unfinished."""
        return bool(self.unfinished)

    def close(self) -> str:
        """What an unfinished character at the end becomes."""
        return self._decoder.decode(b"", final=True)


class StopFilter:
    """Passes text on until the first of the stop strings, which is not passed on.

    Text that may be the beginning of a stop string is held back until it is decided.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What may be shown now."""
        if self.stopped:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def close(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
