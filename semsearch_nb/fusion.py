"""One ranking out of several, where their scores cannot be compared. Taught in notebook 05.

BM25 gives sums without an upper bound, a bi-encoder cosines, a cross-encoder logits. Fusion makes
them comparable first: by rank (`reciprocal_rank`) or by the spread of the scores (`standard_scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from semsearch_nb import evaluation
from semsearch_nb.vectors import FloatArray, Hits, as_count

Fuse = Callable[..., Hits]


def reciprocal_rank(
    rankings: Sequence[Hits], k: int = 10, *, weights: Sequence[float] | None = None, constant: float = 60
) -> Hits:
    """Σ weight / (constant + rank) over the rankings that hold a document (Cormack et al. 2009).

    It looks at ranks alone: a ranking that is sure of its first hit and one that guesses count the same,
    so where one ranking is much weaker the result falls below the better one. See `standard_scores`.

    Args:
        rankings: hits of the same queries over the same documents.
        k: hits a query; at most as many as the longest ranking has.
        weights: one a ranking; without them all are 1.
    """
    if constant < 0:
        raise ValueError(f"constant must be at least 0, not {constant!r}")

    def points(scores: FloatArray) -> FloatArray:
        every: FloatArray = (1 / (constant + np.arange(1, len(scores) + 1))).astype(np.float32)
        return every

    return _fuse(rankings, k, weights, points, absent=lambda row: 0.0)


def standard_scores(rankings: Sequence[Hits], k: int = 10, *, weights: Sequence[float] | None = None) -> Hits:
    """Σ weight · z · z₁, where z = (score − mean) / standard deviation over a ranking's hits of the query.

    z₁ is the z of the ranking's first hit: a first hit far above the others is a sign that the ranking
    knows, one among equals that it guesses, so each counts by how sure it is (z alone already does so a
    little; z₁ does it once more). A document that a ranking does not hold counts as its last one.
    Measured in benchmarks/results/reranking.md. The arguments are those of `reciprocal_rank`.
    """

    def z(scores: FloatArray) -> FloatArray:
        if not len(scores):
            return scores
        standard = (scores - scores.mean()) / (scores.std() or 1)
        every: FloatArray = standard * standard.max()
        return every

    return _fuse(rankings, k, weights, z, absent=lambda row: float(row.min(initial=0)))


def learn_weights(
    rankings: Sequence[Hits],
    qrels: evaluation.Qrels,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    *,
    fuse: Fuse = standard_scores,
    steps: int = 10,
) -> tuple[float, ...]:
    """The weights, in steps of 1 / `steps` and with the sum 1, that give the best mean nDCG@10.

    Fifty judged queries do; measure on others. Of equal weights the most even ones are chosen.
    """
    steps = as_count(steps, "steps")
    parts = [part for part in product(range(steps + 1), repeat=len(rankings)) if sum(part) == steps]
    parts.sort(key=lambda part: sum(share**2 for share in part))

    def quality(part: Sequence[int]) -> float:
        hits = fuse(rankings, 10, weights=[share / steps for share in part])
        run = evaluation.as_run(hits, query_ids, document_ids)
        return float(evaluation.ndcg_at_k(run, qrels).mean())

    best = max(parts, key=quality)
    return tuple(share / steps for share in best)


def _fuse(
    rankings: Sequence[Hits],
    k: int,
    weights: Sequence[float] | None,
    points: Callable[[FloatArray], FloatArray],  # of the scores of one query's hits
    absent: Callable[[FloatArray], float],
) -> Hits:
    """The documents with the most points, weighted and summed; of equal ones the first ranking's first."""
    _check(rankings)
    weights = _checked_weights(weights, len(rankings))
    k = min(as_count(k, "k"), max(ranking.indices.shape[1] for ranking in rankings))
    n_queries = len(rankings[0].indices)
    scores = np.full((n_queries, k), -np.inf, dtype=np.float32)
    kind = rankings[0].indices.dtype
    indices = np.full((n_queries, k), None if kind.kind == "O" else -1, dtype=kind)
    for query in range(n_queries):
        rows = []
        for ranking in rankings:
            there = ranking.found[query]
            rows.append((ranking.indices[query][there].tolist(), points(ranking.scores[query][there])))
        place: dict[object, int] = {}
        for documents, _ in rows:
            for document in documents:
                place.setdefault(document, len(place))
        total = np.zeros(len(place))
        for (documents, of_all), weight in zip(rows, weights, strict=True):
            row = np.full(len(place), absent(of_all))
            row[[place[document] for document in documents]] = of_all
            total += weight * row
        best = np.argsort(-total, kind="stable")[:k]
        every = list(place)
        scores[query, : len(best)] = total[best]
        indices[query, : len(best)] = [every[position] for position in best]
    return Hits(scores, indices)


def _check(rankings: Sequence[Hits]) -> None:
    if not rankings:
        raise ValueError("rankings is empty; pass at least one ranking")
    for number, ranking in enumerate(rankings):
        if not isinstance(ranking, Hits):
            raise TypeError(f"rankings[{number}] must be Hits, as a search returns, not {type(ranking).__name__}")
        if len(ranking.indices) != len(rankings[0].indices):
            raise ValueError(
                f"rankings[{number}] answers {len(ranking.indices)} queries and rankings[0] "
                f"{len(rankings[0].indices)}; fuse rankings of the same queries"
            )
        if not np.isfinite(ranking.scores[ranking.found]).all():
            raise ValueError(f"rankings[{number}] has scores that are not finite")


def _checked_weights(weights: Sequence[float] | None, n: int) -> Sequence[float]:
    if weights is None:
        return [1.0] * n
    if len(weights) != n:
        raise ValueError(f"weights must have one value for each of the {n} rankings, not {len(weights)}")
    if not all(np.isfinite(weights)) or min(weights) < 0 or not any(weights):
        raise ValueError(f"weights must be numbers of at least 0, one of them above 0, not {list(weights)}")
    return weights
