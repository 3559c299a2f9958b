"""Settings and themes: changed for this chat, or saved for new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial

from tchat.errors import TchatError, UsageError
from tchat.sanitize import single_line
from tchat.settings import (
    Key,
    Settings,
    Value,
    find_key,
    keys,
    load,
    needs_loading,
    spell,
    with_values,
)
from tchat.settings.keys import renamed_theme
from tchat.translation import english, tr, trn
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.controllers.status import server_label
from tchat.tui.controllers.transcript import TranscriptController
from tchat.tui.controllers.turn import TurnController


class SettingsController:
    """Changes what holds for the chat, after which ``count_draft`` counts the draft anew."""

    def __init__(
        self,
        context: ChatContext,
        turn: TurnController,
        transcript: TranscriptController,
        count_draft: Callable[[], object],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._turn = turn
        self._transcript = transcript
        self._count_draft = count_draft

    async def change(
        self, values: Mapping[str, Value], *, reload: bool = False, told: bool = True
    ) -> None:
        """Change settings for this chat; the model is loaded anew when it must be.

        Args:
            values: By name.
            reload: Load the model also where it stays the same.
            told: Whether a toast tells the change.

        Raises:
            ModelError: A model or an adapter is not there, or is none; nothing is changed.
            UsageError: There is no such theme, or settings cannot be combined; nothing is changed.
        """
        values = await self._checked(values)
        await self._turn.complete(self._change(values, reload=reload, told=told))

    async def _change(self, values: Mapping[str, Value], *, reload: bool, told: bool) -> None:
        conversation = self._context.conversation
        before = conversation.settings
        loads = reload or needs_loading(before, with_values(before, values))
        was_loaded = loads and await conversation.count_draft("") is not None
        async with self._turn.between_turns() if loads else nullcontext():
            loads = await conversation.change(values) or reload
            if loads:
                await self._show_loading()
        if loads:
            if not self._turn.is_busy:  # else a prompt that was sent meanwhile loads it
                old = {name: find_key(name).value_in(before) for name in values}
                can_undo = was_loaded and "model" not in values
                undo = partial(self._restore, old) if can_undo else None
                self._turn.load_model(undo=undo)
        else:
            changed = (f"{name} = {spell(value) or '(empty)'}" for name, value in values.items())
            if told:
                self._context.notify(", ".join(changed))
            self._count_draft()
        self.apply_look(conversation.settings)
        self._context.status.refresh()

    async def _restore(self, old: Mapping[str, Value], failure: TchatError) -> None:
        """The model did not load with other values: say so, and go back to the ``old`` ones."""
        from tchat.tui.dialogs.settings import SettingsScreen

        await self._context.conversation.change(old)
        unchanged = TchatError(
            tr("{old} not changed: {value}", old=", ".join(old), value=failure.message),
            failure.hint,
        )
        self._transcript.show_error(unchanged)
        for screen in self.screen.app.screen_stack:
            if isinstance(screen, SettingsScreen):
                screen.put_back(old, self._context.hinted(failure))

    async def _show_loading(self) -> None:
        conversation = self._context.conversation
        model = single_line(conversation.settings.model)
        text = tr("Loading {model}.", model=model)
        messages = len(await self._context.messages.branch())
        if server := server_label(conversation.settings.server):
            text = self._sent_text(single_line(server), messages)
        elif messages:
            text = trn(
                "Loading {model}: the session stays open, its message is processed again.",
                "Loading {model}: the session stays open, its {count:,} messages are processed "
                "again.",
                messages,
                model=model,
            )
        self._transcript.show_notice(text)

    def _sent_text(self, server: str, messages: int) -> str:
        """What becomes of the messages on a server."""
        if not messages:
            return tr("The next prompt is sent to {server}.", server=server)
        return trn(
            "The next prompt is sent to {server}, with the message of this session.",
            "The next prompt is sent to {server}, with the {count:,} messages of this session.",
            messages,
            server=server,
        )

    async def _checked(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """``values``, with the present name of a theme."""
        if "theme" in values:
            values = {**values, "theme": self._present_theme(str(values["theme"]))}
        if "model" in values:
            await self._context.conversation.read_servers()
            await self._context.conversation.find_model(str(values["model"]))
        before = self._context.conversation.settings
        after = with_values(before, values)
        if needs_loading(before, after):
            await asyncio.to_thread(self._require_valid_options, before, after)
        return values

    def _present_theme(self, name: str) -> str:
        from tchat.tui.themes import current_name

        themes = self.screen.app.available_themes
        found = current_name(name, themes)
        if found not in themes:
            raise UsageError(
                tr("there is no theme {name}", name=single_line(name)), tr("/theme lists them")
            )
        if found != name:
            self._context.notify(renamed_theme(name))
        return found

    def _require_valid_options(self, before: Settings, after: Settings) -> None:
        """Raise the error of ``after``, unless ``before`` cannot be loaded either."""
        from tchat.chat.preload import require_valid_options

        try:
            require_valid_options(after, self._context.paths)
        except TchatError as error:
            try:
                require_valid_options(before, self._context.paths)
            except TchatError as older:
                if _is_same(older, error):  # what is wrong was so before: let it be mended
                    return
            raise

    def apply_look(self, settings: Settings) -> None:
        """Apply what changes the look: the theme, times and token counts."""
        app = self.screen.app
        if app.theme != settings.theme and settings.theme in app.available_themes:
            app.theme = settings.theme
        self._transcript.view.show_details(settings.show_details)
        self._transcript.view.show_scores(settings.show_scores)

    async def toggle_details(self) -> None:
        """Show or hide times, models and token counts."""
        shown = not self._context.settings.show_details
        await self._context.conversation.change({"show_details": shown})
        self.apply_look(self._context.settings)

    @background(group="dialog", exclusive=True)
    async def show_dialog(self) -> None:
        """Show and change the settings."""
        from tchat.tui.dialogs.settings import SAVED, SettingsScreen

        context = self._context
        stored, _, origins = await asyncio.to_thread(load, context.paths)
        known = keys().values()
        saved = {key.name: key.value_in(stored) for key in known if origins.get(key.name) == SAVED}
        now = await asyncio.to_thread(self._with_model_settings, context.settings)
        await self.screen.app.push_screen_wait(
            SettingsScreen(
                now,
                {**origins, **self._origins(stored, now)},
                self._apply,
                saved,
                str(context.paths.config_file),
            )
        )

    def _with_model_settings(self, settings: Settings) -> Settings:
        """``settings`` with what is set for the loaded model."""
        from tchat.models.model_sampling import with_model_sampling
        from tchat.models.models_file import settings_for

        metadata = self._context.conversation.metadata
        if metadata is None:
            return settings
        settings = settings_for(settings, self._context.paths, metadata.path)
        return with_model_sampling(settings, self._context.paths, metadata)

    def _origins(self, stored: Settings, now: Settings) -> dict[str, str]:
        """Where the values come from that are not those of ``stored``."""
        from tchat.settings.schema import SESSION

        state = self._context.conversation.session_state
        found = {}
        for key in keys().values():
            value = key.value_in(now)
            if value != key.value_in(state.settings):
                found[key.name] = now.origins[key.name]
            elif value != key.value_in(stored):
                found[key.name] = SESSION
                if value == key.value_in(state.base):
                    found[key.name] = _origin_at_start(key, state.base)
        return found

    async def _apply(self, key: Key, value: Value, save: bool) -> None:
        """Use a value in this chat, and save it when asked to."""
        if save:
            await self._save(key, value)
        if key.value_in(self._context.settings) != value:
            await self.change({key.name: value})

    async def keep(self, name: str, value: Value) -> None:
        """Use a value in this chat and in new sessions.

        Raises:
            TchatError: It is not allowed, or cannot be saved.
        """
        await self._apply(find_key(name), value, save=True)

    async def _save(self, key: Key, value: Value) -> None:
        """Write a setting into config.toml; new sessions begin with it."""
        from tchat.settings.load import set_value

        await asyncio.to_thread(set_value, self._context.paths.config_file, key, spell(value))
        self._context.conversation.keep({key.name: value})

    # Themes

    @background(group="dialog", exclusive=True)
    async def show_themes(self) -> None:
        """Choose the colours."""
        from tchat.tui.dialogs.themes import ThemePicker

        app = self.screen.app
        name = await app.push_screen_wait(
            ThemePicker(list(app.available_themes.values()), app.theme)
        )
        if name is not None:
            await self.set_theme(name)

    async def set_theme(self, name: str) -> None:
        """Use a theme from now on."""
        name = str((await self._checked({"theme": name}))["theme"])
        self.screen.app.theme = name
        await self._context.conversation.change({"theme": name})
        try:
            await self._save(find_key("theme"), name)
        except TchatError as error:
            self._context.notify(str(error), severity="warning")


def _origin_at_start(key: Key, base: Settings) -> str:
    """Where a value of ``base`` comes from, which ``config.toml`` holds no more."""
    from tchat.settings.schema import CONFIG_FILE, FLAG
    from tchat.tui.dialogs.settings import DEFAULT, START

    is_default = key.value_in(base) == key.value_in(Settings())
    origin = base.origins.get(key.name, DEFAULT if is_default else FLAG)
    return START if origin in (DEFAULT, CONFIG_FILE) else origin


def _is_same(one: TchatError, other: TchatError) -> bool:
    """Whether both tell the same failure."""
    return type(one) is type(other) and english(one.message) == english(other.message)
