"""Figures that explain an idea: a bound, the families of indexes, bi-encoder and cross-encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from semsearch_nb.teaching.plots.style import BLUE, COLOURS, RED, frame, panels, plain


def plot_bound(scores: Any, coarse: Any, epsilon: float, threshold: float) -> Figure:
    """Exact over coarse scores of one query, the band in which the exact score must lie, and who survives."""
    scores, coarse = np.asarray(scores), np.asarray(coarse)
    survives = coarse + epsilon >= threshold
    figure, axes = frame(8, 4.6)
    kinds = ((~survives, "skipped: provably below", 4, 0), (survives, "survivors: scored in float32", 7, 1))
    for shown, label, size, number in kinds:
        axes.plot(coarse[shown], scores[shown], ls="", ms=size, alpha=0.7, label=label, **plain(number))
    ends = np.array([coarse.min(), coarse.max()])
    axes.fill_between(ends, ends - epsilon, ends + epsilon, color="grey", alpha=0.2, lw=0, label="where a score can be")
    axes.axhline(threshold, color="black", lw=1, ls="--", label="a score that ten vectors reach")
    axes.axvline(threshold - epsilon, color="black", lw=1, ls=":", label="the limit for coarse scores")
    axes.set_xlabel("coarse score, from whole numbers")
    axes.set_ylabel("exact score, float32")
    axes.legend(frameon=False, loc="upper left")
    return figure


def plot_families(points: Any, query: Any, *, seed: int = 0) -> Figure:
    """What trees, cells and graphs look at, on points of the plane, shape `(n, 2)`.

    Tree: lines between two random points each, down to ten points or fewer; a line cuts the part that is left.
    Cells: k-means. Layers: an eighth of the points links to its nearest three (dashed), all points to their nearest
    six; the walk goes down one layer when no link leads nearer. One layer: links to the nearest three alone, from a
    start whose walk ends too early, where there is one. What the query looks at is dark, and its true nearest
    neighbour has a ring.
    """
    points, query = np.asarray(points, dtype=np.float64), np.asarray(query, dtype=np.float64)
    generator = np.random.default_rng(seed)
    figure, all_axes = panels(4, 13, 4)
    nearest = _distances(query[None], points).argmin()
    families = {"tree": _tree, "cells": _cells, "graph with layers": _layers, "graph, one layer": _one_layer}
    for axes, (title, draw) in zip(all_axes, families.items(), strict=True):
        seen = draw(axes, points, query, generator)
        axes.plot(*points.T, ls="", marker="o", ms=4, color="grey", alpha=0.5)
        axes.plot(*points[seen].T, ls="", marker="o", ms=6, color=BLUE, label="looked at")
        axes.plot(*points[nearest], ls="", marker="o", ms=13, mfc="none", color="black", label="nearest")
        axes.plot(*query, ls="", marker="*", ms=15, color="black", label="query")
        verdict = "found" if nearest in seen else "missed"
        axes.set_title(f"{title}\n{len(seen)} of {len(points)} looked at, {verdict}", fontsize=11)
        axes.spines[:].set_visible(True)
        axes.set(xticks=[], yticks=[], xlim=_around(points[:, 0]), ylim=_around(points[:, 1]))
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_encoders() -> Figure:
    """What a bi-encoder and a cross-encoder read, what is computed before the question, and how they work in turn."""
    figure, (left, right) = panels(2, 10, 3.8)
    for axes, title in ((left, "bi-encoder: compares two vectors"), (right, "cross-encoder: reads both texts")):
        axes.set(title=title, xlim=(0, 10), ylim=(0, 8.4))
        axes.axis("off")
    for x, text, number in ((2.5, "question", 0), (7.5, "document", 1)):
        _box(left, x, 0.8, text, number)
        _box(left, x, 5.6, "vector", number)
        _arrow(left, (x, 1.4), (x, 2.6))
        _arrow(left, (x, 3.8), (x, 5.0))
        _arrow(left, (x, 6.2), (5 + (x - 5) * 0.25, 7.2))
        _box(right, x, 0.8, text, number)
        _arrow(right, (x, 1.4), (5 + (x - 5) * 0.4, 3.2))
    _box(left, 5, 3.2, "one transformer, one text at a time", 2)
    left.annotate("cosine", (5, 7.5), ha="center", va="center", weight="bold")
    left.plot((9.0, 9.3, 9.3, 9.0), (0.5, 0.5, 6.0, 6.0), color="dimgrey", lw=1.2)
    left.annotate("in advance", (9.75, 3.2), rotation=90, ha="center", va="center", color="dimgrey")
    _box(right, 5, 3.8, "transformer: every word\nlooks at every other", 2)
    _arrow(right, (5, 4.5), (5, 7.0))
    right.annotate("logit", (5, 7.5), ha="center", va="center", weight="bold")
    beside = {"fc": "white", "ec": "none"}
    right.annotate("for every pair, after the question is known", (5, 5.8), ha="center", color="dimgrey", bbox=beside)
    return figure


def plot_two_stages(n_documents: int, pool: int, k: int) -> Figure:
    """The way of a question: a search over all documents, a re-ranker that orders the pool, the best k."""
    figure, axes = frame(10, 1.7)
    axes.set(xlim=(0, 20), ylim=(0, 3.2))
    axes.axis("off")
    steps = [
        (1.6, "question", 0),
        (6.0, f"first stage: searches\nall {n_documents:,} documents", 1),
        (13.0, f"re-ranker: reads the question\nwith each of the {pool}", 2),
        (18.6, f"the best {k}", 0),
    ]
    for x, text, number in steps:
        _box(axes, x, 1.6, text, number)
    for start, end, text in ((2.7, 3.5, ""), (8.5, 9.9, f"pool of {pool}"), (16.2, 17.3, "")):
        _arrow(axes, (start, 1.6), (end, 1.6))
        axes.annotate(text, ((start + end) / 2, 2.5), ha="center", color="dimgrey")
    return figure


def _box(axes: Axes, x: float, y: float, text: str, number: int) -> None:
    box = {"boxstyle": "round,pad=0.45", "fc": "white", "ec": COLOURS[number], "lw": 1.8}
    axes.annotate(text, (x, y), ha="center", va="center", bbox=box)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": "dimgrey"})


def _tree(axes: Axes, points: np.ndarray, query: np.ndarray, generator: np.random.Generator) -> list[int]:
    left = np.arange(len(points))
    (x0, x1), (y0, y1) = (_around(points[:, i]) for i in (0, 1))
    part = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    while len(left) > 10:
        a, b = points[generator.choice(left, size=2, replace=False)]
        normal, middle = b - a, (a + b) / 2
        if (query - middle) @ normal < 0:
            normal = -normal
        kept = left[(points[left] - middle) @ normal > 0]
        if 0 < len(kept) < len(left):
            part, line = _cut(part, middle, normal)
            axes.plot(*line.T, color=RED, lw=1.2)
            left = kept
    return left.tolist()


def _cut(part: np.ndarray, middle: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left of a convex polygon on the normal's side of a line, and the piece of the line inside it."""
    heights = (part - middle) @ normal
    kept, line = [], []
    for i, (corner, height) in enumerate(zip(part, heights, strict=True)):
        if height > 0:
            kept.append(corner)
        following = (i + 1) % len(part)
        if (height > 0) != (heights[following] > 0):
            crossing = corner + (part[following] - corner) * height / (height - heights[following])
            kept.append(crossing)
            line.append(crossing)
    return np.array(kept), np.array(line)


