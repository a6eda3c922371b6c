"""From texts to vectors: prompts, precision, a report of what was cut off, and a cache on disk."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from semsearch_nb import cache, settings
from semsearch_nb.models import identity
from semsearch_nb.vectors import FloatArray, as_count, as_texts, as_vectors, unit_rows

Kind = Literal["query", "document"]
PROGRESS_FROM = 5_000  # texts; below that encoding ends before a bar is read


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads; what stands past its limit has no effect on them."""


@dataclass(frozen=True)
class Truncation:
    """How much of a list of texts a model does not see. Lengths are in tokens, prompt included."""

    n_texts: int
    n_truncated: int
    n_tokens: int
    n_tokens_dropped: int
    longest: int
    limit: int

    @property
    def share_of_texts(self) -> float:
        """Truncated texts / texts."""
        return self.n_truncated / self.n_texts

    @property
    def share_of_tokens(self) -> float:
        """Dropped tokens / tokens."""
        return self.n_tokens_dropped / self.n_tokens

    def __str__(self) -> str:
        if not self.n_truncated:
            return f"none of {self.n_texts:,} texts is longer than the model's limit of {self.limit} tokens"
        return (
            f"{self.n_truncated:,} of {self.n_texts:,} texts ({self.share_of_texts:.1%}) are longer than the "
            f"model's limit of {self.limit} tokens (the longest has {self.longest:,}); "
            f"{self.share_of_tokens:.1%} of all tokens were dropped"
        )


def encode_queries(model: SentenceTransformer, texts: Sequence[str], **options: Any) -> FloatArray:
    """Unit vectors for what people ask, after the model's query prompt. See `encode`."""
    return encode(model, texts, "query", **options)


def encode_documents(model: SentenceTransformer, texts: Sequence[str], **options: Any) -> FloatArray:
    """Unit vectors for what is searched, after the model's document prompt. See `encode`."""
    return encode(model, texts, "document", **options)


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    kind: Kind,
    *,
    batch_size: int = 32,
    precision: str | None = None,
    use_cache: bool = True,
    progress: bool | None = None,
) -> FloatArray:
    """One unit vector a text: float32, shape `(n_texts, dimension)`, in the order of the texts.

    Vectors are kept on disk, keyed by model, revision, prompt, limit, precision and texts, so that
    the second run of a notebook does not wait for the model. Warns (`TruncationWarning`) about
    texts that the model sees only in part, also when the vectors come from the cache.

    Args:
        kind: `"query"` or `"document"`; chooses the prompt.
        batch_size: texts that the model sees at once; they are sorted by length first.
        precision: of the arithmetic: `"float32"`, `"bfloat16"`, `"float16"`, or `"auto"`; without
            it, that of the settings.
        progress: show a bar; without it, from 5,000 texts on that are not in the cache.

    Raises:
        TypeError: a string instead of a list of strings, or an element that is not a string.
        ValueError: an empty list, an unknown `kind` or `precision`.
    """
    texts = as_texts(texts)
    if kind not in ("query", "document"):
        raise ValueError(f"kind must be 'query' or 'document', not {kind!r}")
    batch_size = as_count(batch_size, "batch_size")
    precision = resolve_precision(precision or settings.current().precision, model.device.type)
    if progress is None:
        progress = len(texts) >= PROGRESS_FROM

    def compute() -> tuple[FloatArray, Truncation]:
        run = model.encode_query if kind == "query" else model.encode_document
        with _autocast(precision, model.device.type):
            vectors = run(texts, batch_size=batch_size, show_progress_bar=progress, normalize_embeddings=True)
        # Again in float32: a row that was normalised in bfloat16 has a length of 1 ± 0.002.
        return unit_rows(np.asarray(vectors, dtype=np.float32), "the model's vectors"), truncation(model, texts, kind)

    vectors, report = _cached(model, texts, kind, precision, compute) if use_cache else compute()
    if report.n_truncated:
        warnings.warn(f"{kind}: {report}", TruncationWarning, stacklevel=3)
    return vectors


def truncation(model: SentenceTransformer, texts: Sequence[str], kind: Kind = "document") -> Truncation:
    """Count, without encoding, how much of the texts lies past the model's `max_seq_length`."""
    prompt = _prompt(model, kind)
    encoded = model.tokenizer(
        [prompt + text for text in as_texts(texts)], truncation=False, padding=False, verbose=False
    )
    lengths = np.array([len(ids) for ids in encoded["input_ids"]])
    limit = int(model.max_seq_length or lengths.max())
    return Truncation(
        n_texts=len(lengths),
        n_truncated=int((lengths > limit).sum()),
        n_tokens=int(lengths.sum()),
        n_tokens_dropped=int(np.maximum(lengths - limit, 0).sum()),
        longest=int(lengths.max()),
        limit=limit,
    )


def resolve_precision(precision: str, device: str) -> str:
    """The precision to compute in; `"auto"` is the fastest on the device that loses nothing.

    On a CPU that is bfloat16 where it multiplies bfloat16 in hardware (AVX512-BF16 or AMX), else
    float32; on a GPU float16. Weights and results stay float32 (automatic mixed precision).

    Raises:
        ValueError: an unknown name, or float16 on a CPU, where it is many times slower.
    """
    choices = settings.CHOICES["precision"]
    if precision not in choices:
        raise ValueError(f"precision must be one of {', '.join(map(repr, choices))}, not {precision!r}")
    if precision == "auto":
        if device == "cpu":
            return "bfloat16" if cpu_has_bfloat16() else "float32"
        return "float16"
    if precision == "float16" and device == "cpu":
        raise ValueError("float16 is many times slower than float32 on a CPU; use 'bfloat16' or 'auto'")
    return precision


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; where torch cannot tell, no."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def _cached(
    model: SentenceTransformer,
    texts: list[str],
    kind: Kind,
    precision: str,
    compute: Callable[[], tuple[FloatArray, Truncation]],
) -> tuple[FloatArray, Truncation]:
    """What `compute` returns, from the cache folder where it has been computed before."""
    name, revision = identity(model)
    key = {
        "model": name,
        "revision": revision,
        "prompt": _prompt(model, kind),
        "limit": model.max_seq_length,
        "precision": precision,
        "n_texts": len(texts),
        "texts": cache.digest(texts),
    }

    def build(folder: Path) -> dict[str, Any]:
        vectors, report = compute()
        np.save(folder / "vectors.npy", vectors, allow_pickle=False)
        return asdict(report)

    folder = cache.folder("embeddings", key, build)
    vectors = as_vectors(np.load(folder / "vectors.npy", allow_pickle=False), "the cached vectors")
    return vectors, Truncation(**cache.notes(folder))


def _prompt(model: SentenceTransformer, kind: Kind) -> str:
    return str(model.prompts.get(kind) or "")


def _autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, getattr(torch, precision))
