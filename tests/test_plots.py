import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from semsearch_nb import plots, thresholds
from semsearch_nb.benchmark import Point, Timing
from semsearch_nb.evaluation import Interval
from semsearch_nb.teaching.plots import style


def point(name, recall, ms):
    return Point(name, "ef", 1, recall, ms, ms, ms, ms, ms, 1.0, 1.0, 1.0)


TIMINGS = [Timing(0.01, 0.009, 0.02), Timing(0.1, 0.09, 0.2)]
FIGURES = {
    "intervals": lambda: plots.plot_intervals(
        {
            "passages": {"BM25": Interval(0.5, 0.4, 0.6), "e5": Interval(0.7, 0.6, 0.8)},
            "questions": {"e5": Interval(0.3, 0.2, 0.4)},
        }
    ),
    "by category": lambda: plots.plot_by_category({"BM25": {"de": 0.1, "fr": 0.2}, "e5": {"de": 0.8, "fr": 0.9}}),
    "space": lambda: plots.plot_space({"MiniLM": np.eye(2), "e5": np.ones((2, 2))}, ["egg", "sky"], ["en", "de"]),
    "growth": lambda: plots.plot_growth([10, 100], {"topk": TIMINGS}, extrapolated={"topk": {1000: 1.0}}),
    "time and memory": lambda: plots.plot_time_and_memory([1, 10], TIMINGS, [3.0, 30.0], xlabel="chunk", default=10),
    "parts": lambda: plots.plot_parts({"1": {"encode": 0.07, "score": 0.03}, "300": {"encode": 0.3, "score": 0.001}}),
    "bound": lambda: plots.plot_bound([0.1, 0.5, 0.9], [0.2, 0.4, 0.85], 0.2, 0.5),
    "gain and loss": lambda: plots.plot_gain_and_loss(
        {"one": (1.0, 1.0), "two": (5.0, 0.6)}, xlabel="gain", ylabel="recall@10"
    ),
    "trade-off": lambda: plots.plot_tradeoff(
        [point("graph", 0.9, 0.1), point("graph", 0.8, 0.3), point("trees", 0.5, 0.2)], reference=point("exact", 1, 5)
    ),
    "curves": lambda: plots.plot_curves(
        {"m": {"16": ([1, 2], [3, 4]), "32": ([1, 2], [5, 6])}, "cells": {"": ([1, 2], [1, 2])}},
        xlabels=["ef", "nprobe"], ylabel="recall@10", log_x=True,
    ),
    "thresholds": lambda: plots.plot_thresholds(
        {name: thresholds.curve([0.2, 0.5, 0.9], [False, True, True]) for name in ("MiniLM", "e5")},
        {name: thresholds.Threshold(0.5, 1.0, 1.0) for name in ("MiniLM", "e5")},
    ),
    "map": lambda: plots.plot_map(np.random.default_rng(0).random((30, 2)), ["a"] * 12 + ["b"] * 10 + list("cdefghij")),
    "encoders": plots.plot_encoders,
    "pool": lambda: plots.plot_pool([10, 50], {"recall": [0.5, 0.9], "nDCG@10": [0.4, 0.6]}, [20.0, 100.0]),
    "families": lambda: plots.plot_families(np.random.default_rng(0).random((80, 2)), [0.4, 0.6]),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_and_displayed_with_its_alt_text(name, monkeypatch):
    shown = []
    monkeypatch.setattr(plots.style, "display", shown.append)
    plots.show(FIGURES[name](), alt="what it shows")
    data, metadata = shown[0]._repr_mimebundle_()
    assert data["image/png"] and metadata["image/png"]["alt"] == "what it shows"
    assert not plt.get_fignums()  # closed, or a notebook would show it twice


def test_intervals_are_drawn_where_they_are():
    axes = FIGURES["intervals"]().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["passages", "questions"]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {"BM25", "e5"}
    assert {text.get_text() for text in axes.texts} == {"0.50", "0.70", "0.30"}


def test_a_setting_that_another_beats_is_faint():
    axes = FIGURES["trade-off"]().axes[0]
    faint = [line.get_xdata()[0] for line in axes.lines if line.get_alpha()]
    assert faint == [0.8] and axes.get_yscale() == "log"


def test_families_look_at_a_part_and_the_graph_arrives():
    figure = FIGURES["families"]()
    for axes in figure.axes:
        looked_at = next(line for line in axes.lines if line.get_label() == "looked at")
        assert 0 < len(looked_at.get_xdata()) < 60


def test_methods_differ_in_colour_and_in_marker():
    lines = [line for line in FIGURES["by category"]().axes[0].lines if len(line.get_xdata()) == 2]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 2


def test_projection_keeps_the_largest_differences():
    generator = np.random.default_rng(0)
    left, right = np.eye(8)[0], np.eye(8)[1]
    vectors = np.concatenate(
        [left + 0.05 * generator.normal(size=(9, 8)), right + 0.05 * generator.normal(size=(9, 8))]
    )
    points = plots.project(vectors)
    assert points.shape == (18, 2)
    assert abs(points[:9, 0].mean() - points[9:, 0].mean()) > 10 * points[:9, 0].std()
    assert np.allclose(points, plots.project(vectors))


def test_who_may_reach_the_threshold_survives():
    lines = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in FIGURES["bound"]().axes[0].lines}
    assert lines["skipped: provably below"] == [0.2]
    assert lines["survivors: scored in float32"] == [0.4, 0.85]


