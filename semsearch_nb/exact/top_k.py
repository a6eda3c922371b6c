"""The best k of a corpus for each query, in float32 or certified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from semsearch_nb.exact import certified
from semsearch_nb.exact.first_pass import PLAIN, gains
from semsearch_nb.exact.prepared import Prepared, check_score, of_units, prepare, uncoded
from semsearch_nb.exact.rows import as_device, as_rows, full_precision, lengths, scaled
from semsearch_nb.vectors import FloatArray, Hits, IntArray, are_units, as_count, as_numpy

PRECISIONS = ("auto", "certified", "float32")
CERTIFIED_FROM = 20_000  # vectors; below that the dozens of small steps take longer than the product


@dataclass(frozen=True)
class Report:
    """What a search did.

    Attributes:
        precision: `"certified"` or `"float32"`.
        first_pass: `"int8"`, `"bfloat16"`, or None without a first pass.
        survivors: `(n_queries,)`, the vectors that needed a float32 score.
        n_float32: queries for which that were all vectors.
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

    The score of a pair is a float32 dot product that is computed in one way, so the hits are the same to
    the last bit whatever the `precision`, the `block` or the other queries are. (Only where more than 1,024 vectors
    a hit differ by no more than rounding from the last of the best, the last places may go to any of these.) The
    corpus is read once
    from end to end; only a block of the scores exists at a time (32 MB at the default), whatever the
    size of the corpus, and the best k of all queries.

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
        Equal vectors have equal scores, and equal scores come in the order of the corpus; so of
        several equals the first enter at the k-th place.

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
    if not isinstance(corpus, Prepared) and precision == "certified":
        corpus = prepare(corpus, score=score or "cosine", device=device)
    found = None
    if isinstance(corpus, Prepared):
        require_same(corpus, score, device)
        rows, factors = query_rows(queries, corpus.vectors, corpus.score)
    else:
        vectors = as_rows(corpus, "corpus", None if device is None else as_device(device))
        rows, factors = query_rows(queries, vectors, score or "cosine")
        corpus = of_units(vectors)
        if len(rows) == 1 and score != "dot":  # then the corpus is read once, if its lengths are 1
            found = certified.search_one(corpus, rows, min(k, len(corpus)), unchecked=True)
        if found is None:
            corpus = uncoded(vectors, score or "cosine", None)
    k = min(k, len(corpus))
    coded = precision == "certified" or (
        precision == "auto"
        and corpus.first_pass != PLAIN.name  # without codes there is nothing to try the products for
        and len(corpus) >= CERTIFIED_FROM
        and gains(str(corpus.device), len(rows)) is not None
    )
    if not coded or not certified.fits(len(corpus), k) or corpus.product() is None:
        corpus = corpus.plain()
    with full_precision():
        found = found or certified.search(corpus, rows, k, block)
    plain = corpus.first_pass == PLAIN.name
    if plain:
        found.survivors.fill_(len(corpus))
        found.given_up.fill_(True)
    scores = in_given_units(found.scores, factors, corpus)
    report = Report(
        "float32" if plain else "certified",
        None if plain else corpus.first_pass,
        found.survivors.cpu().numpy(),
        int(found.given_up.sum()),
    )
    if isinstance(queries, torch.Tensor):
        return Hits(scores, found.rows), report
    return Hits(scores.cpu().numpy(), found.rows.cpu().numpy()), report


def score_pairs(queries: Any, corpus: Any, indices: Any, *, score: str | None = None) -> FloatArray:
    """The scores of given rows of `corpus`: of row `indices[i, j]` for query i, as `search` has them, to the last bit.

    With it, what another search found is compared with what `search` did.

    Args:
        indices: whole numbers of shape `(n_queries, any)`; an empty place (-1) has the score -inf.

    Raises:
        TypeError, ValueError: as `search`; and where `indices` are no rows of the corpus.
    """
    if not isinstance(corpus, Prepared):
        corpus = uncoded(corpus, score or "cosine", None)
    require_same(corpus, score, None)
    rows, factors = query_rows(queries, corpus.vectors, corpus.score)
    asked = as_numpy(indices)
    if asked.dtype.kind not in "iu" or asked.ndim != 2 or len(asked) != len(rows):
        raise ValueError(f"indices must be whole numbers of shape ({len(rows)}, any), not {asked.dtype} {asked.shape}")
    if asked.size and (asked.max() >= len(corpus) or asked.min() < -1):
        raise ValueError(f"indices must be rows below {len(corpus)}, or -1; they lie in {asked.min()} to {asked.max()}")
    at = torch.from_numpy(asked.astype(np.int64)).to(corpus.device)
    query = torch.arange(len(rows), device=at.device).repeat_interleave(at.shape[1])
    found = certified.scores_of_pairs(corpus, rows, query, at.clamp_min(0).view(-1)).view(at.shape)
    scores: FloatArray = in_given_units(found, factors, corpus).cpu().numpy()
    return np.where(asked < 0, np.float32(-np.inf), scores)


def require_same(corpus: Prepared, score: str | None, device: str | None) -> None:
    """Raise ValueError where a corpus was prepared for something else than what is asked for now."""
    if score not in (None, corpus.score):
        raise ValueError(f"score is {score!r}, and the corpus was prepared for {corpus.score!r}; prepare it again")
    if device is not None and as_device(device) != corpus.device:
        raise ValueError(f"device is {device!r}, and the corpus was prepared on {corpus.device}; prepare it there")


def query_rows(queries: Any, vectors: torch.Tensor, score: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries of length 1 (between ½ and 1 under `"dot"`), and what they were multiplied by, `(n,)` or empty."""
    check_score(score)
    rows = as_rows(queries, "queries", vectors.device)
    if rows.shape[1] != vectors.shape[1]:
        raise ValueError(
            f"queries have {rows.shape[1]} dimensions and corpus has {vectors.shape[1]}; "
            "encode both with the same model"
        )
    found = lengths(rows, "queries", may_be_zero=score == "dot")
    if score == "dot":
        exponents = torch.from_numpy(np.frexp(as_numpy(found))[1]).to(found.device)
        factors = torch.ldexp(torch.ones_like(found), -exponents)
    else:
        factors = found[:0] if are_units(as_numpy(found)) else 1 / found
    return scaled(rows, factors), factors


def in_given_units(scores: torch.Tensor, factors: torch.Tensor, corpus: Prepared) -> torch.Tensor:
    """Scores of the vectors that were given: under `"dot"` these were multiplied by powers of two."""
    if corpus.score == "cosine":
        return scores
    given = scores.to(factors.dtype) / factors[:, None] / (corpus.factors if len(corpus.factors) else 1)
    if not torch.isfinite(given.float()).all():
        raise ValueError("scores exceed the range of float32; scale the vectors or use score='cosine'")
    return given.float()
