"""Which tokens of a question and of a text meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from semsearch_nb.teaching.plots.style import RED, frame


def plot_token_map(question: Sequence[str], text: Sequence[str], cosines: Any) -> Figure:
    """Cosines of all pairs of tokens: a row for each token of the question, whose best match has a frame.

    Args:
        cosines: shape `(len(question), len(text))`.

    Raises:
        ValueError: another shape.
    """
    table = np.asarray(cosines, dtype=float)
    if table.shape != (len(question), len(text)):
        raise ValueError(f"cosines must have the shape {(len(question), len(text))}, not {table.shape}")
    figure, axes = frame(min(13, 2.2 + 0.3 * len(text)), 1.7 + 0.3 * len(question))
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, best in enumerate(table.argmax(axis=1)):
        axes.add_patch(Rectangle((best - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=RED, lw=2, clip_on=False))
    axes.set_xticks(range(len(text)), list(text), rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(question)), list(question))
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    figure.colorbar(image, label="cosine", pad=0.01)
    return figure
