"""Lexical search: BM25, which compares words and knows nothing of their meaning."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import bm25s
import numpy as np
import Stemmer

from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts

# Python's \w leaves out the marks that vowels are written with in Hindi or Thai.
_MARKS = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char) in ("Mn", "Mc"))
_UNSPACED = (
    "\u3005\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Japanese
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"  # Chinese
    "\u0e01-\u0e30\u0e32-\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2-\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"  # Thai, Lao
    "\u1000-\u102a\u103f\u1050-\u1055\u1780-\u17b3"  # Burmese, Khmer
)
_CHARACTER = re.compile(rf"[{_UNSPACED}][{_MARKS}]*")
_WORDS = re.compile(
    rf"(?P<unspaced>(?:{_CHARACTER.pattern})+)|(?<!\w)[^\W\d_](?:\+\+|\#)|(?:(?![{_UNSPACED}])[\w{_MARKS}])+"
)
_ASCII_WORDS = re.compile(r"(?<!\w)[a-z](?:\+\+|\#)|\w+")  # the same, much faster


class BM25:
    """An index of texts by their words, with the library bm25s. The formula is Lucene's, k1 = 1.2 and b = 0.75.

    Texts and queries are cut into words alike: written in Unicode's form NFKC and in lower case, every run of
    letters, digits and marks is a word, also one of a single letter, as are "c++" and "c#". English stop words
    ("what", "does", "the") are dropped, and the rest are stemmed, so that "volcanoes" finds "volcano". Scripts
    without spaces (Chinese, Japanese, Thai, Lao, Burmese, Khmer) give each character and each two neighbours,
    as Lucene's CJKBigramFilter does with `outputUnigrams`.

    >>> BM25(["A cat sat.", "Dogs bark."]).search(["barking dog"], k=1).indices.tolist()
    [[1]]
    """

    def __init__(self, texts: Iterable[str], *, language: str | None = "english") -> None:
        """Index `texts`; `language=None` neither stems nor drops stop words, other languages stem only.

        Raises:
            TypeError: not a list of strings.
            ValueError: no text, no text with a word in it, or a language without a stemmer.
        """
        if language is not None and language not in Stemmer.algorithms():
            raise ValueError(f"language must be None or one of {', '.join(Stemmer.algorithms())}, not {language!r}")
        self._stemmer = Stemmer.Stemmer(language) if language else None
        self._stopwords = frozenset(bm25s.stopwords.STOPWORDS_EN_PLUS if language == "english" else ())
        corpus = [self.tokens(text) for text in as_texts(texts)]
        if not any(corpus):
            raise ValueError("texts hold no words to index; stop words alone are none")
        self.n_texts = len(corpus)
        self._index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
        self._index.index(corpus, show_progress=False)

    @property
    def nbytes(self) -> int:
        """Bytes of the scores that the index holds, without its vocabulary."""
        return sum(int(part.nbytes) for part in self._index.scores.values() if isinstance(part, np.ndarray))

    def search(self, queries: Iterable[str], k: int = 10) -> Hits:
        """The rows of the `k` texts with the highest BM25 score for each query, best first.

        Scores are sums over the words in common, above 0 and not comparable between queries. Where fewer than
        `k` texts share a word with the query, its row ends with empty places. The shape is
        `(n_queries, min(k, n_texts))`. Ties keep the order of the texts.

        Warns:
            UserWarning: a query has no word at all, or stop words alone; nothing is found for it.
        """
        asked, k = as_texts(queries, "queries"), min(as_count(k, "k"), self.n_texts)
        rows = []
        for every in self._scores(asked):
            best = _best(every, k)
            best = best[every[best] > 0]
            rows.append((every[best], best))
        return Hits.of_rows(rows, k, "rows")

    def scores(self, queries: Iterable[str]) -> FloatArray:
        """The score of every text for every query, shape `(n_queries, n_texts)`; 0 where no word is shared."""
        return np.stack(list(self._scores(as_texts(queries, "queries"))))

    def shares_a_word(
        self, queries: Iterable[str], answers: Iterable[list[int]]
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether each query shares a word with one of its answers, which are rows of the texts; shape `(n_queries,)`.

        So questions can be told apart for which words can do something from those for which they cannot.
        """
        asked = as_texts(queries, "queries")
        return np.array([every[rows].any() for every, rows in zip(self._scores(asked), answers, strict=True)])

    def _scores(self, queries: Sequence[str]) -> Iterator[FloatArray]:
        tokens = [self.tokens(query) for query in queries]
        if lost := [query for query, its in zip(queries, tokens, strict=True) if not its]:
            message = f"{len(lost)} of {len(queries)} queries have no word to look for, the first is {lost[0]!r:.60}"
            warnings.warn(message, stacklevel=3)
        for its in tokens:
            yield np.asarray(self._index.get_scores(its) if its else np.zeros(self.n_texts), dtype=np.float32)

    def tokens(self, text: str) -> list[str]:
        """The words of a text as they are compared: without stop words, stemmed."""
        words = [word for word in _words(text) if word not in self._stopwords]
        return self._stemmer.stemWords(words) if self._stemmer else words


def _words(text: str) -> list[str]:
    """The words of a text, in its order.

    >>> _words("C++ or C#? 罗马城"), _words("An x-ray")
    (['c++', 'or', 'c#', '罗', '马', '城', '罗马', '马城'], ['an', 'x', 'ray'])
    """
    if text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    words: list[str] = []
    for found in _WORDS.finditer(unicodedata.normalize("NFKC", text).lower()):
        if found["unspaced"]:
            characters = _CHARACTER.findall(found[0])
            words += [*characters, *map("".join, pairwise(characters))]
        else:
            words.append(found[0])
    return words


def _best(scores: FloatArray, k: int) -> np.ndarray:
    """The positions of the k highest scores, best first; among equals the first positions."""
    floor = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero(scores >= floor)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
