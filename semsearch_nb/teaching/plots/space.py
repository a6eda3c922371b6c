"""Figures of a space of vectors: points in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from semsearch_nb.teaching.plots.style import MARKERS, panels, plain
from semsearch_nb.vectors import unit_rows


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


def plot_space(spaces: Mapping[str, np.ndarray], colour_by: Sequence[str], marker_by: Sequence[str]) -> Figure:
    """Points of shape `(n, 2)` a panel; the colour shows one property of each, the marker another."""
    colour = {group: plain(i) for i, group in enumerate(dict.fromkeys(colour_by))}
    marker = {kind: MARKERS[i % len(MARKERS)] for i, kind in enumerate(dict.fromkeys(marker_by))}
    figure, all_axes = panels(len(spaces), 5 * len(spaces) + 1.6, 4.6)
    for axes, (title, points) in zip(all_axes, spaces.items(), strict=True):
        for (x, y), group, kind in zip(points, colour_by, marker_by, strict=True):
            style = colour[group] | {"marker": marker[kind]}
            axes.plot(x, y, ls="", ms=8, alpha=0.85, **style)
        axes.spines[:].set_visible(True)
        axes.set(title=title, xticks=[], yticks=[])
    handles = [Line2D([], [], ls="", label=group, **colour[group] | {"marker": "o"}) for group in colour]
    handles += [Line2D([], [], ls="", label=kind, marker=marker[kind], color="grey") for kind in marker]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure
