"""The tokens in the KV cache, so that a turn prefills only what is new."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tchat.engine.context import DRAFT_SEQUENCE, BatchToken, Context
from tchat.engine.model import Model
from tchat.errors import DoesNotFit, TchatError
from tchat.translation import tr


class KVCache:
    """The tokens in sequence 0 of a context, in step with the cache itself.

    Attributes:
        tokens: Tokens in sequence 0.
        branches: Candidates by their sequence: their tokens behind those of sequence 0.
        draft_tokens: Tokens in `DRAFT_SEQUENCE`: the part of the next prompt that is prefilled.
        lost: Tokens that `reuse` had to give up, since the model's cache cannot be truncated.
    """

    def __init__(self, context: Context, model: Model) -> None:
        self._context = context
        self._model = model
        self.tokens: list[int] = []
        self.branches: dict[int, list[int]] = {}
        self.draft_tokens: list[int] = []
        self.lost = 0

    # Capacity

    def reserve(self, count: int) -> bool:
        """Reserve capacity for ``count`` tokens in all; False when it was stopped.

        Where the model's state cannot be moved to a larger cache, it is prefilled again.
        """
        if count <= self._context.capacity:
            return True
        several = bool(self.branches or self.draft_tokens)
        with self._in_sync():
            preserved = self._context.reserve(count, all_sequences=several)
        return preserved or self._prefill_again()

    def reserve_all(self, count: int) -> None:
        """Reserve capacity for ``count`` tokens in all sequences, which are in use.

        Raises:
            TchatError: llama.cpp cannot move them to a larger cache.
        """
        with self._in_sync():
            preserved = self._context.reserve(count, all_sequences=True)
        if not preserved:
            self.clear()
            raise TchatError(tr("the KV cache cannot grow"), tr("ask for fewer replies at a time"))

    def set_parallel(self, count: int) -> bool:
        """Have ``count`` sequences for parallel replies; False when it was stopped."""
        self.drop_branches()
        with self._in_sync():
            preserved = self._context.set_parallel(count)
        return preserved or self._prefill_again()

    @contextmanager
    def _in_sync(self) -> Iterator[None]:
        """Forget what the context lost, when it could not be made larger."""
        try:
            yield
        except TchatError:
            if self._context.cached_tokens != len(self.tokens):
                self.clear()
            raise

    def _prefill_again(self) -> bool:
        """Prefill what was lost; False when it was stopped."""
        self.branches, self.draft_tokens = {}, []
        tokens, self.tokens = self.tokens, []
        return all(self.prefill(tokens)) if tokens else True

    # Branches and the draft

    def switch_branch(self, prompt: Sequence[int]) -> None:
        """Continue the branch that ``prompt`` continues, or the draft; free the others."""
        cached = {sequence: [*self.tokens, *tail] for sequence, tail in self.branches.items()}
        if self.draft_tokens:
            cached[DRAFT_SEQUENCE] = self.draft_tokens
        if not cached:
            return
        shares = {
            sequence: self.match_prefix(tokens, prompt)[0] for sequence, tokens in cached.items()
        }
        best = max(shares, key=lambda sequence: shares[sequence])
        whole = shares[best] == len(cached[best])
        own = self.match_prefix(self.tokens, prompt)[0]
        if shares[best] > own + 1 and (whole or self._model.shape.divisible):
            self._context.copy(best, 0)
            self.tokens = cached[best]
        self.drop_branches()

    def drop_branches(self) -> None:
        """Free the branches and the draft."""
        for sequence in (*self.branches, DRAFT_SEQUENCE):
            self._context.forget(sequence)
        self.branches, self.draft_tokens = {}, []

    def prepare_draft(self, prompt: Sequence[int]) -> int:
        """Cut the draft's sequence down to a prefix of ``prompt``; returns its tokens.

        Where the chat itself shares more with ``prompt``, the draft begins with that. The chat's
        own sequence stays as it is. Reserves capacity for all of ``prompt``.

        Raises:
            DoesNotFit: It does not fit beside the chat.
        """
        with self._in_sync():
            preserved = self._context.set_parallel(0)
        if not preserved:
            self._prefill_again()
        own = common_prefix(self.tokens, prompt)
        if own < len(self.tokens) and not self._model.shape.divisible:
            own = 0
        shared = common_prefix(self.draft_tokens, prompt)
        cuts = shared < len(self.draft_tokens)
        if shared < own or (cuts and not self._context.truncate(shared, DRAFT_SEQUENCE)):
            if own:
                self._context.copy(0, DRAFT_SEQUENCE, own)
            else:
                self._context.forget(DRAFT_SEQUENCE)
            self.draft_tokens, shared = self.tokens[:own], own
        del self.draft_tokens[shared:]
        cells = len(self.tokens) + len(prompt) - own
        if cells > self._context.size:
            raise DoesNotFit(
                tr("the context has no room to prefill a draft"), tr("send the prompt")
            )
        self.reserve(cells)
        return len(self.draft_tokens)

    def prefill_draft(self, tokens: Sequence[int]) -> bool:
        """Decode a batch behind the draft, after `prepare_draft`; False when it was stopped."""
        start = len(self.draft_tokens)
        batch = [
            BatchToken(token, start + offset, DRAFT_SEQUENCE) for offset, token in enumerate(tokens)
        ]
        done = False
        try:
            done = self._context.decode(batch)
        finally:
            if not done and not (start and self._context.truncate(start, DRAFT_SEQUENCE)):
                self._context.forget(DRAFT_SEQUENCE)
                self.draft_tokens = []
        if done:
            self.draft_tokens += tokens
        return done

    # Decoding

    def ensure_tokens(self, tokens: Sequence[int], reserve: int = 0) -> bool:
        """Hold exactly ``tokens``, prefilling what is missing; False when it was stopped.

        Reserves capacity for ``reserve`` tokens more, as far as the context has it.
        """
        if not self.reserve(min(len(tokens) + reserve, self._context.size)):
            return False
        self.truncate(common_prefix(self.tokens, tokens))
        return all(self.prefill(tokens[len(self.tokens) :]))

    def prefill(self, tokens: Sequence[int]) -> Iterator[bool]:
        """Decode ``tokens`` by batches, with the logits of the last.

        Yields True after each batch; yields False and ends when it was stopped.
        """
        size = self._context.batch_size
        last = len(tokens) - 1
        for start in range(0, len(tokens), size):
            position = len(self.tokens)
            part = tokens[start : start + size]
            batch = [
                BatchToken(token, position + offset, logits=start + offset == last)
                for offset, token in enumerate(part)
            ]
            if not self._decode(batch):
                yield False
                return
            self.tokens.extend(part)
            yield True

    def step(self, token: int) -> bool:
        """Decode one token of the reply; False when it was stopped."""
        position = len(self.tokens)
        if position >= self._context.capacity and not self.reserve(position + 1):
            return False
        done = False
        try:
            done = self._context.step(token, position)
        finally:
            if not done:
                self._truncate(len(self.tokens))
        if done:
            self.tokens.append(token)
        return done

    def verify(self, tokens: Sequence[int]) -> bool:
        """Decode a few tokens in one batch, with the logits of each; False when it was stopped.

        At most as many as a batch has, and only where the model's cache can be truncated.
        """
        start = len(self.tokens)
        if not self.reserve(start + len(tokens)):
            return False
        if not self._decode([BatchToken(t, start + n, logits=True) for n, t in enumerate(tokens)]):
            return False
        self.tokens.extend(tokens)
        return True

    def _decode(self, batch: Sequence[BatchToken]) -> bool:
        done = False
        try:
            done = self._context.decode(batch)
        finally:
            if not done:  # a part of the batch may be in the cache
                self._truncate(len(self.tokens))
        return done

    # Cutting and loading

    def reuse(self, prompt: Sequence[int]) -> int:
        """Cut the cache down to what ``prompt`` shares with it; returns that many tokens.

        At least the prompt's last token is left to decode, since its logits are needed.
        """
        shared = min(common_prefix(self.tokens, prompt), len(prompt) - 1)
        self.lost = 0
        if shared < len(self.tokens) and not self._truncate(shared):
            self.lost, shared = shared, 0
        return shared

    def truncate(self, count: int) -> bool:
        """Keep the first ``count`` tokens; False when the model cannot do so, and all is gone."""
        return count >= len(self.tokens) or self._truncate(count)

    def load(self, tokens: Sequence[int], buffer: bytearray, size: int, *, part: bool) -> bool:
        """Load a saved state: of ``tokens`` behind the cached ones, or, unless ``part``, of all.

        See `Context.load_state`; False when llama.cpp did not take it.
        """
        start = len(self.tokens) if part else 0
        span = (start, start + len(tokens)) if part else None
        if not self._context.load_state(span, buffer, size):
            return False
        self.tokens[start:] = tokens
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._context.clear()
        self.tokens, self.branches, self.draft_tokens = [], {}, []

    def _truncate(self, keep: int) -> bool:
        if self._context.truncate(keep):
            del self.tokens[keep:]
            return True
        self.clear()
        return False

    # Matching

    def cached_prefix(self, prompt: Sequence[int]) -> int:
        """How many tokens of ``prompt`` need no prefill; changes nothing."""
        cached = [self.tokens, self.draft_tokens]
        cached += ([*self.tokens, *tokens] for tokens in self.branches.values())
        return max(self._reusable(tokens, prompt) for tokens in cached)

    def _reusable(self, cached: Sequence[int], prompt: Sequence[int]) -> int:
        here, there = self.match_prefix(cached, prompt)
        return there if here == len(cached) or self._model.shape.divisible else 0

    def reuse_tokens(self, prompt: Sequence[int]) -> list[int]:
        """``prompt`` with the cache's own tokens where they spell the same text.

        A model may write a word in other tokens than the tokenizer would. Encoded again from the
        history, such a reply has other tokens, and all after it would be prefilled again. Where
        both spell the same text up to the next control token, the cache's tokens are as good.
        """
        here, there = self.match_prefix(self.tokens, prompt)
        return [*self.tokens[:here], *prompt[there:]]

    def match_prefix(self, cached: Sequence[int], prompt: Sequence[int]) -> tuple[int, int]:
        """How many first tokens of ``cached`` and of ``prompt`` spell the same text."""
        here, there = 0, 0
        whole = True
        while whole and here < len(cached) and there < len(prompt):
            if cached[here] == prompt[there]:
                here, there = here + 1, there + 1
                continue
            text, ends = self._spell(self._until_control(cached, here))
            other_text, other_ends = self._spell(self._until_control(prompt, there))
            same = common_prefix(text, other_text)
            end = max((end for end in ends.keys() & other_ends.keys() if end <= same), default=0)
            whole = 0 < end == len(text) == len(other_text)
            if end:
                here, there = here + ends[end], there + other_ends[end]
        return here, there

    def _until_control(self, tokens: Sequence[int], start: int) -> Sequence[int]:
        positions = range(start, len(tokens))
        end = next((at for at in positions if self._model.is_control(tokens[at])), len(tokens))
        return tokens[start:end]

    def _spell(self, tokens: Sequence[int]) -> tuple[str, dict[int, int]]:
        """The text of ``tokens``, and at which of its lengths how many tokens end.

        As text and not as bytes, since bytes that are no UTF-8 are U+FFFD in the history.
        """
        pieces, length, ends, decoder = [], 0, {}, text_decoder()
        for count, token in enumerate(tokens, 1):
            pieces.append(decoder.decode(self._model.piece(token)))
            length += len(pieces[-1])
            if not decoder.getstate()[0]:
                ends[length] = count
        return "".join(pieces) + decoder.decode(b"", final=True), ends


def common_prefix(left: Sequence[object], right: Sequence[object]) -> int:
    """How many items two sequences begin with in common."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def text_decoder() -> codecs.IncrementalDecoder:
    """UTF-8 across token boundaries; invalid bytes become U+FFFD at once.

    ``getstate()[0]`` is the first bytes of a character that is not complete.
    """
    return codecs.getincrementaldecoder("utf-8")("replace")
