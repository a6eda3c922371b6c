"""Figures that explain an idea: a bound, the families of indexes, bi-encoder and cross-encoder."""

from __future__ import annotations

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

    Tree: random lines between two points each, down to ten points or fewer. Cells: k-means. Graph:
    links to the eight nearest, walked from the farthest point to ever nearer ones. What the query looks at
    is dark, and its true nearest neighbour has a ring.
    """
    points, query = np.asarray(points, dtype=np.float64), np.asarray(query, dtype=np.float64)
    generator = np.random.default_rng(seed)
    figure, all_axes = panels(3, 11, 4)
    nearest = _distances(query[None], points).argmin()
    for axes, (title, draw) in zip(all_axes, {"tree": _tree, "cells": _cells, "graph": _graph}.items(), strict=True):
        seen = draw(axes, points, query, generator)
        axes.plot(*points.T, ls="", marker="o", ms=4, color="grey", alpha=0.5)
        axes.plot(*points[seen].T, ls="", marker="o", ms=6, color=BLUE, label="looked at")
        axes.plot(*points[nearest], ls="", marker="o", ms=13, mfc="none", color="black", label="nearest")
        axes.plot(*query, ls="", marker="*", ms=15, color="black", label="query")
        axes.set_title(f"{title}: {len(seen)} of {len(points)} looked at")
        axes.spines[:].set_visible(True)
        axes.set(xticks=[], yticks=[], xlim=_around(points[:, 0]), ylim=_around(points[:, 1]))
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def plot_encoders() -> Figure:
    """A bi-encoder and a cross-encoder: what each of them reads, and what can be computed before the question."""
    figure, (left, right) = panels(2, 10, 3.8)
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


def _box(axes: Axes, x: float, y: float, text: str, number: int) -> None:
    box = {"boxstyle": "round,pad=0.45", "fc": "white", "ec": COLOURS[number], "lw": 1.8}
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
            axes.axline(middle, middle + np.array([-normal[1], normal[0]]), color=RED, lw=1.2)
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
    axes.contour(x, y, of_plane, levels=np.arange(len(centres)) + 0.5, colors=RED, linewidths=1)
    axes.plot(*centres.T, ls="", marker="x", color=RED)
    in_cell = _distances(points, centres).argmin(axis=1) == _distances(query[None], centres).argmin()
    return np.flatnonzero(in_cell).tolist()


def _graph(axes: Axes, points: np.ndarray, query: np.ndarray, _generator: np.random.Generator) -> list[int]:
    links = _distances(points, points).argsort(axis=1)[:, 1:9]
    for one, others in enumerate(links):
        for other in others:
            axes.plot(*points[[one, other]].T, color=RED, lw=0.5, alpha=0.6)
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


def _around(values: np.ndarray) -> tuple[float, float]:
    margin = 0.05 * (values.max() - values.min())
    return float(values.min() - margin), float(values.max() + margin)
