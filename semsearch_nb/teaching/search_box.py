"""A box to type questions into, and the same answers as plain HTML where no widget can be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets
from IPython.display import HTML, display

Answer = Callable[[str], Sequence[tuple[str, str]]]
"""From what is typed to rows of two columns: a score or label, and an HTML text."""


def show(answer: Answer, examples: Sequence[str], *, label: str = "Question") -> None:
    """Answers to the examples, which also stand in an exported page, and below them a box for questions of one's own.

    Args:
        answer: gives the rows for what was typed; its texts are HTML, so what comes from data must be
            escaped, as `mark` does.
        examples: questions whose answers are shown at once.
        label: what stands before the box.

    Raises:
        ValueError: no example.
    """
    if not examples:
        raise ValueError("examples is empty; an exported page would show nothing")
    table = "".join(as_table(example, answer(example)) for example in examples)
    display(HTML(table))  # type: ignore[no-untyped-call]
    box = ipywidgets.Text(description=label, placeholder="type, then press Enter", continuous_update=False)
    found = ipywidgets.HTML()

    def update(change: dict[str, Any]) -> None:
        question = change["new"].strip()
        found.value = as_table(question, answer(question)) if question else ""

    box.observe(update, names="value")
    display(ipywidgets.VBox([box, found]))  # type: ignore[no-untyped-call]


def as_table(question: str, rows: Sequence[tuple[str, str]]) -> str:
    """A question and its answers as an HTML table that a screen reader can follow."""
    lines = "".join(
        f'<tr><td style="text-align:right">{escape(score)}</td><td style="text-align:left">{text}</td></tr>'
        for score, text in rows
    )
    nothing = "" if rows else '<tr><td colspan="2">no good match</td></tr>'
    return f'<table><caption style="text-align:left"><b>{escape(question)}</b></caption>{lines}{nothing}</table>'


def mark(text: str, span: tuple[int, int]) -> str:
    """`text` as HTML, with the characters from `span[0]` to before `span[1]` marked.

    >>> mark("1 < 2. It is.", (7, 13))
    '1 &lt; 2. <mark>It is.</mark>'
    """
    start, end = span
    return f"{escape(text[:start])}<mark>{escape(text[start:end])}</mark>{escape(text[end:])}"
