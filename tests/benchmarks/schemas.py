"""Schemas as grammars: how many valid instances they accept and invalid ones they refuse.

The official suite's draft 2020-12 (`../shared/data/json-schema-test-suite`), and realistic schemas
of our own. Another collection is measured with ``python -m tests.benchmarks.schemas FOLDER``: JSON
files with ``schema`` and ``tests``, each ``{"data": …, "valid": …}``, or lists of such.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tchat.engine.grammar.gbnf import require_grammar
from tchat.engine.grammar.json_schema import to_gbnf
from tchat.engine.grammar.schema import SchemaDocument, types_of
from tchat.errors import UsageError
from tests.benchmarks.rows import Row
from tests.engine.grammar.accepting import Acceptor
from tests.engine.grammar.realistic import TYPICAL
from tests.engine.grammar.realistic_constructs import COMBINED
from tests.tiny import write_tiny

SUITE = Path(__file__).parents[2].parent / "shared/data/json-schema-test-suite/tests/draft2020-12"
KINDS = {
    dict: {"object"},
    list: {"array"},
    str: {"string"},
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"integer", "number"},
    type(None): {"null"},
}
SILENT = 0.002
REALISTIC_REACH = (0.97, 0.96)
# Its schemas of other documents are refused, and many have keywords that no grammar holds.
SUITE_REACH = (0.88, 0.84)


class Case(NamedTuple):
    """A schema with instances."""

    name: str
    schema: Any
    tests: list[tuple[Any, bool]]


@dataclass
class Tally:
    """What came of the instances of a collection."""

    valid: int = 0
    accepted: int = 0
    invalid: int = 0
    rejected: int = 0
    silent: int = 0  # invalid, accepted, and no keyword was named unchecked
    refused: int = 0  # schemas
    other: int = 0  # valid instances of a type that the schema's keywords do not speak of
    misses: list[str] = field(default_factory=list)

    def shares(self) -> tuple[float, float, float]:
        """Valid accepted, invalid rejected, silently over-permissive."""
        return (
            self.accepted / max(self.valid, 1),
            self.rejected / max(self.invalid, 1),
            self.silent / max(self.invalid, 1),
        )


def suite_cases(folder: Path = SUITE) -> Iterator[Case]:
    """The groups of the official suite."""
    for file in sorted(folder.rglob("*.json")):
        yield from cases_of(file, file.relative_to(folder).as_posix())


def cases_of(file: Path, name: str) -> Iterator[Case]:
    """The cases that a file holds: one, or a list of them."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for case in content if isinstance(content, list) else [content]:
        tests = [(test["data"], bool(test["valid"])) for test in case["tests"]]
        yield Case(f"{name}: {case.get('description', '')}", case["schema"], tests)


def realistic_cases() -> list[Case]:
    """Our own schemas."""
    return [
        Case(
            one.name,
            one.schema,
            [*((data, True) for data in one.valid), *((data, False) for data in one.invalid)],
        )
        for one in (*TYPICAL, *COMBINED)
    ]


def measure(cases: Iterable[Case], accepts: Acceptor) -> Tally:
    """Try every instance on its schema's grammar."""
    tally = Tally()
    for case in cases:
        _measure(case, accepts, tally)
    return tally


def _measure(case: Case, accepts: Acceptor, tally: Tally) -> None:
    kinds: set[str] = set()
    try:
        grammar = to_gbnf(case.schema)
        kinds = _kinds(case.schema)
    except UsageError as error:
        grammar = None
        tally.refused += 1
        tally.misses.append(f"refused  {case.name}: {error}")
    if grammar is not None:
        require_grammar(grammar.text)
    for data, valid in case.tests:
        if valid and grammar is not None and not kinds & KINDS[type(data)]:
            tally.other += 1
            continue
        text = json.dumps(data, ensure_ascii=False)
        taken = grammar is not None and accepts(grammar.text, text)
        said = grammar is not None and bool(grammar.unchecked)
        if valid:
            tally.valid += 1
            tally.accepted += taken
        else:
            tally.invalid += 1
            tally.rejected += not taken
            tally.silent += taken and not said
        if taken != valid and grammar is not None:
            kind = "narrow " if valid else "named  " if said else "SILENT "
            tally.misses.append(f"{kind}  {case.name}: {text[:100]}")


def _kinds(schema: Any) -> set[str]:
    """The types that a schema's keywords speak of: a grammar has no others."""
    document = SchemaDocument(schema)
    parts = {document.root: None}
    waiting = [document.root]
    while waiting:
        part = waiting.pop()
        target = document.reference(part)
        added = [document.child(part, one) for one in part.keywords.get("allOf", ())]
        found = [one for one in (*added, target) if one is not None and one not in parts]
        parts |= dict.fromkeys(found)
        waiting += found
    return set(types_of(list(parts)))


def rows() -> Iterator[Row]:
    """The three shares, of the official suite and of our own schemas."""
    collections = [("realistic schemas", realistic_cases(), REALISTIC_REACH)]
    if SUITE.is_dir():
        collections.append(("the official suite", list(suite_cases()), SUITE_REACH))
    with _acceptor() as accepts:
        for name, cases, reach in collections:
            yield from _rows(name, measure(cases, accepts), reach)


@contextmanager
def _acceptor() -> Iterator[Acceptor]:
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny(Path(folder) / "tiny.gguf")
        with Acceptor(model) as accepts:
            yield accepts


def _rows(name: str, tally: Tally, reach: tuple[float, float]) -> Iterator[Row]:
    valid, invalid = reach
    accepted, rejected, silent = tally.shares()
    yield Row(f"valid instances accepted, {name} ({tally.valid})", f"{accepted:.1%}",
              f">= {valid:.0%}", accepted >= valid)  # fmt: skip
    yield Row(f"invalid instances rejected, {name} ({tally.invalid})", f"{rejected:.1%}",
              f">= {invalid:.0%}", rejected >= invalid)  # fmt: skip
    yield Row(f"invalid accepted without a word, {name}", f"{silent:.2%}",
              f"<= {SILENT:.1%}", silent <= SILENT)  # fmt: skip


def main(folders: list[str]) -> None:
    """Print the shares of each folder and what was missed."""
    with _acceptor() as accepts:
        for folder in map(Path, folders):
            files = sorted(folder.rglob("*.json"))
            cases = (case for file in files for case in cases_of(file, file.name))
            tally = measure(cases, accepts)
            for row in _rows(str(folder), tally, REALISTIC_REACH):
                print(f"{row.what:<84} {row.figure:>10}   {row.reach}")
            print(f"schemas refused: {tally.refused}; of other types: {tally.other}")
            print(*tally.misses, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:] or [str(SUITE)])
