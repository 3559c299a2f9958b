"""Find the call syntax of an unknown template: render a call, and see what stands around it.

The template is a program, so what it writes around a tool's name, its arguments and their values is
found by rendering a chat in which they are words that occur nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from tchat.tools.syntaxes.json_calls import JsonCalls
from tchat.tools.syntaxes.protocol import CallFinished, CallStarted, CallSyntax
from tchat.tools.syntaxes.pythonic import PythonicCalls
from tchat.tools.syntaxes.reasoning_marks import reasoning_marks
from tchat.tools.syntaxes.reply import CallReader, MarkedSyntax, ReplyForm
from tchat.tools.syntaxes.tagged_calls import NamedJsonCalls, TaggedCalls

NAME = "found in its template"
_USER, _REPLY, _THOUGHT = "Zquserword", "Zqreplyword", "Zqthoughtword"
TOOL, SECOND_TOOL = "zqfirsttool", "zqsecondtool"
_ID = "zqcall000"
KEY, KEY_2 = "zqfirstkey", "zqsecondkey"
_VALUE, _VALUE_2 = "zqfirstvalue", "zqsecondvalue"
_ARGUMENTS = {KEY: _VALUE, KEY_2: _VALUE_2}
_TAG_START = re.compile(r"[<\[]")
_TAGS = re.compile(r"<[^<>\s]{1,40}>|\[[A-Z_/]{2,40}\]")

Messages = Sequence[Mapping[str, Any]]


class Render(Protocol):
    """Renders a chat template."""

    def __call__(
        self,
        messages: Messages,
        tools: Sequence[Mapping[str, Any]] | None,
        *,
        add_generation_prompt: bool,
    ) -> str:
        """The prompt.

        Raises:
            ValueError: The template refuses these messages.
        """
        ...


@dataclass(frozen=True, slots=True)
class CallShape:
    """A whole call whose arguments are JSON, as a template writes it.

    A grammar of the text before the arguments, their schema, and the text behind them holds a call
    from its beginning to its end.
    """

    _before: str
    _behind: str

    def around(self, name: str, call_id: str = "call00000") -> tuple[str, str]:
        """The texts before and behind the arguments of a call of the tool ``name``."""
        before = self._before.replace(TOOL, name).replace(_ID, call_id)
        return before, self._behind.replace(TOOL, name).replace(_ID, call_id)


class _Around(NamedTuple):
    """A part of a rendering, and what stands before and behind it."""

    before: str
    behind: str


def syntax_by_rendering(template: str, render: Render) -> CallSyntax | None:
    """The syntax that a template writes; None where it knows no calls, or none that can be read."""
    found = RenderedCalls(render)
    call = found.call([TOOL])
    if call is None or TOOL not in call:
        return None
    both = found.call([TOOL, SECOND_TOOL]) or ""
    reader, sections, separators = _reader_of(call, both)
    if reader is None:
        return None
    form = ReplyForm(
        reasoning=tuple(dict.fromkeys([*found.reasoning(), *reasoning_marks(template)])),
        sections=sections,
        separators=separators,
        ignored=found.wrapping(),
    )
    syntax = MarkedSyntax(NAME, form, reader)
    return syntax if _reads(syntax, call) else None


def shape_by_rendering(syntax: CallSyntax, render: Render) -> CallShape | None:
    """How a template writes a call of ``syntax``; None where its arguments are no JSON."""
    call = RenderedCalls(render).call([TOOL]) or ""
    for start in (m.start() for m in re.finditer("{", call)):
        try:
            value, end = json.JSONDecoder().raw_decode(call, start)
        except ValueError:
            continue
        if value == {KEY: _VALUE, KEY_2: _VALUE_2}:
            before = from_trigger(call[:start], syntax)
            shapes = (CallShape(before, behind) for behind in without_last_tags(call[end:]))
            return next((shape for shape in shapes if _is_read(shape, syntax)), None)
    return None


def without_last_tags(behind: str) -> Iterator[str]:
    """What stands behind the arguments, and shorter: the last tags may belong to the turn."""
    while behind:
        yield behind
        start = behind.rfind("<")
        behind = behind[:start].rstrip() if start >= 0 else ""
    yield ""


def from_trigger(before: str, syntax: CallSyntax) -> str:
    """What stands before the arguments, without what may remain of the turn's beginning."""
    starts = [before.find(trigger) for trigger in syntax.triggers if trigger in before]
    return before[min(starts, default=0) :]


def _is_read(shape: CallShape, syntax: CallSyntax) -> bool:
    """Whether a syntax reads calls of a shape, those of other tools too."""
    before, behind = shape.around(SECOND_TOOL, "a12345678")
    parser = syntax.parser({SECOND_TOOL: {}})
    events = [*parser.feed(f'{before}{{"{KEY}": 1}}{behind}'), *parser.close()]
    kinds = [type(event) for event in events]
    finished = [(e.name, e.arguments) for e in events if isinstance(e, CallFinished)]
    return kinds == [CallStarted, CallFinished] and finished == [(SECOND_TOOL, {KEY: 1})]


