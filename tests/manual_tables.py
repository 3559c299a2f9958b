"""The manual's pages of keys, commands, flags and settings, made from the code.

``python -m tests.manual_tables`` writes them; `tests/test_docs.py` compares.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import click

from tchat.cli.app import load_command
from tchat.cli.commands import COMMANDS
from tchat.cli.map.shard import MERGE, MERGE_HELP
from tchat.cli.setting_options import SettingOption
from tchat.manual import FOLDER
from tchat.models.models_file import MODEL_SETTINGS
from tchat.settings import Key, former_names, keys
from tchat.settings.keys import SECTIONS
from tchat.tui.keymap import ALL_BINDINGS
from tchat.tui.keys import Scope

COMMANDS_TEXT = """\
# Commands, flags and exit codes

| Command | What it does |
|---|---|
| `tchat "prompt"` | Answer one prompt; words need no quotes |
| `cmd \\| tchat "prompt"`, `tchat < file` | Answer piped input, followed by the prompt |
| `tchat` | Open the chat screen |
| `tchat -- word` | Send a prompt that looks like a command |
| `tchat --version`, `tchat --help`, `tchat help COMMAND` | Print the version or help |
| `tchat help TOPIC` | Open a page of the manual |
| `tchat --unlock-fd N …` | Unlock an encrypted store with the passphrase on descriptor N |
| `tchat --install-completion`, `tchat --show-completion` | Completion for bash, zsh and fish |
{commands}

Lists are printed as columns on a terminal, tab-separated in a pipe, and as JSON with `--json`.
In a pipe and as JSON they are in English in every language, `doctor` and `config show` too, so
that scripts read the same everywhere.

Flags of a prompt, in addition to those of the [settings](settings.md):

| Flag | Meaning |
|---|---|
{flags}

Exit codes: 0 success, 1 unexpected error, 2 usage, 3 model missing or invalid, 4 does not fit
(memory or context), 5 network, 6 storage or a locked store, 7 without a terminal a call of a tool
was refused (the answer is printed all the same), 130 Ctrl-C, 141 closed pipe, 143 terminated.
`--yes-no` exits with 0 for yes, 1 for no, 2 for unsure.
"""

SETTINGS_TEXT = """\
# Settings

A flag overrides the environment variable `TCHAT_<NAME>` (for example `TCHAT_TEMP=0.2`), which
overrides `config.toml`, which overrides the default. `tchat config show` lists all settings and
where each value comes from; `tchat config set temp 0.2` saves one and keeps your comments;
`-o NAME VALUE` sets any of them for one call. `TCHAT_HOME` moves everything that tchat stores.

Sampling that the model recommends overrides the default: what its file says
(`general.sampling.*`), and over it what the catalogue says. `config.toml` overrides both, the
settings of one model override `config.toml`, then come those of the session.
`tchat config show -m MODEL` shows the result.

A reply that begins to repeat itself is stopped, and kept without the repetition: `/continue` goes
on with it, `/regen dry` tries again with a repetition penalty. `loop_guard = false` in
`[sampling]`, or `--no-loop-guard`, lets replies repeat themselves.

`tchat models set MODEL NAME VALUE` saves a setting of one model; without VALUE it removes it:
{model}.

{former}
`tchat config set` with the new name replaces the former one in `config.toml`. Former names of
themes work too: `nord-like` is now `nord`.

At the top of `config.toml`:

{plain}

In the table `[sampling]`:

{sampling}

In the table `[tools]`, without the `tools.` of their names, see [Tools](tools.md):

{tools}
"""


KEYS_TEXT = """\
# Keys of the chat screen

`Ctrl+X m` is Ctrl+X, then `m`: Ctrl+X is the leader key, which shows the keys that can follow, and
cuts where text is selected. `[keys]` in `config.toml` changes keys; a key that you give to
one action is taken from the other:

```toml
[keys]
chat.sessions = "ctrl+s"
chat.theme = "f4,leader t"
prompt.newline = "ctrl+l,shift+enter"
```

`tchat config set keymap vim` gives the prompt Vim's modes, `emacs` the keys of Emacs. In Vim's
normal mode and an empty prompt, `j` and `k` go to the messages, `/` finds text there, and `:`
begins a command. `:q` and Enter quit in every mode.

