"""How good is a ranking? Metrics a query, and intervals that say what a difference is worth.

A run holds, for each query, the ids of its hits, best first. Every metric returns one value a
query, shape `(n_queries,)`, in the order of the qrels; a query without hits scores 0. Definitions
are those of trec_eval, so the values agree with `ir-measures`. Taught in notebook 01.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from semsearch_nb.vectors import Hits, as_count

Run = Mapping[str, Sequence[str]]
Qrels = Mapping[str, Mapping[str, int]]
Values = np.ndarray[Any, np.dtype[np.float64]]


def as_run(hits: Hits, query_ids: Sequence[str], document_ids: Sequence[str] | None = None) -> dict[str, list[str]]:
    """The ids behind `hits`: row i belongs to `query_ids[i]`, index j to `document_ids[j]`.

    Without `document_ids` the hits must hold ids themselves, as those of an index with strings do.
    Places without a hit are left out.

    Raises:
        ValueError: the numbers of queries differ, or an index lies outside the documents.
    """
    if len(hits.indices) != len(query_ids):
        raise ValueError(f"hits has {len(hits.indices)} rows and query_ids has {len(query_ids)}; they must match")
    if document_ids is None:
        if hits.indices.dtype != object:
            raise ValueError("document_ids is missing, and hits has row numbers; pass the ids of the rows searched")
        return {
            query_id: row[there].tolist()
            for query_id, row, there in zip(query_ids, hits.indices, hits.found, strict=True)
        }
    named = hits.indices[hits.found]
    if named.size and not 0 <= named.min() <= named.max() < len(document_ids):
        raise ValueError(
            f"hits has indices from {named.min()} to {named.max()} and document_ids has "
            f"{len(document_ids)}; pass the documents that were searched, in the same order"
        )
    return {
        query_id: [document_ids[index] for index in row[there].tolist()]
        for query_id, row, there in zip(query_ids, hits.indices, hits.found, strict=True)
    }


def ndcg_at_k(run: Run, qrels: Qrels, k: int = 10) -> Values:
    """Normalised discounted cumulative gain: DCG@k / that of the ideal ranking.

    DCG@k = Σ grade_i / log₂(i + 1) over the ranks i = 1 … k (Järvelin and Kekäläinen 2002, with the
    discount of trec_eval's `ndcg_cut`).

    >>> ndcg_at_k({"q": ["d2", "d1"]}, {"q": {"d1": 2, "d2": 1}}).round(4).tolist()
    [0.8597]
    """

    def ndcg(grades: list[int], judged: Mapping[str, int]) -> float:
        ideal = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
        return _dcg(grades) / _dcg(ideal) if ideal else 0.0

    return _each_query(ndcg, run, qrels, k)


def recall_at_k(run: Run, qrels: Qrels, k: int = 10) -> Values:
    """Relevant documents among the first k / all relevant documents.

    >>> recall_at_k({"q": ["d1", "x"]}, {"q": {"d1": 1, "d2": 1}}, k=2).tolist()
    [0.5]
    """

    def recall(grades: list[int], judged: Mapping[str, int]) -> float:
        relevant = sum(grade > 0 for grade in judged.values())
        return sum(grade > 0 for grade in grades) / relevant if relevant else 0.0

    return _each_query(recall, run, qrels, k)


def precision_at_k(run: Run, qrels: Qrels, k: int = 10) -> Values:
    """Relevant documents among the first k / k, also where fewer than k were returned.

    >>> precision_at_k({"q": ["d1", "x"]}, {"q": {"d1": 1, "d2": 1}}, k=4).tolist()
    [0.25]
    """
    return _each_query(lambda grades, judged: sum(grade > 0 for grade in grades) / k, run, qrels, k)


def mrr_at_k(run: Run, qrels: Qrels, k: int = 10) -> Values:
    """1 / rank of the first relevant document, 0 if it is not among the first k.

    >>> mrr_at_k({"q": ["x", "d1"]}, {"q": {"d1": 1}}).tolist()
    [0.5]
    """

    def reciprocal_rank(grades: list[int], judged: Mapping[str, int]) -> float:
        return next((1 / rank for rank, grade in enumerate(grades, 1) if grade > 0), 0.0)

    return _each_query(reciprocal_rank, run, qrels, k)


class Interval(NamedTuple):
    """A mean with the bounds of its bootstrap confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: Sequence[float] | Values, *, level: float = 0.95, n: int = 10_000, seed: int = 0) -> Interval:
    """The mean of `values` and its percentile bootstrap interval (Efron 1979).

    `n` samples of the queries are drawn with replacement; the interval holds the central `level`
    of their means.

    Raises:
        ValueError: no values, values that are not finite, or a `level` outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(f"values must be one number a query, at least one; their shape is {sample.shape}")
    if not np.isfinite(sample).all():
        raise ValueError("values must be finite; one is NaN or infinite")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level!r}")
    generator = np.random.default_rng(seed)
    means = np.empty(as_count(n, "n"))
    step = max(1, 4_000_000 // len(sample))  # resamples held in memory at a time
    for start in range(0, n, step):
        drawn = generator.integers(0, len(sample), size=(min(step, n - start), len(sample)))
        means[start : start + step] = sample[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(sample.mean()), float(low), float(high))


def paired_bootstrap(
    a: Sequence[float] | Values, b: Sequence[float] | Values, *, level: float = 0.95, n: int = 10_000, seed: int = 0
) -> Interval:
    """The mean of a − b over the same queries, with its interval.

    Queries are resampled with both of their values, which removes what is hard or easy about them.
    If the interval excludes zero, the two systems differ by more than the choice of queries.

    Raises:
        ValueError: also where the numbers of values differ.
    """
    if np.shape(a) != np.shape(b):
        raise ValueError(f"a and b must have one value for each query: shapes {np.shape(a)} and {np.shape(b)}")
    return bootstrap(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), level=level, n=n, seed=seed)


def _each_query(metric: Callable[[list[int], Mapping[str, int]], float], run: Run, qrels: Qrels, k: int) -> Values:
    """`metric` of the grades of the first k hits of every judged query."""
    k = as_count(k, "k")
    if not qrels:
        raise ValueError("qrels is empty; without judged queries there is nothing to measure")
    values = []
    for query_id, judged in qrels.items():
        hits = run.get(query_id, ())
        if len(set(hits)) != len(hits):
            raise ValueError(f"run lists a document twice for the query {query_id!r}; a document counts once")
        values.append(metric([judged.get(hit, 0) for hit in hits[:k]], judged))
    return np.array(values, dtype=np.float64)


def _dcg(grades: Sequence[int]) -> float:
    return float(sum(max(grade, 0) / np.log2(rank + 1) for rank, grade in enumerate(grades, 1)))
