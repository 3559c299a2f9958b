"""A call of a tool that waits for the user: what it would do, and what the user says to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Input, Static

from tchat.sanitize import revealed
from tchat.step_text import one_line
from tchat.translation import N_, tr, trn
from tchat.tui.dialogs.dialog import Dialog, Hint
from tchat.tui.dialogs.typing_guard import LOOK, TypingGuard
from tchat.tui.services.questions import Choice, ShownQuestion

NAMES = 16  # cells of the names of arguments
LONGEST = 20_000  # characters of an argument that are shown
LINES = 2_000  # lines of a diff that are shown
PATTERN = 40  # characters of a pattern among the keys

REASON = Hint("approval.reason", N_("deny with a word"))


class ApprovalAnswer(NamedTuple):
    """What the user says, and the reason for the model where the call is denied."""

    choice: Choice
    reason: str = ""


class ApprovalDialog(Dialog[ApprovalAnswer]):
    """Asks about one call; ends with an answer, or with None for Esc, which denies.

    A key typed for something else must not allow anything: keys answer only once the dialog was
    seen and no key came for a moment. What is typed until then goes to ``type_ahead``.
    """

    HEADING: ClassVar[str] = N_("Allow this call?")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer('once')", N_("Allow it once"), id="approval.once"),
        Binding(
            "a", "answer('tool')", N_("Always allow this tool in this session"), id="approval.tool"
        ),
        Binding(
            "p",
            "answer('pattern')",
            N_("Always allow such calls in this session"),
            id="approval.pattern",
        ),
        Binding("n", "answer('deny')", N_("Deny it"), id="approval.deny"),
        Binding("d", "give_reason", N_("Deny it with a word to the model"), id="approval.reason"),
        Binding("ctrl+c", "answer('stop')", N_("Deny it and stop the reply"), id="approval.stop"),
        Binding("pagedown,down", "scroll(1)", N_("Scroll down"), id="approval.down"),
        Binding("pageup,up", "scroll(-1)", N_("Scroll up"), id="approval.up"),
    ]
    AUTO_FOCUS = ""
    DEFAULT_CSS = """
    ApprovalDialog {
        & > #frame, &.-wide > #frame {
            width: 90%; max-width: 100; height: auto; max-height: 94%; padding: 1 2 0 2;
            border: round $warning;
        }
        & #call { height: auto; max-height: 40vh; margin-top: 1; }
        & #call Static { height: auto; }
        & #warning { color: $warning; margin-top: 1; height: auto; }
        & #answers { height: auto; margin-top: 1; align-horizontal: right; }
        & #answers Button {
            margin-left: 2;
            min-width: 14;
            color: $assistant;
            background: $panel;
            background-tint: $foreground 0%;
            &.-primary { color: $background; background: $heading; }
        }
        & Input { background: $panel; margin-top: 1; display: none; }
        & #hints { max-height: 4; padding: 0; }
        &.-guarded #hints, &.-guarded #answers Button { text-opacity: 40%; }
        &.-short {
            & > #frame { width: 100%; height: auto; max-height: 100%; padding: 0 1; }
            & #call { max-height: 6; margin-top: 0; }
            & #warning { margin-top: 0; }
            & #answers { display: none; }
        }
    }
    """

    def __init__(
        self,
        question: ShownQuestion,
        type_ahead: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__()
        self._question = question
        self._guard = TypingGuard(type_ahead)
        self._is_reasoning = False  # whether a reason is typed
        self._is_withdrawn = False

    def body(self) -> ComposeResult:
        """What is called, the warning, and the answers for the mouse."""
        question = self._question
        head = [(one_line(question.name, 64), "bold")]
        if question.effects:
            head.append((f" · {question.effects}", "$muted"))
        yield Static(Content.assemble(*head), markup=False)
        call = VerticalScroll(id="call", can_focus=False)
        with call:
            yield Static(Content("\n").join(_shown(question)), markup=False)
        call.display = bool(question.command or question.rows or question.diff)
        warning = Static(
            tr("⚠ The chat holds text that others wrote: check that you want this."),
            id="warning",
            markup=False,
        )
        warning.display = question.is_untrusted
        yield warning
        yield Input(placeholder=tr("Why not? The model reads it."), compact=True, id="reason")
        with Horizontal(id="answers"):
            for name, text in (("deny", tr("Deny")), ("once", tr("Allow once"))):
                button = Button(
                    Content(text),
                    id=name,
                    compact=True,
                    variant="primary" if name == "once" else "default",
                )
                button.can_focus = False
                yield button

    def opened(self) -> None:
        """Nothing has the focus: no answer is given by accident."""
        if self._question.heading:
            self.set_heading(self._question.heading)
        self._show_answers()
        self.add_class("-guarded")
        self.call_after_refresh(self._guard.begin)
        self.set_interval(LOOK, self._look)

    def _look(self) -> None:
        """Show whether keys answer by now."""
        self._guard.look()
        self.set_class(self._guard.is_up, "-guarded")

    def _show_answers(self) -> None:
        pattern = one_line(self._question.pattern, PATTERN)
        self.show_hints(
            (
                Hint("approval.once", N_("once")),
                *self._hint_of_tool(),
                *((Hint("approval.pattern", tr("always `{p}`", p=pattern)),) if pattern else ()),
                Hint("approval.deny", N_("deny")),
                *(() if self._question.heading else (REASON,)),
            )
        )

    def _hint_of_tool(self) -> Iterator[Hint]:
        if self._question.offers("tool"):
            yield Hint("approval.tool", N_("always this tool"))

    # Answers

    async def on_event(self, event: events.Event) -> None:
        """Keep keys from answering for a moment."""
        if not self._is_reasoning and self._guard.takes(event):
            event.stop()
        else:
            await super().on_event(event)

    def action_answer(self, choice: Choice) -> None:
        """End with an answer, if it is offered."""
        if self._question.offers(choice):
            self.finish(ApprovalAnswer(choice))

    @on(Button.Pressed)
    def _press(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "deny":
            self.finish(ApprovalAnswer("deny"))
        elif not self._guard.is_up:
            self.finish(ApprovalAnswer("once"))

    def action_give_reason(self) -> None:
        """Let the user type why not."""
        if self._question.heading:
            return
        self._is_reasoning = True
        field = self.query_one(Input)
        field.display = True
        field.focus()
        self.show_hints((Hint("enter", N_("deny")), Hint("dialog.close", N_("back"))))

    @on(Input.Submitted)
    def _deny(self, event: Input.Submitted) -> None:
        event.stop()
        self.finish(ApprovalAnswer("deny", event.value.strip()))

    def action_close(self) -> None:
        """Deny; while a reason is typed, go back to the answers."""
        if self._is_reasoning:
            self._is_reasoning = False
            self.query_one(Input).display = False
            self.set_focus(None)
            self._show_answers()
        else:
            self.finish(None)

    def action_scroll(self, pages: int) -> None:
        """Scroll what is called."""
        call = self.query_one("#call")
        call.scroll_relative(y=pages * max(1, call.size.height - 1), animate=False)

    # When the answer is no longer needed

    def withdraw(self) -> None:
        """Close without an answer: the turn was stopped. Under another dialog, when that closes."""
        self._is_withdrawn = True
        self.finish(None)

    def on_screen_resume(self) -> None:
        """Close if it was withdrawn meanwhile."""
        if self._is_withdrawn:
            self.finish(None)


def _shown(question: ShownQuestion) -> Iterator[Content]:
    """The call, line by line, with nothing hidden in it."""
    if question.command:
        line = revealed(question.command).replace("\n", "␊").replace("\t", "␉")
        yield Content.assemble(("$ ", "$muted"), (_cut(line), "bold $code"))
    labels = [one_line(name, NAMES) for name, _ in question.rows]
    taken = min(NAMES, max(map(cell_len, labels), default=0))
    for label, (_, value) in zip(labels, question.rows, strict=True):
        first, *rest = _cut(revealed(value)).split("\n")
        gap = " " * max(0, taken - cell_len(label))
        yield Content.assemble((f"{label}{gap}  ", "$muted"), first)
        yield from (Content(" " * (taken + 2) + each) for each in rest)
    if question.diff:
        yield from _diff_lines(question.diff)


def _cut(text: str) -> str:
    """``text``, of which it is told how much is not shown."""
    left = len(text) - LONGEST
    if left <= 0:
        return text
    more = trn("{count:,} more character", "{count:,} more characters", left)
    return f"{text[:LONGEST]}… {more}"


def _diff_lines(diff: str) -> Iterator[Content]:
    lines = diff.split("\n")
    for text in lines[:LINES]:
        shown = _cut(revealed(text.replace("\r", "␍"))).expandtabs(4)
        if text.startswith(("---", "+++")):
            yield Content.styled(shown, "bold $muted")
        elif text.startswith("+"):
            yield Content.styled(shown, "$gauge-ok")
        elif text.startswith("-"):
            yield Content.styled(shown, "$gauge-full")
        elif text.startswith("@@"):
            yield Content.styled(shown, "$muted")
        else:
            yield Content(shown)
    if (left := len(lines) - LINES) > 0:
        yield Content.styled(trn("{count:,} more line", "{count:,} more lines", left), "$muted")
