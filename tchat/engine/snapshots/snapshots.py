"""The KV snapshots of one model: restore what it prefilled before, save what its cache holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tchat.engine.events import CacheRestored, Notice
from tchat.engine.kv_cache import common_prefix
from tchat.engine.loading import LoadedModel
from tchat.engine.prompt import ChatMessage
from tchat.engine.snapshots.index import (
    LEAD,
    Chain,
    ModelRecord,
    Segment,
    cut,
    fits_vocabulary,
    lead_of,
    length,
    longest,
    tokens_of,
    whole_chains,
)
from tchat.engine.snapshots.store import SegmentRefused, SnapshotStore
from tchat.errors import DoesNotFit, TchatError
from tchat.sanitize import single_line
from tchat.translation import tr

SEGMENT_TOKENS = 512  # of a segment; writing can stop between two of them
MIN_NEW_TOKENS = 16  # for fewer, no file is added
PREFILL_SHARE = 0.05  # of the time of a prefill, for saving meanwhile
FIRST_ESTIMATE = 0.1  # seconds that saving a segment takes, until one was saved

MIN_TOKENS = 256  # from which on a chat is saved
MIN_SECONDS = 1.0  # of prefill, from which on a shorter one is saved too
MIN_GAIN = 16  # tokens; for fewer, no file is read
MIN_REPORTED = 64  # tokens; fewer are the head of a template
MIN_MEASURED = 64  # tokens; the speed of fewer says little
WEIGHT = 0.3  # in the mean, of a measurement of so many tokens:
WEIGHED = 512

# A state that cannot be divided is written anew each time.
SMALL_STATE = 32 << 20  # bytes up to which it is written after every turn
LARGE_STATE_TOKENS = 256  # new tokens after which one of more bytes is written
ALLOCATION = 16 << 20  # bytes of memory for it that are allocated at once: 10 ms
KEPT_STATES = 4  # of a session, so that a turn can be taken back

# At exit, no file after the first is begun after both together.
EXIT_SAVE_SECONDS = 0.3
EXIT_SAVE_SHARE = 0.02  # of the prefill time that a later restore saves

MAX_CHECKED = 2048  # tokens that are cleared and restored to check that restoring is exact

ShouldContinue = Callable[[], bool]


def spans(start: int, stop: int, head: int) -> Iterator[tuple[int, int]]:
    """Spans from ``start`` to ``stop``, cut at multiples of `SEGMENT_TOKENS` and at ``head``."""
    while start < stop:
        end = min(stop, (start // SEGMENT_TOKENS + 1) * SEGMENT_TOKENS)
        if start + MIN_NEW_TOKENS <= head < end:
            end = head
        yield start, end
        start = end


@dataclass(slots=True)
class SaveProgress:
    """What was saved of a prompt during its prefill, up to ``stop``, and the time that took."""

    stop: int = 0
    _started: float = field(default_factory=time.perf_counter)
    _spent: float = 0.0
    _last: float = FIRST_ESTIMATE

    @property
    def affordable(self) -> bool:
        """Whether saving one more segment takes little of the time so far."""
        prefill = time.perf_counter() - self._started - self._spent
        return self._spent + self._last <= PREFILL_SHARE * prefill

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the time that saving a segment takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._last = time.perf_counter() - started
            self._spent += self._last


class Snapshots:
    """The snapshots on disk of one model, with all that its states depend on.

    Every method but `unbind_session` belongs on the engine's thread. Whatever fails, a chat goes
    on: it is prefilled again, and `problem` says why.

    Args:
        store: Where they are.
        key: Identifies the model, the build of llama.cpp and the parameters: everything but tokens
            that a state depends on.
        name: The model's name, for listings.
        limit: Bytes on disk; 0 switches everything off but the measuring.
        free: Bytes of free memory; None where that is unknown.

    Attributes:
        session: The session that snapshots are saved for. While it is empty, nothing is saved.
        problem: Why nothing is saved or restored; empty when nothing stands in the way.
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
        self._record: ModelRecord | None = None
        self._counts: Counter[str] = Counter()
        self._prefill_rate = 0.0
        self._messages: Sequence[ChatMessage] = ()  # the chat in the KV cache
        self._holds_session = False  # whether the KV cache holds only what `session` has prefilled
        self._progress = SaveProgress()
        self._reported_texts: set[str] = set()
        self.session = ""
        self.problem = ""

    def close(self) -> None:
        """Store what was measured and counted."""
        with self._report_errors():
            if self.session and (self._counts or self._prefill_rate):
                self._store.index.record_prefill_rate(self._key, self._name, self._prefill_rate)
                for name, count in self._counts.items():
                    self._store.index.count(name, count)
                self._store.tidy()
        self._counts.clear()
        self._store.close()

    def open(self) -> None:
        """Read what is known of the model, before there is a prompt to restore."""
        self._read_record()
        self._store.key.known()

    def bind_session(self, session: str) -> None:
        """Save what is prefilled from now on for ``session``; for an empty one, save nothing."""
        if session != self.session:
            self.session, self._holds_session = session, False

    def unbind_session(self, session: str) -> None:
        """Save nothing more for ``session`` until it is bound again.

        Works on any thread. What is being saved meanwhile is removed again.
        """
        if self.session == session:
            self.session = ""

    # Prefill speed

    @property
    def prefill_rate(self) -> float:
        """Tokens that this model prefills in a second on this machine; 0 when unknown."""
        if not self._prefill_rate and (known := self._read_record()):
            self._prefill_rate = known.prefill_rate
        return self._prefill_rate

    def prefill_time(self, tokens: int) -> float:
        """Seconds that prefilling ``tokens`` takes, as measured before; 0 when unknown."""
        rate = self.prefill_rate
        return tokens / rate if rate else 0.0

    def record_prefill(self, tokens: int, seconds: float) -> None:
        """Record how long prefilling ``tokens`` took; a long prefill corrects the mean more."""
        if tokens >= MIN_MEASURED and seconds > 0:
            before, measured = self.prefill_rate, seconds / tokens
            weight = 1 - (1 - WEIGHT) ** max(1, tokens / WEIGHED)
            # The mean is of the time of a token: of two speeds, the slower one takes longer.
            mean = (1 - weight) / before + weight * measured if before else measured
            self._prefill_rate = 1 / mean

    # Restoring

    def restore(
        self, loaded: LoadedModel, prompt: Sequence[int], messages: Sequence[ChatMessage] = ()
    ) -> Generator[CacheRestored | Notice, None, CacheRestored | None]:
        """Load into the KV cache what the disk holds of ``prompt`` and the cache does not.

        Yields what that was, if it is worth reporting, and what stands in the way of saving;
        returns None when nothing was restored. ``messages`` are the chat of the prompt.
        """
        self._messages, self._progress = messages, SaveProgress()
        restored = None
        with self._report_errors():
            restored = self._restore(loaded, prompt)
        if restored is not None and restored.tokens >= MIN_REPORTED:
            yield restored
        if self.session and self._limit and len(prompt) >= MIN_TOKENS:
            yield from self._notices()
        return restored

    def _notices(self) -> Iterator[Notice]:
        """What stands in the way of saving, each said once."""
        if self._store.key.fault:
            key = self._store.key
            remedy = tr("it is replaced, and saved chats are read once more")
            if not key.is_replaceable:
                remedy = tr("chats are not saved to be restored until it is moved away")
            yield from self._report_once(
                tr("{file} {fault}; {remedy}", file=key.file, fault=key.fault, remedy=remedy)
            )
        known = self._read_record()
        if known is not None and known.restores is False:
            reason = single_line(known.reason, 200)
            yield from self._report_once(
                tr("chats with this model are not saved: {reason}", reason=reason)
            )
        elif self.problem:
            yield from self._report_once(
                tr("this chat may be read again: {problem}", problem=self.problem)
            )

    def _report_once(self, text: str) -> Iterator[Notice]:
        if text not in self._reported_texts:
            self._reported_texts.add(text)
            yield Notice("storage", text)

    def _restore(self, loaded: LoadedModel, prompt: Sequence[int]) -> CacheRestored | None:
        if len(prompt) <= MIN_GAIN or not self._limit:
            return None
        known = self._read_record()
        if known is None or not known.restores:
            return None
        started = time.perf_counter()
        kv = loaded.kv
        before, _ = kv.match_prefix(kv.tokens, prompt)
        chain = self._best_chain(loaded, prompt)
        if length(chain) - before < MIN_GAIN:
            self._counts["missed"] += bool(self.session and not before)
            return None
        gained = self._load(loaded, chain, len(prompt)) - before
        if gained <= 0:
            return None
        self._counts["restored"] += 1
        if self.session:
            self._store.index.touch([link.segment.id for link in chain], self.session, ())
        seconds = time.perf_counter() - started
        return CacheRestored(gained, seconds, self.prefill_time(gained))

    def count_saved(self, loaded: LoadedModel, prompt: Sequence[int]) -> int:
        """How many tokens of ``prompt``, from the first on, `restore` could load."""
        if len(prompt) < MIN_GAIN + LEAD or not self._limit:
            return 0
        known = self._read_record()
        return length(self._best_chain(loaded, prompt)) if known and known.restores else 0

    def _best_chain(self, loaded: LoadedModel, prompt: Sequence[int]) -> Chain:
        """The chain that holds most of the prompt.

        This session's own chains may also spell it in other tokens, as a model may.
        """
        segments = self._segments(loaded, prompt)
        own_segments = self._store.index.session_segments(self.session) if self.session else set()
        found = [longest(segments, prompt)]
        for chain in whole_chains(segments):
            if chain[-1].segment.id in own_segments:
                same, _ = loaded.kv.match_prefix(tokens_of(chain), prompt)
                found.append(cut(chain, same))
        if not loaded.model.shape.divisible:
            found = [c for c in found if c and c[-1].stop == c[-1].segment.stop < len(prompt)]
        else:  # the last token of the prompt is decoded in any case, for its logits
            found = [cut(c, len(prompt) - 1) for c in found]
        return max(found, key=length, default=())

    def _load(self, loaded: LoadedModel, chain: Chain, count: int) -> int:
        """Load the chain as far as it is intact; returns its tokens in the cache."""
        kv, tokens = loaded.kv, tokens_of(chain)
        part = loaded.model.shape.divisible
        if not part:
            self._require_memory(chain[-1].segment.size)
        if not kv.truncate(common_prefix(kv.tokens, tokens) if part else 0):
            kv.clear()
        if count >= loaded.context.size or not kv.reserve(count + 1):
            return len(kv.tokens)
        buffer = bytearray()
        for index, link in enumerate(chain):
            if link.stop <= len(kv.tokens):
                continue
            try:
                size = self._store.read(self._key, chain, index, buffer)
            except SegmentRefused:
                break
            if not kv.load(tokens[len(kv.tokens) : link.stop], buffer, size, part=part):
                if not part:
                    kv.clear()
                break
        return len(kv.tokens)

    # Saving

    def on_prefill_progress(
        self, loaded: LoadedModel, left: int, should_continue: ShouldContinue = lambda: True
    ) -> None:
        """Save a part of a prompt that is being prefilled, with ``left`` tokens to go.

        Call it before the first batch and after each. It saves where that takes little of the time,
        so that little is left for the end; ``should_continue`` as of `save`. The cache may hold
        less afterwards, where a check failed.
        """
        self._holds_session = True
        if not left or not self._may_save() or not loaded.model.shape.divisible:
            return
        progress, tokens = self._progress, loaded.kv.tokens
        if len(tokens) // SEGMENT_TOKENS * SEGMENT_TOKENS > progress.stop and progress.affordable:
            with self._report_errors(), progress.timed():
                self._save_segment(loaded, should_continue)

    def _save_segment(self, loaded: LoadedModel, should_continue: ShouldContinue) -> None:
        """Save the next segment of a prompt that is being prefilled."""
        if self._restores() is False:
            return
        tokens, progress = loaded.kv.tokens, self._progress
        before = longest(self._segments(loaded, tokens), tokens)
        size = SEGMENT_TOKENS
        stop = min(len(tokens), length(before) + size) // size * size
        progress.stop = max(stop, progress.stop + size)
        tokens = tokens[:stop]
        head = _head(loaded, tokens, self._messages)
        chain = self._save_parts(loaded, tokens, head, before, should_continue=should_continue)
        self._mark_used(chain)
        if chain and self._restores() is None and should_continue():
            self._check(loaded, chain)

    def save(
        self,
        loaded: LoadedModel,
        should_continue: ShouldContinue = lambda: True,
        *,
        at_exit: bool = False,
    ) -> int:
        """Save what the KV cache holds and the disk does not; returns how many tokens.

        Of a short chat, saves only the head that it shares with every chat of its system prompt.

        Args:
            loaded: The model.
            should_continue: Asked every few milliseconds; what was written before it says no is
                kept.
            at_exit: Whether the program ends: the KV cache may be cut, and no file is started after
                0.3 seconds and a fiftieth of the time of the prefill.
        """
        if not self._may_save() or len(loaded.kv.tokens) < MIN_NEW_TOKENS:
            return 0
        with self._report_errors():
            return self._save(loaded, should_continue, at_exit=at_exit)
        return 0

    def _save(self, loaded: LoadedModel, should_continue: ShouldContinue, *, at_exit: bool) -> int:
        head = _head(loaded, loaded.kv.tokens, self._messages)
        count = len(loaded.kv.tokens)
        whole = count >= MIN_TOKENS or self.prefill_time(count) >= MIN_SECONDS
        tokens = loaded.kv.tokens if whole else loaded.kv.tokens[:head]
        if not tokens or self._restores() is False:
            return 0
        if loaded.model.shape.divisible:
            before = longest(self._segments(loaded, tokens), tokens)
            spare = EXIT_SAVE_SECONDS + EXIT_SAVE_SHARE * self.prefill_time(len(tokens))
            deadline = time.monotonic() + spare if at_exit else None
            chain = self._save_parts(
                loaded, tokens, head, before, should_continue=should_continue, deadline=deadline
            )
        else:
            before = ()
            chain = self._save_whole(loaded, self._segments(loaded, tokens), should_continue)
        if whole:
            self._mark_used(chain)
        saved = length(chain) - length(before)
        if chain and self._restores() is None and should_continue():
            if at_exit and loaded.model.shape.divisible:
                chain = chain[:1]
                loaded.kv.truncate(length(chain))
            self._check(loaded, chain)
        return saved

    def _may_save(self) -> bool:
        return bool(self.session and self._holds_session and self._limit)

    def _save_parts(
        self,
        loaded: LoadedModel,
        tokens: list[int],
        head: int,
        chain: Chain,
        *,
        should_continue: ShouldContinue,
        deadline: float | None = None,
    ) -> Chain:
        if length(chain) < LEAD and chain and chain[-1].segment.stop >= LEAD:
            chain = ()  # other chats would not find what continues it
        if len(tokens) - length(chain) < MIN_NEW_TOKENS:
            return chain
        buffer, first = bytearray(), True
        for start, stop in spans(length(chain), len(tokens), head):
            late = deadline is not None and not first and time.monotonic() > deadline
            if late or not should_continue():
                break
            size = loaded.context.save_state((start, stop), buffer)
            longer = self._add(
                chain, tokens[start:stop], memoryview(buffer)[:size], should_continue
            )
            if longer is None:
                break
            chain, first = longer, False
        return chain

    def _save_whole(
        self, loaded: LoadedModel, segments: Sequence[Segment], should_continue: ShouldContinue
    ) -> Chain:
        tokens = loaded.kv.tokens
        before = longest(segments, tokens)
        if before and before[-1].stop == before[-1].segment.stop:
            small = before[-1].segment.size <= SMALL_STATE
            least = MIN_NEW_TOKENS if small else LARGE_STATE_TOKENS
            if len(tokens) - length(before) < least:
                return before
        size = loaded.context.state_size
        self._require_memory(size)
        buffer = bytearray()
        # Allocating takes ten times as long as copying, which cannot be stopped.
        while len(buffer) < size:
            if not should_continue():
                return before
            buffer.extend(bytes(min(ALLOCATION, size - len(buffer))))
        size = loaded.context.save_state(None, buffer)
        chain = self._add((), tokens, memoryview(buffer)[:size], should_continue) or ()
        own_segments = self._store.index.session_segments(self.session)
        old = [each.id for each in segments if each.id in own_segments][: 1 - KEPT_STATES]
        for segment in old if chain else ():
            self._store.drop(segment)
        return chain

    def _require_memory(self, size: int) -> None:
        """Require memory for a copy of a whole state, and as much again for others.

        The state is as large as the KV cache, and no check before loading counts it; without the
        memory, a chat is not saved.
        """
        free = self._free()
        if free is not None and free < 2 * size:
            raise DoesNotFit(
                tr(
                    "its state of {size:,.0f} MB takes as much memory again, and {free:,.0f} MB "
                    "are free",
                    size=size / 1e6,
                    free=free / 1e6,
                ),
                tr("close other programs, or ask for a smaller context"),
            )

    def _add(
        self, chain: Chain, tokens: list[int], state: memoryview, should_continue: ShouldContinue
    ) -> Chain | None:
        """Store a state behind ``chain``, after deleting old ones for it; releases the view."""
        with state:
            session, size = self.session, len(state)
            if not size or size > self._limit or not session:  # unbound meanwhile
                return None
            self._store.shrink(self._limit - size, [link.segment.id for link in chain])
            if self._store.size() + size > self._limit:
                return None
            is_current: ShouldContinue = lambda: should_continue() and self.session == session  # noqa: E731
            longer = self._store.add(
                self._key, chain, tokens, state, session, should_continue=is_current
            )
        if self.session != session:  # who unbound it may have looked too early
            self._store.forget([session])
            return None
        return longer

    def _mark_used(self, chain: Chain) -> None:
        """Record that the session uses the chain, and holds its whole segments."""
        if not self.session:
            return
        ids = [link.segment.id for link in chain]
        whole = [link.segment.id for link in chain if link.stop == link.segment.stop]
        self._store.index.touch(ids, self.session, whole)

    # Is restoring exact?

    def _restores(self) -> bool | None:
        """Whether restoring is exact; None where that is to be checked."""
        known = self._read_record()
        if known is None:
            self._store.index.record_prefill_rate(self._key, self._name)
            known = self._read_record()
        return known.restores if known is not None else None

    def _check(self, loaded: LoadedModel, chain: Chain) -> None:
        """Check whether restoring ``chain`` is exact, and store the result.

        Only two failed checks make a model inexact.
        """
        if len(loaded.kv.tokens) > MAX_CHECKED or self._store.index.failure:
            return
        from tchat.engine.snapshots.restore_check import check_restore

        reason = check_restore(loaded, self._store, self._key, chain)
        if reason is None:
            return
        known = self._read_record()
        doubted = known is not None and bool(known.reason)
        exact = True if not reason else False if doubted else None
        self._store.index.record_exactness(self._key, self._name, exact=exact, reason=reason)
        self._record = None
        if reason:
            self.problem = single_line(reason, 200)
            loaded.kv.clear()
            self._store.forget([self.session])

    def _segments(self, loaded: LoadedModel, tokens: Sequence[int]) -> list[Segment]:
        """The segments that may hold the beginning of ``tokens``."""
        found = self._store.index.segments(self._key, lead_of(tokens), self.session)
        most = loaded.model.shape.n_vocab
        return [each for each in found if fits_vocabulary(each, most)]

    def _read_record(self) -> ModelRecord | None:
        if self._record is None and self._store.is_there:
            with self._report_errors():
                self._record = self._store.index.known(self._key)
        return self._record

    @contextmanager
    def _report_errors(self) -> Iterator[None]:
        """Report errors in ``problem`` and go on: snapshots are a cache."""
        try:
            yield
        except (TchatError, OSError, MemoryError) as error:
            self.problem = single_line(str(error), 200) or tr("out of memory")


def _head(loaded: LoadedModel, tokens: Sequence[int], messages: Sequence[ChatMessage]) -> int:
    """How many of ``tokens`` every chat with the same system prompt begins with.

    0 when they are few, or the model's state cannot be divided.
    """
    if not messages or not loaded.model.shape.divisible:
        return 0
    head = common_prefix(tokens, loaded.encoder.before_question(messages))
    return head if head >= MIN_NEW_TOKENS else 0
