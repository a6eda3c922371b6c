"""The second stage: a cross-encoder reads question and text together, and orders what a first stage found.

A cross-encoder cannot search, since it must read every pair; it can only order candidates. What the
first stage does not find stays unfound. Taught in notebook 05.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from semsearch_nb import cache, encoding, fusion, openvino_engine, settings
from semsearch_nb.encoding import PrecisionWarning, Truncation, TruncationWarning
from semsearch_nb.models import identity
from semsearch_nb.retrieval import Retriever
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts

LEAST_CORRELATION = {"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999, "int8": 0.99}
PROGRESS_FROM = 2_000  # pairs; below that the work ends before a bar is read
STAGE_WEIGHTS = (1.0, 0.7)  # of the two stages' standard scores; measured in benchmarks/results/reranking.md


def rerank(
    queries: str | Sequence[str],
    candidates: Hits | Sequence[str],
    model: CrossEncoder,
    *,
    texts: Sequence[str] | None = None,
    pool: int | None = None,
    probabilities: bool = False,
    **options: Any,
) -> Hits:
    """The candidates of each query in the order of the cross-encoder's scores, best first.

    Args:
        queries: one question or a list of them.
        candidates: `Hits` whose indices are rows of `texts`; or, for one question, a list of texts.
        model: a cross-encoder with one label, as `models.load_reranker` returns.
        texts: the corpus that was searched; only with `Hits`.
        pool: how many candidates a query are read, the first ones; without it all. The others are left out.
        probabilities: scores between 0 and 1 in place of logits. The order is the same.
        options: those of `score`: `batch_size`, `engine`, `precision`, `use_cache` as in
            `encoding.encode`, and `progress`, a bar that without it is shown from 2,000 pairs on.

    Returns:
        Scores and indices of shape `(n_queries, pool)`. Scores are logits: not cosines, without bounds,
        and comparable between queries only as far as the model was trained for it. Ties keep the order
        of the candidates.

    Raises:
        TypeError, ValueError: arguments that do not fit together; the message names them.
    """
    queries = [queries] if isinstance(queries, str) else as_texts(queries)
    indices, texts = _candidates(queries, candidates, texts)
    if pool is not None:
        indices = indices[:, : as_count(pool, "pool")]
    pairs = [(query, texts[row]) for query, rows in zip(queries, indices.tolist(), strict=True) for row in rows]
    logits = score(model, pairs, **options)
    scores = logits.reshape(indices.shape)
    order = np.argsort(-scores, axis=1, kind="stable")
    scores = np.take_along_axis(scores, order, axis=1)
    if probabilities:
        scores = (1 / (1 + np.exp(-scores.astype(np.float64)))).astype(np.float32)
    return Hits(scores, np.take_along_axis(indices, order, axis=1))


def score(
    model: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    use_cache: bool = True,
    progress: bool | None = None,
) -> FloatArray:
    """The logit of each pair of question and text, float32, shape `(n_pairs,)`.

    Kept on disk as the vectors of `encoding.encode` are. Warns (`TruncationWarning`) where the model
    sees pairs only in part: the end of the longer text of the two is cut off.
    """
    if model.num_labels != 1:
        raise ValueError(f"model has {model.num_labels} labels; a re-ranker has one, the relevance of the text")
    batch_size = None if batch_size is None else as_count(batch_size, "batch_size")
    engine, precision = _faithful(model, *encoding.resolve(model, engine, precision))
    report = truncation(model, pairs)
    if report.n_truncated:
        warnings.warn(f"pairs: {report}", TruncationWarning, stacklevel=3)
    show_progress = len(pairs) >= PROGRESS_FROM if progress is None else progress
    if not use_cache:
        return _logits(model, pairs, engine, precision, batch_size, show_progress)
    name, revision = identity(model)
    key = {
        "model": name,
        "revision": revision,
        "limit": model.max_seq_length,
        "engine": engine,
        "precision": precision,
        "pairs": cache.digest(pairs),
    }

    def build(folder: Path) -> dict[str, Any]:
        np.save(folder / "logits.npy", _logits(model, pairs, engine, precision, batch_size, show_progress))
        return {}

    found: FloatArray = np.load(cache.folder("logits", key, build) / "logits.npy", allow_pickle=False)
    return found


def truncation(model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> Truncation:
    """Count, without scoring, how much of the pairs lies past the model's `max_seq_length`."""
    encoded = model.tokenizer([list(pair) for pair in pairs], truncation=False, padding=False, verbose=False)
    return encoding.count_truncated([len(ids) for ids in encoded["input_ids"]], model.max_seq_length)


