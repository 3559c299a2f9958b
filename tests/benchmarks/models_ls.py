"""``tchat models ls --all`` over 50 files of all programs, as a whole process."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row, wall
from tests.models.gguf_builder import STRING, array, but, gguf, key
from tests.models.model_folders import chat_model, hub_file, ollama_model

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}" * 100  # 6 kB
LIMIT = 0.3  # seconds


def rows() -> Iterator[Row]:
    """Cold, with every header to read, then warm."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        fill(home)
        environment = {**os.environ, "HOME": folder, "TCHAT_HOME": str(home / "tchat")}
        command = [sys.executable, "-m", "tchat", "models", "ls", "--all"]
        cold = wall(command, env=environment)
        warm = statistics.median(wall(command, env=environment) for _ in range(9))
        what = f"tchat models ls --all, 50 files, headers cached (cold {cold:.2f} s)"
        yield Row(what, f"{warm * 1000:.0f} ms", f"<= {LIMIT * 1000:.0f} ms", warm <= LIMIT)


def fill(home: Path) -> None:
    """25 files of the hub, 15 of Ollama and 10 of LM Studio, with vocabularies of 50,000."""
    for number in range(25):
        hub_file(home, f"user/Model-{number}-GGUF", f"Model-{number}-Q4_K_M.gguf", model(number))
    for number in range(25, 40):
        ollama_model(home, f"model{number}", "latest", model(number))
    for number in range(40, 50):
        folder = home / ".lmstudio/models/someone" / f"Model-{number}-GGUF"
        chat_model(folder, f"Model-{number}-Q8_0", model(number))


def model(number: int) -> bytes:
    """Distinct content with a header of a real one's size."""
    return gguf(
        but(
            key("general.name", STRING, f"Model {number}"),
            key("tokenizer.chat_template", STRING, TEMPLATE),
            array("tokenizer.ggml.tokens", STRING, [f"token{n}" for n in range(50_000)]),
        )
    )
