"""The manual: Markdown pages, one topic a file, for `tchat help TOPIC` and the screen.

Importing it reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
# In the order in which they are listed
TOPICS = (
    *("start", "install", "screen", "keys", "prompts", "commands"),
    *("models", "sessions", "settings", "judge", "privacy", "internals"),
)


def page(topic: str) -> str:
    """The Markdown of a topic.

    Raises:
        KeyError: There is no such topic.
        OSError: Its file cannot be read.
    """
    if topic not in TOPICS:
        raise KeyError(topic)
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def title(text: str) -> str:
    """The heading of a page."""
    return text.partition("\n")[0].removeprefix("# ")


def search(words: str) -> Iterator[tuple[str, str]]:
    """Topic and line of each place that contains all of ``words``, in any case."""
    wanted = words.casefold().split()
    for topic in TOPICS:
        for line in page(topic).splitlines():
            folded = line.casefold()
            if wanted and all(word in folded for word in wanted):
                yield topic, line.strip("| ")


def most_hits(word: str) -> str:
    """The topic whose page has ``word`` most often; empty if none has it."""
    counts = {topic: page(topic).casefold().count(word.casefold()) for topic in TOPICS}
    best = max(counts, key=lambda topic: counts[topic])
    return best if counts[best] else ""
