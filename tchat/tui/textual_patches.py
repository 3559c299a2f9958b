"""Replaced private parts of Textual 8.2, and keys in the order typed.

At an upgrade of Textual, compare `ChopsUpdate.render_segments`, `Compositor._render_chops`,
`Screen._on_timer_update`, `Screen._modal_binding_chain` and `Notification.time_left`, and run
``python -m tests.benchmarks tui_keys``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from rich.console import Console
from textual._compositor import ChopsUpdate, Compositor
from textual.app import App
from textual.driver import Driver
from textual.events import Key
from textual.geometry import Offset, Region
from textual.notifications import Notification
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.worker import Worker

BETWEEN = 0.01  # seconds between two paintings out of turn: a burst of keys is painted together

Chops = list[dict[int, Strip | None]]


class Update(ChopsUpdate):
    """Textual's partial update; its cursor moves are written without Rich's `Control`."""

    def render_segments(self, console: Console) -> str:
        """The update as it is written to the terminal."""
        written: list[str] = []
        for y, first, last in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x > last or end <= first:
                    continue
                shown = strip if x >= first and end <= last else strip.crop(0, min(end, last) - x)
                written += f"\x1b[{y + 1};{x + 1}H", shown.render(console)
        return "".join(written)


class PartialCompositor(Compositor):
    """Textual's compositor, but it renders only rows that are painted and not covered.

    Textual renders each changed widget whole, and containers that nobody sees. From flush to flush
    of a reply, with keys typed beside it: 7.3 ms of CPU (95th percentile), 8.6 with Textual's own.
    """

    def render_partial_update(self) -> Update | None:
        """The rows that changed; None without any."""
        update = super().render_partial_update()
        return Update(update.chops, update.spans, update.chop_ends) if update else None

    def _render_chops(
        self, crop: Region, is_rendered_line: Callable[[int], bool]
    ) -> Sequence[Mapping[int, Strip]]:
        chops: Chops = [dict.fromkeys(cuts[:-1]) for cuts in self.cuts]
        rows = range(max(0, crop.y), min(crop.bottom, len(chops)))
        missing = {y: len(chops[y]) for y in rows if is_rendered_line(y)}
        for region, drawn, strips in self._needed(missing):
            first, last = region.column_span
            for y, strip in zip(drawn, strips, strict=False):
                if not missing.get(y):
                    continue
                row = chops[y]
                cuts = [cut for cut in self.cuts[y] if first <= cut <= last]
                parts = strip.divide([cut - first for cut in cuts[1:]])
                for cut, part in zip(cuts, parts, strict=False):
                    if row[cut] is None:
                        row[cut] = part
                        missing[y] -= 1
        return cast("Sequence[Mapping[int, Strip]]", chops)

    def _needed(
        self, missing: Mapping[int, int]
    ) -> Iterator[tuple[Region, range, Sequence[Strip]]]:
        """Where each widget is, front to back, and its strips in the rows that still lack some."""
        for widget, (whole, clip) in self.visible_widgets.items():
            region = whole.intersection(clip)
            lacking = [y for y in region.line_range if missing.get(y)] if region else []
            if lacking:
                rows = range(lacking[0], lacking[-1] + 1)
                yield region, rows, _render(widget, whole, region, rows)


def _render(widget: Widget, whole: Region, region: Region, rows: range) -> Sequence[Strip]:
    """The rows of the screen in ``rows`` that ``widget``, which is at ``whole``, shows."""
    return widget.render_lines(
        Region(region.x - whole.x, rows.start - whole.y, region.width, len(rows))
    )


def attached(found: tuple[Widget | None, Offset | None]) -> tuple[Widget | None, Offset | None]:
    """The widget and offset under the mouse; none where the widget was removed since the layout.

    Textual begins a selection in the parent of what is clicked, which a removed widget lacks.
    """
    widget, _ = found
    return found if widget is None or widget.is_attached else (None, None)


class FocusPainter:
    """Paints what has the focus as soon as it changed.

    Textual paints 60 times a second and not more often: beside a reply that is drawn all the time
    a key waits for the next turn or the one after it. A key is seen after 3 ms (19 at the 95th
    percentile); without this, after 5 (28).
    """

    def __init__(self, screen: Screen[None]) -> None:
        self._screen = screen
        self._painted = 0.0

    def paint(self) -> bool:
        """Paint now what is to be painted, if the focus is in it; whether it was done."""
        if self._screen.focused not in self._screen._dirty_widgets:
            return False
        now = time.monotonic()
        if now - self._painted < BETWEEN:
            return False
        self._painted = now
        self._screen._on_timer_update()
        return True


PATIENCE = 2.0  # seconds at most that a key waits for those typed before it
LOOK = 0.005  # seconds between two looks at a dialog that opens


class OpeningDialog:
    """The dialog that the last key opens; keys typed after that key belong to it.

    A dialog is opened by a worker of the group ``dialog``, which may read files first.
    """

    def __init__(self, app: App[None]) -> None:
        self._app = app
        self._begun: frozenset[Worker[Any]] = frozenset()
        self._depth = 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Around what a key does: note which dialog it opens."""
        before, self._depth = self._workers(), len(self._app.screen_stack)
        yield
        self._begun = self._workers() - before

    @property
    def is_awaited(self) -> bool:
        """Whether it takes no keys yet."""
        if not self._app.screen.is_mounted:
            return True
        if len(self._app.screen_stack) > self._depth:
            return False
        return any(not worker.is_finished for worker in self._begun)

    async def wait(self) -> None:
        """Wait until it takes keys, or does not open after all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self.is_awaited:
                    await asyncio.sleep(LOOK)
        self._begun = frozenset()

    def _workers(self) -> frozenset[Worker[Any]]:
        return frozenset(
            each for each in self._app.workers if each.group == "dialog" and not each.is_finished
        )


async def let_earlier_keys_act(app: App[None], key: str) -> None:
    """Wait until the keys typed before a priority ``key`` have been handled."""
    if app.focused is not None and len(key) > 1 and _has_priority(app, key):
        await let_queued_keys_act(app)


async def let_queued_keys_act(app: App[None]) -> None:
    """Wait until the keys that were forwarded to what has the focus have been handled.

    They wait in its queue, and what comes of them in those of its parents.
    """
    focused = app.focused
    if focused is None:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            for node in focused.ancestors_with_self:
                acted = asyncio.Event()
                if node is not app and node.call_later(acted.set):
                    await acted.wait()


def _has_priority(app: App[None], key: str) -> bool:
    return any(
        binding.priority
        for _, bindings in app.screen._modal_binding_chain
        for binding in bindings.key_to_bindings.get(key, ())
    )


async def carry_out_binding(widget: Widget, event: Key, *, only_own: bool = False) -> bool:
    """Carry out what ``event`` is bound to from ``widget`` upwards; whether it was bound.

    With ``only_own`` the bindings of its parents are left alone. For the ``_on_key`` of a widget
    that takes text. Textual looks for a binding only when the key has bubbled through the queues
    of all parents to the app; the keys typed after it have changed the text by then.
    """
    for node, bindings in widget.screen._modal_binding_chain:
        if only_own and node is not widget:
            continue
        for binding in bindings.key_to_bindings.get(event.key, ()):
            if not binding.priority and await widget.app.run_action(binding.action, node):
                event.prevent_default()
                event.stop()
                return True
    return False


LEAST = 0.01  # seconds


@dataclass
class SafeNotification(Notification):
    """A notification that always has some time left for its toast.

    Textual makes a timer of the time left; when that ran out, or the clock was set, its delay is
    negative, and such a timer never ends: the program hangs.
    """

    @property
    def time_left(self) -> float:
        """Seconds until it expires, never none."""
        return max(LEAST, super().time_left)

    @property
    def has_expired(self) -> bool:
        """Whether it is to be shown no more."""
        return super().time_left <= 0


def driver_of(app: App[Any]) -> Driver | None:
    """What writes to the terminal; None before the app runs."""
    return app._driver


def drop_information(app: App[Any]) -> None:
    """Remove toasts that only inform; warnings and errors stay."""
    for each in list(app._notifications):
        if each.severity == "information":
            app._unnotify(each, refresh=False)
    app._refresh_notifications()


def kind_of(notification: Notification) -> str:
    """The text of a toast without its numbers, and one kind for all errors.

    Only the latest toast of a kind is shown: an error tells of what was tried last.
    """
    if notification.severity == "error":
        return notification.severity
    return re.sub(r"\d[\d,.]*", "0", f"{notification.severity} {notification.message}")
