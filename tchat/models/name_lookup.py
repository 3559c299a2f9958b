"""Names that need more than a look at the path: aliases, and whatever lies on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import ModelError, ModelNotFound
from tchat.models.files import has_gguf_ending
from tchat.models.models_file import aliases
from tchat.models.remote_names import ModelNotDownloaded
from tchat.models.sources.registry import all_models
from tchat.models.sources.source import LocalModel
from tchat.paths import Paths
from tchat.sanitize import single_line

if TYPE_CHECKING:
    from tchat.models.metadata_cache import MetadataCache

LISTED = 5  # names in a message

Resolve = Callable[[str], Path]


class AliasLookup:
    """What the user calls models, in models.toml.

    Args:
        paths: Where models.toml is.
        resolve: Finds what an alias stands for.
    """

    def __init__(self, paths: Paths, resolve: Resolve) -> None:
        self._paths = paths
        self._resolve = resolve

    def find(self, name: str) -> Path | None:
        """The file that the alias stands for."""
        target = aliases(self._paths).get(name)
        if target is None:
            return None
        try:
            return self._resolve(target)
        except ModelNotDownloaded as error:
            raise ModelNotDownloaded(name, error.remote) from error
        except ModelError as error:
            message = f"the alias {single_line(name, 40)} leads nowhere: {error.message}"
            raise ModelNotFound(message, error.hint) from error

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """All aliases."""
        return aliases(self._paths)


class DiskLookup:
    """Every file within reach, by its name in ``tchat models ls --all``."""

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:
        self._paths = paths
        self._environ = environ

    def find(self, name: str) -> Path | None:
        """The file of exactly this name; in Ollama's way, without a tag it is the latest."""
        for wanted in (name, f"{name}:latest"):
            for found in self.models:
                if found.name == wanted:
                    return found.path
        return None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """All names, and those of the files."""
        for found in self.models:
            yield found.name

    @cached_property
    def models(self) -> list[LocalModel]:
        """Looked for once."""
        return all_models(self._paths, self._environ)


class SubstringLookup:
    """Any part of a name of `DiskLookup`, as long as it means one file that can chat."""

    def __init__(self, disk: DiskLookup, paths: Paths) -> None:
        self._disk = disk
        self._paths = paths

    def find(self, name: str) -> Path | None:
        """The only file whose name holds ``name``, in capitals or not.

        Raises:
            ModelNotFound: Several do.
        """
        wanted = name.casefold()
        matches = [found for found in self._disk.models if _holds(found, wanted)]
        matches = self._that_chat(matches) or matches
        if len({_identity(found.path) for found in matches}) > 1:
            shown = single_line(name, 80)
            raise ModelNotFound(f"{shown!r} could mean several models", _some(matches))
        return matches[0].path if matches else None

    def suggestions(self, near: str) -> Iterable[str]:  # noqa: ARG002
        """None of its own."""
        return ()

    def _that_chat(self, matches: list[LocalModel]) -> list[LocalModel]:
        """Those that are language models: a projector beside its model makes nothing ambiguous."""
        from tchat.models.metadata_cache import MetadataCache

        if len(matches) < 2:
            return matches
        with MetadataCache(self._paths) as store:
            return [found for found in matches if _chats(store, found.path)]


def _chats(store: MetadataCache, path: Path) -> bool:
    try:
        return not store.metadata(path).refusal
    except ModelError:
        return False


def _holds(found: LocalModel, wanted: str) -> bool:
    """Whether the name does, or that of a file which is named for people."""
    file = found.path.name if has_gguf_ending(found.path.name) else ""
    return wanted in found.name.casefold() or wanted in file.casefold()


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        status = path.stat()
    except OSError:
        return str(path)
    return status.st_dev, status.st_ino


def _some(matches: list[LocalModel]) -> str:
    names = [single_line(found.name, 100) for found in matches]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"name one: {', '.join(names[:LISTED])}{more}"
