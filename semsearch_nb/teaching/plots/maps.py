"""A map of documents: as a picture, and as one to move in, which needs no network."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D

from semsearch_nb.teaching.plots.style import BLACK, GREY, frame, plain

SCRIPT = Path(__file__).with_name("map.js")
WITHOUT = "This map moves by JavaScript, which does not run here. The picture above shows the same points."
OTHERS, ASKED = "other topics", "the query"
SPECIAL: dict[str, dict[str, Any]] = {OTHERS: {"color": GREY, "marker": "o"}, ASKED: {"color": BLACK, "marker": "*"}}
LINE, LETTER = 0.03, 0.0095  # height and width of a letter of a label, as parts of the picture
TURNS = np.linspace(0, 2 * np.pi, 16, endpoint=False)
# of a path in SVG
LETTERS = {
    int(Outline.MOVETO): "M",
    int(Outline.LINETO): "L",
    int(Outline.CURVE3): "Q",
    int(Outline.CURVE4): "C",
    int(Outline.CLOSEPOLY): "Z",
}


def plot_map(points: Any, topics: Sequence[str], *, hits: Sequence[int] = ()) -> Figure:
    """Documents as points, each topic with its colour, its marker and its name where it hides few points.

    Args:
        points: shape `(n, 2)`; with `hits` the last one is a query.
        topics: one a document; `""`, drawn in grey, where none is known.
        hits: the rows that the query found. It is drawn as a star, with a line to each.
    """
    points, of_point = _in_unit_square(points), np.asarray(topics)
    documents = points[: len(topics)]
    figure, axes = frame(9, 6.5)
    for hit in hits:
        axes.plot(*points[[hit, -1]].T, color="black", lw=1, zorder=1)
    unknown = documents[of_point == ""]
    axes.scatter(unknown[:, 0], unknown[:, 1], s=18, color=GREY, alpha=0.6)
    taken: list[np.ndarray] = []
    for topic, style in _styles(topics).items():
        of_topic = documents[of_point == topic]
        axes.scatter(of_topic[:, 0], of_topic[:, 1], s=30, alpha=0.85, **style)
        name = textwrap.fill(topic, 16)
        middle = np.median(of_topic, axis=0)
        taken.append(_free_place(name, middle, points, taken))
        arrow = {"arrowstyle": "-", "color": style["color"], "lw": 0.8}
        place = {"ha": "center", "va": "center", "size": 9, "weight": "bold", "color": style["color"]}
        axes.annotate(name, middle, taken[-1][0], arrowprops=arrow, **place)
    if len(hits):
        axes.scatter(points[-1:, 0], points[-1:, 1], s=330, edgecolors="white", zorder=4, **SPECIAL[ASKED])
    axes.set(xticks=[], yticks=[], xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
    axes.spines[:].set_visible(False)
    return figure


def show_map(
    points: Any,
    topics: Sequence[str],
    titles: Sequence[str],
    years: Sequence[int],
    alt: str,
    *,
    hits: Sequence[int] = (),
) -> None:
    """The same map to move in, for Jupyter, Colab and an exported page: drag, zoom, read titles, bring out a topic.

    Where no JavaScript runs, as on GitHub, a sentence points to the picture above; so show `plot_map` first.

    Args:
        points, topics, hits: as in `plot_map`.
        titles, years: one a point, those of the query last.
        alt: what screen readers speak.
    """
    kinds = [topic or OTHERS for topic in topics] + [ASKED] * bool(len(hits))
    styles = {kind: style for kind, style in (_styles(topics) | SPECIAL).items() if kind in kinds}
    number = {kind: i for i, kind in enumerate(styles)}
    facts = zip(_in_unit_square(points).round(4).tolist(), kinds, titles, years, strict=True)
    data = {
        "alt": alt,
        "topics": [[kind, style["color"], _outline(style["marker"], kind)] for kind, style in styles.items()],
        "points": [[x, y, number[kind], title, f"{year} · {kind}"] for (x, y), kind, title, year in facts],
        "lines": [[len(kinds) - 1, int(hit)] for hit in hits],
    }
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    name = f"map-{sha256(text.encode()).hexdigest()[:12]}"
    style = "display:flex;flex-wrap:wrap;gap:12px;max-width:1000px;padding:4px;background:#fff;color:#000"
    script = f"{SCRIPT.read_text(encoding='utf-8')}\nsemsearchMap(document.getElementById('{name}'), {text});"
    html = f'<div id="{name}" style="{style}">{escape(WITHOUT)}</div>\n<script>{{\n{script}\n}}</script>'
    display(HTML(html))  # type: ignore[no-untyped-call]


def _styles(topics: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {topic: plain(number) for number, topic in enumerate(dict.fromkeys(filter(None, topics)))}


def _in_unit_square(points: Any) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    span: np.ndarray = np.ptp(points, axis=0)
    inside: np.ndarray = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    return inside


def _free_place(name: str, middle: np.ndarray, points: np.ndarray, taken: Sequence[np.ndarray]) -> np.ndarray:
    """Centre and half size of a label near `middle` that covers few points and no other label, shape `(2, 2)`."""
    lines = name.split("\n")
    half = np.array([LETTER * max(map(len, lines)), LINE * len(lines)]) / 2
    around = [(radius * np.cos(turn), radius * np.sin(turn)) for radius in (0.05, 0.08, 0.11, 0.14) for turn in TURNS]

    def cost(centre: np.ndarray) -> float:
        covered = (np.abs(points - centre) < half + 0.012).all(axis=1).sum()
        crossed = sum(bool((np.abs(other[0] - centre) < other[1] + half).all()) for other in taken)
        outside = bool((np.abs(centre - 0.5) + half > 0.55).any())
        over_middle = bool((np.abs(middle - centre) < half + 0.01).all())  # no room for the line to it
        return float(covered + 20 * (crossed + outside) + 5 * over_middle + 10 * np.linalg.norm(centre - middle))

    return np.stack([min((middle + step for step in around), key=cost), half])


def _outline(marker: str, kind: str) -> str:
    """A marker of matplotlib as the path of an SVG, in pixels."""
    style, size = MarkerStyle(marker), 20 if kind == ASKED else 12
    path = style.get_path().transformed(style.get_transform() + Affine2D().scale(size, -size))
    steps = ((LETTERS[int(code)], at if code != Outline.CLOSEPOLY else ()) for at, code in path.iter_segments())
    return "".join(letter + " ".join(f"{number:.4g}" for number in at) for letter, at in steps)
