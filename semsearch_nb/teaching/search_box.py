"""A box to type questions into, and the same answers as plain HTML where no widget can be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets
from IPython.display import HTML, display

Row = tuple[str | float, str]
"""A score or a label, and an HTML text."""
Answer = Callable[[str], Sequence[Row]]
"""From what is typed to rows, best first."""

WIDTH = "46em"  # a line of some 90 letters
# Lists, because notebooks style tables in their own way. Colours are those of the page, light or dark.
BLOCK = f"max-width:{WIDTH};margin:0 0 1em;line-height:1.45"
LINE = "display:flex;gap:.8em;margin:0;padding:.3em 0;border-top:1px solid rgba(128,128,128,.4)"
LABEL = "flex:0 0 auto;min-width:2.5em;max-width:12em;opacity:.75;font-variant-numeric:tabular-nums"


def show(answer: Answer, examples: Sequence[str], *, label: str = "Question", threshold: float | None = None) -> None:
    """Answers to the examples, which also stand in an exported page, and below them a box for questions of one's own.

    Args:
        answer: gives the rows for what was typed; its texts are HTML, so what comes from data must be
            escaped, as `mark` does.
        examples: questions whose answers are shown at once.
        label: what stands before the box.
        threshold: the lowest score that is shown. A slider under the box changes it; the labels of the rows
            must then be numbers.

    Raises:
        ValueError: no example.
    """
    if not examples:
        raise ValueError("examples is empty; an exported page would show nothing")
    display(HTML("".join(as_html(example, answer(example), threshold) for example in examples)))  # type: ignore[no-untyped-call]
    wide = {"layout": {"width": "100%", "max_width": WIDTH}, "style": {"description_width": "initial"}}
    box = ipywidgets.Text(
        description=label, placeholder="type a question, then press Enter", continuous_update=False, **wide
    )
    slider = ipywidgets.FloatSlider(threshold or 0.0, min=0, max=1, step=0.01, description="Threshold", **wide)
    found = ipywidgets.HTML(layout=wide["layout"])
    last: dict[str, Sequence[Row]] = {}  # the question that was typed last, with its rows

    def draw(*_: Any) -> None:
        limit = None if threshold is None else slider.value
        found.value = "".join(as_html(question, rows, limit) for question, rows in last.items())

    def search(change: dict[str, Any]) -> None:
        last.clear()
        if question := change["new"].strip():
            last[question] = answer(question)
        draw()

    box.observe(search, names="value")
    slider.observe(draw, names="value")
    parts = [box, found] if threshold is None else [box, slider, found]
    display(ipywidgets.VBox(parts))  # type: ignore[no-untyped-call]


def as_html(question: str, rows: Sequence[Row], threshold: float | None = None) -> str:
    """A question and its answers as a list, with a note on those that do not reach the threshold."""
    # The numbers that are shown are compared: 0.868 is shown as 0.87, so it reaches 0.87.
    kept = [row for row in rows if threshold is None or round(float(row[0]), 2) >= round(threshold, 2)]
    lines = "".join(
        f'<li style="{LINE}"><span style="{LABEL}">{_label(label)}</span> <span>{text}</span></li>'
        for label, text in kept
    )
    note = "" if kept else "no good match"
    if threshold is not None and len(kept) < len(rows):
        best = max(float(label) for label, _ in rows[len(kept) :])
        hidden = f"{len(rows) - len(kept)} below {threshold:.2f}, the best of them {best:.2f}"
        note = f"{note}: {hidden}" if note else hidden
    end = f'<li style="{LINE};opacity:.75"><em>{note}</em></li>' if note else ""
    listed = f'<ul style="list-style:none;margin:.2em 0 0;padding:0">{lines}{end}</ul>'
    return f'<div role="status" style="{BLOCK}"><strong>{escape(question)}</strong>{listed}</div>'


def _label(label: str | float) -> str:
    return escape(label) if isinstance(label, str) else f"{label:.2f}"


def mark(text: str, span: tuple[int, int]) -> str:
    """`text` as HTML, with the characters from `span[0]` to before `span[1]` marked.

    >>> mark("1 < 2. It is.", (7, 13))
    '1 &lt; 2. <mark>It is.</mark>'
    """
    start, end = span
    marked = f"<mark>{escape(text[start:end])}</mark>" if start < end else ""
    return f"{escape(text[:start])}{marked}{escape(text[end:])}"
