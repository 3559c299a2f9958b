"""What an importer is made of, and the count of what it had to leave out."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from tchat.sessions.formats.format import Messages
from tchat.sessions.json_reader import JsonReader
from tchat.sessions.records import Session
from tchat.translation import NN_, joined, tr, trn

Sessions: TypeAlias = Iterator[tuple[Session, Messages]]


class Omission(Enum):
    """What tchat cannot represent: its name for one and for several, both marked."""

    IMAGE = NN_("{count:,} image", "{count:,} images")
    FILE = NN_("{count:,} attached file", "{count:,} attached files")
    AUDIO = NN_("{count:,} recording", "{count:,} recordings")
    HIDDEN = NN_("{count:,} hidden message", "{count:,} hidden messages")
    CITATION = NN_("{count:,} citation mark", "{count:,} citation marks")
    OTHER = NN_("{count:,} part of another kind", "{count:,} parts of other kinds")
    EMPTY = NN_("{count:,} empty chat", "{count:,} empty chats")
    CHAT = NN_(
        "{count:,} chat that could not be read",
        "{count:,} chats that could not be read",
    )
    DOCUMENT = NN_(
        "{count:,} file of the archive that holds no chats",
        "{count:,} files of the archive that hold no chats",
    )


class Changed(Enum):
    """What is there in another form than it was."""

    LINK = NN_(
        "{count:,} message without its parent begins a branch of its own",
        "{count:,} messages without their parents begin branches of their own",
    )


@dataclass(slots=True)
class ImportReport:
    """What an import met, by kind; ``programs`` counts the chats that each program wrote."""

    left_out: Counter[Omission] = field(default_factory=Counter)
    changed: Counter[Changed] = field(default_factory=Counter)
    programs: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """Each kind as a text for the user, with its count."""
        kinds = [trn(*kind.value, count) for kind, count in self.left_out.items() if count]
        if kinds:
            yield tr("left out: {kinds}", kinds=joined(kinds))
        for changed, count in self.changed.items():
            yield trn(*changed.value, count)


@dataclass(frozen=True, slots=True)
class Outline:
    """The beginning of a JSON document: what opens it, and the members of its first object.

    A member is there with the first character of its value. The first object is the document, or
    the first item of the array that it is.
    """

    opening: str
    members: Mapping[str, str]

    def has(self, **members: str) -> bool:
        """Whether the first object has these members, each with a value that begins so."""
        return all(self.members.get(name, "") in begins for name, begins in members.items()) and (
            self.members.keys() >= members.keys()
        )


def outline(head: str) -> Outline:
    """The outline of the document that begins with ``head``; an empty one if it is no JSON."""
    reader = JsonReader((head,))
    members: dict[str, str] = {}
    opening = ""
    try:
        opening = reader.peek()
        if opening == "[":
            next(reader.items())
        if opening in ("[", "{") and reader.peek() == "{":
            for name in reader.members():
                members[name] = reader.peek()
                reader.value()
    except (ValueError, StopIteration):  # it goes on behind ``head``
        pass
    return Outline(opening, members)


@dataclass(frozen=True, slots=True)
class TextImporter:
    """Reads the chats of one program from text.

    ``matches`` tells a document by its beginning, and by the outline of that where it is JSON.
    ``read`` takes a document in pieces and gives its sessions, each with its messages, which are
    read before the next session. It raises `UsageError` and `ValueError`, the latter for what is no
    JSON.
    """

    name: str
    matches: Callable[[str, Outline], bool]
    read: Callable[[Iterable[str], ImportReport], Sessions]


@dataclass(frozen=True, slots=True)
class DatabaseImporter:
    """Reads the chats of one program from its SQLite database.

    ``matches`` tells it by the names of its tables, ``columns`` by table.
    """

    name: str
    matches: Callable[[Mapping[str, Set[str]]], bool]
    read: Callable[[sqlite3.Connection, Mapping[str, Set[str]], ImportReport], Sessions]


Importer: TypeAlias = TextImporter | DatabaseImporter
