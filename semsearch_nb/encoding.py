"""From texts to vectors: prompts, engine, precision, a report of what was cut off, a cache on disk.

Two engines compute the same vectors. sentence-transformers on torch works everywhere; OpenVINO is
faster on a CPU. Whatever is not float32 is checked against float32 on a sample before it is used.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from tqdm.auto import tqdm

from semsearch_nb import cache, openvino_engine, settings
from semsearch_nb.models import identity
from semsearch_nb.vectors import FloatArray, as_count, as_texts, unit_rows

Kind = Literal["query", "document"]
# The least cosine to float32 on the sample. OpenVINO's float32 may add in another order only.
LEAST_COSINE = {"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999, "int8": 0.99}
_cosines: dict[tuple[str, Path], float] = {}  # what this process has read or measured of it
PROGRESS_FROM = 5_000  # texts; below that encoding ends before a bar is read
BLOCK = 2_048  # texts of about equal length that an engine is given at once
PART = 4 * BLOCK  # texts that are encoded before their vectors are kept: minutes on a slow computer
MAPPED_FROM = 64 << 20  # bytes of vectors; fewer are read into memory
VECTORS = "vectors.npy"
if TYPE_CHECKING:
    Progress = tqdm[NoReturn]


class PrecisionWarning(UserWarning):
    """A precision that was asked for is not faithful for this model here; float32 takes its place."""


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
    batch_size: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    use_cache: bool = True,
    progress: bool | None = None,
) -> FloatArray:
    """One unit vector a text: float32, shape `(n_texts, dimension)`, in the order of the texts.

    Vectors are kept on disk, keyed by model, revision, prompt, limit, engine, precision and texts, so
    that the second run of a notebook does not wait for the model, and a first run that was stopped goes
    on where it was. Large arrays (64 MiB) come back mapped: they need memory only as they are read.
    Warns (`TruncationWarning`) about texts that the model sees only in part, also when the vectors come
    from the cache.

    Args:
        kind: `"query"` or `"document"`; chooses the prompt.
        batch_size: texts that the model sees at once, after sorting by length; without it 32 in
            torch, and as many as have 2,048 tokens in OpenVINO.
        engine: `"torch"`, `"openvino"` or `"auto"`; without it, that of the settings.
        precision: of the arithmetic: `"float32"`, `"bfloat16"`, `"float16"`, `"int8"` (OpenVINO
            only, and not lossless) or `"auto"`; without it, that of the settings.
        progress: show a bar; without it, from 5,000 texts on that are not in the cache.

    Raises:
        TypeError: a string instead of a list of strings, or an element that is not a string.
        ValueError: an empty list, an unknown `kind`, `engine` or `precision`, or an engine that
            cannot do what is asked of it here.
    """
    texts = as_texts(texts)
    if kind not in ("query", "document"):
        raise ValueError(f"kind must be 'query' or 'document', not {kind!r}")
    batch_size = None if batch_size is None else as_count(batch_size, "batch_size")
    engine, precision = faithful(model, *resolve(model, engine, precision))
    if progress is None:
        progress = len(texts) >= PROGRESS_FROM

    job = _Job(model, kind, engine, precision, batch_size)
    if use_cache:
        vectors, report = _cached(job, texts, progress)
    else:
        with _bar(texts, progress) as bar:
            vectors = _compute(job, texts, bar)
        report = truncation(model, texts, kind)
    if report.n_truncated:
        warnings.warn(f"{kind}: {report}", TruncationWarning, stacklevel=3)
    return vectors


def truncation(model: SentenceTransformer, texts: Sequence[str], kind: Kind = "document") -> Truncation:
    """Count, without encoding, how much of the texts lies past the model's `max_seq_length`."""
    texts, prompt = as_texts(texts), openvino_engine.prompt(model, kind)
    lengths: list[int] = []
    for start in range(0, len(texts), PART):
        prompted = [prompt + text for text in texts[start : start + PART]]
        encoded = model.tokenizer(prompted, truncation=False, padding=False, verbose=False)
        lengths += map(len, encoded["input_ids"])
    return count_truncated(lengths, model.max_seq_length)


def count_truncated(n_tokens: Sequence[int], limit: int | None) -> Truncation:
    """The report on texts of so many tokens, for a model that reads `limit` of them."""
    lengths = np.array(n_tokens)
    limit = int(limit or lengths.max())
    return Truncation(
        n_texts=len(lengths),
        n_truncated=int((lengths > limit).sum()),
        n_tokens=int(lengths.sum()),
        n_tokens_dropped=int(np.maximum(lengths - limit, 0).sum()),
        longest=int(lengths.max()),
        limit=limit,
    )


def resolve(
    model: SentenceTransformer | CrossEncoder, engine: str | None = None, precision: str | None = None
) -> tuple[str, str]:
    """The engine and the precision to encode with; what is not given or `"auto"` is chosen here.

    Raises:
        ValueError: an unknown name, or an engine that cannot run this model.
    """
    asked = engine or settings.current().engine
    engine = resolve_engine(asked, model.device.type)
    if engine == "openvino" and not openvino_engine.can_convert(model):
        if asked == "openvino":
            raise ValueError("engine 'openvino' encodes with text transformers on the CPU only; use engine='torch'")
        engine = "torch"
    return engine, resolve_precision(precision or settings.current().precision, model.device.type, engine)


def resolve_engine(engine: str, device: str) -> str:
    """`"auto"` is OpenVINO on a CPU where it is installed, else torch.

    Raises:
        ValueError: an unknown name, or `"openvino"` where it is not installed.
    """
    choices = settings.CHOICES["engine"]
    if engine not in choices:
        raise ValueError(f"engine must be one of {', '.join(map(repr, choices))}, not {engine!r}")
    if engine == "auto":
        return "openvino" if device == "cpu" and openvino_engine.available() else "torch"
    if engine == "openvino" and not openvino_engine.available():
        raise ValueError("engine 'openvino' is not installed; pip install 'semsearch-nb[openvino]', or use 'torch'")
    return engine


