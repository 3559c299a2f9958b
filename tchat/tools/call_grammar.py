"""Grammars that hold a call, made from the schemas of the tools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tchat.engine.grammar.json_schema import to_gbnf
from tchat.errors import UsageError
from tchat.tools.argument_grammar import ArgumentRules, literal
from tchat.tools.syntaxes import ArgumentShape, CallShape, Schemas, ToolChoice, envelope_schema

# The words of GBNF: texts and classes, which stay, and names of rules.
_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|([A-Za-z][A-Za-z0-9-]*)')
_SPACE = re.compile(r"^ws ::= .*$", re.MULTILINE)
_LITTLE_SPACE = 'ws ::= "" | " "'  # a model that is unsure fills a file with blanks


@dataclass(frozen=True, slots=True)
class CallGrammars:
    """The grammars of the calls of some tools.

    Attributes:
        schemas: Of the tools' arguments.
        shape: How the model's template writes a call; None where that is not known, and only
            arguments that are JSON can be held.
        ends: Texts of the tokens that end a reply, which no grammar can hold.
    """

    schemas: Schemas
    shape: CallShape | ArgumentShape | None = None
    ends: tuple[str, ...] = ()

    def call(self, choice: ToolChoice) -> str:
        """GBNF of one call of a tool that may be chosen; empty where none can be made.

        Where the model may answer instead, it need not hold all of the call: of a tool whose
        arguments cannot be held it holds the name.
        """
        names = [name for name in self.schemas if name in (choice.names or self.schemas)]
        if isinstance(self.shape, CallShape):
            parts = []
            for name in names:
                before, behind = self.shape.around(name)
                parts.append((before, self._before_end(behind), self.schemas[name]))
            return "\n".join(_alternatives(parts))
        if self.shape is None:
            return ""
        return self._with_arguments_apart(self.shape, names, whole=not choice.may_answer)

    def _with_arguments_apart(
        self, shape: ArgumentShape, names: Sequence[str], *, whole: bool
    ) -> str:
        apart = ArgumentRules(shape, self._before_end(shape.behind), _value_rules)
        root = "root ::= " + " | ".join(f"tool{number}-root" for number in range(len(names)))
        rules = [root]
        for number, name in enumerate(names):
            prefix = f"tool{number}-"
            call = apart.call(name, self.schemas[name], prefix)
            if call is None and whole:
                return ""
            rules += call or apart.head(name, prefix)
        return "\n".join(rules)

    def _before_end(self, text: str) -> str:
        starts = (text.find(end) for end in self.ends if end)
        return text[: min((start for start in starts if start >= 0), default=len(text))]

    def arguments(self, name: str) -> str:
        """GBNF of the arguments of the tool ``name``; empty where there is none."""
        return _grammar(_as_text(self.schemas[name])) if name in self.schemas else ""


def holdable(schemas: Schemas) -> dict[str, Mapping[str, Any]]:
    """The schemas; in the place of one that no grammar can hold, that of any object.

    Arguments are checked against the tool's own schema before it runs.
    """
    return {name: schema if _has_grammar(schema) else {} for name, schema in schemas.items()}


def _has_grammar(schema: Mapping[str, Any]) -> bool:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
        _grammar(_as_text(schema))
    except (SchemaError, UsageError, RecursionError):
        return False
    return True


def envelope_grammar(schemas: Schemas, choice: ToolChoice) -> str:
    """GBNF of a reply in the envelope.

    Raises:
        UsageError: A schema allows nothing, or is too large.
    """
    return _grammar(_as_text(envelope_schema(schemas, choice)))


def _alternatives(parts: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Iterator[str]:
    """Rules for one of several texts with arguments in them."""
    yield "root ::= " + " | ".join(f"call-{number}" for number in range(len(parts)))
    for number, (before, behind, schema) in enumerate(parts):
        texts = (literal(before), f"tool{number}-root", literal(behind))
        yield f"call-{number} ::= {' '.join(filter(None, texts))}"
        yield _renamed(_grammar(_as_text(schema)), f"tool{number}-")


def _value_rules(schema: Mapping[str, Any], prefix: str) -> str:
    return _renamed(_grammar(_as_text(schema)), prefix)


def _renamed(grammar: str, prefix: str) -> str:
    """A grammar whose rules have other names."""
    return _WORD.sub(lambda word: prefix + word[1] if word[1] else word[0], grammar)


def _as_text(schema: Mapping[str, Any]) -> str:
    return json.dumps(dict(schema) or {"type": "object"})


@lru_cache(maxsize=64)
def _grammar(schema: str) -> str:
    return _SPACE.sub(_LITTLE_SPACE, to_gbnf(json.loads(schema)).text)
