"""Every kind of file that tchat writes into its folders: where it is, and how it is encrypted.

The one list of them: for converting a store, for `tchat privacy`, for wiping and for permissions.
A file that it does not name is not touched: `TCHAT_HOME` may be a folder with other files in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from fnmatch import fnmatchcase

from tchat.private_files import BESIDE
from tchat.translation import N_


class Content(StrEnum):
    """What a kind of file holds."""

    WORDS = "words"  # of chats, and what comes of them
    FACTS = "facts"  # about models and this machine; no words
    KEYS = "keys"
    CONFIGURATION = "configuration"  # written by the user


class Form(Enum):
    """How a file is encrypted."""

    DATABASE = auto()  # by SQLCipher
    WHOLE = auto()
    LINES = auto()  # each line for itself
    PIECES = auto()  # as lines, whose texts hold their own ends
    REMOVED = auto()  # not at all: it can be made again


@dataclass(frozen=True, slots=True)
class EncryptedFiles:
    """Files of a kind that are encrypted in the same way.

    Attributes:
        title: What the user calls them.
        form: How they are encrypted.
        patterns: Their paths below the folder of the kind.
        purpose: As of `StoredFile`.
    """

    title: str
    form: Form
    patterns: tuple[str, ...]
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class StoredKind:
    """One kind of file.

    Attributes:
        name: In JSON.
        title: For people.
        content: What it holds.
        patterns: Names in its folder; a folder counts with all that is in it.
        is_cache: Whether the folder is that of the cache.
        encrypted: What of it is encrypted.
    """

    name: str
    title: str
    content: Content
    patterns: tuple[str, ...]
    is_cache: bool = False
    encrypted: tuple[EncryptedFiles, ...] = ()


_DATABASE = tuple(f"sessions.db{suffix}" for suffix in BESIDE)
_MODELS = tuple(f"models.db{suffix}" for suffix in BESIDE)
_JUDGE, _EGRESS, _UNDO = "judge", "egress log", "undo"  # purposes
HEADS = ("human.npz", "reading.npz", "preference.npz")
_GAME = ("game.npz", "report.md")

# A file belongs to the first that names it.
KINDS: Sequence[StoredKind] = (
    StoredKind(
        "sessions",
        N_("sessions"),
        Content.WORDS,
        (*_DATABASE, "sessions.db.writers", "drafts*"),
        encrypted=(EncryptedFiles(N_("sessions"), Form.DATABASE, ("sessions.db",)),),
    ),
    # Converted with the database.
    StoredKind("backups", N_("backups of the sessions"), Content.WORDS, ("sessions.db.*",)),
    StoredKind(
        "prompts",
        N_("typed prompts"),
        Content.WORDS,
        ("history*",),
        encrypted=(
            EncryptedFiles(N_("earlier prompts"), Form.LINES, ("history.jsonl",), "prompt history"),
            EncryptedFiles(N_("typed lines"), Form.WHOLE, ("history",), "typed lines"),
        ),
    ),
    StoredKind(
        "snapshots",
        N_("snapshots"),
        Content.WORDS,
        ("snapshots",),
        is_cache=True,
        encrypted=(
            EncryptedFiles(
                N_("snapshots"),
                Form.REMOVED,
                ("snapshots/index.db*", "snapshots/*.kv", "snapshots/*.part"),
            ),
        ),
    ),
    StoredKind(
        "judge",
        N_("judge"),
        Content.WORDS,
        ("judge",),
        encrypted=(
            EncryptedFiles(
                N_("replies for the judge"), Form.LINES, ("judge/*/generations.jsonl",), _JUDGE
            ),
            EncryptedFiles(
                N_("judges"),
                Form.WHOLE,
                (
                    *(f"judge/*/{name}" for name in HEADS),
                    *(f"judge/*/games/*/{name}" for name in _GAME),
                ),
                _JUDGE,
            ),
        ),
    ),
    StoredKind(
        "tool-log",
        N_("tool log"),
        Content.WORDS,
        ("tool-log.jsonl*",),
        encrypted=(
            EncryptedFiles(
                N_("calls of tools"), Form.LINES, ("tool-log.jsonl", "tool-log.jsonl.1"), "tool log"
            ),
        ),
    ),
    StoredKind(
        "undo",
        N_("files before tools changed them"),
        Content.WORDS,
        ("tool-undo",),
        encrypted=(
            EncryptedFiles(
                N_("files before tools changed them"),
                Form.WHOLE,
                ("tool-undo/changes.jsonl", "tool-undo/*.before"),
                _UNDO,
            ),
        ),
    ),
    StoredKind(
        "egress",
        N_("egress log"),
        Content.WORDS,
        ("egress*",),
        encrypted=(
            EncryptedFiles(
                N_("log of what left"), Form.LINES, ("egress.jsonl", "egress.jsonl.1"), _EGRESS
            ),
            EncryptedFiles(N_("hosts"), Form.WHOLE, ("egress-hosts.json",), _EGRESS),
        ),
    ),
    StoredKind(
        "log",
        N_("log"),
        Content.WORDS,
        ("tchat.log*",),
        is_cache=True,
        encrypted=(EncryptedFiles(N_("log"), Form.PIECES, ("tchat.log",), "log"),),
    ),
    StoredKind(
        "palette",
        N_("palette"),
        Content.WORDS,
        ("palette.json*",),
        is_cache=True,
        encrypted=(EncryptedFiles(N_("palette"), Form.WHOLE, ("palette.json",), "palette"),),
    ),
    StoredKind(
        "keys",
        N_("keys"),
        Content.KEYS,
        ("snapshot.key", "lock.json*", "lock-tries*"),
        encrypted=(EncryptedFiles(N_("snapshots"), Form.REMOVED, ("snapshot.key",)),),
    ),
    StoredKind(
        "facts",
        N_("facts about models"),
        Content.FACTS,
        (*_MODELS, "better-model-suggested", "rpc", "ray-models"),
        is_cache=True,
    ),
    StoredKind(
        "configuration",
        N_("configuration"),
        Content.CONFIGURATION,
        (
            *("config.toml", "models.toml", "catalogue.toml", "mcp.json"),
            *("prompts", "themes", "tools"),
        ),
    ),
)


def kind_of(name: str, *, is_cache: bool) -> StoredKind | None:
    """The kind of the file ``name`` in the folder of the configuration or the cache.

    What a kill left of writing a file is of the kind of that; None for what is not tchat's.
    """
    from tchat.encryption.replacing import leftover_target

    name = leftover_target(name) or name
    return next((each for each in KINDS if each.is_cache == is_cache and _names(each, name)), None)


def _names(kind: StoredKind, name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in kind.patterns)
