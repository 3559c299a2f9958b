"""Chats as prompts: chat templates, their sandbox and errors, and tokens that no text can forge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

IsStopped: TypeAlias = Callable[[], bool]


def never() -> bool:
    """An `IsStopped` that is always False."""
    return False


class TemplateFailure(Exception):
    """A template does not compile, or raises; the message is one line."""


class TemplateOverrun(TemplateFailure):
    """A template takes too long or makes too much; other ways of calling it are no use."""
