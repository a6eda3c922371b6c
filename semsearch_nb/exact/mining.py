"""All pairs of a corpus that score high with each other: near duplicates, paraphrases.

Every vector is a query against all that follow it, by the scheme of `certified`. Taught in
notebook 03.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch

from semsearch_nb.exact import certified
from semsearch_nb.exact.certified import Scan
from semsearch_nb.exact.first_pass import QUERIES_AT_ONCE, SCORES_AT_ONCE
from semsearch_nb.exact.prepared import GROUP, Prepared, prepare
from semsearch_nb.exact.rows import full_precision
from semsearch_nb.exact.top_k import in_given_units, require_same
from semsearch_nb.vectors import FloatArray, IntArray, as_count

STEP = SCORES_AT_ONCE // QUERIES_AT_ONCE  # rows that meet 1,024 others at once
NEAREST_AT_ONCE = 65_536  # rows whose neighbours are looked for in one pass over the corpus


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
        max_pairs: how many pairs to return at most; the best are kept. Which of several with one score
            come in at the last place is not defined.
        score: `"cosine"` (the default) or `"dot"`.

    Raises:
        TypeError, ValueError: as `exact.search`; and where not one of `k` and `threshold` is given.

    >>> mine([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]], threshold=0.5)[1:]
    (array([0]), array([2]))
    """
    if (k is None) == (threshold is None):
        raise ValueError("give k (neighbours of each vector) or threshold (the least score), one of them")
    max_pairs = as_count(max_pairs, "max_pairs")
    if threshold is not None and (not isinstance(threshold, (Real, np.number)) or not math.isfinite(threshold)):
        raise (ValueError if isinstance(threshold, Real) else TypeError)(
            f"threshold must be a finite number, not {threshold!r}"
        )
    if not isinstance(corpus, Prepared):
        corpus = prepare(corpus, score=score or "cosine")
    require_same(corpus, score, None)
    if corpus.product() is None:
        corpus = corpus.plain()
    unit = float(corpus.factors[0]) if corpus.score == "dot" and len(corpus.factors) else 1.0  # of both vectors
    with full_precision():
        if threshold is not None:
            scores, first, second = _above(corpus, float(threshold) * unit * unit, max_pairs)
        else:
            scores, first, second = _nearest(corpus, as_count(k, "k"))
    given = in_given_units(scores[:, None], corpus.factors.new_full((len(scores),), unit), corpus)[:, 0]
    columns = [column.cpu().numpy() for column in (given, first, second)]
    order = np.lexsort((columns[2], columns[1], -columns[0]))[:max_pairs]
    return Pairs(*(column[order] for column in columns))


def _above(corpus: Prepared, threshold: float, max_pairs: int) -> tuple[torch.Tensor, ...]:
    """Scores, first and second rows of the pairs that reach the threshold.

    Where more than `max_pairs` do, the threshold rises to the worst of the best `max_pairs`.
    """
    n = len(corpus)
    kept = _no_pairs(corpus)
    for begin in range(0, n, QUERIES_AT_ONCE):
        queries = corpus.rows(torch.arange(begin, min(begin + QUERIES_AT_ONCE, n), device=corpus.device))
        block = _Block(corpus, queries, begin)
        for first in range(begin, n, STEP):  # what stands before has met these queries already
            query, row = block.reaching(first, threshold)
            if len(query) > 2 * max_pairs:
                threshold = max(threshold, block.worst_of_best(first, max_pairs))
                query, row = block.reaching(first, threshold, coded=False)
            found = certified.scores_of_pairs(corpus, queries, query, row)
            enough = found.double() >= threshold
            new = (found[enough], query[enough] + begin, row[enough])
            kept = tuple(torch.cat(both) for both in zip(kept, new, strict=True))
            if len(kept[0]) > 2 * max_pairs:
                best = kept[0].topk(max_pairs).indices
                kept = tuple(column[best] for column in kept)
                threshold = float(kept[0].min())
    return kept


class _Block:
    """1,024 rows as queries against rows that follow them."""

    def __init__(self, corpus: Prepared, queries: torch.Tensor, begin: int) -> None:
        self.corpus, self.queries, self.begin = corpus, queries, begin
        self.scan, self.plain = Scan(corpus, queries), Scan(corpus.plain(), queries)

    def _first_pass(self, scan: Scan, first: int) -> torch.Tensor:
        last = min(first + STEP, len(self.corpus))
        return scan.multiply(scan.codes_of(first, last), scan.room(last - first))

    def reaching(self, first: int, threshold: float, *, coded: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and rows of the pairs that may reach the threshold."""
        scan = self.scan if coded else self.plain
        of_members = self._first_pass(scan, first)
        with np.errstate(over="ignore"):  # one beyond float32 is reached by all pairs or by none
            limit = float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
        limits = scan.limits(first // GROUP, of_members.shape[1], torch.full_like(scan.offset, limit))
        query, row = scan.reach(of_members, of_members.amax(dim=2), first, limits)
        later = row > query + self.begin
        return query[later], row[later]

    def worst_of_best(self, first: int, n: int) -> float:
        """A score that at least `n` pairs reach, where there are so many."""
        coarse = self._first_pass(self.plain, first).view(len(self.queries), -1)
        numbers = torch.arange(first, first + coarse.shape[1], device=coarse.device)
        coarse[numbers <= torch.arange(len(coarse), device=coarse.device)[:, None] + self.begin] = -torch.inf
        best = coarse.view(-1).topk(min(n, coarse.numel())).indices
        query, row = best // coarse.shape[1], best % coarse.shape[1] + first
        real = (row > query + self.begin) & (row < len(self.corpus))
        if not bool(real.all()) or len(best) < n:
            return -np.inf
        return float(certified.scores_of_pairs(self.corpus, self.queries, query, row).min())


def _nearest(corpus: Prepared, k: int) -> tuple[torch.Tensor, ...]:
    """Scores, first and second rows of the pairs of each vector with its `k` nearest, each once."""
    n = len(corpus)
    kept = _no_pairs(corpus)
    searched = corpus if certified.fits(n, k + 1) else corpus.plain()
    for some in torch.split(torch.arange(n, device=corpus.device), NEAREST_AT_ONCE):
        # One more than asked for, as a vector finds itself, or k copies of itself.
        found = certified.search(searched, corpus.rows(some), min(k + 1, n))
        other = found.rows != some[:, None]
        other &= other.cumsum(dim=1) <= k
        query, row = some[:, None].expand_as(other)[other], found.rows[other]
        new = (found.scores[other], torch.minimum(query, row), torch.maximum(query, row))
        kept = tuple(torch.cat(both) for both in zip(kept, new, strict=True))
    pair = (kept[1] * n + kept[2]).cpu().numpy()
    once = torch.from_numpy(np.unique(pair, return_index=True)[1]).to(corpus.device)
    return tuple(column[once] for column in kept)


def _no_pairs(corpus: Prepared) -> tuple[torch.Tensor, ...]:
    none = torch.empty(0, dtype=torch.int64, device=corpus.device)
    return none.float(), none, none
