"""What servers answer with, as text for the model; what is no text is named instead."""

from __future__ import annotations

import json
from collections.abc import Iterable

import mcp_types as types

from tchat.humanize import size_text
from tchat.sanitize import single_line

MAX_TEXT = 1 << 20  # characters of one answer


def tool_text(result: types.CallToolResult) -> str:
    """What a tool answered."""
    text = _joined(_block_text(block) for block in result.content)
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    return _shortened(text) or "[It answered nothing.]"


def resource_text(result: types.ReadResourceResult) -> str:
    """The text of a resource; empty where it has none."""
    return _shortened(
        _joined(
            each.text for each in result.contents if isinstance(each, types.TextResourceContents)
        )
    )


def prompt_text(result: types.GetPromptResult) -> str:
    """The messages of a prompt as one; those of several roles are marked with them."""
    messages = [(str(each.role), _block_text(each.content)) for each in result.messages]
    if all(role == "user" for role, _ in messages):
        return _shortened(_joined(text for _, text in messages))
    return _shortened(_joined(f"{role.title()}: {text}" for role, text in messages))


def _block_text(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return _named(block.mime_type, block.data)
        case types.ResourceLink():
            return f"[{single_line(block.name)}: {single_line(block.uri, 1000)}]"
        case types.EmbeddedResource(resource=types.BlobResourceContents() as found):
            return _named(found.mime_type or found.uri, found.blob)
        case types.EmbeddedResource(resource=types.TextResourceContents() as text):
            return f"[{single_line(text.uri, 1000)}]\n{text.text}"
    return ""


def _named(kind: str, base64: str) -> str:
    size = size_text(len(base64) * 3 // 4) or "0 B"
    return f"[{single_line(kind, 100)}, {size}: no text]"


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _shortened(text: str) -> str:
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n[{len(text) - MAX_TEXT} characters left out]"
