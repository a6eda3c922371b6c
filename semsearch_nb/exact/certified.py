r"""The first pass in few bits, the bound that proves what it may skip, and the second pass.

**The bound.** `prepared` stores every vector of the corpus as x = μ + p u + s ŷ + r. Write a query
as q = a u + t q̂ + e, with a = ⟨q, u⟩, small whole numbers q̂, a scale t and the remainder e, and let
q⊥ = q − a u. Both lines hold exactly, whatever rounding went into μ, p, u, s, a and t, since r and e
are by definition what is missing. With y = s ŷ + r = x − μ − p u,

    ⟨q, x⟩ = ⟨q, μ⟩ + p ⟨q, u⟩ + ⟨q, y⟩
    ⟨q, y⟩ = s t ⟨q̂, ŷ⟩ + a ⟨u, y⟩ + ⟨q⊥, r⟩ + s ⟨e, ŷ⟩

(put q = q⊥ + a u into ⟨q, y⟩, then y = s ŷ + r and q⊥ = t q̂ + e). The whole number ⟨q̂, ŷ⟩ is what the
first pass computes. The Cauchy-Schwarz inequality bounds the rest:

    ⟨q, x⟩ ≤ ⟨q, μ⟩ + a p + s t ⟨q̂, ŷ⟩ + ‖e‖ s‖ŷ‖ + ‖q⊥‖ ‖r‖ + ‖q‖ ω

Here ω covers a ⟨u, y⟩, which is zero but for rounding, and all float32 arithmetic on both sides. A
dot product of d float32 numbers is wrong by at most d · 2⁻²⁴ ‖·‖ ‖·‖ up to terms of second order
(Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). There are three of them
(⟨q, μ⟩, ⟨q, u⟩ and the score ⟨q, x⟩ itself), and a few dozen single operations on values of at most
4 ‖q‖ (‖x‖ + ‖μ‖): together less than (3 d + 256) · 2⁻²⁴ ‖q‖ (‖x‖ + ‖μ‖), of which `prepared` allows
4 d + 256. A bfloat16 product rounds its result too, by at most 2⁻⁸ t‖q̂‖ s‖ŷ‖, which joins ‖e‖ s‖ŷ‖.

**What may be skipped.** Let T be the k-th best float32 score among any vectors seen so far. A vector
whose bound is below T cannot be among the best k, however its float32 score is rounded. Solved for
the whole number, with each term at its largest in a group of 32, a group may hold a hit only if

    max ⟨q̂, ŷ⟩ ≥ (T − ⟨q, μ⟩ − max a p − ‖e‖ s‖ŷ‖ − ‖q⊥‖ ‖r‖ − ‖q‖ ω) / (s t)

The right side, for all queries and groups, is one product of an (n_queries, 6) by a (6, n_groups)
matrix, the `bounds` of the prepared corpus. Removing μ and u costs nothing in the product and
shortens what is rounded, e5's queries and vectors by more than half.

**Cost.** T starts as the exact k-th best of a first block and is raised after blocks 1, 3, 7, 15 …
A query for which an eighth of all groups had to be looked into is given up and searched in float32,
so the worst case is a float32 search and a fraction. Taught in
notebook 03.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from semsearch_nb.exact.first_pass import FIRST_PASSES
from semsearch_nb.exact.prepared import GROUP, UNIT, Prepared, rows_at

SCORES_AT_ONCE = 1 << 23  # first-pass scores: 32 MB, which fit the last cache of many processors
QUERIES_AT_ONCE = 1_024
PAIRS_AT_ONCE = 1_024  # whose vectors are gathered together: 3 MB, which stay in the cache too
# A query is given up if more than this share of all groups had to be looked into, or of all vectors
# survives: that costs as much as float32 scores. So many for each hit are always allowed.
GIVE_UP_GROUPS, GROUPS_A_HIT = 1 / 8, 32
GIVE_UP_VECTORS, VECTORS_A_HIT = 1 / 64, 32


class Found(NamedTuple):
    """The best k of a block of queries: scores and indices `(n_queries, k)`, survivors `(n_queries,)`.

    Rows where `given_up` is true are not filled: those queries are for float32 search.
    """

    scores: torch.Tensor
    indices: torch.Tensor
    survivors: torch.Tensor
    given_up: torch.Tensor


def fits(n: int, k: int) -> bool:
    """Whether a corpus of n is large enough for the scheme to gain anything at this k."""
    return n // GROUP >= 4 * k


def search(corpus: Prepared, queries: torch.Tensor, k: int, block: int | None = None) -> Found:
    """The best `k` for at most a few thousand queries, `block` vectors at a time.

    Queries are float32 `(n_queries, d)`, of length 1 under `"cosine"`. `fits(len(corpus), k)` holds.
    """
    scan = Scan(corpus, queries, most_groups=max(GIVE_UP_GROUPS * len(corpus.scale), GROUPS_A_HIT * k))
    n_groups = len(corpus.scale)
    step = max(2 * k, (block or SCORES_AT_ONCE // len(queries)) // GROUP)
    scores = torch.empty(
        len(queries) * min(step, n_groups) * GROUP, dtype=scan.first_pass.results, device=queries.device
    )
    for number, first in enumerate(range(0, n_groups, step)):
        last = min(first + step, n_groups)
        of_members = scan.multiply(first, last, scores)
        of_groups = of_members.amax(dim=2)
        if number == 0:
            scan.start(of_members, of_groups, k)
        scan.pick(of_members, of_groups, first)
        if number > 0 and number & (number + 1) == 0 and last < n_groups:
            scan.tighten(k)
        if scan.given_up.all():
            break
    return scan.finish(k)


def exact_scores(corpus: Prepared, queries: torch.Tensor, query: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """float32 scores of pairs, shape `(n_pairs,)`: the same to the last bit wherever a pair comes up."""
    parts = [queries.new_empty(0)]
    for of_query, at in zip(torch.split(query, PAIRS_AT_ONCE), torch.split(position, PAIRS_AT_ONCE), strict=True):
        rows = rows_at(corpus, corpus.order[at].long())
        parts.append(rows.mul_(queries.index_select(0, of_query)).sum(dim=1))
    return torch.cat(parts)


class Candidates(NamedTuple):
    """Vectors that may be hits: number of the query, position in the corpus, first-pass score."""

    query: torch.Tensor
    position: torch.Tensor
    score: torch.Tensor


class Scan:
    """One pass over the corpus for a block of queries."""

    def __init__(self, corpus: Prepared, queries: torch.Tensor, *, most_groups: float = math.inf) -> None:
        self.corpus, self.queries = corpus, queries
        self.first_pass = FIRST_PASSES[corpus.first_pass]
        self.most_groups = most_groups
        along = queries @ corpus.direction
        across = queries - along[:, None] * corpus.direction
        length = torch.linalg.vector_norm(queries, dim=1)
        scale = torch.maximum(across.abs().amax(dim=1) / 127, 1e-9 * length).clamp_min(1e-30)
        self.codes = self.first_pass.as_factors(across / scale[:, None])
        values = self.codes.float().mul_(scale[:, None])
        of_norms = 1 + (corpus.dimension + 8) * UNIT
        remainder = torch.linalg.vector_norm(across - values, dim=1)
        remainder += self.first_pass.relative_error * torch.linalg.vector_norm(values, dim=1)
        self.along, self.scale = along, scale
        self.offset = queries @ corpus.mean
        # The left factor of the group's thresholds; its first column waits for T.
        self.factors = torch.stack(
            [
                torch.zeros_like(length),
                along.clamp_min(0),
                along.clamp_max(0),
                remainder * of_norms,
                torch.linalg.vector_norm(across, dim=1) * of_norms,
                length * of_norms,
            ],
            dim=1,
        )
        self.factors /= scale[:, None]
        self.threshold = torch.full_like(length, -torch.inf)
        self.given_up = torch.zeros(len(queries), dtype=torch.bool, device=queries.device)
        self.n_read = torch.zeros_like(self.given_up, dtype=torch.int64)  # groups that were looked into
        self.pairs: list[Candidates] = []

    def multiply(self, first: int, last: int, scores: torch.Tensor) -> torch.Tensor:
        """First-pass scores of the groups from `first` to `last`: `(n_queries, groups, 32)`, in `scores`."""
        n_queries, width = len(self.queries), (last - first) * GROUP
        out = scores[: n_queries * width].view(n_queries, width)
        self.first_pass.multiply(self.codes, self.corpus.codes[first * GROUP : last * GROUP], out)
        return out.view(n_queries, last - first, GROUP)

    def start(self, of_members: torch.Tensor, of_groups: torch.Tensor, k: int) -> None:
        """T from the first block: the k-th best exact score of vectors that look best in it."""
        n_queries, n_groups = of_groups.shape
        along = self.corpus.along[:n_groups]
        looks = of_groups * self.scale[:, None] * self.corpus.scale[:n_groups]
        looks += self.along[:, None] * along.mean(dim=1)
        # Twice as many as needed: in a group where p varies the mean says little.
        groups = looks.topk(min(2 * k, n_groups), dim=1).indices
        scores = of_members.gather(1, groups[:, :, None].expand(-1, -1, GROUP))
        scores = scores * (self.scale[:, None] * self.corpus.scale[groups])[:, :, None]
        best, members = (scores + self.along[:, None, None] * along[groups]).max(dim=2)
        positions = (groups * GROUP + members).gather(1, best.topk(k, dim=1).indices)
        query = torch.arange(n_queries, device=groups.device).repeat_interleave(k)
        found = exact_scores(self.corpus, self.queries, query, positions.view(-1))
        self.raise_to(found.view(n_queries, k).amin(dim=1))

    def raise_to(self, threshold: torch.Tensor) -> None:
        self.threshold = torch.maximum(self.threshold, threshold)
        self.factors[:, 0] = (self._goal() - self.offset) / self.scale

    def _goal(self) -> torch.Tensor:
        """T less the rounding of the lines that use it; out of reach for those who were given up."""
        goal = self.threshold - 16 * UNIT * (self.threshold.abs() + self.offset.abs())
        return torch.where(self.given_up, torch.inf, goal)

    def pick(self, of_members: torch.Tensor, of_groups: torch.Tensor, first: int) -> None:
        """Keep the vectors whose bound reaches T, looking only into groups that may hold one."""
        n_queries, n_groups = of_groups.shape
        limits = self.factors @ self.corpus.bounds[:, first : first + n_groups]
        # "Not below", so that a limit that is not a number skips nothing.
        passing = _true(~(of_groups < limits))
        query = passing // n_groups
        self.n_read += torch.bincount(query, minlength=n_queries)
        if (many := self.n_read > self.most_groups).any():
            self._give_up(many)
            kept = ~self.given_up[query]
            query, passing = query[kept], passing[kept]
        group = passing - query * n_groups + first
        members = of_members.view(-1, GROUP).index_select(0, passing)
        scores = members * (self.scale[query] * self.corpus.scale[group])[:, None]
        scores += self.along[query][:, None] * self.corpus.along[group]
        kept = _true(~(scores < self._limit(query, group)[:, None]))
        row = kept // GROUP
        position = group[row] * GROUP + kept - row * GROUP
        self.pairs.append(Candidates(query[row], position, scores.view(-1)[kept]))

    def _limit(self, query: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
        """What s t ⟨q̂, ŷ⟩ + a p must reach."""
        terms = [0, 3, 4, 5]  # without a p, which the vectors bring themselves
        limits = (self.factors[:, terms][query] * self.corpus.bounds[terms].T[group]).sum(dim=1)
        return limits * self.scale[query] * self.corpus.scale[group]

    def survivors(self) -> Candidates:
        """The pairs that still reach T, those of a query together."""
        query, position, score = (torch.cat(column) for column in zip(*self.pairs, strict=True))
        kept = _true(~(score < self._limit(query, position // GROUP)))
        kept = kept[query[kept].argsort(stable=True)]
        self.pairs = [Candidates(query[kept], position[kept], score[kept])]
        return self.pairs[0]

    def tighten(self, k: int) -> None:
        """Raise T to the exact k-th best of the k vectors that look best so far."""
        pairs = self.survivors()
        looks = _by_query(pairs.query, pairs.score, len(self.queries), -torch.inf)
        if looks.shape[1] < k:
            return
        positions = _by_query(pairs.query, pairs.position, len(self.queries), 0)
        best, chosen = looks.topk(k, dim=1)
        enough = _true(torch.isfinite(best[:, -1]))
        query = enough.repeat_interleave(k)
        found = exact_scores(self.corpus, self.queries, query, positions.gather(1, chosen)[enough].view(-1))
        threshold = self.threshold.clone()
        threshold[enough] = found.view(-1, k).amin(dim=1)
        self.raise_to(threshold)

    def finish(self, k: int) -> Found:
        """Score the survivors, and the few vectors that are in no group, in float32; keep the best k."""
        n_queries = len(self.queries)
        query, position, _ = self.survivors()
        counts = torch.bincount(query, minlength=n_queries)
        many = counts > max(GIVE_UP_VECTORS * len(self.corpus), VECTORS_A_HIT * k)
        if many.any():
            self._give_up(many)
            kept = ~self.given_up[query]
            query, position = query[kept], position[kept]
        found = exact_scores(self.corpus, self.queries, query, position)
        rest = torch.arange(len(self.corpus.order), len(self.corpus), device=query.device)
        scores = torch.cat(
            [
                _by_query(query, found, n_queries, -torch.inf, k),
                self.queries @ rows_at(self.corpus, rest).T,
            ],
            dim=1,
        )
        indices = torch.cat(
            [
                _by_query(query, self.corpus.order[position].long(), n_queries, 0, k),
                rest.expand(n_queries, -1),
            ],
            dim=1,
        )
        best, chosen = scores.topk(k, dim=1)
        return Found(best, indices.gather(1, chosen), counts, self.given_up)

    def _give_up(self, queries: torch.Tensor) -> None:
        self.given_up |= queries
        self.raise_to(self.threshold)  # for those it is out of reach now


def _true(mask: torch.Tensor) -> torch.Tensor:
    """Flat positions of the true values; NumPy finds them in half the time."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero().squeeze(1)


def _by_query(
    query: torch.Tensor, values: torch.Tensor, n_queries: int, missing: float, width: int = 1
) -> torch.Tensor:
    """Values of pairs that are sorted by query as a matrix, a row a query, at least `width` wide."""
    counts = torch.bincount(query, minlength=n_queries)
    starts = counts.cumsum(0) - counts
    slots = torch.arange(len(query), device=query.device) - starts[query]
    table = torch.full((n_queries, max(width, int(counts.max()))), missing, dtype=values.dtype, device=values.device)
    table[query, slots] = values
    return table
