"""What all figures share: the colour and the marker of every method, frames, legends, and the way to the notebook."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

# After Okabe and Ito, without what is faint on white: contrast 3:1 or more, and apart for any colour vision.
BLUE, RED, GREEN, PINK, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
INDIGO, BROWN, TEAL = "#332288", "#7F3B08", "#004D40"
COLOURS = (BLUE, RED, GREEN, PINK, BLACK, INDIGO, BROWN, TEAL)
GREY = "#8C8C8C"  # what stands in the background
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "**")  # tell bars apart without colour
DPI = 110
FEW_POWERS: Mapping[float, Sequence[float]] = {30: (1, 1.5, 2, 3, 5, 7)}

# A method looks the same in every notebook. What stands after a comma makes it a variant, whose marker is hollow:
# "binary, re-scored".
METHODS = {
    "BM25": (BLACK, "s"),
    "MiniLM": (BLUE, "o"),
    "e5": (RED, "^"),
    "hybrid": (GREEN, "P"),
    "learned sparse": (RED, "D"),
    "late interaction": (INDIGO, "^"),
    "first stage": (INDIGO, "s"),
    "cross-encoder": (PINK, "v"),
    "both stages": (GREEN, "D"),
    "exact": (BLACK, "X"),
    "Annoy": (BROWN, "^"),
    "IVF": (RED, "s"),
    "IVF-PQ": (PINK, "D"),
    "binary": (INDIGO, "v"),
    "HNSW": (BLUE, "P"),
    "HNSW int8": (GREEN, "o"),
    "HNSW int4": (TEAL, "X"),
    "HNSW binary": (BROWN, "*"),
}
ALSO_CALLED = {
    "multilingual": "e5",
    "dense": "MiniLM",
    "kNN": "MiniLM",
    "recall of the first stage": "first stage",
    "alone": "first stage",
    "cross-encoder alone": "cross-encoder",
    "re-ranked": "both stages",
    "flat": "exact",
    "exact.search": "exact",
    "bits": "binary",
    "product quantisation": "IVF-PQ",
    "hnsw": "HNSW",
    "hnswlib": "HNSW",
    "int8_hnsw": "HNSW int8",
    "int4_hnsw": "HNSW int4",
    "bbq_hnsw": "HNSW binary",
}


def styles(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker for each label: a method's own; for what is no method those that are left, in order.

    >>> styles(["BM25 (words)", "m = 16"])["BM25 (words)"]
    {'color': '#000000', 'marker': 's'}
    """
    found = {label: _of_method(label) for label in labels}
    taken = {style["color"] for style in found.values() if style}
    free = [number for number, colour in enumerate(COLOURS) if colour not in taken]
    others = [label for label, style in found.items() if not style]
    found |= {label: plain(free[i % len(free)] + len(COLOURS) * (i // len(free))) for i, label in enumerate(others)}
    return found


def _of_method(label: str) -> dict[str, Any]:
    name, comma, _ = re.sub(r" \(.*\)$", "", label).partition(", ")
    name = ALSO_CALLED.get(name, name)
    if name not in METHODS:
        return {}
    colour, marker = METHODS[name]
    return {"color": colour, "marker": marker} | ({"mfc": "white"} if comma else {})


def plain(number: int) -> dict[str, Any]:
    """The style of the n-th of several things that are no methods; colours come again with other markers."""
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "marker": MARKERS[(colour + turn) % len(MARKERS)]}


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
    width = int(figure.get_figwidth() * 96)
    display(Image(picture.getvalue(), width=width, metadata={"alt": alt}))  # type: ignore[no-untyped-call]


def frame(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one panel."""
    figure, (axes,) = panels(1, width, height)
    return figure, axes


def panels(n: int, width: float, height: float, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with `n` panels side by side, open at the top and on the right."""
    size = (width, height)
    figure, grid = plt.subplots(1, n, figsize=size, sharey=sharey, squeeze=False, layout="constrained")
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid[0])


def legend_beside(axes: Axes, x: float = 1.01, **options: Any) -> None:
    """The legend to the right of the panel, where it hides nothing."""
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(x, 1), **options)


def grid(axes: Axes) -> None:
    """Thin lines behind the data."""
    axes.grid(True, which="major", lw=0.4, alpha=0.6)


def plain_numbers(*axes: Axis, within: Mapping[float, Sequence[float]] = FEW_POWERS) -> None:
    """On logarithmic axes 10,000 in place of 10⁴, and more numbers where few powers of ten are in sight.

    `within` says which multiples of the powers have a number, where the end of the axis is less than so many times
    its beginning; the narrowest comes first.
    """
    for axis in axes:
        low, high = axis.get_view_interval()
        multiples = next((steps for times, steps in within.items() if high < times * low), None)
        if multiples:
            axis.set_major_locator(LogLocator(subs=multiples))
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
