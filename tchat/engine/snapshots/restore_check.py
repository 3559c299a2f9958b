"""Check whether a restored KV state equals the saved one."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator

from tchat.engine.loading import LoadedModel
from tchat.engine.snapshots.index import Chain, Link, length
from tchat.engine.snapshots.store import SegmentRefused, SnapshotStore
from tchat.errors import DoesNotFit, TchatError
from tchat.translation import tr

MAX_DISTANCE = 1e-4  # of the range of the logits: a device that adds in another order
# The same tokens in other cells, or in other batches: 0.013 to 0.022 with the starter model, and as
# much with another number of threads. A lost token does no more, so beyond `MAX_DISTANCE` the saved
# bytes decide too.
MAX_ROUNDING = 0.05


def check_restore(loaded: LoadedModel, store: SnapshotStore, key: str, chain: Chain) -> str | None:
    """Compare the logits after a saved state with those after the same state restored.

    The KV cache must begin with what was saved; its content is the same afterwards, unless a file
    is damaged. Every decode uses the same number of threads, which changes the order of additions.

    Returns why a restored state is not exact; empty when it is. None when it cannot be checked: the
    chain uses a part of a segment, a file is missing, the context is full, or the user stopped it.

    Raises:
        DoesNotFit: There is not enough memory.
    """
    trial = _RestoreTrial(loaded, store, key, chain)
    if not trial.possible:
        return None
    try:
        with loaded.context.fixed_threads():
            found = _compare(loaded, trial)
    except DoesNotFit:
        raise
    except TchatError as error:
        found = error.message
    finally:
        trial.repair()
    return None if trial.refused else found


def _compare(loaded: LoadedModel, trial: _RestoreTrial) -> str | None:
    token = loaded.kv.tokens[-1]
    live = _logits_after(loaded, token)
    if live is None:
        return None
    if not trial.restore():
        return tr("llama.cpp does not take back what it saved")
    found = _logits_after(loaded, token)
    if found is None:
        return None
    apart = _distance(live, found)
    if apart <= MAX_DISTANCE or (apart <= MAX_ROUNDING and trial.restore() and trial.is_saved()):
        return ""
    return tr("a restored state changes the logits by {apart:.1%} of their range", apart=apart)


class _RestoreTrial:
    """Restores a saved chain; keeps in memory what the KV cache holds beyond it.

    ``refused`` says that a file is missing or damaged, so that there is no result.
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
        """Whether the chain can be checked."""
        whole = all(link.stop == link.segment.stop for link in self._chain)
        has_space = len(self._tokens) < self._loaded.context.size
        return whole and has_space and (self._part or self._end == len(self._tokens))

    def restore(self) -> bool:
        """Clear the KV cache and restore everything."""
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
        """Whether the KV cache saved now has the same bytes."""
        for link, size in self._links():
            span = (link.segment.start, link.stop) if self._part else None
            now = self._loaded.context.save_state(span, self._now)
            if memoryview(self._now)[:now] != memoryview(self._saved)[:size]:
                return False
        return not self.refused

    def repair(self) -> None:
        """Restore the KV cache as it was before the check."""
        kv = self._loaded.kv
        kv.truncate(len(self._tokens))
        if kv.tokens != self._tokens:
            self.restore()

    def _links(self) -> Iterator[tuple[Link, int]]:
        for index, link in enumerate(self._chain):
            try:
                size = self._store.read(self._key, self._chain, index, self._saved)
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
    """The largest difference of logits, as a share of the range of the expected ones."""
    if expected == found:
        return 0.0
    furthest = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    return furthest / ((max(expected) - min(expected)) or 1.0)
