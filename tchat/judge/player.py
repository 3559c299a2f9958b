"""The generator at the table: a loaded engine that writes steered, and reads unsteered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tchat.engine.engine import Engine
from tchat.engine.mapping import MapOptions
from tchat.engine.turns import ChatMessage
from tchat.judge.asking import asking, text_of
from tchat.judge.guard import Reply
from tchat.judge.reader import Reader
from tchat.judge.steering import Steering
from tchat.settings import Sampling


class EnginePlayer:
    """A `Player` of the game.

    Args:
        engine: Writes; it must be loaded. Its own control vector is out of force meanwhile.
        reader: Reads what it wrote.
        temperature: Of the draws.
        longest: Tokens of a reply at the most.
    """

    def __init__(self, engine: Engine, reader: Reader, *, temperature: float, longest: int) -> None:
        self._engine = engine
        self._reader = reader
        self._temperature = temperature
        self._longest = longest

    def write(self, prompts: Sequence[str], steering: Steering, seed: int) -> Iterator[Reply]:
        """A reply to each prompt, as they are finished; empty ones are left out.

        Raises:
            InterruptedError: The engine's cancel flag was set.
        """
        sampling = Sampling(temp=self._temperature, max_tokens=self._longest)
        tasks = [asking(index, prompt, seed + index) for index, prompt in enumerate(prompts)]
        with self._engine.steered(steering.vectors()):
            for outcome in self._engine.map(tasks, MapOptions(sampling=sampling)):
                prompt, text = prompts[outcome.index], text_of(outcome)
                if text and (reply := read_reply(self._reader, prompt, text)):
                    yield reply
            if self._engine.cancel.is_set():
                raise InterruptedError


def read_reply(reader: Reader, prompt: str, text: str) -> Reply | None:
    """A reply with its features; None where there are none.

    Raises:
        InterruptedError: The cancel flag was set.
    """
    features = reader.features([ChatMessage("user", prompt)], text)
    return Reply(prompt, text, features) if features else None
