"""The best k of a corpus for each query, in float32 or certified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from semsearch_nb.exact import certified
from semsearch_nb.exact.first_pass import fastest
from semsearch_nb.exact.prepared import SCORES, Prepared, prepare
from semsearch_nb.exact.rows import as_rows, inverse_lengths, lengths
from semsearch_nb.vectors import Hits, IntArray, as_count

PRECISIONS = ("auto", "certified", "float32")
CERTIFIED_FROM = 20_000  # vectors; below that the dozens of small steps take longer than the product
FLOAT32_QUERIES = 256  # at once, times 16,384 vectors: 16 MB of scores
FLOAT32_BLOCK = 16_384


@dataclass(frozen=True)
class Report:
    """What a search did.

    Attributes:
        precision: `"certified"` or `"float32"`.
        first_pass: `"int8"`, `"bfloat16"`, or None without a first pass.
        survivors: `(n_queries,)`, the vectors that needed a float32 score.
        n_float32: queries that were searched in float32 altogether.
    """

    precision: str
    first_pass: str | None
    survivors: IntArray
    n_float32: int


def search(
    queries: Any,
    corpus: Any,
    k: int = 10,
    *,
    score: str | None = None,
    precision: str = "auto",
    device: str | None = None,
    block: int | None = None,
) -> Hits:
    """The `k` vectors of `corpus` with the highest score for each of `queries`, best first.

    The hits are those with the best float32 scores whatever the `precision`. Only a block of the
    scores exists at a time (32 MB at the default), whatever the size of the corpus.

    Args:
        queries: shape `(n_queries, dimension)`, NumPy or torch.
        corpus: shape `(n, dimension)`, NumPy (memory-mapped too) or torch; or what `prepare` returned.
        k: how many hits a query; where the corpus is smaller, all of it is returned.
        score: `"cosine"`, or `"dot"` for the plain inner product; without it that of the prepared
            corpus, else cosine. Vectors that have unit length already are not normalised again.
        precision: `"float32"`; `"certified"` for the coarse first pass, for which a corpus is
            prepared at this call if it was not before; `"auto"`: certified if the corpus is
            prepared and this machine gains by it.
        device: where to search; without it, where the corpus is.
        block: how many vectors of the corpus to score at a time.

    Returns:
        `Hits` with arrays of shape `(n_queries, min(k, n))`, torch tensors if the queries are.
        Equal scores come in the order of the corpus, except that which of several equals enters at
        the k-th place is not defined.

    Raises:
        TypeError: arrays that do not hold numbers, or a `k` that is not a whole number.
        ValueError: empty, not two-dimensional or not finite arrays, different dimensions, zero
            vectors under `"cosine"`, scores beyond float32's range, or `k` below 1.

    >>> hits = search([[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [2.0, 0.1]], k=2)
    >>> hits.indices.tolist(), hits.scores.round(3).tolist()
    ([[2, 1]], [[0.9990000128746033, 0.7070000171661377]])
    """
    return search_report(queries, corpus, k, score=score, precision=precision, device=device, block=block)[0]


def search_report(
    queries: Any,
    corpus: Any,
    k: int = 10,
    *,
    score: str | None = None,
    precision: str = "auto",
    device: str | None = None,
    block: int | None = None,
) -> tuple[Hits, Report]:
    """As `search`, and what the search did: the survivors of the first pass."""
    k, block = as_count(k, "k"), None if block is None else as_count(block, "block")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
    if isinstance(corpus, Prepared):
        if score not in (None, corpus.score):
            raise ValueError(f"score is {score!r}, and the corpus was prepared for {corpus.score!r}; prepare it again")
        if device is not None and torch.device(device) != corpus.device:
            raise ValueError(f"device is {device!r}, and the corpus was prepared on {corpus.device}; prepare it there")
        if precision == "auto":
            gains = len(corpus) >= CERTIFIED_FROM and fastest(str(corpus.device)) is not None
            precision = "certified" if gains else "float32"
    else:
        score = score or "cosine"
        if score not in SCORES:
            raise ValueError(f"score must be one of {SCORES}, not {score!r}")
        precision = "float32" if precision == "auto" else precision
        corpus = prepare(corpus, score=score, device=device) if precision == "certified" else corpus
    vectors = corpus.vectors if isinstance(corpus, Prepared) else as_rows(corpus, "corpus", device)
    query_rows = as_rows(queries, "queries", vectors.device)
    if query_rows.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"queries have {query_rows.shape[1]} dimensions and corpus has {vectors.shape[1]}; "
            "encode both with the same model"
        )
    query_lengths = lengths(query_rows, "queries")
    if isinstance(corpus, Prepared):
        score, inverse = corpus.score, corpus.inverse if len(corpus.inverse) else None
    else:
        corpus_lengths = lengths(vectors, "corpus")
        inverse = inverse_lengths(corpus_lengths, "corpus") if score == "cosine" else None
    if score == "cosine" and (factor := inverse_lengths(query_lengths, "queries")) is not None:
        query_rows = query_rows * factor[:, None]
    k = min(k, len(vectors))
    if isinstance(corpus, Prepared) and precision == "certified" and certified.fits(len(vectors), k):
        first_pass: str | None = corpus.first_pass
        parts = [
            _certified(rows, corpus, inverse, k, block) for rows in torch.split(query_rows, certified.QUERIES_AT_ONCE)
        ]
    else:
        precision, first_pass = "float32", None
        parts = [_float32(rows, vectors, inverse, k, block) for rows in torch.split(query_rows, FLOAT32_QUERIES)]
    scores, indices, survivors, given_up = (torch.cat(column) for column in zip(*parts, strict=True))
    if not torch.isfinite(scores).all():
        raise ValueError("scores exceed the range of float32; scale the vectors or use score='cosine'")
    scores, indices = _ties_in_order(scores, indices)
    report = Report(precision, first_pass, survivors.cpu().numpy(), int(given_up.sum()))
    if isinstance(queries, torch.Tensor):
        return Hits(scores, indices), report  # type: ignore[arg-type]
    return Hits(scores.cpu().numpy(), indices.cpu().numpy()), report


def _certified(
    queries: torch.Tensor, corpus: Prepared, inverse: torch.Tensor | None, k: int, block: int | None
) -> certified.Found:
    """Certified search, and float32 search for the queries that it gives up."""
    found = certified.search(corpus, queries, k, block)
    given_up = found.given_up.nonzero().squeeze(1)
    for some in torch.split(given_up, FLOAT32_QUERIES) if len(given_up) else ():
        plain = _float32(queries[some], corpus.vectors, inverse, k, block)
        found.scores[some], found.indices[some], found.survivors[some] = plain[:3]
    return found


def _float32(
    queries: torch.Tensor, corpus: torch.Tensor, inverse: torch.Tensor | None, k: int, block: int | None
) -> certified.Found:
    """The best `k` of the whole corpus for a block of queries: merge the best of each block."""
    block = block or FLOAT32_BLOCK
    best_scores = queries.new_empty((len(queries), 0))
    best_indices = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    for start in range(0, len(corpus), block):
        rows = corpus[start : start + block]
        scores = queries @ (rows if inverse is None else rows * inverse[start : start + block, None]).T
        block_scores, block_indices = scores.topk(min(k, scores.shape[1]), dim=1)
        best_scores = torch.cat([best_scores, block_scores], dim=1)
        best_indices = torch.cat([best_indices, block_indices + start], dim=1)
        if best_scores.shape[1] > k:
            best_scores, kept = best_scores.topk(k, dim=1)
            best_indices = best_indices.gather(1, kept)
    everything = torch.full((len(queries),), len(corpus), device=queries.device)
    return certified.Found(best_scores, best_indices, everything, torch.ones_like(everything, dtype=torch.bool))


def _ties_in_order(scores: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Equal scores in corpus order: sort by index, then stably by score."""
    order = indices.argsort(dim=1)
    scores, indices = scores.gather(1, order), indices.gather(1, order)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return scores.gather(1, order), indices.gather(1, order)
