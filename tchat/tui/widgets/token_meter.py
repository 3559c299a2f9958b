"""The draft meter: what sending the draft would take of the context. Exact, not an estimate."""

from __future__ import annotations

from textual.content import Content

from tchat.tui.widgets.rows import Ends, Level, Part, Row, bar, context_bar, level_of

COUNTING = "…"
BAR = 16
READ_BAR = 6


class TokenMeter(Row):
    """Tokens of the draft, of the context once it is sent, and what is left for the reply.

    Without a draft it says no more than the room, until that gets tight.
    """

    DEFAULT_CSS = """
    TokenMeter { color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._shown: Ends = ((), ())

    def show(
        self,
        draft: int | None,
        used: int | None,
        context: int,
        *,
        read: float | None = None,
        cost: tuple[str, str] = ("", ""),
    ) -> None:
        """Show token counts.

        Args:
            draft: Tokens of the draft; None while they are counted.
            used: Tokens of the context once the draft is sent; None while they are counted.
            context: Tokens of the context; 0 while no model is known, which shows nothing.
            read: The share of the draft, 0..1, that is read before it is sent; None for nothing.
            cost: What sending it makes the model read again, at length and briefly.
        """
        if context <= 0:
            self._shown = (), ()
        elif used is None:
            self._shown = _counting(draft, context), ()
        elif draft is not None and draft >= context:  # counted no further
            self._shown = _too_long(context), _context_bar(context + 1, context)
        elif draft == 0 and not level_of(used, context).word:
            self._shown = [_cost(cost), _room(used, context)], ()
        else:
            text = _text(draft, used, context, read)
            self._shown = [_cost(cost), *text], _context_bar(used, context)
        self.update_parts()

    def parts(self) -> Ends:
        """The counts, and the bar of the context."""
        return self._shown


def _counting(draft: int | None, context: int) -> list[Part]:
    return [
        Part(_forms(f"draft {_count(draft)}", ""), (1,)),
        Part(_forms(f"after sending {COUNTING} of {context:,}", f"{COUNTING}/{context:,}"), (0,)),
    ]


def _too_long(context: int) -> list[Part]:
    told = f"draft of {context:,} tokens or more, the context holds {context:,}"
    return [Part(_forms(told, f"draft {context:,}+", style=Level.OVER.colour), (1,))]


def _text(draft: int | None, used: int, context: int, read: float | None) -> list[Part]:
    return [
        Part(_forms(f"draft {_count(draft)}", ""), (5,)),
        _read(read),
        Part(_forms(f"after sending {used:,} of {context:,}", f"{used:,}/{context:,}"), (2,)),
        _room(used, context),
    ]


def _cost(words: tuple[str, str]) -> Part:
    return Part(_forms(*words, style="$warning"), (4,)) if words[0] else Part((Content(""),))


def _read(share: float | None) -> Part:
    if share is None:
        return Part((Content(""),))
    if share >= 1:
        return Part(_forms("✓ read", "✓", ""), (4, 6), " ")
    told = f"{share:.0%} read"
    return Part(_forms(f"{bar(share, READ_BAR)} {told}", told, ""), (1, 6), " ")


def _room(used: int, context: int) -> Part:
    left = context - used
    room, short = f"room for the reply {left:,}", f"room {left:,}"
    if left < 0:
        room, short = f"too long by {-left:,}", f"{left:,}"
    level = level_of(used, context)
    return Part(_forms(room, short, style=level.colour if level.word else ""), (3,))


def _context_bar(used: int, context: int) -> list[Part]:
    level = level_of(used, context)
    bars = context_bar(used, context, BAR), context_bar(used, context, BAR // 2), Content("")
    return [
        Part(_forms(level.word, level.sign, style=f"bold {level.colour}"), (4,)),
        Part(bars, (0, 1), "  "),
    ]


def _forms(*texts: str, style: str = "") -> tuple[Content, ...]:
    return tuple(Content.styled(text, style) for text in texts)


def _count(tokens: int | None) -> str:
    return COUNTING if tokens is None else f"{tokens:,}"
