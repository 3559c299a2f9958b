"""The report of a game: Markdown with a table, a plot in SVG, and replies before and after."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tchat.judge.game.constraints import GameReply, MetricRatio, MetricRatios, ReplyMetrics
from tchat.judge.game.game_state import GameRound, GameState
from tchat.judge.game.plot import plot_svg
from tchat.paths import private_file
from tchat.plural import counted
from tchat.sanitize import printable, single_line

WHAT_THIS_IS = """\
The weights of the model were not touched. What was trained is a small discriminator, and a
control vector that is added to the hidden states while the model writes: adversarial steering of
a frozen model at inference time. Large chat models are not trained as generative adversarial
networks, and this is none.
"""
_SPECIAL = re.compile(r"(^[ \t]*)([-+=])|([\\`*_\[\]<>#|&~$])", re.MULTILINE)
UNSTEERED = "No step was made: what stands under “after” is another draw, unsteered too.\n"
FIGURES = """\
AUC: how well the discriminator tells people's replies from fresh ones; 0.5 is not at all. Fresh
replies, people's: its mean probability that a person wrote them. The perplexity is the unsteered
model's; distinct-2 is the share of different token pairs; the figures with an x are against
unsteered replies to the same prompts, with their standard error. Strength: length of the control
vector, against that of the states it is added to.
"""
_SAMPLES, _SHOWN = 4, 600  # replies, and characters of each


@dataclass(frozen=True, slots=True)
class IndependentVerdict:
    """How a discriminator that took no part in the game judges replies to prompts it never saw.

    Args:
        before: Share of unsteered replies that it takes for a person's.
        after: The same of steered replies.
        people: The same of people's replies.
        plain: Figures of the unsteered replies.
        steered: Of the steered ones.
        costs: Both compared.
        error: Standard error of the difference of ``after`` and ``before``.
    """

    before: float
    after: float
    people: float
    plain: ReplyMetrics
    steered: ReplyMetrics
    costs: MetricRatios
    error: float

    @property
    def words(self) -> str:
        """Both shares, and whether their difference says anything."""
        gained = 100 * (self.after - self.before)
        told = f"{self.before:.0%} before, {self.after:.0%} after"
        told += f" ({gained:+.0f} ± {100 * self.error:.0f} points"
        chance = abs(self.after - self.before) < 2 * self.error
        return told + (", which may be chance)" if chance else ")")


@dataclass(frozen=True, slots=True)
class GameProvenance:
    """What a game was played with, as pairs of a name and a value."""

    entries: tuple[tuple[str, str], ...]


def write_report(
    folder: Path,
    state: GameState,
    verdict: IndependentVerdict | None,
    samples: Sequence[tuple[GameReply, GameReply]],
    provenance: GameProvenance,
) -> Path:
    """Write ``report.md`` and ``report.svg`` into ``folder``; returns the former.

    Args:
        folder: Of the game.
        state: What it came to.
        verdict: Of an outsider; None when there was no data to spare for one.
        samples: Replies to the same prompts, before and after.
        provenance: What it was played with.
    """
    rounds = counted(len(state.rounds) - 1, "round")
    parts = [
        "# A game between generator and discriminator\n",
        WHAT_THIS_IS,
        f"It ended after {rounds}: {state.over or 'interrupted'}.\n",
        "![Scores and perplexity by round](report.svg)\n",
        _table(state.rounds),
        _tried(state.rounds),
        _verdict(verdict),
        "## Replies before and after\n",
        *([] if state.steering.directions else [UNSTEERED]),
        *(_sample(*pair) for pair in samples[:_SAMPLES]),
        "## Provenance\n",
        *(
            f"- {_escaped(single_line(name))}: {_escaped(single_line(value, 500))}"
            for name, value in provenance.entries
        ),
    ]
    private_file(folder / "report.svg").write_text(plot_svg(state.rounds), encoding="utf-8")
    path = private_file(folder / "report.md")
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
    return path


def _table(rounds: Sequence[GameRound]) -> str:
    lines = [
        "| round | AUC | fresh replies | people's | taken for a person's | perplexity "
        "| | distinct-2 | | tokens | strength | |",
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
    return "\n".join(lines) + f"\n\n{FIGURES}"


def _tried(rounds: Sequence[GameRound]) -> str:
    """What strength brings and costs, by every step that was tried."""
    lines = [
        "## Steps that were tried\n",
        "| round | strength | taken for a person's | perplexity | distinct-2 | tokens | broken |",
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
        return "There were too few replies to spare some for a judge from outside.\n"
    plain, steered = verdict.plain, verdict.steered
    return (
        "## A judge from outside\n\n"
        "A discriminator trained on other data and on unsteered replies only takes for a "
        f"person's: {verdict.words}; {verdict.people:.0%} of people's, all to prompts that neither "
        "the game nor it has seen.\n\n"
        f"Perplexity {plain.perplexity:.2f} before, {steered.perplexity:.2f} after "
        f"({_ratio(verdict.costs.perplexity)}, prompt by prompt); distinct-2 "
        f"{plain.distinct_2:.3f} and {steered.distinct_2:.3f} "
        f"({_ratio(verdict.costs.distinct_2)}); "
        f"{plain.length:.0f} and {steered.length:.0f} tokens.\n"
    )


def _sample(before: GameReply, after: GameReply) -> str:
    return "\n\n".join(
        (
            f"### {_escaped(single_line(before.prompt, 200))}",
            f"Before:\n\n{_quoted(before.text)}",
            f"After:\n\n{_quoted(after.text)}\n",
        )
    )


def _quoted(text: str) -> str:
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
    return "\n".join(f"> {line}" for line in _escaped(printable(shown)).splitlines())


def _escaped(text: str) -> str:
    """``text`` so that Markdown shows it as it is: no link, picture, heading or HTML of its own."""
    return _SPECIAL.sub(r"\1\\\2\3", text)
