"""From texts to vectors: those that are shipped, those in the cache, and the others by the engine."""

from __future__ import annotations

import functools
import operator
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
from sentence_transformers import SentenceTransformer
from tqdm.auto import tqdm

from semsearch_nb.encoding import shipped
from semsearch_nb.encoding.engines import Runner, settle
from semsearch_nb.encoding.tokens import Kind, Truncation, TruncationWarning, prompt, truncation
from semsearch_nb.foundation import cache, settings
from semsearch_nb.models import fingerprints
from semsearch_nb.vectors import FloatArray, as_texts

PROGRESS_FROM = 5_000  # texts; below that encoding ends before a bar is read
BLOCK = 2_048  # texts of about equal length that an engine is given at once
PART = 4 * BLOCK  # texts that are encoded before their vectors are kept: minutes on a slow computer
MAPPED_FROM = 64 << 20  # bytes of vectors; fewer are read into memory
VECTORS = "vectors.npy"
if TYPE_CHECKING:
    Progress = tqdm[NoReturn]


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
    batch_size: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    use_cache: bool = True,
    progress: bool | None = None,
) -> FloatArray:
    """One unit vector a text: float32, shape `(n_texts, dimension)`, in the order of the texts.

    The vectors are those of the model's `encode_query` or `encode_document`, in every engine, with its prompts
    and its `truncate_dim`. They are kept on disk, keyed by the texts and all that the computation reads: the
    model's weights and configuration, kind, engine, precision, versions of the libraries (`Runner.key`). So the
    second run of a notebook does not wait for the model, and a first run that was stopped goes on where it was.
    Large arrays (64 MiB) come back mapped: they need memory only as they are read. Warns (`TruncationWarning`)
    about texts that the model sees only in part, also when the vectors come from the cache.

    Args:
        kind: `"query"` or `"document"`; chooses the prompt.
        batch_size: texts that the model is given at once, after sorting by length; without it 32 in torch and
            128 in OpenVINO, which is given pieces of at most 2,048 tokens of them.
        engine: `"torch"`, `"openvino"` or `"auto"`; without it, that of the settings.
        precision: of the arithmetic: `"float32"`, `"bfloat16"`, `"float16"`, `"int8"` (OpenVINO
            only, and not lossless) or `"auto"`; without it, that of the settings.
        use_cache: without it nothing is kept, and no cache folder is needed.
        progress: show a bar; without it, from 5,000 texts on that are not in the cache.

    Raises:
        TypeError: a string instead of a list of strings, or an element that is not a string.
        ValueError: an empty list, an unknown `kind`, `engine` or `precision`, or an engine that
            cannot do what is asked of it here; a text whose vector is zero or not finite.
    """
    texts = as_texts(texts)
    if kind not in ("query", "document"):
        raise ValueError(f"kind must be 'query' or 'document', not {kind!r}")
    found = _shipped(model, kind, texts) if use_cache and engine is None and precision is None else None
    computed = None
    if missing := shipped.missing(found, texts):
        job = _Job(settle(model, engine, precision, batch_size), kind, texts)
        shown = len(missing) >= PROGRESS_FROM if progress is None else progress
        if use_cache:
            computed = _cached(job, missing, shown)
        else:
            with _bar(missing, shown) as bar:
                computed = _compute(job, missing, bar), job.report(missing)
    vectors, report = shipped.merged(found, computed, model)
    if report.n_truncated:
        warnings.warn(f"{kind}: {report}", TruncationWarning, stacklevel=3)
    return vectors


def _shipped(model: SentenceTransformer, kind: Kind, texts: Sequence[str]) -> shipped.Found | None:
    """What comes with the installation; a changed model has another identity."""
    limit = model.max_seq_length or 0
    return shipped.look_up(*fingerprints.identity(model), prompt(model, kind), limit, texts)


