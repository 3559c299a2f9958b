"""A form that a server asks the user to fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from tchat.errors import UsageError
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr
from tchat.tui.dialogs.dialog import Dialog, Hint
from tchat.tui.dialogs.typing_guard import LOOK, TypingGuard

if TYPE_CHECKING:
    from tchat.tools.mcp.host import FieldValue, FormField, McpForm

MESSAGE = 4_000  # characters of what the server says
HELP = 300  # characters of what it says about a field


class FormDialog(Dialog[Mapping[str, "FieldValue"]]):
    """The fields one below the other; ends with the answers, or with None for Esc, which declines.

    The fields take keys only once the form was seen and no key came for a moment.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "send", N_("Send the answers"), show=False, id="form.send"),
        Binding("ctrl+c", "close", N_("Decline"), show=False, id="form.decline"),
        Binding("down", "app.focus_next", N_("Next field"), show=False, id="form.next"),
        Binding("up", "app.focus_previous", N_("Previous field"), show=False, id="form.previous"),
    ]
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    FormDialog {
        & > #frame, &.-wide > #frame, &.-short > #frame {
            width: 90%; max-width: 90; height: auto; max-height: 94%; padding: 1 2 0 2;
            border: round $warning;
        }
        & #fields { height: auto; max-height: 60vh; scrollbar-size-vertical: 1; }
        & #fields Static { height: auto; }
        & .field { margin-top: 1; }
        & .help { color: $muted; }
        & Input { background: $panel; }
        & #problem { color: $text-error; height: auto; margin-top: 1; display: none; }
    }
    """

    def __init__(
        self,
        form: McpForm,
        type_ahead: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__()
        self._form = form
        self._guard = TypingGuard(type_ahead)
        self._is_withdrawn = False

    def body(self) -> ComposeResult:
        """What the server says, and the fields."""
        form = self._form
        with VerticalScroll(id="fields", can_focus=False):
            yield Static(printable(form.message[:MESSAGE]), markup=False)
            if form.url:
                told = tr("Open this address yourself, if you trust it:")
                yield Static(
                    f"{told}\n{single_line(form.url, MESSAGE)}", classes="field", markup=False
                )
            for each in form.fields:
                yield Static(_label(each), classes="field", markup=False)
                if each.help:
                    yield Static(single_line(each.help, HELP), classes="help", markup=False)
                yield Input(placeholder=_placeholder(each), compact=True)
        yield Static(id="problem", markup=False)

    def opened(self) -> None:
        """Wait until the user has stopped typing something else."""
        self.set_heading(tr("The MCP server {name} asks", name=single_line(self._form.server, 40)))
        does = N_("done") if self._form.url else N_("send")
        self.show_hints((Hint("form.send", does), Hint("dialog.close", N_("decline"))))
        self.call_after_refresh(self._guard.begin)
        self.set_interval(LOOK, self._open_fields)

    def _open_fields(self) -> None:
        self._guard.look()
        inputs = self._inputs()
        if not self._guard.is_up and self.focused is None and inputs and self.is_current:
            inputs[0].focus()

    async def on_event(self, event: events.Event) -> None:
        """Keep keys from the fields for a moment."""
        if self.focused is None and self._guard.takes(event):
            event.stop()
        else:
            await super().on_event(event)

    def _inputs(self) -> list[Input]:
        return list(self.query(Input))

    @on(Input.Submitted)
    def _go_on(self, event: Input.Submitted) -> None:
        """Enter goes to the next field, and sends from the last one."""
        event.stop()
        inputs = self._inputs()
        place = inputs.index(event.input)
        if place + 1 < len(inputs):
            inputs[place + 1].focus()
        else:
            self.action_send()

    def action_send(self) -> None:
        """End with the answers, if they fit."""
        answers: dict[str, FieldValue] = {}
        for each, field in zip(self._form.fields, self._inputs(), strict=True):
            try:
                value = each.parse(field.value)
            except UsageError as error:
                self._show_problem(error)
                field.focus()
                return
            if value is not None:
                answers[each.name] = value
        self.finish(answers)

    def _show_problem(self, error: UsageError) -> None:
        problem = self.query_one("#problem", Static)
        problem.update(f"✗ {single_line(str(error))}")
        problem.display = True

    def withdraw(self) -> None:
        """Close without an answer: the turn was stopped."""
        self._is_withdrawn = True
        self.finish(None)

    def on_screen_resume(self) -> None:
        """Close if it was withdrawn under another dialog."""
        if self._is_withdrawn:
            self.finish(None)


def _label(field: FormField) -> str:
    title = single_line(field.title)
    return f"{title} *" if field.is_required and field.default is None else title


def _placeholder(field: FormField) -> str:
    """What the field takes, and what holds without an answer."""
    takes = ", ".join(label for _, label in field.options) or field.format
    if field.kind.value == "boolean":
        takes = tr("yes or no")
    if field.default is not None:
        shown = tr("default {value}", value=single_line(str(field.default)))
        takes = f"{takes} · {shown}" if takes else shown
    return single_line(takes)
