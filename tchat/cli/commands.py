"""The table of commands; importing it must not slow start-up."""

from __future__ import annotations

import re

from tchat.errors import with_hint
from tchat.manual import OTHER_WORDS, TOPICS, most_hits
from tchat.translation import N_, tr

# name: (module, and where it is not `app` the name, of its Typer app; help; subcommands)
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ask": ("tchat.cli.ask_options", N_("Answer one prompt; same as `tchat PROMPT`"), ()),
    "map": ("tchat.cli.map", N_("Run one prompt over many rows, several at a time"), ("merge",)),
    "models": (
        "tchat.cli.models",
        N_("Find, download, check and remove model files"),
        (
            *("ls", "catalogue", "search", "show", "pull", "update", "check", "rm", "dupes", "du"),
            *("default", "add", "register", "set", "alias"),
        ),
    ),
    "servers": (
        "tchat.cli.servers",
        N_("Use models on OpenAI-compatible servers"),
        ("add", "ls", "rm", "test"),
    ),
    "sessions": (
        "tchat.cli.sessions",
        N_("List, search, show, rename, export, import and delete saved sessions"),
        ("ls", "show", "search", "rename", "rm", "export", "redact", "import", "path"),
    ),
    "cache": (
        "tchat.cli.cache",
        N_("Show and remove KV cache snapshots of sessions"),
        ("ls", "prune", "clear"),
    ),
    "lock": (
        "tchat.cli.lock",
        N_("Encrypt everything that tchat stores"),
        ("on", "off", "status", "passphrase", "recovery", "keyring", "test"),
    ),
    "config": (
        "tchat.cli.config",
        N_("Show and change the settings"),
        ("show", "get", "set", "unset", "edit", "path"),
    ),
    "prompts": (
        "tchat.cli.prompts",
        N_("Manage named prompt templates"),
        ("ls", "show", "new", "edit", "rm"),
    ),
    "mcp": (
        "tchat.cli.mcp",
        N_("Add, list, test and remove MCP servers, which give the model tools"),
        ("ls", "add", "rm", "test"),
    ),
    "tools": (
        "tchat.cli.tools",
        N_("List and try the tools that a model can call, see what was called"),
        ("ls", "test", "deny", "log", "undo", "new"),
    ),
    "judge": (
        "tchat.cli.judge",
        N_("Detect human-written replies, learn your preferences, steer the model"),
        ("show", "examples", "train", "score", "duel", "report", "use"),
    ),
    "bench": ("tchat.cli.bench", N_("Benchmark a model on this machine"), ()),
    "tune": ("tchat.cli.bench:tune_app", N_("Find and save the fastest settings of a model"), ()),
    "worker": (
        "tchat.cli.worker",
        N_("Offer this machine's devices to models of other machines"),
        (),
    ),
    "privacy": (
        "tchat.cli.privacy",
        N_("Show what is stored and what left this machine, or remove it"),
        ("wipe",),
    ),
    "log": (
        "tchat.cli.log",
        N_("Show the log of llama.cpp, MCP servers and unexpected errors"),
        (),
    ),
    "doctor": ("tchat.cli.doctor", N_("Check this installation"), ()),
}


# Words of other programs of this kind, and what they are called here; empty if tchat has no such.
FOREIGN_COMMANDS = {
    "aliases": "tchat models alias",
    "chat": "tchat",
    "continue": "tchat -c",
    "cp": "tchat models alias",
    "create": "tchat prompts new",
    "keys": "",
    "list": "tchat models ls",
    "logs": "tchat sessions ls",
    "ls": "tchat models ls",
    "ps": "",
    "pull": "tchat models pull",
    "push": "",
    "resume": "tchat -c",
    "rm": "tchat models rm",
    "run": "tchat -m",
    "search": "tchat models search",
    "serve": "",
    "show": "tchat models show",
    "stop": "",
    "templates": "tchat prompts ls",
    "version": "tchat --version",
}
# Of those the ones that Ollama has: their words are known, with a model behind them.
OLLAMA_COMMANDS = frozenset(
    {"cp", "create", "list", "ls", "ps", "pull", "push", "rm", "run", "serve", "show", "stop"}
)
# Why there is nothing to call instead.
FOREIGN_NOTES = {
    "ps": N_("a model is loaded only while `tchat` runs with it"),
    "serve": N_("`tchat` runs the model itself and needs no server"),
    "stop": N_("a model is freed when `tchat` ends"),
}
_MODEL_PARTS = re.compile(r"[:/._-]")
MODEL_SIGNS = frozenset(":/.0123456789")  # what names of models hold, and few words of prompts


def is_dashed_text(argument: str) -> bool:
    """Whether it is text that begins with dashes, such as a list, and no flag."""
    behind = argument.lstrip("-")
    return behind[:1].isspace() and behind != argument


def help_topic(words: list[str]) -> str:
    """The page of the manual that ``help TOPIC`` asks for; empty if it asks for none."""
    return words[1] if len(words) == 2 and words[0] == "help" and words[1] in TOPICS else ""


def help_arguments(words: list[str]) -> list[str] | None:
    """The arguments meant by ``help``, ``help COMMAND`` or ``help COMMAND SUBCOMMAND``.

    None if ``words`` are anything else, such as a prompt that begins with "help".
    """
    if not words or words[0] != "help" or len(words) > 3:
        return None
    command, subcommand = [*words[1:], "", ""][:2]
    known = not command or command in COMMANDS
    if not known or (subcommand and subcommand not in COMMANDS[command][2]):
        return None
    return [*words[1:], "--help"]


