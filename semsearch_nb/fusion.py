"""One ranking out of several, where their scores cannot be compared. Taught in notebook 05.

BM25 gives sums without an upper bound, a bi-encoder cosines, a cross-encoder logits. Fusion makes
them comparable first: by rank (`reciprocal_rank`) or by the spread of the scores (`standard_scores`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from numbers import Real
from typing import Any

import numpy as np

from semsearch_nb import evaluation
from semsearch_nb.vectors import Hits, as_count

Fuse = Callable[..., Hits]
Points = np.ndarray[Any, np.dtype[np.float64]]

LEAST_SPREAD = 1e-6  # of the largest |score|; less is the rounding of float32 scores that are all equal


def reciprocal_rank(
    rankings: Sequence[Hits], k: int = 10, *, weights: Sequence[float] | None = None, constant: float = 60
) -> Hits:
    """Σ weight / (constant + rank) over the rankings that hold a document (Cormack, Clarke and Büttcher 2009).

    A document that a ranking does not hold gets nothing from it. So the deeper the rankings, the more it counts to
    be in all of them: where one ranking is much weaker, `cut` them to some ten hits, or take `standard_scores`.

    Args:
        rankings: hits of the same queries over the same documents, all rows or all ids, in NumPy or torch.
            Empty places are left out.
        k: hits a query; at most as many as the longest ranking has.
        weights: one a ranking; without them all are 1.

    Returns:
        Hits of the shape `(n_queries, k)` that hold what the rankings hold. Ties keep the order of the first
        ranking, then that of the next ones.

    Raises:
        TypeError, ValueError: rankings that do not go together, or an argument that is not so; it is named.
    """
    if constant < 0:
        raise ValueError(f"constant must be at least 0, not {constant!r}")
    return _fuse(rankings, k, weights, lambda scores: 1 / (constant + np.arange(1, len(scores) + 1)), absent=None)


def standard_scores(rankings: Sequence[Hits], k: int = 10, *, weights: Sequence[float] | None = None) -> Hits:
    """Σ weight · z, where z = (score − mean) / standard deviation over a ranking's hits of the query.

    A weighted CombSUM (Fox and Shaw 1994) of z-scores (Renda and Straccia 2003). A document that a ranking does
    not hold counts as the last one that it holds. Equal scores say nothing and give no points, and so does a
    ranking of a single hit. With weights tuned in nested folds of six judged sets this is better than reciprocal
    ranks, and the former rule z·z₁ is no better (nDCG@10 -0.0012 [-0.0029, +0.0004]): benchmarks/results/fusion.md.
    Arguments, result and errors are those of `reciprocal_rank`.
    """
    return _fuse(rankings, k, weights, _z, absent=np.min)


def learn_weights(
    rankings: Sequence[Hits],
    qrels: evaluation.Qrels,
    query_ids: Iterable[Any],
    document_ids: Iterable[Any] | None = None,
    *,
    fuse: Fuse = standard_scores,
    steps: int = 10,
) -> tuple[float, ...]:
    """The weights, in steps of 1 / `steps` and with the sum 1, that give the best mean nDCG@10.

    Fifty judged queries do; measure on others. Of weights that are equally good the most even are chosen. The ids are
    those of `evaluation.as_run`.
    """
    query_ids, steps = list(query_ids), as_count(steps, "steps")
    document_ids = None if document_ids is None else list(document_ids)
    parts = [part for part in product(range(steps + 1), repeat=len(rankings)) if sum(part) == steps]
    parts.sort(key=lambda part: sum(share**2 for share in part))

    def quality(part: Sequence[int]) -> float:
        hits = fuse(rankings, 10, weights=[share / steps for share in part])
        run = evaluation.as_run(hits, query_ids, document_ids)
        return float(evaluation.ndcg_at_k(run, qrels).mean())

    return tuple(share / steps for share in max(parts, key=quality))


def _z(scores: Points) -> Points:
    spread = scores.std()
    if spread <= LEAST_SPREAD * np.abs(scores).max():
        return np.zeros_like(scores)
    standard: Points = (scores - scores.mean()) / spread
    return standard


def _fuse(
    rankings: Sequence[Hits],
    k: int,
    weights: Sequence[float] | None,
    points: Callable[[Points], Points],  # of the scores of one query's hits, at least one
    absent: Callable[[Points], Any] | None,  # points of a document that is not among the hits; without it 0
) -> Hits:
    """The documents with the most points, weighted and summed; of equal ones the first ranking's first."""
    rankings = _checked(rankings)
    weights = _checked_weights(weights, len(rankings))
    k = min(as_count(k, "k"), max(ranking.indices.shape[1] for ranking in rankings))
    kind = rankings[0].indices.dtype
    rows = []
    for query in range(len(rankings[0])):
        found = [(r.indices[query][there], r.scores[query][there]) for r in rankings for there in [r.found[query]]]
        place = {document: i for i, document in enumerate(dict.fromkeys(d for hits, _ in found for d in hits.tolist()))}
        total = np.zeros(len(place))
        for (documents, its_scores), weight in zip(found, weights, strict=True):
            if len(documents):
                of_hits = points(its_scores.astype(np.float64))
                row = np.full(len(place), absent(of_hits) if absent else 0.0)
                row[[place[document] for document in documents.tolist()]] = of_hits
                total += weight * row
        best = np.argsort(-total, kind="stable")[:k]
        rows.append((total[best], np.array(list(place), dtype=kind)[best]))
    return Hits.of_rows(rows, k, rankings[0].holds, kind=kind)


def _checked(rankings: Sequence[Hits]) -> list[Hits]:
    """The rankings in NumPy, if they go together."""
    if isinstance(rankings, Hits):
        raise TypeError("rankings must be a list of Hits; pass [hits]")
    if not rankings:
        raise ValueError("rankings is empty; pass at least one ranking")
    for number, ranking in enumerate(rankings):
        if not isinstance(ranking, Hits):
            raise TypeError(f"rankings[{number}] must be Hits, as a search returns, not {type(ranking).__name__}")
    rankings = [ranking.numpy() for ranking in rankings]
    first = rankings[0]
    for number, ranking in enumerate(rankings):
        if len(ranking) != len(first):
            both = f"{len(ranking)} queries and rankings[0] {len(first)}"
            raise ValueError(f"rankings[{number}] answers {both}; fuse rankings of the same queries")
        if _content(ranking) != _content(first):
            both = f"{_content(ranking)} and rankings[0] holds {_content(first)}"
            raise ValueError(f"rankings[{number}] holds {both}; fuse rankings that name documents alike")
        if not np.isfinite(ranking.scores[ranking.found]).all():
            raise ValueError(f"rankings[{number}] has scores that are not finite")
    return rankings


def _content(ranking: Hits) -> str:
    if ranking.holds == "rows":
        return "rows"
    return "ids that are strings" if ranking.indices.dtype.kind == "O" else "ids that are whole numbers"


def _checked_weights(weights: Sequence[float] | None, n: int) -> list[float]:
    listed = [1.0] * n if weights is None else list(weights)
    if len(listed) != n:
        raise ValueError(f"weights must have one value for each of the {n} rankings, not {len(listed)}")
    if not all(isinstance(w, Real) and np.isfinite(w) and w >= 0 for w in listed) or not any(listed):
        raise ValueError(f"weights must be numbers of at least 0, one of them above 0, not {listed}")
    return [float(weight) for weight in listed]
