"""Figures of quality: means with their intervals, categories, thresholds, and what quality costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semsearch_nb.benchmark import Timing
from semsearch_nb.evaluation import Interval
from semsearch_nb.teaching.plots.speed import draw_timings
from semsearch_nb.teaching.plots.style import GREY, METHODS, RED, frame, grid, legend_beside, panels, plain, styles
from semsearch_nb.thresholds import Curve, Risk, Threshold


def plot_intervals(results: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Means with their intervals: a row for each group (a collection), a mark for each method."""
    figure, axes = _rows_of_intervals(results, height=0.3, spread=0.88, numbers=True)
    axes.set(xlim=(0, 1.05), xlabel="nDCG@10, with 95 % confidence interval")
    legend_beside(axes)
    return figure


def plot_changes(results: Mapping[str, Mapping[str, Interval]], *, xlabel: str) -> Figure:
    """Differences with their intervals, beside zero: a row for each change, a mark for each thing that was measured."""
    figure, axes = _rows_of_intervals(results, height=0.26, spread=0.8)
    axes.axvline(0, color=GREY, lw=1, zorder=0)
    axes.set(xlabel=xlabel)
    grid(axes)
    legend_beside(axes)
    return figure


def _rows_of_intervals(
    results: Mapping[str, Mapping[str, Interval]], *, height: float, spread: float, numbers: bool = False
) -> tuple[Figure, Axes]:
    """Marks with bars, the first row at the top. `height` in inches is that of a mark; a row fills `spread` of 1."""
    style = styles(label for row in results.values() for label in row)
    labels = list(style)
    figure, axes = frame(8, 0.9 + height * len(results) * max(2, len(labels)))
    apart = min(0.22, spread / max(1, len(labels)))
    for position, row in enumerate(results.values()):
        for label, interval in row.items():
            y = position + (labels.index(label) - (len(labels) - 1) / 2) * apart
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            shown = label if position == 0 else None
            axes.errorbar(interval.mean, y, xerr=error, capsize=3, ms=7, label=shown, **style[label])
            if numbers:
                at = (interval.high, y)
                axes.annotate(f"{interval.mean:.2f}", at, (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(results)), list(results))
    axes.set(ylim=(len(results) - 0.5, -0.5))
    return figure, axes


def plot_dumbbells(
    results: Mapping[str, Mapping[str, Mapping[str, Interval]]], *, xlabel: str, xlim: tuple[float, float] = (0, 1.03)
) -> Figure:
    """Two methods in each category, joined by a line; a panel a condition: `results[condition][category][method]`.

    Categories stand in the order of the difference in the last panel, the largest at the top.
    """
    *_, last = results.values()
    ordered = sorted(last, key=lambda category: float(np.ptp(_means(last[category]))), reverse=True)
    figure, all_axes = panels(len(results), 4.9 * len(results), 0.36 * len(ordered) + 1.3, sharey=True)
    for axes, (condition, of_category) in zip(all_axes, results.items(), strict=True):
        for row, category in enumerate(ordered):
            pair = of_category[category]
            heights = (row - 0.15, row + 0.15)
            axes.plot(_means(pair), heights, color=GREY, lw=1.2, zorder=1)
            for (method, style), y in zip(styles(pair).items(), heights, strict=True):
                mean, low, high = pair[method]
                axes.plot([low, high], [y, y], color=style["color"], lw=1.1, zorder=2)
                axes.plot(mean, y, ls="", ms=7, zorder=3, label=method if row == 0 else None, **style)
        axes.set(title=condition, xlim=xlim, ylim=(len(ordered) - 0.5, -0.5), xlabel=xlabel)
        axes.set_yticks(range(len(ordered)), ordered)
    legend_beside(all_axes[-1])
    return figure


def _means(pair: Mapping[str, Interval]) -> list[float]:
    return [interval.mean for interval in pair.values()]


