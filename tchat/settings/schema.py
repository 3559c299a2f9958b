"""The declarations of all settings: default, bounds, flags, help text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tchat.translation import LANGUAGES, LOCALE, N_

# Where a value comes from, if it is no default.
CONFIG_FILE, MODELS_FILE = "config.toml", "models.toml"
ENVIRONMENT, FLAG, SESSION = N_("environment"), N_("flag"), N_("session")
MODEL_FILE, CATALOGUE = N_("model file"), N_("catalogue")
SERVERS = "servers"  # the table of config.toml with OpenAI-compatible servers
URL_SCHEMES = ("http://", "https://")


def has_url_scheme(model: str) -> bool:
    """Whether the name of a model is the URL of a server."""
    return model.startswith(URL_SCHEMES)


def setting(
    default: Any,
    help: str,  # noqa: A002
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    flag: str = "",
    former: str = "",
    live: bool = False,
    require: Callable[[str], object] | None = None,
    escapes: bool = False,
    commas: bool = False,
) -> Any:
    """Declare one setting.

    Args:
        default: The value when nothing else names one.
        help: One line for ``--help``, ``config show`` and the settings screen.
        low: Smallest value allowed.
        high: Largest value allowed.
        choices: The only values allowed, for text.
        unit: What a number counts, marked for translation.
        flag: Flags on the command line, separated by a slash, when they are not ``--name``;
            ``-`` for a setting that has no flag.
        former: The name it had before; it is still accepted, with a notice.
        live: Whether a loaded model goes on with another value; sampling always is.
        require: Raises `UsageError` for a text that is not allowed.
        escapes: Whether ``\\n``, ``\\t``, ``\\r`` and ``\\\\`` are escapes in a typed text.
        commas: Whether commas part the texts of a typed list.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "unit": unit,
        "flag": flag,
        "former": former,
        "live": live,
        "require": require,
        "escapes": escapes,
        "commas": commas,
    }
    return field(default=default, metadata=metadata)


SAMPLERS = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"


def _samplers(text: str) -> object:
    from tchat.settings.samplers import parse_samplers

    return parse_samplers(text)


def _endpoints(text: str) -> object:
    from tchat.settings.endpoints import parse_endpoints

    return parse_endpoints(text)


