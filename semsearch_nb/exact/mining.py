"""All pairs of a corpus that score high with each other: near duplicates, paraphrases.

Every vector is a query against all that follow it, by the scheme of `certified`. Taught in
notebook 03.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from semsearch_nb.exact import certified
from semsearch_nb.exact.certified import Scan
from semsearch_nb.exact.prepared import GROUP, Prepared, prepare, rows_at
from semsearch_nb.exact.rows import CHUNK
from semsearch_nb.exact.top_k import search
from semsearch_nb.vectors import FloatArray, IntArray, as_count


class Pairs(NamedTuple):
    """Pairs of rows of a corpus, the best first: `scores`, and the rows `first` < `second`.

    All of shape `(n_pairs,)`; equal scores come in the order of the rows.
    """

    scores: FloatArray
    first: IntArray
    second: IntArray


def mine(
    corpus: Any,
    *,
    k: int | None = None,
    threshold: float | None = None,
    max_pairs: int = 500_000,
    score: str | None = None,
) -> Pairs:
    """The pairs of `corpus` that score best: those of each vector with its `k` nearest, or all that
    reach `threshold`, each pair once.

    Args:
        corpus: shape `(n, dimension)`, NumPy or torch; or what `exact.prepare` returned.
        k: how many neighbours of each vector, itself not counted.
        threshold: the least score of a pair. Give `k` or `threshold`, not both.
        max_pairs: how many pairs to return at most; the best are kept.
        score: `"cosine"` (the default) or `"dot"`.

    Raises:
        TypeError, ValueError: as `exact.search`; and where not one of `k` and `threshold` is given.

    >>> mine([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]], threshold=0.5)[1:]
    (array([0]), array([2]))
    """
    if (k is None) == (threshold is None):
        raise ValueError("give k (neighbours of each vector) or threshold (the least score), one of them")
    max_pairs = as_count(max_pairs, "max_pairs")
    if isinstance(corpus, Prepared):
        if score not in (None, corpus.score):
            raise ValueError(f"score is {score!r}, and the corpus was prepared for {corpus.score!r}; prepare it again")
    else:
        corpus = prepare(corpus, score=score or "cosine")
    if threshold is not None:
        if not np.isfinite(threshold):
            raise ValueError(f"threshold must be a number, not {threshold!r}")
        found = _above(corpus, float(threshold), max_pairs)
    else:
        found = _nearest(corpus, as_count(k, "k"))
    return _best(found, max_pairs)


def _above(corpus: Prepared, threshold: float, max_pairs: int) -> list[torch.Tensor]:
    """Scores, first and second rows of the pairs that reach the threshold.

    Where more than `max_pairs` do, the threshold rises to the worst of the best `max_pairs`.
    """
    grouped = corpus.order.long()
    kept = [corpus.vectors.new_empty(0), grouped[:0], grouped[:0]]
    n_groups = len(corpus.scale)
    at_once = certified.QUERIES_AT_ONCE // GROUP
    for begin in range(0, n_groups, at_once):
        rows = grouped[begin * GROUP : (begin + at_once) * GROUP]
        scan = Scan(corpus, rows_at(corpus, rows))
        step = certified.SCORES_AT_ONCE // len(rows) // GROUP
        scores = torch.empty(len(rows) * step * GROUP, dtype=scan.first_pass.results, device=corpus.device)
        for first in range(begin, n_groups, step):  # what stands before has met these queries already
            scan.raise_to(torch.full((len(rows),), threshold, device=corpus.device))
            of_members = scan.multiply(first, min(first + step, n_groups), scores)
            scan.pick(of_members, of_members.amax(dim=2), first)
            pairs = scan.survivors()
            scan.pairs = []
            later = pairs.position > pairs.query + begin * GROUP
            query, position = pairs.query[later], pairs.position[later]
            found = certified.exact_scores(corpus, scan.queries, query, position)
            enough = found >= threshold
            new = [found[enough], rows[query[enough]], grouped[position[enough]]]
            kept = [torch.cat(both) for both in zip(kept, new, strict=True)]
            if len(kept[0]) > 2 * max_pairs:
                best = kept[0].topk(max_pairs).indices
                kept = [column[best] for column in kept]
                threshold = float(kept[0].min())
    return _with_the_rest(corpus, kept, threshold)


def _with_the_rest(corpus: Prepared, kept: list[torch.Tensor], threshold: float) -> list[torch.Tensor]:
    """Add the pairs of the few vectors that are in no group."""
    rest = torch.arange(len(corpus.order), len(corpus), device=corpus.device)
    for row in rest:
        before = torch.arange(int(row), device=corpus.device)
        for some in torch.split(before, CHUNK):
            scores = rows_at(corpus, some) @ rows_at(corpus, row[None])[0]
            hits = (scores >= threshold).nonzero().squeeze(1)
            new = [scores[hits], some[hits], row.expand(len(hits))]
            kept = [torch.cat(both) for both in zip(kept, new, strict=True)]
    return kept


def _nearest(corpus: Prepared, k: int) -> list[torch.Tensor]:
    """Scores, first and second rows of the pairs of each vector with its `k` nearest."""
    n = len(corpus)
    kept = []
    for some in torch.split(torch.arange(n, device=corpus.device), certified.QUERIES_AT_ONCE):
        # One more than asked for, as a vector finds itself, or k copies of itself.
        hits = search(rows_at(corpus, some), corpus, k + 1)
        scores, indices = torch.as_tensor(hits.scores), torch.as_tensor(hits.indices)
        other = indices != some[:, None]
        other &= other.cumsum(dim=1) <= k
        query = some[:, None].expand_as(indices)[other]
        kept.append((scores[other], query, indices[other]))
    return [torch.cat(column) for column in zip(*kept, strict=True)]


def _best(found: list[torch.Tensor], max_pairs: int) -> Pairs:
    """Each pair once, the best first."""
    scores, one, other = (column.cpu().numpy() for column in found)
    first, second = np.minimum(one, other), np.maximum(one, other)
    _, once = np.unique(np.stack([first, second]), axis=1, return_index=True)
    order = once[np.lexsort((second[once], first[once], -scores[once]))][:max_pairs]
    return Pairs(scores[order], first[order].astype(np.int64), second[order].astype(np.int64))
