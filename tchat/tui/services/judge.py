"""What the judge's screen needs of the chat: figures, training and the game, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tchat.tui.services.conversation import Conversation

if TYPE_CHECKING:
    from tchat.chat.chat import Chat
    from tchat.chat.judge_service import JudgeStatus
    from tchat.judge.game import GameResult, GameState, StepProgress
    from tchat.judge.training import TrainingProgress

    Told = Callable[["TrainingProgress | StepProgress | GameState | GameResult"], object]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class JudgeService:
    """The judge of one conversation's model."""

    conversation: Conversation

    async def learnt(self) -> JudgeStatus:
        """What there is to learn from, and what was learnt."""

        def read() -> JudgeStatus:
            from tchat.chat.judge_service import judge_status

            here = self.conversation
            return judge_status(here.settings.model, here.paths, here.persistent)

        return await asyncio.to_thread(read)

    async def train(self, file: Path | None, told: Told) -> None:
        """Train from use and from a file; ``told`` is called with how far it is."""
        from tchat.chat.judge_service import learn

        store = self.conversation.persistent
        await self.conversation.work(lambda chat: learn(chat, store, file), told)

    async def play(self, file: Path | None, told: Told) -> None:
        """Play a game; ``told`` is called with each round, and how far it is."""

        def begin(chat: object) -> Iterator[object]:
            from tchat.chat.judge_service import play

            return play(chat, file)  # type: ignore[arg-type]

        await self.conversation.work(begin, told)

    async def steer(self, _file: Path | None, told: Told) -> None:
        """Apply the control vector of the last game to the model; remove it if it is applied."""

        def begin(chat: Chat) -> Iterator[object]:
            from tchat.chat.judge_service import steer

            steer(chat)
            return iter(())

        await self.conversation.work(begin, told)

    def stop(self) -> None:
        """Stop what runs; it can go on later."""
        self.conversation.stop()