def test_a_bar_shows_its_time_where_there_is_room():
    assert [text.get_text() for text in FIGURES["parts"]().axes[0].texts] == ["70 ms", "30 ms", "300 ms"]


def test_a_pool_shows_quality_and_time_on_axes_of_their_own():
    quality, time = FIGURES["pool"]().axes
    assert [line.get_ydata().tolist() for line in quality.lines] == [[0.5, 0.9], [0.4, 0.6]]
    assert [bar.get_height() for bar in time.patches] == [20.0, 100.0]
    assert [label.get_text() for label in quality.get_xticklabels()] == ["10", "50"]


def test_a_map_names_the_largest_topics():
    axes = plots.plot_map(np.zeros((6, 2)), ["a", "a", "b", "b", "c", "d"], n_named=2).axes[0]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["other topics", "a", "b"]


def contrast_on_white(colour):
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) with relative luminances; white has 1."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)


def test_contrast_is_computed_as_wcag_does():
    assert contrast_on_white("black") == pytest.approx(21)
    assert contrast_on_white("white") == pytest.approx(1)
    assert contrast_on_white("#767676") == pytest.approx(4.54, abs=0.01)  # WebAIM's lightest grey for text


@pytest.mark.parametrize("colour", [*style.COLOURS, style.GREY])
def test_every_colour_is_seen_on_white(colour):
    assert contrast_on_white(colour) >= 3


def test_a_method_has_a_colour_and_a_marker_that_no_other_has():
    assert len(set(style.METHODS.values())) == len(style.METHODS)
    assert set(style.ALSO_CALLED.values()) <= set(style.METHODS)
    assert not set(style.ALSO_CALLED) & set(style.METHODS)


def test_a_method_looks_the_same_in_every_figure():
    alone = style.styles(["BM25"])["BM25"]
    among = style.styles(["something", "e5", "BM25 (words)"])
    assert among["BM25 (words)"] == alone
    assert among["something"]["color"] not in (alone["color"], among["e5"]["color"])
    assert style.styles(["multilingual"])["multilingual"] == among["e5"]


def test_a_variant_is_hollow():
    plain, variant = style.styles(["binary", "binary, 40 re-scored"]).values()
    assert variant == plain | {"mfc": "white"}


def test_many_things_differ_in_colour_or_marker():
    found = style.styles(["BM25", *map(str, range(20))]).values()
    assert len({(look["color"], look["marker"]) for look in found}) == 21


def test_figures_draw_methods_in_their_own_colours():
    lines = {line.get_label(): line.get_color() for line in FIGURES["by category"]().axes[0].lines}
    assert {name: style.METHODS[name][0] for name in ("BM25", "e5")}.items() <= lines.items()
    (bm25, e5) = (FIGURES["intervals"]().axes[0].containers[i].lines[0] for i in (0, 1))
    assert (bm25.get_color(), e5.get_color()) == (style.METHODS["BM25"][0], style.METHODS["e5"][0])
