"""Training the head of what the user prefers, from the choices that were made in chats."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict

from tchat.errors import DoesNotFit, UsageError
from tchat.judge.discriminator import PREFERENCE, Discriminator, Provenance
from tchat.judge.examples import Answer, Choice
from tchat.judge.features import Features
from tchat.judge.preference import Preference, fit_preference, held_out_accuracy
from tchat.judge.reader import Reader
from tchat.judge.training import FEWEST, FEWEST_TO_FIT, Working


def read_choices(
    reader: Reader, choices: Sequence[Choice]
) -> Generator[Working, None, list[Preference]]:
    """The features of both replies of each choice; those that are too long are left out.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    known: dict[Answer, Features | None] = {}
    found: list[Preference] = []
    for index, choice in enumerate(choices):
        yield Working("reading", index, len(choices))
        for answer in (choice.chosen, choice.rejected):
            if answer not in known:
                known[answer] = _read(reader, answer)
        chosen, rejected = known[choice.chosen], known[choice.rejected]
        if chosen and rejected:
            found.append(Preference(chosen, rejected, choice.question))
    return found


def _read(reader: Reader, answer: Answer) -> Features | None:
    try:
        features = reader.read(answer.asked, answer.text)
    except DoesNotFit:
        return None
    if features is None and reader.stopped:
        raise InterruptedError
    return features


def train_preference(
    preferences: Sequence[Preference],
    choices: Sequence[Choice],
    layers: Sequence[int],
    *,
    model: str,
    fingerprint: str,
) -> Discriminator:
    """Fit the head of what the user prefers.

    With fewer than `FEWEST` choices no quality is claimed.

    Args:
        preferences: What was read.
        choices: What it was read from.
        layers: Which may serve; the best by cross-validation does.
        model: File name of the model that read.
        fingerprint: Of its content.

    Raises:
        UsageError: There are too few to fit anything.
    """
    count = len(preferences)
    if count < FEWEST_TO_FIT:
        raise UsageError(
            f"{count} choices are too few to learn from",
            f"pick among replies (/try, /pick) or rate them until there are {FEWEST_TO_FIT}",
        )
    digest = hashlib.sha256()
    for choice in choices:
        digest.update(json.dumps(asdict(choice)).encode())
    enough = count >= FEWEST
    return Discriminator(
        fit_preference(preferences, layers).head,
        Provenance(
            model=model,
            fingerprint=fingerprint,
            data=digest.hexdigest(),
            examples=(count, count),
            quality=None,
            layers={},
            created_at=time.time(),
            kind=PREFERENCE,
            accuracy=held_out_accuracy(preferences, layers) if enough else None,
        ),
    )
