"""Learned sparse search: texts as weights of words that a model has chosen. Taught in notebook 10.

A masked language model guesses words for every token of a text. Of each word of its vocabulary the highest guess is
kept, log(1 + max(0, guess)), and most are 0 (SPLADE: Formal, Piwowarski and Clinchant 2021). Such vectors are searched
as BM25 is, with an inverted index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from sentence_transformers.util import batch_to_device

from semsearch_nb.encoding import tokens
from semsearch_nb.foundation import cache, threads
from semsearch_nb.models import fingerprints
from semsearch_nb.vectors import Hits, as_count, as_texts

BATCH = 16  # texts of about equal length
WORDS = 2_048  # of the vocabulary that are guessed at once, so that the guesses stay in the processor's cache
VECTORS = "vectors.npz"


class Sparse:
    """An inverted index of texts by the words that a sparse encoder gives them, with SciPy.

    Args:
        model: as `models.load_sparse` returns.
        texts: the corpus; encoded at once, or read from the cache.
    """

    def __init__(self, model: SparseEncoder, texts: Iterable[str]) -> None:
        self.model = model
        self.vectors = encode(model, as_texts(texts))
        self._documents_of = self.vectors.T.tocsr()  # a row for each word: the documents that hold it

    @property
    def nbytes(self) -> int:
        """Bytes of the index: a weight and a row for each word of a text, and where each word begins."""
        index = self._documents_of
        return int(index.data.nbytes + index.indices.nbytes + index.indptr.nbytes)

    def search(self, queries: Iterable[str], k: int = 10) -> Hits:
        """The rows of the `k` texts with the largest dot product for each query, best first.

        Where fewer than `k` texts share a word with the query, its row ends with empty places. The shape is
        `(n_queries, min(k, n_texts))`. Ties keep the order of the texts.
        """
        asked = encode(self.model, as_texts(queries, "queries"), "query")
        k = min(as_count(k, "k"), self.vectors.shape[0])
        rows = []
        for row in range(asked.shape[0]):
            found = asked[[row]] @ self._documents_of  # reads the lists of the query's words alone
            best = np.lexsort((found.indices, -found.data))[:k]
            best = best[found.data[best] > 0]
            rows.append((found.data[best], found.indices[best]))
        return Hits.of_rows(rows, k, "rows")


def encode(
    model: SparseEncoder, texts: Sequence[str], kind: str = "document", *, use_cache: bool = True
) -> scipy.sparse.csr_array:
    """The weight of each word of the vocabulary in each text: a sparse float32 matrix, shape `(n_texts, n_words)`.

    The values are those of the model's `encode_document` or `encode_query`, in a third of the time on a CPU: as
    log(1 + max(0, x)) grows with x, only the highest guess of a word has to go through it. They are kept on disk.

    Raises:
        TypeError: `texts` is no list of strings, or `model` no SPLADE that keeps the highest guess.
        ValueError: no text, or an unknown `kind`.
    """
    texts = as_texts(texts)
    if kind not in ("query", "document"):
        raise ValueError(f"kind must be 'query' or 'document', not {kind!r}")
    pooling = model[-1] if isinstance(model, SparseEncoder) else None
    if not isinstance(pooling, SpladePooling) or pooling.pooling_strategy != "max":
        raise TypeError(
            "model must be a SparseEncoder that ends with SpladePooling('max'), as models.load_sparse returns, "
            f"not {model!r:.60}"
        )
    if not use_cache:
        return _compute(model, texts, kind)
    key = fingerprints.of(model) | {
        "limit": model.max_seq_length,
        "device": model.device.type,
        "prompt": tokens.prompt(model, kind),
        "texts": cache.digest(texts),
    }

    def build(folder: Path) -> dict[str, Any]:
        scipy.sparse.save_npz(folder / VECTORS, _compute(model, texts, kind))
        return {}

    return scipy.sparse.csr_array(scipy.sparse.load_npz(cache.folder("sparse", key, build) / VECTORS))


def _compute(model: SparseEncoder, texts: list[str], kind: str) -> scipy.sparse.csr_array:
    """Runs the model up to its last layer, and that layer for a part of the vocabulary at a time, a text a thread."""
    transformer: Any = model[0]
    prompt = tokens.prompt(model, kind)
    head = transformer.auto_model.get_output_embeddings()
    read: list[torch.Tensor] = []

    def intercept(_: Any, inputs: Any) -> Any:
        read.append(inputs[0])
        return (inputs[0][:, :0],)  # nothing is left to compute

    def weights(state: torch.Tensor, mask: torch.Tensor) -> scipy.sparse.csr_array:
        return _weights(head, state[mask], str(model[1].activation_function))

    rows: dict[int, Any] = {}
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    one_thread = ThreadPoolExecutor(threads.count(), initializer=torch.set_num_threads, initargs=(1,))
    with threads.limit(1), one_thread as pool, head.register_forward_pre_hook(intercept):
        for start in range(0, len(texts), BATCH):
            some = order[start : start + BATCH]
            features = transformer.preprocess([texts[row] for row in some], prompt=prompt, task=kind)
            features = batch_to_device(features, model.device)
            with torch.inference_mode():
                transformer(dict(features))
            masks = features["attention_mask"].bool()
            rows |= zip(some, pool.map(weights, read.pop(), masks), strict=True)
    return scipy.sparse.csr_array(scipy.sparse.vstack([rows[row] for row in range(len(texts))], format="csr"))


@torch.inference_mode()
def _weights(head: Any, states: torch.Tensor, activation: str) -> scipy.sparse.csr_array:
    """The words of one text: the highest guess over its tokens, squeezed by a logarithm, or by two."""
    tokens = states.T.contiguous()
    guesses = torch.cat([(words @ tokens).amax(dim=1) for words in head.weight.split(WORDS)])
    weights = (guesses + head.bias).relu().log1p()
    if activation == "log1p_relu":
        weights = weights.log1p()
    return scipy.sparse.csr_array(weights[None].float().cpu().numpy())
