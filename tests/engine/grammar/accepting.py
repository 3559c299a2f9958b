"""Ask llama.cpp's own sampler whether a grammar allows a text."""

from __future__ import annotations

import ctypes
from math import inf
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from tchat.engine.binding import Cancel, backend
from tchat.engine.model import Model

_CLOSING = frozenset('"]},0')


class Acceptor:
    """Feeds texts to ``llama_sampler_init_grammar`` over a model's vocabulary."""

    def __init__(self, model: Path) -> None:
        self._model = Model(model, cancel=Cancel())
        self._lib = backend().lib
        self._end = self._lib.llama_vocab_eos(self._model.vocab)
        self._parsed: tuple[str, Any] | None = None
        # One token a character, so that every way through a grammar can be taken.
        pieces = ((self._model.tokenize(chr(n), special=False), chr(n)) for n in range(10, 127))
        self._pieces = {tokens[0]: piece for tokens, piece in pieces if len(tokens) == 1}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget()
        self._model.close()

    def __call__(self, grammar: str, text: str) -> bool:
        """Whether the grammar allows ``text`` and an end after it."""
        sampler = self._lib.llama_sampler_init_grammar(self._model.vocab, grammar.encode(), b"root")
        assert sampler, grammar
        try:
            for token in self._model.tokenize(text, special=False):
                if not self._allows(sampler, token):
                    return False
                self._lib.llama_sampler_accept(sampler, token)
            return self._allows(sampler, self._end)
        finally:
            self._lib.llama_sampler_free(sampler)

    def written(self, grammar: str, random: Random, limit: int = 150) -> str | None:
        """A text that the grammar allows, drawn at random; None when it has not ended by then."""
        sampler = self._lib.llama_sampler_init_grammar(self._model.vocab, grammar.encode(), b"root")
        assert sampler, grammar
        text = ""
        try:
            for _ in range(limit):
                allowed = self._allowed(sampler)
                ends = self._end in allowed
                if not allowed or (ends and (len(allowed) == 1 or random.random() < 0.5)):
                    return text if ends else None
                closing = [one for one in allowed if self._pieces.get(one, "") in _CLOSING]
                usual = [one for one in allowed if one != self._end]
                token = random.choice(closing if closing and random.random() < 0.4 else usual)
                self._lib.llama_sampler_accept(sampler, token)
                text += self._pieces[token]
            return None
        finally:
            self._lib.llama_sampler_free(sampler)

    def _sampler(self, grammar: str) -> Any:
        """A sampler at the grammar's beginning; the last grammar is not parsed again."""
        if self._parsed is None or self._parsed[0] != grammar:
            fresh = self._lib.llama_sampler_init_grammar(
                self._model.vocab, grammar.encode(), b"root"
            )
            assert fresh, grammar
            self._forget()
            self._parsed = (grammar, fresh)
        return self._lib.llama_sampler_clone(self._parsed[1])

    def _forget(self) -> None:
        if self._parsed is not None:
            self._lib.llama_sampler_free(self._parsed[1])
        self._parsed = None

    def _allowed(self, sampler: Any) -> list[int]:
        tokens = [self._end, *self._pieces]
        entries = [self._lib.llama_token_data(token, 1.0, 0.0) for token in tokens]
        data = (self._lib.llama_token_data * len(tokens))(*entries)
        array = self._lib.llama_token_data_array(data, len(tokens), -1, False)
        self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return [array.data[n].id for n in range(array.size) if array.data[n].logit != -inf]

    def _allows(self, sampler: Any, token: int) -> bool:
        single = self._lib.llama_token_data(token, 1.0, 0.0)
        array = self._lib.llama_token_data_array(ctypes.pointer(single), 1, -1, False)
        self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return bool(array.data[0].logit != float("-inf"))
