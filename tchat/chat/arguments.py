"""Arguments of slash commands."""

from __future__ import annotations


def split_argument(argument: str) -> tuple[str, str]:
    """The first word of ``argument``, and the rest; any white space parts them."""
    words = argument.split(maxsplit=1)
    return words[0] if words else "", words[1].strip() if len(words) > 1 else ""
