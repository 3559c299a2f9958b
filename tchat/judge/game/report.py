"""The report of a game: Markdown with a table, a plot in SVG, and replies before and after."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tchat.encryption.stored_file import StoredFile
from tchat.judge.discriminator import PURPOSE
from tchat.judge.game.game_state import GameRound, GameState
from tchat.judge.game.steering import GameReply, MetricRatio, MetricRatios, ReplyMetrics
from tchat.private_files import write_private
from tchat.sanitize import printable, single_line
from tchat.translation import N_, tr, trn

if TYPE_CHECKING:
    from tchat.encryption.encryption import Encryption

REPORT = "report.md"
WHAT_THIS_IS = N_(
    "The weights of the model were not touched. What was trained is a small discriminator, and a "
    "control vector that is added to the hidden states while the model writes: adversarial "
    "steering of a frozen model at inference time. Large chat models are not trained as generative "
    "adversarial networks, and this is none."
)
_SPECIAL = re.compile(r"(^[ \t]*)([-+=])|([\\`*_\[\]<>#|&~$])", re.MULTILINE)
UNSTEERED = N_("No step was made: what stands under “after” is another draw, unsteered too.")
FIGURES = N_(
    "AUC: how well the discriminator tells human replies from the model's; 0.5 is not at all. "
    "Model, human: its mean probability that a person wrote the model's and the human replies. The "
    "perplexity is the unsteered model's; distinct-2 is the share of different token pairs; the "
    "figures with an x are against unsteered replies to the same prompts, with their standard "
    "error. Strength: length of the control vector, against that of the states it is added to."
)
_SAMPLES, _SHOWN = 4, 600  # replies, and characters of each


@dataclass(frozen=True, slots=True)
class IndependentVerdict:
    """Evaluation by a discriminator that took no part in the game, on held-out prompts.

    The shares are of replies classified as human.
    """

    before: float  # unsteered
    after: float  # steered
    people: float
    plain: ReplyMetrics  # of the unsteered replies
    steered: ReplyMetrics
    costs: MetricRatios
    error: float  # standard error of `after` - `before`

    @property
    def words(self) -> str:
        """Both shares, and whether their difference is significant."""
        gained = 100 * (self.after - self.before)
        text = N_("{before:.0%} before, {after:.0%} after ({gained:+.0f} ± {error:.0f} points)")
        if abs(self.after - self.before) < 2 * self.error:
            text = N_(
                "{before:.0%} before, {after:.0%} after ({gained:+.0f} ± {error:.0f} points, which "
                "may be chance)"
            )
        return tr(text, before=self.before, after=self.after, gained=gained, error=100 * self.error)


def write_report(
    folder: Path,
    state: GameState,
    verdict: IndependentVerdict | None,
    samples: Sequence[tuple[GameReply, GameReply]],
    provenance: Sequence[tuple[str, str]],
    *,
    encryption: Encryption | None = None,
) -> Path:
    """Write ``report.md`` and ``report.svg`` into ``folder``; returns the former.

    Args:
        folder: Folder of the game.
        state: The final state.
        verdict: The independent evaluation; None if there is none.
        samples: Replies to the same prompts, before and after.
        provenance: Data and settings of the game, as pairs of a name and a value.
        encryption: Of the report, which holds replies; the plot holds figures only.

    Raises:
        StorageError: It cannot be written.
    """
    ended = trn(
        "It ended after {count:,} round: {reason}.",
        "It ended after {count:,} rounds: {reason}.",
        len(state.rounds) - 1,
        reason=state.over or tr("interrupted"),
    )
    parts = [
        f"# {tr('Duel of model and judge')}\n",
        f"{tr(WHAT_THIS_IS)}\n",
        f"{ended}\n",
        f"![{tr('Scores and perplexity by round')}](report.svg)\n",
        _table(state.rounds),
        _tried(state.rounds),
        _verdict(verdict),
        f"## {tr('Replies before and after')}\n",
        *([] if state.steering.directions else [f"{tr(UNSTEERED)}\n"]),
        *(_sample(*pair) for pair in samples[:_SAMPLES]),
        f"## {tr('Provenance')}\n",
        *(
            f"- {_escaped(single_line(name))}: {_escaped(single_line(value, 500))}"
            for name, value in provenance
        ),
    ]
    write_private(folder / "report.svg", plot_svg(state.rounds).encode())
    path = folder / REPORT
    StoredFile(path, encryption, PURPOSE).write(("\n".join(parts) + "\n").encode())
    return path


def read_report(folder: Path, encryption: Encryption | None) -> str:
    """The report in ``folder``.

    Raises:
        OSError: There is none.
        StorageError: It cannot be decrypted.
    """
    return StoredFile(folder / REPORT, encryption, PURPOSE).read().decode("utf-8", "replace")


def _table(rounds: Sequence[GameRound]) -> str:
    lines = [
        _row(
            *(tr("round"), "AUC", tr("model"), tr("human"), tr("model's taken for human")),
            *(tr("perplexity"), "", "distinct-2", "", tr("tokens"), tr("strength"), ""),
        ),
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for each in rounds:
        health, costs = each.health, each.costs
        lines.append(
            f"| {each.number} | {each.auc:.3f} | {each.generated:.3f} | {each.people:.3f} "
            f"| {each.taken:.0%} | {health.perplexity:.2f} | {_ratio(costs.perplexity)} "
            f"| {health.distinct_2:.3f} | {_ratio(costs.distinct_2)} | {health.length:.0f} "
            f"| {each.strength:.3f} | {each.note} |"
        )
    return "\n".join(lines) + f"\n\n{tr(FIGURES)}\n"


def _row(*cells: str) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _tried(rounds: Sequence[GameRound]) -> str:
    """The table of all steps that were tried."""
    lines = [
        f"## {tr('Steps that were tried')}\n",
        _row(
            *(tr("round"), tr("strength"), tr("taken for human"), tr("perplexity")),
            *("distinct-2", tr("tokens"), tr("broken")),
        ),
        "|--:|--:|--:|--:|--:|--:|---|",
    ]
    for each in rounds:
        for attempt in each.tried:
            costs = attempt.costs
            lines.append(
                f"| {each.number} | {attempt.strength:.3f} | {attempt.taken:.0%} "
                f"| {_ratio(costs.perplexity)} | {_ratio(costs.distinct_2)} "
                f"| {_ratio(costs.length)} | {attempt.broken} |"
            )
    return "\n".join(lines) + "\n" if len(lines) > 3 else ""


def _ratio(ratio: MetricRatio) -> str:
    return f"{ratio.value:.2f}x ± {ratio.error:.2f}"


def _verdict(verdict: IndependentVerdict | None) -> str:
    if verdict is None:
        return tr("There were too few replies for an independent judge.") + "\n"
    plain, steered = verdict.plain, verdict.steered
    shares = tr(
        "Replies that a discriminator trained on other data and on unsteered replies takes for "
        "human: {shares}; {people:.0%} of the human ones. All are to prompts that neither the duel "
        "nor it has seen.",
        shares=verdict.words,
        people=verdict.people,
    )
    costs = tr(
        "Perplexity {perplexity:.2f} before, {perplexity_after:.2f} after ({perplexity_ratio}, "
        "prompt by prompt); distinct-2 {distinct:.3f} and {distinct_after:.3f} "
        "({distinct_ratio}); {length:.0f} and {length_after:.0f} tokens.",
        perplexity=plain.perplexity,
        perplexity_after=steered.perplexity,
        perplexity_ratio=_ratio(verdict.costs.perplexity),
        distinct=plain.distinct_2,
        distinct_after=steered.distinct_2,
        distinct_ratio=_ratio(verdict.costs.distinct_2),
        length=plain.length,
        length_after=steered.length,
    )
    return f"## {tr('Independent judge')}\n\n{shares}\n\n{costs}\n"


def _sample(before: GameReply, after: GameReply) -> str:
    return "\n\n".join(
        (
            f"### {_escaped(single_line(before.prompt, 200))}",
            f"{tr('Before:')}\n\n{_quoted(before.text)}",
            f"{tr('After:')}\n\n{_quoted(after.text)}\n",
        )
    )


def _quoted(text: str) -> str:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
    return "\n".join(f"> {line}" for line in _escaped(printable(shown)).splitlines())


def _escaped(text: str) -> str:
    """``text`` escaped for Markdown: no link, image, heading or HTML of its own."""
    return _SPECIAL.sub(r"\1\\\2\3", text)


WIDTH, HEIGHT = 640, 300  # of the picture
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 56, 28, 40  # margins
# Okabe and Ito's colours, which everybody can distinguish; the strokes differ too.
_LINES = (
    (N_("human replies"), "#0072B2", ""),
    (N_("model's replies"), "#D55E00", "6 3"),
    (N_("perplexity"), "#009E73", "2 3"),
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
        points = [(f"{_x(at, len(values)):.1f}", f"{_y(v):.1f}") for at, v in enumerate(values)]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"><title>{tr(name)}</title></polyline>'
        )
    for index, (name, colour, dashes) in enumerate(_LINES):
        x = _LEFT + 150 * index
        parts.append(
            f'<line x1="{x}" x2="{x + 24}" y1="14" y2="14" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/><text x="{x + 30}" y="18">{tr(name)}</text>'
        )
    return "\n".join((*parts, "</svg>\n"))


def sparkline(values: Sequence[float], most: float = 1.0) -> str:
    """A bar chart of values between 0 and ``most``, one character each."""
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[min(top, max(0, round(top * value / most)))] for value in values)


def horizontal_bar(value: float, width: int) -> str:
    """A bar for a value between 0 and 1, padded to ``width`` cells."""
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
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{tr("round")}</text>'
    )
    return parts


def _x(at: int, count: int) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * (at / max(1, count - 1))


def _y(share: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share
