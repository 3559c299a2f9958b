"""What is kept for one model: its heads, the replies they were trained on, its games."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tchat.errors import UsageError
from tchat.models.metadata import ModelMetadata
from tchat.paths import Paths

_SAMPLES, _SAMPLE = 64, 64 << 10  # blocks of a file that are hashed, and their size in bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class JudgeFolder:
    """The folder of one model in the configuration directory; nothing is made by asking.

    Args:
        path: Where it is.
        fingerprint: Of the model.
    """

    path: Path
    fingerprint: str

    @property
    def human(self) -> Path:
        """The head that tells people's replies from the model's."""
        return self.path / "human.npz"

    @property
    def reading(self) -> Path:
        """The same for texts that are read: of the layer that tells best."""
        return self.path / "reading.npz"

    @property
    def preference(self) -> Path:
        """The head of what the user prefers."""
        return self.path / "preference.npz"

    @property
    def generations(self) -> Path:
        """Replies of the model that the head was trained on."""
        return self.path / "generations.jsonl"

    def game(self, name: str) -> Path:
        """The folder of a game.

        Raises:
            UsageError: That is no name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"a game cannot be called {name[:40]!r}",
                "use up to 64 letters, digits, dots, dashes and underscores",
            )
        return self.path / "games" / name

    def vector(self, name: str) -> Path:
        """The control vector that a game came to."""
        return self.game(name) / f"{name}.gguf"

    def games(self) -> list[str]:
        """Names of the games that were begun; what else lies there is passed over."""
        folder = self.path / "games"
        found = folder.iterdir() if folder.is_dir() else ()
        return sorted(each.name for each in found if _NAME.fullmatch(each.name) and each.is_dir())


def judge_folder(facts: ModelMetadata, paths: Paths) -> JudgeFolder:
    """The folder of a model, by the content of its file.

    A copy elsewhere has the same, unless only one of both is named by its hash.
    """
    fingerprint = facts.sha256 or _sampled((facts.path, *facts.parts))
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", facts.path.stem).strip(".-")[:48] or "model"
    return JudgeFolder(paths.judge / f"{stem}-{fingerprint[:12]}", fingerprint)


def _sampled(files: tuple[Path, ...]) -> str:
    """A hash of the sizes and of blocks spread over the files: 4 MB of a file of any size."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(str(size).encode())
        with path.open("rb") as file:
            for index in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
