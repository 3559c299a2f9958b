"""Models: chosen, pulled while the chat goes on, and found on the first run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tchat.errors import ModelNotFound, TchatError, UsageError
from tchat.humanize import size_text, speed_text
from tchat.paths import expanded
from tchat.sanitize import single_line
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.settings import SettingsController
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController

if TYPE_CHECKING:
    from tchat.chat.better_model import BetterModel
    from tchat.models.hub.repository import HubName
    from tchat.models.hub.update import ModelRevision
    from tchat.tui.services.downloads import Agree
    from tchat.tui.services.models import ModelService

LOOK = 0.25  # seconds between two looks whether a question can be asked
RESTING_LOOKS = 4  # with nothing typed or written, until it is asked


async def _accept(_: str) -> bool:
    return True


class ModelsController:
    """Chooses, loads and pulls models.

    Attributes:
        on_download: Called when a download begins, when its size is known, and when it ends.
    """

    on_download: Callable[[], object]

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        settings: SettingsController,
        transcript: TranscriptController,
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._settings = settings
        self._transcript = transcript
        self._seen: tuple[str, int] = "", 0  # the download that was told to `on_download`

    @background(group="dialog", exclusive=True)
    async def show_picker(self) -> None:
        """Choose the model."""
        await self._pick()

    async def _pick(self) -> None:
        from tchat.tui.dialogs.models import ModelPicker

        service = self._service()
        picker = ModelPicker(await service.rows(False), service)
        choice = await self.screen.app.push_screen_wait(picker)
        if choice is not None:
            is_path = "/" in choice and not replace(self._context.settings, model=choice).server
            model = str(expanded(choice)) if is_path else choice
            await self._settings.change({"model": model})

    def _service(self) -> ModelService:
        from tchat.tui.services.models import ModelService

        context, metadata = self._context, self._context.conversation.metadata
        current = metadata.path if metadata else None
        keep = context.conversation.keep
        return ModelService(
            context.paths, current, context.downloads, self.pull, keep, writing=self._writing_server
        )

    def _writing_server(self) -> str:
        """The server that writes a reply now; empty for none."""
        return self._context.settings.server if self._context.turn_state.is_running else ""

    # Downloads

    @background(group="pull")
    async def pull(
        self, name: str, *, agreed: bool = False, newer: ModelRevision | None = None
    ) -> None:
        """Pull a model while the chat goes on; the status line tells how far it is.

        With ``agreed``, the user has accepted already that it is of no use here. With ``newer``,
        a newer revision takes the place of a model that is here.
        """
        agree = _accept if agreed else self._agree
        if not await self._pulled(name, agree, newer.hub_name if newer else None):
            return
        if newer is not None:
            told = tr(
                "{name} is up to date, {size}",
                name=name,
                size=size_text(newer.there.size if newer.there else 0),
            )
            self._context.notify(single_line(told))
            if kept := await self._service().remove_replaced(newer):
                self._context.notify(single_line(kept, 1000))
        else:
            key = self._context.key_name("chat.model")
            shown = single_line(name)
            self._context.notify(
                tr("{model} is downloaded: choose it with {key}.", model=shown, key=key)
            )

    async def pull_and_offer(self, better: BetterModel) -> None:
        """Ask, pull a model while the chat goes on, and ask whether it becomes the default."""
        if not await self._wants(better) or not await self._pulled(better.full_name, self._agree):
            return
        self._context.notify(tr("{model} is downloaded.", model=better.name))
        await self._rest()
        from tchat.tui.dialogs.dialog import Confirm

        question = tr("Make {model} the default model?", model=better.name)
        detail = tr("This chat goes on with it, and new chats begin with it.")
        if await self.screen.app.push_screen_wait(Confirm(question, detail)):
            await self._service().make_default(better.name)
            await self._settings.change({"model": better.name})

    async def _wants(self, better: BetterModel) -> bool:
        """Ask as the model picker does, and name the keys that stop it."""
        from tchat.tui.dialogs.model_actions import pull_question

        plan = await self._service().plan_better(better)
        speed = speed_text(better.speed)
        told = tr("about {speed} tok/s", speed=speed) if speed else ""
        stop = tr(
            "{models}, then {stop} stops it; what came is kept.",
            models=self._context.key_name("chat.model"),
            stop=self._context.key_name("models.remove"),
        )
        question = pull_question(plan, "", told, stop)
        return await self.screen.app.push_screen_wait(question) is True

    async def _rest(self) -> None:
        """Wait until nothing is typed or written: no question comes between."""
        looks = 0
        while looks < RESTING_LOOKS:
            typing = self._context.prompt.draft.text or not self.screen.is_current
            looks = 0 if self._turn.is_busy or typing else looks + 1
            await asyncio.sleep(LOOK)

    async def _pulled(self, name: str, agree: Agree, newer: HubName | None = None) -> bool:
        """Whether a model was pulled; else the user was told why not."""
        shown = single_line(name)
        try:
            downloads = self._context.downloads
            pulled = await downloads.run(name, self._show_progress, agree, newer)
        except UsageError as error:  # the user did not want it, or not now
            self._context.notify_error(error)
            return False
        except TchatError as error:
            told = tr("{model} was not downloaded: {reason}", model=shown, reason=error.message)
            self._context.notify_error(TchatError(told, error.hint))  # the picker tells it, too
            return False
        for remark in downloads.remarks:
            self._context.notify(single_line(remark, 1000))
        if pulled is None:
            text = tr("Stopped; downloading {model} again resumes it.", model=shown)
            self._context.notify(text)
        return pulled is not None

    async def _agree(self, objection: str) -> bool:
        from tchat.tui.dialogs.dialog import Confirm

        question, yes = tr("Download it anyway?"), tr("Download")
        ask = Confirm(question, objection, yes=yes, danger=True)
        return await self.screen.app.push_screen_wait(ask) is True

    def _show_progress(self) -> None:
        if not self.screen.is_attached:
            return
        self._context.status.refresh()
        downloads = self._context.downloads
        seen = downloads.name, downloads.progress.total
        if seen != self._seen:
            self._seen = seen
            self.on_download()

    # The first model

    async def load_or_welcome(self) -> None:
        """Load the model; on the first run without one, say how to get it."""
        from tchat.models.sources.starter import STARTER

        if self._turn.is_busy:  # a prompt was sent already, which loads it
            return
        if self._context.settings.model == STARTER:
            try:
                await self._context.conversation.find_model(STARTER)
            except ModelNotFound:
                await self._welcome()
                return
        self._turn.load_model()

    async def _welcome(self) -> None:
        from tchat.tui.dialogs.welcome import AGAIN, BROWSE, Welcome

        rows = await self._service().rows(False)
        choice = await self.screen.app.push_screen_wait(Welcome(found=len(rows)))
        if choice is None:
            key = self._context.key_name("chat.model")
            self._transcript.show_notice(
                tr("There is no model yet: choose one with {key}.", key=key)
            )
            return
        known = self._context.settings.model
        try:
            if choice == BROWSE:
                await self._pick()
            else:
                model = known if choice == AGAIN else str(expanded(choice))
                await self._settings.change({"model": model}, reload=True)
        except TchatError as error:
            self._context.notify_error(error)
            await self._welcome()
