"""The draft in the prompt: text with chips for large pastes and files; earlier and killed text.

A chip is a label in the text, so undo, selection and wrapping work as for any text. Its content is
kept by label.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from tchat.sanitize import single_line
from tchat.translation import tr

Pairs = tuple[tuple[str, str], ...]

# A longer paste becomes a chip: 100 kB take 126 ms to lay out.
PASTE_CHARACTERS = 20_000
PASTE_LINES = 50

_BEFORE_FILE = r"(?<![^\s(\[{'\"])"
_AFTER_FILE = r"(?![^\s,;:!?)\]}'\".]|\.\S)"


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt as it is typed.

    Attributes:
        text: The text shown, with the labels of chips.
        pastes: Label and text of each large paste.
        files: Label and name of each file mentioned.
        blanks: What is still to be filled in: ``⟨NAME⟩``, or ``⟨NAME=DEFAULT⟩``.
    """

    text: str = ""
    pastes: Pairs = ()
    files: Pairs = ()
    blanks: tuple[str, ...] = ()

    @property
    def full_text(self) -> str:
        """The text with the content of pastes and the defaults of blanks; a file is a mention."""
        text = self.with_defaults().text
        return _replaced(text, dict(self.pastes)) if self.pastes else text

    @property
    def unfilled(self) -> tuple[str, ...]:
        """The blanks that have no default."""
        return tuple(blank for blank in self.blanks if _default(blank) is None)

    def with_defaults(self) -> Draft:
        """The draft with the defaults in place of the blanks that have one."""
        defaults = {blank: _default(blank) for blank in self.blanks}
        known = {blank: default for blank, default in defaults.items() if default is not None}
        if not known:
            return self
        return replace(self, text=_replaced(self.text, known), blanks=self.unfilled)

    @property
    def attachments(self) -> tuple[str, ...]:
        """Names of the files mentioned, each once."""
        return tuple(dict.fromkeys(name for _, name in self.files))

    def rewritten(self, change: Callable[[str], str]) -> Draft:
        """The draft with its texts changed."""
        pastes = tuple((label, change(text)) for label, text in self.pastes)
        return replace(self, text=change(self.text), pastes=pastes)


def _default(blank: str) -> str | None:
    """The default in ``⟨NAME=DEFAULT⟩``, which holds while nothing is typed over it."""
    _, equals, default = blank[1:-1].partition("=")
    return default if equals else None


class Chips:
    """The chips of a prompt. One whose label was deleted stays known, for undo."""

    def __init__(self) -> None:
        self._pastes: dict[str, str] = {}
        self._files: dict[str, str] = {}
        self._blanks: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None

    def add_paste(self, text: str, label: str = "") -> str:
        """Add a paste and return its label: ``label``, unless that is taken."""
        label = label or _paste_label(text)
        base = label if label.endswith("]") else f"{label}]"
        number = 1
        while self._pastes.get(label, text) != text:
            number += 1
            label = f"{base[:-1]} #{number}]"
        self._pastes[label] = text
        self._compile()
        return label

    def add_file(self, name: str) -> str:
        """Add a mention of the file ``name`` and return its label."""
        label = f"@{single_line(name)}"
        self._files[label] = name
        self._compile()
        return label

    def load(self, draft: Draft) -> Draft:
        """Add the chips of ``draft``; return it, with new labels where its own are taken."""
        self._files.update(draft.files)
        self._blanks.update(dict.fromkeys(draft.blanks))
        renamed = {label: self.add_paste(text, label) for label, text in draft.pastes}
        self._compile()
        pastes = tuple((renamed[label], text) for label, text in draft.pastes)
        text = _replaced(draft.text, renamed) if renamed else draft.text
        return replace(draft, text=text, pastes=pastes)

    def is_blank(self, label: str) -> bool:
        """Whether it is the label of a blank."""
        return label in self._blanks

    def clear(self) -> None:
        """Forget every chip."""
        self._pastes.clear()
        self._files.clear()
        self._blanks.clear()
        self._pattern = None

    def spans(self, line: str) -> list[tuple[int, int]]:
        """Start and end of each chip in a line, in characters."""
        return [match.span() for match in self._pattern.finditer(line)] if self._pattern else []

    def draft(self, text: str) -> Draft:
        """``text`` with the chips whose labels are in it."""
        if self._pattern is None:
            return Draft(text)
        labels = list(dict.fromkeys(self._pattern.findall(text)))
        pastes = tuple((label, self._pastes[label]) for label in labels if label in self._pastes)
        files = tuple((label, self._files[label]) for label in labels if label in self._files)
        return Draft(text, pastes, files, tuple(label for label in labels if label in self._blanks))

    def _compile(self) -> None:
        """Compile the pattern of all labels, longer ones first: one may begin like another."""
        pastes = [re.escape(label) for label in self._pastes]
        files = [_BEFORE_FILE + re.escape(label) + _AFTER_FILE for label in self._files]
        blanks = [re.escape(label) for label in self._blanks]
        labels = sorted([*pastes, *files, *blanks], key=len, reverse=True)
        self._pattern = re.compile("|".join(labels)) if labels else None