def unknown_command(words: list[str]) -> tuple[str, str] | None:
    """The command that ``words`` call and that does not exist, and a hint; None for a prompt."""
    if not words or words[0] in COMMANDS:
        return None
    if help_call := _unknown_help(words):
        return help_call
    if likely := likely_command(words):
        return (words[0], _suggestion(likely, words[0]))
    foreign = foreign_command(words)
    if foreign is None:
        return None
    note = "" if foreign else FOREIGN_NOTES.get(words[0], "")
    hint = _suggestion(foreign, " ".join(words))
    return (words[0], with_hint(tr(note), hint) if note else hint)


def _suggestion(name: str, prompt: str) -> str:
    if name:
        return tr(
            "did you mean `{name}`? `tchat -- {prompt}` sends it as a prompt",
            name=name,
            prompt=prompt,
        )
    return tr(
        "`tchat --help` lists the commands; `tchat -- {prompt}` sends it as a prompt",
        prompt=prompt,
    )


def _unknown_help(words: list[str]) -> tuple[str, str] | None:
    """The unknown one of ``help NAME`` and ``help COMMAND NAME``."""
    if words[0] != "help" or help_arguments(words) or len(words) > 3:
        return None
    from tchat.settings.keys import nearest

    command, subcommand = [*words[1:], ""][:2]
    if command not in COMMANDS:
        meant = "" if subcommand else OTHER_WORDS.get(command.casefold(), "")
        meant = meant or nearest(command, COMMANDS if subcommand else [*TOPICS, *COMMANDS])
        if subcommand and not (meant and subcommand in COMMANDS[meant][2]):
            return None
        if not meant:
            meant = most_hits(command)
        name, meant = command, f"{meant} {subcommand}".rstrip()
    else:
        near = nearest(subcommand, COMMANDS[command][2])
        name, meant = f"{command} {subcommand}", f"{command} {near}" if near else command
    return (name, _suggestion(meant and f"tchat help {meant}", " ".join(words)))


def foreign_command(words: list[str]) -> str | None:
    """The call for a command of another program; empty if tchat has none, None for a prompt.

    Matches it alone, before one word that is or looks like the name of a model (``pull qwen3:4b``,
    ``run starter``), and before flags with one value (``chat -m qwen3:4b``). What Ollama puts
    behind a name of the form ``NAME:TAG`` is matched too: ``run qwen3:4b "Why?"``.
    """
    name, rest = FOREIGN_COMMANDS.get(words[0]), words[1:]
    if name is None:
        return None
    if call := _ollama_call(words[0], rest):
        return call
    values = [word for word in rest if not word.startswith("-")]
    if words[0] in OLLAMA_COMMANDS and values and all(map(_is_tagged, values)):
        return " ".join([name, *values]) if name else ""
    flags = bool(rest) and rest[0].startswith("-")
    if rest and not (_names_model(rest) or (flags and len(values) <= 1)):
        return None
    return " ".join([name, *rest]) if name else ""


def _ollama_call(command: str, rest: list[str]) -> str:
    """The call for ``run MODEL PROMPT``, ``cp MODEL NAME`` or ``create NAME -f FILE``; else empty.

    These have their words in another order, or need others.
    """
    if len(rest) < 2 or command not in OLLAMA_COMMANDS:
        return ""
    import shlex

    first, *others = rest
    if command == "create" and others[0] in ("-f", "--file"):
        return f"tchat prompts new {first.partition(':')[0]}"
    if not _is_tagged(first):
        return ""
    if command == "run":
        return shlex.join(["tchat", "-m", first, *others])
    if command == "cp" and len(others) == 1:
        return shlex.join(["tchat", "models", "alias", "set", others[0], first])
    return ""


def _is_tagged(word: str) -> bool:
    """Whether it has the form ``NAME:TAG`` of Ollama's models, and of this catalogue's."""
    name, _, tag = word.partition(":")
    return (
        name[:1].isalpha()
        and bool(tag)
        and all(part.isalnum() for part in _MODEL_PARTS.split(word))
    )


def _names_model(words: list[str]) -> bool:
    """Whether they are the name of a model: by its look, of the catalogue, or on this machine."""
    if len(words) != 1 or words[0].startswith("-"):
        return False
    if MODEL_SIGNS & set(words[0]):
        return True
    from tchat.errors import TchatError
    from tchat.models.catalogue import find_entry, sizes_of
    from tchat.models.resolve import resolve
    from tchat.paths import user_paths

    paths = user_paths()
    try:
        if sizes_of(words[0], paths) or find_entry(words[0], paths):
            return True
        resolve(words[0], paths)
    except (TchatError, OSError):
        return False
    return True


def likely_command(words: list[str]) -> str:
    """The command that ``words`` most likely mean; empty for a prompt.

    Matches one short lower-case word, alone or before a subcommand of the command it resembles.
    """
    first = words[0]
    if first in COMMANDS or not (first.isascii() and first.isalpha() and first.islower()):
        return ""
    if len(words) > 1 and not any(words[1] in entry[2] for entry in COMMANDS.values()):
        return ""
    from tchat.settings.keys import nearest

    name = nearest(first, [*COMMANDS, "help"])
    if name == "help":
        return name if len(words) == 1 else ""
    fits = len(words) == 1 or (name and words[1] in COMMANDS[name][2])
    return name if fits else ""