def _reads(syntax: CallSyntax, call: str) -> bool:
    """Whether a syntax reads what the template wrote: what it was made of may have misled."""
    schema = _tool(TOOL)["function"]["parameters"]
    parser = syntax.parser({TOOL: schema})
    events = [*parser.feed(call), *parser.close()]
    finished = [(e.name, e.arguments) for e in events if isinstance(e, CallFinished)]
    return finished == [(TOOL, {KEY: _VALUE, KEY_2: _VALUE_2})]


class RenderedCalls:
    """What a template writes of a reply."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._plain = self._reply({"content": _REPLY}, None)

    def call(
        self, names: list[str], arguments: Mapping[str, Any] = MappingProxyType(_ARGUMENTS)
    ) -> str | None:
        """A reply that only calls; None where the template refuses."""
        for as_written in (dict(arguments), json.dumps(dict(arguments))):
            calls = [
                {
                    "type": "function",
                    "id": f"{_ID[:-1]}{number}",
                    "function": {"name": name, "arguments": as_written},
                }
                for number, name in enumerate(names)
            ]
            for content in ("", None):
                written = self._reply({"content": content, "tool_calls": calls}, names)
                if written is not None and names[0] in written:
                    return self._without_frame(written)
        return None

    def reasoning(self) -> list[tuple[str, str]]:
        """The marks around reasoning, where the template writes it."""
        written = self._reply({"content": _REPLY, "reasoning_content": _THOUGHT}, None)
        if not written or _THOUGHT not in written or _REPLY not in written:
            return []
        around = _around(written, _THOUGHT)
        opening = _TAGS.findall(around.before)
        closing = _TAGS.findall(around.behind.partition(_REPLY)[0])
        return [(opening[-1], closing[0])] if opening and closing else []

    def wrapping(self) -> tuple[str, ...]:
        """Marks around an answer."""
        written = self._plain or ""
        start = self._prompt_end()
        before, found, behind = written.partition(_REPLY)
        if not found or start is None or not before.startswith(start):
            return ()
        opening = _TAGS.findall(before[len(start) :])
        closing = _TAGS.findall(behind) if opening else []
        return tuple(tag for tag in (*opening[-1:], *closing[:1]) if "think" not in tag)

    def _prompt_end(self) -> str | None:
        """What a prompt writes behind the user's words."""
        try:
            prompt = self._render([_user()], None, add_generation_prompt=True)
        except ValueError:
            return None
        return prompt.partition(_USER)[2]

    def _reply(self, message: Mapping[str, Any], names: list[str] | None) -> str | None:
        """What is written behind the user's words."""
        tools = [_tool(name) for name in names] if names else None
        chat = [_user(), {"role": "assistant", **message}]
        try:
            written = self._render(chat, tools, add_generation_prompt=False)
        except ValueError:
            return None
        return written.rpartition(_USER)[2]

    def _without_frame(self, written: str) -> str:
        """A reply without what stands before and behind every reply."""
        starts = [self._prompt_end() or "", (self._plain or "").partition(_REPLY)[0]]
        common = max((_shared_start(start, written) for start in starts), key=len)
        if len(common) < len(written):
            written = written[len(common) :]
        end = (self._plain or "").partition(_REPLY)[2].strip()
        written = written.strip()
        while end and not written.endswith(end):  # the end of a turn may be another one for calls
            _, _, end = end.partition(">")
            end = end.strip()
        return written.removesuffix(end).strip()


def _user() -> dict[str, Any]:
    return {"role": "user", "content": _USER}


def _tool(name: str) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": key} for key in (KEY, KEY_2)}
    parameters = {"type": "object", "properties": properties, "required": [KEY, KEY_2]}
    function = {"name": name, "description": name, "parameters": parameters}
    return {"type": "function", "function": function}


Found = tuple[CallReader | None, tuple[str, ...], tuple[str, ...]]


def _reader_of(call: str, both: str) -> Found:
    """How a rendered call is read, marks before the first of several, and marks between them."""
    name = _around(call, TOOL)
    if name.behind.lstrip().startswith("("):
        opening = name.before.strip().removesuffix("[").strip()
        closing = tuple(_TAGS.findall(call.rpartition(")")[2])[:1])
        starts = () if opening else ("[",)
        return PythonicCalls((opening,) if opening else (), closing, starts), (), closing
    value = _enclosing_json(call, TOOL)
    if value is not None:
        return _json_reader(call, *value)
    return _named_reader(call, both, name)