{tables}
"""


def commands_page() -> str:
    """The page of commands, flags of a prompt and exit codes."""
    rows = [row for name in COMMANDS for row in _command_rows(name)]
    return COMMANDS_TEXT.format(commands="\n".join(rows), flags="\n".join(_flag_rows()))


def settings_page() -> str:
    """The page of settings."""
    tables = {
        section: _settings_table(key for key in keys().values() if key.section == section)
        for section in ("", *SECTIONS)
    }
    model = textwrap.fill(", ".join(f"`{name}`" for name in MODEL_SETTINGS), 100)
    renamed = sorted(former_names().items())
    former = textwrap.fill(
        "Former names of settings, flags and variables still work, with a notice: "
        + ", ".join(f"`{name}` is now `{key.name}`" for name, key in renamed)
        + ".",
        100,
    )
    return SETTINGS_TEXT.format(
        plain=tables[""],
        sampling=tables["sampling"],
        tools=tables["tools"],
        model=model,
        former=former,
    )


def keys_page() -> str:
    """The page of keys."""
    return KEYS_TEXT.format(
        tables="\n\n".join(map(_keys_table, (Scope.CHAT, Scope.PROMPT, Scope.MESSAGES)))
    )


def _keys_table(scope: Scope) -> str:
    rows = [f"{scope}:\n", "| Keys | Action | Name in `[keys]` |", "|---|---|---|"]
    for action in ALL_BINDINGS:
        if action.scope == scope:
            keys = ", ".join(key.replace("|", "\\|") for key in action.shown_keys[:3])
            rows.append(f"| {keys} | {action.help} | `{action.id}` |")
    return "\n".join(rows)


def unwrapped(text: str) -> str:
    """``text`` with one line a paragraph: a terminal breaks it, and none is broken twice."""
    lines: list[str] = []
    in_code = False
    for line in text.splitlines():
        is_fence = line.startswith("```")
        if lines and not (in_code or is_fence) and _continues(lines[-1], line):
            lines[-1] = f"{lines[-1]} {line.strip()}"
        else:
            lines.append(line)
        in_code ^= is_fence
    return "\n".join(lines) + "\n"


def _continues(above: str, line: str) -> bool:
    is_own = not line or line.startswith(("#", "|", "- ", "* ", ">", "!["))
    return not is_own and bool(above) and not above.startswith(("#", "|", "```", "!["))


def generated() -> Sequence[tuple[str, str]]:
    """Topic and text of each page that is made from the code."""
    return (
        ("keys", unwrapped(keys_page())),
        ("commands", unwrapped(commands_page())),
        ("settings", unwrapped(settings_page())),
    )


def write() -> None:
    """Write the pages."""
    for topic, text in generated():
        (FOLDER / f"{topic}.md").write_text(text, encoding="utf-8")


def _command_rows(name: str) -> Iterable[str]:
    command = load_command(name)
    if not isinstance(command, click.Group):
        yield _row(f"`tchat {name}`", COMMANDS[name][1])
        if name == "map":
            yield _row(f"`tchat map {MERGE}`", MERGE_HELP.partition(".")[0])
        return
    for child, subcommand in command.commands.items():
        if subcommand.hidden:  # a former name
            continue
        yield _row(f"`tchat {name} {child}`", subcommand.get_short_help_str(200).rstrip("."))


def _flag_rows() -> Iterable[str]:
    for param in load_command("ask").params:
        if isinstance(param, click.Option) and not isinstance(param, SettingOption):
            flags = ", ".join(f"`{flag}`" for flag in (*param.opts, *param.secondary_opts))
            value = "" if param.is_flag else f" {param.metavar}".replace("|", " or ")
            yield _row(flags + value, param.help or "")


def _settings_table(listed: Iterable[Key]) -> str:
    rows = ["| Name | Flag | Default | Meaning |", "|---|---|---|---|"]
    for key in listed:
        flags = ", ".join(f"`{flag}`" for flag in key.flags)
        rows.append(_row(f"`{key.name}`", flags, _default(key), f"{key.help}{_limits(key)}"))
    return "\n".join(rows)


def _default(key: Key) -> str:
    if key.default in ("", ()):
        return ""
    return f"`{str(key.default).lower() if key.kind is bool else key.default}`"


def _limits(key: Key) -> str:
    if key.choices:
        return ": " + ", ".join(f"`{choice}`" for choice in key.choices)
    return ""


def _row(*texts: str) -> str:
    cells: Sequence[str] = [text.replace("|", "\\|") for text in texts]
    return f"| {' | '.join(cells)} |".replace("  |", " |")


if __name__ == "__main__":
    write()