def _encoding(name: str) -> object:
    from tchat.decoding import require_encoding

    return require_encoding(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling of the next token. Names and defaults follow llama.cpp.

    The order in which they are applied: logit bias, ``samplers``, draw. Adaptive-p replaces the
    draw. Mirostat replaces the draw and all samplers but penalties, DRY and the temperature. With a
    temperature of 0 the likeliest token after penalties and DRY is taken. A grammar tests the token
    that was drawn; if it refuses it, it filters the vocabulary before the chain, and one is drawn
    again.
    """

    temp: float = setting(0.7, "Temperature; 0 always picks the most likely token", low=0, high=10)
    top_k: int = setting(40, "Keep the K most likely tokens; 0 keeps all", low=0, unit=N_("tokens"))
    top_p: float = setting(
        0.95,
        "Nucleus sampling: keep the most likely tokens up to this total probability",
        low=0,
        high=1,
    )
    min_p: float = setting(
        0.05, "Drop tokens below this share of the top probability", low=0, high=1
    )
    top_n_sigma: float = setting(
        -1.0,
        "Keep tokens within N standard deviations of the top logit; -1 is off",
        low=-1,
        high=100,
        flag="--top-nsigma/--top-n-sigma",
    )
    typical_p: float = setting(1.0, "Locally typical sampling; 1 is off", low=0, high=1)
    repeat_last_n: int = setting(
        64, "Tokens that the penalties look at; -1 is the whole context", low=-1, unit=N_("tokens")
    )
    repeat_penalty: float = setting(
        1.0, "Divide the logits of repeated tokens by this; 1 is off", low=0.01, high=10
    )
    frequency_penalty: float = setting(
        0.0, "Lower a token's logit by this for each occurrence", low=-10, high=10
    )
    presence_penalty: float = setting(
        0.0, "Lower a token's logit by this if it occurred", low=-10, high=10
    )
    dry_multiplier: float = setting(
        0.0, "DRY: penalty for repeated sequences; 0 is off", low=0, high=100
    )
    dry_base: float = setting(
        1.75, "DRY: growth of the penalty with the repeated length", low=1, high=10
    )
    dry_allowed_length: int = setting(
        2, "DRY: sequences up to this length are not penalized", low=0, unit=N_("tokens")
    )
    dry_penalty_last_n: int = setting(
        -1, "DRY: tokens to scan; -1 is the whole context", low=-1, unit=N_("tokens")
    )
    xtc_probability: float = setting(
        0.0, "XTC: probability of removing the top tokens; 0 is off", low=0, high=1
    )
    xtc_threshold: float = setting(
        0.1, "XTC: minimum probability of a token to be removed", low=0, high=1
    )
    dynatemp_range: float = setting(
        0.0,
        "Dynamic temperature: temp plus or minus this, by the entropy; 0 is off",
        low=0,
        high=10,
    )
    dynatemp_exp: float = setting(
        1.0, "Dynamic temperature: exponent of the entropy", low=0, high=10
    )
    adaptive_target: float = setting(
        -1.0,
        "Adaptive-p: draw tokens near this probability; a negative number is off",
        low=-1,
        high=1,
    )
    adaptive_decay: float = setting(
        0.9, "Adaptive-p: how slowly the target adapts", low=0, high=0.99
    )
    mirostat: int = setting(0, "Mirostat: 1 and 2 are version 2; 0 is off", low=0, high=2)
    mirostat_tau: float = setting(
        5.0, "Mirostat: target surprise, in bits", low=0, high=100, unit=N_("bits")
    )
    mirostat_eta: float = setting(0.1, "Mirostat: learning rate", low=0, high=1)
    samplers: str = setting(
        SAMPLERS, "Samplers in the order in which they are applied", require=_samplers
    )
    logit_bias: tuple[str, ...] = setting(
        (), "TOKEN=BIAS: add BIAS to a token's logit, by id or text; repeatable"
    )
    seed: int = setting(
        -1, "Random seed; -1 draws a new one for each reply", low=-1, high=2**32 - 2
    )
    max_tokens: int = setting(
        -1, "Maximum tokens of a reply; -1 is up to the context", low=-1, unit=N_("tokens")
    )
    stop: tuple[str, ...] = setting(
        (),
        "Stop sequence; the reply ends before it; \\n and \\t are read as escapes; repeatable",
        escapes=True,
    )
    loop_guard: bool = setting(True, "Stop a reply that begins to repeat itself")
    grammar: str = setting("", "GBNF grammar that constrains the reply", flag="-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a model may call, and who decides about a call; `tchat.chat.tool_setup` reads it."""

    enabled: tuple[str, ...] = setting(
        (),
        "Tools that the model may call, see `tchat tools ls`: NAME,NAME; as a flag, those that "
        "only read run without asking",
        flag="-T/--tools",
        commas=True,
    )
    allow: tuple[str, ...] = setting(
        (),
        "Rule: run calls of a tool without asking, like `run_command(git status*)`; repeatable",
        flag="--allow",
    )
    ask: tuple[str, ...] = setting(
        (),
        "Rule: ask before calls of a tool, like `read_file(private/*)`; wins over allow",
        flag="-",
    )
    deny: tuple[str, ...] = setting(
        (), "Rule: refuse calls of a tool, like `write_file(*.key)`; wins over all", flag="-"
    )
    roots: tuple[str, ...] = setting(
        (), "Folders that tools may use; empty: the current folder", flag="-"
    )
    allow_reading: bool = setting(
        False,
        "Run tools that only read, and do so below the allowed folders, without asking",
        flag="-",
    )
    ask_after_untrusted: bool = setting(
        True,
        "Ask again before writing, running programs and using the network, once the chat holds "
        "text of others",
        flag="-",
    )
    tool_choice: str = setting(
        "auto",
        "Whether the model must call a tool: auto, required, none, or the NAME of one",
        flag="--tool-choice",
    )
    max_steps: int = setting(
        10,
        "Replies that may call tools before the model must answer",
        low=1,
        high=1000,
        flag="--max-steps",
    )
    mcp: bool = setting(True, "Start the MCP servers of mcp.json", flag="-")
    network: bool = setting(False, "Let programs in the sandbox use the network", flag="-")
    variables: tuple[str, ...] = setting(
        (), "Environment variables that programs get; NAME,NAME", flag="-", commas=True
    )
    trusted_servers: tuple[str, ...] = setting(
        (),
        "Servers at private addresses that fetch_url may use; HOST:PORT,HOST:PORT",
        flag="-",
        commas=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a user can set; ``sampling`` and ``tools`` are tables of their own.

    ``keys`` is the table ``[keys]`` as it was written: the key for each action of the chat screen.
    Which actions there are only the screen knows. ``servers`` is the table ``[servers]`` as it was
    written, checked when one is used. ``fixed`` are the settings that the environment,
    a flag or a command in the chat named: a model's own settings do not change them. ``origins``
    says where each value comes from that is no default.
    """

    model: str = setting(
        "starter",
        "Model: a path, `starter`, or a name as in `tchat models ls --all`",
        flag="-m/--model",
    )
    system: str = setting("", "System prompt", flag="-s/--system", live=True)
    redact_words: tuple[str, ...] = setting(
        (), "Words of your own that redaction replaces; WORD,WORD", flag="-", live=True, commas=True
    )
    redact_names: bool = setting(
        False,
        "Let redaction of sessions also replace names that the model in this process guesses",
        flag="-",
        live=True,
    )
    redact_outgoing: bool = setting(
        False,
        "Replace personal data and secrets in what goes to servers and tools elsewhere",
        flag="-",
        live=True,
    )
    ctx_size: int = setting(
        0,
        "Context window in tokens; 0 is the model's, up to 8192",
        low=0,
        high=2**24,
        unit=N_("tokens"),
    )
    threads: int = setting(
        0, "CPU threads; 0 adapts to idle cores", low=0, high=1024, unit=N_("threads")
    )
    gpu_layers: int = setting(
        -1,
        "Layers offloaded to the GPU; -1 is all, if the build supports one",
        low=-1,
        high=10000,
        unit=N_("layers"),
    )
    tensor_split: str = setting("", "Share of the model per GPU, like `3,1`; empty: by free memory")
    rpc: str = setting(
        "",
        "Workers that the model is split over, HOST:PORT with commas; see `tchat help models`",
        require=_endpoints,
    )
    rpc_timeout: int = setting(
        300,
        "Seconds without progress after which a worker has failed",
        low=1,
        high=86400,
        flag="-",
        unit=N_("seconds"),
    )
    insecure_address: bool = setting(
        False, "Allow workers at addresses other than loopback, without encryption or password"
    )
    batch_size: int = setting(
        512, "Prompt tokens processed in one batch", low=32, high=8192, flag="-", unit=N_("tokens")
    )
    cache_type: str = setting(
        "f16",
        "KV cache type; q8_0 takes half the memory of f16, q4_0 a quarter",
        former="kv_type",
        choices=("f16", "q8_0", "q4_0"),
    )
    flash_attn: str = setting(
        "auto",
        "Flash attention; auto enables it where supported; q8_0 and q4_0 need it",
        choices=("auto", "on", "off"),
    )
    swa_full: bool = setting(
        True,
        "Full-size KV cache for sliding-window layers; off takes less memory, but editing or "
        "branching processes the prompt again",
    )
    mmap: bool = setting(True, "Memory-map the model file")
    mlock: bool = setting(False, "Lock the weights in memory, so they are not swapped out")
    force: bool = setting(False, "Load even if free memory is insufficient", former="anyway")
    prompt_lookup: bool = setting(
        True,
        "Speculative decoding by prompt lookup, where it is faster; output is unchanged",
    )
    draft_model: str = setting(
        "",
        "Draft model for speculative decoding, with the same vocabulary; output is unchanged",
        former="draft",
    )
    lora: tuple[str, ...] = setting((), "LoRA adapter, PATH or PATH:SCALE; repeatable")
    control_vector: tuple[str, ...] = setting((), "Control vector, PATH or PATH:SCALE; repeatable")
    ranker: str = setting(
        "human",
        "Ranks candidates for --best-of and /best: reads as human-written, your preference, or "
        "log-probability",
        choices=("human", "preference", "logprob"),
        former="judge",
        live=True,
    )
    think: str = setting(
        "auto",
        "Reasoning, for models that can switch it",
        choices=("auto", "on", "off"),
        live=True,
    )
    show_reasoning: bool = setting(False, "Print the reasoning", live=True)
    show_details: bool = setting(
        False, "Show model, times and token counts in the chat screen", flag="-", live=True
    )
    show_scores: bool = setting(
        False,
        "Score replies with the ranker, and show the scores in a chat",
        flag="-",
        live=True,
    )
    markdown: str = setting(
        "auto",
        "Render Markdown; auto does on a terminal only",
        choices=("auto", "always", "never"),
        live=True,
    )
    encoding: str = setting(
        "auto",
        "Encoding of files and piped text, like utf-8 or cp1252; auto detects it",
        live=True,
        require=_encoding,
    )
    save_oneshots: bool = setting(
        True, "Save one-shot prompts as sessions", flag="-", former="log_chats", live=True
    )
    kv_cache_disk_mb: int = setting(
        4096,
        "Disk space for KV cache snapshots, in megabytes; they reopen sessions at once",
        low=0,
        flag="-",
        former="snapshot_limit",
        unit=N_("MB"),
    )
    prefill_while_typing: bool = setting(
        True,
        "Prefill the prompt while you type it in the chat screen",
        flag="-",
        former="read_while_typing",
        live=True,
    )
    lang: str = setting(
        LOCALE,
        "Language of all texts; auto takes it from the locale",
        choices=(LOCALE, *LANGUAGES),
        live=True,
    )
    accessible: bool = setting(
        False,
        "Screen reader mode: chat line by line, plain text, progress in sentences",
        flag="--plain/--accessible",
        live=True,
    )
    terminal_title: bool = setting(
        True, "Title the terminal window with the session in the chat screen", flag="-", live=True
    )
    notify: str = setting(
        "auto",
        "When a reply of over 10 seconds ends in a terminal without focus: auto notifies on the "
        "desktop where the terminal can, and else rings the bell",
        choices=("auto", "bell", "off"),
        flag="-",
        live=True,
    )
    write_titles: bool = setting(
        True,
        "Let the model title a session in the chat screen while it is idle; not a private one",
        flag="-",
        live=True,
    )
    resume_hint: bool = setting(
        True, "Print how to resume the session when the chat screen ends", flag="-", live=True
    )
    lock_after: int = setting(
        0,
        "Lock the chat screen after minutes without use, where the store is encrypted; 0 is never",
        low=0,
        high=1440,
        unit=N_("minutes"),
        flag="-",
        live=True,
    )
    theme: str = setting("tchat-dark", "Colour theme of the chat screen", flag="-", live=True)
    keymap: str = setting(
        "default",
        "Keys of the chat screen; vim edits the prompt in modes; changes at the next start",
        choices=("default", "vim", "emacs"),
        flag="-",
        live=True,
    )
    sampling: Sampling = field(default_factory=Sampling)
    tools: Tools = field(default_factory=Tools)
    keys: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, Any] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def server(self) -> str:
        """The name or URL of the server that ``model`` is on; empty for a model in this process."""
        if has_url_scheme(self.model):
            return self.model
        name = self.model.partition("/")[0]
        return name if name in self.servers else ""
