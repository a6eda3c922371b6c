"""Every figure of the notebooks: fixed sizes, one colour and one marker a method, and alt text."""

from semsearch_nb.teaching.plots.ideas import plot_bound, plot_encoders, plot_families
from semsearch_nb.teaching.plots.quality import (
    plot_by_category,
    plot_gain_and_loss,
    plot_intervals,
    plot_pool,
    plot_thresholds,
)
from semsearch_nb.teaching.plots.space import plot_map, plot_space, project
from semsearch_nb.teaching.plots.speed import plot_curves, plot_growth, plot_parts, plot_time_and_memory, plot_tradeoff
from semsearch_nb.teaching.plots.style import COLOURS, show

__all__ = [
    "COLOURS",
    "plot_bound",
    "plot_by_category",
    "plot_curves",
    "plot_encoders",
    "plot_families",
    "plot_gain_and_loss",
    "plot_growth",
    "plot_intervals",
    "plot_map",
    "plot_parts",
    "plot_pool",
    "plot_space",
    "plot_thresholds",
    "plot_time_and_memory",
    "plot_tradeoff",
    "project",
    "show",
]
