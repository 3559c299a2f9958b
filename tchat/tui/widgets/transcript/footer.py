"""The line below an entry: what became of it, its siblings, and details on demand."""

from __future__ import annotations

import time

from rich.segment import Segment
from rich.style import Style

from tchat.humanize import counted
from tchat.sanitize import single_line
from tchat.tui.widgets.transcript.entry import Entry
from tchat.tui.widgets.transcript.palette import Palette, on

ACTION = "action"  # the key of an action's name in a style's meta data
FOLD = "reasoning"  # the action that the transcript does itself
SEPARATOR = " · "

_CHANGES, _PLACE = ("copy", "edit", "regenerate"), ("branch", "delete", "pin")
_ACTIONS = {
    "user": (*_CHANGES, *_PLACE),
    "assistant": (*_CHANGES, "continue", *_PLACE, "good", "bad"),
    "system": ("copy", "edit"),
    "notice": ("copy",),
    "error": ("copy", "retry"),
}


# What is shown for an action: all of a reply's fit a screen of 60 columns.
_NAMES = {"regenerate": "regen", "good": "+", "bad": "-"}


def action_style(action: str) -> Style:
    """The style without looks that makes text ask for ``action`` when it is clicked."""
    return Style(meta={ACTION: action})


def footer_line(
    entry: Entry, ground: Style, palette: Palette, *, details: bool, scores: bool = False
) -> list[Segment]:
    """The segments of the line below ``entry``; empty when there is nothing to say."""
    quiet, action = on(ground, palette.muted), on(ground, palette.action)
    parts = _marks(entry, quiet, action)
    parts += _scores(entry, quiet) if scores else []
    parts += _details(entry, quiet) if details else []
    between = Segment(SEPARATOR, quiet)
    return [segment for part in parts for segment in (between, *part)][1:]


def action_bar(entry: Entry, palette: Palette) -> list[Segment]:
    """What can be done with ``entry``, to be clicked."""
    segments: list[Segment] = []
    for action in _ACTIONS[entry.role]:
        name = "unpin" if action == "pin" and entry.pinned else _NAMES.get(action, action)
        segments.append(Segment("  ", palette.base))
        segments.append(Segment(name, palette.action + action_style(action)))
    return segments[1:]


def _marks(entry: Entry, style: Style, action: Style) -> list[list[Segment]]:
    marks: list[list[Segment]] = []
    if entry.role == "error" and entry.retry:
        marks.append([Segment("↻ retry", action + action_style("retry"))])
    if entry.status == "stopped":
        before = " before a reply" if entry.role == "user" else ""
        marks.append([Segment(f"■ stopped{before}", style)])
    if entry.status == "interrupted":
        resume = Segment("/continue", action + action_style("continue"))
        marks.append([Segment("◇ interrupted — ", style), resume])
    index, count = entry.sibling
    if count > 1:
        left = Segment("‹", style + action_style("previous"))
        right = Segment("›", style + action_style("next"))
        marks.append([left, Segment(f" {index}/{count} ", style), right])
    if entry.pinned:
        marks.append([Segment("▲ pinned", style)])
    if entry.rating:
        marks.append([Segment("+ good" if entry.rating > 0 else "- bad", style)])
    if entry.by_person:
        marks.append([Segment("by hand", style)])
    return marks


def _scores(entry: Entry, style: Style) -> list[list[Segment]]:
    """A chip for each judge: how much it likes the reply."""
    return [[Segment(f"{single_line(name)} {score:.2f}", style)] for name, score in entry.scores]


def _details(entry: Entry, style: Style) -> list[list[Segment]]:
    parts = [single_line(entry.label)] if entry.label else []
    if entry.created_at is not None:
        parts.append(time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created_at)))
    if entry.tokens is not None:
        parts.append(counted(entry.tokens, "token"))
    return [[Segment(part, style)] for part in parts]
