"""The declarations: what can be set, with its default, bounds, flags and help text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def setting(
    default: Any,
    help: str,  # noqa: A002
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    flag: str = "",
    former: str = "",
    live: bool = False,
    require: Callable[[str], object] | None = None,
) -> Any:
    """Declare one setting.

    Args:
        default: The value when nothing else names one.
        help: One line for ``--help``, ``config show`` and the settings screen.
        low: Smallest value allowed.
        high: Largest value allowed.
        choices: The only values allowed, for text.
        flag: Flags on the command line, separated by a slash, when they are not ``--name``;
            ``-`` for a setting that has no flag.
        former: The name it had before; it is still accepted, with a notice.
        live: Whether a loaded model goes on with another value; sampling always is.
        require: Raises `UsageError` for a text that is not allowed.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "flag": flag,
        "former": former,
        "live": live,
        "require": require,
    }
    return field(default=default, metadata=metadata)


def _encoding(name: str) -> object:
    from tchat.decoding import require_encoding

    return require_encoding(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Names and defaults follow llama.cpp's sampler flags.

    The order in which llama.cpp applies them: logit bias, grammar, penalties, DRY, top-k,
    typical, top-p, min-p, XTC, temperature, draw; mirostat replaces everything from top-k on.
    """

    temp: float = setting(0.7, "Temperature; 0 always takes the likeliest token", low=0, high=10)
    top_k: int = setting(40, "Keep the K likeliest tokens; 0 keeps all", low=0)
    top_p: float = setting(
        0.95, "Keep the likeliest tokens up to this total probability (nucleus)", low=0, high=1
    )
    min_p: float = setting(
        0.05, "Drop tokens less likely than this share of the likeliest", low=0, high=1
    )
    typical_p: float = setting(1.0, "Locally typical sampling; 1 is off", low=0, high=1)
    repeat_last_n: int = setting(
        64, "Tokens that the penalties look back on; -1 is the whole context", low=-1
    )
    repeat_penalty: float = setting(
        1.0, "Divide the logit of repeated tokens; 1 is off", low=0.01, high=10
    )
    frequency_penalty: float = setting(
        0.0, "Lower a token by this for each time it occurred", low=-10, high=10
    )
    presence_penalty: float = setting(
        0.0, "Lower a token by this once it occurred", low=-10, high=10
    )
    dry_multiplier: float = setting(
        0.0, "DRY: strength against repeated sequences; 0 is off", low=0, high=100
    )
    dry_base: float = setting(
        1.75, "DRY: growth of the penalty with the length repeated", low=1, high=10
    )
    dry_allowed_length: int = setting(2, "DRY: sequences up to this length may repeat", low=0)
    dry_penalty_last_n: int = setting(
        -1, "DRY: tokens to look back on; -1 is the whole context", low=-1
    )
    xtc_probability: float = setting(
        0.0, "XTC: chance of removing the likeliest choices; 0 is off", low=0, high=1
    )
    xtc_threshold: float = setting(
        0.1, "XTC: only tokens at least this likely can be removed", low=0, high=1
    )
    mirostat: int = setting(0, "2 turns mirostat 2.0 on; 0 is off", low=0, high=2)
    mirostat_tau: float = setting(5.0, "Mirostat: target surprise, in bits", low=0, high=100)
    mirostat_eta: float = setting(0.1, "Mirostat: learning rate", low=0, high=1)
    logit_bias: tuple[str, ...] = setting(
        (), "TOKEN=BIAS: add BIAS to a token, by id or by text; repeatable"
    )
    seed: int = setting(
        -1, "Seed of the draw; -1 draws a fresh one for each reply", low=-1, high=2**32 - 2
    )
    max_tokens: int = setting(-1, "Longest reply in tokens; -1 is what the context holds", low=-1)
    stop: tuple[str, ...] = setting((), "End the reply before this text; repeatable")
    grammar: str = setting("", "GBNF grammar that the reply must follow", flag="-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a user can set, apart from the sampling of a reply.

    ``keys`` is the table ``[keys]`` as it was written: the key for each action of the chat screen.
    Which actions there are only the screen knows. ``fixed`` are the settings that the environment,
    a flag or a command in the chat named: a model's own settings do not change them.
    """

    model: str = setting(
        "starter",
        "Model: a path, `starter`, or a name as in `tchat models ls --all`",
        flag="-m/--model",
    )
    system: str = setting("", "System prompt", flag="-s/--system", live=True)
    ctx_size: int = setting(
        0, "Context window in tokens; 0 is the model's, up to 8192", low=0, high=2**24
    )
    threads: int = setting(
        0, "Threads; 0 follows the free cores, as they come and go", low=0, high=1024
    )
    gpu_layers: int = setting(
        -1, "Layers on the GPU; -1 is all where the build has one", low=-1, high=10000
    )
    tensor_split: str = setting("", "Share of the model for each GPU, like `3,1`; empty: by memory")
    batch_size: int = setting(512, "Tokens read in one step", low=32, high=8192, flag="-")
    cache_type: str = setting(
        "f16",
        "Type of the KV cache; q8_0 takes half the memory, q4_0 a quarter",
        former="kv_type",
        choices=("f16", "q8_0", "q4_0"),
    )
    flash_attn: str = setting(
        "auto",
        "Flash attention; auto is where the model and the build can, q8_0 and q4_0 need it",
        choices=("auto", "on", "off"),
    )
    swa_full: bool = setting(
        True,
        "Keep the whole context in layers with a sliding window too; off takes less memory, "
        "but going back in a chat reads again",
    )
    mmap: bool = setting(True, "Map the model's file into memory instead of reading it")
    mlock: bool = setting(False, "Lock the weights in memory, so that they are never swapped out")
    force: bool = setting(
        False, "Load a model that does not fit into the free memory too", former="anyway"
    )
    prompt_lookup: bool = setting(
        True,
        "Guess ahead from the text so far where that is faster; replies stay the same",
    )
    draft_model: str = setting(
        "",
        "Smaller model with the same vocabulary that guesses ahead; replies stay the same",
        former="draft",
    )
    lora: tuple[str, ...] = setting((), "LoRA adapter, PATH or PATH:SCALE; repeatable")
    control_vector: tuple[str, ...] = setting((), "Control vector, PATH or PATH:SCALE; repeatable")
    ranker: str = setting(
        "human",
        "What --best-of and /best go by: reads as written by a person, what you prefer, likelihood",
        choices=("human", "preference", "logprob"),
        former="judge",
        live=True,
    )
    think: str = setting(
        "auto",
        "Reasoning of models that have a switch for it",
        choices=("auto", "on", "off"),
        live=True,
    )
    show_reasoning: bool = setting(False, "Print the reasoning too", live=True)
    show_details: bool = setting(
        False, "Show models, times and token counts in the chat screen", flag="-", live=True
    )
    show_scores: bool = setting(
        False,
        "Judge replies as they come, and show the scores in the chat screen",
        flag="-",
        live=True,
    )
    markdown: str = setting(
        "auto",
        "Render Markdown; auto is on a terminal only",
        choices=("auto", "always", "never"),
        live=True,
    )
    encoding: str = setting(
        "auto",
        "Encoding of files and piped text, like utf-8 or cp1252; auto finds out",
        live=True,
        require=_encoding,
    )
    save_oneshots: bool = setting(
        True, "Store one-shot prompts as sessions", flag="-", former="log_chats", live=True
    )
    kv_cache_disk_mb: int = setting(
        4096,
        "Megabytes on disk for what chats have read, so that it is not read again",
        low=0,
        flag="-",
        former="snapshot_limit",
    )
    prefill_while_typing: bool = setting(
        True,
        "Let the model read a prompt while it is typed in the chat screen",
        flag="-",
        former="read_while_typing",
        live=True,
    )
    theme: str = setting("tchat-dark", "Colour theme of the chat screen", flag="-", live=True)
    sampling: Sampling = field(default_factory=Sampling)
    keys: Mapping[str, str] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
