"""What stands around the text of an entry: who speaks, facts, actions, and the marks below it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from tchat.humanize import duration_text
from tchat.sanitize import single_line
from tchat.translation import N_, tr, trn
from tchat.tui.widgets.transcript.entry import Entry, Format
from tchat.tui.widgets.transcript.lines import Line, Palette, cut, filled, line, on, width

ACTION = "action"  # the key of an action in a style's meta data
SEPARATOR = " · "
LEFT_MACHINE = "⇄"
LONGEST_HOST = 24  # characters of a server or host

_CHANGES, _PLACE = ("copy", "edit", "regenerate"), ("branch", "delete", "pin")
_ACTIONS = {
    "user": (*_CHANGES, *_PLACE),
    "assistant": (*_CHANGES, "continue", *_PLACE, "good", "bad"),
    "system": ("copy", "edit"),
    "tool": ("copy", "delete"),
    "notice": ("copy",),
    "error": ("copy", "retry"),
}
_WHILE_WRITTEN = ("copy", "stop")
# Short names, so that all actions on a reply fit a screen of 60 columns.
_NAMES = {
    "copy": N_("copy"),
    "stop": N_("stop"),
    "edit": N_("edit"),
    "regenerate": N_("regen"),
    "continue": N_("continue"),
    "branch": N_("branch"),
    "delete": N_("delete"),
    "pin": N_("pin"),
    "retry": N_("retry"),
    "good": "+",
    "bad": "-",
}
_SHORTEST = 4  # cells of a name that was cut
_SPOKEN = ("user", "assistant", "system")  # roles with a line that names them


def has_role_line(entry: Entry, form: Format) -> bool:
    """Whether a line above the text of ``entry`` names who speaks."""
    return form.roles and entry.role in _SPOKEN


def has_marks(entry: Entry, form: Format) -> bool:
    """Whether there is more to tell in that line than who speaks."""
    has_scores = form.scores and bool(entry.scores)
    return form.details or has_scores or bool(_marks(entry, form.palette.muted))


def role_line(entry: Entry, form: Format, *, facts: bool, actions: bool = False) -> Line:
    """The line above the text of ``entry``: who speaks, and marks; no part of it is copied.

    Args:
        facts: Whether the end of the line tells speed, duration and time, where there is room.
        actions: Whether the actions take the place of marks and facts.
    """
    palette, cells = form.palette, form.cells
    ground = palette.user if entry.role == "user" else palette.base
    quiet = on(ground, palette.muted)
    start = [Segment(_name(entry), on(ground, _name_style(entry, palette)))]
    if actions:
        bar = action_bar(entry, palette, ground)
        room = cells - width(bar) - 2
        start = [*cut(start, room), Segment("  ", ground), *bar] if room >= _SHORTEST else bar
    else:
        marks = _marks(entry, quiet)
        marks += _scores(entry, quiet) if form.scores else []
        for mark in marks:
            start += [Segment("  ", ground), *mark]
    start = cut(start, cells)
    told = _facts(entry, cells - width(start) - 2) if facts and not actions else ""
    if told:
        gap = cells - width(start) - width([Segment(told)])
        start += [Segment(" " * gap, ground), Segment(told, quiet)]
    drawn = line(start)
    drawn = line(drawn.segments, lead=len(drawn.text))
    return filled(drawn, cells, ground) if entry.role == "user" else drawn


def action_bar(entry: Entry, palette: Palette, ground: Style) -> list[Segment]:
    """The actions on ``entry``, to be clicked; on a reply being written, those that work then."""
    segments: list[Segment] = []
    for action in _WHILE_WRITTEN if entry.status == "streaming" else _ACTIONS[entry.role]:
        unpins = action == "pin" and entry.pinned
        name = tr("unpin") if unpins else tr(_NAMES[action])
        segments.append(Segment("  ", ground))
        segments.append(Segment(name, on(ground, palette.action) + action_style(action)))
    return segments[1:]


def action_style(action: str) -> Style:
    """A style that only makes text ask for ``action`` on a click."""
    return Style(meta={ACTION: action})


def footer_line(entry: Entry, ground: Style, palette: Palette) -> list[Segment]:
    """The segments of the line below ``entry``, which tells how it ended, if any."""
    quiet, action = on(ground, palette.muted), on(ground, palette.action)
    if entry.role == "error" and entry.retry:
        return [Segment(f"↻ {tr('retry')}", action + action_style("retry"))]
    if entry.status == "stopped" and entry.role == "user":
        return [Segment(f"■ {tr('stopped before a reply')}", quiet)]
    if entry.status == "stopped":
        return [Segment(f"■ {tr('stopped')}", quiet)]
    if entry.status == "interrupted":
        resume = Segment("/continue", action + action_style("continue"))
        return [Segment(f"◇ {tr('interrupted')}{SEPARATOR}", quiet), resume]
    return []


def _name(entry: Entry) -> str:
    if entry.role == "user":
        return tr("You")
    if entry.role == "system":
        return tr("System prompt")
    return single_line(entry.label) or tr("Assistant")


def _name_style(entry: Entry, palette: Palette) -> Style:
    if entry.role == "user":
        return palette.user_bar
    return palette.role if entry.role == "assistant" else palette.muted


def _marks(entry: Entry, style: Style) -> list[list[Segment]]:
    marks: list[list[Segment]] = []
    if entry.sent_to:
        marks.append([Segment(sent_mark(entry.sent_to), style)])
    index, count = entry.sibling
    if count > 1:
        left = Segment("‹", style + action_style("previous"))
        right = Segment("›", style + action_style("next"))
        marks.append([left, Segment(f" {index}/{count} ", style), right])
    if entry.pinned:
        marks.append([Segment(f"▲ {tr('pinned')}", style)])
    if entry.rating:
        rated = f"+ {tr('good')}" if entry.rating > 0 else f"- {tr('bad')}"
        marks.append([Segment(rated, style)])
    if entry.by_person:
        marks.append([Segment(tr("by hand"), style)])
    return marks


def sent_mark(name: str) -> str:
    """The mark of what left this machine, with the server or host."""
    return f"{LEFT_MACHINE} {single_line(name, LONGEST_HOST)}"


def _scores(entry: Entry, style: Style) -> list[list[Segment]]:
    return [[Segment(f"{single_line(name)} {score:.2f}", style)] for name, score in entry.scores]


def _facts(entry: Entry, room: int) -> str:
    """Tokens, speed, duration and time; the first ones are left out where ``room`` is short."""
    parts: list[str] = []
    if entry.tokens is not None:
        parts.append(trn("{count:,} token", "{count:,} tokens", entry.tokens))
    if entry.speed:
        parts.append(tr("{speed} tok/s", speed=f"{entry.speed:.{int(entry.speed < 10)}f}"))
    if entry.seconds is not None:
        short = entry.seconds < 9.95
        parts.append(f"{entry.seconds:.1f} s" if short else duration_text(entry.seconds))
    if entry.created_at is not None:
        parts.append(_time(entry.created_at))
    return _fitting(parts, room)


def _time(created_at: float) -> str:
    """The time of day, behind the date unless it is today."""
    then = time.localtime(created_at)
    today = then[:3] == time.localtime()[:3]
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", then)


def _fitting(parts: Sequence[str], room: int) -> str:
    for first in range(len(parts)):
        told = SEPARATOR.join(parts[first:])
        if width([Segment(told)]) <= room:
            return told
    return ""
