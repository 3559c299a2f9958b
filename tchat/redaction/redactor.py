"""Replaces personal data and secrets by placeholders, and puts them back.

One `Redactor` serves one chat or export: the same value gets the same placeholder everywhere in it.
Its table stays on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from types import MappingProxyType

from tchat.errors import UsageError
from tchat.redaction.contacts import find_emails, find_phones
from tchat.redaction.identifiers import find_cards, find_ibans, find_person_ids
from tchat.redaction.machines import find_hosts, find_users
from tchat.redaction.postal_addresses import find_postal_addresses
from tchat.redaction.secret_keys import find_secret_keys
from tchat.redaction.sensitive_span import (
    CJK,
    WORD_END,
    WORD_START,
    DataKind,
    Detector,
    SensitiveSpan,
    outside_of,
    without_overlaps,
)
from tchat.translation import tr

# In order of precedence: where two overlap, the earlier one names the placeholder. The user's own
# words come before all of them, but for those that are a part of a longer value.
DETECTORS: Mapping[DataKind, Detector] = MappingProxyType(
    {
        DataKind.KEY: find_secret_keys,
        DataKind.EMAIL: find_emails,
        DataKind.IBAN: find_ibans,
        DataKind.ID: find_person_ids,
        DataKind.CARD: find_cards,
        DataKind.HOST: find_hosts,
        DataKind.PHONE: find_phones,
        DataKind.ADDRESS: find_postal_addresses,
        DataKind.USER: find_users,
    }
)
# Kinds whose values are looked for in other texts, too: they are no words of a language.
_REPEATED_KINDS = frozenset({DataKind.KEY, DataKind.ID, DataKind.PHONE, DataKind.ADDRESS})
_SHORTEST_REPEATED = 6  # characters
PLACEHOLDER = re.compile(r"\[([A-Z]{2,16})_(\d{1,6})\]")
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")  # such as a zero-width space
_WRITTEN = re.compile(r"\\?\[([A-Z]{2,16})\\?_(\d{1,6})\\?\]")  # a model may escape it in Markdown


def require_libraries() -> None:
    """Refuse redaction where the libraries that it needs are not installed.

    Raises:
        UsageError: One is missing.
    """
    from importlib.util import find_spec

    if find_spec("stdnum") is None or find_spec("phonenumbers") is None:
        raise UsageError(
            tr("redaction needs two libraries that are not installed"),
            tr("run: pip install 'tchat[redact]'"),
        )


@dataclass
class Redactor:
    """Replaces what the detectors find, consistently.

    Attributes:
        words: The user's own words, such as names of customers; in any case.
        kinds: What is replaced.
        names: Names that a model guessed, with their kinds.
    """

    words: Collection[str] = ()
    kinds: frozenset[DataKind] = frozenset(DataKind)
    names: Mapping[str, DataKind] = field(default_factory=dict)
    _names: dict[tuple[DataKind, str], str] = field(default_factory=dict)
    _values: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    @property
    def table(self) -> Mapping[str, str]:
        """What each placeholder stands for."""
        return MappingProxyType(self._values)

    def add_table(self, table: Mapping[str, str]) -> None:
        """Go on with placeholders that were given before."""
        for name, value in table.items():
            match = PLACEHOLDER.fullmatch(name)
            if match is not None and match.group(1) in DataKind.__members__:
                kind = DataKind[match.group(1)]
                self._values[name] = value
                self._names.setdefault((kind, _normal(kind, value)), name)

    @property
    def guesses(self) -> int:
        """How many values of the table a model guessed."""
        return sum(kind.is_guess for kind, _ in self._names)

    def is_guess(self, name: str) -> bool:
        """Whether the placeholder ``name`` stands for what a model guessed."""
        return any(kind.is_guess for (kind, _), known in self._names.items() if known == name)

    def reserve(self, text: str) -> None:
        """Give no placeholder that stands in ``text`` already to a value."""
        self._taken.update(match.group() for match in PLACEHOLDER.finditer(text))

    def find(self, text: str) -> list[SensitiveSpan]:
        """What would be replaced, in order of place, without overlaps."""
        return without_overlaps((*self._behind_marks(text), *self._all(text)))

    def redact(self, text: str) -> str:
        """``text`` with placeholders such as ``[EMAIL_1]``.

        Raises:
            UsageError: The libraries that it needs are not installed.
        """
        require_libraries()
        self.reserve(text)
        parts: list[str] = []
        at = 0
        for finding in self.find(text):
            value = text[finding.start : finding.end]
            parts += text[at : finding.start], self._placeholder(finding.kind, value)
            at = finding.end
        return "".join((*parts, text[at:]))

    def restore(self, text: str) -> str:
        """``text``, such as a server's reply, with the values put back."""

        def value(match: re.Match[str]) -> str:
            name, number = match.groups()
            return self._values.get(f"[{name}_{number}]", match.group())

        return _WRITTEN.sub(value, text)

    def _behind_marks(self, text: str) -> Iterator[SensitiveSpan]:
        """What is found once signs that nobody sees are taken out."""
        if _UNSEEN.search(text) is None:
            return
        places = [at for at, sign in enumerate(text) if _UNSEEN.match(sign) is None]
        for each in self._all("".join(text[at] for at in places)):
            yield SensitiveSpan(places[each.start], places[each.end - 1] + 1, each.kind)

    def _all(self, text: str) -> Iterable[SensitiveSpan]:
        found = [
            span for kind, find in DETECTORS.items() if kind in self.kinds for span in find(text)
        ]
        if DataKind.WORD in self.kinds and self.words:
            words = (
                SensitiveSpan(match.start(), match.end(), DataKind.WORD)
                for match in self._own_words.finditer(text)
            )
            yield from outside_of(words, found)
        yield from found
        yield from self._repeated(text, found)
        for name in sorted(self.names, key=len, reverse=True):
            if name in text:
                for match in re.finditer(_as_word(name), text):
                    yield SensitiveSpan(match.start(), match.end(), self.names[name])

    def _repeated(self, text: str, found: Iterable[SensitiveSpan]) -> Iterator[SensitiveSpan]:
        """Where values stand again that only the words beside them tell, such as passwords."""
        values = {
            self._values[name]: kind
            for (kind, _), name in self._names.items()
            if kind in _REPEATED_KINDS
        }
        values |= {
            text[each.start : each.end]: each.kind for each in found if each.kind in _REPEATED_KINDS
        }
        for value, kind in values.items():
            if len(value) >= _SHORTEST_REPEATED and value in text:
                for match in re.finditer(_as_word(value), text):
                    yield SensitiveSpan(match.start(), match.end(), kind)

    @cached_property
    def _own_words(self) -> re.Pattern[str]:
        longest_first = sorted(filter(None, self.words), key=len, reverse=True)
        return re.compile("|".join(map(_as_word, longest_first)), re.IGNORECASE)

    def _placeholder(self, kind: DataKind, value: str) -> str:
        key = kind, _normal(kind, value)
        if key not in self._names:
            numbers = count(1 + sum(other is kind for other, _ in self._names))
            names = (f"[{kind.value}_{number}]" for number in numbers)
            name = next(each for each in names if each not in self._taken | self._values.keys())
            self._names[key], self._values[name] = name, value
        return self._names[key]


def _as_word(text: str) -> str:
    """A pattern of ``text``, which stands alone where its script parts words."""
    escaped = re.escape(text)
    is_parted = re.search(rf"[{CJK}]", text) is None
    return f"{WORD_START}{escaped}{WORD_END}" if is_parted else escaped


def _normal(kind: DataKind, value: str) -> str:
    """What two spellings of one value share."""
    if kind in (DataKind.PHONE, DataKind.IBAN, DataKind.CARD, DataKind.ID):
        return re.sub(r"[^\dA-Za-z+]", "", value).upper()
    # Others are put back as they were: in a path and in a file that a tool writes, case counts.
    return value.casefold() if kind in (DataKind.EMAIL, DataKind.HOST) else value
