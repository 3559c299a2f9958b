"""Call syntaxes: agreement with the cases of llama.cpp's own ``tests/test-chat.cpp``.

``python -m tests.benchmarks.call_syntaxes FOLDER [TEMPLATE …]`` reads them from an unpacked source
of llama.cpp, ``vendor/llama.cpp`` in the source package of llama-cpp-python, and tells of each
miss. Among other measurements the folder is named by ``TCHAT_LLAMA_CPP``.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tchat.tools.syntaxes import (
    CallFinished,
    CallStarted,
    CallSyntax,
    ReasoningPiece,
    ReplyStart,
    TextPiece,
    joined,
    syntax_for,
)
from tchat.tools.syntaxes.protocol import CallEvent
from tests.benchmarks.cpp_cases import Case, Message, read_cases
from tests.benchmarks.rows import Row
from tests.tools.rendering import TemplateRenderer

REACH = 0.98
CUTS = 5  # ways in which each case is cut into chunks
NAME = "get_forecast"
WRITTEN = 40  # calls a template
VALUES: dict[str, list[Any]] = {
    "string": [
        *(
            "",
            "two words",
            'a "word"',
            "it's",
            "lines\n\n",
            "\n\nlines",
            " spaces ",
            "\t",
            "12",
            "null",
        ),
        *(
            "true",
            '{"a": 1}',
            "[1]",
            "back\\slash",
            "é😀 上海",
            "a < b > c",
            "x, y=1)",
            "|}",
            "#{x}",
        ),
        *("</tool_call>", "<tool_call>", "</parameter>", "<think>", "```\ncode\n```", "a</b>c"),
    ],
    "integer": [0, -5, 12345678901234567890],
    "number": [0.5, -1e-7],
    "boolean": [True, False],
    "array": [[], ["a", 1, None], [[1], {"b": "]"}]],
    "object": [{}, {"k": "v", "key two": [1]}, {"é": {"a": '"'}}],
}
FENCED = "```json\n"


def rows() -> Iterator[Row]:
    """A row a family, and one of all."""
    folder = os.environ.get("TCHAT_LLAMA_CPP", "")
    if not folder:
        print("call_syntaxes: TCHAT_LLAMA_CPP names no source of llama.cpp", file=sys.stderr)
        return
    yield from measure(Path(folder), [])
    yield from written(Path(folder))


def measure(folder: Path, wanted: list[str]) -> Iterator[Row]:
    """Read the cases of the templates whose names contain one of ``wanted``, or of all."""
    templates: dict[str, TemplateRenderer] = {}
    good: dict[str, int] = defaultdict(int)
    bad: dict[str, list[str]] = defaultdict(list)
    passed_over = 0
    for case in read_cases(folder / "tests/test-chat.cpp"):
        if wanted and not any(each in case.template for each in wanted):
            continue
        if leaves_marks(case):
            passed_over += 1
            continue
        if case.template not in templates:
            source = (folder / "models/templates" / case.template).read_text(encoding="utf-8")
            templates[case.template] = TemplateRenderer(source)
        renderer = templates[case.template]
        syntax = syntax_for(renderer.source, renderer)
        if syntax is None and not case.tools and not case.expected.calls:
            passed_over += 1
            continue
        family = syntax.name if syntax is not None else "none"
        problem = difference(case, syntax, renderer)
        if problem:
            bad[family].append(f"{case.template}, line {case.line}: {problem}")
        else:
            good[family] += 1
    for family in sorted({*good, *bad}):
        total = good[family] + len(bad[family])
        for miss in bad[family]:
            print(f"     {miss}")
        share = good[family] / total
        yield Row(
            f"{family}: cases of llama.cpp read alike, of {total}",
            f"{share:.1%}",
            f"≥ {REACH:.0%}",
            reached=share >= REACH,
        )
    total = sum(good.values()) + sum(map(len, bad.values()))
    share = sum(good.values()) / max(1, total)
    print(f"     {passed_over} cases passed over: of text with its reasoning, or without calls")
    yield Row(
        f"All: cases of llama.cpp read alike, of {total}",
        f"{share:.1%}",
        f"≥ {REACH:.0%}",
        reached=share >= REACH,
    )


def written(folder: Path) -> Iterator[Row]:
    """Whether calls that each template writes of an earlier turn are read back as they were."""
    good, total, templates = 0, 0, 0
    chance = random.Random(0)
    for path in sorted((folder / "models/templates").glob("*.jinja")):
        renderer = TemplateRenderer(path.read_text(encoding="utf-8"))
        syntax = syntax_for(renderer.source, renderer)
        misses = []
        calls = [a_call(chance) for _ in range(WRITTEN)]
        replies = [written_call(renderer, *call) for call in calls]
        for (schema, arguments), reply in zip(calls, replies, strict=True):
            if not reply:
                continue  # the template writes no calls
            tools = {NAME: schema}
            events = events_of(syntax, tools, ReplyStart.OPEN, [reply]) if syntax else []
            found = [(e.name, e.arguments) for e in events if isinstance(e, CallFinished)]
            total += 1
            good += found == [(NAME, arguments)]
            misses += [reply] if found != [(NAME, arguments)] else []
        templates += any(replies)
        if misses:
            print(f"     {path.name}: {len(misses)} calls, as {misses[0]!r}")
    share = good / max(1, total)
    yield Row(
        f"Calls with awkward arguments, as {templates} templates write them, read back",
        f"{share:.1%}",
        f"≥ {REACH:.0%}",
        reached=share >= REACH,
    )


def a_call(chance: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of a tool, and arguments that fit it."""
    types = {f"key{number}": chance.choice(list(VALUES)) for number in range(chance.randint(0, 3))}
    schema = {"type": "object", "properties": {key: {"type": t} for key, t in types.items()}}
    return schema, {key: chance.choice(VALUES[name]) for key, name in types.items()}


