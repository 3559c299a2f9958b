"""The snapshots of one model: what it read before is restored, what it holds is saved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

from tchat.engine.events import CacheRestored, Notice
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt.messages import ChatMessage
from tchat.engine.snapshots import pieces
from tchat.engine.snapshots.chain import (
    LEAD,
    Chain,
    Segment,
    cut,
    is_of,
    lead_of,
    length,
    longest,
    tokens_of,
    whole_chains,
)
from tchat.engine.snapshots.files import SegmentRefused
from tchat.engine.snapshots.index import ModelRecord
from tchat.engine.snapshots.pieces import SaveProgress, spans
from tchat.engine.snapshots.restore_check import check_restore
from tchat.engine.snapshots.store import SnapshotStore
from tchat.errors import DoesNotFit, TchatError
from tchat.sanitize import single_line

LEAST = 256  # tokens; to read fewer takes no time worth a file,
SLOW = 1.0  # unless it takes so many seconds
GAIN = 16  # tokens; for fewer, no file is read
WORTH_TELLING = 64  # tokens; fewer are the head of a template
MEASURED = 64  # tokens; how fast fewer were read says little
WEIGHT = 0.3  # of a new measurement in the mean

# A state that cannot be divided is written anew each time.
WHOLE_SMALL = 32 << 20  # bytes that are written after every turn
WHOLE_MORE = 256  # tokens for which a larger one is written
TAKEN = 16 << 20  # bytes of memory for it that are taken at once: 10 ms
WHOLE_KEPT = 4  # states of a session, so that a turn can be taken back

# Saving at the end of the program, after the first file of it.
LEAVE_AT_ONCE = 0.3  # seconds that it may take,
LEAVE_SHARE = 0.02  # and this share of the time that it saves

CHECKED = 2048  # tokens that are cleared and restored at the most to check that it is exact

Going = Callable[[], bool]  # whether to go on


class Snapshots:
    """What is on disk for one model with all that its states depend on.

    Every method but `unbind_session` belongs on the engine's thread. Whatever fails, a chat goes
    on: it is read again, and `problem` tells why.

    Args:
        store: Where they are.
        key: Names the model, the build of llama.cpp and the parameters: everything but tokens
            that a state depends on.
        name: The model's name, for listings.
        limit: Bytes on disk; 0 switches everything off but the measuring.
        free: Tells the bytes of memory that can be taken; None where that is not known.

    Attributes:
        session: Who holds what is saved. While it is empty, nothing is written.
        problem: Why what is read is not saved or restored; empty when nothing stands in the way.
    """

    def __init__(
        self,
        store: SnapshotStore,
        key: str,
        name: str,
        limit: int,
        free: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._store, self._free = store, free
        self._key = key
        self._name = name
        self._limit = limit
        self._known: ModelRecord | None = None
        self._counts: Counter[str] = Counter()
        self._reading = 0.0
        self._asked: Sequence[ChatMessage] = ()  # the chat that the KV cache holds
        self._owns = False  # whether the KV cache holds nothing but what `session` has read
        self._progress = SaveProgress()
        self._told: set[str] = set()
        self.session = ""
        self.problem = ""

    def close(self) -> None:
        """Write down what was measured and counted."""
        with self._reported():
            if self.session and (self._counts or self._reading):
                self._store.index.note_reading(self._key, self._name, self._reading)
                for name, count in self._counts.items():
                    self._store.index.count(name, count)
                self._store.tidy()
        self._counts.clear()
        self._store.close()

    def open(self) -> None:
        """Find out what is known of the model, before there is a prompt to restore."""
        self._look_up()
        self._store.key.known()

    def bind_session(self, session: str) -> None:
        """Save for ``session`` what is read from now on; for none, nothing is."""
        if session != self.session:
            self.session, self._owns = session, False

    def unbind_session(self, session: str) -> None:
        """Save nothing more for ``session``, until it is told to hold it again.

        May be called from any thread. What is being saved meanwhile is removed again.
        """
        if self.session == session:
            self.session = ""

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
        self, loaded: LoadedModel, prompt: Sequence[int], asked: Sequence[ChatMessage] = ()
    ) -> Generator[CacheRestored | Notice, None, CacheRestored | None]:
        """Bring as much of ``prompt`` into the KV cache as is on disk and not in the cache yet.

        Yields what that was, if it is worth telling, and what stands in the way of saving; returns
        None when it was not worth doing.

        Args:
            loaded: The model.
            prompt: What will be read.
            asked: The chat that it is made of.
        """
        self._asked, self._progress = asked, SaveProgress()
        restored = None
        with self._reported():
            restored = self._restore(loaded, prompt)
        if restored is not None and restored.tokens >= WORTH_TELLING:
            yield restored
        if self.session and self._limit and len(prompt) >= LEAST:
            yield from self._notices()
        return restored

    def _notices(self) -> Iterator[Notice]:
        """What stands in the way of saving, once."""
        if self._store.key.fault:
            key = self._store.key
            remedy = "it is replaced, and saved chats are read once more"
            if not key.is_replaceable:
                remedy = "chats are not saved to be restored until it is moved away"
            yield from self._once(f"{key.file} {key.fault}: {remedy}")
        known = self._look_up()
        if known is not None and known.restores is False:
            reason = single_line(known.reason, 200)
            yield from self._once(f"chats with this model are not saved: {reason}")
        elif self.problem:
            yield from self._once(f"this chat may be read again: {self.problem}")

    def _once(self, text: str) -> Iterator[Notice]:
        if text not in self._told:
            self._told.add(text)
            yield Notice("storage", text)

    def _restore(self, loaded: LoadedModel, prompt: Sequence[int]) -> CacheRestored | None:
        if len(prompt) <= GAIN or not self._limit:
            return None
        known = self._look_up()
        if known is None or not known.restores:
            return None
        started = time.perf_counter()
        kv = loaded.kv
        before, _ = kv.match_prefix(kv.tokens, prompt)
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
        return CacheRestored(gained, seconds, gained / self.reading if self.reading else 0.0)

    def saved(self, loaded: LoadedModel, prompt: Sequence[int]) -> int:
        """How many tokens of ``prompt`` `restore` could bring, from the first on."""
        if len(prompt) < GAIN + LEAD or not self._limit:
            return 0
        known = self._look_up()
        return length(self._best(loaded, prompt)) if known and known.restores else 0

    def _best(self, loaded: LoadedModel, prompt: Sequence[int]) -> Chain:
        """The chain that holds most of the prompt.

        Of this session's own also those that spell it in other tokens, as a model may.
        """
        segments = self._segments(loaded, prompt)
        held = self._store.index.session_segments(self.session) if self.session else set()
        found = [longest(segments, prompt)]
        for chain in whole_chains(segments):
            if chain[-1].segment.id in held:
                same, _ = loaded.kv.match_prefix(tokens_of(chain), prompt)
                found.append(cut(chain, same))
        if not loaded.model.shape.divisible:
            found = [c for c in found if c and c[-1].stop == c[-1].segment.stop < len(prompt)]
        else:  # the last token of the prompt is read in any case, for its logits
            found = [cut(c, len(prompt) - 1) for c in found]
        return max(found, key=length, default=())

    def _load(self, loaded: LoadedModel, chain: Chain, count: int) -> int:
        """Load the chain as far as it is good; returns the tokens in the cache that are its."""
        kv, tokens = loaded.kv, tokens_of(chain)
        part = loaded.model.shape.divisible
        if not part:
            self._require_memory(chain[-1].segment.size)
        if not kv.truncate(common_prefix(kv.tokens, tokens) if part else 0):
            kv.clear()
        if count >= loaded.context.size or not kv.reserve(count + 1):
            return len(kv.tokens)
        buffer = bytearray()
        for place, link in enumerate(chain):
            if link.stop <= len(kv.tokens):
                continue
            try:
                size = self._store.read(self._key, chain, place, buffer)
            except SegmentRefused:
                break
            if not kv.load(tokens[len(kv.tokens) : link.stop], buffer, size, part=part):
                kv.truncate(len(kv.tokens)) if part else kv.clear()
                break
        return len(kv.tokens)

    # Saving

    def on_prefill_progress(
        self, loaded: LoadedModel, left: int, going: Going = lambda: True
    ) -> None:
        """Save what was read so far of a prompt, of which ``left`` tokens are still to be read.

        To be called before its first batch and after each. What was read is saved meanwhile where
        that costs little of the time, so that little is left for the end; ``going`` as of `save`.
        The cache may hold less afterwards, where a check went wrong.
        """
        self._owns = True
        if not left or not self._may_save() or not loaded.model.shape.divisible:
            return
        progress, tokens = self._progress, loaded.kv.tokens
        if len(tokens) // pieces.PIECE * pieces.PIECE > progress.stop and progress.affordable:
            with self._reported(), progress.timed():
                self._save_read(loaded, going)

    def _save_read(self, loaded: LoadedModel, going: Going) -> None:
        """Save the next piece of a prompt that is being read."""
        if self._restores() is False:
            return
        tokens, progress = loaded.kv.tokens, self._progress
        before = longest(self._segments(loaded, tokens), tokens)
        size = pieces.PIECE
        stop = min(len(tokens), length(before) + size) // size * size
        progress.stop = max(stop, progress.stop + size)
        tokens = tokens[:stop]
        head = _head(loaded, tokens, self._asked)
        chain = self._save_parts(loaded, tokens, head, before, going=going)
        self._hold(chain)
        if chain and self._restores() is None and going():
            self._check(loaded, chain)

    def save(
        self, loaded: LoadedModel, going: Going = lambda: True, *, leaving: bool = False
    ) -> int:
        """Save what the KV cache holds and the disk does not; returns how many tokens.

        Of a short chat, only what every chat begins with that has the same system prompt.

        Args:
            loaded: The model.
            going: Asked every few milliseconds: what was written until it says no is good.
            leaving: Whether the program ends: the KV cache may be cut, and no file is begun after
                0.3 seconds and a fiftieth of the time that reading took.
        """
        if not self._may_save() or len(loaded.kv.tokens) < pieces.MORE:
            return 0
        with self._reported():
            return self._save(loaded, going, leaving=leaving)
        return 0

    def _save(self, loaded: LoadedModel, going: Going, *, leaving: bool) -> int:
        head = _head(loaded, loaded.kv.tokens, self._asked)
        whole = self._is_worth_it(len(loaded.kv.tokens))
        tokens = loaded.kv.tokens if whole else loaded.kv.tokens[:head]
        if not tokens or self._restores() is False:
            return 0
        if loaded.model.shape.divisible:
            before = longest(self._segments(loaded, tokens), tokens)
            late = self._deadline(len(tokens)) if leaving else None
            chain = self._save_parts(loaded, tokens, head, before, going=going, deadline=late)
        else:
            before = ()
            chain = self._save_whole(loaded, self._segments(loaded, tokens), going)
        if whole:
            self._hold(chain)
        saved = length(chain) - length(before)
        if chain and self._restores() is None and going():
            if leaving and loaded.model.shape.divisible:
                chain = chain[:1]
                loaded.kv.truncate(length(chain))
            self._check(loaded, chain)
        return saved

    def _may_save(self) -> bool:
        return bool(self.session and self._owns and self._limit)

    def _is_worth_it(self, tokens: int) -> bool:
        """Whether reading so many takes so long that all of them are saved."""
        return tokens >= LEAST or bool(self.reading and tokens / self.reading >= SLOW)

    def _deadline(self, tokens: int) -> float:
        """When no further file is begun at the end of the program."""
        read = tokens / self.reading if self.reading else 0.0
        return time.monotonic() + LEAVE_AT_ONCE + LEAVE_SHARE * read

    def _save_parts(
        self,
        loaded: LoadedModel,
        tokens: list[int],
        head: int,
        chain: Chain,
        *,
        going: Going,
        deadline: float | None = None,
    ) -> Chain:
        if length(chain) < LEAD and chain and chain[-1].segment.stop >= LEAD:
            chain = ()  # other chats would not find what goes on from there
        if len(tokens) - length(chain) < pieces.MORE:
            return chain
        buffer, first = bytearray(), True
        for start, stop in spans(length(chain), len(tokens), head):
            late = deadline is not None and not first and time.monotonic() > deadline
            if late or not going():
                break
            size = loaded.context.save_state((start, stop), buffer)
            longer = self._add(chain, tokens[start:stop], memoryview(buffer)[:size], going)
            if longer is None:
                break
            chain, first = longer, False
        return chain

    def _save_whole(self, loaded: LoadedModel, segments: Sequence[Segment], going: Going) -> Chain:
        tokens = loaded.kv.tokens
        before = longest(segments, tokens)
        if before and before[-1].stop == before[-1].segment.stop:
            more = len(tokens) - length(before)
            if more < (pieces.MORE if before[-1].segment.size <= WHOLE_SMALL else WHOLE_MORE):
                return before
        size = loaded.context.state_size
        self._require_memory(size)
        buffer = bytearray()
        # Taking the memory takes ten times as long as copying into it, which cannot be stopped.
        while len(buffer) < size:
            if not going():
                return before
            buffer.extend(bytes(min(TAKEN, size - len(buffer))))
        size = loaded.context.save_state(None, buffer)
        chain = self._add((), tokens, memoryview(buffer)[:size], going) or ()
        held = self._store.index.session_segments(self.session)
        old = [each.id for each in segments if each.id in held][: 1 - WHOLE_KEPT]
        for segment in old if chain else ():
            self._store.drop(segment)
        return chain

    def _require_memory(self, size: int) -> None:
        """Raise DoesNotFit unless a whole state can be copied with as much left for others.

        It is as large as the KV cache, and no memory check before loading counts it: a chat goes
        on without being saved.

        Raises:
            DoesNotFit: There is less memory.
        """
        free = self._free()
        if free is not None and free < 2 * size:
            raise DoesNotFit(
                f"its state of {size / 1e6:,.0f} MB takes as much memory again, "
                f"and {free / 1e6:,.0f} MB are free",
                "close other programs, or ask for a smaller context",
            )

    def _add(
        self, chain: Chain, tokens: list[int], state: memoryview, going: Going
    ) -> Chain | None:
        """Store a state behind ``chain``, after making room for it, and let go of it."""
        with state:
            session, size = self.session, len(state)
            if not size or size > self._limit or not session:  # released meanwhile
                return None
            self._store.shrink(self._limit - size, [link.segment.id for link in chain])
            if self._store.size() + size > self._limit:
                return None
            wanted: Going = lambda: going() and self.session == session  # noqa: E731
            longer = self._store.add(self._key, chain, tokens, state, session, going=wanted)
        if self.session != session:  # whoever released it may have looked before it was there
            self._store.forget([session])
            return None
        return longer

    def _hold(self, chain: Chain) -> None:
        """Note that the session consists of the chain: of those segments that it holds whole."""
        if not self.session:
            return
        ids = [link.segment.id for link in chain]
        whole = [link.segment.id for link in chain if link.stop == link.segment.stop]
        self._store.index.touch(ids, self.session, whole)

    # Checking that restoring is exact

    def _restores(self) -> bool | None:
        """Whether restoring is exact; None where that is to be checked."""
        known = self._look_up()
        if known is None:
            self._store.index.note_reading(self._key, self._name)
            known = self._look_up()
        return known.restores if known is not None else None

    def _check(self, loaded: LoadedModel, chain: Chain) -> None:
        """Find out whether restoring ``chain`` is exact, and remember it.

        That it is not takes two such checks.
        """
        if len(loaded.kv.tokens) > CHECKED or self._store.index.failure:
            return
        found = check_restore(loaded, self._store, self._key, chain)
        if found is None:
            return
        known = self._look_up()
        doubted = known is not None and bool(known.reason)
        exact = found.exact or (False if doubted else None)
        self._store.index.note_exactness(self._key, self._name, exact=exact, reason=found.reason)
        self._known = None
        if not found.exact:
            self.problem = single_line(found.reason, 200)
            loaded.kv.clear()
            self._store.forget([self.session])

    def _segments(self, loaded: LoadedModel, tokens: Sequence[int]) -> list[Segment]:
        """The segments that may hold the beginning of ``tokens``."""
        found = self._store.index.segments(self._key, lead_of(tokens), self.session)
        most = loaded.model.shape.n_vocab
        return [each for each in found if is_of(each, most)]

    def _look_up(self) -> ModelRecord | None:
        if self._known is None and self._store.is_there:
            with self._reported():
                self._known = self._store.index.known(self._key)
        return self._known

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Do without what fails: it is a cache."""
        try:
            yield
        except (TchatError, OSError, MemoryError) as error:
            self.problem = single_line(str(error), 200) or "out of memory"


def _head(loaded: LoadedModel, tokens: Sequence[int], asked: Sequence[ChatMessage]) -> int:
    """How many of ``tokens`` every chat begins with that has the same system prompt.

    0 when they are few, or the model's state cannot be divided.
    """
    if not asked or not loaded.model.shape.divisible:
        return 0
    head = common_prefix(tokens, loaded.encoder.before_question(asked))
    return head if head >= pieces.MORE else 0
