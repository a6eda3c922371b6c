"""Lexical search: BM25, which compares words and knows nothing of their meaning."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer

from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts


class BM25:
    """An index of texts by their words, with the library bm25s.

    Words are lower-cased, English stop words ("what", "does", "the") are dropped and the rest are
    stemmed, so that "volcanoes" finds "volcano". The formula is Lucene's, with its k1 = 1.2 and
    b = 0.75.

    >>> BM25(["A cat sat.", "Dogs bark."]).search(["barking dog"], k=1).indices.tolist()
    [[1]]
    """

    def __init__(self, texts: Sequence[str], *, language: str | None = "english") -> None:
        """Index `texts`; `language=None` neither stems nor drops stop words.

        Raises:
            TypeError: not a list of strings.
            ValueError: no text, no text with a word in it, or a language without a stemmer.
        """
        if language is not None and language not in Stemmer.algorithms():
            raise ValueError(f"language must be None or one of {', '.join(Stemmer.algorithms())}, not {language!r}")
        self._stemmer = Stemmer.Stemmer(language) if language else None
        self._stopwords = "english_plus" if language == "english" else []
        corpus_tokens = self._tokens(texts)
        if not any(corpus_tokens):
            raise ValueError("texts hold no words to index")
        self.n_texts = len(corpus_tokens)
        self._index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
        self._index.index(corpus_tokens, show_progress=False)

    def search(self, queries: Sequence[str], k: int = 10) -> Hits:
        """The `k` texts with the highest BM25 score for each query, best first.

        Scores are sums over the words in common, at least 0, and not comparable between queries. A
        text that shares no word with the query scores 0; it can still fill one of the k places.
        Where the index holds fewer texts than `k`, all are returned. Ties keep the order of the texts.
        """
        k = min(as_count(k, "k"), self.n_texts)
        scores = np.empty((len(queries), k), dtype=np.float32)
        indices = np.empty((len(queries), k), dtype=np.int64)
        for row, tokens in enumerate(self._tokens(queries)):
            every = self._scores(tokens)
            indices[row] = _best(every, k)
            scores[row] = every[indices[row]]
        return Hits(scores, indices)

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """The score of every text for every query, shape `(n_queries, n_texts)`."""
        return np.stack([self._scores(tokens) for tokens in self._tokens(queries)])

    def _scores(self, tokens: list[str]) -> FloatArray:
        found = self._index.get_scores(tokens) if tokens else np.zeros(self.n_texts)
        return np.asarray(found, dtype=np.float32)

    def _tokens(self, texts: Sequence[str]) -> list[list[str]]:
        tokens: list[list[str]] = bm25s.tokenize(
            as_texts(texts),
            stopwords=self._stopwords,
            stemmer=self._stemmer,
            return_ids=False,
            show_progress=False,
        )
        return tokens


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """The positions of the k highest scores, best first; among equals the first positions."""
    floor = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero(scores >= floor)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
