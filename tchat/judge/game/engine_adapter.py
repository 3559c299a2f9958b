"""The generator at the table: a loaded engine that writes steered, and reads unsteered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tchat.engine.batch import BatchOptions
from tchat.engine.engine import Engine
from tchat.engine.prompt.messages import ChatMessage
from tchat.judge.feature_extractor import FeatureExtractor
from tchat.judge.game.constraints import GameReply
from tchat.judge.game.steering import Steering
from tchat.judge.generate_replies import reply_task, reply_text
from tchat.settings import Sampling


class EngineGenerator:
    """A `SteerableGenerator` of the game.

    Args:
        engine: Writes; it must be loaded. Its own control vector is out of force meanwhile.
        reader: Reads what it wrote.
        temperature: Of the draws.
        longest: Tokens of a reply at the most.
    """

    def __init__(
        self, engine: Engine, reader: FeatureExtractor, *, temperature: float, longest: int
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._temperature = temperature
        self._longest = longest

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[GameReply]:
        """A reply to each prompt, as they are finished; empty ones are left out.

        Raises:
            InterruptedError: The engine's cancel flag was set.
        """
        sampling = Sampling(temp=self._temperature, max_tokens=self._longest)
        tasks = [reply_task(index, prompt, seed + index) for index, prompt in enumerate(prompts)]
        with self._engine.steered(steering.vectors()):
            for outcome in self._engine.map(tasks, BatchOptions(sampling=sampling)):
                prompt, text = prompts[outcome.index], reply_text(outcome)
                if text and (reply := read_reply(self._reader, prompt, text)):
                    yield reply
            if self._engine.cancel.is_set():
                raise InterruptedError


def read_reply(reader: FeatureExtractor, prompt: str, text: str) -> GameReply | None:
    """A reply with its features; None where there are none.

    Raises:
        InterruptedError: The cancel flag was set.
    """
    features = reader.features([ChatMessage("user", prompt)], text)
    return GameReply(prompt, text, features) if features else None
