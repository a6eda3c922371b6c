"""First stages that take the texts of queries: dense, lexical (`lexical.BM25`), and both together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sentence_transformers import SentenceTransformer

from semsearch_nb import encoding, fusion, indexes
from semsearch_nb.vectors import Hits, as_count, as_texts


class Retriever(Protocol):
    """Anything that finds rows of a corpus for the texts of queries, as `lexical.BM25` does."""

    def search(self, queries: Sequence[str], k: int = 10) -> Hits: ...


class Dense:
    """Vectors of a bi-encoder, searched exactly or in an index.

    Args:
        model: as `models.load` returns.
        texts: the corpus; encoded at once, or read from the cache.
        index: in place of exact search: anything with `search(vectors, k)` over the rows of the corpus.
    """

    def __init__(self, model: SentenceTransformer, texts: Sequence[str], *, index: Any = None) -> None:
        self.model = model
        if index is None:  # an index that holds nothing is an index too
            index = indexes.Exact().build(encoding.encode_documents(model, as_texts(texts)))
        self._index = index

    def search(self, queries: Sequence[str], k: int = 10) -> Hits:
        """The `k` rows with the highest cosine for each query, best first."""
        vectors = encoding.encode_queries(self.model, as_texts(queries, "queries"))
        found: Hits = self._index.search(vectors, k=as_count(k, "k"))
        return found


# Of the retrievers after the first. Alike, BM25 costs more where it is weak than it brings where it is strong.
OTHERS_WEIGHT = 0.25


@dataclass(frozen=True, eq=False)
class Hybrid:
    """Several retrievers over one corpus, fused.

    Args:
        retrievers: each finds `pool` candidates a query; the one that you trust most comes first.
        weights: one a retriever, by default 1 for the first and a quarter for each of the others. A few
            judged queries find better ones: `fusion.learn_weights`.
        fuse: or `fusion.reciprocal_rank`, best with a pool of ten: a deep one costs much where a retriever is weak.
    """

    retrievers: Sequence[Retriever]
    pool: int = 100
    weights: Sequence[float] | None = None
    fuse: fusion.Fuse = fusion.standard_scores

    def search(self, queries: Sequence[str], k: int = 10) -> Hits:
        """The `k` rows that are best together, best first."""
        pool = max(as_count(self.pool, "pool"), as_count(k, "k"))
        queries = as_texts(queries, "queries")  # once: each retriever reads them
        others = [OTHERS_WEIGHT] * (len(self.retrievers) - 1)
        weights = [1, *others] if self.weights is None else [float(weight) for weight in self.weights]
        return self.fuse([retriever.search(queries, pool) for retriever in self.retrievers], k, weights=weights)
