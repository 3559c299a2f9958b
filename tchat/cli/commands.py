"""The table of commands; importing it must not slow start-up."""

from __future__ import annotations

# name: (module, and where it is not `app` the name, of its Typer app; help; subcommands)
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ask": ("tchat.cli.ask_options", "Answer one prompt; same as `tchat PROMPT`", ()),
    "map": ("tchat.cli.map", "Run one prompt over many rows, several at a time", ()),
    "models": (
        "tchat.cli.models",
        "Find, download, check and remove model files",
        (
            *("ls", "catalogue", "search", "show", "pull", "check", "rm", "dupes", "du"),
            *("default", "add", "register", "set", "alias"),
        ),
    ),
    "sessions": (
        "tchat.cli.sessions",
        "List, search, show, rename, export, import and delete saved sessions",
        ("ls", "show", "search", "rename", "rm", "export", "import", "path"),
    ),
    "cache": (
        "tchat.cli.cache",
        "Show and remove KV cache snapshots of sessions",
        ("ls", "prune", "clear"),
    ),
    "config": (
        "tchat.cli.config",
        "Show and change the settings",
        ("show", "get", "set", "unset", "edit", "path"),
    ),
    "prompts": (
        "tchat.cli.prompts",
        "Manage named prompt templates",
        ("ls", "show", "new", "edit", "rm"),
    ),
    "judge": (
        "tchat.cli.judge",
        "Detect human-written replies, learn your preferences, steer the model",
        ("show", "examples", "train", "score", "duel", "use"),
    ),
    "bench": ("tchat.cli.bench", "Benchmark a model on this machine", ()),
    "tune": ("tchat.cli.bench:tune_app", "Find and save the fastest settings of a model", ()),
    "doctor": ("tchat.cli.doctor", "Check this installation", ()),
}


# Words of other programs of this kind, and what they are called here.
FOREIGN_COMMANDS = {
    "list": "models ls",
    "ls": "models ls",
    "pull": "models pull",
    "rm": "models rm",
    "run": "-m",
    "search": "models search",
    "show": "models show",
    "version": "--version",
}
MODEL_SIGNS = frozenset(":/.0123456789")  # what names of models hold, and few words of prompts


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


def foreign_command(words: list[str]) -> str:
    """The equivalent of a command of another program; empty if there is none.

    Matches it alone, or before one word that looks like a model name: ``pull qwen3:4b``.
    """
    name = FOREIGN_COMMANDS.get(words[0], "")
    rest = words[1:]
    fits = not rest or (len(rest) == 1 and bool(MODEL_SIGNS & set(rest[0])))
    return " ".join(["tchat", name, *rest]) if name and fits else ""


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

    name = nearest(first, COMMANDS, cutoff=0.75)
    fits = len(words) == 1 or (name and words[1] in COMMANDS[name][2])
    return name if fits else ""
