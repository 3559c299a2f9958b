"""Read the cases of llama.cpp's ``tests/test-chat.cpp``: what a model wrote, and what it means.

Only as much C++ is understood as those cases need: literals, named constants, the helpers that make
messages, and the chain of calls that describes a case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<raw>R"(?P<delimiter>[^(\s]*)\((?P<body>.*?)\)(?P=delimiter)")
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<char>'(?:[^'\\]|\\.)*')
    |(?P<number>\d[\w.]*)
    |(?P<name>[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*)
    |(?P<sign>->|<<|\S)
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\0"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]+|u[0-9A-Fa-f]{4}|[0-7]{1,3}|.)", re.DOTALL)

Call = tuple[str, str, str]  # name, arguments, id


@dataclass(frozen=True)
class Message:
    """A message as llama.cpp's tests make it."""

    content: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()


@dataclass
class Case:
    """One case; ``tools`` are pairs of name and schema as JSON."""

    template: str
    line: int
    text: str
    tools: list[tuple[str, str]] = field(default_factory=list)
    expected: Message = field(default_factory=Message)
    reasoning_format: str = "NONE"
    thinking: bool = True
    partial: bool = False
    prefill: Message | None = None
    continues: str = ""
    has_schema: bool = False


@dataclass(frozen=True)
class _Token:
    kind: str
    value: str
    line: int


class Unreadable(Exception):
    """C++ that no case needs."""


def read_cases(source: Path) -> Iterator[Case]:
    """The cases of all templates, in the order of the file."""
    yield from _File(_tokens(source.read_text(encoding="utf-8"))).cases()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup if match.lastgroup not in ("body", "delimiter") else "raw"
        value = match[0]
        if kind == "raw":
            found.append(_Token("string", match["body"], line))
        elif kind == "string":
            found.append(_Token("string", _unescape(value[1:-1]), line))
        elif kind != "skip":
            found.append(_Token(str(kind), value, line))
        line += value.count("\n")
    return found


