"""The judge of a chat's model: its status, training, and the game."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import UsageError
from tchat.judge.discriminator import Discriminator, judge_folder, load
from tchat.judge.training_data import DialogueSet, Feedback, read_dialogues, read_feedback
from tchat.judge.training_run import TrainedHeads, require_enough, train_heads
from tchat.models.metadata import read_metadata
from tchat.models.models_file import model_setting, set_model_setting, settings_for
from tchat.models.resolve import resolve
from tchat.settings import Settings
from tchat.translation import tr

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.model import ChatModel
    from tchat.judge.game import AdversarialGame, GameConfig, GameEvent
    from tchat.judge.training import TrainingProgress
    from tchat.paths import Paths
    from tchat.sessions.store import Store

GAME = "duel"  # what the games that are played from the screen are called, with a sign of the data


@dataclass(frozen=True, slots=True)
class JudgeStatus:
    """The training data and the trained heads of the judge of a model.

    Attributes:
        use: The user's edits, choices and ratings of replies.
        games: The games that produced a control vector.
        steers: The game whose control vector is applied to the model; empty for none.
    """

    model: str
    use: Feedback
    human: Discriminator | None
    preference: Discriminator | None
    games: tuple[str, ...]
    steers: str


def judge_status(model: str, paths: Paths, store: Store) -> JudgeStatus:
    """The status of the judge of ``model``.

    Raises:
        ModelError: There is no such model.
        UsageError: A head is damaged.
        StorageError: The sessions cannot be read.
    """
    path = resolve(model, paths)
    metadata = read_metadata(path)
    folder = judge_folder(metadata, paths)
    games = tuple(name for name in folder.games() if folder.vector(name).is_file())
    human, preference = (
        load(head, folder.encryption) for head in (folder.human, folder.preference)
    )
    vectors = _vectors(model, paths, path)
    steers = next((name for name in games if str(folder.vector(name)) in vectors), "")
    return JudgeStatus(metadata.path.name, read_feedback(store), human, preference, games, steers)


def learn(
    chat: Chat, store: Store, file: Path | None
) -> Generator[TrainingProgress, None, TrainedHeads]:
    """Train the judge of the chat's model, from its use and from a file, on the engine thread.

    Raises:
        UsageError: There are too few training examples.
        InterruptedError: The user stopped it.
    """
    data = read_dialogues([file]) if file else None
    use = read_feedback(store)
    if data is None:
        require_enough(use.edits, use.choices)
    model = chat.require_model()
    return (yield from train_heads(model.require_engine(), model.metadata, chat.paths, data, use))


def steer(chat: Chat) -> None:
    """Steer the chat's model by the control vector of the last game, or stop that.

    Raises:
        UsageError: There is none, or models.toml is broken.
        StorageError: It cannot be written.
    """
    model = chat.settings.model
    path = resolve(model, chat.paths)
    folder = judge_folder(read_metadata(path), chat.paths)
    found = [each for name in folder.games() if (each := folder.vector(name)).is_file()]
    if not found:
        raise UsageError(tr("no duel is completed yet"), tr("run one first"))
    off = {str(each) for each in found} & set(_vectors(model, chat.paths, path))
    last = max(found, key=lambda each: each.stat().st_mtime)
    set_model_setting(
        chat.paths, model, path, model_setting("control_vector"), None if off else str(last)
    )
    chat.unload()


def _vectors(model: str, paths: Paths, path: Path) -> list[str]:
    """Paths of the control vectors in the model's own settings."""
    own = settings_for(Settings(model=model), paths, path).control_vector
    return [re.sub(r":-?[0-9.]+$", "", each) for each in own]


def play(chat: Chat, file: Path | None) -> Iterator[GameEvent]:
    """Play a game with the chat's model, on the engine thread; it goes on where it was left.

    Raises:
        UsageError: There are too few replies by people.
        InterruptedError: The user stopped it.
    """
    from tchat.judge.game import GameConfig

    if file is None:
        raise UsageError(
            tr("a duel needs human replies"), tr("name a JSONL file with `prompt` and `reply`")
        )
    data = read_dialogues([file])
    config = GameConfig(f"{GAME}-{data.sha256[:8]}")
    game = prepare_game(chat.require_model(), chat.paths, data, config)
    try:
        yield from game.play()
    finally:
        chat.unload()  # what it has read is of a steered model


def prepare_game(
    model: ChatModel, paths: Paths, data: DialogueSet, config: GameConfig
) -> AdversarialGame:
    """The adversarial game of a loaded model; it goes on where it was left."""
    from tchat.judge.game import AdversarialGame

    return AdversarialGame(
        model.require_engine(),
        judge_folder(model.metadata, paths),
        data,
        config,
        model=model.metadata.path.name,
        architecture=model.metadata.architecture,
    )
