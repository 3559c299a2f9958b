"""The snapshots of one model: what it read before is restored, what it holds is saved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence

from tchat.engine.events import Restored
from tchat.engine.kv import common_prefix
from tchat.engine.loaded import Loaded
from tchat.engine.snapshots.chain import (
    LEAD,
    Chain,
    Segment,
    cut,
    lead_of,
    length,
    longest,
    tokens_of,
    whole_chains,
)
from tchat.engine.snapshots.exactness import restores_exactly
from tchat.engine.snapshots.files import Refused
from tchat.engine.snapshots.index import Known
from tchat.engine.snapshots.store import SnapshotStore
from tchat.engine.turns import ChatMessage

LEAST = 256  # tokens; to read fewer takes no time worth a file,
SLOW = 1.0  # unless it takes so many seconds
GAIN = 16  # tokens; for fewer, no file is read
MORE = 16  # tokens; for fewer, no file is added
WORTH_TELLING = 64  # tokens; fewer are the head of a template
PIECE = 512  # tokens of a segment; between two of them writing can be broken off
MEASURED = 64  # tokens; how fast fewer were read says little
WEIGHT = 0.3  # of a new measurement in the mean

# A state that cannot be divided is written anew each time.
WHOLE_SMALL = 32 << 20  # bytes that are written after every turn
WHOLE_MORE = 256  # tokens for which a larger one is written
WHOLE_KEPT = 4  # states of a session, so that a turn can be taken back

Going = Callable[[], bool]  # whether to go on


class Snapshots:
    """What is on disk for one model with all that its states depend on.

    Every method belongs on the engine's thread.

    Args:
        store: Where they are.
        key: Names the model, the build of llama.cpp and the parameters: everything but tokens
            that a state depends on.
        name: The model's name, for listings.
        limit: Bytes on disk; 0 switches everything off but the measuring.

    Attributes:
        session: Who holds what is saved. While it is empty, nothing is written.
    """

    def __init__(self, store: SnapshotStore, key: str, name: str, limit: int) -> None:
        self._store = store
        self._key = key
        self._name = name
        self._limit = limit
        self._known: Known | None = None
        self._counts: Counter[str] = Counter()
        self._reading = 0.0
        self._buffer = bytearray()
        self._asked: Sequence[ChatMessage] = ()  # the chat that the KV cache holds
        self.session = ""

    def close(self) -> None:
        """Write down what was measured and counted."""
        if self.session and (self._counts or self._reading):
            self._store.index.remember(self._key, self._name, reading=self._reading)
            for name, count in self._counts.items():
                self._store.index.count(name, count)
            self._store.tidy()
        self._counts.clear()
        self._store.close()

    def open(self) -> None:
        """Find out what is known of the model, before there is a prompt to restore."""
        self._look_up()

    # Reading speed

    @property
    def reading(self) -> float:
        """Tokens that this model reads in a second on this machine; 0 when never measured."""
        if not self._reading and (known := self._look_up()):
            self._reading = known.reading
        return self._reading

    def measure(self, tokens: int, seconds: float) -> None:
        """Take note of how long it took to read ``tokens``."""
        if tokens >= MEASURED and seconds > 0:
            rate, before = tokens / seconds, self.reading
            self._reading = before + WEIGHT * (rate - before) if before else rate

    # Restoring

    def restored(
        self, loaded: Loaded, prompt: Sequence[int], asked: Sequence[ChatMessage] = ()
    ) -> Generator[Restored, None, Restored | None]:
        """Bring as much of ``prompt`` into the KV cache as is on disk and not in the cache yet.

        Yields what that was, if it is worth telling; returns None when it was not worth doing.

        Args:
            loaded: The model.
            prompt: What will be read.
            asked: The chat that it is made of.
        """
        self._asked = asked
        restored = self._restore(loaded, prompt)
        if restored is not None and restored.tokens >= WORTH_TELLING:
            yield restored
        return restored

    def _restore(self, loaded: Loaded, prompt: Sequence[int]) -> Restored | None:
        if len(prompt) <= GAIN or not self._limit:
            return None
        known = self._look_up()
        if known is None or not known.exact:
            return None
        started = time.perf_counter()
        kv = loaded.kv
        before, _ = kv.matched(kv.tokens, prompt)
        chain = self._best(loaded, prompt)
        if length(chain) - before < GAIN:
            self._counts["missed"] += bool(self.session and not before)
            return None
        gained = self._load(loaded, chain, len(prompt)) - before
        if gained <= 0:
            return None
        self._counts["restored"] += 1
        if self.session:
            self._store.index.touch([link.segment.id for link in chain], self.session, ())
        seconds = time.perf_counter() - started
        return Restored(gained, seconds, gained / self.reading if self.reading else 0.0)

    def saved(self, loaded: Loaded, prompt: Sequence[int]) -> int:
        """How many tokens of ``prompt`` `restore` could bring, from the first on."""
        if len(prompt) < GAIN + LEAD or not self._limit:
            return 0
        known = self._look_up()
        return length(self._best(loaded, prompt)) if known and known.exact else 0

    def _best(self, loaded: Loaded, prompt: Sequence[int]) -> Chain:
        """The chain that holds most of the prompt.

        Of this session's own also those that spell it in other tokens, as a model may.
        """
        segments = self._store.index.segments(self._key, lead_of(prompt), self.session)
        held = self._store.index.held(self.session) if self.session else set()
        found = [longest(segments, prompt)]
        for chain in whole_chains(segments):
            if chain[-1].segment.id in held:
                same, _ = loaded.kv.matched(tokens_of(chain), prompt)
                found.append(cut(chain, same))
        if not loaded.model.facts.divisible:
            found = [c for c in found if c and c[-1].stop == c[-1].segment.stop < len(prompt)]
        else:  # the last token of the prompt is read in any case, for its logits
            found = [cut(c, len(prompt) - 1) for c in found]
        return max(found, key=length, default=())

    def _load(self, loaded: Loaded, chain: Chain, count: int) -> int:
        """Load the chain as far as it is good; returns the tokens in the cache that are its."""
        kv, tokens = loaded.kv, tokens_of(chain)
        part = loaded.model.facts.divisible
        if not kv.keep(common_prefix(kv.tokens, tokens) if part else 0):
            kv.clear()
        if count >= loaded.context.size or not kv.reserve(count + 1):
            return len(kv.tokens)
        for place, link in enumerate(chain):
            if link.stop <= len(kv.tokens):
                continue
            try:
                size = self._store.read(self._key, chain, place, self._buffer)
            except Refused:
                break
            if not kv.load(tokens[len(kv.tokens) : link.stop], self._buffer, size, part=part):
                kv.keep(len(kv.tokens)) if part else kv.clear()
                break
        return len(kv.tokens)

    # Saving

    def save(self, loaded: Loaded, going: Going = lambda: True, *, leaving: bool = False) -> int:
        """Save what the KV cache holds and the disk does not; returns how many tokens.

        Of a short chat, only what every chat begins with that has the same system prompt.

        Args:
            loaded: The model.
            going: Asked between two files: what was written until it says no is good.
            leaving: Whether the KV cache may be cut, since it is not needed any more.
        """
        if not self.session or not self._limit or len(loaded.kv.tokens) < MORE:
            return 0
        head = _head(loaded, self._asked)
        whole = self._is_worth_it(len(loaded.kv.tokens))
        tokens = loaded.kv.tokens if whole else loaded.kv.tokens[:head]
        if not tokens:
            return 0
        known = self._look_up()
        if known is None:
            self._store.index.remember(self._key, self._name)
            known = self._look_up()
        if known is None or known.exact is False:
            return 0
        segments = self._store.index.segments(self._key, lead_of(tokens), self.session)
        if loaded.model.facts.divisible:
            before = longest(segments, tokens)
            chain = self._save_parts(loaded, tokens, head, before, going)
        else:
            before = ()
            chain = self._save_whole(loaded, segments)
        if whole:
            self._hold(chain)
        if known.exact is None and chain:
            if leaving:
                loaded.kv.keep(length(chain))
            self._verify(loaded, chain)
        return length(chain) - length(before)

    def _is_worth_it(self, tokens: int) -> bool:
        """Whether reading so many takes so long that all of them are saved."""
        return tokens >= LEAST or bool(self.reading and tokens / self.reading >= SLOW)

    def _save_parts(
        self, loaded: Loaded, tokens: list[int], head: int, chain: Chain, going: Going
    ) -> Chain:
        if length(chain) < LEAD and chain and chain[-1].segment.stop >= LEAD:
            chain = ()  # other chats would not find what goes on from there
        if len(tokens) - length(chain) < MORE:
            return chain
        for start, stop in _pieces(length(chain), len(tokens), head):
            if not going():
                break
            size = loaded.context.save_state((start, stop), self._buffer)
            longer = self._add(chain, tokens[start:stop], size)
            if longer is None:
                break
            chain = longer
        return chain

    def _save_whole(self, loaded: Loaded, segments: Sequence[Segment]) -> Chain:
        tokens = loaded.kv.tokens
        before = longest(segments, tokens)
        if before and before[-1].stop == before[-1].segment.stop:
            more = len(tokens) - length(before)
            if more < (MORE if before[-1].segment.size <= WHOLE_SMALL else WHOLE_MORE):
                return before
        size = loaded.context.save_state(None, self._buffer)
        chain = self._add((), tokens, size) or ()
        held = self._store.index.held(self.session)
        old = [each.id for each in segments if each.id in held][: 1 - WHOLE_KEPT]
        for segment in old if chain else ():
            self._store.drop(segment)
        return chain

    def _add(self, chain: Chain, tokens: list[int], size: int) -> Chain | None:
        """Store what is in the buffer, after making room for it."""
        if not size or size > self._limit or not self.session:  # disowned meanwhile
            return None
        kept = [link.segment.id for link in chain]
        self._store.shrink(self._limit - size, kept)
        if self._store.size() + size > self._limit:
            return None
        state = memoryview(self._buffer)[:size]
        try:
            return self._store.add(self._key, chain, tokens, state, self.session)
        finally:
            state.release()

    def _hold(self, chain: Chain) -> None:
        """Note that the session consists of the chain: of those segments that it holds whole."""
        if not self.session:
            return
        ids = [link.segment.id for link in chain]
        whole = [link.segment.id for link in chain if link.stop == link.segment.stop]
        self._store.index.touch(ids, self.session, whole)

    def _verify(self, loaded: Loaded, chain: Chain) -> None:
        """Once for a model and build: find out whether restoring is exact, and remember it."""

        def restore() -> bool:
            return self._load(loaded, chain, length(chain)) == length(chain)

        if length(chain) != len(loaded.kv.tokens):
            return
        exact = restores_exactly(loaded, restore)
        if exact is not None:
            self._store.index.remember(self._key, self._name, exact=exact)
            self._known = None
        if exact is False:
            self._store.forget([self.session])

    def _look_up(self) -> Known | None:
        if self._known is None and self._store.is_there:
            self._known = self._store.index.known(self._key)
        return self._known


def _head(loaded: Loaded, asked: Sequence[ChatMessage]) -> int:
    """How many of the tokens in the cache every chat begins with that has the same system prompt.

    0 when they are few, or the model's state cannot be divided.
    """
    if not asked or not loaded.model.facts.divisible:
        return 0
    head = common_prefix(loaded.kv.tokens, loaded.encoder.before_question(asked))
    return head if head >= MORE else 0


def _pieces(start: int, stop: int, head: int) -> Iterator[tuple[int, int]]:
    """Spans from ``start`` to ``stop`` that end at multiples of `PIECE`, and at ``head``."""
    while start < stop:
        end = min(stop, (start // PIECE + 1) * PIECE)
        if start + MORE <= head < end:
            end = head
        yield start, end
        start = end
