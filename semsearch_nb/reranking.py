"""The second stage: a cross-encoder reads question and text together, and orders what a first stage found.

A cross-encoder cannot search, since it must read every pair; it can only order candidates. What the
first stage does not find stays unfound. Taught in notebook 05.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sentence_transformers import CrossEncoder

from semsearch_nb import encoding, fusion
from semsearch_nb.encoding import Truncation, TruncationWarning, shipped
from semsearch_nb.foundation import cache
from semsearch_nb.models import fingerprints
from semsearch_nb.vectors import FloatArray, Hits, as_count, as_texts

if TYPE_CHECKING:
    from semsearch_nb.retrieval import Retriever

PROGRESS_FROM = 2_000  # pairs; below that the work ends before a bar is read
STAGE_WEIGHTS = (1.0, 0.7)  # of the two stages; none tried is better over ten sets: benchmarks/results/reranking.md
Texts = Sequence[str] | Mapping[Any, str]
SIDES = ("pairs (questions)", "pairs (texts)")  # what an error calls them


def rerank(
    queries: str | Sequence[str],
    candidates: Hits | Sequence[str],
    model: CrossEncoder,
    *,
    texts: Texts | None = None,
    pool: int | None = None,
    probabilities: bool = False,
    **options: Any,
) -> Hits:
    """The candidates of each query in the order of the cross-encoder's scores, best first.

    Args:
        queries: one question or a list of them.
        candidates: `Hits` of those queries; or, for one question, a list of texts.
        model: a cross-encoder with one label, as `models.load_reranker` returns.
        texts: only with `Hits`: the corpus that was searched, in its order. Where the hits hold ids, a
            dictionary from id to text.
        pool: how many candidates a query are read, the first ones; without it all. The others are left out
            (`Pipeline` keeps them behind the pool).
        probabilities: scores between 0 and 1 in place of logits. The order is the same.
        options: those of `score`: `batch_size`, `engine`, `precision`, `use_cache` as in
            `encoding.encode`, and `progress`, a bar that without it is shown from 2,000 pairs on.

    Returns:
        Scores and indices of shape `(n_queries, pool)`. Scores are logits: not cosines, without bounds,
        and comparable between queries only as far as the model was trained for it. Ties keep the order
        of the candidates, and empty places stay empty.

    Raises:
        TypeError, ValueError: arguments that do not fit together; the message names them.
    """
    queries = as_texts([queries] if isinstance(queries, str) else queries, "queries")
    if not isinstance(candidates, Hits):
        if len(queries) != 1 or texts is not None:
            raise TypeError(
                "candidates must be Hits, with texts for their rows; a list of texts goes with one question only"
            )
        texts = as_texts(candidates, "candidates")
        rows = np.arange(len(texts))[None, :]
        candidates = Hits(np.zeros(rows.shape, dtype=np.float32), rows)
    elif texts is None:
        raise ValueError("texts is missing: pass the texts that the rows of candidates stand for")
    hits = candidates.numpy() if pool is None else candidates.numpy().cut(as_count(pool, "pool"))
    pairs = _pairs(queries, hits, texts)
    scores = np.full(hits.scores.shape, -np.inf, dtype=np.float32)
    if pairs:
        logits = score(model, pairs, **options)
        scores[hits.found] = 1 / (1 + np.exp(-logits.astype(np.float64))) if probabilities else logits
    order = np.argsort(-scores, axis=1, kind="stable")
    return Hits(np.take_along_axis(scores, order, axis=1), np.take_along_axis(hits.indices, order, axis=1), hits.holds)


def _pairs(queries: list[str], hits: Hits, texts: Texts) -> list[tuple[str, str]]:
    """Question and text of every place that is not empty, query by query."""
    if len(hits) != len(queries):
        raise ValueError(f"candidates answer {len(hits)} queries, and queries has {len(queries)}")
    wanted = hits.indices[hits.found].tolist()
    if isinstance(texts, Mapping):
        if missing := [key for key in wanted if key not in texts]:
            raise ValueError(f"texts has no {missing[0]!r}, which candidates name ({len(missing)} are missing)")
        found = as_texts([texts[key] for key in wanted], "texts of candidates") if wanted else []
    else:
        listed = as_texts(texts)
        if hits.holds == "ids":
            raise TypeError("candidates hold ids, and texts is a list: pass a dictionary from id to text")
        if wanted and not 0 <= min(wanted) <= max(wanted) < len(listed):
            raise ValueError(
                f"candidates has rows from {min(wanted)} to {max(wanted)} and texts has {len(listed)}; pass the texts "
                "that were searched, in the same order"
            )
        found = [listed[row] for row in wanted]
    asked = np.repeat(np.arange(len(queries)), hits.found.sum(axis=1))
    return [(queries[query], text) for query, text in zip(asked, found, strict=True)]


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

    Taken from those that come with the installation, or kept on disk, as the vectors of `encoding.encode` are.
    Warns (`TruncationWarning`) where the model sees pairs only in part: the end of the longer text of the two is
    cut off.

    Raises:
        TypeError, ValueError: `pairs` is empty or holds something else than pairs of strings; a model with
            several labels; the options of `encoding.encode`.
    """
    if model.num_labels != 1:
        raise ValueError(f"model has {model.num_labels} labels; a re-ranker has one, the relevance of the text")
    checked = _checked(pairs)
    found = _shipped(model, checked) if use_cache and engine is None and precision is None else None
    computed = None
    if missing := shipped.missing(found, checked):
        runner = encoding.settle(model, engine, precision, batch_size)
        shown = len(missing) >= PROGRESS_FROM if progress is None else progress
        computed = _computed(runner, missing, use_cache, shown)
    vectors, report = shipped.merged(found, computed, model)
    logits: FloatArray = vectors[:, 0]
    if report.n_truncated:
        warnings.warn(f"pairs: {report}", TruncationWarning, stacklevel=3)
    return logits


