"""Running a chat template, which is a stranger's Jinja program, as Transformers would.

Imported only by `form`, inside a function: jinja2 takes 80 ms to import.

The sandbox keeps a template from reaching Python's internals. It limits neither time nor memory,
so sizes are bounded here and the probe of a new model file renders first, in a process that can
be killed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tchat.engine.form import TemplateFailure

MAX_SOURCE = 256 << 10  # characters; the longest template in circulation has 18,000
MAX_TEXT = 16 << 20  # characters of a rendering, or of one string made on the way
_MAX_BITS = 4096  # of a power

# What a program in the sandbox can raise. Exception itself would hide our own mistakes.
_FAILURES = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
)


class Program:
    """A compiled template.

    Args:
        source: Jinja source.

    Raises:
        TemplateFailure: The source is too long or does not compile.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateFailure(f"it is longer than {MAX_SOURCE:,} characters")
        self._source = source
        self._environment = _environment()
        try:
            self._template = self._environment.from_string(source)
        except _FAILURES as error:
            raise _failure(error) from error

    def render(self, variables: Mapping[str, object]) -> str:
        """The text of one rendering.

        Raises:
            TemplateFailure: The template raised, or wrote more than `MAX_TEXT` characters.
        """
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.generate(**variables):
                pieces.append(piece)
                size += len(piece)
                _check_size(size)
        except _FAILURES as error:
            raise _failure(error) from error
        return "".join(pieces)

    def variables(self) -> frozenset[str]:
        """Names that the template expects from outside."""
        tree = self._environment.parse(self._source)
        return frozenset(meta.find_undeclared_variables(tree))

    def words(self) -> frozenset[str]:
        """String constants of the template."""
        tree = self._environment.parse(self._source)
        constants = (node.value for node in tree.find_all(nodes.Const))
        return frozenset(value for value in constants if isinstance(value, str))


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with bounds on the operators that multiply what they are given."""

    intercepted_binops = frozenset({"**", "*", "+"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            _check_power(left, right)
        elif operator == "*":
            _check_size(_length(left) * _count(right), _length(right) * _count(left))
        else:
            _check_size(_length(left) + _length(right))
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """``{% generation %}``: Transformers marks a reply's tokens with it; the text is the body."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as a plain set

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


def _environment() -> _Sandbox:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    del environment.globals["lipsum"]
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.filters["tojson"] = _tojson
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Transformers writes it; Jinja's own filter escapes for HTML and sorts the keys."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _check_size(*sizes: int) -> None:
    if max(sizes) > MAX_TEXT:
        raise OverflowError(f"it makes a text of more than {MAX_TEXT:,} characters")


def _check_power(base: object, exponent: object) -> None:
    if isinstance(base, int) and isinstance(exponent, int):
        bits = base.bit_length() * abs(exponent)
        if bits > _MAX_BITS:
            raise OverflowError("it computes a number that is too large")


def _length(value: object) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _failure(error: BaseException) -> TemplateFailure:
    reason = " ".join(str(error).split()) or type(error).__name__
    return TemplateFailure(reason[:200])
