"""Notebook 05: retrieve and re-rank."""

from __future__ import annotations

from typing import Any

from semsearch_nb import evaluation
from semsearch_nb.datasets import Collection
from semsearch_nb.teaching.exercises import Choice, Task, number
from semsearch_nb.vectors import Hits

POOL = 50


def _ceiling(pool: Hits, asked: Collection) -> float:
    """Recall@10 of a perfect order of the pool."""
    found = evaluation.as_run(pool.cut(POOL), asked.query_ids, asked.document_ids)
    best = {query: sorted(found[query], key=lambda one: asked.qrels[query].get(one, 0) <= 0) for query in found}
    return float(evaluation.recall_at_k(best, asked.qrels, 10).mean())


def _recall(hits: Hits, asked: Collection, k: int) -> float:
    run = evaluation.as_run(hits, asked.query_ids, asked.document_ids)
    return float(evaluation.recall_at_k(run, asked.qrels, k).mean())


def _highest_recall(answer: Any, *, pool: Hits, asked: Collection) -> str | None:
    return number(
        answer,
        _ceiling(pool, asked),
        0.006,
        "what can the second stage do with a passage that it is never shown? See recall@pool of this first stage",
        {
            "this is what the first stage has among its first ten in its own order. A re-ranker can bring up what "
            "stands behind them": _recall(pool, asked, 10),
            "this is of a pool of 100": _recall(pool, asked, 100),
            "no re-ranker finds what the first stage has not found": 1.0,
        },
    )


def _what_reordering_adds(answer: Any, *, pool: Hits, asked: Collection) -> str:
    return (
        "a perfect re-ranker moves each relevant passage of the pool to the top, and none from outside. "
        f"In its own order the first stage has {_recall(pool, asked, 10):.2f} among its first ten."
    )


def _perfect_order(answer: Any, *, first: Hits, asked: Collection) -> str | None:
    if answer([4, 7, 1, 9], {1, 9}) is None:
        return "the function returns nothing; sorting a list in place returns None"
    if list(answer([3, 2], set())) != [3, 2]:
        return "where no row is relevant, the order stays as it was"
    for rows, relevant in _pools(first, asked):
        ordered = [int(row) for row in answer(list(rows), set(relevant))]
        if sorted(ordered) != sorted(rows):
            return "the list has other rows than it was given: reorder all of them, and add or drop none"
        if [row in relevant for row in ordered] != sorted((row in relevant for row in rows), reverse=True):
            return "a row that is not relevant stands before one that is. False sorts before True"
        if ordered != sorted(rows, key=lambda row: row not in relevant):
            return "relevant rows come first, but rows of the same kind have changed places; sorted keeps such ties"
    return None


def _pools(first: Hits, asked: Collection) -> list[tuple[list[int], set[int]]]:
    """Rows found for each query and the relevant ones among all, after one example that tells the orders apart."""
    row_of = {document: row for row, document in enumerate(asked.document_ids)}
    relevant = [{row_of[one] for one, grade in asked.qrels[query].items() if grade > 0} for query in asked.query_ids]
    found = [rows[there].tolist() for rows, there in zip(first.indices, first.found, strict=True)]
    return [([4, 7, 1, 9], {1, 9}), *zip(found, relevant, strict=True)]


def _limit_of_ndcg(answer: Any, *, first: Hits, asked: Collection) -> str:
    ids = asked.document_ids
    pools = zip(asked.query_ids, _pools(first, asked)[1:], strict=True)
    perfect = {query: [ids[row] for row in answer(rows, relevant)] for query, (rows, relevant) in pools}
    before = evaluation.ndcg_at_k(evaluation.as_run(first, asked.query_ids, ids), asked.qrels).mean()
    after = evaluation.ndcg_at_k(perfect, asked.qrels).mean()
    return f"in this order the pools reach nDCG@10 {after:.2f}, where the first stage has {before:.2f}."


ANSWERS = {
    "quiz 1": Choice(
        "a",
        because="its one place gives 1 / 61; two places at rank 100 give 2 / 160, which is only 1 / 80.",
        tempting={
            "b": "two entries do count twice, but each of them counts little so far down. Add up 1 / (60 + rank)",
            "c": "this would be true of standard scores. Ranks are all that reciprocal rank fusion looks at",
        },
    ),
    "quiz 2": Choice(
        "c",
        because="every weight that was tried lies below zero on the stress questions, with its whole interval.",
        tempting={
            "a": "two opinions seem fairer than one, but one of them finds next to nothing here. "
            "Read the lines of the stress questions",
            "b": "it is the best of the three weights for such questions. Is its interval above or below zero?",
        },
    ),
    "1": Task(_highest_recall, because=_what_reordering_adds),
    "2": Choice(
        "b",
        because="choose a threshold for the model that gives the score, by precision and recall on judged questions.",
        tempting={
            "a": "a worse order would change which answer comes first. Ask what 0.5 means on each of the two scales",
            "c": "vectors have a length that can be made 1. A cross-encoder gives one number for a pair, and no vector",
        },
    ),
    "3": Task(_perfect_order, because=_limit_of_ndcg, wants_function=True),
}