def is_large(text: str) -> bool:
    """Whether a paste becomes a chip."""
    return len(text) > PASTE_CHARACTERS or text.count("\n") >= PASTE_LINES


def plain_newlines(text: str) -> str:
    """``text`` with ``\\n`` for every line end, and without lone surrogates."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()


def _replaced(text: str, others: Mapping[str, str]) -> str:
    """``text`` with all labels replaced in one pass: a paste may hold the label of another."""
    labels = "|".join(map(re.escape, sorted(others, key=len, reverse=True)))
    return re.sub(labels, lambda match: others[match[0]], text)


def _paste_label(text: str) -> str:
    lines = text.removesuffix("\n").count("\n") + 1
    if lines > 1:
        return tr("[pasted {count:,} lines]", count=lines)
    return tr("[pasted {count:,} characters]", count=len(text))


CHIP, BLANK = "chip-area--chip", "chip-area--blank"


class Recall:
    """A position among earlier prompts; behind the newest is the unsent draft.

    Changes to an earlier prompt are kept until something is sent.
    """

    def __init__(self, entries: Iterable[Draft] = ()) -> None:
        self._entries = list(entries)
        self._changed: dict[int, Draft] = {}
        self._at = len(self._entries)

    @property
    def entries(self) -> list[Draft]:
        """All earlier prompts, the newest last."""
        return list(self._entries)

    def older(self, shown: Draft) -> Draft | None:
        """The prompt before; None at the oldest. ``shown`` is the present draft."""
        return self._move(-1, shown)

    def newer(self, shown: Draft) -> Draft | None:
        """The prompt after, at last the unsent draft; None behind that."""
        return self._move(1, shown)

    def add(self, sent: Draft) -> None:
        """Add a prompt that was sent, and move behind it."""
        if self._entries[-1:] != [sent]:
            self._entries.append(sent)
        self._changed.clear()
        self._at = len(self._entries)

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Change the texts of all prompts."""
        self._entries = [each.rewritten(change) for each in self._entries]
        self._changed = {at: each.rewritten(change) for at, each in self._changed.items()}

    def _move(self, step: int, shown: Draft) -> Draft | None:
        target = self._at + step
        if not 0 <= target <= len(self._entries):
            return None
        self._changed[self._at] = shown
        self._at = target
        if target in self._changed:
            return self._changed[target]
        return self._entries[target] if target < len(self._entries) else Draft()


KILLS = 60  # texts that a kill ring holds, as many as GNU Readline's and Emacs'


class KillRing:
    """What was deleted by keys such as Ctrl+K, to be put back by Ctrl+Y, as in Readline."""

    def __init__(self) -> None:
        self._entries: deque[Draft] = deque(maxlen=KILLS)  # the one to be yanked is the last

    def add(self, killed: Draft, *, join: bool = False, before: bool = False) -> None:
        """Add a text; with ``join`` to the end of the last one, or to its beginning."""
        if join and self._entries:
            last = self._entries.pop()
            first, second = (killed, last) if before else (last, killed)
            killed = Draft(
                first.text + second.text,
                first.pastes + second.pastes,
                first.files + second.files,
                first.blanks + second.blanks,
            )
        self._entries.append(killed)

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Change all texts."""
        self._entries = deque((each.rewritten(change) for each in self._entries), KILLS)

    @property
    def latest(self) -> Draft | None:
        """The text to be yanked; None when nothing was killed."""
        return self._entries[-1] if self._entries else None

    def rotate(self) -> None:
        """Go on to the text killed before."""
        self._entries.rotate(1)
