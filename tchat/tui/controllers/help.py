"""Keys, commands and prompt templates: shown, and put into the prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from tchat.chat.commands import Surface, commands_for
from tchat.sanitize import single_line
from tchat.settings import Settings, Value, find_key, spell
from tchat.translation import tr
from tchat.tui.background import background
from tchat.tui.controllers.context import ChatContext
from tchat.tui.keys import KeyAction, Scope
from tchat.tui.widgets.prompt import Prompt
from tchat.tui.widgets.prompt_draft import Draft

VALUE = 60  # characters of a value that is told


def _with_value(name: str, value: Value, before: Settings) -> str:
    """A setting with its value, and the one that it had: ``temp = 0.2 (was 0.8)``."""
    shown = f"{name} = {single_line(spell(value), VALUE)}"
    was = single_line(spell(find_key(name).value_in(before)), VALUE)
    return tr("{setting} (was {value})", setting=shown, value=was) if was else shown


class HelpController:
    """Shows what can be done, and lets the user begin it."""

    def __init__(
        self,
        context: ChatContext,
        change_settings: Callable[[Mapping[str, Value]], Awaitable[None]],
        act_on_last: Callable[[str], object],
    ) -> None:
        self.screen = context.screen
        self._context = context
        self._change_settings = change_settings
        self._act_on_last = act_on_last

    @background(group="dialog", exclusive=True)
    async def show_help(self) -> None:
        """Show keys and commands, those that work now first.

        A command that is chosen goes into the prompt; an action is carried out.
        """
        from tchat.tui.dialogs.help import HelpScreen

        state, keys = self._context.turn_state, self._context.keys_in_force()
        writing = state.is_running and not state.loads_model
        help_screen = HelpScreen(keys, commands_for(Surface.SCREEN), self._scope(), writing=writing)
        chosen = await self.screen.app.push_screen_wait(help_screen)
        if chosen is not None:
            self._carry_out(chosen, keys)

    @background(group="dialog", exclusive=True)
    async def show_manual(self, words: str = "") -> None:
        """Show the manual, and in it what contains ``words``."""
        from tchat.tui.dialogs.manual import ManualScreen

        await self.screen.app.push_screen_wait(ManualScreen(words))

    @background(group="help", exclusive=True)
    async def show_dialog_help(self, scope: Scope) -> None:
        """Show the help over a dialog, whose keys are those of ``scope``."""
        from tchat.tui.dialogs.help import HelpScreen

        keys = self._context.keys_in_force()
        help_screen = HelpScreen(keys, commands_for(Surface.SCREEN), scope, only_read=True)
        await self.screen.app.push_screen_wait(help_screen)

    def _scope(self) -> Scope:
        """Where the keys go."""
        from tchat.tui.widgets.candidates import Candidates
        from tchat.tui.widgets.fuzzy_list import FuzzyList
        from tchat.tui.widgets.transcript.view import Transcript

        focused = self.screen.focused
        for widget in focused.ancestors_with_self if focused is not None else ():
            for kind, scope in (
                (Candidates, Scope.CANDIDATES),
                (Transcript, Scope.MESSAGES),
                (FuzzyList, Scope.LISTS),
                (Prompt, Scope.PROMPT),
            ):
                if isinstance(widget, kind):
                    return scope
        return Scope.CHAT

    @background(group="dialog", exclusive=True)
    async def show_palette(self) -> None:
        """Everything that can be done, by name; what is used often and lately first."""
        from tchat.tui.dialogs.help import ON_LAST_MESSAGE, command_palette
        from tchat.tui.services.palette import PaletteUse

        use = PaletteUse(self._context.paths.palette_file, self._context.paths.encryption)
        actions = [
            each
            for each in self._context.keys_in_force()
            if each.scope is Scope.CHAT or each.id in ON_LAST_MESSAGE
        ]
        first = await asyncio.to_thread(use.first)
        chosen = await self.screen.app.push_screen_wait(
            command_palette(actions, commands_for(Surface.SCREEN), first)
        )
        if chosen is None:
            return
        self._carry_out(chosen, actions)
        if not self._context.private:
            await asyncio.to_thread(use.record, chosen)

    def _carry_out(self, chosen: str, actions: Iterable[KeyAction]) -> None:
        """Carry out the command or the action of the chat that was chosen."""
        if chosen.startswith("/"):
            self._use_command(chosen)
        else:
            action = next(each for each in actions if each.id == chosen)
            if action.scope is Scope.MESSAGES:
                self._act_on_last(action.action)
            else:
                self.screen.call_later(self.screen.run_action, action.action)

    def _use_command(self, typed: str) -> None:
        """Carry out a command that takes nothing; let the user complete another."""
        commands = commands_for(Surface.SCREEN)
        command = next(each for each in commands if f"/{each.name}" == typed)
        prompt = self._context.prompt
        if command.takes:
            prompt.load(f"{typed} ")
            prompt.focus()
        else:
            prompt.post_message(Prompt.Submitted(Draft(typed)))

    @background(group="dialog", exclusive=True)
    async def show_templates(self) -> None:
        """Insert a prompt template."""
        from tchat.chat.templates import list_templates
        from tchat.tui.dialogs.help import template_picker

        templates, broken = await asyncio.to_thread(list_templates, self._context.paths)
        for problem in broken:
            self._context.notify(problem, severity="warning")
        name = await self.screen.app.push_screen_wait(template_picker(templates))
        if name is not None:
            await self.insert_template(name)

    async def insert_template(self, name: str, text: str = "") -> None:
        """Put a template into the prompt, with ``text``, or what is typed, as its input.

        Its model, system prompt and sampling hold for a session that has not begun.
        """
        from tchat.chat.templates import find_template

        context, prompt = self._context, self._context.prompt
        template = await asyncio.to_thread(find_template, name, context.paths)
        text, blanks, system, missing = template.begin(text or prompt.draft.full_text)
        if not (template.is_persona and blanks):
            prompt.load(Draft(text, blanks=blanks))
            prompt.select_blank()
        prompt.focus()
        if missing:
            needed = ", ".join(missing)
            context.notify(
                tr("The template's system prompt needs {names}: /system sets one.", names=needed)
            )
        own = {**template.settings, **({"system": system} if system else {})}
        if not own:
            return
        if context.conversation.session is None:
            values = ", ".join(_with_value(*each, context.settings) for each in own.items())
            if template.model:
                await self._change_settings(own)
            else:
                await context.conversation.change(own)
            context.notify(
                tr("For this session: {values}. /set NAME VALUE undoes one.", values=values)
            )
        else:
            context.notify(
                tr(
                    "This chat keeps its own {names}. To chat with those of the template, begin a "
                    "new session ({key}), then insert it.",
                    names=", ".join(own),
                    key=context.key_name("chat.new-session"),
                )
            )