def resolve_precision(precision: str, device: str, engine: str = "torch") -> str:
    """The precision to compute in; `"auto"` is the fastest on the device that loses nothing.

    On a CPU that is bfloat16 where it multiplies bfloat16 in hardware (AVX512-BF16 or AMX), else
    float32; on a GPU float16. Weights and results stay float32 (automatic mixed precision).

    Raises:
        ValueError: an unknown name; float16 on a CPU, where it is many times slower; int8 in torch.
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
    if precision == "int8" and (engine != "openvino" or not openvino_engine.available("int8")):
        raise ValueError(
            "int8 needs the OpenVINO engine on a CPU: pip install 'semsearch-nb[openvino]', or use precision='auto'"
        )
    return precision


def faithful(model: SentenceTransformer, engine: str, precision: str) -> tuple[str, str]:
    """Engine and precision as given if their vectors agree with torch's float32, else torch's float32.

    A fixed sample of some 120 texts is encoded both ways; the least cosine must reach `LEAST_COSINE`. The
    outcome is kept in the cache folder. Warns (`PrecisionWarning`) where it does not.
    """
    if (engine, precision) == ("torch", "float32"):
        return engine, precision
    cosine = _least_cosine(model, engine, precision)
    if cosine >= LEAST_COSINE[precision]:
        return engine, precision
    warnings.warn(
        f"{precision} in {engine} gives vectors with cosine {cosine:.4f} to float32, and {LEAST_COSINE[precision]} "
        "is asked for; float32 in torch is used in its place",
        PrecisionWarning,
        stacklevel=4,
    )
    return "torch", "float32"


def _least_cosine(model: SentenceTransformer, engine: str, precision: str) -> float:
    """The least cosine between the two vectors of a text of the sample."""
    name, revision = identity(model)
    samples = {kind: openvino_engine.sample_texts(kind) for kind in openvino_engine.KINDS}
    key = {
        "model": name,
        "revision": revision,
        "engine": engine,
        "precision": precision,
        "sample": cache.digest(samples),
        "prompts": [openvino_engine.prompt(model, kind) for kind in openvino_engine.KINDS],
        "device": model.device.type,
        "bfloat16 in hardware": cpu_has_bfloat16(),
        "versions": [torch.__version__, *openvino_engine.versions(), openvino_engine.RECIPE],
    }

    def build(folder: Path) -> dict[str, Any]:
        cosines = []
        for kind, texts in samples.items():
            one, other = (_Job(model, kind, *how).run(texts) for how in (("torch", "float32"), (engine, precision)))
            cosines.append(float((one * other).sum(axis=1).min()))
        return {"cosine": min(cosines)}

    known = (cache.digest(key), settings.current().cache_dir)
    if known not in _cosines:
        _cosines[known] = float(cache.notes(cache.folder("precision", key, build))["cosine"])
    return _cosines[known]


@dataclass(frozen=True)
class _Job:
    """How texts become vectors, when everything is settled."""

    model: SentenceTransformer
    kind: Kind
    engine: str
    precision: str
    batch_size: int | None = None

    def key(self, texts: list[str]) -> dict[str, Any]:
        """Everything that the vectors of these texts depend on."""
        name, revision = identity(self.model)
        return {
            "model": name,
            "revision": revision,
            "prompt": openvino_engine.prompt(self.model, self.kind),
            "limit": self.model.max_seq_length,
            "engine": self.engine,
            "precision": self.precision,
            "n_texts": len(texts),
            "texts": cache.digest(texts),
        }

    def run(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors of the texts."""
        vectors: Any
        if self.engine == "openvino":
            prompt = openvino_engine.prompt(self.model, self.kind)
            vectors = openvino_engine.encode(self.model, texts, prompt, self.precision, batch_size=self.batch_size)
        else:
            encode_them = self.model.encode_query if self.kind == "query" else self.model.encode_document
            with autocast(self.precision, self.model.device.type):
                vectors = encode_them(
                    list(texts), batch_size=self.batch_size or 32, show_progress_bar=False, normalize_embeddings=True
                )
        # Again in float32: a row that was normalised in bfloat16 has a length of 1 ± 0.002.
        return unit_rows(np.asarray(vectors, dtype=np.float32), "the model's vectors")


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
    return asdict(truncation(job.model, texts, job.kind))


def _write_in_parts(job: _Job, texts: list[str], folder: Path, bar: Progress, parts: str) -> dict[str, Any]:
    reports: list[dict[str, Any]] = []
    whole: Any = None
    order = _longest_first(texts)
    done = 0
    for start in range(0, len(texts), PART):
        rows = order[start : start + PART]
        some = [texts[row] for row in rows]
        part = cache.folder(parts, job.key(some), partial(_write, job, some, bar))
        vectors = _read(part)
        if whole is None:
            shape = (len(texts), vectors.shape[1])
            whole = np.lib.format.open_memmap(folder / VECTORS, mode="w+", dtype=np.float32, shape=shape)
        whole[rows] = vectors
        reports.append(cache.notes(part))
        done += sum(map(len, some))
        bar.update(done - bar.n)  # a part that was there has not moved it
    whole.flush()
    sums = {name: sum(report[name] for report in reports) for name in reports[0]}
    return sums | {name: max(report[name] for report in reports) for name in ("longest", "limit")}


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


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; where torch cannot tell, no."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """Arithmetic of torch in this precision; weights stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, getattr(torch, precision))
