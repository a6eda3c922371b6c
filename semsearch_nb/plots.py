"""Every figure of the notebooks: fixed sizes, a colour-safe palette with markers, and alt text."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from semsearch_nb.benchmark import Point, Timing, frontier
from semsearch_nb.evaluation import Interval
from semsearch_nb.thresholds import Curve, Threshold
from semsearch_nb.vectors import unit_rows

# Okabe and Ito's palette: told apart by readers with any colour vision, and in grey by the markers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")  # tell bars apart without colour
DPI = 110


def show(figure: Figure, alt: str) -> None:
    """Display `figure` as a picture that carries `alt`, which screen readers speak, and close it.

    Raises:
        ValueError: no alt text. Say what the reader sees in the figure, not that there is one.
    """
    if not alt.strip():
        raise ValueError("alt is empty; describe in a sentence or two what the figure shows")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    plt.close(figure)
    display(Image(picture.getvalue(), alt=alt, width=int(figure.get_figwidth() * 96)))  # type: ignore[no-untyped-call]


def plot_intervals(results: Mapping[str, Mapping[str, Interval]], *, xlabel: str = "nDCG@10") -> Figure:
    """Means with their intervals: a row for each group (a collection), a mark for each method."""
    methods = list(dict.fromkeys(method for row in results.values() for method in row))
    figure, axes = _figure(8, 0.9 + 0.3 * len(results) * max(2, len(methods)))
    apart = min(0.22, 0.88 / max(1, len(methods)))
    for position, (_group, row) in enumerate(results.items()):
        for method, interval in row.items():
            number = methods.index(method)
            y = position + (number - (len(methods) - 1) / 2) * apart
            error = [[interval.mean - interval.low], [interval.high - interval.mean]]
            label = method if position == 0 else None
            axes.errorbar(interval.mean, y, xerr=error, capsize=3, ms=7, label=label, **_style(number))
            axes.annotate(f"{interval.mean:.2f}", (interval.high, y), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(results)), list(results))
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlim(0, 1.05)
    axes.set_xlabel(f"{xlabel}, with 95 % confidence interval")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def plot_by_category(scores: Mapping[str, Mapping[str, float]], *, ylabel: str = "nDCG@10") -> Figure:
    """One mark for each method in each category (a language, say), joined by faint lines."""
    figure, axes = _figure(9, 3.6)
    for number, (method, row) in enumerate(scores.items()):
        axes.plot(list(row), list(row.values()), ms=8, lw=0.6, label=method, **_style(number))
    axes.set_ylim(0, 1)
    axes.set_ylabel(ylabel)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def project(vectors: Any) -> np.ndarray:
    """The two directions in which unit vectors differ most (PCA), as points of shape `(n, 2)`.

    Two of hundreds of dimensions keep only a part of the distances, so points that fall together in
    the plane may still be apart; the sign of each axis is fixed so that a figure does not flip.
    """
    rows = unit_rows(vectors, "vectors").astype(np.float64)
    centred = rows - rows.mean(axis=0)
    _u, _s, directions = np.linalg.svd(centred, full_matrices=False)
    points: np.ndarray = centred @ directions[:2].T
    points *= np.sign(points[np.abs(points).argmax(axis=0), [0, 1]])
    return points


def plot_space(panels: Mapping[str, np.ndarray], colour_by: Sequence[str], marker_by: Sequence[str]) -> Figure:
    """Points of shape `(n, 2)` a panel; the colour shows one property of each, the marker another."""
    groups, kinds = list(dict.fromkeys(colour_by)), list(dict.fromkeys(marker_by))
    figure, all_axes = plt.subplots(1, len(panels), figsize=(5 * len(panels) + 1.6, 4.6), layout="constrained")
    for axes, (title, points) in zip(np.atleast_1d(all_axes), panels.items(), strict=True):
        for (x, y), group, kind in zip(points, colour_by, marker_by, strict=True):
            style = _style(groups.index(group)) | {"marker": MARKERS[kinds.index(kind) % len(MARKERS)]}
            axes.plot(x, y, ls="", ms=8, alpha=0.85, **style)
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    handles = [Line2D([], [], ls="", marker="o", color=_colour(i), label=g) for i, g in enumerate(groups)]
    handles += [
        Line2D([], [], ls="", marker=MARKERS[i % len(MARKERS)], color="grey", label=k) for i, k in enumerate(kinds)
    ]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def plot_growth(
    sizes: Sequence[int],
    timings: Mapping[str, Sequence[Timing]],
    *,
    extrapolated: Mapping[str, Mapping[int, float]] | None = None,
    xlabel: str = "vectors in the corpus",
) -> Figure:
    """Milliseconds over size, both on logarithmic axes; what is extrapolated is dashed and hollow.

    `extrapolated[label]` maps sizes beyond the measured ones to seconds.
    """
    figure, axes = _figure(8, 4.2)
    for number, (label, row) in enumerate(timings.items()):
        style = _style(number)
        medians = np.array([timing.median for timing in row])
        spread = 1e3 * np.array([[t.median - t.fastest for t in row], [t.slowest - t.median for t in row]])
        axes.errorbar(sizes, 1e3 * medians, yerr=spread, capsize=3, lw=1.5, label=label, **style)
        if extrapolated and label in extrapolated:
            beyond = extrapolated[label]
            axes.plot(
                [sizes[-1], *beyond],
                [1e3 * medians[-1], *(1e3 * seconds for seconds in beyond.values())],
                ls="--",
                lw=1.2,
                mfc="white",
                **style,
            )
    if extrapolated:
        axes.axvline(sizes[-1], color="grey", lw=0.8, ls=":")
        axes.annotate("measured | extrapolated", (sizes[-1], 1), xycoords=("data", "axes fraction"), ha="center")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    axes.set_xlabel(xlabel)
    axes.set_ylabel("milliseconds")
    axes.grid(True, which="major", lw=0.4, alpha=0.6)
    axes.legend(frameon=False, loc="upper left")
    return figure


def plot_time_and_memory(
    values: Sequence[int], timings: Sequence[Timing], megabytes: Sequence[float], *, xlabel: str, default: int
) -> Figure:
    """What one parameter costs: time on the left, memory on the right, its default marked."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    medians = 1e3 * np.array([timing.median for timing in timings])
    spread = 1e3 * np.array(
        [[t.median - t.fastest for t in timings], [t.slowest - t.median for t in timings]], dtype=np.float64
    )
    left.errorbar(values, medians, yerr=spread, capsize=3, **_style(0))
    left.set_ylabel("milliseconds")
    left.set_ylim(bottom=0)
    right.plot(values, megabytes, **_style(1))
    right.set_ylabel("megabytes more than before")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        _clean(axes)
        axes.set_xscale("log")
        axes.set_xlabel(xlabel)
        axes.axvline(default, color="grey", lw=0.8, ls=":")
        axes.annotate(" default", (default, 0.02), xycoords=("data", "axes fraction"), color="dimgrey")
    return figure


