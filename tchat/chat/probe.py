"""The probe of a model file: load it, render its template, decode one token.

Run in a process of its own (``python -m tchat.chat.probe PATH``), because a bad file can abort,
crash or hang llama.cpp, and a template can run for ever. Prints one line of JSON:
``{"ok": true, "template": [[topic, state, text], …]}`` or
``{"ok": false, "error": "...", "exit_code": 3}``.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tchat.engine.binding import Cancel
from tchat.engine.engine import Engine
from tchat.engine.engine_thread import run_on_engine_thread
from tchat.engine.loading import EngineOptions
from tchat.engine.prompt import ChatMessage
from tchat.engine.prompt.template import ChatTemplate, Diagnosis
from tchat.errors import DoesNotFit, ExitCode, TchatError
from tchat.models.metadata import read_metadata
from tchat.settings import Sampling
from tchat.stored_text import stored_text
from tchat.translation import tr

MESSAGES = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello!"))
RENDER_LIMIT = 5.0  # seconds; honest templates take milliseconds
PROBE_CONTEXT = 2048  # tokens: little memory, and enough for nearly every template's own text


def probe(path: Path) -> list[Diagnosis]:
    """Render the template of ``path``, load it, write one token, and look at the template.

    Raises:
        TchatError: It cannot be done.
    """
    template = read_metadata(path).chat_template or None
    _render(template)
    options = EngineOptions(
        path=path, template=template, ctx_size=PROBE_CONTEXT, gpu_layers=0, batch_size=PROBE_CONTEXT
    )
    with Engine(options) as engine:
        collections.deque(engine.load(), maxlen=0)
        # A template too long for this small context rendered and is no fault of the file.
        with contextlib.suppress(DoesNotFit):
            collections.deque(engine.generate(MESSAGES, Sampling(temp=0, max_tokens=1)), maxlen=0)
        with _time_limit():
            return list(engine.diagnose())


def _render(template: str | None) -> None:
    """Render ``template`` before anything is loaded."""
    # Without a vocabulary some templates fail: those are judged with the model.
    with _time_limit(), contextlib.suppress(TchatError):
        ChatTemplate.compile(template, bos="", eos="").render(MESSAGES)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """A template that does not end ends the process, with a verdict."""
    timer = threading.Timer(RENDER_LIMIT, _give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up() -> None:
    """End the process from beside a thread that cannot be stopped."""
    _tell(
        tr("its chat template runs for more than {render_limit:.0f} s", render_limit=RENDER_LIMIT),
        ExitCode.MODEL,
    )
    os._exit(1)


def _tell(error: str, code: int) -> None:
    verdict = {"ok": False, "error": stored_text(error), "exit_code": int(code)}
    print(json.dumps(verdict), flush=True)  # noqa: T201


def main(argv: list[str]) -> int:
    """Probe ``argv[1]`` and print the verdict; the exit code is 0 when it is good."""
    try:
        diagnoses = run_on_engine_thread(lambda: probe(Path(argv[1])), Cancel())
    except TchatError as error:
        _tell(error.message, error.exit_code)
        return 1
    template = [[stored_text(part) for part in each] for each in diagnoses]
    print(json.dumps({"ok": True, "template": template}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
