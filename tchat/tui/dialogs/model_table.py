"""The table of models: its columns, sections and order, and the row of chips that filter it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from rich.cells import cell_len
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from tchat.humanize import clock_text, size_text, speed_text
from tchat.models.catalogue_entry import ABILITIES
from tchat.paths import with_tilde
from tchat.sanitize import single_line
from tchat.translation import N_, tr
from tchat.tui.services.downloads import Outcome, Progress
from tchat.tui.services.model_rows import Fit, ModelRow
from tchat.tui.widgets.item_columns import TableColumn
from tchat.tui.widgets.item_view import Item
from tchat.tui.widgets.rows import bar

PULL = "pull "  # begins the key of a row that is not on this disk
STAR = "★"
QUANTIZATION = 12  # characters; llama.cpp's own names have at most 7
FULL_BAR = 40.0  # tokens per second
BAR, PROGRESS_BAR = 5, 12  # cells
PARTS = " · "  # between the abilities of a model
ABILITY_ORDER = ("vision", "code", "reasoning", "tools", "chat")  # the rarer one first

ABILITY_NAMES = MappingProxyType(
    {
        "chat": N_("chat"),
        "code": N_("code"),
        "reasoning": N_("reasoning"),
        "vision": N_("vision"),
        "tools": N_("tools"),
    }
)
FITS = MappingProxyType(
    {
        Fit.FITS: ("✓", N_("fits"), "good"),
        Fit.TIGHT: ("~", N_("tight"), "warn"),
        Fit.TOO_LARGE: ("✗", N_("too large"), "bad"),
    }
)
# In the order of the list; models of servers come last.
INSTALLED, RECOMMENDED = N_("Installed"), N_("Recommended here")
AVAILABLE, OTHERS = N_("Available"), N_("Other programs")
SECTIONS = (INSTALLED, RECOMMENDED, AVAILABLE, OTHERS)


class Sort(StrEnum):
    """What the rows are sorted by; the keys of the columns."""

    CATALOGUE = ""
    NAME = "name"
    SIZE = "size"
    SPEED = "speed"
    FIT = "fit"

    @property
    def label(self) -> str:
        """Its name, in the user's language."""
        return tr(_SORT_TITLES[self])

    @property
    def sign(self) -> str:
        """The direction, to be put behind the title of the column."""
        if self is Sort.CATALOGUE:
            return ""
        return " ▼" if self is Sort.SPEED else " ▲"

    @property
    def following(self) -> Sort:
        """The next one, when the user goes through them."""
        orders = list(Sort)
        return orders[(orders.index(self) + 1) % len(orders)]


_SORT_TITLES = MappingProxyType(
    {
        Sort.CATALOGUE: "",
        Sort.NAME: N_("name"),
        Sort.SIZE: N_("size"),
        Sort.SPEED: N_("speed"),
        Sort.FIT: N_("fit"),
    }
)


def columns() -> tuple[TableColumn, ...]:
    """The columns; in a narrow terminal the least important leave first."""
    return (
        TableColumn(tr("Model"), key=Sort.NAME),
        TableColumn(tr("Quant"), keep=1),
        TableColumn(tr("Size"), keep=5, is_right=True, key=Sort.SIZE),
        TableColumn(tr("tok/s"), keep=4, is_right=True, key=Sort.SPEED),
        TableColumn("", keep=2),
        TableColumn(tr("Fit"), keep=6, key=Sort.FIT),
        TableColumn(tr("Good for"), keep=3, parts=PARTS),
    )


def row_key(row: ModelRow) -> str:
    """The key of its item."""
    return row.choice if row.here else PULL + row.choice


def section(row: ModelRow) -> str:
    """The section that it stands in."""
    if not row.here:
        return RECOMMENDED if row.best_for else AVAILABLE
    return OTHERS if row.owner else INSTALLED


def arranged(rows: Iterable[ModelRow], sort: Sort, abilities: Iterable[str]) -> list[ModelRow]:
    """The rows that have all ``abilities``, by section, then by ``sort``."""
    wanted = set(abilities)
    fits = list(Fit)

    def place(row: ModelRow) -> tuple[object, ...]:
        section_place = SECTIONS.index(section(row))
        match sort:
            case Sort.NAME:
                return section_place, row.name.casefold()
            case Sort.SIZE:
                return section_place, not row.size, row.size
            case Sort.SPEED:
                return section_place, -row.speed
            case Sort.FIT:
                return section_place, fits.index(row.fit), -row.speed
        return (section_place,)

    return sorted((row for row in rows if wanted <= set(row.abilities)), key=place)