def plot_parts(rows: Mapping[str, Mapping[str, float]]) -> Figure:
    """Where the time goes: a bar a row, cut into parts in proportion to their seconds."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    figure, axes = _figure(9, 0.9 + 0.7 * len(rows))
    for position, row in enumerate(rows.values()):
        start, total = 0.0, sum(row.values())
        for part, seconds in row.items():
            number, share = parts.index(part), seconds / total
            axes.barh(position, share, left=start, color=_colour(number), hatch=HATCHES[number], edgecolor="white")
            if share > 0.06:
                label = f"{1e3 * seconds:,.0f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.1f} ms"
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none"}
                axes.annotate(label, (start + share / 2, position), ha="center", va="center", bbox=box)
            start += share
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xticks([0, 0.5, 1], ["0", "half of the time", "all of it"])
    handles = [Patch(fc=_colour(i), hatch=HATCHES[i], ec="white", label=part) for i, part in enumerate(parts)]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def plot_bound(scores: Any, coarse: Any, epsilon: float, threshold: float) -> Figure:
    """Exact over coarse scores of one query, the band in which the exact score must lie, and who survives."""
    scores, coarse = np.asarray(scores), np.asarray(coarse)
    survives = coarse + epsilon >= threshold
    figure, axes = _figure(8, 4.6)
    kinds = ((~survives, "skipped: provably below", 4, 5), (survives, "survivors: scored in float32", 7, 3))
    for shown, label, size, number in kinds:
        axes.plot(coarse[shown], scores[shown], ls="", ms=size, alpha=0.7, label=label, **_style(number))
    ends = np.array([coarse.min(), coarse.max()])
    axes.fill_between(ends, ends - epsilon, ends + epsilon, color="grey", alpha=0.2, lw=0, label="where a score can be")
    axes.axhline(threshold, color="black", lw=1, ls="--", label="the 10th best exact score")
    axes.axvline(threshold - epsilon, color="black", lw=1, ls=":", label="the limit for coarse scores")
    axes.set_xlabel("coarse score, from whole numbers")
    axes.set_ylabel("exact score, float32")
    axes.legend(frameon=False, loc="upper left")
    return figure


def plot_gain_and_loss(points: Mapping[str, tuple[float, float]], *, xlabel: str, ylabel: str) -> Figure:
    """A mark for each method: how many times as fast as another (logarithmic), and what is left of quality."""
    figure, axes = _figure(8, 4.2)
    for number, (label, (gain, quality)) in enumerate(points.items()):
        axes.plot(gain, quality, ls="", ms=9, label=label, **_style(number))
    axes.set_xscale("log")
    gains = [gain for gain, _ in points.values()]
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100) if min(gains) / 2 <= tick <= 2 * max(gains)]
    axes.set_xticks(ticks, [f"{tick:g} x" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(True, lw=0.4, alpha=0.6)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def plot_tradeoff(points: Sequence[Point], *, reference: Point | None = None) -> Figure:
    """Recall against queries a second: each index's own frontier solid, its other settings faint.

    `reference`, exact search, is a dashed line.
    """
    figure, axes = _figure(8.6, 4.8)
    for number, name in enumerate(dict.fromkeys(point.name for point in points)):
        own = [point for point in points if point.name == name]
        best = frontier(own)
        faint = [point for point in own if point not in best]
        line = [(point.recall, point.queries_per_s) for point in best]
        axes.plot(*zip(*line, strict=True), ms=7, lw=1.6, label=name, **_style(number))
        for point in faint:
            axes.plot(point.recall, point.queries_per_s, ls="", ms=7, alpha=0.25, **_style(number))
    if reference is not None:
        axes.axhline(reference.queries_per_s, color="black", lw=1, ls="--", label=reference.name)
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    axes.set_xlabel("recall@10")
    axes.set_ylabel("queries a second, one at a time")
    axes.grid(True, lw=0.4, alpha=0.6)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def plot_curves(panels: Mapping[str, Curves], *, xlabels: Sequence[str], ylabel: str, log_x: bool = False) -> Figure:
    """A panel for each entry, with the curves `{label: (x, y)}`; all panels share the y-axis."""
    width = 2.2 + 2.9 * len(panels)
    figure, grid = plt.subplots(1, len(panels), figsize=(width, 3.4), sharey=True, squeeze=False, layout="constrained")
    for axes, (title, curves), xlabel in zip(grid[0], panels.items(), xlabels, strict=True):
        _clean(axes)
        for number, (label, (x, y)) in enumerate(curves.items()):
            axes.plot(x, y, ms=6, label=label, **_style(number))
        if log_x:
            axes.set_xscale("log")
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.grid(True, lw=0.4, alpha=0.6)
        if len(curves) > 1:
            axes.legend(frameon=False)
    grid[0][0].set_ylabel(ylabel)
    return figure


def plot_families(points: Any, query: Any, *, seed: int = 0) -> Figure:
    """What trees, cells and graphs look at, on points of the plane, shape `(n, 2)`.

    Tree: random lines between two points each, down to ten points or fewer. Cells: k-means. Graph:
    links to the eight nearest, walked from the farthest point to ever nearer ones. What the query looks at
    is dark, and its true nearest neighbour has a ring.
    """
    points, query = np.asarray(points, dtype=np.float64), np.asarray(query, dtype=np.float64)
    generator = np.random.default_rng(seed)
    figure, all_axes = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
    nearest = _distances(query[None], points).argmin()
    for axes, (title, draw) in zip(all_axes, {"tree": _tree, "cells": _cells, "graph": _graph}.items(), strict=True):
        seen = draw(axes, points, query, generator)
        axes.plot(*points.T, ls="", marker="o", ms=4, color="grey", alpha=0.5)
        axes.plot(*points[seen].T, ls="", marker="o", ms=6, color=COLOURS[0], label="looked at")
        axes.plot(*points[nearest], ls="", marker="o", ms=13, mfc="none", color=COLOURS[3], label="nearest")
        axes.plot(*query, ls="", marker="*", ms=15, color="black", label="query")
        axes.set_title(f"{title}: {len(seen)} of {len(points)} looked at")
        axes.set(xticks=[], yticks=[], xlim=_around(points[:, 0]), ylim=_around(points[:, 1]))
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_thresholds(curves: Mapping[str, Curve], chosen: Mapping[str, Threshold] | None = None) -> Figure:
    """Precision and recall over the least score, one panel a model; a line where a threshold was chosen."""
    figure, panels = plt.subplots(
        1, len(curves), figsize=(4.6 * len(curves), 3.8), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (name, curve) in zip(panels[0], curves.items(), strict=True):
        every = max(1, len(curve.scores) // 8)
        for number, (label, values) in enumerate((("precision", curve.precision), ("recall", curve.recall))):
            axes.plot(curve.scores, values, ms=6, markevery=every, label=label, **_style(number))
        if chosen:
            axes.axvline(chosen[name].score, color="black", ls="--", lw=1)
            axes.annotate(f" {chosen[name].score:.2f}", (chosen[name].score, 0.02))
        axes.set(title=name, xlabel="least score of a match", ylim=(0, 1.03))
        _clean(axes)
    panels[0][0].legend(frameon=False, loc="lower left")
    return figure


def plot_map(points: Any, topics: Sequence[str], *, n_named: int = 8) -> Figure:
    """Documents as points, the `n_named` largest topics by colour and marker and named in the middle, others grey.

    Args:
        points: shape `(n, 2)`.
        topics: one a point; `""` where none is known.
    """
    points, of_point = np.asarray(points), np.asarray(topics)
    figure, axes = _figure(9, 6)
    named = [topic for topic, _ in Counter(filter(None, topics)).most_common(n_named)]
    others = points[~np.isin(of_point, named)]
    axes.scatter(others[:, 0], others[:, 1], s=18, color="lightgrey", label="other topics")
    for number, topic in enumerate(named):
        of_topic = points[of_point == topic]
        style = _style(number)
        axes.scatter(of_topic[:, 0], of_topic[:, 1], s=34, label=topic, alpha=0.85, **style)
        box = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": style["color"], "alpha": 0.85}
        axes.annotate(topic, np.median(of_topic, axis=0), ha="center", va="center", weight="bold", size=9, bbox=box)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1))
    return figure


def plot_encoders() -> Figure:
    """A bi-encoder and a cross-encoder: what each of them reads, and what can be computed before the question."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axes, title in ((left, "bi-encoder: compares two vectors"), (right, "cross-encoder: reads both texts")):
        axes.set(title=title, xlim=(0, 10), ylim=(0, 8.4))
        axes.axis("off")
    for x, text, number in ((2.5, "question", 0), (7.5, "document", 1)):
        _box(left, x, 0.8, text, number)
        _box(left, x, 3.2, "transformer", number)
        _box(left, x, 5.6, "vector", number)
        _arrow(left, (x, 1.4), (x, 2.6))
        _arrow(left, (x, 3.8), (x, 5.0))
        _arrow(left, (x, 6.2), (5 + (x - 5) * 0.25, 7.2))
        _box(right, x, 0.8, text, number)
        _arrow(right, (x, 1.4), (5 + (x - 5) * 0.4, 3.2))
    left.annotate("cosine", (5, 7.5), ha="center", va="center", weight="bold")
    left.annotate("once, in advance", (9.7, 4.4), rotation=90, ha="center", va="center", color="dimgrey")
    _box(right, 5, 3.8, "transformer: every word\nlooks at every other", 2)
    _arrow(right, (5, 4.5), (5, 7.0))
    right.annotate("logit", (5, 7.5), ha="center", va="center", weight="bold")
    beside = {"fc": "white", "ec": "none"}
    right.annotate("for every pair, after the question is known", (5, 5.8), ha="center", color="dimgrey", bbox=beside)
    return figure


