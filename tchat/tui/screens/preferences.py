"""Settings and themes on the chat screen: changed for this chat, kept for good."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext

from tchat.errors import TchatError, UsageError
from tchat.plural import counted
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
from tchat.tui.background import background
from tchat.tui.screens.trials import Trials
from tchat.tui.screens.turns import load as load_model


class Preferences(Trials):
    """The part of the chat screen that changes what holds for the chat."""

    async def change(self, values: Mapping[str, Value], *, again: bool = False) -> None:
        """Change settings for this chat; the model is loaded anew when it must be.

        Args:
            values: By name.
            again: Load the model also where it stays the same.

        Raises:
            ModelError: A model or an adapter is not there, or is none; nothing is changed.
            UsageError: There is no such theme, or settings exclude each other; nothing is changed.
        """
        await self._check(values)
        await self.whole(self._change(values, again=again))

    async def _change(self, values: Mapping[str, Value], *, again: bool) -> None:
        before = self.conversation.settings
        loads = again or needs_loading(before, with_values(before, values))
        async with self.between_turns() if loads else nullcontext():
            loads = await self.conversation.change(values) or again
            if loads:
                await self._tell_loading()
        if loads:
            if not self.busy:  # else a prompt that was sent meanwhile loads it
                self.act(load_model)
        else:
            changed = (f"{name} = {spell(value) or '(empty)'}" for name, value in values.items())
            self.notify(", ".join(changed), markup=False)
            self.count_draft()
        self.wear(self.conversation.settings)
        self.show_status()

    async def _tell_loading(self) -> None:
        self.tell(f"The model is opened anew: {single_line(self.conversation.settings.model)}.")
        if messages := len(await self.conversation.branch()):
            what = counted(messages, "message is", "messages are")
            self.tell(f"This session stays; its {what} read again.")

    async def _check(self, values: Mapping[str, Value]) -> None:
        if "theme" in values and values["theme"] not in self.app.available_themes:
            name = single_line(str(values["theme"]))
            raise UsageError(f"there is no theme {name}", "/theme lists them")
        if "model" in values:
            await self.conversation.find_model(str(values["model"]))
        before = self.conversation.settings
        after = with_values(before, values)
        if needs_loading(before, after):
            await asyncio.to_thread(self._require_loadable, before, after)

    def _require_loadable(self, before: Settings, after: Settings) -> None:
        """Raise the error of ``after``, unless ``before`` cannot be loaded either."""
        from tchat.chat.preload import require_valid_options

        try:
            require_valid_options(after, self._paths)
        except TchatError as error:
            try:
                require_valid_options(before, self._paths)
            except TchatError as older:
                if str(older) == str(error):  # what is wrong was so before: let it be mended
                    return
            raise

    def wear(self, settings: Settings) -> None:
        """Take what changes the look at once: the theme, times and token counts."""
        if self.app.theme != settings.theme and settings.theme in self.app.available_themes:
            self.app.theme = settings.theme
        self.transcript.show_details(settings.show_details)
        self.transcript.show_scores(settings.show_scores)

    @background(group="dialog", exclusive=True)
    async def action_settings(self) -> None:
        """Show and change the settings."""
        from tchat.tui.dialogs.settings import CHANGED, SAVED, SettingsScreen

        now = self.conversation.settings
        stored, _, origins = await asyncio.to_thread(load, self._paths)
        known = keys().values()
        saved = {key.name: key.value_in(stored) for key in known if origins.get(key.name) == SAVED}
        changed = (key.name for key in known if key.value_in(now) != key.value_in(stored))
        origins = {**origins, **dict.fromkeys(changed, CHANGED)}
        await self.app.push_screen_wait(SettingsScreen(now, origins, self._apply_setting, saved))

    async def _apply_setting(self, key: Key, value: Value, save: bool) -> None:
        """Use a value in this chat, and keep it for good when asked to."""
        if save:
            await self._keep(key, value)
        if key.value_in(self.conversation.settings) != value:
            await self.change({key.name: value})

    async def _keep(self, key: Key, value: Value) -> None:
        """Write a setting into config.toml; new sessions begin with it."""
        from tchat.settings.write import set_value

        file = self._paths.config_file
        await asyncio.to_thread(set_value, file, key, spell(value))
        self.conversation.keep({key.name: value})

    @background(group="dialog", exclusive=True)
    async def action_theme(self) -> None:
        """Choose the colours."""
        from tchat.tui.dialogs.themes import ThemePicker

        themes = list(self.app.available_themes.values())
        name = await self.app.push_screen_wait(ThemePicker(themes, self.app.theme))
        if name is not None:
            await self.choose_theme(name)

    async def choose_theme(self, name: str) -> None:
        """Wear a theme from now on.

        Raises:
            UsageError: There is none of that name.
        """
        await self._check({"theme": name})
        self.app.theme = name
        await self.conversation.change({"theme": name})
        try:
            await self._keep(find_key("theme"), name)
        except TchatError as error:
            self.notify(str(error), severity="warning", markup=False)