def _cells(axes: Axes, points: np.ndarray, query: np.ndarray, generator: np.random.Generator) -> list[int]:
    centres = points[generator.choice(len(points), size=12, replace=False)]
    for _ in range(10):
        cell_of = _distances(points, centres).argmin(axis=1)
        centres = np.array([points[cell_of == i].mean(axis=0) for i in range(len(centres))])
    x, y = (np.linspace(*_around(points[:, i]), 300) for i in (0, 1))
    plane = np.stack(np.meshgrid(x, y), axis=-1)
    of_plane = _distances(plane.reshape(-1, 2), centres).argmin(axis=1).reshape(300, 300)
    axes.contour(x, y, of_plane, levels=np.arange(len(centres)) + 0.5, colors=RED, linewidths=1)
    axes.plot(*centres.T, ls="", marker="x", color=RED)
    in_cell = _distances(points, centres).argmin(axis=1) == _distances(query[None], centres).argmin()
    return np.flatnonzero(in_cell).tolist()


def _layers(axes: Axes, points: np.ndarray, query: np.ndarray, generator: np.random.Generator) -> list[int]:
    coarse = generator.choice(len(points), size=len(points) // 8, replace=False)
    above = {int(coarse[i]): coarse[row].tolist() for i, row in enumerate(_links(points[coarse], 3))}
    below = dict(enumerate(_links(points, 6).tolist()))
    _draw_links(axes, points, below, lw=0.5, alpha=0.6)
    _draw_links(axes, points, above, lw=1.2, ls="--")
    start = max(above, key=lambda row: float(_distances(query[None], points)[0, row]))
    down, first = _walk(points, query, above, start)
    walked, second = _walk(points, query, below, down[-1])
    axes.plot(*points[down + walked].T, color="black", lw=1.5)
    return sorted(first | second)


def _one_layer(axes: Axes, points: np.ndarray, query: np.ndarray, _generator: np.random.Generator) -> list[int]:
    links = dict(enumerate(_links(points, 3).tolist()))
    _draw_links(axes, points, links, lw=0.5, alpha=0.6)
    distance = _distances(query[None], points)[0]
    walks = [_walk(points, query, links, int(start)) for start in (-distance).argsort()]
    path, seen = next((walk for walk in walks if len(walk[0]) > 3 and distance.argmin() not in walk[1]), walks[0])
    axes.plot(*points[path].T, color="black", lw=1.5)
    return sorted(seen)


def _walk(
    points: np.ndarray, query: np.ndarray, links: Mapping[int, list[int]], here: int
) -> tuple[list[int], set[int]]:
    """The path of a walk to ever nearer points, and what it looked at."""
    distance = _distances(query[None], points)[0]
    path, seen = [here], {here}
    while True:
        seen |= set(links[here])
        best = min(links[here], key=lambda row: float(distance[row]))
        if distance[best] >= distance[here]:
            return path, seen
        here = best
        path.append(here)


def _links(points: np.ndarray, n: int) -> np.ndarray:
    nearest: np.ndarray = _distances(points, points).argsort(axis=1)[:, 1 : n + 1]
    return nearest


def _draw_links(axes: Axes, points: np.ndarray, links: Mapping[int, list[int]], **options: Any) -> None:
    for one, others in links.items():
        for other in others:
            axes.plot(*points[[one, other]].T, color=RED, **options)


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.linalg.norm(points[:, None] - others[None], axis=-1)
    return distances


def _around(values: np.ndarray) -> tuple[float, float]:
    margin = 0.05 * (values.max() - values.min())
    return float(values.min() - margin), float(values.max() + margin)
