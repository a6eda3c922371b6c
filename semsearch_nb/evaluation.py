"""How good is a ranking? Metrics a query, and intervals that say what a difference is worth.

A run holds, for each query, the ids of its hits, best first, or a score for each id, as BEIR, pytrec_eval and
ranx have it. Every metric returns one value a query, shape `(n_queries,)`, in the order of the qrels; a query
without hits scores 0. Definitions are those of trec_eval, so the values agree with `ir-measures`. Taught in
notebook 01.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from semsearch_nb.vectors import Hits, as_count

Run = Mapping[str, Sequence[str] | Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, float]]
Values = np.ndarray[Any, np.dtype[np.float64]]


def as_run(
    hits: Hits, query_ids: Iterable[Any], document_ids: Iterable[Any] | None = None, *, skip_self: bool = False
) -> dict[str, list[str]]:
    """The ids behind `hits`, best first, by query. Empty places are left out; whole-number ids become strings.

    Args:
        query_ids: one a row of `hits`.
        document_ids: of the corpus that was searched, in its order, where `hits` hold rows; not where they hold ids.
        skip_self: leave out the document that has the query's own id, where queries are documents too, as in
            ArguAna. Search for one hit more, then.

    Raises:
        TypeError: no `Hits`, or an id that is neither a string nor a whole number.
        ValueError: arguments that do not go together, or a query id that occurs twice.
    """
    if not isinstance(hits, Hits):
        raise TypeError(f"hits must be Hits, as a search returns, not {type(hits).__name__}")
    hits, queries = hits.numpy(), [_as_id(query, "query_ids") for query in query_ids]
    if len(hits) != len(queries):
        raise ValueError(f"hits has {len(hits)} rows and query_ids has {len(queries)}; they must match")
    if len(set(queries)) < len(queries):
        twice = next(query for position, query in enumerate(queries) if query in queries[:position])
        raise ValueError(f"query_ids holds {twice!r} twice; a query is asked once")
    if hits.holds == "rows":
        if document_ids is None:
            raise ValueError("document_ids is missing, and hits has row numbers; pass the ids of the rows searched")
        documents, rows = list(document_ids), hits.indices[hits.found]
        if rows.size and not 0 <= rows.min() <= rows.max() < len(documents):
            raise ValueError(
                f"hits has indices from {rows.min()} to {rows.max()} and document_ids has {len(documents)}; "
                "pass the documents that were searched, in the same order"
            )
    elif document_ids is not None:
        raise ValueError("hits hold ids already, so that document_ids would name others; leave document_ids out")
    run: dict[str, list[str]] = {}
    for query, row, there in zip(queries, hits.indices, hits.found, strict=True):
        if hits.holds == "rows":
            named = [_as_id(documents[index], "document_ids") for index in row[there]]
        else:
            named = [_as_id(value, "hits") for value in row[there].tolist()]
        run[query] = [name for name in named if not (skip_self and name == query)]
    return run


def ndcg_at_k(run: Run, qrels: Qrels, k: int = 10) -> Values:
    """Normalised discounted cumulative gain: DCG@k / that of the ideal ranking.

    DCG@k = Σ grade_i / log₂(i + 1) over the ranks i = 1 … k (Järvelin and Kekäläinen 2002, with the
    discount of trec_eval's `ndcg_cut`).

    >>> ndcg_at_k({"q": ["d2", "d1"]}, {"q": {"d1": 2, "d2": 1}}).round(4).tolist()
    [0.8597]
    """

    def ndcg(grades: list[float], judged: Mapping[str, float]) -> float:
        ideal = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
        return _dcg(grades) / _dcg(ideal) if ideal else 0.0

    return _each_query(ndcg, run, qrels, k)


def recall_at_k(run: Run, qrels: Qrels, k: int = 10) -> Values:
    """Relevant documents among the first k / all relevant documents.

    >>> recall_at_k({"q": ["d1", "x"]}, {"q": {"d1": 1, "d2": 1}}, k=2).tolist()
    [0.5]
    """

    def recall(grades: list[float], judged: Mapping[str, float]) -> float:
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

    def reciprocal_rank(grades: list[float], judged: Mapping[str, float]) -> float:
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
        """With the digits that the interval carries: a third decimal where it is narrower than 0.02.

        >>> str(Interval(0.732, 0.691, 0.772)), str(Interval(0.752, 0.744, 0.760))
        ('0.73 [0.69, 0.77]', '0.752 [0.744, 0.760]')
        """
        digits = 2 if self.high - self.low >= 0.02 else 3
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


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


def _each_query(metric: Callable[[list[float], Mapping[str, float]], float], run: Run, qrels: Qrels, k: int) -> Values:
    """`metric` of the grades of the first k hits of every judged query."""
    k = as_count(k, "k")
    _check_qrels(qrels)
    if not isinstance(run, Mapping):
        raise TypeError(f"run must be a dictionary of queries, as as_run returns, not {type(run).__name__}")
    if run and not any(query in qrels for query in run):
        both = f"its ids are like {next(iter(run))!r}, those of qrels like {next(iter(qrels))!r}"
        raise ValueError(f"run answers no query of qrels: {both}")
    kinds = {_kind(document) for judged in qrels.values() for document in judged}
    ranked = {query: _ranked(run.get(query, ()), query, kinds)[:k] for query in qrels}
    values = [metric([judged.get(hit, 0) for hit in ranked[query]], judged) for query, judged in qrels.items()]
    return np.array(values, dtype=np.float64)


def _check_qrels(qrels: Qrels) -> None:
    if not isinstance(qrels, Mapping):
        raise TypeError(f"qrels must be {{query: {{document: grade}}}}, not {type(qrels).__name__}")
    if not qrels:
        raise ValueError("qrels is empty; without judged queries there is nothing to measure")
    for query, judged in qrels.items():
        if not isinstance(judged, Mapping):
            raise TypeError(f"qrels[{query!r}] must be {{document: grade}}, not {type(judged).__name__}")


def _ranked(hits: Any, query: str, kinds: set[type]) -> list[Any]:
    """The ids of a query's hits, best first; of equal scores the first stays first."""
    if isinstance(hits, str):
        raise TypeError(f"run[{query!r}] must be a list of ids, not one string")
    if isinstance(hits, Mapping):
        if not all(score == score for score in hits.values()):
            raise ValueError(f"run[{query!r}] has a score that is not a number (NaN)")
        hits = sorted(hits, key=hits.__getitem__, reverse=True)
    listed: list[Any] = list(hits)
    for hit in listed:
        if kinds and _kind(hit) not in kinds:
            wanted = " or ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(
                f"run[{query!r}] must hold ids of the type {wanted}, as qrels does, and holds {hit!r:.60}; "
                "pass ids, best first, or {id: score}"
            )
    if len(set(listed)) != len(listed):
        raise ValueError(f"run lists a document twice for the query {query!r}; a document counts once")
    return listed


def _kind(value: Hashable) -> type:
    return str if isinstance(value, str) else int if isinstance(value, Integral) else type(value)


def _as_id(value: Any, name: str) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    raise TypeError(f"{name} must hold strings or whole numbers, and holds {value!r:.60}")


def _dcg(grades: Sequence[float]) -> float:
    return float(sum(max(grade, 0) / np.log2(rank + 1) for rank, grade in enumerate(grades, 1)))
