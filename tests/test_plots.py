import json
import re
import shutil
import subprocess

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
    "dumbbells": lambda: plots.plot_dumbbells(
        {
            "shown": {name: {"BM25": Interval(0.1, 0, 0.2), "e5": Interval(0.8, 0.7, 0.9)} for name in ("de", "fr")},
            "hidden": {
                "de": {"BM25": Interval(0.5, 0.4, 0.6), "e5": Interval(0.8, 0.7, 0.9)},
                "fr": {"BM25": Interval(0.1, 0, 0.2), "e5": Interval(0.9, 0.8, 1.0)},
            },
        },
        xlabel="first hit right",
    ),
    "space": lambda: plots.plot_space({"MiniLM": np.eye(2), "e5": np.ones((2, 2))}, ["egg", "sky"], ["en", "de"]),
    "changes": lambda: plots.plot_changes(
        {"96 pairs": {"known items": Interval(0.02, 0.01, 0.03), "questions": Interval(-0.01, -0.02, 0.0)}},
        xlabel="gain",
    ),
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
    "risk": lambda: plots.plot_risk({"one": {"MiniLM": thresholds.risk([0.9, 0.5, 0.2], [True, False, True])}}),
    "map": lambda: plots.plot_map(np.random.default_rng(0).random((30, 2)), ["a"] * 12 + ["b"] * 10 + list("cdefghij")),
    "encoders": plots.plot_encoders,
    "pool": lambda: plots.plot_pool(
        [1, 10], {"both stages": [Interval(0.0, 0.0, 0.0), Interval(0.2, 0.1, 0.4)]}, TIMINGS,
        first_stage=0.5, limit=[0.5, 0.9],
    ),
    "slope": lambda: plots.plot_slope(["Rome", "Bread", "Tea"], ["Tea", "Bread", "Rome"], {"Tea"}, titles=("a", "b")),
    "two stages": lambda: plots.plot_two_stages(480, 30, 10),
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


def test_growth_beyond_the_measured_is_dashed_and_numbers_are_written_out():
    beyond = {"flat": {1_000_000: 1.0}}
    figure = plots.plot_growth([10_000, 100_000], {"flat": TIMINGS, "hnsw": TIMINGS[:1]}, extrapolated=beyond)
    (axes,) = figure.axes
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--" and len(line.get_xdata())]
    assert dashed.get_xdata().tolist() == [100_000, 1_000_000]
    figure.canvas.draw()
    labels = [label.get_text() for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]
    assert {"100,000", "1,000,000", "1,000"} <= set(labels) and not re.search("[e^]", "".join(labels))


def test_a_setting_that_another_beats_is_faint():
    axes = FIGURES["trade-off"]().axes[0]
    faint = [line.get_xdata()[0] for line in axes.lines if line.get_alpha()]
    assert faint == [0.8] and axes.get_yscale() == "log"


def test_families_look_at_a_part_and_the_layers_find_what_the_single_layer_misses():
    points = np.random.default_rng(3).normal(size=(160, 2))
    figure = plots.plot_families(points, [-0.8, 0.4], seed=5)
    nearest = points[np.linalg.norm(points - [-0.8, 0.4], axis=1).argmin()]
    found = {}
    for axes in figure.axes:
        seen = next(line for line in axes.lines if line.get_label() == "looked at").get_xydata()
        assert 0 < len(seen) < 60
        found[axes.get_title().split("\n")[0]] = any(np.allclose(point, nearest) for point in seen)
        assert axes.get_title().endswith("found" if list(found.values())[-1] else "missed")
    assert found["graph with layers"] and not found["graph, one layer"]


def test_a_cut_of_the_tree_ends_at_the_cuts_before_it():
    square = np.array([[0.0, 0.0], [4, 0], [4, 4], [0, 4]])
    left, line = plots.ideas._cut(square, np.array([1.0, 2]), np.array([-1.0, 0]))
    assert sorted(map(tuple, left)) == [(0, 0), (0, 4), (1, 0), (1, 4)]
    assert sorted(map(tuple, line)) == [(1, 0), (1, 4)]
    below, line = plots.ideas._cut(left, np.array([3.0, 2]), np.array([0.0, -1]))
    assert sorted(map(tuple, below)) == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert sorted(map(tuple, line)) == [(0, 2), (1, 2)]  # not to x = 4


def test_ticks_are_written_out():
    figure, axes = plots.style.frame(4, 3)
    axes.set(xscale="log", yscale="log", xlim=(1e4, 1e7), ylim=(0.05, 200))
    plots.style.plain_numbers(axes.xaxis, axes.yaxis)
    figure.canvas.draw()
    assert "1,000,000" in [label.get_text() for label in axes.get_xticklabels()]
    assert {"0.1", "1", "10", "100"} <= {label.get_text() for label in axes.get_yticklabels()}
    plt.close(figure)


def test_methods_differ_in_colour_and_in_marker():
    lines = [line for line in FIGURES["dumbbells"]().axes[0].lines if len(line.get_xdata()) == 1]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 2


