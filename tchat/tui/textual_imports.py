"""Import Textual without its command palette: tchat has its own.

With the widgets of the palette it is a tenth of the time to the first picture.
"""

from __future__ import annotations

import sys
from types import ModuleType

_PALETTE = "textual.command"


class _Names(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_textual() -> None:
    """Import `textual.app`; its palette can be imported later, but not opened."""
    if not {"textual.app", _PALETTE} & sys.modules.keys():
        sys.modules[_PALETTE] = _Names(_PALETTE)
        try:
            import textual.app  # noqa: F401
        finally:
            del sys.modules[_PALETTE]
