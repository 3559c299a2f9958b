"""Whether a restored state is as good as the one that was saved."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from tchat.engine.loading import LoadedModel
from tchat.engine.snapshots.chain import Chain, Link, length
from tchat.engine.snapshots.files import SegmentRefused
from tchat.engine.snapshots.store import SnapshotStore
from tchat.errors import DoesNotFit, TchatError

CLOSE = 1e-4  # of the range of the logits: a device that adds up in another order
# Of the range too: the same tokens in other cells or read in other batches. With the starter model
# that was 0.013 to 0.022, and as much after another count of threads. A token lost does no more,
# so beyond `CLOSE` the saved bytes decide too.
ROUNDED = 0.05


@dataclass(frozen=True, slots=True)
class RestoreCheck:
    """What was found out; ``reason`` says why a restored state is not exact."""

    exact: bool
    reason: str = ""


def check_restore(
    loaded: LoadedModel, store: SnapshotStore, key: str, chain: Chain
) -> RestoreCheck | None:
    """Compare the logits after a saved state with those after the same state restored.

    The KV cache must begin with what was saved, and holds what it held afterwards, unless it is
    damaged. Every decode takes the same threads: attention adds up in another order with another
    count of them.

    Args:
        loaded: The model.
        store: Where it was saved.
        key: Of the model, as of `Snapshots`.
        chain: The segments of it.

    Returns:
        None when it could not be tried: a part of a segment is meant, a file or the room in the
        context is missing, or the user stopped it.

    Raises:
        DoesNotFit: The memory is missing.
    """
    trial = _RestoreTrial(loaded, store, key, chain)
    if not trial.possible:
        return None
    try:
        with loaded.context.fixed_threads():
            found = _compared(loaded, trial)
    except DoesNotFit:
        raise
    except TchatError as error:
        found = RestoreCheck(False, error.message)
    finally:
        trial.repair()
    return None if trial.refused else found


def _compared(loaded: LoadedModel, trial: _RestoreTrial) -> RestoreCheck | None:
    token = loaded.kv.tokens[-1]
    live = _logits_after(loaded, token)
    if live is None:
        return None
    if not trial.restore():
        return RestoreCheck(False, "llama.cpp does not take back what it saved")
    found = _logits_after(loaded, token)
    if found is None:
        return None
    apart = _distance(live, found)
    if apart <= CLOSE or (apart <= ROUNDED and trial.restore() and trial.is_saved()):
        return RestoreCheck(True)
    return RestoreCheck(False, f"a restored state changes the logits by {apart:.1%} of their range")


class _RestoreTrial:
    """A saved chain that is restored to see whether it comes back as it was.

    What the KV cache holds beyond the chain is put aside in memory.

    Attributes:
        refused: Whether a file is gone or damaged, so that nothing is found out.
    """

    def __init__(self, loaded: LoadedModel, store: SnapshotStore, key: str, chain: Chain) -> None:
        self._loaded, self._store, self._key, self._chain = loaded, store, key, chain
        self._part = loaded.model.shape.divisible
        self._tokens = list(loaded.kv.tokens)
        self._end = length(chain)
        self._beyond, self._size = bytearray(), 0
        self._saved, self._now = bytearray(), bytearray()
        self.refused = False

    @property
    def possible(self) -> bool:
        """Whether the chain can be tried."""
        whole = all(link.stop == link.segment.stop for link in self._chain)
        room = len(self._tokens) < self._loaded.context.size
        return whole and room and (self._part or self._end == len(self._tokens))

    def restore(self) -> bool:
        """Bring everything into the KV cache again, emptied first."""
        kv, part = self._loaded.kv, self._part
        beyond = self._tokens[self._end :]
        if beyond and not self._size:
            span = (self._end, len(self._tokens))
            self._size = self._loaded.context.save_state(span, self._beyond)
        kv.clear()
        for link, size in self._links():
            tokens = self._tokens[link.segment.start : link.stop]
            if not kv.load(tokens, self._saved, size, part=part):
                return False
        if self.refused or (beyond and not kv.load(beyond, self._beyond, self._size, part=True)):
            return False
        return kv.tokens == self._tokens

    def is_saved(self) -> bool:
        """Whether saving the KV cache now gives the bytes that were saved."""
        for link, size in self._links():
            span = (link.segment.start, link.stop) if self._part else None
            now = self._loaded.context.save_state(span, self._now)
            if memoryview(self._now)[:now] != memoryview(self._saved)[:size]:
                return False
        return not self.refused

    def repair(self) -> None:
        """Take back what the decodes of the trial added or lost."""
        kv = self._loaded.kv
        kv.truncate(len(self._tokens))
        if kv.tokens != self._tokens:
            self.restore()

    def _links(self) -> Iterator[tuple[Link, int]]:
        for place, link in enumerate(self._chain):
            try:
                size = self._store.read(self._key, self._chain, place, self._saved)
            except SegmentRefused:
                self.refused = True
                return
            yield link, size


def _logits_after(loaded: LoadedModel, token: int) -> array[float] | None:
    if not loaded.kv.step(token):
        return None
    size = ctypes.sizeof(ctypes.c_float) * loaded.model.shape.n_vocab
    return array("f", ctypes.string_at(loaded.context.logits(), size))


def _distance(expected: array[float], found: array[float]) -> float:
    """How far the furthest logit is off, as a share of the range of the expected ones."""
    if expected == found:
        return 0.0
    furthest = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    return furthest / ((max(expected) - min(expected)) or 1.0)
