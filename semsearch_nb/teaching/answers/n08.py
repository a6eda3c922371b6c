"""Notebook 08: similar publications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from semsearch_nb import evaluation, exact, fusion, lexical
from semsearch_nb.datasets import Collection
from semsearch_nb.teaching.exercises import Choice, Task, number

FETCHED = 50
ONE = ("the dense search", "BM25")
N, TRIED = 8, 10  # rows to choose, and queries that a function is tried on
ROUNDING = 1e-4


def _ways(
    papers: Collection, bm25: lexical.BM25, texts: Sequence[str], queries: Any, corpus: Any
) -> dict[str, evaluation.Values]:
    """nDCG@10 of each query, by both searches and fused."""
    dense, words = exact.search(queries, corpus, k=FETCHED), bm25.search(texts, k=FETCHED)
    rankings = {ONE[0]: dense, ONE[1]: words, "fused": fusion.reciprocal_rank([dense, words])}
    runs = {name: evaluation.as_run(hits, papers.query_ids, papers.document_ids) for name, hits in rankings.items()}
    return {name: evaluation.ndcg_at_k(run, papers.qrels) for name, run in runs.items()}


def _fused(answer: Any, **given: Any) -> str | None:
    ways = {name: float(values.mean()) for name, values in _ways(**given).items()}
    mistakes = {f"this is {name} alone; fusion.reciprocal_rank takes a list of both": ways[name] for name in ONE}
    return number(
        answer, ways["fused"], 0.006, "search both for 50 hits, fuse the two, then ndcg(...).mean()", mistakes
    )


def _gain(answer: Any, **given: Any) -> str:
    ways = _ways(**given)
    better = max(ONE, key=lambda name: ways[name].mean())
    difference = evaluation.paired_bootstrap(ways["fused"], ways[better])
    verdict = "a difference is shown" if difference.excludes_zero else "it holds zero, so no difference is shown"
    return f"against the better of the two, {better}, the paired difference is {difference}: {verdict}."


def _unlike(answer: Any, *, queries: Any, vectors: Any) -> str | None:
    vectors = np.asarray(vectors)
    for query in np.asarray(queries)[:TRIED]:
        scores = vectors @ query
        given = scores.copy()
        rows = [int(row) for row in answer(given, vectors, N)]
        if not np.array_equal(given, scores):
            return "the function changes the scores that it is given; work on a copy"
        hint = _flaw(rows, scores, vectors)
        if hint:
            return hint
    return None


def _flaw(rows: list[int], scores: Any, vectors: Any) -> str | None:
    if len(rows) != N:
        return f"{N} rows are asked for, and {len(rows)} come back"
    if len(set(rows)) < N:
        return "a row is chosen twice; leave out what is chosen already"
    if rows == np.argsort(-scores, kind="stable")[:N].tolist():
        return "these are the rows with the highest scores; take away 0.3 times the highest cosine with the rows chosen"
    if scores[rows[0]] < scores.max() - ROUNDING:
        return "nothing is chosen before the first row, so there its score alone counts"
    for place in range(1, N):
        value = 0.7 * scores - 0.3 * (vectors @ vectors[rows[:place]].T).max(axis=1)
        value[rows[:place]] = -np.inf
        if value[rows[place]] < value.max() - ROUNDING:
            return f"row {place + 1} of {N} is not the best one left. Compare with every row chosen before"
    return None


def _places(answer: Any, *, queries: Any, vectors: Any) -> str:
    scores = np.asarray(vectors) @ np.asarray(queries)[0]
    rows = [int(row) for row in answer(scores.copy(), np.asarray(vectors), N)]
    new = sum(int((scores > scores[row]).sum() >= N) for row in rows)
    return (
        f"for the first query {new} of the {N} come from behind place {N}. "
        "The rule is known as maximal marginal relevance (MMR)."
    )


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="in a random order the next paper is any paper, so the ids say nothing about what was found.",
        tempting={
            "a": "the quarter came from neighbours: in the sorted list the next paper is often on the same topic",
            "c": "each vector still lies under the id of another paper",
        },
    ),
    "quiz 2": Choice(
        "a",
        because="a number means little alone. Beside those of broken searches it says: this one has neither fault.",
        tempting={
            "b": "a check tells how good something is and changes nothing in it; the model was not trained here",
            "c": "one paper of 253 is right. How many titles would a random order bring to the first place?",
        },
    ),
    "1": Task(_fused, because=_gain),
    "2": Choice(
        "a",
        because="a check measures its own task: authors repeat their own words, and other authors choose others.",
        tempting={
            "b": "nobody tuned it here, on abstracts or on anything. Ask who chose the words of both texts",
            "c": "more queries make an interval narrower. They do not make one task into the other",
        },
    ),
    "3": Task(_unlike, because=_places, wants_function=True),
}
