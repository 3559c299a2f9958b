"""Patterns of commands, such as ``git status*``, matched word by word against argument lists.

A pattern that allows matches exactly what it says: ``git status*`` is the program ``git`` with a
first argument that begins with ``status``, and any more; but no option that writes a file or runs
another program, unless the pattern names it. One that denies also finds the command
behind other programs (``env git``, ``sh -c 'git …'``), under a path, and in other case.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest

from tchat.errors import UsageError
from tchat.sanitize import single_line
from tchat.tools.acting_options import is_acting, names_acting
from tchat.tools.protected_names import folded
from tchat.translation import tr

MAX_WORDS = 50
MAX_DEPTH = 4  # commands in an argument of a command
MAX_PROGRAMS = 4000  # different words that are looked up
MAX_CHARACTERS = 200_000  # of all commands that are looked for in one
# They run what their arguments say, so a pattern for them would allow everything.
INTERPRETERS = frozenset(
    {
        *("awk", "bash", "busybox", "bwrap", "chroot", "csh", "dash", "doas", "docker", "emacs"),
        *("env", "expect", "find", "fish", "gawk", "gdb", "git-shell", "ksh", "lua", "make"),
        *("nice", "node", "nohup", "nsenter", "parallel", "perl", "php", "pkexec", "podman"),
        *("python", "ruby", "script", "setsid", "sh", "socat", "ssh", "stdbuf", "strace", "su"),
        *("sudo", "systemd-run", "tclsh", "time", "timeout", "tmux", "unshare", "vi", "vim"),
        *("watch", "xargs", "zsh", "ed", "ex", "sed", "tar", "npm", "npx", "pip", "uv", "cargo"),
    }
)
# Their first argument says what they do; that of others is what they do it to.
SUBCOMMANDS = frozenset({"brew", "gh", "git", "glab", "hg", "jj", "svn", "systemctl"})
_VERSION = re.compile(r"[\d.]+$")
_WILDCARD = re.compile(r"[*?\[]")
_OPERATORS = re.compile(r"[;&|()<>`\n{}]|\$\(")


def words_of(pattern: str) -> list[str]:
    """The words of a pattern, quoted as for a shell.

    Raises:
        UsageError: It is empty, or a quote is not closed.
    """
    try:
        words = shlex.split(pattern)
    except ValueError:
        words = []
    if not words or len(words) > MAX_WORDS:
        raise UsageError(
            tr("`{pattern}` is no pattern of a command", pattern=single_line(pattern)),
            tr("write one such as `git status*`"),
        )
    return words


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a pattern of a command."""
    try:
        words_of(text)
    except UsageError:
        return False
    return True


def is_allowed(command: Sequence[str], pattern: str) -> bool:
    """Whether a pattern that allows covers ``command``.

    The program must be named as in the pattern. After a last word that ends with ``*`` there may
    be more arguments; otherwise there are as many as words.
    """
    words = words_of(pattern)
    if len(words) == 1 and words[0].endswith("*"):
        words = [words[0][:-1], "*"]
    if not command or words[0] not in (command[0], ""):
        return False
    return _match(command[1:], words[1:]) and not _acts(command, words)


def is_denied(command: Sequence[str], pattern: str) -> bool:
    """Whether a pattern that denies finds its command in ``command``, however it is wrapped.

    It also covers a command that is too long to look for others in it.
    """
    words = [folded(each) for each in words_of(pattern)]
    try:
        return any(_match(each, words, more=True) for each in _Commands().found_in(command))
    except _TooLongError:
        return True


def words_in(command: Sequence[str]) -> set[str]:
    """What may name a file in a command: its words, and those of texts and options in it."""
    found = set(command)
    for word in command:
        for text in (word, word.partition("=")[2]):
            for part in filter(str.strip, _OPERATORS.split(text)):
                found.update((part, *_shell_words(part)))
    return found


def suggested_pattern(command: Sequence[str]) -> str:
    """The pattern that "always with these arguments' pattern" offers; empty where none is safe.

    It keeps the program and a subcommand, so that other subcommands are asked about; of a program
    without subcommands it keeps all.
    """
    if not command or command[0] != _program(command[0]):
        return ""  # another file may lie under that path tomorrow
    if _program(command[0]) in INTERPRETERS or _VERSION.sub("", command[0]) in INTERPRETERS:
        return ""
    has_subcommand = command[0] in SUBCOMMANDS and len(command) > 1 and command[1].isalnum()
    literal = command[:2] if has_subcommand else command
    if any(each in word for word in literal for each in "*?["):
        return ""
    pattern = shlex.join(literal)
    pattern = f"{pattern} *" if has_subcommand else pattern
    return pattern if is_allowed(command, pattern) else ""


def _match(command: Sequence[str], words: Sequence[str], *, more: bool = False) -> bool:
    """Whether each word matches; a last word ``*`` stands for any number of arguments."""
    if words and words[-1] == "*" and len(command) == len(words) - 1:
        words = words[:-1]
    open_end = more or bool(words and words[-1].endswith("*"))
    if len(command) < len(words) or (len(command) > len(words) and not open_end):
        return False
    return all(map(fnmatchcase, command, words))


def _acts(command: Sequence[str], words: Sequence[str]) -> bool:
    """Whether an argument that the pattern does not name writes a file or runs a program."""
    for argument, word in zip_longest(command[1:], words[1 : len(command)], fillvalue="*"):
        if argument == "--":
            return False
        literal = _WILDCARD.split(word)[0]
        if is_acting(command[0], argument) and not names_acting(command[0], literal):
            return True
    return False


class _TooLongError(Exception):
    """There is more in a command than is looked at."""


class _Commands:
    """Finds the beginning of every argument list that a command may run, folded."""

    def __init__(self) -> None:
        self._characters = 0
        self._programs: dict[str, set[str]] = {}

    def found_in(self, command: Sequence[str], depth: int = 0) -> Iterator[list[str]]:
        """The argument lists.

        Raises:
            _TooLongError: They are too long, or one lies too deep in others.
        """
        self._characters += sum(len(word) + 1 for word in command)
        if self._characters > MAX_CHARACTERS:
            raise _TooLongError
        names = [folded(each) for each in command]
        for number, word in enumerate(command):
            rest = names[number + 1 : number + 1 + MAX_WORDS]
            texts = {word}
            if "=" in word:  # `--exec=rm`, `alias.x=!rm`
                texts.add(word.partition("=")[2].lstrip("!"))
            for text in texts:
                for program in self._named(text):
                    yield [program, *rest]
                if _OPERATORS.search(text) or any(map(str.isspace, text)):
                    if depth == MAX_DEPTH:
                        raise _TooLongError
                    for part in filter(str.strip, _OPERATORS.split(text)):
                        yield from self.found_in(_shell_words(part), depth + 1)

    def _named(self, word: str) -> set[str]:
        """The folded names of a program that ``word`` may mean, without the folder."""
        if word not in self._programs:
            if len(self._programs) == MAX_PROGRAMS:
                raise _TooLongError
            found = {_program(word)}
            if word and "\0" not in word and len(word) < 4096:  # links are followed
                found.add(_program(os.path.realpath(shutil.which(word) or word)))
            self._programs[word] = {folded(each) for each in found}
        return self._programs[word]


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.replace("'", " ").replace('"', " ").split()


def _program(word: str) -> str:
    return word.rpartition("/")[2]
