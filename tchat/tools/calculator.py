"""The tool ``calculator``: arithmetic in exact fractions.

An expression is parsed as Python, and only numbers, operators and the functions below are
evaluated. Every value stays below `MAX_BITS`, judged before it is computed.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from tchat.sanitize import single_line
from tchat.tools.tool import Tool, ToolError, object_schema
from tchat.translation import tr

QUOTED = 30  # characters of an expression in a message
MAX_LENGTH = 1000  # characters of an expression
MAX_DEPTH = 100
MAX_BITS = 12_000  # of a numerator or denominator
MAX_FACTORIAL = 1000
DIGITS = 50  # of what has no exact decimal form
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**", "\n": " "})
_GROUPED = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\d,])")
_CHARACTERS = re.compile(r"[0-9A-Za-z_.,+*/%() \t-]*")
_NUMBER = re.compile(r"[\d_]+(?:\.[\d_]*)?(?:[eE][+-]?\d{1,4})?|\.[\d_]+(?:[eE][+-]?\d{1,4})?")


def calculator_tool() -> Tool:
    """The tool."""
    return Tool(
        name="calculator",
        description=(
            "Compute an arithmetic expression exactly: + - * / // % **, parentheses, and "
            f"{', '.join(sorted(_FUNCTIONS))}; pi and e have {DIGITS} digits."
        ),
        parameters=object_schema(
            ("expression",), expression={"type": "string", "maxLength": MAX_LENGTH}
        ),
        run=lambda arguments: calculate(arguments["expression"]),
    )


def calculate(expression: str) -> str:
    """The value of ``expression``: an integer, a finite decimal, or a fraction with its decimals.

    Raises:
        ToolError: It is no arithmetic expression, is undefined, or its value is too large.
    """
    text = expression.translate(_SIGNS).strip()
    # In a call a comma separates arguments.
    if not re.search(r"[a-z]\s*\(", text):
        text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text)
    if len(text) > MAX_LENGTH:
        raise ToolError(tr("the expression is too long"), tr("split it"))
    if not _CHARACTERS.fullmatch(text):
        raise _no_arithmetic(expression)
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise _no_arithmetic(expression) from error
    try:
        return _spelled(_evaluate(tree.body, text, 0))
    except ZeroDivisionError as error:
        raise ToolError(tr("it divides by zero"), tr("correct the expression")) from error


def _evaluate(node: ast.expr, text: str, depth: int) -> Fraction:
    if depth > MAX_DEPTH:
        raise _too_large()

    def value(child: ast.expr) -> Fraction:
        return _evaluate(child, text, depth + 1)

    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return _number(ast.get_source_segment(text, node) or "")
        case ast.Name(id=name) if name in _CONSTANTS:
            return Fraction(_CONSTANTS[name])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return value(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _bounded(_OPERATORS[type(sign)](value(left), value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            low, high, function = _FUNCTIONS[name]
            if low <= len(arguments) <= high:
                return _bounded(function(*map(value, arguments)))
    raise _no_arithmetic(ast.get_source_segment(text, node) or text)


def _number(text: str) -> Fraction:
    """A number as it is written: 0.1 is one tenth."""
    if not _NUMBER.fullmatch(text):
        if re.fullmatch(r"0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+", text):
            return Fraction(int(text, 0))
        raise _no_arithmetic(text)
    # The exponent is bounded before there is a number of so many digits.
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    if abs(int(exponent or 0)) * 4 > MAX_BITS:
        raise _too_large()
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)


def _bounded(value: Fraction) -> Fraction:
    if _bits(value) > MAX_BITS:
        raise _too_large()
    return value


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        if exponent == Fraction(1, 2):
            return _square_root(base)
        return _decimal(lambda number: number ** _as_decimal(exponent), base, low=Fraction(0))
    size = abs(exponent.numerator)
    if size and _bits(base) > 1 and _bits(base) * size > MAX_BITS + _bits(base):
        raise _too_large()
    if size > MAX_BITS and base not in (0, 1, -1):
        raise _too_large()
    if base in (0, 1, -1) and size > 1:
        exponent = Fraction((2 + size % 2) * (1 if exponent > 0 else -1))
    return Fraction(base**exponent.numerator)


def _square_root(value: Fraction) -> Fraction:
    if value < 0:
        raise _undefined()
    roots = [math.isqrt(each) for each in (value.numerator, value.denominator)]
    exact = Fraction(*roots)
    return exact if exact * exact == value else _decimal(Decimal.sqrt, value)


def _decimal(
    function: Callable[[Decimal], Decimal], value: Fraction, low: Fraction | None = None
) -> Fraction:
    """A function without exact values, to `DIGITS` digits."""
    if low is not None and value <= low:
        raise _undefined()
    with localcontext() as context:
        context.prec = DIGITS + 5
        context.Emax, context.Emin = 3000, -3000
        try:
            found = function(_as_decimal(value))
        except ArithmeticError as error:
            raise _too_large() from error
        context.prec = DIGITS
        return Fraction(+found)


def _as_decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _logarithm(value: Fraction, base: Fraction | None = None) -> Fraction:
    natural = _decimal(Decimal.ln, value, low=Fraction(0))
    if base is None:
        return natural
    return _decimal(
        lambda number: number / _as_decimal(_decimal(Decimal.ln, base, low=Fraction(0))), natural
    )


def _round(value: Fraction, places: Fraction = Fraction(0)) -> Fraction:
    """Round half away from zero, as people do."""
    if places.denominator != 1 or abs(places) > 1000:
        raise _too_large()
    scale = Fraction(10) ** places.numerator
    sign = -1 if value < 0 else 1
    return sign * Fraction(math.floor(abs(value) * scale + Fraction(1, 2))) / scale


def _factorial(value: Fraction) -> Fraction:
    if value.denominator != 1 or value < 0:
        raise _undefined()
    if value > MAX_FACTORIAL:
        raise _too_large()
    return Fraction(math.factorial(value.numerator))


def _whole(function: Callable[..., int]) -> Callable[..., Fraction]:
    """A function of integers only."""

    def applied(*values: Fraction) -> Fraction:
        if any(each.denominator != 1 for each in values):
            raise _undefined()
        if sum(map(_bits, values)) > 4 * MAX_BITS:
            raise _too_large()
        return Fraction(function(*(each.numerator for each in values)))

    return applied


def _floor_divide(left: Fraction, right: Fraction) -> Fraction:
    return Fraction(left // right)


_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: _floor_divide,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, abs),
    "ceil": (1, 1, lambda value: Fraction(math.ceil(value))),
    "exp": (1, 1, lambda value: _decimal(Decimal.exp, value)),
    "factorial": (1, 1, _factorial),
    "floor": (1, 1, lambda value: Fraction(math.floor(value))),
    "gcd": (1, 20, _whole(math.gcd)),
    "lcm": (1, 4, _whole(math.lcm)),
    "log": (1, 2, _logarithm),
    "log10": (1, 1, lambda value: _decimal(Decimal.log10, value, low=Fraction(0))),
    "max": (1, 100, max),
    "min": (1, 100, min),
    "round": (1, 2, _round),
    "sqrt": (1, 1, _square_root),
}
_CONSTANTS = {
    "pi": "3.14159265358979323846264338327950288419716939937511",
    "e": "2.71828182845904523536028747135266249775724709369996",
}


def _spelled(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest == 1 and places <= 2 * DIGITS:
        digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
        decimals = f"{digits[:-places]}.{digits[-places:]}"
        return f"-{decimals}" if value < 0 else decimals
    with localcontext() as context:
        context.prec = 30
        about = _as_decimal(value)
    if _bits(value) > 256:
        return f"about {about}"
    return f"{value.numerator}/{value.denominator}, about {about}"


def _no_arithmetic(text: str) -> ToolError:
    return ToolError(
        tr("{text} is no arithmetic", text=single_line(text, limit=QUOTED)),
        tr("use numbers, + - * / // % **, parentheses and the functions of the tool"),
    )


def _undefined() -> ToolError:
    return ToolError(tr("a value in it is undefined"), tr("correct the expression"))


def _too_large() -> ToolError:
    return ToolError(tr("a value in it is too large"), tr("compute with smaller numbers"))
