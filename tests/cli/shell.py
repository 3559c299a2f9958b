"""The command as a shell sees it: a process with bytes in and out; and in-process, with a fake."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tchat.chat.tool_loop import ChatTools
from tchat.cli.console import Console
from tchat.cli.main import program
from tchat.engine.binding import Cancel
from tchat.engine.events import (
    Event,
    Finished,
    LabelScores,
    PromptProgress,
    Reason,
    StepFinished,
    StepState,
    TextDelta,
    Timings,
    TokenUsage,
    ToolStep,
)
from tchat.paths import Paths
from tchat.sessions.records import Role, Session
from tchat.sessions.store import SessionStore
from tchat.settings import Settings
from tchat.tools.executor import ToolExecutor
from tests.cli.command_server import command_server, is_usual
from tests.sessions.stores import new_session

CUT_OFF = "tchat: the reply was cut off: --max-tokens or the context limit was reached\n"
COMMAND = (sys.executable, "-m", "tchat")
CALL = "call "  # a prompt of it, a tool and its arguments as JSON makes the fake call it
# Lets the tiny model write until the context is full or it is stopped.
# With the model of ``endless_home`` half a minute of writing, on a fast machine too.
LONG_REPLY = (
    *("write", "--ctx-size", "65536", "--no-loop-guard"),
    *("--logit-bias", "<|im_end|>=-100", "--logit-bias", "<|endoftext|>=-100"),
)


class Ran(NamedTuple):
    """How a call ended."""

    code: int
    out: str
    err: str


def tchat(
    *args: str,
    stdin: bytes | None = b"",
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    **options: Any,
) -> Ran:
    """Run ``tchat`` as a process, in the environment of the test."""
    if command is COMMAND and stdin is not None and not options and is_usual(env or {}):
        ran = command_server().run(args, stdin, {**os.environ, **(env or {})}, seconds=60)
        return Ran(ran[0], ran[1].decode("utf-8"), ran[2].decode("utf-8"))
    ended = subprocess.run(
        [*command, *args],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **(env or {})},
        **options,
    )
    return Ran(ended.returncode, ended.stdout.decode("utf-8"), ended.stderr.decode("utf-8"))


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class TypedInput(io.BytesIO):
    """Bytes that say they come from a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class FakeChat:
    """Stands in for `tchat.chat.chat.Chat`: repeats the prompt, and stores both."""

    settings: Settings
    store: SessionStore
    session: Session | None
    cancel: Cancel
    answer: Callable[[str], str]
    probabilities: tuple[tuple[str, float], ...] = ()
    title: str = ""
    tools: ChatTools | None = None
    call: str = ""  # as `CALL`, whatever the prompt is

    def __enter__(self) -> FakeChat:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""

    @property
    def settings_for_model(self) -> Settings:
        """No model recommends anything."""
        return self.settings

    def release_model(self) -> None:
        """There is no model."""

    def load_model(self) -> Iterator[Event]:
        """There is no model."""
        yield from ()

    def save_snapshot(self) -> int:
        """Nothing was read."""
        return 0

    def send(self, prompt: str, *, reply_prefix: str = "") -> Iterator[Event]:
        self.session = self.session or new_session(
            self.store, title=self.title or prompt, system=self.settings.system
        )
        branch = self.store.branch(self.session.id)
        parent = branch[-1].id if branch else None
        question = self.store.add(self.session.id, Role.USER, prompt, parent_id=parent)
        text = self.answer(prompt)
        self.store.add(
            self.session.id,
            Role.ASSISTANT,
            text,
            parent_id=question.id,
            model=self.settings.model,
        )
        yield PromptProgress(3, 3, 0)
        call = self.call or prompt
        if call.startswith(CALL) and self.tools is not None:
            yield from self._call(self.tools.executor, call.removeprefix(CALL))
        for word in text.split(" "):
            yield TextDelta(word if word == text.split(" ")[0] else f" {word}")
        yield finished(text)

    def _call(self, executor: ToolExecutor, call: str) -> Iterator[Event]:
        """Say something, and call the tool that the prompt names."""
        name, _, text = call.partition(" ")
        arguments = json.loads(text)
        yield TextDelta("Let me see.")
        yield StepFinished(finished("Let me see.", Reason.TOOL_CALLS))
        yield ToolStep(1, 0, name, arguments, StepState.RUNNING)
        result = executor.run(name, arguments)
        state = StepState.FAILED if result.failed else StepState.DONE
        state = StepState.REFUSED if result.is_refused else state
        yield ToolStep(1, 0, name, arguments, state, result.content, 0.003)

    def choose(self, prompt: str, labels: Sequence[str]) -> Iterator[Event]:
        yield LabelScores(self.probabilities)
        yield finished(self.probabilities[0][0])

    def continue_reply(self) -> Iterator[Event]:
        yield TextDelta("continued")
        yield finished("continued")

    def regenerate(self, *, dry: bool = False) -> Iterator[Event]:
        yield TextDelta("again")
        yield finished("again")

    def edit(self, message_id: int, text: str) -> Iterator[Event]:
        yield TextDelta(f"edited {message_id} {text}")
        yield finished(text)


def finished(text: str, reason: Reason = Reason.STOP) -> Finished:
    """The end of a reply of three tokens."""
    return Finished(reason, text, "", 7, TokenUsage(3, 0, 3, 3), Timings(0.1, 0.2, 0.3))


@dataclass
class Shell:
    """Calls the program in this process.

    ``answer`` makes the fake's reply of a prompt; ``chats`` are the fakes made so far.
    """

    environ: dict[str, str]
    answer: Callable[[str], str] = str
    probabilities: tuple[tuple[str, float], ...] = ()
    call: str = ""

    def __post_init__(self) -> None:
        self.chats: list[FakeChat] = []

    def __call__(
        self, *args: str, stdin: bytes = b"", terminal: bool = False, error: Any = None
    ) -> Ran:
        stdout = Terminal() if terminal else io.StringIO()
        stderr = Terminal() if terminal else io.StringIO()
        source = TypedInput(stdin) if terminal else io.BytesIO(stdin)
        open_chat: Any = self._open
        console = Console(source, stdout, stderr, self.environ, open_chat)
        return Ran(program(args, console), stdout.getvalue(), stderr.getvalue())

    def _open(
        self,
        settings: Settings,
        paths: Paths,
        store: SessionStore,
        *,
        session: Session | None = None,
        cancel: Cancel,
    ) -> FakeChat:
        chat = FakeChat(settings, store, session, cancel, self.answer, self.probabilities)
        chat.call = self.call
        self.chats.append(chat)
        return chat