def written_call(
    renderer: TemplateRenderer, schema: dict[str, Any], arguments: dict[str, Any]
) -> str:
    """What a template writes of a reply with a call; empty where it refuses or leaves it out."""
    user = {"role": "user", "content": "Userword"}
    tools = [
        {
            "type": "function",
            "function": {"name": NAME, "description": NAME, "parameters": schema},
        }
    ]
    for as_written in (arguments, json.dumps(arguments)):
        function = {"name": NAME, "arguments": as_written}
        call = {"type": "function", "id": "call00000", "function": function}
        reply = {"role": "assistant", "content": "", "tool_calls": [call]}
        try:
            prompt = renderer([user], tools).partition("Userword")[2]
            text = renderer([user, reply], tools, add_generation_prompt=False)
        except ValueError:
            continue
        text = text.rpartition("Userword")[2]
        if NAME in text:
            return text.removeprefix(prompt)
    return ""


def leaves_marks(case: Case) -> bool:
    """Whether a case asks for reasoning to stay in the text, with its marks."""
    marks = ("<think>", "[THINK]", "<|START_THINKING|>", "<|channel")
    return any(mark in case.expected.content for mark in marks) or (
        case.reasoning_format == "NONE" and case.expected.content.startswith("I need to check")
    )


def difference(case: Case, syntax: CallSyntax | None, renderer: TemplateRenderer) -> str:
    """What a case has otherwise, whole or in chunks; empty where nothing."""
    if syntax is None:
        return "no syntax is known"
    tools = {name: json.loads(schema) for name, schema in case.tools}
    start = start_of(case, syntax, renderer, tools)
    whole = events_of(syntax, tools, start, [case.text])
    for seed in range(CUTS):
        if events_of(syntax, tools, start, cut(case.text, seed)) != whole:
            return f"chunks of seed {seed} give something else"
    found = message_of(whole, case)
    if case.prefill is not None and case.continues:
        before = case.prefill
        shown = before.reasoning if case.expected.reasoning else ""  # some templates drop it
        reasoning = shown + found.reasoning
        content = found.content if case.continues == "REASONING" else before.content + found.content
        found = Message(content, reasoning, found.calls)
    return "" if plain(found) == plain(case.expected) else f"{plain(found)} for {case.text!r}"


def start_of(
    case: Case, syntax: CallSyntax, renderer: TemplateRenderer, tools: dict[str, Any]
) -> ReplyStart:
    """Where the reply of a case starts."""
    if case.continues == "REASONING":
        return ReplyStart.REASONING
    if case.continues == "CONTENT":
        return ReplyStart.ANSWER
    offered = [
        {"type": "function", "function": {"name": name, "description": "", "parameters": schema}}
        for name, schema in tools.items()
    ]
    messages = [{"role": "user", "content": "Hey there!"}]
    try:
        prompt = renderer(messages, offered or None, thinking=case.thinking)
    except ValueError:  # a template that takes no tools
        prompt = renderer(messages, None, thinking=case.thinking)
    return syntax.start_after(prompt)


def events_of(
    syntax: CallSyntax, tools: dict[str, Any], start: ReplyStart, chunks: list[str]
) -> list[CallEvent]:
    """The events of a reply in chunks."""
    parser = syntax.parser(tools, start)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return joined([*events, *parser.close()])


def cut(text: str, seed: int) -> list[str]:
    """``text`` in chunks; the first seed cuts it into characters."""
    if not seed:
        return list(text)
    chance = random.Random(seed)
    chunks = []
    while text:
        size = chance.randint(1, 12)
        chunks.append(text[:size])
        text = text[size:]
    return chunks


def message_of(events: list[CallEvent], case: Case) -> Message:
    """The events as a message; of a case that is cut off, the calls that began count."""
    finished = {e.index: e for e in events if isinstance(e, CallFinished)}
    calls = []
    for event in events:
        if isinstance(event, CallStarted) and event.index in finished:
            call = finished[event.index]
            calls.append((call.name, json.dumps(call.arguments), call.id))
        elif isinstance(event, CallStarted) and case.partial:
            calls.append((event.name, "", ""))
    text = "".join(e.text for e in events if isinstance(e, TextPiece))
    if case.has_schema and text.lstrip().startswith(FENCED):  # llama.cpp holds it by a grammar
        text = text.strip().removeprefix(FENCED).removesuffix("```")
    reasoning = "".join(e.text for e in events if isinstance(e, ReasoningPiece))
    return Message(text, reasoning, tuple(calls))


def plain(message: Message) -> tuple[Any, ...]:
    """A message as llama.cpp's tests compare it: without whitespace around its texts."""
    calls = []
    for name, arguments, call_id in message.calls:
        try:
            calls.append((name, json.loads(arguments), call_id))
        except ValueError:  # cut off
            calls.append((name, "", ""))
    return (message.content.strip(), message.reasoning.strip(), calls)


if __name__ == "__main__":
    for row in measure(Path(sys.argv[1]), sys.argv[2:]):
        print(f"{'ok  ' if row.reached else 'MISS'} {row.what:<70} {row.figure:>10}   {row.reach}")
