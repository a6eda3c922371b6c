"""Every figure of the notebooks: fixed sizes, one colour and one marker a method, and alt text."""

from semsearch_nb.teaching.plots.ideas import plot_bound, plot_encoders, plot_families, plot_two_stages
from semsearch_nb.teaching.plots.maps import plot_map, show_map
from semsearch_nb.teaching.plots.quality import (
    plot_changes,
    plot_dumbbells,
    plot_gain_and_loss,
    plot_intervals,
    plot_pool,
    plot_risk,
    plot_slope,
    plot_thresholds,
)
from semsearch_nb.teaching.plots.space import plot_space, project
from semsearch_nb.teaching.plots.speed import plot_curves, plot_growth, plot_parts, plot_time_and_memory, plot_tradeoff
from semsearch_nb.teaching.plots.style import COLOURS, show
from semsearch_nb.teaching.plots.tokens import plot_token_map

__all__ = [
    "COLOURS",
    "plot_bound",
    "plot_changes",
    "plot_curves",
    "plot_dumbbells",
    "plot_encoders",
    "plot_families",
    "plot_gain_and_loss",
    "plot_growth",
    "plot_intervals",
    "plot_map",
    "plot_parts",
    "plot_pool",
    "plot_risk",
    "plot_slope",
    "plot_space",
    "plot_thresholds",
    "plot_time_and_memory",
    "plot_token_map",
    "plot_tradeoff",
    "plot_two_stages",
    "project",
    "show",
    "show_map",
]
