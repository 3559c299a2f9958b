"""Reading dialogues, a prompt and a human reply each, from JSONL files.

Shapes, recognized by their keys: ``prompt`` and ``reply``; Alpaca (``instruction``, ``input``,
``output``); self-instruct (``instruction`` and ``instances`` of ``input`` and ``output``);
ShareGPT (``conversations`` of ``from`` and ``value``) and its newer form (``messages`` of
``role`` and ``content``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import UsageError
from tchat.humanize import counted
from tchat.sanitize import single_line

MAX_LINE_BYTES = 1 << 20  # bytes; a dialogue of more does not fit any context
_PEOPLE = frozenset({"human", "user", "prompter"})
_MODELS = frozenset({"gpt", "assistant", "model", "chatgpt", "bot"})


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A prompt and a reply to it. Texts are raw.

    Args:
        prompt: The prompt.
        reply: The human reply.
    """

    prompt: str
    reply: str


@dataclass(frozen=True, slots=True)
class DialogueSet:
    """The dialogues of one or several files.

    Args:
        dialogues: Without duplicates, in the order of the files.
        skipped: Number of lines without a dialogue.
        sha256: Hash of the dialogues; names the training data.
    """

    dialogues: tuple[Dialogue, ...]
    skipped: int
    sha256: str


def read_dialogues(paths: Iterable[Path]) -> DialogueSet:
    """Read JSONL files of any of the known shapes.

    Raises:
        UsageError: A file cannot be read, or none of its lines holds a dialogue.
    """
    found: dict[Dialogue, None] = {}
    skipped = 0
    for path in paths:
        here, odd = parse_dialogue_lines(read_lines(path))
        skipped += odd
        found.update(dict.fromkeys(here))
        if not here:
            raise UsageError(
                f"{single_line(path.name)} holds no dialogue",
                "each line is a JSON object with `prompt` and `reply`, or in the shape of "
                "Alpaca, ShareGPT or self-instruct",
            )
    digest = hashlib.sha256()
    for each in found:
        digest.update(json.dumps([each.prompt, each.reply]).encode())
    return DialogueSet(tuple(found), skipped, digest.hexdigest())


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that are not blank.

    Raises:
        UsageError: It cannot be read, or a line has no end.
    """
    try:
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or a device"
            raise UsageError(
                f"{single_line(path.name)} cannot be read: it is {what}", "name a JSONL file"
            )
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                if len(line) > MAX_LINE_BYTES:
                    raise UsageError(
                        f"{single_line(path.name)} has a line of over {MAX_LINE_BYTES:,} bytes",
                        "write one JSON object to a line (JSONL)",
                    )
                if line.strip():
                    yield _decoded(line)
    except OSError as error:
        raise UsageError(
            f"{single_line(path.name)} cannot be read: {error.strerror}", "name a JSONL file"
        ) from error


def _decoded(line: bytes) -> str:
    """Decode a line; empty, which is no dialogue, if it is not UTF-8."""
    try:
        return line.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        return ""


def parse_dialogue_lines(lines: Iterable[str]) -> tuple[list[Dialogue], int]:
    """The dialogues of some lines, and the number of lines without one."""
    each = [list(parse_dialogues(line)) for line in lines]
    return [dialogue for found in each for dialogue in found], each.count([])


def skipped_notice(skipped: int) -> str:
    """A notice about lines without a dialogue; empty if there are none."""
    if not skipped:
        return ""
    return f"{counted(skipped, 'line holds', 'lines hold')} no dialogue and had no effect"


def parse_dialogues(line: str) -> Iterator[Dialogue]:
    """Yield the dialogues of one line; none if its shape is unknown."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(row, Mapping):
        return
    if "conversations" in row or "messages" in row:
        yield from _turns(row.get("conversations", row.get("messages")))
    elif isinstance(instances := row.get("instances"), list):
        for instance in instances:
            if isinstance(instance, Mapping):
                yield from _alpaca(row.get("instruction"), instance)
    elif "instruction" in row:
        yield from _alpaca(row["instruction"], row)
    else:
        yield from _dialogue(row.get("prompt"), row.get("reply", row.get("response")))


def _alpaca(instruction: object, row: Mapping[str, object]) -> Iterator[Dialogue]:
    given = row.get("input")
    more = f"\n\n{given}" if isinstance(given, str) and given.strip() else ""
    if isinstance(instruction, str):
        yield from _dialogue(instruction + more, row.get("output"))


def _turns(turns: object) -> Iterator[Dialogue]:
    """Yield the first exchange; later ones depend on it."""
    if not isinstance(turns, list):
        return
    spoken = (
        (str(turn.get("from", turn.get("role"))), turn.get("value", turn.get("content")))
        for turn in turns
        if isinstance(turn, Mapping)
    )
    # A reply before the first prompt answers something that is not there.
    prompt = next((text for role, text in spoken if role in _PEOPLE), None)
    reply = next((text for role, text in spoken if role in _MODELS), None)
    yield from _dialogue(prompt, reply)


def _dialogue(prompt: object, reply: object) -> Iterator[Dialogue]:
    if isinstance(prompt, str) and isinstance(reply, str) and prompt.strip() and reply.strip():
        yield Dialogue(prompt.strip(), reply.strip())
