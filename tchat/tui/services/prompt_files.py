"""The files that a draft mentions, read."""

from __future__ import annotations

import asyncio

from tchat.errors import UsageError
from tchat.tui.widgets.prompt_draft import Draft


async def read_prompt(draft: Draft, encoding: str) -> tuple[str, list[str]]:
    """The prompt with the files that it mentions in front, and what was assumed of their encoding.

    Args:
        draft: What was typed.
        encoding: Of the files; empty to detect it.

    Raises:
        TchatError: A file cannot be read, or is no text.
    """
    return await asyncio.to_thread(_read, draft, encoding)


def _read(draft: Draft, encoding: str) -> tuple[str, list[str]]:
    from tchat.chat.attachments import read_attachment, with_attachments

    try:
        attached = [read_attachment(name, encoding=encoding) for name in draft.attachments]
    except UsageError as error:
        raise UsageError(error.message, _without_flag(error.hint)) from error
    return with_attachments(draft.full_text, attached), [
        _without_flag(each.assumed) for each in attached if each.assumed
    ]


def _without_flag(told: str) -> str:
    """What is said of an encoding, with what changes it here in the place of the flag."""
    return "/set encoding".join(told.rsplit("--encoding", 1))
