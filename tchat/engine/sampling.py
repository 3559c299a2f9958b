"""The sampler: a `Sampling` as a llama.cpp sampler chain, and drawing a token with it."""

from __future__ import annotations

import ctypes
import math
import secrets
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tchat.engine.binding import backend
from tchat.engine.context import DEFAULT_CTX, Context
from tchat.engine.model import Model
from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.settings import Sampling
from tchat.settings.schema import SAMPLERS
from tchat.translation import tr

if TYPE_CHECKING:
    import numpy

    from tchat.engine.grammar.gbnf import TokenName

DRY_BREAKERS = (b"\n", b":", b'"', b"*")
_RANDOM = 0xFFFFFFFF  # LLAMA_DEFAULT_SEED: llama.cpp would draw an unknown seed
_COLDEST = 1e-6  # below it, logits divided by the temperature overflow; greedy long before
_MOST_BIAS = 1e6  # far over any logit, and far from overflowing
_PENALTIES = ("penalties", "dry")  # samplers that act on greedy replies and Mirostat too


def fresh_seed() -> int:
    """A random seed for one reply."""
    return secrets.randbelow(_RANDOM)


def is_greedy(sampling: Sampling) -> bool:
    """Whether the likeliest token is always taken."""
    return sampling.temp < _COLDEST


def several_seeds(first: int, count: int) -> list[int]:
    """``first`` and those after it; random ones where ``first`` is negative."""
    return [seed_after(first, n) if first >= 0 else fresh_seed() for n in range(count)]


def seed_after(first: int, count: int) -> int:
    """The seed ``count`` places after ``first``."""
    return (first + count) % _RANDOM


