"""The draft meter: how much of the context the draft takes once it is sent."""

from __future__ import annotations

from textual.content import Content

from tchat.tui.widgets.rows import Ends, Level, Part, Row, bar, context_bar, level_of, part

BAR = 16
READ_BAR = 6


class TokenMeter(Row):
    """Exact tokens of the draft, of the context once it is sent, and room for the reply.

    Without a draft only the room is shown, until it gets tight.
    """

    DEFAULT_CSS = """
    TokenMeter { color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__()
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
            context: Tokens of the context; 0 without a model, which shows nothing.
            read: The share of the draft, 0..1, processed before it is sent; None for none.
            cost: The prefill cost of sending it, long and short.
        """
        if context <= 0:
            self._shown = (), ()
        elif used is None:
            self._shown = _counting(draft, context), ()
        elif draft is not None and draft >= context:  # counted no further
            self._shown = [_too_long(context)], _context_bar(context + 1, context)
        elif draft == 0 and not level_of(used, context).word:
            self._shown = [*_cost(cost), _room(used, context)], ()
        else:
            facts = [_draft(draft, keep=5), *_read(read), _sent(used, context)]
            left = [*_cost(cost), *facts, _room(used, context)]
            self._shown = left, _context_bar(used, context)
        self.update_parts()

    def parts(self) -> Ends:
        """The counts, and the bar of the context."""
        return self._shown


def _counting(draft: int | None, context: int) -> list[Part]:
    sent = part(f"after sending … of {context:,}", f"…/{context:,}", keep=(0,))
    return [_draft(draft, keep=1), sent]


def _too_long(context: int) -> Part:
    full = f"draft of {context:,} tokens or more, the context holds {context:,}"
    return part(full, f"draft {context:,}+", keep=(1,), style=Level.OVER.colour)


def _draft(tokens: int | None, *, keep: int) -> Part:
    short = f"draft {'…' if tokens is None else f'{tokens:,}'}"
    return part(f"{short} token{'s' * (tokens != 1)}", short, "", keep=(0, keep))


def _sent(used: int, context: int) -> Part:
    return part(f"after sending {used:,} of {context:,}", f"{used:,}/{context:,}", keep=(2,))


def _cost(words: tuple[str, str]) -> list[Part]:
    return [part(*words, keep=(4,), style="$warning")] if words[0] else []


def _read(share: float | None) -> list[Part]:
    if share is None:
        return []
    if share >= 1:
        return [part("✓ read", "✓", "", keep=(4, 6), lead=" ")]
    full = f"{share:.0%} read"
    return [part(f"{bar(share, READ_BAR)} {full}", full, "", keep=(1, 6), lead=" ")]


def _room(used: int, context: int) -> Part:
    left = context - used
    room, short = f"room for the reply {left:,}", f"room {left:,}"
    if left < 0:
        room, short = f"too long by {-left:,}", f"{left:,}"
    level = level_of(used, context)
    return part(room, short, keep=(3,), style=level.colour if level.word else "")


def _context_bar(used: int, context: int) -> list[Part]:
    level = level_of(used, context)
    bars = context_bar(used, context, BAR), context_bar(used, context, BAR // 2), Content("")
    word = part(level.word, level.sign, keep=(4,), style=f"bold {level.colour}")
    return [word, Part(bars, (0, 1), "  ")]