@dataclass(frozen=True)
class Pipeline:
    """Retrieve `pool` candidates, re-rank them, return the best k.

    The final order is that of both stages together (`fusion.standard_scores`): the first stage also
    knows something, most of all about texts unlike those that the cross-encoder was trained on.

    >>> pipeline = Pipeline(lexical.BM25(texts), models.load_reranker(), texts)  # doctest: +SKIP
    >>> pipeline.search(["Who wrote Faust?"], k=5)  # doctest: +SKIP

    Args:
        weights: of the first stage's and the cross-encoder's standard scores; `(0, 1)` for the
            cross-encoder alone.
    """

    retriever: Retriever
    reranker: CrossEncoder
    texts: Sequence[str]
    pool: int = 50
    weights: tuple[float, float] = STAGE_WEIGHTS

    def search(self, queries: Sequence[str], k: int = 10, **options: Any) -> Hits:
        """The best k of the pool; `options` are those of `rerank`."""
        found = self.retriever.search(queries, as_count(self.pool, "pool"))
        return self.combine(found, rerank(queries, found, self.reranker, texts=self.texts, **options), k)

    def combine(self, found: Hits, reranked: Hits, k: int = 10) -> Hits:
        """The order of both stages together."""
        if self.weights[0] == 0:
            k = as_count(k, "k")
            return Hits(reranked.scores[:, :k], reranked.indices[:, :k])
        return fusion.standard_scores([found, reranked], k, weights=self.weights)


def _candidates(
    queries: Sequence[str], candidates: Hits | Sequence[str], texts: Sequence[str] | None
) -> tuple[np.ndarray[Any, Any], Sequence[str]]:
    """Rows of texts for every query, and the texts."""
    if not isinstance(candidates, Hits):
        if len(queries) != 1 or texts is not None:
            raise TypeError(
                "candidates must be Hits, with texts for their rows; a list of texts goes with one question only"
            )
        listed = as_texts(candidates)
        return np.arange(len(listed), dtype=np.int64)[None, :], listed
    if texts is None:
        raise ValueError("texts is missing: pass the texts that the rows of candidates stand for")
    if len(candidates.indices) != len(queries):
        raise ValueError(f"candidates answer {len(candidates.indices)} queries, and queries has {len(queries)}")
    indices = np.asarray(candidates.indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(
            "candidates must hold row numbers; those of an index with string ids have to be looked up first"
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < len(texts):
        raise ValueError(
            f"candidates has rows from {indices.min()} to {indices.max()} and texts has {len(texts)}; pass the texts "
            "that were searched, in the same order"
        )
    return indices, texts


def _logits(
    model: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    engine: str,
    precision: str,
    batch_size: int | None,
    progress: bool,
) -> FloatArray:
    if engine == "openvino":
        return openvino_engine.score(model, pairs, precision, batch_size=batch_size, progress=progress)
    with encoding.autocast(precision, model.device.type):
        logits = model.predict(
            list(pairs), batch_size=batch_size or 32, show_progress_bar=progress, activation_fn=torch.nn.Identity()
        )
    return np.asarray(logits, dtype=np.float32)


def _faithful(model: CrossEncoder, engine: str, precision: str) -> tuple[str, str]:
    """Engine and precision as given, if their logits of a fixed sample go with torch's float32; else those."""
    if (engine, precision) == ("torch", "float32"):
        return engine, precision
    name, revision = identity(model)
    pairs = openvino_engine.sample_pairs()
    key = {
        "model": name,
        "revision": revision,
        "limit": model.max_seq_length,
        "engine": engine,
        "precision": precision,
        "sample": cache.digest(pairs),
        "device": model.device.type,
        "bfloat16 in hardware": encoding.cpu_has_bfloat16(),
        "versions": [torch.__version__, *openvino_engine.versions(), openvino_engine.RECIPE],
    }

    def build(folder: Path) -> dict[str, Any]:
        one, other = (_logits(model, pairs, *how, None, False) for how in (("torch", "float32"), (engine, precision)))
        return {"correlation": float(np.corrcoef(one, other)[0, 1])}

    known = (cache.digest(key), settings.current().cache_dir)
    if known not in _correlations:
        _correlations[known] = float(cache.notes(cache.folder("precision", key, build))["correlation"])
    if _correlations[known] >= LEAST_CORRELATION[precision]:
        return engine, precision
    warnings.warn(
        f"{precision} in {engine} gives logits with a correlation of {_correlations[known]:.4f} to float32, and "
        f"{LEAST_CORRELATION[precision]} is asked for; float32 in torch is used in its place",
        PrecisionWarning,
        stacklevel=4,
    )
    return "torch", "float32"


_correlations: dict[tuple[str, Path], float] = {}  # what this process has read or measured of it
