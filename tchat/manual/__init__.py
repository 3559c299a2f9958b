"""The manual: Markdown pages, one topic a file, for `tchat help TOPIC` and the screen.

Importing it reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

FOLDER = Path(__file__).parent
# In the order in which they are listed
TOPICS = (
    *("start", "install", "screen", "keys", "prompts", "commands"),
    *("models", "servers", "sessions", "tools", "mcp", "settings", "judge"),
    *("lock", "privacy"),
    "internals",
)

OTHER_WORDS = MappingProxyType(
    {
        **dict.fromkeys(("encrypt", "encryption", "encrypted", "passphrase", "password"), "lock"),
        **dict.fromkeys(("unlock", "recovery", "keyring"), "lock"),
        **dict.fromkeys(("wipe", "redact", "redaction", "anonymize", "egress"), "privacy"),
    }
)
"""The topic that somebody means by another word."""


def page(topic: str) -> str:
    """The Markdown of a topic.

    Raises:
        KeyError: There is no such topic.
        OSError: Its file cannot be read.
    """
    if topic not in TOPICS:
        raise KeyError(topic)
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


class ManualSection(NamedTuple):
    """A part of a page: what stands above its first heading of level 2, or one of these.

    Attributes:
        topic: Of the page.
        title: Of the page.
        heading: Of the section; empty for the part above the first.
        text: Its Markdown, with the heading.
    """

    topic: str
    title: str
    heading: str
    text: str


def sections() -> Iterator[ManualSection]:
    """All sections of all pages, in their order."""
    for topic in TOPICS:
        first, *others = page(topic).split("\n## ")
        title, _, _ = first.removeprefix("# ").partition("\n")
        yield ManualSection(topic, title, "", first.strip())
        for text in others:
            yield ManualSection(topic, title, text.partition("\n")[0], f"## {text.strip()}")


def find_sections(words: str) -> Iterator[ManualSection]:
    """The sections that contain all of ``words``, in any case; all of them without words.

    Those whose heading has the words come first, then those of pages whose title has them.
    """
    wanted = words.casefold().split()

    def has_all(text: str) -> bool:
        folded = text.casefold()
        return all(word in folded for word in wanted)

    def rank(section: ManualSection) -> int:
        if has_all(section.heading or section.title):
            return 0
        return 1 if has_all(f"{section.title} {section.heading}") else 2

    found = (section for section in sections() if has_all(f"{section.title} {section.text}"))
    yield from sorted(found, key=rank)


def most_hits(word: str) -> str:
    """The topic whose page has ``word`` most often; empty if none has it."""
    counts = {topic: page(topic).casefold().count(word.casefold()) for topic in TOPICS}
    best = max(counts, key=lambda topic: counts[topic])
    return best if counts[best] else ""
