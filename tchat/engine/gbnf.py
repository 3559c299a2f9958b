"""JSON Schema as GBNF, the grammar that llama.cpp samples by.

Own code, since llama-cpp-python's converter lets raw newlines into strings (no JSON), spells
constants in \\u escapes, mixes up definitions of the same name and drops keywords without a word.

A grammar narrows what a model may write; it need not say all. Keywords that it does not say are
listed as unchecked: the reply is validated against the schema afterwards.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tchat.engine.digits import integers
from tchat.engine.patterns import DOT, PatternUnsupported, literal, pattern_to_gbnf
from tchat.engine.subschemas import HINTS, SAID, Schema, all_of, target_of
from tchat.errors import UsageError

_MAX_REPEAT = 1000  # llama.cpp refuses more than 2,000 rules from one repetition
_PRIMITIVES = {
    # At most one line break at a time, or a small model writes nothing else.
    "ws": r'| " " | "\n" [ \t]{0,20}',
    "char": r'[^"\\\x00-\x1F\x7F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4})',
    DOT: r'[^"\\\x00-\x1F\x7F] | "\\" ["\\/]',
    "string": r'"\"" char* "\""',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": r'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    "positive": r'("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "object": '"{" ws (pair ("," ws pair)*)? "}"',
    "pair": 'string ws ":" ws value ws',
    "array": '"[" ws (value ws ("," ws value ws)*)? "]"',
    "value": "object | array | string | number | boolean | null",
    "date": '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])',
    "time": (
        '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})?'
        ' ("Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
    ),
    "date-time": 'date "T" time',
    "uuid": '[0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12}',
}
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_FORMATS = ("date", "time", "date-time", "uuid")
_UNSAID = (
    *("not", "if", "then", "else", "multipleOf", "contains", "minContains", "maxContains"),
    *("uniqueItems", "patternProperties", "propertyNames", "minProperties", "maxProperties"),
    *("dependentRequired", "dependentSchemas", "dependencies"),
    *("unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"),
)


@dataclass(frozen=True, slots=True)
class SchemaGrammar:
    """A grammar, and the keywords of the schema that it does not enforce."""

    text: str
    unchecked: tuple[str, ...]


def to_gbnf(schema: Schema) -> SchemaGrammar:
    """The grammar of JSON texts that a schema allows.

    Objects have the properties that the schema names, in its order; others only where it says
    ``additionalProperties``.

    Raises:
        UsageError: The schema allows nothing, refers to what is not there, or never ends.
    """
    converter = _Converter(schema)
    try:
        converter.rules["root"] = converter.visit(schema, "root")
        endless = any(_leads_back(converter.rules, name) for name in converter.rules)
    except RecursionError:
        endless = True
    if endless:
        raise UsageError(
            "the JSON schema refers to itself without end",
            "every loop of $ref needs a property or an item on the way",
        )
    return SchemaGrammar(converter.text(), tuple(sorted(converter.unchecked)))


class _Converter:
    """Walks a schema; every visit returns an expression and adds the rules it needs."""

    def __init__(self, root: Schema) -> None:
        self.rules: dict[str, str] = {}
        self.unchecked: set[str] = set()
        self._root = root
        self._refs: dict[str, str] = {}

    def text(self) -> str:
        """The rules and those primitives that they use."""
        needed = dict(self.rules)
        waiting = list(self.rules.values())
        while waiting:
            for word in re.findall(r"[a-z][a-z-]*", _without_literals(waiting.pop())):
                if word in _PRIMITIVES and word not in needed:
                    needed[word] = _PRIMITIVES[word]
                    waiting.append(_PRIMITIVES[word])
        return "".join(f"{name} ::= {body}\n" for name, body in needed.items())

    def visit(self, schema: Schema, name: str) -> str:
        """The expression for ``schema``; ``name`` is where it stands, for readable rules."""
        if isinstance(schema, bool):
            if not schema:
                raise UsageError("the JSON schema allows nothing (false)", "remove that part")
            return "value"
        self.unchecked.update(key for key in _UNSAID if key in schema)
        visits: dict[str, Callable[[Mapping[str, Any], str], str]] = {
            "$ref": self._ref,
            "const": lambda part, _: _json(part["const"]),
            "enum": lambda part, _: _choice(_json(value) for value in part["enum"]),
            "allOf": lambda part, at: self.visit(all_of(self._root, part, self.unchecked), at),
            "anyOf": self._any_of,
            "oneOf": self._any_of,
        }
        visit = next((visits[key] for key in visits if key in schema), self._typed)
        return visit(schema, name)

    def _typed(self, schema: Mapping[str, Any], name: str) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            branches = ({**schema, "type": one} for one in kind)
            return _choice(self.visit(one, f"{name}-{one['type']}") for one in branches)
        if kind is None:
            hinted = (hint for hint, keys in HINTS.items() if any(key in schema for key in keys))
            kind = next(hinted, None)
        visits: dict[str | None, Callable[[Mapping[str, Any], str], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
        }
        visit = visits.get(kind)
        return visit(schema, name) if visit else str(kind or "value")

    def _add(self, name: str, body: str) -> str:
        """Add a rule under a free name like ``name``."""
        free = self._free(name)
        self.rules[free] = body
        return free

    def _free(self, name: str) -> str:
        base = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")
        free, count = base, 1
        while free in self.rules or free in _PRIMITIVES or free == "root":
            count += 1
            free = f"{base}-{count}"
        return free

    # References and combinations

    def _ref(self, schema: Mapping[str, Any], name: str) -> str:
        reference = schema["$ref"]
        target = target_of(self._root, reference)
        siblings = {key: value for key, value in schema.items() if key in SAID and key != "$ref"}
        if siblings:
            return self.visit({"allOf": [target, siblings]}, name)
        if reference not in self._refs:
            rule = self._free("ref-" + reference.rpartition("/")[2])
            self._refs[reference] = rule
            self.rules[rule] = ""  # taken while its own definition may refer to it
            self.rules[rule] = self.visit(target, rule)
        return self._refs[reference]

    def _any_of(self, schema: Mapping[str, Any], name: str) -> str:
        key = "anyOf" if "anyOf" in schema else "oneOf"
        shared = {other: value for other, value in schema.items() if other != key}
        constrains = any(other in SAID for other in shared)
        branches = (
            self.visit({"allOf": [branch, shared]} if constrains else branch, f"{name}-{number}")
            for number, branch in enumerate(schema[key], 1)
        )
        return _choice(branches)

    # Objects and arrays

    def _object(self, schema: Mapping[str, Any], name: str) -> str:
        properties: dict[str, Schema] = dict(schema.get("properties", {}))
        extra: Schema = schema.get("additionalProperties", not properties)
        required = [str(key) for key in schema.get("required", ())]
        for key in required:
            properties.setdefault(key, extra if extra is not False else True)
        if not properties and extra is True:
            return "object"
        pairs = [
            (self._pair(key, value, name), key in required) for key, value in properties.items()
        ]
        others = self._others(extra, name) if extra is not False else ""
        return self._add(name, f'"{{" ws {self._members(pairs, others, name)} "}}"')

    def _pair(self, key: str, schema: Schema, name: str) -> str:
        value = self.visit(schema, f"{name}-{key}")
        return self._add(f"{name}-{key}-pair", f'{_json(key)} ws ":" ws {_grouped(value)} ws')

    def _others(self, schema: Schema, name: str) -> str:
        if schema is True:
            return "pair"
        value = self.visit(schema, f"{name}-other")
        return self._add(f"{name}-other-pair", f'string ws ":" ws {_grouped(value)} ws')

    def _members(self, pairs: Sequence[tuple[str, bool]], others: str, name: str) -> str:
        """Pairs in their order with commas between, the optional ones present or not."""
        tail = f'("," ws {others})*' if others else ""
        head = f"({others} {tail})?" if others else ""
        for number, (pair, required) in reversed(list(enumerate(pairs, 1))):
            first = f"{pair} {tail}".strip()
            optional = f"({first} | {head})" if head else f"({first})?"
            head = first if required else optional
            this = f'"," ws {pair}' if required else f'("," ws {pair})?'
            # Named, since every optional pair before this one may be the first.
            tail = self._add(f"{name}-rest-{number}", f"{this} {tail}".strip())
        return head

    def _array(self, schema: Mapping[str, Any], name: str) -> str:
        first = schema.get("prefixItems", [])
        items: Schema = schema.get("items", not first)
        if isinstance(items, list):  # drafts before 2020-12
            first, items = items, schema.get("additionalItems", False)
        fixed = [
            f"{_grouped(self.visit(item, f'{name}-{number}'))} ws"
            for number, item in enumerate(first, 1)
        ]
        least = max(self._count(schema, "minItems") or 0, len(fixed)) - len(fixed)
        most = self._count(schema, "maxItems")
        most = None if most is None else max(most - len(fixed), 0)
        more = ""
        if items is not False and most != 0:
            item = self._add(f"{name}-item", f"{_grouped(self.visit(items, f'{name}-of'))} ws")
            more = self._repeated(item, least, most, after=bool(fixed), name=name)
        body = " ".join(filter(None, ['"," ws '.join(fixed), more]))
        return self._add(name, f'"[" ws {body} "]"')

    def _repeated(self, item: str, least: int, most: int | None, *, after: bool, name: str) -> str:
        """``item`` so many times with commas between; ``after`` others, or as the first."""
        following = self._add(f"{name}-next", f'"," ws {item}')
        if after:
            return following + _times(least, most)
        top = None if most is None else most - 1
        listed = f"{item} {following}{_times(max(least - 1, 0), top)}"
        return listed if least else f"({listed})?"

    def _count(self, schema: Mapping[str, Any], key: str) -> int | None:
        """A count that a repetition can say; None when there is none."""
        if key not in schema:
            return None
        count = int(schema[key])
        if count <= _MAX_REPEAT:
            return count
        self.unchecked.add(key)
        return None

    # Strings and numbers

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        least, most = self._count(schema, "minLength"), self._count(schema, "maxLength")
        form = schema.get("format")
        lengths = [key for key in ("minLength", "maxLength") if key in schema]
        if "pattern" in schema:
            try:
                body = pattern_to_gbnf(schema["pattern"])
            except PatternUnsupported:
                self.unchecked.add("pattern")
            else:
                self.unchecked.update(lengths)
                return self._add(name, rf'"\"" {_grouped(body)} "\""')
        if form in _FORMATS:
            self.unchecked.update(lengths)
            return self._add(name, rf'"\"" {form} "\""')
        if form is not None:
            self.unchecked.add(f"format ({form})")
        if least is None and most is None:
            return "string"
        return self._add(name, rf'"\"" char{_times(least or 0, most)} "\""')

    def _integer(self, schema: Mapping[str, Any], name: str) -> str:
        lows = [math.ceil(schema["minimum"])] if "minimum" in schema else []
        highs = [math.floor(schema["maximum"])] if "maximum" in schema else []
        if not isinstance(schema.get("exclusiveMinimum", False), bool):
            lows.append(math.floor(schema["exclusiveMinimum"]) + 1)
        if not isinstance(schema.get("exclusiveMaximum", False), bool):
            highs.append(math.ceil(schema["exclusiveMaximum"]) - 1)
        if not lows and not highs:
            return "integer"
        low, high = max(lows, default=None), min(highs, default=None)
        if low is not None and high is not None and low > high:
            raise UsageError(f"the JSON schema allows no integer from {low} to {high}", "")
        return self._add(name, integers(low, high))

    def _number(self, schema: Mapping[str, Any], _: str) -> str:
        bounds = [key for key in HINTS["number"][:4] if key in schema]
        low = max((schema[key] for key in bounds if "inimum" in key), default=-1)
        self.unchecked.update(key for key in bounds if key != "minimum" or schema[key] != 0)
        return "positive" if low >= 0 else "number"


def _leads_back(rules: Mapping[str, str], name: str) -> bool:
    """Whether a rule can become itself before it writes anything."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        branches = map(str.strip, _without_literals(rules[waiting.pop()]).split("|"))
        following = {branch for branch in branches if branch in rules} - seen
        if name in following:
            return True
        seen |= following
        waiting += following
    return False


def _json(value: object) -> str:
    return literal(json.dumps(value, ensure_ascii=False))


def _choice(branches: Iterable[str]) -> str:
    unique = list(dict.fromkeys(branches))
    if not unique:
        raise UsageError("the JSON schema allows nothing (an empty choice)", "add an alternative")
    return " | ".join(unique)


def _grouped(expression: str) -> str:
    return f"({expression})" if " " in expression else expression


def _times(least: int, most: int | None) -> str:
    if most is None:
        return {0: "*", 1: "+"}.get(least, f"{{{least},}}")
    return f"{{{least},{most}}}"


def _without_literals(body: str) -> str:
    return re.sub(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]', " ", body)
