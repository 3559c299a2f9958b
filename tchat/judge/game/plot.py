"""The course of a game as a picture: both scores, and the perplexity, round by round."""

from __future__ import annotations

from collections.abc import Sequence

from tchat.judge.game.game_state import GameRound

WIDTH, HEIGHT = 640, 300  # of the picture
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 56, 28, 40  # margins
# Okabe and Ito's colours, told apart by everybody; the strokes differ too.
_LINES = (
    ("people's replies", "#0072B2", ""),
    ("fresh replies", "#D55E00", "6 3"),
    ("perplexity", "#009E73", "2 3"),
)
_BLOCKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def plot_svg(rounds: Sequence[GameRound]) -> str:
    """An SVG picture; scores are on the left axis, from 0 to 1, perplexity on the right."""
    most = 1.25 * max((each.health.perplexity for each in rounds), default=1.0)
    series = (
        [each.people for each in rounds],
        [each.generated for each in rounds],
        [each.health.perplexity / most for each in rounds],
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_axes(most, len(rounds)),
    ]
    for (name, colour, dashes), values in zip(_LINES, series, strict=True):
        places = [(f"{_x(at, len(values)):.1f}", f"{_y(v):.1f}") for at, v in enumerate(values)]
        points = " ".join(f"{x},{y}" for x, y in places)
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"><title>{name}</title></polyline>'
        )
    for index, (name, colour, dashes) in enumerate(_LINES):
        x = _LEFT + 150 * index
        parts.append(
            f'<line x1="{x}" x2="{x + 24}" y1="14" y2="14" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/><text x="{x + 30}" y="18">{name}</text>'
        )
    return "\n".join((*parts, "</svg>\n"))


def sparkline(values: Sequence[float], most: float = 1.0) -> str:
    """One block for each value between 0 and ``most``, as high as the value."""
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[min(top, max(0, round(top * value / most)))] for value in values)


def horizontal_bar(value: float, width: int) -> str:
    """A bar of at most ``width`` cells for a value between 0 and 1, filled up with blanks."""
    eighths = round(8 * width * min(1.0, max(0.0, value)))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest] * (rest > 0)).ljust(width)


def _axes(most: float, count: int) -> list[str]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share:g}</text>'
            f'<text x="{WIDTH - _RIGHT + 8}" y="{y + 4:.1f}">{share * most:.1f}</text>'
        )
    for at in range(count):
        x, y = _x(at, count), HEIGHT - _BOTTOM + 18
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{at}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">round</text>')
    return parts


def _x(at: int, count: int) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * (at / max(1, count - 1))


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share
