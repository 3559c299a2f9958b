"""A llama.cpp that refuses: the Nth call of one function fails as llama.cpp lets it fail.

`Refusing` takes the place of the binding's module in `tchat.engine.binding.backend`, which is the
only way that the engine has to it. A refused call does not reach llama.cpp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tchat.engine.binding import backend

INT32_MIN = -(1 << 31)  # of `llama_tokenize`: more tokens than an int32 holds
LLAMA_TOKEN_NULL = -1

# What each function returns when it fails, by llama.h.
FAILURES: dict[str, Any] = {
    "llama_model_load_from_file": None,
    "llama_model_get_vocab": None,
    "llama_init_from_model": None,
    "llama_get_memory": None,
    "llama_decode": -2,
    "llama_get_logits_ith": None,
    "llama_get_embeddings_ith": None,
    "llama_memory_seq_rm": False,
    "llama_memory_seq_pos_min": -1,
    "llama_memory_seq_pos_max": -1,
    "llama_state_get_size": 0,
    "llama_state_get_data": 0,
    "llama_state_set_data": 0,
    "llama_state_seq_get_size": 0,
    "llama_state_seq_get_data": 0,
    "llama_state_seq_set_data": 0,
    "llama_tokenize": INT32_MIN,
    "llama_token_to_piece": -64,  # bytes it would need, if it had them
    "llama_sampler_chain_init": None,
    "llama_sampler_init_grammar": None,
    "llama_sampler_init_logit_bias": None,
    "llama_sampler_init_penalties": None,
    "llama_sampler_init_dry": None,
    "llama_sampler_init_greedy": None,
    "llama_sampler_init_dist": None,
    "llama_sampler_init_temp": None,
    "llama_sampler_init_top_k": None,
    "llama_sampler_init_top_p": None,
    "llama_sampler_init_min_p": None,
    "llama_sampler_init_typical": None,
    "llama_sampler_init_xtc": None,
    "llama_sampler_init_mirostat_v2": None,
    "llama_sampler_sample": LLAMA_TOKEN_NULL,
    "llama_adapter_lora_init": None,
    "llama_set_adapters_lora": -1,
    "llama_set_adapter_cvec": -1,
}

# They return nothing, or read what is there: by llama.h they cannot fail. An unlisted function
# that tchat calls fails the test, so that whoever adds one has to decide.
# fmt: off
SAFE = frozenset({
    "llama_backend_init", "llama_batch_free", "llama_context_default_params", "llama_free",
    "llama_log_callback", "llama_log_set", "llama_max_devices", "llama_memory_clear",
    "llama_memory_seq_cp", "llama_model_default_params", "llama_model_free",
    "llama_model_is_hybrid", "llama_model_is_recurrent", "llama_model_n_ctx_train",
    "llama_model_n_embd", "llama_model_n_layer", "llama_model_n_swa",
    "llama_print_system_info", "llama_sampler_accept", "llama_sampler_apply",
    "llama_sampler_chain_add", "llama_sampler_chain_default_params", "llama_sampler_free",
    "llama_set_embeddings", "llama_set_n_threads", "llama_supports_gpu_offload",
    "llama_supports_mlock", "llama_supports_mmap", "llama_version", "llama_vocab_bos",
    "llama_vocab_eos", "llama_vocab_get_add_bos", "llama_vocab_get_text",
    "llama_vocab_is_control", "llama_vocab_is_eog", "llama_vocab_n_tokens",
    "llama_adapter_lora_p_ctypes", "llama_logit_bias", "llama_progress_callback",
    "llama_token_data", "llama_token_data_array", "ggml_abort_callback",
    "ggml_backend_sched_eval_callback",
})
# fmt: on
OWN = frozenset({"llama_batch_init"})  # a structure; it fails with NULL arrays


# It may fail when a part of its batch is in the cache already.
LATE = frozenset({"llama_decode"})


@dataclass(frozen=True)
class Fault:
    """Which call fails: the ``nth`` of ``function``.

    Args:
        function: Its name.
        nth: From 1 on.
        how: ``once``; ``lasting``, when all that follow fail too; ``late``, after the work was
            done.
    """

    function: str
    nth: int
    how: str = "once"


class Refusing:
    """The binding's module, with a fault at a time.

    Attributes:
        calls: How often each function that can fail was called since `arm`.
        unknown: Functions that were used and are in no list.
    """

    def __init__(self, real: Any) -> None:
        self._real = real
        self._fault: Fault | None = None
        self.calls: Counter[str] = Counter()
        self.unknown: set[str] = set()

    @classmethod
    def install(cls) -> Refusing:
        """Put one in the way of everything that is loaded from now on."""
        refusing = cls(backend().lib)
        backend().lib = refusing
        return refusing

    def arm(self, fault: Fault | None) -> None:
        """Let ``fault`` happen, counted from now on; None ends it."""
        self._fault = fault
        self.calls.clear()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        made = real
        if name in FAILURES or name in OWN:
            made = self._refusing(name, real)
        elif name.startswith(("llama_", "ggml_")) and name not in SAFE:
            self.unknown.add(name)
        self.__dict__[name] = made
        return made

    def _refusing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if not _can_fail(name, arguments):
                return real(*arguments)
            self.calls[name] += 1
            fault, count = self._fault, self.calls[name]
            if fault is None or fault.function != name:
                return real(*arguments)
            if count < fault.nth or (count > fault.nth and fault.how != "lasting"):
                return real(*arguments)
            if fault.how == "late":
                real(*arguments)
            return FAILURES[name] if name in FAILURES else self._real.llama_batch()

        return call


def _can_fail(name: str, arguments: tuple[Any, ...]) -> bool:
    """Whole sequences can always be removed (llama.h); only a part may not."""
    return name != "llama_memory_seq_rm" or arguments[2] > 0


def functions() -> tuple[str, ...]:
    """All that can be refused."""
    return (*FAILURES, *OWN)
