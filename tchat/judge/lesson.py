"""One training of a model's heads, from files, from use, or from both, saved in its folder."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from tchat.engine.engine import Engine
from tchat.errors import UsageError
from tchat.judge.dialogues import Data
from tchat.judge.discriminator import Discriminator, save
from tchat.judge.examples import Choice, Edit, Use
from tchat.judge.folder import ModelFolder
from tchat.judge.generations import Generations
from tchat.judge.reader import Reader
from tchat.judge.taste import read_choices, train_preference
from tchat.judge.training import (
    FEWEST,
    FEWEST_TO_FIT,
    Working,
    read_pairs,
    train,
    write_pairs,
)


@dataclass(frozen=True, slots=True)
class Trained:
    """The heads that a training came to.

    Args:
        human: Tells people's replies from the model's; None without replies to learn it from.
        preference: Tells what the user prefers; None without choices to learn it from.
    """

    human: Discriminator | None
    preference: Discriminator | None


def require_enough(edits: Sequence[Edit], choices: Sequence[Choice]) -> None:
    """Do nothing when there is enough to train on without files.

    Raises:
        UsageError: There is not.
    """
    if max(len(edits), len(choices)) < FEWEST_TO_FIT:
        raise UsageError(
            "there is too little to learn from without replies by people in a file: "
            f"{len(choices)} choices and {len(edits)} replies by hand in your chats",
            f"name a JSONL file of prompts and replies (tchat judge train FILE), or pick, rate "
            f"and edit replies until there are {FEWEST_TO_FIT}, better {FEWEST}",
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt from.

    Args:
        engine: Loaded.
        folder: Of its model.
        model: File name of the model.
        sha256: Of the model's file, as sessions note it.
        data: Dialogues from files; None for none.
        use: What the user made of replies.
    """

    engine: Engine
    folder: ModelFolder
    model: str
    sha256: str
    data: Data | None
    use: Use

    def run(self) -> Generator[Working, None, Trained]:
        """Train the heads for which there is enough, and save them.

        Raises:
            UsageError: There is too little for either.
            InterruptedError: The engine's cancel flag was set.
        """
        edits = [each for each in self.use.edits if each.model_sha256 == self.sha256]
        if self.data is None:
            require_enough(edits, self.use.choices)
        tells = self.data is not None or len(edits) >= FEWEST_TO_FIT
        human = (yield from self._human(edits)) if tells else None
        prefers = len(self.use.choices) >= FEWEST_TO_FIT
        preference = (yield from self._preference()) if prefers else None
        return Trained(human, preference)

    def _human(self, edits: Sequence[Edit]) -> Generator[Working, None, Discriminator]:
        kept = Generations(self.folder.generations)
        dialogues = self.data.dialogues if self.data else ()
        pairs = yield from write_pairs(self.engine, dialogues, kept, edits)
        with Reader(self.engine) as reader:
            examples = yield from read_pairs(reader, pairs)
        yield Working("fitting", 0, len(pairs))
        trained = train(
            examples,
            [self.engine.blocks],
            model=self.model,
            fingerprint=self.folder.fingerprint,
        )
        save(trained, self.folder.human)
        return trained

    def _preference(self) -> Generator[Working, None, Discriminator]:
        with Reader(self.engine) as reader:
            preferences = yield from read_choices(reader, self.use.choices)
        yield Working("fitting", 0, len(preferences))
        trained = train_preference(
            preferences,
            self.use.choices,
            [self.engine.blocks],
            model=self.model,
            fingerprint=self.folder.fingerprint,
        )
        save(trained, self.folder.preference)
        return trained
