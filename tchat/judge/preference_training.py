"""Training the head of what the user prefers, from the choices that were made in chats."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict

from tchat.errors import UsageError
from tchat.judge.discriminator import PREFERENCE, Discriminator, TrainingProvenance
from tchat.judge.feature_extractor import FeatureExtractor
from tchat.judge.features import Features
from tchat.judge.feedback import PreferencePair, PromptedReply
from tchat.judge.preference_model import PreferenceFeatures, fit_preference, held_out_accuracy
from tchat.judge.training import MIN_TO_FIT, TrainingProgress, can_validate


def read_choices(
    reader: FeatureExtractor, choices: Sequence[PreferencePair]
) -> Generator[TrainingProgress, None, list[PreferenceFeatures]]:
    """The features of both replies of each choice; those that are too long are left out.

    Raises:
        InterruptedError: The engine's cancel flag was set.
    """
    known: dict[PromptedReply, Features | None] = {}
    groups = preference_groups(choices)
    found: list[PreferenceFeatures] = []
    for index, choice in enumerate(choices):
        yield TrainingProgress("reading", index, len(choices))
        for answer in (choice.chosen, choice.rejected):
            if answer not in known:
                known[answer] = reader.features(answer.asked, answer.text)
        chosen, rejected = known[choice.chosen], known[choice.rejected]
        if chosen and rejected:
            found.append(PreferenceFeatures(chosen, rejected, groups[index]))
    return found


def can_learn_preference(choices: Sequence[PreferencePair]) -> bool:
    """Whether there are enough, about several questions, to fit anything."""
    return len(choices) >= MIN_TO_FIT and len(set(preference_groups(choices))) > 1


def preference_groups(choices: Sequence[PreferencePair]) -> list[str]:
    """What tells each choice from those that have nothing in common with it.

    Choices about one question, or joined by others about the same, are held out together: a reply
    must not be learnt from and judged.
    """
    leads: dict[str, str] = {}

    def first(question: str) -> str:
        while (before := leads.setdefault(question, question)) != question:
            question = before
        return question

    for choice in choices:
        leads[first(_question(choice.rejected))] = first(_question(choice.chosen))
    return [first(_question(choice.chosen)) for choice in choices]


def _question(answer: PromptedReply) -> str:
    return answer.asked[-1].content


def train_preference(
    preferences: Sequence[PreferenceFeatures],
    choices: Sequence[PreferencePair],
    layers: Sequence[int],
    *,
    model: str,
    fingerprint: str,
) -> Discriminator:
    """Fit the head of what the user prefers.

    With too few, as of `can_validate`, no quality is claimed.

    Args:
        preferences: What was read.
        choices: What it was read from.
        layers: Which may serve; the best by cross-validation does.
        model: File name of the model that read.
        fingerprint: Of its content.

    Raises:
        UsageError: There are too few, or about one question, to fit anything.
    """
    count, groups = len(preferences), {each.group for each in preferences}
    _require_enough(count, len(groups))
    digest = hashlib.sha256()
    for choice in choices:
        digest.update(json.dumps(asdict(choice), default=bytes.hex).encode())
    enough = can_validate(count, groups)
    return Discriminator(
        fit_preference(preferences, layers).head,
        TrainingProvenance(
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


def _require_enough(count: int, groups: int) -> None:
    if count < MIN_TO_FIT or groups < 2:
        raise UsageError(
            f"{count} choices about {groups} questions that have nothing in common are too few to "
            "learn from",
            f"pick among replies (/try, /pick) or rate them until there are {MIN_TO_FIT} "
            "choices about several questions",
        )
