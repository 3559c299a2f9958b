"""Background work: every worker of the screen is created here.

A failure in a worker is shown and logged; it cannot end the program.
"""

from __future__ import annotations

import asyncio
import functools
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, runtime_checkable

from textual.dom import DOMNode, NoScreen
from textual.screen import Screen

from tchat.errors import DoesNotFit, StoreLocked, TchatError
from tchat.sanitize import single_line
from tchat.translation import tr

if TYPE_CHECKING:
    from textual.worker import Worker

    from tchat.log_file import LogFile

P = ParamSpec("P")
T = TypeVar("T")


class OnScreen(Protocol):
    """A controller: it has a screen."""

    @property
    def screen(self) -> Screen[Any]:
        """The screen."""


Owner = TypeVar("Owner", bound=DOMNode | OnScreen)


@runtime_checkable
class ShowsFailures(Protocol):
    """A screen that shows failures itself."""

    def show_failure(self, error: TchatError) -> bool:
        """Show a failure; False when that is not possible now."""


def background(
    *, group: str, exclusive: bool = False
) -> Callable[
    [Callable[Concatenate[Owner, P], Awaitable[None]]],
    Callable[Concatenate[Owner, P], Worker[None]],
]:
    """Run a method of a widget, the app or a controller as a worker that cannot end the program."""

    def decorate(
        method: Callable[Concatenate[Owner, P], Awaitable[None]],
    ) -> Callable[Concatenate[Owner, P], Worker[None]]:
        @functools.wraps(method)
        def begin(owner: Owner, /, *args: P.args, **named: P.kwargs) -> Worker[None]:
            node = owner if isinstance(owner, DOMNode) else owner.screen

            async def guarded() -> None:
                try:
                    await method(owner, *args, **named)
                except Exception as error:  # noqa: BLE001  whatever it is, the program goes on
                    report(node, error)

            return node.run_worker(
                guarded, name=method.__name__, group=group, exclusive=exclusive, exit_on_error=False
            )

        return begin

    return decorate


def off_loop(work: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Run a method on a thread: what awaits it does not hold up the event loop."""

    @functools.wraps(work)
    async def begin(*args: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(work, *args, **named)

    return begin


def report(node: DOMNode, error: Exception) -> None:
    """Show a failure on the screen of ``node``; log it if it is unexpected.

    The chat shows it among the messages; behind a dialog, a toast shows it too.
    """
    if isinstance(error, StoreLocked) and getattr(node.app, "is_locked", False):
        return  # what goes on behind the lock tries again once the chat is seen
    shown = explained(node, error)
    with suppress(NoScreen):
        if not node.is_running:  # it was closed meanwhile
            return
        screen = node.screen
        if isinstance(screen, ShowsFailures) and screen.show_failure(shown) and screen.is_current:
            return
        node.app.notify(single_line(str(shown)), severity="error", markup=False)


def explained(node: DOMNode, error: Exception) -> TchatError:
    """The error to show for ``error``; an unexpected one is logged."""
    if isinstance(error, TchatError):
        return error
    log: LogFile | None = getattr(node.app, "log_file", None)
    return unexpected_error(error, log)


SHOWN = 200  # characters of a reason


def unexpected_error(error: BaseException, log: LogFile | None) -> TchatError:
    """Write the traceback of ``error`` to the log, if there is one; return the error to show."""
    if isinstance(error, MemoryError):
        return DoesNotFit(tr("out of memory"), tr("use a smaller model or a smaller ctx_size"))
    reason = single_line(f"{type(error).__name__}: {error}", SHOWN)
    if log is None or not log.append("".join(traceback.format_exception(error))):
        return TchatError(tr("unexpected error: {reason}", reason=reason))
    hint = tr("please report it with the log at {path}", path=log.path)
    if log.encryption is not None:
        hint = tr("please report it with what `tchat log` shows")
    return TchatError(tr("unexpected error: {reason}", reason=reason), hint)
