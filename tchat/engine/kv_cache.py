"""What sequence 0 of the KV cache holds, so that a turn reads only what is new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tchat.engine.context import DRAFT_SEQUENCE, BatchToken, Context
from tchat.engine.detokenizer import TextDecoder
from tchat.engine.model import Model
from tchat.errors import DoesNotFit, TchatError


class KVCache:
    """The tokens in sequence 0 of a context, in step with the cache itself."""

    def __init__(self, context: Context, model: Model) -> None:
        self._context = context
        self._model = model
        self.tokens: list[int] = []
        # Replies written side by side, by sequence: their tokens behind those of sequence 0.
        self.branches: dict[int, list[int]] = {}
        self.draft_tokens: list[
            int
        ] = []  # in sequence `DRAFT_SEQUENCE`: what is read of the next prompt
        self.reread = 0  # tokens that `reuse` had to give up because the model cannot trim

    def reserve(self, count: int) -> bool:
        """Make room for ``count`` tokens in all; False when it was stopped.

        Where the model's state cannot be moved to a larger cache, it is read again.
        """
        if count <= self._context.capacity:
            return True
        several = bool(self.branches or self.draft_tokens)
        with self._in_step():
            kept = self._context.reserve(count, all_sequences=several)
        return kept or self._read_again()

    def set_parallel(self, slots: int) -> bool:
        """Have ``slots`` sequences for replies side by side; False when it was stopped."""
        self.drop_branches()
        with self._in_step():
            kept = self._context.set_parallel(slots)
        return kept or self._read_again()

    def extend(self, count: int) -> None:
        """Make room for ``count`` tokens in all sequences, which are in use.

        Raises:
            TchatError: llama.cpp cannot move them to a larger cache.
        """
        with self._in_step():
            kept = self._context.reserve(count, all_sequences=True)
        if not kept:
            self.clear()
            raise TchatError("the KV cache cannot grow", "ask for fewer replies at a time")

    def switch_branch(self, prompt: Sequence[int]) -> None:
        """Go on with the branch that ``prompt`` goes on with; the others are given back.

        What was read ahead is one of them.
        """
        held = {place: [*self.tokens, *tokens] for place, tokens in self.branches.items()}
        if self.draft_tokens:
            held[DRAFT_SEQUENCE] = self.draft_tokens
        if not held:
            return
        shares = {place: self.match_prefix(tokens, prompt)[0] for place, tokens in held.items()}
        best = max(shares, key=lambda place: shares[place])
        whole = shares[best] == len(held[best])
        own = self.match_prefix(self.tokens, prompt)[0]
        if shares[best] > own + 1 and (whole or self._model.shape.divisible):
            self._context.copy(best, 0)
            self.tokens = held[best]
        self.drop_branches()

    def cached_prefix(self, prompt: Sequence[int]) -> int:
        """How many tokens of ``prompt`` need not be read; nothing changes."""
        held = [self.tokens, self.draft_tokens]
        held += ([*self.tokens, *tokens] for tokens in self.branches.values())
        return max(self._usable(tokens, prompt) for tokens in held)

    def _usable(self, held: Sequence[int], prompt: Sequence[int]) -> int:
        here, there = self.match_prefix(held, prompt)
        return there if here == len(held) or self._model.shape.divisible else 0

    def drop_branches(self) -> None:
        """Give back what the branches hold, and what was read ahead."""
        for sequence in (*self.branches, DRAFT_SEQUENCE):
            self._context.forget(sequence)
        self.branches, self.draft_tokens = {}, []

    def prepare_draft(self, prompt: Sequence[int]) -> int:
        """Cut what was read ahead down to what ``prompt`` begins with; returns its tokens.

        Where the chat itself shares more with ``prompt``, what is read ahead begins with that.
        Nothing of the chat itself changes. Room is made for all of ``prompt``.

        Raises:
            DoesNotFit: There is no room for it beside the chat itself.
        """
        with self._in_step():
            kept = self._context.set_parallel(0)
        if not kept:
            self._read_again()
        own = common_prefix(self.tokens, prompt)
        if own < len(self.tokens) and not self._model.shape.divisible:
            own = 0
        shared = common_prefix(self.draft_tokens, prompt)
        if shared < own or (
            shared < len(self.draft_tokens) and not self._context.trim(shared, DRAFT_SEQUENCE)
        ):
            self._context.copy(0, DRAFT_SEQUENCE, own) if own else self._context.forget(
                DRAFT_SEQUENCE
            )
            self.draft_tokens, shared = self.tokens[:own], own
        del self.draft_tokens[shared:]
        cells = len(self.tokens) + len(prompt) - own
        if cells > self._context.size:
            raise DoesNotFit("the context has no room to read ahead", "send the prompt")
        self.reserve(cells)
        return len(self.draft_tokens)

    def prefill_draft(self, tokens: Sequence[int]) -> bool:
        """Decode ``tokens``, of one batch, behind what was read ahead; False when it was stopped.

        `prepare_draft` made room for them.
        """
        held = len(self.draft_tokens)
        slots = [
            BatchToken(token, held + offset, DRAFT_SEQUENCE) for offset, token in enumerate(tokens)
        ]
        done = False
        try:
            done = self._context.decode(slots)
        finally:
            if not done and not (held and self._context.trim(held, DRAFT_SEQUENCE)):
                self._context.forget(DRAFT_SEQUENCE)
                self.draft_tokens = []
        if done:
            self.draft_tokens += tokens
        return done

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        """Forget what the context lost, when it could not be made larger."""
        try:
            yield
        except TchatError:
            if self._context.cached_tokens != len(self.tokens):
                self.clear()
            raise

    def _read_again(self) -> bool:
        """Read what was lost; False when it was stopped."""
        self.branches, self.draft_tokens = {}, []
        tokens, self.tokens = self.tokens, []
        return all(self.read(tokens)) if tokens else True

    def reuse(self, prompt: Sequence[int]) -> int:
        """Cut the cache down to what ``prompt`` shares with it, and return that many tokens.

        At least the prompt's last token is left to decode, since its logits are needed.
        """
        shared = min(common_prefix(self.tokens, prompt), len(prompt) - 1)
        self.reread = 0
        if shared < len(self.tokens) and not self._cut(shared):
            self.reread, shared = shared, 0
        return shared

    def ensure_tokens(self, tokens: Sequence[int], room: int = 0) -> bool:
        """Hold exactly ``tokens``, reading what is missing; False when it was stopped.

        There will be room for ``room`` tokens more, as far as the context has it.
        """
        if not self.reserve(min(len(tokens) + room, self._context.size)):
            return False
        self.truncate(common_prefix(self.tokens, tokens))
        return all(self.read(tokens[len(self.tokens) :]))

    def read(self, tokens: Sequence[int]) -> Iterator[bool]:
        """Decode ``tokens`` behind those held, batch by batch, with the logits of the last.

        Yields False and ends when a batch was stopped.
        """
        size = self._context.batch_size
        last = len(tokens) - 1
        for start in range(0, len(tokens), size):
            held = len(self.tokens)
            batch = tokens[start : start + size]
            slots = [
                BatchToken(token, held + offset, logits=start + offset == last)
                for offset, token in enumerate(batch)
            ]
            if not self._guarded(slots):
                yield False
                return
            self.tokens.extend(batch)
            yield True

    def step(self, token: int) -> bool:
        """Decode one token of the reply; False when it was stopped."""
        if not self.reserve(len(self.tokens) + 1):
            return False
        done = False
        try:
            done = self._context.step(token, len(self.tokens))
        finally:
            if not done:
                self._cut(len(self.tokens))
        if done:
            self.tokens.append(token)
        return done

    def verify(self, tokens: Sequence[int]) -> bool:
        """Decode some tokens at once, with the outputs of each; False when it was stopped.

        At most as many as a batch has, and a model that can be trimmed.
        """
        held = len(self.tokens)
        if not self.reserve(held + len(tokens)):
            return False
        if not self._guarded([BatchToken(t, held + n, logits=True) for n, t in enumerate(tokens)]):
            return False
        self.tokens.extend(tokens)
        return True

    def truncate(self, count: int) -> bool:
        """Keep the first ``count`` tokens; False when the model cannot trim and all is gone."""
        return count >= len(self.tokens) or self._cut(count)

    def load(self, tokens: Sequence[int], buffer: bytearray, size: int, *, part: bool) -> bool:
        """Take a saved state: of ``tokens`` behind those held, or, unless ``part``, of all.

        See `Context.load_state`. Returns False when llama.cpp did not take it.
        """
        held = len(self.tokens) if part else 0
        span = (held, held + len(tokens)) if part else None
        if not self._context.load_state(span, buffer, size):
            return False
        self.tokens[held:] = tokens
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._context.clear()
        self.tokens, self.branches, self.draft_tokens = [], {}, []

    def _guarded(self, slots: Sequence[BatchToken]) -> bool:
        done = False
        try:
            done = self._context.decode(slots)
        finally:
            if not done:  # a part of the batch may be in the cache
                self._cut(len(self.tokens))
        return done

    def _cut(self, keep: int) -> bool:
        if self._context.trim(keep):
            del self.tokens[keep:]
            return True
        self.clear()
        return False

    def reuse_tokens(self, prompt: Sequence[int]) -> list[int]:
        """``prompt`` with the cache's own tokens where they spell the same text.

        A model may write a word in other tokens than the tokenizer would. Read back from the
        history, the text of such a reply tokenizes differently, and everything after it would be
        read again. Where both go on to spell the same text up to the next control token, the
        cache's tokens are as good and already there.
        """
        here, there = self.match_prefix(self.tokens, prompt)
        return [*self.tokens[:here], *prompt[there:]]

    def match_prefix(self, held: Sequence[int], prompt: Sequence[int]) -> tuple[int, int]:
        """How many tokens of ``held`` and of ``prompt`` spell the same, from the first on."""
        here, there = 0, 0
        whole = True
        while whole and here < len(held) and there < len(prompt):
            if held[here] == prompt[there]:
                here, there = here + 1, there + 1
                continue
            mine = self._until_control(held, here)
            other = self._until_control(prompt, there)
            spelled, ends = self._spelled(mine)
            other_spelled, other_ends = self._spelled(other)
            same = common_prefix(spelled, other_spelled)
            end = max((end for end in ends.keys() & other_ends.keys() if end <= same), default=0)
            whole = 0 < end == len(spelled) == len(other_spelled)
            if end:
                here, there = here + ends[end], there + other_ends[end]
        return here, there

    def _until_control(self, tokens: Sequence[int], start: int) -> Sequence[int]:
        places = range(start, len(tokens))
        end = next((at for at in places if self._model.is_control(tokens[at])), len(tokens))
        return tokens[start:end]

    def _spelled(self, tokens: Sequence[int]) -> tuple[str, dict[int, int]]:
        """The text of ``tokens``, and at which of its lengths how many tokens end.

        As text and not as bytes, since bytes that were no UTF-8 are U+FFFD in the history.
        """
        pieces, length, ends, decoder = [], 0, {}, TextDecoder()
        for count, token in enumerate(tokens, 1):
            pieces.append(decoder.feed(self._model.piece(token)))
            length += len(pieces[-1])
            if not decoder.pending:
                ends[length] = count
        return "".join(pieces) + decoder.close(), ends


def common_prefix(left: Sequence[object], right: Sequence[object]) -> int:
    """How many items two sequences begin with in common."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
