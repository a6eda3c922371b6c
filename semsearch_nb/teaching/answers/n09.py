"""Notebook 09: question answering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semsearch_nb import evaluation, retrieval
from semsearch_nb.datasets import Collection
from semsearch_nb.teaching.exercises import Choice, Task, number

ALIKE = (1.0, 1.0)


def _ndcg(
    retrievers: Sequence[retrieval.Retriever], part: Collection, weights: Sequence[float] | None
) -> evaluation.Values:
    hits = retrieval.Hybrid(retrievers, weights=weights).search(part.query_texts, k=10)
    run = evaluation.as_run(hits, part.query_ids, part.document_ids)
    return evaluation.ndcg_at_k(run, part.qrels)


def _equal_weights(
    answer: Any, *, retrievers: Sequence[retrieval.Retriever], parts: Mapping[str, Collection]
) -> str | None:
    wanted = float(_ndcg(retrievers, parts["stress"], ALIKE).mean())
    mistakes = {
        "this is the number of the natural questions": _ndcg(retrievers, parts["natural"], ALIKE),
        "this is the number with a quarter for BM25; hand the weights to Hybrid": _ndcg(
            retrievers, parts["stress"], None
        ),
    }
    return number(
        answer,
        wanted,
        0.006,
        "search with k=10, then measure(evaluation.ndcg_at_k, …).mean()",
        {said: float(values.mean()) for said, values in mistakes.items()},
    )


def _price(answer: Any, *, retrievers: Sequence[retrieval.Retriever], parts: Mapping[str, Collection]) -> str:
    change = [
        f"{kind} {evaluation.paired_bootstrap(_ndcg(retrievers, part, ALIKE), _ndcg(retrievers, part, None))}"
        for kind, part in parts.items()
    ]
    return f"equal weights against a quarter for BM25: {', '.join(change)}."


def _best_of(answer: Any, *, found: Sequence[tuple[str, float]]) -> str | None:
    if list(answer([])):
        return "without hits there is no article, so an empty list is expected"
    negative = [("a", -2.0), ("b", -1.0), ("a", -3.0)]  # as logits can be
    for hits in ([("a", 0.5), ("b", 0.9), ("a", 0.7)], negative, list(found)):
        best = answer(list(hits))
        if isinstance(best, Mapping):
            return "a list of (title, score) pairs is expected, not a dictionary"
        pairs = [tuple(pair) for pair in best]
        titles = [title for title, _ in pairs]
        if len(set(titles)) < len(titles):
            return "an article comes twice"
        if set(titles) != {title for title, _ in hits}:
            return "each article of the hits comes once, and no other"
        if any(score != max(its for one, its in hits if one == title) for title, score in pairs):
            return "keep the highest score of each article, also where all scores are below zero"
        if [score for _, score in pairs] != sorted((score for _, score in pairs), reverse=True):
            return "sort the pairs by score, the best first"
    return None


def _how_many(answer: Any, *, found: Sequence[tuple[str, float]]) -> str:
    return f"{len(found)} hits show {len(answer(list(found)))} articles, each of them once."


ANSWERS = {
    "quiz 1": Choice(
        "b",
        because="in a mix with fewer answers more of what is shown is wrong, so the score must be higher for the same "
        "share. The price is right answers that are not shown.",
        tempting={
            "a": "a lower threshold shows more answers. More of these questions have no right one to show",
            "c": "the cosines do not change, but the share of wrong ones among those shown does. Compare the mixes",
        },
    ),
    "quiz 2": Choice(
        "b",
        because="the threshold is chosen where it looks good, and which questions a half holds is chance too. More "
        "judged questions make both smaller.",
        tempting={
            "a": "both halves are compared with the same articles by the same model; only their questions differ",
            "c": "another score would be chosen on the same few questions. Compare the two models in the table",
        },
    ),
    "1": Task(_equal_weights, because=_price),
    "2": Choice(
        "b",
        because="each logit is taken less the mean of its pool, so how bad the whole pool is does not show. Such a "
        "score cannot say that there is no good match.",
        tempting={
            "a": "the logits do. What does standardising take away before they are added?",
            "c": "all ten logits fall by the same 3, so their order stays",
        },
    ),
    "3": Task(_best_of, because=_how_many, wants_function=True),
}
