"""Names of people, places and organisations in a text, as the model in this process guesses them.

A grammar holds the reply to a JSON object of lists, and only what stands in the text counts. What a
model overlooks stays, and a small one overlooks much: it is a help, no guarantee.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

from tchat.engine.events import Finished
from tchat.engine.prompt import ChatMessage
from tchat.errors import UsageError
from tchat.redaction.sensitive_span import WORD_END, WORD_START, DataKind
from tchat.settings import Sampling
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.engine.engine import Engine

KINDS: Mapping[str, DataKind] = {
    "people": DataKind.PERSON,
    "places": DataKind.PLACE,
    "organizations": DataKind.ORGANIZATION,
}
PIECE = 600  # characters that the model gets at a time
MOST_NAMES = 12  # of a kind in one piece
LONGEST = 60  # characters of a name
_MOST_TOKENS = 300
_EXAMPLES = (
    (
        "Anna Berg moved to Lyon in 2019 and works for Orbit Labs.",
        '{"people": ["Anna Berg"], "places": ["Lyon"], "organizations": ["Orbit Labs"]}',
    ),
    (
        "The build fails after the update, what can I do?",
        '{"people": [], "places": [], "organizations": []}',
    ),
    (
        "王小明昨天去了青岛，海信的经理也在。",
        '{"people": ["王小明"], "places": ["青岛"], "organizations": ["海信"]}',
    ),
)
_TASK = (
    "List the names of people, places and organizations in the text, exactly as they are written. "
    "A list is empty where there are none."
)
_ENDS = re.compile(r"(?<=[.!?。！？\n])")


def find_names(engine: Engine, texts: Iterable[str]) -> dict[str, DataKind]:
    """The names in ``texts``; on the engine thread, with the model loaded.

    Raises:
        UsageError: It takes no grammar.
        InterruptedError: It was stopped.
    """
    found: dict[str, DataKind] = {}
    seen: set[str] = set()
    for text in texts:
        for piece in pieces(text):
            if piece not in seen:
                seen.add(piece)
                for name, kind in _names_in(engine, piece):
                    found.setdefault(name, kind)
    return found


def pieces(text: str) -> Iterator[str]:
    """``text`` in pieces of whole sentences; a longer sentence is cut."""
    piece = ""
    for sentence in _ENDS.split(text):
        if len(piece) + len(sentence) > PIECE and piece.strip():
            yield piece.strip()
            piece = ""
        piece += sentence
        while len(piece) > PIECE:
            yield piece[:PIECE]
            piece = piece[PIECE:]
    if piece.strip():
        yield piece.strip()


def _names_in(engine: Engine, piece: str) -> Iterator[tuple[str, DataKind]]:
    messages = [ChatMessage("system", _TASK)]
    for text, answer in _EXAMPLES:
        messages += [ChatMessage("user", text), ChatMessage("assistant", answer)]
    messages.append(ChatMessage("user", piece))
    sampling = Sampling(temp=0.0, max_tokens=_MOST_TOKENS, grammar=_grammar(), seed=0)
    reply = engine.generate(messages, sampling, think="off")
    with closing(reply):  # type: ignore[type-var]  # it is a generator
        for event in reply:
            if isinstance(event, Finished):
                yield from checked_names(event.text, piece)


def checked_names(reply: str, text: str) -> Iterator[tuple[str, DataKind]]:
    """The names in the JSON of a reply that stand in ``text`` and may be names."""
    try:
        lists = json.loads(reply)
    except ValueError:  # it was cut off
        return
    for key, kind in KINDS.items():
        for name in lists.get(key, ()):
            stripped = name.strip()
            pattern = f"{WORD_START}{re.escape(stripped)}{WORD_END}"
            has_form = not stripped.islower() and any(map(str.isalpha, stripped))
            if len(stripped) > 1 and has_form and re.search(pattern, text):
                yield stripped, kind


@cache
def _grammar() -> str:
    from tchat.engine.grammar.json_schema import to_gbnf

    names = {
        "type": "array",
        "maxItems": MOST_NAMES,
        "items": {"type": "string", "minLength": 2, "maxLength": LONGEST},
    }
    schema = {
        "type": "object",
        "properties": dict.fromkeys(KINDS, names),
        "required": list(KINDS),
        "additionalProperties": False,
    }
    return to_gbnf(schema).text


def require_local(engine: Engine | None) -> Engine:
    """The engine in this process: a text is not sent elsewhere to find what must not be sent.

    Raises:
        UsageError: The model is on a server.
    """
    if engine is None:
        raise UsageError(
            tr("names are looked for by a model in this process only"),
            tr("choose one: --model starter"),
        )
    return engine
