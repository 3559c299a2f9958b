"""What can be done with a model and with all of them: the menu, a question, and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.widgets import Static

from tchat.humanize import size_text
from tchat.models.disk import DiskUsage, DuplicateSet, RemovalPlan
from tchat.models.library import InfoRow
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn
from tchat.tui.dialogs.dialog import CLOSE, Confirm, Dialog, Hint, Picker
from tchat.tui.services.model_rows import ModelRow
from tchat.tui.services.models import PullPlan
from tchat.tui.widgets.item_view import Item

LONGEST = 1000  # characters of a line
NAMES = 24  # cells of the names of lines
UNALIAS = "unalias "

# What each entry of the menu is called: of a model on this disk, of one that is not, of all.
OF_INSTALLED = {
    "use": N_("Use it in this chat"),
    "details": N_("Details"),
    "check": N_("Check the file: header, hash, loading, template"),
    "update": N_("Check for a newer version"),
    "make_default": N_("Make it the default of new chats"),
    "alias": N_("Add an alias"),
    "remove": N_("Remove it"),
}
OF_AVAILABLE = {"use": N_("Download it"), "details": N_("Details")}
OF_ALL = {
    "register": N_("Add a GGUF file or a folder of them"),
    "dupes": N_("Find duplicate files"),
    "du": N_("Disk usage"),
    "sort": N_("Sort by the next column"),
    "everything": N_("Show or hide models of other programs"),
}


def menu(row: ModelRow | None, aliases: Sequence[str], keys: Mapping[str, str]) -> Picker:
    """The menu of the highlighted model and of all; ``keys`` by the id of the entry."""

    def items() -> Iterator[Item]:
        if row is not None:
            own = OF_INSTALLED if row.here else OF_AVAILABLE
            group = row.name or row.choice
            for key, title in own.items():
                if key == "update" and not row.is_downloaded:
                    continue
                yield Item(key=key, title=tr(title), columns=(keys.get(key, ""),), group=group)
            for alias in aliases:
                title = tr("Remove the alias {name}", name=alias)
                yield Item(key=UNALIAS + alias, title=title, group=group)
        for key, title in OF_ALL.items():
            yield Item(
                key=key, title=tr(title), columns=(keys.get(key, ""),), group=tr("All models")
            )

    return Picker(tr("Actions"), items())


def pull_question(plan: PullPlan, fit: str, speed: str, stop: str = "") -> Confirm:
    """The question before a download: what comes, whether it fits, and the free disk space.

    ``stop`` says how to stop it, where that is not told otherwise.
    """
    size = size_text(plan.size)
    name = single_line(plan.name, 60)
    question = (
        tr("Download {model}, {size}?", model=name, size=size)
        if size
        else tr("Download {model}?", model=name)
    )
    facts = " · ".join(filter(None, (single_line(plan.quantization, 20), fit, speed)))
    free = size_text(plan.free) or "0"
    has_space = plan.free >= plan.size
    space = (
        tr("{size} free on the disk", size=free)
        if has_space
        else tr("✗ Only {size} are free on the disk.", size=free)
    )
    detail = "\n".join(filter(None, (facts, space, plan.reason, stop)))
    return Confirm(
        question,
        detail,
        yes=tr("Download"),
        no=tr("Cancel"),
        danger=not (has_space and plan.usable),
    )


def removal_question(plan: RemovalPlan) -> Confirm:
    """The question before a model is removed."""
    name, path = plan.name, plan.registered
    if path is not None:
        detail = tr(
            "{model}\nis taken out of the list; the file stays at {path}", model=name, path=path
        )
    elif plan.freed:
        detail = tr("{model}\nfrees {size}", model=name, size=size_text(plan.freed))
    else:
        detail = tr("{model}\nfrees nothing: other names lead to it", model=name)
    return Confirm(tr("Remove this model?"), detail, yes=tr("Remove"), no=tr("Cancel"), danger=True)


class ModelDetails(Dialog[bool]):
    """Lines of a name and a value, to be scrolled through.

    With ``offer``, Enter ends it with True: the user wants what it says.
    """

    HINTS: ClassVar[tuple[Hint, ...]] = (Hint("up", N_("up")), Hint("down", N_("down")), CLOSE)
    DEFAULT_CSS = """
    ModelDetails VerticalScroll { height: 1fr; }
    """

    def __init__(self, heading: str, rows: Sequence[InfoRow], *, offer: str = "") -> None:
        super().__init__()
        self._title = heading
        self._rows = rows
        self._offer = offer

    def body(self) -> ComposeResult:
        """The lines."""
        indent = min(NAMES, max((cell_len(single_line(name)) for name, _ in self._rows), default=0))
        lines = [_line(row, indent) for row in self._rows]
        with VerticalScroll():
            yield Static(Content("\n").join(lines), markup=False)

    def opened(self) -> None:
        """Scroll at once."""
        self.set_heading(self._title)
        if self._offer:
            self.show_hints((Hint("enter", self._offer), *self.HINTS))
        self.query_one(VerticalScroll).focus()

    def on_key(self, event: Key) -> None:
        """Enter accepts the offer, where there is one."""
        if event.key == "enter" and self._offer:
            event.stop()
            self.finish(True)


def _line(row: InfoRow, indent: int) -> Content:
    name, value = (single_line(text, LONGEST) for text in row)
    gap = " " * max(0, indent - cell_len(name))
    return Content.assemble((f"{name}{gap}  ", "$muted"), value)


def usage_rows(usage: Sequence[DiskUsage]) -> list[InfoRow]:
    """Disk space by owner, and in all."""
    rows = []
    for each in usage:
        count = trn("{count:,} model", "{count:,} models", each.models)
        left = size_text(each.unfinished)
        unfinished = tr("{size} of unfinished downloads", size=left) if left else ""
        parts = filter(None, (size_text(each.size), count, unfinished))
        rows.append((tr(each.owner), " · ".join(parts)))
    total = size_text(sum(each.size + each.unfinished for each in usage)) or "0"
    return [*rows, (tr("all"), total)]


def duplicate_rows(found: Sequence[DuplicateSet]) -> list[InfoRow]:
    """The files of each set; the first one would be kept."""
    return [
        (size_text(copies.size) if not place else "", f"{tr(copy.owner)}: {copy.path}")
        for copies in found
        for place, copy in enumerate(copies.files)
    ]
