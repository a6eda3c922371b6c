"""Notebook 04: approximate search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semsearch_nb import benchmark
from semsearch_nb.teaching.exercises import Choice, Task

LEAST_RECALL, MOST_MB = 0.8, 100
EFFORTS = (10, 320)


def _within_budget(answer: Any, *, points: Sequence[benchmark.Point]) -> str | None:
    if isinstance(answer, benchmark.Recommendation):
        return "recommend returns the setting and the reason; hand in the setting alone"
    if not isinstance(answer, benchmark.Point):
        return "a point is expected, one of those in affordable"
    if answer not in points:
        return "this point is not in affordable, where the vectors in the file do not count"
    if answer.memory_mb > MOST_MB:
        return f"it takes {answer.memory_mb:.0f} MB; recommend has an argument for the most megabytes"
    if answer.recall < LEAST_RECALL:
        return f"its recall is {answer.recall:.2f}; recommend has an argument for the least recall"
    best = benchmark.recommend(points, min_recall=LEAST_RECALL, max_mb=MOST_MB).point
    if best is not None and answer.ms > best.ms:
        return "it fits the budget, but a faster one fits too"
    return None


def _why_it_fits(answer: Any, *, points: Sequence[benchmark.Point]) -> str:
    others = {point.name for point in points if point.recall >= LEAST_RECALL and point.memory_mb <= MOST_MB} - {
        answer.name
    }
    more = f" These fit as well: {', '.join(sorted(others))}." if others else ""
    return f"it is the fastest setting that fits.{more}"


def _all_ten(answer: Any, *, index: Any, truth: benchmark.Truth) -> str | None:
    before = index.effort
    try:
        for effort in EFFORTS:
            given = float(answer(effort))
            index.set_effort(effort)
            each = truth.recall(index.search(truth.queries))
            if abs(given - (each == 1).mean()) > 0.01:
                return _what_was_counted(given, each)
    finally:
        index.set_effort(before)
    return None


def _what_was_counted(given: float, each: Any) -> str:
    if abs(given - each.mean()) <= 0.01:
        return "this is the mean recall; count the words, each as complete or not"
    if given > 1 and abs(given - (each == 1).sum()) <= 3:
        return "this is a number of words; a share is asked for"
    if abs(given - (each > 0).mean()) <= 0.01:
        return "this counts words that find at least one neighbour"
    return "does the function set the effort before it searches? truth.recall has one value a word"


ANSWERS = {
    "1": Task(_within_budget, because=_why_it_fits),
    "2": Choice(
        "b",
        because="`ef` belongs to the search, not to the graph, and hnswlib does not save it. The adapters here do.",
        tempting={
            "a": "a damaged file is a common fear, but hnswlib would fail to load it; here it loads and answers",
            "c": "the seed plays a part while the graph is built; the file holds the finished graph",
        },
    ),
    "3": Task(_all_ten, because="a high mean recall still leaves many words with a gap.", wants_function=True),
    "quiz 1": Choice(
        "b",
        because="it takes effect at the next query, and costs only time a query.",
        tempting={
            "a": "more cells can pay, but at the same setting each query then looks at fewer vectors and finds less",
            "c": "the seed moves the borders of the cells; other neighbours then lie behind them, about as many",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="the centres are compared too, a sixth of the corpus here; and six vectors hold few of the ten.",
        tempting={
            "a": "it is true that a cell is soon looked through, but the query has to find its cell first",
            "b": "smaller cells fit the data better at equal work, but here one cell holds fewer vectors than you want",
        },
    ),
}
