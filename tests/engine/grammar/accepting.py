"""Whether llama.cpp, sampling by a grammar, could write a text: asked of its own sampler."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tchat.engine.cancel import Cancel
from tchat.engine.llama import backend
from tchat.engine.model import Model


class Acceptor:
    """Feeds texts to ``llama_sampler_init_grammar`` over a model's vocabulary."""

    def __init__(self, model: Path) -> None:
        self._model = Model(model, cancel=Cancel())
        self._lib = backend().lib
        self._end = self._lib.llama_vocab_eos(self._model.vocab)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def _allows(self, sampler: Any, token: int) -> bool:
        single = self._lib.llama_token_data(token, 1.0, 0.0)
        array = self._lib.llama_token_data_array(ctypes.pointer(single), 1, -1, False)
        self._lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return bool(array.data[0].logit != float("-inf"))
