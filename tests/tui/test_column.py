"""The column of entries under every change, in any order, against a plain list of entries."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rich.style import Style

from tchat.tui.widgets.transcript.column import Column
from tchat.tui.widgets.transcript.entry import Entry, Format
from tchat.tui.widgets.transcript.layout import REASONING, TEXT, EntryLayout, Fold, Shape
from tchat.tui.widgets.transcript.lines import Palette

TEXTS = st.sampled_from(
    ["", "one", "one\n\ntwo", "- a\n- b\n\n```c\nint x;\n```", "word " * 60, "a\n\n" * 60]
)
COUNTS = st.sampled_from([0, 1, 3, 12, 40])
KEPT = 16  # layouts: fewer than there are entries
ROWS = 12


class ColumnMachine(RuleBasedStateMachine):
    """Whatever happens to a column, it shows the entries of a list that the same happened to."""

    @initialize(count=COUNTS)
    def begin(self, count: int) -> None:
        self.column = Column(Format(Palette(), 40), KEPT)
        self.model: list[Entry] = []
        self.top = self.next = 0
        self.show(count, "begin")

    def made(self, count: int, text: str) -> list[Entry]:
        first, self.next = self.next, self.next + count
        return [
            Entry(
                key=key,
                role="assistant" if key % 2 else "user",
                text=text,
                reasoning=text if key % 3 else "",
            )
            for key in range(first, first + count)
        ]

    @rule(count=COUNTS, text=TEXTS)
    def show(self, count: int, text: str) -> None:
        self.model = self.made(count, text)
        self.column.show(self.model)

    @rule(text=TEXTS, data=st.data())
    def show_part(self, text: str, data: st.DataObject) -> None:
        """As a branch switch or a deletion does: the beginning stays, the end is another."""
        kept = data.draw(st.integers(0, len(self.model)))
        self.model = [*self.model[:kept], *self.made(2, text)]
        self.column.show(self.model)

    @rule(count=COUNTS, text=TEXTS)
    def prepend(self, count: int, text: str) -> None:
        added = self.made(count, text)
        self.column.prepend(added)
        self.model = [*added, *self.model]

    @rule(text=TEXTS)
    def append(self, text: str) -> None:
        self.model += self.made(1, text)
        self.column.append(self.model[-1])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def append_again(self, data: st.DataObject) -> None:
        entry = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        self.model.append(entry)
        self.column.append(entry)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        entry = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        self.column.remove(entry.key)

    @precondition(lambda self: self.model)
    @rule(text=TEXTS, data=st.data())
    def update(self, text: str, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.model) - 1))
        self.model[place] = replace(self.model[place], text=text)
        self.column.update(self.model[place])

    @precondition(lambda self: self.model)
    @rule(text=TEXTS, data=st.data())
    def replace(self, text: str, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.model) - 1))
        key, [self.model[place]] = self.model[place].key, self.made(1, text)
        self.column.replace(key, self.model[place])

    @precondition(lambda self: self.model)
    @rule(
        fold=st.sampled_from([REASONING, TEXT]),
        folded=st.booleans(),
        key=st.data(),
        top=st.floats(0, 1),
    )
    def fold(self, fold: Fold, folded: bool, key: st.DataObject, top: float) -> None:
        entry = key.draw(st.sampled_from(self.model))
        self.column.fold(entry.key, fold, folded)
        self.column.fold_read(round(top * self.column.height), ROWS)

    @rule(width=st.sampled_from([12, 40, 90]), style=st.booleans(), again=st.booleans())
    def reformat(self, width: int, style: bool, again: bool) -> None:
        """As a resize and a change of theme do."""
        self.column.reformat(Format(Palette(muted=Style(dim=style)), width))
        if again:
            self.column.estimate_again()

    @precondition(lambda self: self.model)
    @rule(share=st.floats(0, 1))
    def scroll(self, share: float) -> None:
        self.top = self.column.settle(round(share * self.column.height), ROWS)

    @precondition(lambda self: self.model)
    @rule()
    def read_on(self) -> None:
        """Read so much at once that layouts are forgotten."""
        for place in range(max(0, len(self.model) - KEPT - 4), len(self.model)):
            self.column.measure(place)

    @invariant()
    def shows_the_entries(self) -> None:
        assert list(self.column.backwards()) == [entry.key for entry in reversed(self.model)]
        assert len(self.column) == len(self.model)
        for entry in self.model[-3:]:
            assert self.column.entry(self.column.place(entry.key)) == entry

    @invariant()
    def draws_the_rows_in_view(self) -> None:
        if not self.model:
            assert self.column.height == 0
            return
        top = self.top + self.column.height
        while top >= self.column.height:
            top = self.column.settle(min(self.top, self.column.height - 1), ROWS)
        place, number = self.column.find(top)
        rows = []
        for at, line, row in self.column.lines(top):
            rows.append((at, line, row.text))
            if len(rows) == ROWS:
                break
        expected = []
        for at in range(place, len(self.model)):
            kept = self.column.layout(at).shape
            shape = Shape(kept.folds, kept.open, apart=at > 0 and self.model[at].role == "user")
            whole = EntryLayout(self.model[at], self.column.form, shape)
            texts = [row.text for row in whole.lines()]
            expected += [(at, line, texts[line]) for line in range(number, len(texts))]
            number = 0
            if len(expected) >= ROWS:
                break
        assert rows == expected[:ROWS]
        seen = sorted({at for at, _, _ in rows})
        for at in seen:
            bottom = self.column.top(at) + self.column.layout(at).height
            assert self.column.top(at + 1) == bottom


ColumnMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, derandomize=True
)
TestColumn = ColumnMachine.TestCase
