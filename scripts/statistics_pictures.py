#!/usr/bin/env python3
"""Draw the pictures of docs/guide/statistics.md, from simulated studies: `python scripts/statistics_pictures.py`.

Luck is drawn with fixed seeds, and intervals, p and levels are those of mixup_lab.study.statistics.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mixup_lab import look
from mixup_lab.disk import write_atomically
from mixup_lab.look import BLUE, COLOURS, INK, MUTED, PAPER, VERMILLION
from mixup_lab.seeding import stream
from mixup_lab.study import statistics
from mixup_lab.study.plots.svg import inline_svg

DOCS = Path(__file__).resolve().parents[1] / "docs"
GREEN = COLOURS[2]


def _axes(height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    figure = look.new_figure(height)
    found = list(figure.subplots(1, columns, squeeze=False, **options)[0])
    for ax in found:
        ax.tick_params(length=0)
    return figure, found


def _dots(ax: Axes, across: Any, up: Any, colour: str, marker: str = "o", size: float = 6) -> None:
    ax.plot(across, up, marker, color=colour, markersize=size, markeredgecolor=PAPER, markeredgewidth=0.8)


def two_kinds_of_luck() -> Figure:
    """The same model trained eight times, and one trained model tested on eight test sets; the truth is 90 %."""
    rng = stream(0, "two kinds of luck")
    figure, (left, right) = _axes(190, 2, sharex=True)
    trainings = 90 + rng.normal(0, 0.8, 8)
    tests = 100 * rng.binomial(500, 0.9, 8) / 500
    panels = (left, trainings, "8 trainings, one test set", BLUE), (right, tests, "1 training, 8 test sets", VERMILLION)
    for ax, values, title, colour in panels:
        ax.axvline(90, color=MUTED, linewidth=1, linestyle="--")
        _dots(ax, values, range(8), colour)
        ax.set(title=title, yticks=[], xlabel="accuracy (%)", ylim=(-0.8, 7.8))
        ax.spines["left"].set_visible(False)
    return figure


def pairing() -> Figure:
    """Scores of eight seeds without and with Mixup, and the differences of each seed."""
    rng = stream(3, "pairing")
    shared = 90 + rng.normal(0, 1.5, 8)
    base, mixed = shared + rng.normal(0, 0.25, 8), shared + 0.7 + rng.normal(0, 0.25, 8)
    figure, (left, right) = _axes(250, 2)
    for low, high in zip(base, mixed, strict=True):
        left.plot([0, 1], [low, high], color=MUTED, linewidth=1)
    _dots(left, np.zeros(8), base, MUTED)
    _dots(left, np.ones(8), mixed, BLUE)
    left.set(xticks=[0, 1], xticklabels=["baseline", "Mixup"], xlim=(-0.4, 1.4), ylabel="accuracy (%)")
    left.set_title("scores: a line for each seed")
    differences = mixed - base
    ends = statistics.seed_interval(differences)
    assert ends is not None
    right.axhline(0, color=INK, linewidth=1)
    right.plot([0.35, 0.35], ends, color=BLUE, linewidth=5, alpha=0.5)
    _dots(right, look.spread_out(8, 0.1), differences, BLUE)
    _dots(right, 0.35, differences.mean(), BLUE, size=9)
    right.set(xticks=[0, 0.35], xticklabels=["one seed", "mean, 95 %"], xlim=(-0.35, 0.7), ylabel="difference (points)")
    right.set(title="Mixup minus baseline", ylim=(-1, np.ptp(left.get_ylim()) - 1))
    return figure


def verdicts() -> Figure:
    """What the two intervals look like for each verdict."""
    rows = (
        ("helps", 0.9, 0.35, 0.6),
        ("helps on this test set", 0.6, 0.3, 0.95),
        ("no difference larger than 0.5", 0.05, 0.15, 0.3),
        ("cannot tell", 0.45, 0.7, 1.0),
    )
    figure, (ax,) = _axes(240)
    ax.axvspan(-0.5, 0.5, facecolor=MUTED, alpha=0.13, linewidth=0)
    ax.axvline(0, color=INK, linewidth=1)
    for y, (_, mean, again, new) in enumerate(rows):
        ax.plot([mean - new, mean + new], [y, y], "|-", color=BLUE, linewidth=1.2, markersize=9)
        ax.plot([mean - again, mean + again], [y, y], color=BLUE, linewidth=6, alpha=0.5, solid_capstyle="butt")
        _dots(ax, mean, y, BLUE, size=8)
    look.name_rows(ax, [name for name, *_ in rows])
    ax.annotate("retraining", (0.55, -0.17), ha="left", va="bottom", color=MUTED)
    ax.annotate("new data", (1.26, -0.17), ha="left", va="bottom", color=MUTED)
    ax.set_xlabel("difference (points); grey: smaller than 0.5")
    ax.set_xlim(-1.1, 1.75)
    return figure


def groups() -> Figure:
    """Forty recordings of four speakers: failures with one speaker come together."""
    rng = stream(0, "groups")
    figure, (ax,) = _axes(150)
    for y, rate in enumerate((0.9, 0.2, 1.0, 0.8)):
        right = rng.random(10) < rate
        _dots(ax, np.flatnonzero(right), np.full(right.sum(), y), BLUE, size=9)
        _dots(ax, np.flatnonzero(~right), np.full((~right).sum(), y), VERMILLION, "X", size=9)
    look.name_rows(ax, [f"speaker {letter}" for letter in "ABCD"])
    ax.set(xticks=[], xlabel="ten recordings each")
    ax.spines["bottom"].set_visible(False)
    return figure


def looking_again() -> Figure:
    """p of studies without any effect, looked at after every seed: some fall below 0.05 at some time."""
    seeds = np.arange(8, 25)
    figure, (ax,) = _axes(260)
    fooled = 0
    for study in range(30):
        differences = stream(study, "looking again").normal(size=24)
        p = np.array([statistics.sign_flip_p(differences[:n]) for n in seeds])
        crossed = bool((p <= 0.05).any())
        fooled += crossed
        colour = (
            {"color": VERMILLION, "linewidth": 1.6} if crossed else {"color": MUTED, "linewidth": 0.6, "alpha": 0.5}
        )
        ax.plot(seeds, p, zorder=3 if crossed else 2, **colour)
    ax.axhline(0.05, color=INK, linewidth=1)
    ax.annotate("0.05", (24.3, 0.055), va="bottom")
    levels = [statistics.look_level(k) for k in range(1, 5)]
    _dots(ax, (8, 12, 16, 24), levels, GREEN, "D", 8)
    ax.annotate("levels of four planned looks", (12.4, levels[1]), va="center")
    ax.set(yscale="log", ylim=(0.0005, 1.2), xlim=(7.7, 25.2), xlabel="seeds", ylabel="p")
    ax.set_yticks([1, 0.1, 0.01, 0.001], ["1", "0.1", "0.01", "0.001"])
    ax.minorticks_off()
    ax.set_title(f"{fooled} of 30 studies without an effect fall below 0.05 at some time")
    return figure


def choosing() -> Figure:
    """Twenty studies of four arms that are all exactly as good as the baseline: what the chosen arm shows."""
    raw, honest = [], []
    for study in range(20):
        rng = stream(study, "choosing")
        run = np.sqrt(0.9) * (rng.standard_normal((4, 8)) - rng.standard_normal(8))
        val, test = (run + np.sqrt(0.1) * rng.standard_normal((4, 8)) for _ in range(2))
        arms = [statistics.Paired(range(8), row) for row in test]
        estimate = statistics.honest_estimate(val, range(8), arms)
        assert estimate is not None
        raw.append(float(test[val.mean(1).argmax()].mean()))
        honest.append(estimate.mean)
    figure, (ax,) = _axes(150)
    ax.axvline(0, color=INK, linewidth=1)
    for y, (values, colour) in enumerate(((raw, VERMILLION), (honest, BLUE))):
        _dots(ax, values, y + look.spread_out(20, 0.2), colour)
        ax.plot([np.mean(values)] * 2, [y - 0.42, y + 0.42], color=colour, linewidth=2.5)
    look.name_rows(ax, ["the chosen arm", "without the luck of choosing"])
    ax.set_xlabel("difference; the truth is 0")
    ax.set_xticks([0], ["0"])
    return figure


PICTURES: dict[str, tuple[Callable[[], Figure], str]] = {
    "luck": (two_kinds_of_luck, "Two kinds of luck"),
    "pairing": (pairing, "Pairing by seed"),
    "verdicts": (verdicts, "Intervals and verdicts"),
    "groups": (groups, "Groups of test examples"),
    "looking": (looking_again, "Looking again"),
    "choosing": (choosing, "The luck of choosing"),
}


def drawn(name: str) -> str:
    """A picture as SVG text on white paper."""
    draw, title = PICTURES[name]
    with look.our_style():
        svg = inline_svg(draw(), name, title)
    head, title_end, rest = svg.partition("</title>")
    return f'{head}{title_end}<rect width="100%" height="100%" rx="8" fill="#fff"/>{rest}\n'


def main() -> None:
    for name in PICTURES:
        write_atomically(DOCS / f"{name}.svg", drawn(name).encode())


if __name__ == "__main__":
    main()