def test_dumbbells_stand_in_the_order_of_the_last_difference():
    shown, hidden = FIGURES["dumbbells"]().axes
    assert [label.get_text() for label in shown.get_yticklabels()] == ["fr", "de"]
    joined = [line.get_xdata().tolist() for line in hidden.lines if line.get_color() == style.GREY]
    assert joined == [[0.1, 0.9], [0.5, 0.8]]
    assert [text.get_text() for text in hidden.get_legend().get_texts()] == ["BM25", "e5"]
    assert shown.get_title() == "shown"


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


def test_a_pool_shows_quality_and_time_in_panels_of_their_own():
    quality, time = FIGURES["pool"]().axes
    lines = {line.get_label(): list(line.get_ydata()) for line in quality.lines}
    assert lines["first stage"] == [0.5, 0.5] and lines["the best order there is"] == [0.5, 0.9]
    assert quality.containers[0].lines[0].get_ydata().tolist() == [0.5, 0.7]
    (bars,) = quality.containers[0].lines[2]
    assert np.allclose([segment[:, 1] for segment in bars.get_segments()], [[0.5, 0.5], [0.6, 0.9]])
    assert time.containers[0].lines[0].get_ydata().tolist() == [10.0, 100.0]
    assert quality.get_xticks().tolist() == time.get_xticks().tolist() == [1, 10]


def test_a_slope_leads_from_the_old_place_to_the_new_one():
    axes = FIGURES["slope"]().axes[0]
    places = {tuple(line.get_ydata()): line.get_color() for line in axes.lines}
    assert places == {(1, 3): style.GREY, (2, 2): style.GREY, (3, 1): style.RED}
    assert [text.get_text() for text in axes.texts].count("Tea") == 2 and axes.yaxis_inverted()


POINTS = [(0, 0), (0.1, 0), (5, 5), (5, 4.9), (9, 0), (2, 2)]
TOPICS = ["a", "a", "b", "b", ""]


def test_a_map_names_each_topic_beside_its_points_and_joins_a_query_to_its_hits():
    axes = plots.plot_map(POINTS, TOPICS, hits=[0, 2]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    boxes = [text.xyann for text in axes.texts]
    assert np.linalg.norm(np.subtract(*boxes)) > 0.1
    inside = (np.asarray(POINTS) - np.min(POINTS, axis=0)) / np.ptp(POINTS, axis=0)
    assert min(np.linalg.norm(inside - box, axis=1).min() for box in boxes) > 0.02
    ends = [line.get_xydata()[0].tolist() for line in axes.lines]
    assert ends == inside[[0, 2]].tolist()
    plt.close(axes.figure)


def shown_map(monkeypatch, titles):
    shown = []
    monkeypatch.setattr(plots.maps, "display", lambda html: shown.append(html.data))
    plots.show_map(POINTS, TOPICS, titles, [2016, 2017, 2018, 2018, 2018, 2019], alt='"seen"', hits=[0, 2])
    return shown[0]


def test_a_map_to_move_in_carries_its_data_and_asks_no_network(monkeypatch):
    page = shown_map(monkeypatch, ["</script>", *"uvwxy"])
    assert page.count("</script>") == 1 and re.findall(r"(?:src|href)=|https?://(?!www\.w3\.org/2000/svg)", page) == []
    data = json.loads(re.search(r"getElementById\('map-\w+'\), (.+)\);\n", page)[1])
    assert [name for name, _, _ in data["topics"]] == ["a", "b", "other topics", "the query"]
    assert len({(colour, path) for _, colour, path in data["topics"]}) == 4
    assert data["points"][0] == [0, 0, 0, "</script>", "2016 · a"]
    assert data["points"][-1][2:] == [3, "y", "2019 · the query"]
    assert (data["lines"], data["alt"]) == ([[5, 0], [5, 2]], '"seen"')


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a browser")
def test_a_browser_draws_the_map_and_says_what_is_under_the_pointer(monkeypatch, tmp_path):
    move = """<script>
    const point = document.querySelectorAll("svg[role=img] path")[2].getBoundingClientRect();
    const here = { clientX: point.left + 6, clientY: point.top + 6 };
    document.querySelector("svg[role=img]").dispatchEvent(new PointerEvent("pointermove", here));
    document.querySelectorAll("button")[4].click();
    </script>"""
    page = tmp_path / "map.html"
    page.write_text(f"<meta charset='utf-8'>{shown_map(monkeypatch, list('uvwxyz'))}{move}", encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    drawn = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    drawn = drawn.partition("<script>")[0]
    assert drawn.count("<path") == 6 + 4 and drawn.count("<line") == 2 and 'aria-label="&quot;seen&quot;"' in drawn
    assert "<b>w</b><div>2018 · b</div>" in drawn
    assert drawn.count('opacity="0.12"') == 3  # b is brought out: neither its two points nor the query are faint


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
    lines = {line.get_label(): line.get_color() for line in FIGURES["dumbbells"]().axes[0].lines}
    assert {name: style.METHODS[name][0] for name in ("BM25", "e5")}.items() <= lines.items()
    (bm25, e5) = (FIGURES["intervals"]().axes[0].containers[i].lines[0] for i in (0, 1))
    assert (bm25.get_color(), e5.get_color()) == (style.METHODS["BM25"][0], style.METHODS["e5"][0])
