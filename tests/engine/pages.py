"""What loading a model takes of a process's memory: ``python -m tests.engine.pages FILE``.

In a process of its own, since in one that has loaded others a model gets memory that those left.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tchat.engine.binding import Cancel, backend
from tchat.engine.model import Model


def taken_by(path: Path) -> tuple[int, int]:
    """Bytes that loading ``path`` takes beside the file's own pages, and bytes of these."""
    command = [sys.executable, "-m", __name__, str(path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    beside, of_file = json.loads(told.stdout)
    return beside, of_file


def _of_no_file() -> int:
    told = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert told is not None
    return int(told[1]) << 10


def _of_file(path: Path) -> int:
    name = re.escape(str(path))
    told = Path("/proc/self/smaps").read_text()
    mapped = re.findall(rf" {name}\n(?:\S+:.*\n)*?Rss:\s+(\d+) kB", told)
    assert mapped
    return sum(map(int, mapped)) << 10


def main(path: Path) -> None:
    backend()
    before = _of_no_file()
    model = Model(path, cancel=Cancel())
    print(json.dumps([_of_no_file() - before, _of_file(path)]))
    model.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
