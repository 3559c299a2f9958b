"""Prompts for the generator to answer, many at a time, and the texts that come back."""

from __future__ import annotations

from tchat.engine.batch import BatchResult, BatchTask
from tchat.engine.events import Finished
from tchat.engine.prompt.messages import ChatMessage
from tchat.errors import DoesNotFit, TchatError


def reply_task(index: int, prompt: str, seed: int) -> BatchTask:
    """The task of answering a prompt, with a seed of its own."""
    chat = [ChatMessage("user", prompt)]
    return BatchTask(index, lambda: chat, seed)


def reply_text(outcome: BatchResult) -> str:
    """The reply of such a task; empty where it said nothing, or the prompt does not fit.

    Raises:
        TchatError: It failed.
    """
    if isinstance(outcome.result, TchatError) and not isinstance(outcome.result, DoesNotFit):
        raise outcome.result
    return outcome.result.text.strip() if isinstance(outcome.result, Finished) else ""