def plot_pool(sizes: Sequence[int], lines: Mapping[str, Sequence[float]], milliseconds: Sequence[float]) -> Figure:
    """What a larger pool brings (`lines`, between 0 and 1, on the left axis) and costs (bars, on the right)."""
    figure, axes = _figure(8.6, 4.4)
    cost = axes.twinx()
    positions = np.arange(len(sizes))
    cost.bar(
        positions, milliseconds, width=0.5, color="lightgrey", hatch="//", ec="white", label="time of the re-ranker"
    )
    cost.set_ylabel("milliseconds a question")
    cost.spines[["top"]].set_visible(False)
    for number, (label, values) in enumerate(lines.items()):
        axes.plot(positions, values, ms=7, label=label, **_style(number))
    axes.set_zorder(cost.get_zorder() + 1)  # lines in front of bars
    axes.patch.set_visible(False)
    axes.set_xticks(positions, [str(size) for size in sizes])
    axes.set_xlabel("pool: candidates a question that are re-ranked")
    axes.set_ylabel("nDCG@10, recall")
    handles, labels = axes.get_legend_handles_labels()
    bars, bar_labels = cost.get_legend_handles_labels()
    axes.legend(handles + bars, labels + bar_labels, frameon=False, loc="upper left", bbox_to_anchor=(1.12, 1))
    return figure


