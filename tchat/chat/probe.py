"""The probe of a model file: load it, render its template, decode one token.

Run in a process of its own (``python -m tchat.chat.probe PATH``), because a bad file can abort,
crash or hang llama.cpp, and a template can run for ever. Prints one line of JSON:
``{"ok": true}`` or ``{"ok": false, "error": "...", "exit_code": 3}``.
"""

from __future__ import annotations

import collections
import contextlib
import json
import sys
from pathlib import Path

from tchat.engine.cancel import Cancel
from tchat.engine.engine import Engine
from tchat.engine.options import EngineOptions
from tchat.engine.runner import run_on_engine_thread
from tchat.engine.turns import ChatMessage
from tchat.errors import DoesNotFit, TchatError
from tchat.models.facts import read_facts
from tchat.settings import Sampling

PROBE_CONTEXT = 2048  # tokens: little memory, and enough for nearly every template's own text


def probe(path: Path) -> None:
    """Load ``path`` and write one token.

    Raises:
        TchatError: It cannot be done.
    """
    options = EngineOptions(
        path=path,
        template=read_facts(path).chat_template or None,
        ctx_size=PROBE_CONTEXT,
        gpu_layers=0,
        batch_size=PROBE_CONTEXT,
    )
    messages = [ChatMessage("system", "Be brief."), ChatMessage("user", "Hello!")]
    with Engine(options) as engine:
        collections.deque(engine.load(), maxlen=0)
        # A template too long for this small context rendered and is no fault of the file.
        with contextlib.suppress(DoesNotFit):
            collections.deque(engine.generate(messages, Sampling(temp=0, max_tokens=1)), maxlen=0)


def main(argv: list[str]) -> int:
    """Probe ``argv[1]`` and print the verdict; the exit code is 0 when it is good."""
    try:
        run_on_engine_thread(lambda: probe(Path(argv[1])), Cancel())
    except TchatError as error:
        verdict = {"ok": False, "error": error.message, "exit_code": int(error.exit_code)}
        print(json.dumps(verdict))  # noqa: T201
        return 1
    print(json.dumps({"ok": True}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
