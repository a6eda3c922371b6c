"""Hybrid search: weights tuned in nested folds, feedback, and how far to trust words. Taught in notebook 10.

The fusions themselves stand in `fusion`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from semsearch_nb import evaluation, fusion
from semsearch_nb.datasets import Collection
from semsearch_nb.evaluation import Values
from semsearch_nb.lexical import BM25
from semsearch_nb.retrieval import Retriever
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts

# Chosen by leaving one set out, as benchmarks/fusion.py does, but for the last, which one set alone has called for.
LEARNED_WEIGHT, WORDS_WEIGHT = 0.5, 0.35  # beside 1 for meaning, where words are trusted fully
SURE, UNSURE = 0.7, 0.5  # how far meaning's first hit stands out: above, words count nothing, below they count fully
LONGER = 2  # times as long as the question is a text at least, on average, whose words count


class Nested(NamedTuple):
    """What `nested` returns."""

    ndcg: Values
    """nDCG@10 of each query, with weights that were chosen without it."""
    weights: list[tuple[float, ...]]
    """Those of each fold."""


def nested(
    rankings: Sequence[Hits],
    collection: Collection,
    *,
    folds: int = 5,
    steps: int = 10,
    fuse: fusion.Fuse = fusion.standard_scores,
) -> Nested:
    """nDCG@10 of a fusion whose weights are tuned, without measuring on what they were tuned on.

    The queries are dealt into folds. Each fold is measured with the weights that `fusion.learn_weights` finds on the
    others. So the mean is that of somebody who tunes on judged queries and is then asked new ones.

    Raises:
        ValueError: fewer queries than folds, fewer than two folds, or rankings of other queries.
    """
    n, folds = len(collection.queries), as_count(folds, "folds")
    if not 2 <= folds <= n:
        raise ValueError(f"folds must lie between 2 and the {n} queries, not {folds}")
    if wrong := [len(hits) for hits in rankings if len(hits) != n]:
        raise ValueError(f"rankings answer {wrong[0]} queries and the collection has {n}; they must match")
    fold_of = np.random.default_rng(0).permutation(n) % folds
    values, chosen = np.zeros(n), []
    for fold in range(folds):
        inside = fold_of == fold
        rest, asked = (collection.with_queries(list(compress(collection.queries, part))) for part in (~inside, inside))
        others = [hits.take(~inside) for hits in rankings]
        ids = rest.query_ids, collection.document_ids
        weights = fusion.learn_weights(others, rest.qrels, *ids, fuse=fuse, steps=steps)
        hits = fuse([hits.take(inside) for hits in rankings], 10, weights=weights)
        run = evaluation.as_run(hits, asked.query_ids, collection.document_ids)
        values[inside] = evaluation.ndcg_at_k(run, asked.qrels)
        chosen.append(weights)
    return Nested(values, chosen)


def rocchio(
    queries: FloatArray, corpus: FloatArray, relevant: Sequence[Sequence[int]], *, weight: float = 0.3
) -> FloatArray:
    """Queries moved towards documents that are held to be relevant (Rocchio 1971), as unit vectors.

    q + weight · (mean of the documents), for each query. Without judgements the first hits are taken for relevant
    (pseudo-relevance feedback), which helps where they are right and does harm where they are not.

    Args:
        queries: unit vectors, shape `(n_queries, dimension)`.
        corpus: unit vectors of the documents.
        relevant: rows of the corpus for each query; a query without any stays as it is.

    Raises:
        ValueError: arguments that do not go together; the message names them.
    """
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        raise ValueError(f"queries and corpus must be rows of one dimension, not {queries.shape} and {corpus.shape}")
    if len(relevant) != len(queries):
        raise ValueError(f"relevant has {len(relevant)} entries and queries has {len(queries)}; they must match")
    if not (np.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be a number of at least 0, not {weight!r}")
    moved = np.array(queries, dtype=np.float32)
    for row, documents in enumerate(relevant):
        chosen = [int(document) for document in documents]
        if any(not 0 <= document < len(corpus) for document in chosen):
            raise ValueError(f"relevant[{row}] names a row that the corpus of {len(corpus)} does not have")
        if chosen:
            moved[row] += weight * corpus[chosen].mean(axis=0)
    found: FloatArray = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return found


class Adaptive:
    """A hybrid search that trusts words question by question, without any judged question.

    Meaning counts 1. Learned words count up to 0.5 and BM25 up to 0.35, times the `trust` in words for this question.
    Measured on sixteen natural sets in benchmarks/results/fusion.md. The limits are those of all-MiniLM-L6-v2; for
    another bi-encoder measure anew.

    Args:
        dense: finds by meaning, as `retrieval.Dense`; its scores are cosines.
        texts: the corpus that it searches.
        learned: finds by learned words, as `sparse.Sparse`; without it BM25 stands alone beside meaning.
        pool: candidates of each.
    """

    def __init__(
        self, dense: Retriever, texts: Sequence[str], learned: Retriever | None = None, *, pool: int = 100
    ) -> None:
        texts = as_texts(texts)
        self.dense, self.learned, self.words, self.pool = dense, learned, BM25(texts), as_count(pool, "pool")
        self._held = [frozenset(self.words.tokens(text)) for text in texts]
        self._documents_with = Counter(word for held in self._held for word in held)
        self._length = float(np.mean([len(text.split()) for text in texts]))

    def search(self, queries: Sequence[str], k: int = 10) -> Hits:
        """The `k` rows that are best together, best first."""
        queries = as_texts(queries, "queries")
        pool = max(self.pool, as_count(k, "k"))
        dense, words = self.dense.search(queries, pool), self.words.search(queries, pool)
        rankings, weights = [dense, words], [1.0, WORDS_WEIGHT]
        if self.learned is not None:
            rankings, weights = [*rankings, self.learned.search(queries, pool)], [*weights, LEARNED_WEIGHT]
        return fuse_each(rankings, weights, self.trust(queries, dense, words), k)

    def trust(self, queries: Sequence[str], dense: Hits, words: Hits) -> Values:
        """For each question how far its words are trusted, from 0 to 1: the product of three signs.

        - `found`: the share of the question's words that BM25's first text holds, rare words counting more.
        - `open`: 1 where meaning's first hit does not stand out, 0 where it does (its cosine lies more than seven
          tenths of the way from the mean of the pool to 1).
        - whether texts are longer than the question, so that they can hold its words and others.
        """
        found = np.array([self.found(query, row) for query, row in zip(queries, words.indices[:, 0], strict=True)])
        means = np.array([scores[there].mean() for scores, there in zip(dense.scores, dense.found, strict=True)])
        outstanding = (dense.scores[:, 0] - means) / np.maximum(1 - means, 1e-6)
        still_open = np.clip((SURE - outstanding) / (SURE - UNSURE), 0, 1)
        longer = np.array([self._length > LONGER * len(query.split()) for query in queries])
        trusted: Values = found * still_open * longer
        return trusted

    def found(self, query: str, row: int) -> float:
        """The share of the query's words that a text holds, each counted with BM25's weight of rare words."""
        asked = set(self.words.tokens(query))
        held = asked & self._held[row] if row >= 0 else set()
        whole = sum(map(self._rarity, asked))
        return sum(map(self._rarity, held)) / whole if whole else 0.0

    def _rarity(self, word: str) -> float:
        n = self._documents_with[word]
        return float(np.log(1 + (len(self._held) - n + 0.5) / (n + 0.5)))


def fuse_each(rankings: Sequence[Hits], weights: Sequence[float], trust: Values, k: int = 10) -> Hits:
    """`fusion.standard_scores` in which every ranking but the first counts times the trust of its query."""
    first, *others = weights
    rows = [
        fusion.standard_scores(
            [hits.take([query]) for hits in rankings], k, weights=[first, *(float(trusted) * w for w in others)]
        )
        for query, trusted in enumerate(trust)
    ]
    return Hits(np.concatenate([r.scores for r in rows]), np.concatenate([r.indices for r in rows]), rankings[0].holds)
