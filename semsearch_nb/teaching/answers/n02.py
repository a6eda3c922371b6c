"""Notebook 02: exact search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np

from semsearch_nb import exact
from semsearch_nb.teaching.exercises import Choice, Task

SCORES = 100 * 500_000 * 4 / 1e6  # megabytes at the defaults of util.semantic_search
COPY = 500_000 * 384 * 4 / 1e6
K = 7


def _memory(answer: Any) -> str | None:
    if not isinstance(answer, (tuple, list, np.ndarray)) or np.shape(answer) != (2,):
        return "a pair of numbers is expected: (scores, copy)"
    scores, copy = (float(value) for value in answer)
    if abs(scores - SCORES) <= 1 and abs(copy - COPY) <= 1:
        return None
    if abs(scores - COPY) <= 1 and abs(copy - SCORES) <= 1:
        return "these are the two numbers in the other order: the scores come first"
    if abs(scores - SCORES) <= 1:
        return "the scores are right; the copy holds one chunk of the corpus, of 384 numbers a document"
    if abs(copy - COPY) <= 1:
        return "the copy is right; the scores are those of one full chunk of queries with one full chunk of documents"
    return "think of one chunk of queries and one chunk of documents at the defaults; a number takes 4 bytes"


def _in_parts(answer: Any, *, query: Any, corpus: Any) -> str | None:
    whole = exact.search(query, corpus, k=K).indices[0].tolist()
    found, seen = _watched(answer, query, corpus)
    if not seen:
        return "your function never calls exact.search; call it by this name, once a part"
    if max(seen) > len(corpus) / 3:
        return f"one of your searches looks at {max(seen):,} documents; cut the corpus into four parts first"
    if len(found) != K:
        return f"the function returns {len(found)} rows where k is {K}: of all that the parts found, keep the best k"
    if max(found) < max(seen) <= max(whole):
        return "exact.search counts the rows of a part from 0: add the row at which the part starts"
    if set(found) != set(whole):
        return "other rows than exact.search finds in the whole corpus: take the best k of each part, and add its start"
    if found != whole:
        return "the right rows in another order: sort what the parts found by score, the best first"
    return None


def _watched(function: Callable[..., Any], query: Any, corpus: Any) -> tuple[list[int], list[int]]:
    """The rows that a learner's function returns, and how many vectors each of its searches looked at."""
    seen: list[int] = []
    search = exact.search

    def watched(queries: Any, part: Any, *more: Any, **options: Any) -> Any:
        seen.append(len(part))
        return search(queries, part, *more, **options)

    with patch.object(exact, "search", watched):
        found = [int(row) for row in function(query, corpus, K)]
    return found, seen


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="each chunk of the corpus is normalised once, before the queries are compared with it.",
        tempting={
            "a": "1,000 queries are ten chunks, and calling util.cos_sim for each of them would normalise ten times. "
            "Count the large numbers in the output of the cell that lists what is normalised.",
            "c": "a loop that calls semantic_search for one query at a time would do that. Here all queries are in "
            "one call.",
        },
    ),
    "quiz 2": Choice(
        "b",
        because="the copy and the scores both belong to one chunk of the corpus, so both shrink.",
        tempting={
            "a": "it makes the scores smaller, but the normalised copy stays, and the copy is the largest item.",
            "c": "the hits are few numbers for each query. Compare them with the copy and the scores of a chunk.",
        },
    ),
    "1": Task(
        _memory,
        because="the copy is the larger part. Neither depends on the number of queries, nor on documents beyond one "
        "chunk.",
    ),
    "2": Choice(
        "b",
        because="use the dot product on unit vectors, or with a model that was trained for it.",
        tempting={
            "a": "both compute a dot product in the same precision; cos_sim divides by the lengths first.",
            "c": "more hits a query add documents below the same few. They stay in the first places.",
        },
    ),
    "3": Task(_in_parts, because="this is how a search runs on several machines.", wants_function=True),
}
