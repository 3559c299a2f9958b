"""What the converters of objects, arrays and texts need of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tchat.engine.grammar.automata import Language, Languages
from tchat.engine.grammar.rules import Expression, Rules
from tchat.engine.grammar.schema_document import Schema, SchemaDocument, Subschema

# Keywords of our own, in parts that stand for the negation of others.
ABSENT, UNEQUAL, UNLIKE = "\0absent", "\0unequal", "\0unlike"


class SchemaConverter(Protocol):
    """Turns schemas into rules."""

    document: SchemaDocument
    rules: Rules
    languages: Languages
    texts: dict[tuple[Language, bool], Expression]  # rules of languages, in strings or not

    def value(self, parts: Sequence[Subschema], name: str) -> Expression:
        """The values that all of ``parts`` allow."""

    def flat(self, parts: Sequence[Subschema]) -> tuple[Subschema, ...] | None:
        """``parts`` with what they refer to and what ``allOf`` adds; None when one is false."""

    def child(self, part: Subschema, schema: Schema) -> Subschema:
        """A schema that stands inside ``part``."""

    def holds(self, part: Subschema, instance: Any) -> bool:
        """Whether an instance is valid by a part."""

    def listed(self, parts: Sequence[Subschema]) -> list[Any] | None:
        """The values that ``const`` and ``enum`` leave; None where neither is there."""

    def mark_unchecked(self, keyword: str) -> None:
        """Name a keyword that the grammar does not hold."""


def all_values(parts: Sequence[Subschema], keyword: str) -> list[Any]:
    """The values of a keyword in those parts that have it."""
    return [part.keywords[keyword] for part in parts if keyword in part.keywords]


def least_of(parts: Sequence[Subschema], keyword: str) -> int:
    """The largest of the counts of a keyword like ``minItems``."""
    return max((int(count) for count in all_values(parts, keyword)), default=0)


def most_of(parts: Sequence[Subschema], keyword: str) -> int | None:
    """The smallest of the counts of a keyword like ``maxItems``."""
    return min((int(count) for count in all_values(parts, keyword)), default=None)


def mapping_of(part: Subschema, keyword: str) -> Mapping[str, Any]:
    """The value of a keyword that holds schemas by name."""
    found = part.keywords.get(keyword)
    return found if isinstance(found, Mapping) else {}