def _unescape(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        what = match[1]
        if what[0] == "x":
            made = bytes([int(what[1:], 16)])
        elif what[0] == "u" and len(what) == 5:
            return chr(int(what[1:], 16))
        else:
            made = _ESCAPES.get(what, what.encode())
        return made.decode("utf-8", "surrogateescape")

    made = _ESCAPE.sub(replaced, text)
    return made.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class _File:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._names: dict[str, Any] = {}
        self._paths: dict[str, list[str]] = {}  # names of testers, and their templates
        self._loops: dict[str, list[str]] = {}  # names of loops over templates

    def cases(self) -> Iterator[Case]:
        lfm2 = self._find("void", "test_lfm2_parser")
        stop = self._find("void", "test_template_generation_prompt")
        self._at = 0
        while self._at < lfm2:
            self._constant()
        body = self._find("for", "(", "const", "char", "*", "tmpl")
        self._at = body
        self._loop()
        self._paths["template_path"] = self._loops["tmpl"]
        self._at = lfm2
        while self._at < stop:
            if not self._loop() and not self._tester() and not self._constant(advance=False):
                if self._follows("test", "(", skip=2) and self._peek(1).value == ".":
                    yield from self._case()
                else:
                    self._at += 1

    def _find(self, *values: str) -> int:
        for at in range(len(self._tokens) - len(values)):
            if all(self._tokens[at + i].value == value for i, value in enumerate(values)):
                return at
        raise Unreadable(" ".join(values))

    def _peek(self, ahead: int = 0) -> _Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _follows(self, *values: str, skip: int = 0) -> bool:
        return all(self._peek(skip + i).value == value for i, value in enumerate(values))

    def _next(self, value: str = "") -> _Token:
        token = self._peek()
        if value and token.value != value:
            raise Unreadable(f"line {token.line}: {token.value} for {value}")
        self._at += 1
        return token

    def _loop(self) -> bool:
        """``for (const auto & path : { "…", "…" })``."""
        if not self._follows("for", "("):
            return False
        names = [self._peek(i) for i in range(2, 7)]
        colon = next((i for i, token in enumerate(names) if token.value == ":"), 0)
        if not colon or self._peek(3 + colon).value != "{":
            return False
        name = names[colon - 1].value
        self._at += 3 + colon
        self._loops[name] = self._value()
        return True

    def _tester(self) -> bool:
        """``auto tst = peg_tester("…", …)``."""
        if not self._follows("peg_tester", "(", skip=3) or self._peek().value != "auto":
            return False
        name = self._peek(1).value
        self._at += 5
        if self._peek().kind == "string":
            self._paths[name] = [self._peek().value]
        else:
            variable = self._peek().value
            self._paths[name] = self._loops.get(variable) or self._paths[variable]
        return True

    def _constant(self, *, advance: bool = True) -> bool:
        """A named constant; other tokens are passed over."""
        start = self._at
        try:
            while self._peek().value in ("static", "const"):
                self._at += 1
            kind = self._next()
            named = kind.value in (
                "common_chat_tool", "common_chat_msg", "std::string", "char", "auto",
            )  # fmt: skip
            if named:
                while self._peek().value in ("*", "[", "]"):
                    self._at += 1
                name = self._next()
                if kind.value == "common_chat_tool" and self._peek().value == "{":
                    made = self._value()
                    self._names[name.value] = (made[0], made[2])
                    return True
                if name.kind == "name" and self._peek().value == "=":
                    self._at += 1
                    self._names[name.value] = self._value()
                    return True
                if kind.value == "common_chat_msg" and self._peek().value == ";":
                    self._names[name.value] = Message()  # filled in later, for a prompt
                    return True
                if kind.value == "common_chat_msg" and self._peek().value == "{":
                    made = self._value()
                    self._names[name.value] = Message(content=made[1])
                    return True
        except (Unreadable, KeyError, IndexError):
            pass
        self._at = start + advance
        return False

    def _case(self) -> Iterator[Case]:
        start = self._at
        line = self._peek().line
        paths = self._paths.get(self._next().value, [])
        self._next(".")
        self._next("test")
        made = Case("", line, str(self._arguments()[0]))
        try:
            while self._peek().value == ".":
                self._next(".")
                self._describe(made, self._next().value, self._arguments())
        except (Unreadable, KeyError) as error:
            print(f"line {line} is not understood: {error}")
            self._at = start + 4
            return
        for path in paths:
            yield Case(**{**vars(made), "template": Path(path).name})

    @staticmethod
    def _describe(case: Case, what: str, values: list[Any]) -> None:  # noqa: C901
        value: Any = values[0] if values else True
        expected = case.expected
        match what:
            case "reasoning_format":
                case.reasoning_format = value.removeprefix("COMMON_REASONING_FORMAT_")
            case "tools":
                case.tools = [(tool[0], tool[-1]) for tool in value]
            case "enable_thinking":
                case.thinking = value
            case "is_partial":
                case.partial = value
            case "json_schema":
                case.has_schema = True
            case "messages":
                case.prefill = value[-1]
            case "continue_final_message":
                case.continues = value.removeprefix("COMMON_CHAT_CONTINUATION_")
            case "expect":
                case.expected = value
            case "expect_content":
                case.expected = Message(value, expected.reasoning, expected.calls)
            case "expect_reasoning":
                case.expected = Message(expected.content, value, expected.calls)
            case "expect_tool_calls":
                calls = tuple((call[0], call[1], call[2] if call[2:] else "") for call in value)
                calls = tuple((name, args, id_ or "") for name, args, id_ in calls)
                case.expected = Message(expected.content, expected.reasoning, calls)

    def _arguments(self) -> list[Any]:
        self._next("(")
        return self._list(")")

    def _list(self, end: str) -> list[Any]:
        values = []
        while self._peek().value != end or self._peek().kind == "string":
            values.append(self._value())
            if self._peek().value == ",":
                self._at += 1
        self._next(end)
        return values

    def _value(self) -> Any:
        made = self._operand()
        while self._peek().kind == "sign" and self._peek().value == "+":
            self._at += 1
            made = str(made) + str(self._operand())
        return made

    def _operand(self) -> Any:  # noqa: C901
        token = self._next()
        if token.kind == "string":
            made = token.value
            while self._peek().kind == "string":
                made += self._next().value
            return made
        if token.value == "{":
            return self._list("}")
        if token.value == "(":
            made = self._value()
            self._next(")")
            return made
        if token.kind == "number":
            return token.value
        if token.value in ("true", "false"):
            return token.value == "true"
        if token.kind == "name":
            if self._peek().value in ("(", "{"):
                if token.value == "std::vector":
                    raise Unreadable(f"line {token.line}: a vector")
                call = self._arguments() if self._peek().value == "(" else self._operand()
                return _call(token, call)
            if token.value.startswith("COMMON_"):
                return token.value
            if token.value in self._names:
                return self._names[token.value]
        raise Unreadable(f"line {token.line}: {token.value}")


def _call(token: _Token, values: list[Any]) -> Any:
    filled = [*values, *[""] * (5 - len(values))]
    match token.value:
        case "simple_assist_msg":
            calls = ((filled[2], filled[3], filled[4]),) if filled[2] or filled[4] else ()
            return Message(filled[0], filled[1], calls)
        case "message_with_tool_calls":
            return Message(calls=((filled[0], filled[1], ""),))
        case "message_with_tool_calls_and_reasoning":
            return Message(reasoning=filled[2], calls=((filled[0], filled[1], ""),))
        case "message_with_content_and_tool_call":
            return Message(filled[0], calls=((filled[1], filled[2], ""),))
        case "message_with_reasoning_and_tool_call":
            return Message("", filled[0], ((filled[1], filled[2], ""),))
        case "message_with_reasoning_content_and_multiple_tool_calls":
            return Message(filled[1], filled[0], tuple((n, a, "") for n, a in filled[2]))
        case "std::string":
            return values[0]
    raise Unreadable(f"line {token.line}: {token.value}()")