def model_item(
    row: ModelRow, progress: str = "", outcome: Outcome | None = None, note: str = ""
) -> Item:
    """The line of a model; how its download goes, or went, stands in place of its columns."""
    sign, word, tone = FITS.get(row.fit, ("", "", ""))
    speed = f"{'' if row.is_measured else '~'}{speed_text(row.speed)}" if row.speed else ""
    abilities = sorted(row.abilities, key=ABILITY_ORDER.index)
    is_offered = bool(row.best_for) and not row.here
    shown = row.best_for if is_offered else abilities
    good_for = PARTS.join(tr(ABILITY_NAMES[each]) for each in shown) or row.purpose
    able = [tr(ABILITY_NAMES[each]) for each in abilities]
    told, told_tone = note or progress, "bar"
    if outcome is not None and not told:
        told = f"✗ {outcome.text}" if outcome.failed else outcome.text
        told_tone = "bad" if outcome.failed else ""
    return Item(
        key=row_key(row),
        group=tr(section(row)),
        title=row.name or row.choice,
        columns=(
            single_line(row.quantization, QUANTIZATION),
            size_text(row.size),
            speed,
            bar(min(1.0, row.speed / FULL_BAR), BAR) if row.speed else "",
            f"{sign} {tr(word)}" if word else "",
            good_for,
        ),
        tones=("", "", "", "bar", tone, ""),
        also=" ".join(
            filter(None, (row.quantization, str(row.path or ""), row.about, row.purpose, *able))
        ),
        about=_about(row, outcome),
        marked=row.current,
        sign=STAR if row.reason else "",
        note=told,
        note_tone=told_tone,
    )


def _about(row: ModelRow, outcome: Outcome | None) -> str:
    place = with_tilde(row.path) if row.path else ""
    if row.owner and row.path:
        place = tr("{program}: {path}", program=row.owner, path=place)
    failure = outcome.text if outcome is not None else ""
    reason = f"{STAR} {row.reason}" if row.reason else ""
    facts = row.about
    if row.purpose:
        facts = tr("{purpose}. {about}", purpose=row.purpose, about=row.about)
    if row.quantization and not row.here:
        facts = f"{single_line(row.quantization, QUANTIZATION)} · {facts}"
    return "\n".join(filter(None, (failure, reason, facts, place)))


def progress_text(progress: Progress, words: str) -> str:
    """How far a download is: a bar, share, size, speed and the time left."""
    if not progress.total:
        return words
    share = progress.done / progress.total
    parts = [f"{bar(share, PROGRESS_BAR)} {share:.0%}"]
    if progress.rate >= 1:
        parts.append(f"{size_text(round(progress.rate))}/s")
        if progress.left >= 1:
            parts.append(tr("{time} left", time=clock_text(progress.left)))
        size = size_text(progress.done) or "0"
        parts.append(tr("{done} of {total}", done=size, total=size_text(progress.total)))
    else:
        parts.append(words.removeprefix("↓ "))
    return " · ".join(parts)


class ChipRow(Widget):
    """The abilities to filter by, each with its key, and what the rows are sorted by."""

    DEFAULT_CSS = """
    ChipRow { height: 1; padding: 0 2; color: $muted; }
    """

    @dataclass
    class Toggled(Message):
        """A chip was clicked."""

        ability: str

    @dataclass
    class SortClicked(Message):
        """The name of the order was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: Mapping[str, str] = {}
        self._chosen: frozenset[str] = frozenset()
        self._sort = Sort.CATALOGUE
        self._spans: Sequence[tuple[int, int, str]] = ()

    def show(self, keys: Mapping[str, str], chosen: Iterable[str], sort: Sort) -> None:
        """Show the chips with these keys, those that are chosen, and the order."""
        self._keys, self._chosen, self._sort = keys, frozenset(chosen), sort
        self.refresh()

    def render(self) -> Content:
        """The chips, and the order where there is room."""
        width = self.content_size.width
        full, spans = self._chips(with_keys=True)
        if full.cell_length > width:
            full, spans = self._chips(with_keys=False)
        self._spans = spans
        if not self._sort:
            return full
        order = tr("Sorted by {column}", column=self._sort.label)
        gap = width - full.cell_length - cell_len(order)
        if gap < 2:
            return full
        self._spans = [*spans, (width - cell_len(order), width, "")]
        return full + " " * gap + order

    def _chips(self, *, with_keys: bool) -> tuple[Content, list[tuple[int, int, str]]]:
        keys = {each: self._keys.get(each, "") if with_keys else "" for each in ABILITIES}
        is_alt = all(key.startswith("Alt+") for key in keys.values())
        line, spans = Content("Alt+ " if is_alt else ""), []
        for ability in ABILITIES:
            key = keys[ability].removeprefix("Alt+" if is_alt else "")
            begin = line.cell_length
            is_on = ability in self._chosen
            name = f" {tr(ABILITY_NAMES[ability])} "
            lead = f" {key}" if key else ""
            if is_on:
                chip = Content.styled(lead + name, "bold reverse $heading")
            else:
                chip = Content.assemble((lead, "bold $foreground"), name)
            line = line + chip
            spans.append((begin, line.cell_length, ability))
            line = line + " "
        return line, spans

    def on_click(self, event: Click) -> None:
        """Toggle a chip, or take the next order."""
        at = event.x - self.styles.padding.left
        for begin, end, ability in self._spans:
            if begin <= at < end:
                self.post_message(self.Toggled(ability) if ability else self.SortClicked())
                return
