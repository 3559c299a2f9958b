"""How models write tool calls, and how those are read while a reply streams.

`syntax_for` finds the syntax of a model by its chat template; its parser turns the text of a reply
into events. `protocol` says what a syntax is, `families` lists those that are known.
"""

from __future__ import annotations

from tchat.tools.syntaxes.argument_shape import ArgumentShape, argument_shape_by_rendering
from tchat.tools.syntaxes.differential import CallShape, shape_by_rendering
from tchat.tools.syntaxes.envelope import EnvelopeSyntax, ToolChoice, envelope_schema
from tchat.tools.syntaxes.families import hermes_syntax, syntax_for
from tchat.tools.syntaxes.protocol import (
    CallBroken,
    CallEvent,
    CallFinished,
    CallParser,
    CallStarted,
    CallSyntax,
    OpenCall,
    ReasoningPiece,
    ReplyStart,
    Schemas,
    TextPiece,
    joined,
)

__all__ = [
    "ArgumentShape",
    "CallBroken",
    "CallEvent",
    "CallFinished",
    "CallParser",
    "CallShape",
    "CallStarted",
    "CallSyntax",
    "EnvelopeSyntax",
    "OpenCall",
    "ReasoningPiece",
    "ReplyStart",
    "Schemas",
    "TextPiece",
    "ToolChoice",
    "argument_shape_by_rendering",
    "envelope_schema",
    "hermes_syntax",
    "joined",
    "shape_by_rendering",
    "syntax_for",
]