def _box(axes: Axes, x: float, y: float, text: str, number: int) -> None:
    box = {"boxstyle": "round,pad=0.45", "fc": "white", "ec": _colour(number), "lw": 1.8}
    axes.annotate(text, (x, y), ha="center", va="center", bbox=box)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "dimgrey"})


def _tree(axes: Axes, points: np.ndarray, query: np.ndarray, generator: np.random.Generator) -> list[int]:
    left = np.arange(len(points))
    while len(left) > 10:
        a, b = points[generator.choice(left, size=2, replace=False)]
        normal, middle = b - a, (a + b) / 2
        side = (points[left] - middle) @ normal > 0
        kept = left[side == ((query - middle) @ normal > 0)]
        if 0 < len(kept) < len(left):
            axes.axline(middle, middle + np.array([-normal[1], normal[0]]), color=COLOURS[1], lw=1.2)
            left = kept
    return left.tolist()


def _cells(axes: Axes, points: np.ndarray, query: np.ndarray, generator: np.random.Generator) -> list[int]:
    centres = points[generator.choice(len(points), size=12, replace=False)]
    for _ in range(10):
        cell_of = _distances(points, centres).argmin(axis=1)
        centres = np.array([points[cell_of == i].mean(axis=0) for i in range(len(centres))])
    x, y = (np.linspace(*_around(points[:, i]), 300) for i in (0, 1))
    plane = np.stack(np.meshgrid(x, y), axis=-1)
    of_plane = _distances(plane.reshape(-1, 2), centres).argmin(axis=1).reshape(300, 300)
    axes.contour(x, y, of_plane, levels=np.arange(len(centres)) + 0.5, colors=COLOURS[1], linewidths=1)
    axes.plot(*centres.T, ls="", marker="x", color=COLOURS[1])
    in_cell = _distances(points, centres).argmin(axis=1) == _distances(query[None], centres).argmin()
    return np.flatnonzero(in_cell).tolist()