def _named_reader(call: str, both: str, name: _Around) -> Found:
    """A call whose tool is named outside JSON."""
    before, call_id, id_end = name.before.partition(_ID)
    sections, opening = _split_last_tag(before)
    if not opening:
        return None, (), ()
    separators = _separators(call, both, opening)
    arguments = name.behind.find("{")
    if arguments < 0 or arguments > _position(name.behind, KEY):
        return None if call_id else _tagged_reader(name, opening), sections, separators
    id_mark, second_id, end = name.behind[:arguments].rpartition(_ID)
    if not end.strip() or (call_id and not id_end.strip()):
        return None, (), ()
    reader = NamedJsonCalls(
        (opening,),
        (end.strip(),),
        id_mark=id_mark.strip() if second_id else "",
        id_end=id_end.strip(),
        closings=separators,
    )
    return reader, sections, separators


def _json_reader(call: str, start: int, end: int, value: Any) -> Found:
    opening, closing = call[:start].strip(), call[end:].strip()
    one = value[0] if isinstance(value, list) else value
    closings = (closing,) if closing else ()
    reader = JsonCalls(
        openings=(opening,) if opening else (),
        closings=closings,
        at_start=() if opening else ("{", "["),
        has_name_as_key=isinstance(one, dict) and TOOL in one,
    )
    return reader, (), closings


def _tagged_reader(name: _Around, opening: str) -> CallReader | None:
    """A call with a tag around each argument."""
    places = [_position(name.behind, word) for word in (KEY, _VALUE, KEY_2, _VALUE_2)]
    if places != sorted(places) or places[-1] >= len(name.behind):
        return None
    key, value, second = places[:3]
    to_key = name.behind[:key]
    between = name.behind[value + len(_VALUE) : second]
    argument = to_key[_last_tag(to_key) :]
    key_end = name.behind[key + len(KEY) : value]
    has_lines = key_end.endswith("\n") and between.startswith("\n")
    key_end = key_end.strip()
    value_end = between.removesuffix(argument).strip()
    name_end = to_key.removesuffix(argument).strip()
    rest = name.behind[places[3] + len(_VALUE_2) :].strip().removeprefix(value_end).strip()
    closing = (_TAGS.findall(rest) or [rest])[0]
    if not argument or not key_end or not value_end or not closing or argument not in between:
        return None
    value_start = ""
    if key_end.count("<") > 1:  # a key and a value in tags of their own
        start = key_end.rindex("<")
        key_end, value_start = key_end[:start].strip(), key_end[start:]
    return TaggedCalls(
        openings=(opening,),
        name_ends=(name_end,) if name_end else (),
        argument=argument,
        argument_ends={key_end: None},
        value_start=value_start,
        value_end=value_end,
        closings=(closing,),
        has_lines=has_lines,
    )


def _separators(call: str, both: str, opening: str) -> tuple[str, ...]:
    """Tags that stand behind a call, and between two."""
    behind = call[max(call.rfind(_VALUE_2), 0) + len(_VALUE_2) :]
    between = both.partition(SECOND_TOOL)[0]
    between = between[max(between.rfind(_VALUE_2), 0) + len(_VALUE_2) :].rpartition(opening)[0]
    return tuple(dict.fromkeys([*_TAGS.findall(behind), *_TAGS.findall(between)]))


def _enclosing_json(text: str, word: str) -> tuple[int, int, Any] | None:
    """The outermost JSON value that holds ``word`` as a name: its start, its end and itself."""
    position = text.find(word)
    for start in (m.start() for m in re.finditer(r"[{\[]", text[:position])):
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except ValueError:
            continue
        if end > position and isinstance(value, dict | list) and value:
            return start, end, value
    return None


def _split_last_tag(before: str) -> tuple[tuple[str, ...], str]:
    """What stands before a name: marks of a whole section, and the mark of one call."""
    start = _last_tag(before)
    section = before[:start].strip()
    return ((section,) if section else ()), before[start:].strip()


def _last_tag(text: str) -> int:
    """Where the last tag of ``text`` starts; a tag that is closed before its end is whole."""
    starts = [m.start() for m in _TAG_START.finditer(text)]
    return starts[-1] if starts else 0


def _around(text: str, word: str) -> _Around:
    before, _, behind = text.partition(word)
    return _Around(before, behind)


def _position(text: str, word: str) -> int:
    """Where ``word`` stands; behind everything if nowhere."""
    found = text.find(word)
    return len(text) if found < 0 else found


def _shared_start(one: str, other: str) -> str:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    shared = one[:length]
    started = max(shared.rfind("<"), shared.rfind("["))  # a tag of which only a part is shared
    if started >= 0 and not re.search(r"[>\]]", shared[started:]):
        shared = shared[:started]
    return shared
