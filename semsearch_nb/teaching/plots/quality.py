"""Figures of quality: means with their intervals, categories, thresholds, and what quality costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from semsearch_nb.evaluation import Interval
from semsearch_nb.teaching.plots.style import GREY, frame, grid, legend_beside, panels, plain, styles
from semsearch_nb.thresholds import Curve, Threshold


def plot_intervals(results: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Means with their intervals: a row for each group (a collection), a mark for each method."""
    style = styles(method for row in results.values() for method in row)
    methods = list(style)
    figure, axes = frame(8, 0.9 + 0.3 * len(results) * max(2, len(methods)))
    apart = min(0.22, 0.88 / max(1, len(methods)))
    for position, row in enumerate(results.values()):
        for method, interval in row.items():
            y = position + (methods.index(method) - (len(methods) - 1) / 2) * apart
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            label = method if position == 0 else None
            axes.errorbar(interval.mean, y, xerr=error, capsize=3, ms=7, label=label, **style[method])
            axes.annotate(f"{interval.mean:.2f}", (interval.high, y), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(results)), list(results))
    axes.set(ylim=(len(results) - 0.5, -0.5), xlim=(0, 1.05), xlabel="nDCG@10, with 95 % confidence interval")
    legend_beside(axes)
    return figure


def plot_by_category(scores: Mapping[str, Mapping[str, float]], *, ylabel: str = "nDCG@10") -> Figure:
    """One mark for each method in each category (a language, say), joined by faint lines."""
    figure, axes = frame(9, 3.6)
    for method, style in styles(scores).items():
        axes.plot(list(scores[method]), list(scores[method].values()), ms=8, lw=0.6, label=method, **style)
    axes.set(ylim=(0, 1), ylabel=ylabel)
    legend_beside(axes)
    return figure


def plot_thresholds(curves: Mapping[str, Curve], chosen: Mapping[str, Threshold]) -> Figure:
    """Precision and recall over the least score, one panel a model, with a line at the chosen threshold."""
    figure, all_axes = panels(len(curves), 4.6 * len(curves), 3.8, sharey=True)
    for axes, (name, curve) in zip(all_axes, curves.items(), strict=True):
        every = max(1, len(curve.scores) // 8)
        for number, (label, values) in enumerate((("precision", curve.precision), ("recall", curve.recall))):
            axes.plot(curve.scores, values, ms=6, markevery=every, label=label, **plain(number))
        axes.axvline(chosen[name].score, color="black", ls="--", lw=1)
        axes.annotate(f" {chosen[name].score:.2f}", (chosen[name].score, 0.02))
        axes.set(title=name, xlabel="least score of a match", ylim=(0, 1.03))
    all_axes[0].legend(frameon=False, loc="lower left")
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


def plot_pool(sizes: Sequence[int], lines: Mapping[str, Sequence[float]], milliseconds: Sequence[float]) -> Figure:
    """What a larger pool brings (`lines`, between 0 and 1, on the left axis) and costs (bars, on the right)."""
    figure, axes = frame(8.6, 4.4)
    cost = axes.twinx()
    positions = np.arange(len(sizes))
    cost.bar(positions, milliseconds, width=0.5, color="white", hatch="//", ec=GREY, label="time of the re-ranker")
    cost.set_ylabel("milliseconds a question")
    cost.spines[["top"]].set_visible(False)
    for label, style in styles(lines).items():
        axes.plot(positions, lines[label], ms=7, label=label, **style)
    axes.set_zorder(cost.get_zorder() + 1)  # lines in front of bars
    axes.patch.set_visible(False)
    axes.set_xticks(positions, [str(size) for size in sizes])
    axes.set(xlabel="pool: candidates a question that are re-ranked", ylabel="nDCG@10, recall")
    bars, _ = cost.get_legend_handles_labels()
    legend_beside(axes, 1.12, handles=axes.get_legend_handles_labels()[0] + bars)
    return figure