class Sampler:
    """One ``llama_sampler_chain`` for one reply. Close it.

    The penalties look back on the tokens of ``prompt``. ``chain`` is the ``llama_sampler *``
    without the grammar.

    Raises:
        UsageError: The grammar does not parse or is too long, or a logit bias names no token.
        TchatError: llama.cpp cannot create the sampler.
    """

    def __init__(
        self, model: Model, sampling: Sampling, *, seed: int, prompt: Sequence[int]
    ) -> None:
        self._lib = backend().lib
        self._model = model
        self._sampling = sampling
        self._grammar = self.chain = None
        biases = self._biases()
        try:
            if sampling.grammar:
                self._grammar = self._open_grammar(sampling.grammar)
            self.chain = _require_sampler(
                self._lib.llama_sampler_chain_init(self._lib.llama_sampler_chain_default_params())
            )
            for stage in self._stages(seed, biases):
                self._lib.llama_sampler_chain_add(self.chain, _require_sampler(stage))
        except BaseException:
            self.close()
            raise
        if self._prompt_window:
            for token in prompt[-self._prompt_window :]:
                self._lib.llama_sampler_accept(self.chain, token)

    def close(self) -> None:
        """Free the chain. Closing twice is harmless."""
        for sampler in (self.chain, self._grammar):
            if sampler:
                self._lib.llama_sampler_free(sampler)
        self.chain = self._grammar = None

    def sample(self, context: Context, index: int = -1) -> int:
        """Draw a token from the ``index``-th output row of the last decode, and accept it."""
        if self._grammar is None:
            token: int = self._lib.llama_sampler_sample(self.chain, context.handle, index)
            if token < 0:  # LLAMA_TOKEN_NULL
                raise _no_token_error()
            return token
        return self._sample_by_grammar(context, index)

    # The chain

    @property
    def _prompt_window(self) -> int:
        """How many tokens of the prompt the penalties look at."""
        s = self._sampling
        last = []
        if s.repeat_penalty != 1.0 or s.frequency_penalty or s.presence_penalty:
            last.append(self._window(s.repeat_last_n))
        if s.dry_multiplier:
            last.append(self._window(s.dry_penalty_last_n))
        return max(last, default=0)

    def _window(self, last: int) -> int:
        """At most the context size: llama.cpp allocates a buffer of this size."""
        context = self._model.shape.n_ctx_train or DEFAULT_CTX
        return context if last < 0 else min(last, context)

    def _stages(self, seed: int, biases: Sequence[tuple[int, float]]) -> Iterator[Any]:
        """The sampler chain, without samplers that would change nothing."""
        lib, s = self._lib, self._sampling
        if biases:
            array = (lib.llama_logit_bias * len(biases))(*biases)
            yield lib.llama_sampler_init_logit_bias(self._model.shape.n_vocab, len(biases), array)
        has_only_penalties = is_greedy(s) or bool(s.mirostat)
        for name in self._order:
            if name in _PENALTIES:
                yield from self._penalty(name)
            elif not has_only_penalties:
                yield from self._filter(name, seed)
        if is_greedy(s):
            yield lib.llama_sampler_init_greedy()
        elif s.mirostat:
            # Always version 2. Version 1 computes k from a surprise that has no upper bound; when
            # k overflows, it is 1, and the rest of the reply is greedy.
            yield lib.llama_sampler_init_temp(s.temp)
            yield lib.llama_sampler_init_mirostat_v2(seed, s.mirostat_tau, s.mirostat_eta)
        elif s.adaptive_target >= 0:
            yield lib.llama_sampler_init_adaptive_p(s.adaptive_target, s.adaptive_decay, seed)
        else:
            yield lib.llama_sampler_init_dist(seed)

    @property
    def _order(self) -> Sequence[str]:
        if self._sampling.samplers == SAMPLERS:
            return SAMPLERS.split(";")
        from tchat.settings.samplers import parse_samplers

        return parse_samplers(self._sampling.samplers)

    def _filter(self, name: str, seed: int) -> Iterator[Any]:
        """The sampler ``name`` between the penalties and the draw, if it changes anything."""
        lib, s = self._lib, self._sampling
        match name:
            case "top_n_sigma" if s.top_n_sigma > 0:
                yield lib.llama_sampler_init_top_n_sigma(s.top_n_sigma)
            case "top_k" if s.top_k > 0:
                yield lib.llama_sampler_init_top_k(s.top_k)
            case "typ_p" if s.typical_p < 1:
                yield lib.llama_sampler_init_typical(s.typical_p, 1)
            case "top_p" if s.top_p < 1:
                yield lib.llama_sampler_init_top_p(s.top_p, 1)
            case "min_p" if s.min_p > 0:
                yield lib.llama_sampler_init_min_p(s.min_p, 1)
            case "xtc" if s.xtc_probability > 0:
                yield lib.llama_sampler_init_xtc(s.xtc_probability, s.xtc_threshold, 1, seed)
            case "temperature":
                yield self._temperature()

    def _temperature(self) -> Any:
        lib, s = self._lib, self._sampling
        if not s.dynatemp_range:
            return lib.llama_sampler_init_temp(s.temp)
        # llama.cpp goes down to 0, where logits divided by the temperature overflow.
        lowest, highest = max(_COLDEST, s.temp - s.dynatemp_range), s.temp + s.dynatemp_range
        middle = (lowest + highest) / 2
        return lib.llama_sampler_init_temp_ext(middle, highest - middle, s.dynatemp_exp)

    def _penalty(self, name: str) -> Iterator[Any]:
        """The penalty ``name``, if it changes anything."""
        lib, s = self._lib, self._sampling
        if name == "penalties" and (
            s.repeat_penalty != 1.0 or s.frequency_penalty or s.presence_penalty
        ):
            yield lib.llama_sampler_init_penalties(
                self._model.shape.n_vocab,
                self._window(s.repeat_last_n),
                s.repeat_penalty,
                s.frequency_penalty,
                s.presence_penalty,
            )
        if name == "dry" and s.dry_multiplier:
            yield lib.llama_sampler_init_dry(
                self._model.vocab,
                s.dry_multiplier,
                s.dry_base,
                s.dry_allowed_length,
                self._window(s.dry_penalty_last_n),
                (ctypes.c_char_p * len(DRY_BREAKERS))(*DRY_BREAKERS),
                len(DRY_BREAKERS),
            )

    def _biases(self) -> list[tuple[int, float]]:
        """The biases asked for, and those of tokens that must never be drawn."""
        biases = [pair for entry in self._sampling.logit_bias for pair in self._bias(entry)]
        return [*biases, *((token, -math.inf) for token in self._model.suppressed)]

    def _bias(self, entry: str) -> Iterator[tuple[int, float]]:
        """``TOKEN=BIAS`` as pairs; a text of several tokens biases each of them."""
        name, _, value = entry.rpartition("=")
        try:
            bias = float(value)
        except ValueError:
            bias = math.nan
        if not name or math.isnan(bias) or bias > _MOST_BIAS:
            raise UsageError(
                tr("logit bias {entry!r} is not TOKEN=BIAS", entry=single_line(entry, limit=80)),
                tr("write for example 42=-1.5 or ' sorry'=-100; -inf forbids a token"),
            )
        for token in self._bias_tokens(name):
            yield token, bias

    def _bias_tokens(self, name: str) -> list[int]:
        """The tokens of a logit bias: one by its number, or those of a text."""
        if not name.isdecimal():
            return self._model.tokenize(name, special=True)
        last = self._model.shape.n_vocab - 1
        if len(name) > len(str(last)) or int(name) > last:
            raise UsageError(
                tr(
                    "logit bias names token {name}, the vocabulary ends at {last}",
                    name=single_line(name, limit=20),
                    last=last,
                ),
                tr("choose a token of this model"),
            )
        return [int(name)]

    # The grammar

    def _open_grammar(self, source: str) -> Any:
        """Check and parse a grammar, wherever it came from."""
        from tchat.engine.grammar.gbnf import HINT, require_grammar  # 3 ms

        for token in require_grammar(source):
            self._require_token(token)
        backend().log.clear()
        grammar = self._lib.llama_sampler_init_grammar(
            self._model.vocab, source.encode("utf-8", "replace"), b"root"
        )
        if not grammar:
            raise UsageError(
                tr("the grammar does not parse: {reason}", reason=backend().log.reason()),
                tr(HINT),
            )
        return grammar

    def hold(self, source: str, text: str) -> bool:
        """Sample by a grammar from here on, of which ``text`` is written already.

        Returns:
            Whether the grammar allows ``text``; if not, nothing has changed.

        Raises:
            UsageError: The grammar does not parse or is too long.
        """
        grammar = self._open_grammar(source)
        written = self._model.tokenize(text, special=True) if text else []
        if b"".join(map(self._model.piece, written)) == text.encode("utf-8", "replace"):
            for token in written:
                if not self._allows(token, grammar):
                    break
                self._lib.llama_sampler_accept(grammar, token)
            else:
                self.drop_grammar()
                self._grammar = grammar
                return True
        self._lib.llama_sampler_free(grammar)
        return False

    def drop_grammar(self) -> None:
        """Sample freely from here on."""
        if self._grammar:
            self._lib.llama_sampler_free(self._grammar)
        self._grammar = None

    def is_grammar_complete(self) -> bool:
        """Whether the grammar allows the reply to end here."""
        ends = self._model.end_tokens[:1]
        return self._grammar is not None and all(map(self._allows, ends))

    def _require_token(self, token: TokenName) -> None:
        vocabulary = self._model.shape.n_vocab
        if token.number is not None:
            known, shown = token.number < vocabulary, f"[{str(token.number)[:20]}]"
        else:
            known = len(self._model.tokenize(f"<{token.text}>", special=True)) == 1
            shown = single_line(token.text, limit=40)
        if not known:
            raise UsageError(
                tr("the grammar names <{shown}>, which is not a token of this model", shown=shown),
                tr("choose a token of this model, or write the text in quotes"),
            )

    def _sample_by_grammar(self, context: Context, index: int) -> int:
        """Draw freely and test that token; filter the whole vocabulary only if it is refused.

        Testing one token takes microseconds, filtering 50,000 milliseconds; llama.cpp's own
        ``common_sampler_sample`` does the same.
        """
        token = self._draw(context, index, constrained=False)
        if not self._allows(token):
            token = self._draw(context, index, constrained=True)
        self._lib.llama_sampler_accept(self._grammar, token)
        self._lib.llama_sampler_accept(self.chain, token)
        return token

    def _draw(self, context: Context, index: int, *, constrained: bool) -> int:
        array = self._fill(context, index)
        if constrained:
            self._lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        self._lib.llama_sampler_apply(self.chain, ctypes.byref(array))
        if not 0 <= array.selected < array.size:
            raise _no_token_error()
        chosen = array.data[array.selected]
        if constrained and chosen.logit == float("-inf"):
            raise UsageError(
                tr("the grammar allows no token of this model's vocabulary here"),
                tr("check that every rule of the grammar can be completed"),
            )
        token: int = chosen.id
        return token

    def _allows(self, token: int, grammar: Any = None) -> bool:
        single = self._lib.llama_token_data(token, 1.0, 0.0)
        array = self._lib.llama_token_data_array(ctypes.pointer(single), 1, -1, False)
        self._lib.llama_sampler_apply(grammar or self._grammar, ctypes.byref(array))
        return bool(array.data[0].logit != float("-inf"))

    def _fill(self, context: Context, index: int) -> Any:
        """``llama_token_data_array`` over the whole vocabulary with this row's logits."""
        import numpy

        size = self._model.shape.n_vocab
        candidates = self._candidates
        candidates["id"] = numpy.arange(size, dtype=numpy.int32)
        candidates["logit"] = context.logits_array(index)
        candidates["p"] = 0
        data = candidates.ctypes.data_as(ctypes.POINTER(self._lib.llama_token_data))
        return self._lib.llama_token_data_array(data, size, -1, False)

    @cached_property
    def _candidates(self) -> numpy.ndarray[Any, Any]:
        import numpy

        fields = [("id", numpy.int32), ("logit", numpy.float32), ("p", numpy.float32)]
        return numpy.zeros(self._model.shape.n_vocab, dtype=fields)


def _require_sampler(sampler: Any) -> Any:
    """Refuse a null ``llama_sampler *``."""
    if not sampler:
        raise TchatError(
            tr("llama.cpp cannot create the sampler"), tr("free some memory and try again")
        )
    return sampler


def _no_token_error() -> TchatError:
    return TchatError(
        tr("llama.cpp sampled no token"),
        tr("try again; if it persists, the model file may be damaged"),
    )
