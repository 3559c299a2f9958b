"""The title of a session as the model writes it, from its first turn.

It is written behind the chat, so that only the request is prefilled, and cut off again: the KV
cache stays that of the chat. What a small model writes instead of a title is dropped, and the
session keeps the first words of its first prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.engine.events import Finished, Reason
from tchat.engine.kv_cache import common_prefix
from tchat.errors import DoesNotFit
from tchat.sanitize import single_line
from tchat.settings import Sampling, Settings

if TYPE_CHECKING:
    from tchat.chat.backend import Backend
    from tchat.chat.prompt_builder import Prepare

REQUEST = (
    "Write a title for this conversation: three to six words, in its language. "
    "Reply with the title only."
)
MOST_TOKENS = 32
MOST_CHARACTERS, MOST_WORDS = 60, 9
# How replies begin that are no titles, and what they put before one.
_TALK = re.compile(
    r"(?:sure|certainly|of course|here(?:'s| is| are)|i(?:'m| am| have|'ve| can)?|you|my|as an?)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"^(?:conversation |chat )?title\s*[:：]\s*", re.IGNORECASE)
_MARKS = " \t\"'`*#_“”„‘’«»「」『』《》."


def title_settings(settings: Settings) -> Settings:
    """The settings to write a title with."""
    sampling = Sampling(temp=0.0, max_tokens=MOST_TOKENS, stop=("\n",), seed=0)
    return replace(settings, sampling=sampling, think="off")


def write_title(
    backend: Backend, prepare: Prepare, settings: Settings, should_continue: Callable[[], bool]
) -> str:
    """Let the model write a title; empty if it writes none, or not ``should_continue``.

    ``prepare`` makes the prompt: the chat and `REQUEST`. A model whose KV cache cannot be cut back
    to the chat, or is on other machines, is not asked, since the next prompt would be delayed.
    """
    engine = backend.local_engine
    loaded = engine.loaded if engine is not None else None
    if engine is None or loaded is None or not engine.in_process:
        return ""
    if not loaded.model.shape.divisible:
        return ""
    encoder = replace(loaded.encoder, stopped=lambda: not should_continue())
    with suppress(DoesNotFit, InterruptedError):
        prepared = prepare(encoder)
        if prepared.prompt is None or prepared.is_reduced:
            return ""
        before = list(loaded.kv.tokens)
        try:
            reply = engine.generate(
                prepared.messages, settings.sampling, think="off", prompt=prepared.prompt
            )
            with closing(reply):  # type: ignore[type-var]  # it is a generator
                for event in reply:
                    if isinstance(event, Finished):
                        return clean_title(event.text) if event.reason is Reason.STOP else ""
                    if not should_continue():
                        return ""
        finally:
            loaded.kv.truncate(common_prefix(before, loaded.kv.tokens))
    return ""


def clean_title(text: str) -> str:
    """The title in a reply; empty if it holds none."""
    line = _LABEL.sub("", single_line(text, 1000).strip(_MARKS)).strip(_MARKS)
    words = line.split()
    asked = re.findall(r"\w+", REQUEST.casefold())
    echoed = sum(word.casefold().strip(",:;") in asked for word in words)
    is_title = (
        0 < len(line) <= MOST_CHARACTERS
        and len(words) <= MOST_WORDS
        and any(map(str.isalpha, line))
        and echoed * 2 < max(len(words), 2)
        and not _TALK.match(line)
        and not re.search(r"[.!?。！？] ", line)
        and len({word.casefold() for word in words}) * 3 > len(words) * 2  # no stammering
    )
    return line if is_title else ""