def _shipped(model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> shipped.Found | None:
    """What comes with the installation; a changed model has another identity."""
    limit = model.max_seq_length or 0
    return shipped.look_up(*fingerprints.identity(model), "", limit, shipped.joined(pairs))


def _computed(
    runner: encoding.Runner, pairs: list[tuple[str, str]], use_cache: bool, progress: bool
) -> tuple[FloatArray, Truncation]:
    """Logits as vectors of one dimension, and the report, from the cache folder where they are there already."""

    def build(folder: Path) -> dict[str, Any]:
        np.save(folder / "logits.npy", runner.logits(pairs, progress))
        return asdict(encoding.count_truncated(runner.model, pairs))

    if not use_cache:
        return runner.logits(pairs, progress)[:, None], encoding.count_truncated(runner.model, pairs)
    folder = cache.folder("logits", runner.key() | {"pairs": cache.digest(pairs)}, build)
    return np.load(folder / "logits.npy", allow_pickle=False)[:, None], Truncation(**cache.notes(folder))


def truncation(model: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> Truncation:
    """Count, without scoring, how much of the pairs lies past the model's `max_seq_length`."""
    return encoding.count_truncated(model, _checked(pairs))


def _checked(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    listed = [tuple(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else pair for pair in pairs]
    for position, pair in enumerate(listed):
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"pairs[{position}] must be a pair of question and text, not {pair!r:.60}")
    questions, texts = (as_texts([pair[side] for pair in listed], name) for side, name in enumerate(SIDES))
    return list(zip(questions, texts, strict=True))


@dataclass(frozen=True)
class Pipeline:
    """Retrieve candidates, re-rank the first `pool` of them, return the best k.

    The order within the pool is that of both stages together (`fusion.standard_scores`): the first stage also
    knows something, most of all about texts unlike those that the cross-encoder was trained on. Where k is
    larger than the pool, the other candidates follow behind it in the order of the first stage.

    >>> pipeline = Pipeline(lexical.BM25(texts), models.load_reranker(), texts)  # doctest: +SKIP
    >>> pipeline.search(["Who wrote Faust?"], k=5)  # doctest: +SKIP

    Args:
        retriever: finds rows of `texts`, or ids that are keys of it.
        texts: the corpus, or a dictionary from id to text.
        weights: of the first stage's and the cross-encoder's standard scores; `(0, 1)` for the
            cross-encoder alone.
    """

    retriever: Retriever
    reranker: CrossEncoder
    texts: Texts
    pool: int = 50
    weights: tuple[float, float] = STAGE_WEIGHTS

    def __post_init__(self) -> None:
        if not isinstance(self.texts, Mapping):
            object.__setattr__(self, "texts", as_texts(self.texts))

    def search(self, queries: Sequence[str], k: int = 10, **options: Any) -> Hits:
        """The best k; `options` are those of `score`."""
        if "probabilities" in options:
            raise TypeError(
                "Pipeline.search has no probabilities: its scores are of both stages; "
                "use rerank(..., probabilities=True) for those of the cross-encoder"
            )
        queries, pool = as_texts(queries, "queries"), as_count(self.pool, "pool")
        found = self.retriever.search(queries, max(pool, as_count(k, "k")))
        return self.combine(found, rerank(queries, found, self.reranker, texts=self.texts, pool=pool, **options), k)

    def combine(self, found: Hits, reranked: Hits, k: int = 10, *, pool: int | None = None) -> Hits:
        """The order of both stages together, of what both hold; then the rest of what the first one found.

        Scores are those of the fusion. Those of the rest fall by 1 from place to place: they say the order only.

        Args:
            found: of the first stage, at least as many as were re-ranked.
            reranked: what `rerank` made of the first of them.
            pool: as if only so many had been re-ranked. So one scoring serves for every smaller pool.
        """
        found, reranked = found.numpy(), reranked.numpy()
        if pool is not None:
            reranked = _of_the_first(reranked, found.cut(pool))
        k, pool = as_count(k, "k"), reranked.scores.shape[1]
        if not pool:
            return found.cut(k)
        best = reranked
        if self.weights[0] != 0:
            best = fusion.standard_scores([found.cut(pool), reranked], pool, weights=self.weights)
        rest = found.scores[:, pool:] != -np.inf
        lowest = np.where(best.found, best.scores, np.inf).min(axis=1, initial=0, keepdims=True)
        below = np.where(rest, lowest - np.arange(1, rest.shape[1] + 1), -np.inf).astype(np.float32)
        scores = np.concatenate([best.scores, below], axis=1)
        indices = np.concatenate([best.indices, found.indices[:, pool:]], axis=1)
        return Hits(scores, indices, found.holds).cut(k)


def _of_the_first(reranked: Hits, first: Hits) -> Hits:
    """Those of `reranked` that are in `first`, in their order; the places behind them are empty."""
    kept = (reranked.indices[:, :, None] == first.indices[:, None, :]).any(axis=2) & reranked.found
    order = np.argsort(~kept, axis=1, kind="stable")[:, : first.scores.shape[1]]
    kept, scores, indices = (np.take_along_axis(a, order, axis=1) for a in (kept, reranked.scores, reranked.indices))
    nothing = np.array(None if indices.dtype.kind == "O" else -1, dtype=indices.dtype)
    return Hits(np.where(kept, scores, -np.inf).astype(np.float32), np.where(kept, indices, nothing), reranked.holds)