def plot_thresholds(curves: Mapping[str, Curve], chosen: Mapping[str, Threshold]) -> Figure:
    """Precision and recall over the threshold, one panel a model, with a line at the chosen one."""
    figure, all_axes = panels(len(curves), 4.6 * len(curves), 3.8, sharey=True)
    for axes, (name, curve) in zip(all_axes, curves.items(), strict=True):
        every = max(1, len(curve.scores) // 8)
        for number, (label, values) in enumerate((("precision", curve.precision), ("recall", curve.recall))):
            axes.plot(curve.scores, values, ms=6, markevery=every, label=label, **plain(number))
        axes.axvline(chosen[name].score, color="black", ls="--", lw=1)
        axes.annotate(f" {chosen[name].score:.2f}", (chosen[name].score, 0.02))
        axes.set(title=name, xlabel="threshold", ylim=(0, 1.03))
    all_axes[0].set_ylabel("precision, recall")
    all_axes[0].legend(frameon=False, loc="lower left")
    return figure


def plot_risk(panes: Mapping[str, Mapping[str, Risk]]) -> Figure:
    """Risk over coverage: a panel for each group, a line for each way to decide, the strictest on the left."""
    figure, all_axes = panels(len(panes), 4.4 * len(panes), 3.8, sharey=True)
    for axes, (title, lines) in zip(all_axes, panes.items(), strict=True):
        for label, style in styles(lines).items():
            found = lines[label]
            every = max(1, len(found.risk) // 8)
            axes.plot(found.coverage, found.risk, ms=6, markevery=every, label=label, **style)
        axes.set(title=title, xlabel="coverage: questions that get an answer", xlim=(0, 1.02))
        grid(axes)
    all_axes[0].set(ylabel="risk: answers that are wrong", ylim=(0, None))  # of all panels, once all lines are drawn
    all_axes[0].legend(frameon=False, loc="upper left")
    return figure


def plot_gain_and_loss(points: Mapping[str, tuple[float, float]], *, xlabel: str, ylabel: str) -> Figure:
    """A mark for each method: how many times as fast as another (logarithmic), and what is left of quality."""
    figure, axes = frame(8, 4.2)
    for label, style in styles(points).items():
        axes.plot(*points[label], ls="", ms=9, label=label, **style)
    axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    gains = [gain for gain, _ in points.values()]
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if min(gains) / 2 <= tick <= 2 * max(gains)]
    axes.set_xticks(ticks, [f"{tick:g} x" for tick in ticks])
    axes.minorticks_off()
    grid(axes)
    legend_beside(axes)
    return figure


def plot_pool(
    sizes: Sequence[int],
    gains: Mapping[str, Sequence[Interval]],
    times: Sequence[Timing],
    *,
    first_stage: float,
    limit: Sequence[float],
) -> Figure:
    """What a larger pool brings and what it costs, in two panels over its size.

    Args:
        sizes: of the pool.
        gains: nDCG@10 less that of the first stage, paired, for each order and each size.
        times: of the re-ranker, for one question and each size.
        first_stage: its own nDCG@10, a level line.
        limit: nDCG@10 of the best order there is, for each size.
    """
    figure, (quality, cost) = panels(2, 10, 4.2)
    quality.axhline(first_stage, label="first stage", color=METHODS["first stage"][0], lw=1.2)
    quality.plot(sizes, limit, color=GREY, ls="--", label="the best order there is")
    for number, (label, style) in enumerate(styles(gains).items()):
        places = np.array(sizes) + 0.12 * number  # beside each other
        middle, low, high = (np.array([getattr(gain, part) for gain in gains[label]]) for part in Interval._fields[:3])
        error = np.stack([middle - low, high - middle])
        quality.errorbar(places, first_stage + middle, yerr=error, capsize=3, ms=7, label=label, **style)
    quality.set(ylabel="nDCG@10")
    draw_timings(cost, sizes, times, ms=7, color="black", marker="o")
    cost.set(ylabel="milliseconds a question, re-ranker alone", ylim=(0, None))
    for axes in (quality, cost):
        axes.set(xlabel="pool: candidates that the re-ranker reads", xticks=sizes)
        grid(axes)
    figure.legend(*quality.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def plot_slope(
    before: Sequence[str], after: Sequence[str], marked: Collection[str], *, titles: Sequence[str]
) -> Figure:
    """Two orders of the same things, best on top, and a line from each thing's place to its new one.

    Args:
        before, after: the two orders, each thing once.
        marked: what is drawn in colour; the rest is grey.
        titles: of the two columns.
    """
    figure, axes = frame(8, 0.9 + 0.3 * len(before))
    for thing in before:
        places = before.index(thing) + 1, after.index(thing) + 1
        colour, weight = (RED, "bold") if thing in marked else (GREY, "normal")
        axes.plot((0, 1), places, color=colour, marker="o", ms=5, lw=2.5 if thing in marked else 1.2)
        text = RED if thing in marked else "black"
        for x, place, side in ((-0.03, places[0], "right"), (1.03, places[1], "left")):
            axes.text(x, place, thing, ha=side, va="center", color=text, weight=weight)
    axes.set(xlim=(-0.9, 1.7), ylim=(len(before) + 0.5, 0.5), yticks=range(1, len(before) + 1), ylabel="place")
    axes.set_xticks((0, 1), titles)
    axes.xaxis.tick_top()
    axes.spines[["bottom", "top"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    return figure
