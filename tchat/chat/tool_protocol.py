"""How one model is told of the tools, and how its calls are read.

A model whose template knows tools is told by the template, and writes calls in its own syntax. Any
other is told in the system prompt, and writes replies in the envelope, which a grammar holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tchat.engine.prompt.message_formats import PieceKind, ReplyPhase
from tchat.engine.prompt.tools import PromptTools, ToolDefinition
from tchat.engine.tool_reply import Hold, ToolReplies
from tchat.tools.call_grammar import CallGrammars, envelope_grammar, holdable
from tchat.tools.syntaxes import (
    CallBroken,
    CallFinished,
    CallParser,
    CallStarted,
    CallSyntax,
    EnvelopeSyntax,
    ReasoningPiece,
    ReplyStart,
    TextPiece,
    ToolChoice,
    argument_shape_by_rendering,
    hermes_syntax,
    shape_by_rendering,
    syntax_for,
)
from tchat.tools.tool import Tool

if TYPE_CHECKING:
    from tchat.chat.backend import Backend

Call = CallFinished | CallBroken

_HEAD = """\
You can use these tools:
{tools}

Reply with one JSON object and nothing else. To use a tool: \
{{"tool": "NAME", "arguments": {{…}}}}. To answer the user: {{"answer": "TEXT"}}.
Use a tool where it helps, wait for its result, then answer."""


class CallReplyReader:
    """A `ReplyReader` of one reply that may call.

    Args:
        parser: Reads the text.
        grammars: Hold its calls.
        forced: The grammar that holds the reply from its first token behind reasoning on; empty
            where the model may write freely.
        heads: Texts that begin a call only if a tool's name follows.

    Attributes:
        calls: The calls that are complete, or cannot be read.
    """

    def __init__(
        self,
        parser: CallParser,
        grammars: CallGrammars,
        *,
        forced: str = "",
        heads: Sequence[str] = (),
    ) -> None:
        self.calls: list[Call] = []
        self._parser, self._grammars = parser, grammars
        self._forced, self._heads = forced, tuple(heads)
        self._any_call = grammars.call(ToolChoice())
        self._started = 0  # calls whose tool was told

    @property
    def called(self) -> bool:
        """Whether the reply calls."""
        return bool(self.calls)

    @property
    def is_calling(self) -> bool:
        """Whether a call is being written."""
        return self._started > len(self.calls) or self._parser.open_call is not None

    @property
    def phase(self) -> ReplyPhase:
        """Where the reply is now."""
        return ReplyPhase.REASONING if self._parser.in_reasoning else ReplyPhase.ANSWER

    @property
    def hold(self) -> Hold | None:
        """See `ReplyReader`."""
        if self._parser.in_reasoning:
            return None
        call = self._parser.open_call
        if self._forced and not self.calls:
            return Hold(self._forced, "" if call is None or call.is_arguments else call.text)
        if call is None:
            return None
        if call.is_arguments:
            grammar = self._grammars.arguments(call.name)
        elif call.text.startswith(self._heads) and not call.name:
            return None  # it may be an answer yet
        else:
            grammar = self._any_call
        return Hold(grammar, call.text) if grammar else None

    def feed(self, text: str) -> list[tuple[PieceKind, str]]:
        """See `ReplyReader`."""
        return self._pieces(self._parser.feed(text))

    def close(self) -> list[tuple[PieceKind, str]]:
        """See `ReplyReader`."""
        return self._pieces(self._parser.close())

    def _pieces(self, events: Sequence[object]) -> list[tuple[PieceKind, str]]:
        pieces: list[tuple[PieceKind, str]] = []
        for event in events:
            match event:
                case TextPiece(text):
                    pieces.append((PieceKind.ANSWER, text))
                case ReasoningPiece(text):
                    pieces.append((PieceKind.REASONING, text))
                case CallStarted(name=name):
                    self._started += 1
                    pieces.append((PieceKind.CALL, name))
                case CallFinished() | CallBroken():
                    self.calls.append(event)
        return pieces


@dataclass(frozen=True, slots=True)
class ToolProtocol:
    """How one model is told of some tools, and how it calls them.

    Attributes:
        prompt: What prompts offer.
        syntax: How calls are written.
        grammars: Hold calls.
        system: Behind the system prompt; empty where the template tells of the tools.
    """

    prompt: PromptTools
    syntax: CallSyntax
    grammars: CallGrammars
    system: str = ""

    def system_prompt(self, text: str) -> str:
        """The system prompt ``text`` with what the model has to know of the tools."""
        return "\n\n".join(filter(None, (text, self.system)))

    def replies(
        self, choice: ToolChoice, readers: list[CallReplyReader], *, must_answer: bool = False
    ) -> ToolReplies:
        """How replies are read; each reader is added to ``readers``.

        With ``must_answer``, a reply in the envelope calls no tool.

        Raises:
            UsageError: The schemas of the tools make no grammar.
        """
        is_envelope = self.prompt.in_envelope
        if is_envelope:
            schemas = {} if must_answer else self.grammars.schemas
            forced = envelope_grammar(schemas, ToolChoice() if must_answer else choice)
        else:
            forced = "" if choice.may_answer else self.grammars.call(choice)

        def reader(prompt: str, continues: bool) -> CallReplyReader:
            start = ReplyStart.ANSWER if continues else self.syntax.start_after(prompt)
            made = CallReplyReader(
                self.syntax.parser(self.grammars.schemas, start),
                self.grammars,
                forced="" if continues else forced,
                heads=() if is_envelope else self.syntax.head_triggers,
            )
            readers.append(made)
            return made

        demanded = () if choice.may_answer else choice.names or tuple(self.grammars.schemas)
        return ToolReplies(reader, ends_with_grammar=bool(forced), demanded=demanded)


def protocol_for(backend: Backend, tools: Sequence[Tool], choice: ToolChoice) -> ToolProtocol:
    """How the model of ``backend`` is told of ``tools``.

    A server is told of them beside the messages, and gives calls beside the text. Where a call is
    demanded and the model's own syntax cannot be held by a grammar, it is the envelope too.
    """
    definitions = tuple(
        ToolDefinition(tool.name, tool.description, json.dumps(tool.parameters, ensure_ascii=False))
        for tool in tools
    )
    schemas = holdable({tool.name: tool.parameters for tool in tools})
    engine = backend.local_engine
    if engine is None:
        return ToolProtocol(
            PromptTools(definitions), hermes_syntax("OpenAI API"), CallGrammars(schemas)
        )
    template = engine.template
    form = template.tool_form
    syntax = syntax_for(template.source, template.render_values)
    if syntax is not None and form is not None and form.tells_tools:
        render = template.render_values
        shape = shape_by_rendering(syntax, render) or argument_shape_by_rendering(syntax, render)
        grammars = CallGrammars(schemas, shape, engine.end_texts)
        if choice.may_answer or grammars.call(choice):
            return ToolProtocol(PromptTools(definitions), syntax, grammars)
    described = _HEAD.format(tools="\n".join(map(_described, tools)))
    return ToolProtocol(
        PromptTools(in_envelope=True), EnvelopeSyntax(), CallGrammars(schemas), described
    )


def _described(tool: Tool) -> str:
    """A tool on one line: its arguments as a signature, then what it does."""
    properties, required = (tool.parameters.get(key) for key in ("properties", "required"))
    properties = properties if isinstance(properties, Mapping) else {}
    required = required if isinstance(required, list) else []
    arguments = ", ".join(
        f"{json.dumps(name, ensure_ascii=False)}: {_kind(schema)}"
        + ("" if name in required else " (optional)")
        for name, schema in properties.items()
    )
    return f"- {tool.name} {{{arguments}}}: {tool.description}"


def _kind(schema: object) -> str:
    """The values of an argument in a word or two."""
    if not isinstance(schema, dict):
        return "any"
    if isinstance(values := schema.get("enum"), list):
        return "|".join(json.dumps(each, ensure_ascii=False) for each in values)
    kind = schema.get("type", "any")
    name = kind if isinstance(kind, str) else "|".join(map(str, kind))
    about = schema.get("description")
    return f"{name} ({about})" if isinstance(about, str) and about else name
