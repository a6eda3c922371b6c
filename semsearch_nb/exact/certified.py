r"""The bound that proves what a search may skip, and the search that counts on it.

**The score.** Queries have length 1 here, and the corpus the lengths that `rows` gives it. The score of a
pair is one float32 dot product, computed alone and always in one order, so a pair has the same score
to the last bit wherever it comes up, and so have equal vectors. All else only finds out which pairs
need it. A coarse product c of codes, with a bound on what it leaves out, does that.

**In few bits.** `prepared` stores x = μ + p u + s ŷ + r. Write a query as q = a u + t q̂ + e, with a = ⟨q, u⟩,
small whole numbers q̂ and a scale t, and let q⊥ = q − a u and y⊥ = x − μ − p u = s ŷ + r. All these lines hold
exactly, whatever rounding went into μ, p, u, s, a and t, since r and e are by definition what is missing.

    ⟨q, x⟩ = ⟨q, μ⟩ + p ⟨q, u⟩ + a ⟨u, y⊥⟩ + ⟨q⊥, y⊥⟩
    ⟨q⊥, y⊥⟩ = s t ⟨q̂, ŷ⟩ + s ⟨e, ŷ⟩ + ⟨q⊥, r⟩

p and a are rounded to whole multiples as well, p = s P + ρ and a = t A + α, so a p = s t A P + s P α + a ρ: columns
beside ŷ and q̂ hold P and A (A in eight parts, since a can be large). The whole number c = ⟨q̂, ŷ⟩ + A P is
what the first pass computes. The Cauchy-Schwarz inequality bounds the rest:

    ⟨q, x⟩ ≤ ⟨q, μ⟩ + s t c + ‖(e, α)‖ s‖(ŷ, P)‖ + ‖q⊥‖ ‖r‖ + |a| |ρ| + ω

**Without codes** c is a float32 product of q and x, as BLAS computes it, and ⟨q, x⟩ ≤ c + ω.

**Rounding.** A dot product of d float32 numbers is wrong by at most d · 2⁻²⁴ ‖·‖ ‖·‖ up to terms of second
order (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). In few bits there are
less than seven of them (the score, ⟨q, μ⟩, p, a, ⟨u, y⊥⟩, which is zero but for two such errors, and c, if it
is added in float32, where the eight columns triple its lengths); without codes there are two. ω has 8 d and
2 d of them, and 256 or 64 for single operations, times 2⁻²⁴ (‖x‖ + ‖μ‖). A bfloat16
product rounds its result too, by at most 2⁻⁸ of its factors' lengths, which joins ‖(e, α)‖. What is so
small that its square vanishes is less than 2⁻⁵⁰ of the largest length.

**What may be skipped.** Let T be the k-th best score among any vectors seen so far. A vector whose bound
is below T cannot be among the best k. Solved for c, with each term at its largest in a group of 32, a
group may hold a hit only if

    max c ≥ (T − ⟨q, μ⟩ − ‖(e, α)‖ s‖(ŷ, P)‖ − ‖q⊥‖ ‖r‖ − |a| |ρ| − ω) / (s t)

The right side, for all queries and groups, is one product of an (n_queries, 5) by a (5, n_groups)
matrix, the `bounds` of the prepared corpus. T takes part in it with an error of 2⁻²³ (|T| + ‖μ‖): where |T|
is at most 2 (‖x‖ + ‖μ‖), ω covers it, and where it is more, no bound comes near it.

**Cost.** The corpus is read once, a block at a time, and T rises after every block. A query for which
more than a 64th of the vectors survive is given up and searched without codes, so the worst case is a
float32 search and a fraction. Taught in notebook 03.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from semsearch_nb.exact.first_pass import PLAIN, QUERIES_AT_ONCE, SCORES_AT_ONCE
from semsearch_nb.exact.prepared import COPIES, GROUP, UNIT, Prepared
from semsearch_nb.exact.rows import CHUNK, dots, gathered, in_parts
from semsearch_nb.vectors import are_units

PAIRS_AT_ONCE = 1_024  # whose vectors are gathered together: 3 MB, which stay in the cache too
BEST_AT_ONCE = 1 << 18  # best hits of the queries that are looked at together
# A query is given up if more than this share of the vectors survives. So many for each hit are always allowed.
GIVE_UP, SURVIVORS_A_HIT = 1 / 64, 32
DENSE = 1 / 8  # of a block: where more survives, the threshold is no help
FEW = 1 << 10  # scores for each hit, which every query may have
EMPTY = torch.iinfo(torch.int64).min


class Found(NamedTuple):
    """The best k of the queries: scores and rows `(n_queries, k)`, and how many vectors were scored for each."""

    scores: torch.Tensor
    rows: torch.Tensor
    survivors: torch.Tensor
    given_up: torch.Tensor


def fits(n: int, k: int) -> bool:
    """Whether a corpus of n is large enough for codes to gain anything at this k."""
    return n // GROUP >= 4 * k


def search(corpus: Prepared, queries: torch.Tensor, k: int, block: int | None = None) -> Found:
    """The best `k ≤ n` for queries of length 1, `(n_queries, d)`; blocks outside, queries inside."""
    n, plain = len(corpus), corpus.first_pass == PLAIN.name
    if len(queries) == 1 and (found := search_one(corpus, queries, k)) is not None:
        return found
    at_once = min(QUERIES_AT_ONCE, max(16, BEST_AT_ONCE // k), len(queries))
    scans = [Scan(corpus, some) for some in torch.split(queries, at_once)]
    best = [Best(scan, k) for scan in scans]
    step = block or SCORES_AT_ONCE // at_once
    if plain and (len(corpus.factors) or corpus.vectors.dtype != torch.float32):
        step = min(step, CHUNK)  # these rows are copied
    step = whole_groups(step if plain else max(step, 8 * k * GROUP))
    scores = scans[0].room(min(step, n))
    # The first block is small: before it is known what a good score is, much may survive.
    edges = [0, *range(whole_groups(step // 4), n, step), n]
    for first, last in pairwise(edges):
        codes = scans[0].codes_of(first, last)
        for some in best:
            some.look(codes, scores, first, last)
    columns = zip(*((*unpacked(some.packed), some.survivors, some.given_up) for some in best), strict=True)
    found = Found(*(torch.cat(column) for column in columns))
    if found.given_up.any():
        again = search(corpus.plain(), queries[found.given_up], k, block)
        for ours, theirs in zip(found[:3], again[:3], strict=True):
            ours[found.given_up] = theirs
        found.survivors[found.given_up] = n
    return found


def whole_groups(n: int) -> int:
    return max(1, -(-n // GROUP)) * GROUP


def score(rows: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """The scores of pairs of float32 rows, `(n_pairs,)`: the same to the last bit wherever a pair comes up."""
    if rows.device.type == "cpu":
        return torch.from_numpy(np.einsum("ij,ij->i", rows.numpy(), queries.expand_as(rows).numpy()))
    # On other devices the order of adding depends on the shape, so all have one.
    parts = [rows.new_empty(0)]
    for part in torch.split(rows * queries, PAIRS_AT_ONCE):
        padded = torch.nn.functional.pad(part, (0, 0, 0, PAIRS_AT_ONCE - len(part)))
        parts.append(padded.sum(dim=1)[: len(part)])
    return torch.cat(parts)


def search_one(corpus: Prepared, queries: torch.Tensor, k: int, *, unchecked: bool = False) -> Found | None:
    """The best k for one query by the same bound, in NumPy: here all the work is to read the codes once.

    Where the corpus is `unchecked`, the lengths of its rows are looked at on the way; the answer is None
    where one is not 1.
    """
    if corpus.device.type != "cpu" or corpus.first_pass != PLAIN.name or len(corpus.factors):
        return None
    asked, coarse = queries[0].numpy(), np.empty(len(corpus), np.float32)

    def look(begin: int, part: Any) -> bool:
        coarse[begin : begin + len(part)] = dots(part, asked)
        return not unchecked or are_units(np.sqrt(dots(part, part)))

    if not in_parts(corpus.vectors, look):
        return None
    first = np.argpartition(coarse, -min(2 * k, len(coarse)))[-2 * k :]
    threshold = np.partition(scores_of_rows(corpus, queries, torch.from_numpy(first)).numpy(), -k)[-k]
    limit = (threshold + float(corpus.bounds[-1].min()) * 1.001).astype(np.float32)
    rows = torch.from_numpy(np.flatnonzero(~(coarse < np.nextafter(limit, np.float32(-np.inf)))))
    if len(rows) > DENSE * len(corpus):  # many equal vectors: to read all is faster than to pick

        def exactly(begin: int, part: Any) -> bool:
            coarse[begin : begin + len(part)] = score(torch.from_numpy(part), queries[0]).numpy()
            return True

        in_parts(corpus.vectors, exactly)
        least = np.partition(coarse, -k)[-k]
        above, equal = np.flatnonzero(coarse > least), np.flatnonzero(coarse == least)
        rows = torch.from_numpy(np.concatenate([above, equal[:k]]))
    best = packed(scores_of_rows(corpus, queries, rows), rows).topk(k).values[None]
    return Found(*unpacked(best), torch.tensor([len(rows)]), torch.zeros(1, dtype=torch.bool))


def scores_of_rows(corpus: Prepared, query: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([score(corpus.rows(some), query) for some in torch.split(rows, PAIRS_AT_ONCE)])


def scores_of_pairs(corpus: Prepared, queries: torch.Tensor, query: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """The scores of pairs, given by their numbers."""
    parts = [queries.new_empty(0)]
    for asked, at in zip(torch.split(query, PAIRS_AT_ONCE), torch.split(row, PAIRS_AT_ONCE), strict=True):
        parts.append(score(corpus.rows(at), gathered(queries, asked)))
    return torch.cat(parts)


class Scan:
    """The side of the queries in the bound."""

    def __init__(self, corpus: Prepared, queries: torch.Tensor) -> None:
        product = corpus.product()
        if product is None:
            raise AssertionError("the caller has not asked whether the first pass is right here")
        self.corpus, self.queries, self.product = corpus, queries, product
        zero = torch.zeros_like(queries[:, 0])
        scale, of_code = zero + 1, [zero, zero, zero]
        if product is PLAIN:
            self.codes = queries
        else:
            scale, of_code = self._in_few_bits()
        self.offset = zero if product is PLAIN else queries @ corpus.mean
        self.scale = scale
        # The left factor of the group's thresholds; its first column waits for T.
        rounding_up = 1 + (corpus.dimension + 8) * UNIT
        self.factors = torch.stack([zero, *(length * rounding_up for length in of_code), zero + rounding_up], dim=1)
        self.factors /= scale[:, None]

    def _in_few_bits(self) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Fill `codes`; return t, ‖(e, α)‖ with the error of the product, ‖q⊥‖ and |a|."""
        direction = self.corpus.basis[:, 0]
        along = self.queries @ direction
        across = self.queries - along[:, None] * direction
        parts = torch.cat([across, (along / COPIES)[:, None].expand(-1, COPIES)], dim=1)
        scale = (parts.abs().amax(dim=1) / 127).clamp_min(1e-9)
        self.codes = self.product.as_factors(parts / scale[:, None])
        values = self.codes.float() * scale[:, None]
        left = (across - values[:, :-COPIES]).square().sum(dim=1)
        left += (along - values[:, -COPIES:].sum(dim=1)).square()
        remainder = left.sqrt() + self.product.relative_error * torch.linalg.vector_norm(values, dim=1)
        return scale, [remainder, torch.linalg.vector_norm(across, dim=1), along.abs()]

    def room(self, n_rows: int) -> torch.Tensor:
        """For the scores of a block."""
        size = len(self.queries) * whole_groups(n_rows)
        return torch.empty(size, dtype=self.product.results, device=self.queries.device)

    def codes_of(self, first: int, last: int) -> torch.Tensor:
        """What the queries are multiplied by, for the rows from `first` (of a whole group) to `last`."""
        if self.product is PLAIN:
            return self.corpus.between(first, last)
        return self.corpus.codes[first : first + whole_groups(last - first)]

    def multiply(self, codes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """First-pass scores `(n_queries, groups, 32)`, in `scores`; -inf past the end of the corpus."""
        width = whole_groups(len(codes))
        out = scores[: len(self.queries) * width].view(len(self.queries), width)
        if width == len(codes):
            self.product.multiply(self.codes, codes, out)
        else:
            narrow = torch.empty((len(out), len(codes)), dtype=out.dtype, device=out.device)
            self.product.multiply(self.codes, codes, narrow)
            out[:, : len(codes)] = narrow
            out[:, len(codes) :] = -torch.inf
        return out.view(len(out), -1, GROUP)

    def limits(self, first: int, n_groups: int, threshold: torch.Tensor) -> torch.Tensor:
        """What the first pass must reach in each of `n_groups` groups from `first`: `(n_queries, n_groups)`."""
        self.factors[:, 0] = (threshold - self.offset) / self.scale
        return self.factors @ self.corpus.bounds[:, first : first + n_groups]

    def reach(
        self, of_members: torch.Tensor, of_groups: torch.Tensor, first: int, limits: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and rows of the pairs whose coarse score reaches the limits, sorted by query."""
        n_groups = of_groups.shape[1]
        # "Not below", so that a limit that is not a number skips nothing.
        passing = _true(~(of_groups < limits))
        members = gathered(of_members.reshape(-1, GROUP), passing)
        kept = _true(~(members < limits.view(-1).index_select(0, passing)[:, None]))
        group = passing.index_select(0, kept // GROUP)
        row = first + group % n_groups * GROUP + kept % GROUP
        real = row < len(self.corpus)
        return (group // n_groups)[real], row[real]


class Best:
    """The best k so far of the queries of a scan. They and their rows are packed into whole numbers."""

    def __init__(self, scan: Scan, k: int) -> None:
        self.scan, self.k = scan, k
        n = len(scan.queries)
        self.packed = torch.full((n, k), EMPTY, device=scan.queries.device)
        self.threshold = scan.queries.new_full((n,), -torch.inf)  # T
        self.survivors = torch.zeros(n, dtype=torch.int64, device=scan.queries.device)
        self.given_up = torch.zeros(n, dtype=torch.bool, device=scan.queries.device)

    def look(self, codes: torch.Tensor, scores: torch.Tensor, first: int, last: int) -> None:
        """Take in the rows from `first` to `last`."""
        scan = self.scan
        of_members = scan.multiply(codes, scores)
        of_groups = _largest(of_members)
        if first == 0:
            self._start(of_members, of_groups)
        limits = scan.limits(first // GROUP, of_groups.shape[1], self.threshold)
        if scan.product is PLAIN:
            dense = (~(of_groups < limits)).sum(dim=1) > max(len(limits[0]) * DENSE, FEW * self.k)
            limits[dense] = torch.inf
        query, row = scan.reach(of_members, of_groups, first, limits)
        counts = torch.bincount(query, minlength=len(self.packed))
        if scan.product is PLAIN:
            dense |= counts > max(DENSE / 8 * (last - first), FEW * self.k)
            pairs = [(query, row)] if not dense.any() else [(query[~dense[query]], row[~dense[query]])]
            pairs += self._candidates(dense.nonzero().squeeze(1), of_members, first, last)
        else:
            self.survivors += counts
            self._give_up(counts > max(DENSE * (last - first), 8 * self.k, 512))
            self._give_up(self.survivors > max(GIVE_UP * len(scan.corpus), SURVIVORS_A_HIT * self.k))
            kept = ~self.given_up[query]
            pairs = [(query[kept], row[kept])]
        for some in pairs:
            self._score(*some)

    def _start(self, of_members: torch.Tensor, of_groups: torch.Tensor) -> None:
        """T from the first block: the k-th best score of twice as many vectors that look best in it."""
        corpus, wanted = self.scan.corpus, 2 * self.k
        n_rows = min(of_groups.shape[1] * GROUP, len(corpus))
        if of_groups.shape[1] >= wanted:
            looks = of_groups / corpus.bounds[0, : of_groups.shape[1]]
            groups = looks.topk(wanted, dim=1).indices
            member = of_members.gather(1, groups[:, :, None].expand(-1, -1, GROUP)).argmax(dim=2)
            row = (groups * GROUP + member).clamp_max(len(corpus) - 1)
        elif self.scan.product is PLAIN and n_rows >= self.k:  # of so few groups, one may hold several of the best
            row = of_members.flatten(1).topk(min(wanted, n_rows), dim=1).indices
        else:
            return
        query = torch.arange(len(row), device=row.device).repeat_interleave(row.shape[1])
        found = scores_of_pairs(corpus, self.scan.queries, query, row.view(-1)).view(row.shape)
        self.threshold = found.topk(self.k, dim=1).values[:, -1]

    def _give_up(self, queries: torch.Tensor) -> None:
        """To be searched without codes; nothing reaches their threshold any more."""
        self.given_up |= queries
        self.threshold[self.given_up] = torch.inf

    def _candidates(
        self, queries: torch.Tensor, of_members: torch.Tensor, first: int, last: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Queries and rows of a block that are worth a score, for queries whose threshold is no help.

        Those are all vectors clearly above the k-th best of the block, which are fewer than k. Of those that
        rounding keeps from being told from it, the first: equal vectors are among these.
        """
        n = last - first
        wanted = min(n, FEW * self.k)
        rounding = 2 * float(-self.scan.corpus.bounds[-1].min())
        earlier = torch.linspace(1, 0, n, device=queries.device)
        for some in torch.split(queries, 128):
            coarse = of_members[some].flatten(1)[:, :n]
            level = coarse.topk(min(self.k, n), dim=1).values[:, -1:]
            worth = torch.where(coarse > level + rounding, 2.0, torch.where(coarse < level - rounding, -1.0, earlier))
            yield some.repeat_interleave(wanted), worth.topk(wanted, dim=1).indices.view(-1) + first

    def _score(self, query: torch.Tensor, row: torch.Tensor) -> None:
        """Score these pairs, sorted by query, and keep the best."""
        if not len(query):
            return
        found = packed(scores_of_pairs(self.scan.corpus, self.scan.queries, query, row), row)
        counts = torch.bincount(query, minlength=len(self.packed))
        table = torch.full((len(counts), int(counts.max())), EMPTY, device=found.device)
        table[query, torch.arange(len(query), device=found.device) - (counts.cumsum(0) - counts)[query]] = found
        self.packed = torch.cat([self.packed, table], dim=1).topk(self.k, dim=1).values
        self.threshold = self.threshold.maximum(unpacked(self.packed[:, -1])[0])


def packed(scores: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """A score and a row as one whole number, larger for a higher score, or of equal ones for an earlier row."""
    bits = (scores + 0.0).view(torch.int32)  # and no -0.0, which equals 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered.long() << 32) | (0xFFFFFFFF - rows)


def unpacked(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and rows of what was `packed`; -inf for an empty place."""
    ordered = (numbers >> 32).int()
    scores = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).view(torch.float32)
    return torch.where(numbers == EMPTY, -torch.inf, scores), 0xFFFFFFFF - (numbers & 0xFFFFFFFF)


def _largest(of_members: torch.Tensor) -> torch.Tensor:
    """The maximum of each group; of one query by NumPy's one thread, since torch's take longer to meet than to work."""
    if len(of_members) == 1 and of_members.device.type == "cpu" and of_members.dtype != torch.bfloat16:
        return torch.from_numpy(of_members.numpy().max(axis=2))
    return of_members.amax(dim=2)


def _true(mask: torch.Tensor) -> torch.Tensor:
    """Flat positions of the true values; NumPy finds them in half the time."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero().squeeze(1)
