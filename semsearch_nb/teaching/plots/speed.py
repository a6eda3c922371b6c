"""Figures of time and memory: growth, parts, and the frontier of recall and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from semsearch_nb.benchmark import Point, Timing, frontier
from semsearch_nb.teaching.plots.style import (
    COLOURS,
    HATCHES,
    frame,
    grid,
    legend_beside,
    panels,
    plain,
    plain_numbers,
    styles,
)

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def plot_growth(
    sizes: Sequence[int],
    timings: Mapping[str, Sequence[Timing]],
    *,
    extrapolated: Mapping[str, Mapping[int, float]] | None = None,
) -> Figure:
    """Milliseconds over size, both on logarithmic axes; what is extrapolated is dashed and hollow.

    A label may be measured at the first of the sizes only. `extrapolated[label]` maps sizes beyond the measured ones
    to seconds.
    """
    figure, axes = frame(8, 4.2)
    look = styles(timings)
    measured = {label: list(zip(sizes, of_size, strict=False)) for label, of_size in timings.items()}
    for label, points in measured.items():
        draw_timings(axes, *zip(*points, strict=True), lw=1.5, label=label, **look[label])
    for label, of_size in (extrapolated or {}).items():
        last, timing = measured[label][-1]
        beyond = {last: timing.median, **of_size}
        milliseconds = [1e3 * seconds for seconds in beyond.values()]
        axes.plot(list(beyond), milliseconds, ls="--", lw=1.2, zorder=1, **look[label] | {"mfc": "white"})
    if extrapolated:
        axes.plot([], [], color="grey", ls="--", lw=1.2, label="extrapolated")
    axes.set(xscale="log", yscale="log", xlabel="vectors in the corpus", ylabel="milliseconds")
    plain_numbers(axes.xaxis, axes.yaxis, within={30: (1, 2, 5), 1000: (1, 3)})
    grid(axes)
    axes.legend(frameon=False, loc="upper left")
    return figure


def plot_time_and_memory(
    values: Sequence[int], timings: Sequence[Timing], megabytes: Sequence[float], *, xlabel: str, default: int
) -> Figure:
    """What one parameter costs: time on the left, memory on the right, its default marked."""
    figure, (left, right) = panels(2, 9, 3.4)
    draw_timings(left, values, timings, **plain(0))
    right.plot(values, megabytes, **plain(1))
    for axes, ylabel in ((left, "milliseconds"), (right, "megabytes more than before")):
        axes.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
        axes.set_ylim(bottom=0, top=1.08 * axes.get_ylim()[1])
        axes.set_xticks(values, [f"{value:,}" for value in values])
        axes.minorticks_off()
        axes.axvline(default, color="grey", lw=0.8, ls=":")
        axes.annotate(" default", (default, 0.02), xycoords=("data", "axes fraction"), color="dimgrey")
    return figure


def plot_parts(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Where the time goes: a bar a row, cut into parts in proportion to their seconds."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    looks = zip(parts, COLOURS, HATCHES, strict=False)
    look: dict[str, Any] = {part: {"fc": colour, "hatch": hatch, "ec": "white"} for part, colour, hatch in looks}
    figure, axes = frame(9, 0.9 + 0.7 * len(rows))
    for position, row in enumerate(rows.values()):
        start, total = 0.0, sum(row.values())
        for part, seconds in row.items():
            share = seconds / total
            axes.barh(position, share, left=start, **look[part])
            if share > 0.06:
                label = f"{1e3 * seconds:,.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.1f} ms"
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"}
                axes.annotate(label, (start + share / 2, position), ha="center", va="center", bbox=box)
            start += share
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xticks([0, 0.5, 1], ["0", "half of the time", "all of it"])
    legend_beside(axes, handles=[Patch(**look[part], label=part) for part in parts])
    return figure


def plot_tradeoff(points: Sequence[Point], *, reference: Point | None = None) -> Figure:
    """Recall against queries a second: each index's own frontier solid, its other settings faint.

    `reference`, exact search, is a dashed line.
    """
    figure, axes = frame(8.6, 4.8)
    for name, style in styles(point.name for point in points).items():
        own = [point for point in points if point.name == name]
        best = frontier(own)
        line = [(point.recall, point.queries_per_s) for point in best]
        axes.plot(*zip(*line, strict=True), ms=7, lw=1.6, label=name, **style)
        for point in own:
            if point not in best:
                axes.plot(point.recall, point.queries_per_s, ls="", ms=7, alpha=0.25, **style)
    if reference is not None:
        axes.axhline(reference.queries_per_s, color="black", lw=1, ls="--", label=reference.name)
    axes.set(yscale="log", xlabel="recall@10", ylabel="queries a second, one at a time")
    plain_numbers(axes.yaxis)
    grid(axes)
    legend_beside(axes)
    return figure


def plot_curves(groups: Mapping[str, Curves], *, xlabels: Sequence[str], ylabel: str, log_x: bool = False) -> Figure:
    """A panel for each entry, with the curves `{label: (x, y)}`; all panels share the y-axis."""
    figure, all_axes = panels(len(groups), 2.2 + 2.9 * len(groups), 3.4, sharey=True)
    for axes, (title, curves), xlabel in zip(all_axes, groups.items(), xlabels, strict=True):
        for label, style in styles(curves).items():
            axes.plot(*curves[label], ms=6, label=label, **style)
        axes.set(title=title, xlabel=xlabel, xscale="log" if log_x else "linear")
        if log_x:
            plain_numbers(axes.xaxis)
        grid(axes)
        if len(curves) > 1:
            axes.legend(frameon=False)
    all_axes[0].set_ylabel(ylabel)
    return figure


def draw_timings(axes: Axes, x: Sequence[int], timings: Sequence[Timing], **options: Any) -> None:
    """Medians in milliseconds, with a bar from the fastest run to the slowest."""
    medians = 1e3 * np.array([timing.median for timing in timings])
    spread = 1e3 * np.array([[t.median - t.fastest for t in timings], [t.slowest - t.median for t in timings]])
    axes.errorbar(x, medians, yerr=spread, capsize=3, **options)