def _graph(axes: Axes, points: np.ndarray, query: np.ndarray, _generator: np.random.Generator) -> list[int]:
    links = _distances(points, points).argsort(axis=1)[:, 1:9]
    for one, others in enumerate(links):
        for other in others:
            axes.plot(*points[[one, other]].T, color=COLOURS[1], lw=0.5, alpha=0.6)
    distance = _distances(query[None], points)[0]
    here = int(distance.argmax())  # a long way to go, to show the way
    seen, path = {here}, [here]
    while True:
        seen |= set(links[here].tolist())
        best = int(links[here][distance[links[here]].argmin()])
        if distance[best] >= distance[here]:
            break
        here = best
        path.append(here)
    axes.plot(*points[path].T, color="black", lw=1.5)
    return sorted(seen)


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.linalg.norm(points[:, None] - others[None], axis=-1)
    return distances


def _plain_numbers(axis: Axis) -> None:
    """On a logarithmic axis 10,000 in place of 10⁴, and more numbers where few powers of ten are in sight."""
    low, high = axis.get_view_interval()
    if high < 30 * low:
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def _around(values: np.ndarray) -> tuple[float, float]:
    margin = 0.05 * (values.max() - values.min())
    return float(values.min() - margin), float(values.max() + margin)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    _clean(axes)
    return figure, axes


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _style(number: int) -> dict[str, Any]:
    return {"color": _colour(number), "marker": MARKERS[number % len(MARKERS)]}
