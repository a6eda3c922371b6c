"""What a change brought: differences with their intervals, around a line at zero."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from semsearch_nb.evaluation import Interval
from semsearch_nb.teaching.plots.style import GREY, frame, grid, legend_beside, styles


def plot_changes(results: Mapping[str, Mapping[str, Interval]], *, xlabel: str) -> Figure:
    """Differences with their intervals: a row for each change, a mark for each thing that was measured."""
    style = styles(measured for row in results.values() for measured in row)
    labels = list(style)
    figure, axes = frame(8, 0.9 + 0.26 * len(results) * max(2, len(labels)))
    apart = min(0.22, 0.8 / max(1, len(labels)))
    axes.axvline(0, color=GREY, lw=1, zorder=0)
    for position, row in enumerate(results.values()):
        for label, interval in row.items():
            y = position + (labels.index(label) - (len(labels) - 1) / 2) * apart
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            shown = label if position == 0 else None
            axes.errorbar(interval.mean, y, xerr=error, capsize=3, ms=7, label=shown, **style[label])
    axes.set_yticks(range(len(results)), list(results))
    axes.set(ylim=(len(results) - 0.5, -0.5), xlabel=xlabel)
    grid(axes)
    legend_beside(axes)
    return figure
