"""Training the heads of a model from files and feedback, and saving them in its folder."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from tchat.engine.engine import Engine
from tchat.errors import TchatError, UsageError
from tchat.judge.discriminator import HUMAN, READING, Discriminator, JudgeFolder, judge_folder, save
from tchat.judge.features import FeatureExtractor, middle_layers
from tchat.judge.preference_model import (
    can_learn_preference,
    read_choices,
    train_preference,
)
from tchat.judge.training import (
    MIN_TO_FIT,
    MIN_TO_VALIDATE,
    ReplyCache,
    TrainingProgress,
    read_pairs,
    train,
    write_pairs,
)
from tchat.judge.training_data import DialogueSet, EditedReply, Feedback, PreferencePair
from tchat.models.metadata import ModelMetadata
from tchat.models.resolve import resolve
from tchat.paths import Paths
from tchat.translation import tr, trn


@dataclass(frozen=True, slots=True)
class TrainedHeads:
    """The heads that were trained; None for those without examples."""

    human: Discriminator | None
    reading: Discriminator | None
    preference: Discriminator | None
    left_out: str = ""  # a notice of human replies that are not trained on


def require_enough(edits: Sequence[EditedReply], choices: Sequence[PreferencePair]) -> None:
    """Raise UsageError unless there is enough to train on without files.

    Raises:
        UsageError: There is not.
    """
    if len(edits) < MIN_TO_FIT and not can_learn_preference(choices):
        raise UsageError(
            tr(
                "there are too few training examples: {choices} and {replies} in chats with "
                "this model",
                choices=trn("{count:,} choice", "{count:,} choices", len(choices)),
                replies=trn("{count:,} edited reply", "{count:,} edited replies", len(edits)),
            ),
            tr(
                "name a JSONL file of prompts and replies (tchat judge train FILE), or pick, "
                "rate and edit replies until there are {min_to_fit}, better {min_to_validate}",
                min_to_fit=MIN_TO_FIT,
                min_to_validate=MIN_TO_VALIDATE,
            ),
        )


def feedback_on_model(use: Feedback, metadata: ModelMetadata, paths: Paths) -> Feedback:
    """``use`` without the edits of replies by other models.

    A model is recognized by the hash of its file, else by its name.
    """

    @cache
    def leads_here(name: str) -> bool:
        try:
            return resolve(name, paths) == metadata.path
        except TchatError:
            return False

    def wrote(edit: EditedReply) -> bool:
        if edit.model_sha256 or metadata.sha256:
            return edit.model_sha256 == metadata.sha256
        return leads_here(edit.model)

    return replace(use, edits=tuple(filter(wrote, use.edits)))


def train_heads(
    engine: Engine,
    metadata: ModelMetadata,
    paths: Paths,
    data: DialogueSet | None,
    feedback: Feedback,
) -> Generator[TrainingProgress, None, TrainedHeads]:
    """Train the heads that have enough examples, and save them.

    Args:
        engine: Must be loaded.
        metadata: Of its model.
        paths: Where the judge's folders are.
        data: Dialogues from files, or None.
        feedback: Of all models.

    Raises:
        UsageError: There are too few examples for any.
        InterruptedError: The engine's cancel flag was set.
    """
    own, folder = feedback_on_model(feedback, metadata, paths), judge_folder(metadata, paths)
    if data is None:
        require_enough(own.edits, own.choices)
    human = reading = preference = None
    left_out = ""
    if data is not None or len(own.edits) >= MIN_TO_FIT:
        human, reading, left_out = yield from _train_human(
            engine, metadata, folder, data, own.edits
        )
    if can_learn_preference(own.choices):
        preference = yield from _train_preference(engine, metadata, folder, own.choices)
    return TrainedHeads(human, reading, preference, left_out)


def _train_human(
    engine: Engine,
    metadata: ModelMetadata,
    folder: JudgeFolder,
    data: DialogueSet | None,
    edits: Sequence[EditedReply],
) -> Generator[TrainingProgress, None, tuple[Discriminator, Discriminator, str]]:
    """The discriminators of the last layer and of the best layer, and what was left out."""
    dialogues = data.dialogues if data else ()
    reply_cache = ReplyCache(folder.generations, folder.encryption)
    matched = yield from write_pairs(engine, dialogues, reply_cache, edits)
    matched.require_enough()
    last, middle = engine.n_layer, middle_layers(engine.n_layer)
    with FeatureExtractor(engine, middle) as reader:
        examples, digest = yield from read_pairs(reader, matched.pairs)
    yield TrainingProgress(tr("fitting"), 0, 0)
    fit = partial(
        train, examples, model=metadata.path.name, fingerprint=folder.fingerprint, data=digest
    )
    human, reading = fit([last], kind=HUMAN), fit([*middle, last], kind=READING)
    save(human, folder.human, folder.encryption)
    save(reading, folder.reading, folder.encryption)
    return human, reading, matched.left_out.notice


def _train_preference(
    engine: Engine, metadata: ModelMetadata, folder: JudgeFolder, choices: Sequence[PreferencePair]
) -> Generator[TrainingProgress, None, Discriminator]:
    with FeatureExtractor(engine) as reader:
        preferences = yield from read_choices(reader, choices)
    yield TrainingProgress(tr("fitting"), 0, 0)
    trained = train_preference(
        preferences,
        choices,
        [engine.n_layer],
        model=metadata.path.name,
        fingerprint=folder.fingerprint,
    )
    save(trained, folder.preference, folder.encryption)
    return trained
