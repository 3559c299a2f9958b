"""The first screen: filled once the sessions are open, and what is chosen on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tchat.errors import TchatError
from tchat.humanize import size_text
from tchat.models.files import short_model_name
from tchat.paths import Paths
from tchat.sanitize import single_line
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.widgets.first_screen import Choice, FirstScreen
from tchat.tui.widgets.sidebar import UNTITLED, used_text

if TYPE_CHECKING:
    from tchat.chat.better_model import BetterModel

RECENT = 3  # chats
REST = 2.0  # seconds without work or draft until the machine may be measured


class FirstScreenController:
    """Fills the first screen, and carries out what is chosen on it.

    Args:
        open_session: Opens a stored session by its id.
        pull: Asks whether to pull a model; pulls it while the chat goes on, and asks whether it
            becomes the default.
    """

    def __init__(
        self,
        context: ChatContext,
        open_session: Callable[[str], object],
        pull: Callable[[BetterModel], Awaitable[None]],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._open_session = open_session
        self._pull = pull
        self._better: BetterModel | None = None  # that is offered beside the starter
        self._pulling: BetterModel | None = None  # that was asked for last
        self._is_answered = False  # what was refused or failed is not offered again

    @background(group="first-screen", exclusive=True)
    async def refresh(self) -> None:
        """Show recent chats and the model in use, where the first screen is shown."""
        if not self._widget.display:
            return
        if self._context.downloads.name:
            self._widget.show_offer(self._download_text())
        self._widget.show_chats(await self._recent())
        metadata = self._context.conversation.metadata
        if metadata is None:
            self._widget.show_model(short_model_name(self._context.settings.model))
            return
        self._widget.show_model(*await self._model_facts(measure=False))
        await self._offer_better(measure=False)
        await asyncio.sleep(REST)
        if self._widget.display and self._is_at_rest:
            self._widget.show_model(*await self._model_facts(measure=True))
            await self._offer_better(measure=True)

    def choose(self, choice: Choice) -> None:
        """Open a recent chat, or put a prompt into the prompt."""
        if choice.session_id:
            self._open_session(choice.session_id)
        else:
            self._context.prompt.load(choice.title)
            self._context.prompt.focus()

    def accept_offer(self) -> None:
        """Ask whether to pull the better model, where one is offered and none is being pulled."""
        better = self._better
        if better is not None and self._widget.display and not self._context.downloads.name:
            self._better, self._pulling, self._is_answered = None, better, True
            self._pull_better(better)

    @background(group="pull")
    async def _pull_better(self, better: BetterModel) -> None:
        try:
            await self._pull(better)
        finally:
            self.refresh()

    def _download_text(self) -> str:
        """What is being downloaded, and where that can be stopped."""
        downloads, better = self._context.downloads, self._pulling
        model, size = single_line(downloads.name, 60), size_text(downloads.progress.total)
        if better is not None and better.full_name == downloads.name:
            model, size = better.name, size_text(better.size)
        return tr(
            "Downloading {model} … Chat meanwhile; {models}, then {stop} stops it.",
            model=f"{model} ({size})" if size else model,
            models=self._context.key_name("chat.model"),
            stop=self._context.key_name("models.remove"),
        )

    async def _offer_better(self, *, measure: bool) -> None:
        """Offer a better model beside the starter, where it is the only one."""
        if self._context.downloads.name:
            return
        better, metadata = None, self._context.conversation.metadata
        try:
            if metadata is not None and metadata.is_starter and not self._is_answered:
                better = await asyncio.to_thread(_find_better, self._context.paths, measure)
        except TchatError as error:  # the user's catalogue is broken, or llama.cpp is
            self._context.notify_error(error)
        self._better = better
        self._widget.show_offer(
            f"{better.suggestion} {tr('Enter asks.')}" if better is not None else ""
        )

    @property
    def _widget(self) -> FirstScreen:
        return self.screen.query_one(FirstScreen)

    @property
    def _is_at_rest(self) -> bool:
        return not self._context.turn_state.is_busy and not self._context.prompt.draft.text

    async def _recent(self) -> list[Choice]:
        sessions = await self._context.sessions.sessions(RECENT)
        return [
            Choice(each.title or tr(UNTITLED), used_text(each.updated_at), each.id)
            for each in sessions
        ]

    async def _model_facts(self, *, measure: bool) -> list[str]:
        from tchat.tui.services.model_summary import model_summary

        metadata, paths = self._context.conversation.metadata, self._context.paths
        if metadata is None:
            return []
        return await asyncio.to_thread(model_summary, metadata, paths, measure=measure)


def _find_better(paths: Paths, measure: bool) -> BetterModel | None:
    from tchat.chat.better_model import better_model, has_only_starter

    return better_model(paths, measure=measure) if has_only_starter(paths) else None
