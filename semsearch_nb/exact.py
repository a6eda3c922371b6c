"""Exact search: every query against every vector, the best k kept. Taught in notebook 02."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from semsearch_nb.vectors import Hits, as_count, as_vectors, unit_rows

SCORES = ("cosine", "dot")


def search(
    queries: Any,
    corpus: Any,
    k: int = 10,
    *,
    score: str = "cosine",
    query_block: int = 256,
    corpus_block: int = 16_384,
) -> Hits:
    """The `k` vectors of `corpus` with the highest score for each of `queries`, best first.

    Scores are float32 products, computed block by block: at most `query_block` × `corpus_block`
    scores (16 MB at the defaults) exist at a time, whatever the size of the corpus. Of each block
    only the best k are kept and merged with the best k so far.

    Args:
        queries: shape `(n_queries, dimension)`.
        corpus: shape `(n, dimension)`.
        k: how many hits a query; where the corpus is smaller, all of it is returned.
        score: `"cosine"`, or `"dot"` for the plain inner product. Vectors that have unit length
            already are not normalised again.

    Returns:
        `Hits` with arrays of shape `(n_queries, min(k, n))`. Equal scores come in the order of the
        corpus, except that which of several equals enters at the k-th place is not defined.

    Raises:
        TypeError: arrays that do not hold numbers, or a `k` that is not a whole number.
        ValueError: empty, not two-dimensional or not finite arrays, different dimensions, zero
            vectors under `"cosine"`, scores beyond float32's range, or `k` below 1.

    >>> hits = search([[1.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [2.0, 0.1]], k=2)
    >>> hits.indices.tolist(), hits.scores.round(3).tolist()
    ([[2, 1]], [[0.9990000128746033, 0.7070000171661377]])
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {SCORES}, not {score!r}")
    prepare = unit_rows if score == "cosine" else as_vectors
    query_rows = torch.from_numpy(_readable(prepare(queries, "queries")))
    corpus_rows = torch.from_numpy(_readable(prepare(corpus, "corpus")))
    if query_rows.shape[1] != corpus_rows.shape[1]:
        raise ValueError(
            f"queries have {query_rows.shape[1]} dimensions and corpus has {corpus_rows.shape[1]}; "
            "encode both with the same model"
        )
    k = min(as_count(k, "k"), len(corpus_rows))
    query_block = as_count(query_block, "query_block")
    corpus_block = as_count(corpus_block, "corpus_block")
    parts = [_search_block(rows, corpus_rows, k, corpus_block) for rows in torch.split(query_rows, query_block)]
    scores = torch.cat([part[0] for part in parts])
    if not torch.isfinite(scores).all():
        raise ValueError("scores exceed the range of float32; scale the vectors or use score='cosine'")
    indices = torch.cat([part[1] for part in parts])
    return Hits(scores.numpy(), indices.numpy())


def _search_block(
    queries: torch.Tensor, corpus: torch.Tensor, k: int, corpus_block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best `k` of the whole corpus for a block of queries: merge the best of each block."""
    best_scores = queries.new_empty((len(queries), 0))
    best_indices = torch.empty((len(queries), 0), dtype=torch.int64)
    for start in range(0, len(corpus), corpus_block):
        scores = queries @ corpus[start : start + corpus_block].T
        block_scores, block_indices = scores.topk(min(k, scores.shape[1]), dim=1)
        best_scores = torch.cat([best_scores, block_scores], dim=1)
        best_indices = torch.cat([best_indices, block_indices + start], dim=1)
        if best_scores.shape[1] > k:
            best_scores, kept = best_scores.topk(k, dim=1)
            best_indices = best_indices.gather(1, kept)
    # Equal scores in corpus order: sort by index, then stably by score.
    order = best_indices.argsort(dim=1)
    best_scores, best_indices = best_scores.gather(1, order), best_indices.gather(1, order)
    order = best_scores.argsort(dim=1, descending=True, stable=True)
    return best_scores.gather(1, order), best_indices.gather(1, order)


def _readable(matrix: np.ndarray) -> np.ndarray:
    """torch warns about arrays that it could write through, such as a memory map: give it a copy."""
    return matrix if matrix.flags.writeable else matrix.copy()
