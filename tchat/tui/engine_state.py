"""What the engine is doing, as the screen tells it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias


class Phase(Enum):
    """What the engine is doing, where there is no figure to tell."""

    IDLE = "idle"
    PREPARING = "preparing"  # a file is checked, a prompt counted
    STOPPING = "stopping"  # the user asked for it, and the engine has not yet


class Loading(NamedTuple):
    """The model is being loaded; ``progress`` is 0..1."""

    progress: float


class Prefilling(NamedTuple):
    """``done`` of ``total`` prompt tokens are processed; ``left`` is seconds, None if unknown."""

    done: int
    total: int
    left: float | None = None


class Decoding(NamedTuple):
    """A reply is written at ``rate`` tokens a second, 0 if unknown; ``rates``: oldest first."""

    rate: float
    rates: tuple[float, ...] = ()


class Acting(NamedTuple):
    """A tool is called.

    Attributes:
        name: The tool, raw.
        arguments: Its arguments on one line, safe to print.
        asks: Whether the user is asked.
        since: When that began, on a monotonic clock; None while the call is written.
        step: The number of the reply that called, and how many there may be; 0 if unknown.
        told: How far it is, as its server tells; raw.
    """

    name: str
    arguments: str = ""
    asks: bool = False
    since: float | None = None
    step: tuple[int, int] = (0, 0)
    told: str = ""


State: TypeAlias = Phase | Loading | Prefilling | Decoding | Acting