@dataclass
class _Job:
    """Texts of one kind on their way to vectors. Its methods are given some of them."""

    runner: Runner
    kind: Kind
    whole: list[str]

    def key(self, texts: list[str]) -> dict[str, Any]:
        return self.runner.key() | {"kind": self.kind, "n_texts": len(texts), "texts": cache.digest(texts)}

    def run(self, texts: list[str]) -> FloatArray:
        """Unit vectors; errors name the place in all the texts, which come here sorted."""
        vectors = self.runner.vectors(texts, self.kind)
        bad = {text for text, length in zip(texts, np.linalg.norm(vectors, axis=1), strict=True) if not length > 0}
        for position, text in enumerate(self.whole if bad else ()):
            if text in bad:
                raise ValueError(
                    f"texts[{position}] has no direction: the model's vector of {text!r:.60} is zero or not finite; "
                    "leave that text out"
                )
        return vectors

    def report(self, texts: list[str]) -> Truncation:
        return truncation(self.runner.model, texts, self.kind)


def _compute(job: _Job, texts: list[str], bar: Progress) -> FloatArray:
    """The vectors of all texts; those of about equal length are encoded together."""
    vectors: FloatArray | None = None
    order = _longest_first(texts)
    for start in range(0, len(texts), BLOCK):
        rows = order[start : start + BLOCK]
        some = [texts[row] for row in rows]
        found = job.run(some)
        if vectors is None:
            vectors = np.empty((len(texts), found.shape[1]), dtype=np.float32)
        vectors[rows] = found
        bar.update(sum(map(len, some)))
    assert vectors is not None
    return vectors


def _cached(job: _Job, texts: list[str], progress: bool) -> tuple[FloatArray, Truncation]:
    """Vectors and report, from the cache folder where they have been computed before.

    Many texts are encoded in parts, each of which is kept as soon as it is complete: after a stop the
    next call goes on from there. The whole is written to a file that is mapped, so that no more than a
    part of it must be in memory.
    """
    key = job.key(texts)
    parts = f"embedding-parts/{cache.digest(key)}"

    def build(folder: Path) -> dict[str, Any]:
        with _bar(texts, progress) as bar:
            if len(texts) <= PART:
                return _write(job, texts, bar, folder)
            return _write_in_parts(job, texts, folder, bar, parts)

    folder = cache.folder("embeddings", key, build)
    shutil.rmtree(settings.current().cache_dir / parts, ignore_errors=True)
    return _read(folder), Truncation(**cache.notes(folder))


def _write(job: _Job, texts: list[str], bar: Progress, folder: Path) -> dict[str, Any]:
    np.save(folder / VECTORS, _compute(job, texts, bar), allow_pickle=False)
    return asdict(job.report(texts))


def _write_in_parts(job: _Job, texts: list[str], folder: Path, bar: Progress, parts: str) -> dict[str, Any]:
    reports: list[Truncation] = []
    whole: Any = None
    order = _longest_first(texts)
    done = 0
    for start in range(0, len(texts), PART):
        rows = order[start : start + PART]
        some = [texts[row] for row in rows]
        part = cache.folder(parts, job.key(some), functools.partial(_write, job, some, bar))
        vectors = _read(part)
        if whole is None:
            shape = (len(texts), vectors.shape[1])
            whole = np.lib.format.open_memmap(folder / VECTORS, mode="w+", dtype=np.float32, shape=shape)
        whole[rows] = vectors
        reports.append(Truncation(**cache.notes(part)))
        done += sum(map(len, some))
        bar.update(done - bar.n)  # a part that was there has not moved it
    whole.flush()
    return asdict(functools.reduce(operator.add, reports))


def _read(folder: Path) -> FloatArray:
    """The vectors of a folder, mapped where they are many: copies of what is changed stay in memory."""
    mode: Literal["c"] | None = "c" if (folder / VECTORS).stat().st_size >= MAPPED_FROM else None
    vectors: FloatArray = np.asarray(np.load(folder / VECTORS, mmap_mode=mode, allow_pickle=False))
    return vectors


def _longest_first(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.argsort([-len(text) for text in texts], kind="stable")


def _bar(texts: Sequence[str], progress: bool) -> Progress:
    """Counts characters, not texts: as long texts come first, only then is its estimate right."""
    total = sum(map(len, texts))
    return tqdm(total=total, desc="Encoding", unit="character", unit_scale=True, disable=not progress)
