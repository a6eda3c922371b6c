"""From texts to vectors: prompts, engine, precision, a report of what was cut off, a cache on disk.

Two engines compute the same vectors. sentence-transformers on torch works everywhere; OpenVINO is
faster on a CPU. Whatever is not float32 is checked against float32 on a sample before it is used.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from tokenizers import Tokenizer
from tqdm.auto import tqdm

from semsearch_nb import cache, fingerprints, openvino_engine, settings, shipped
from semsearch_nb.fingerprints import Model
from semsearch_nb.vectors import FloatArray, IntArray, as_count, as_texts

Kind = Literal["query", "document"]
# The least agreement with torch's float32 on a sample: the least cosine of two vectors of a text, or the
# correlation of a cross-encoder's logits. OpenVINO's float32 may add in another order only.
LEAST_AGREEMENT = {"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999, "int8": 0.99}
SAMPLED = {"float32": 15}  # every how many-th of the sample is looked at; of other precisions each
_agreements: dict[str, float | openvino_engine.ConversionError] = {}  # what this process has read or measured
PROGRESS_FROM = 5_000  # texts; below that encoding ends before a bar is read
BLOCK = 2_048  # texts of about equal length that an engine is given at once
PART = 4 * BLOCK  # texts that are encoded before their vectors are kept: minutes on a slow computer
MAPPED_FROM = 64 << 20  # bytes of vectors; fewer are read into memory
VECTORS = "vectors.npy"
NO_LIMIT = 10**9  # tokens; a tokenizer without a limit says 1e30 or infinity
if TYPE_CHECKING:
    Progress = tqdm[NoReturn]


class PrecisionWarning(UserWarning):
    """A precision that was asked for is not faithful for this model here; float32 takes its place."""


class TruncationWarning(UserWarning):
    """Texts were longer than the model reads; what stands past its limit has no effect on them."""


@dataclass(frozen=True)
class Truncation:
    """How much of a list of texts a model does not see. Lengths are in tokens, prompt included.

    `limit` is None where the model reads texts of any length, as static embedding models do.
    """

    n_texts: int
    n_truncated: int
    n_tokens: int
    n_tokens_dropped: int
    longest: int
    limit: int | None

    @property
    def share_of_texts(self) -> float:
        """Truncated texts / texts."""
        return self.n_truncated / self.n_texts

    @property
    def share_of_tokens(self) -> float:
        """Dropped tokens / tokens."""
        return self.n_tokens_dropped / max(self.n_tokens, 1)

    def __str__(self) -> str:
        if self.limit is None:
            return f"none of {self.n_texts:,} texts is too long: the model has no limit"
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
    if found is not None and found.known.all():
        vectors, report = found.vectors, as_report(found.tokens, _limit(model))
    else:
        missing = texts if found is None else [texts[row] for row in np.flatnonzero(~found.known)]
        job = _Job(settle(model, engine, precision, batch_size), kind, texts)
        if progress is None:
            progress = len(missing) >= PROGRESS_FROM
        if use_cache:
            vectors, report = _cached(job, missing, progress)
        else:
            with _bar(missing, progress) as bar:
                vectors = _compute(job, missing, bar)
            report = job.report(missing)
        if found is not None:
            computed, vectors = vectors, np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
            vectors[found.known], vectors[~found.known] = found.vectors, computed
            report = truncation(model, texts, kind)
    if report.n_truncated:
        warnings.warn(f"{kind}: {report}", TruncationWarning, stacklevel=3)
    return vectors


def truncation(model: SentenceTransformer, texts: Sequence[str], kind: Kind = "document") -> Truncation:
    """Count, without encoding, how much of the texts lies past the model's `max_seq_length`."""
    texts, prompt = as_texts(texts), openvino_engine.prompt(model, kind)
    return count_truncated(model, [prompt + text for text in texts])


def count_truncated(model: Model, inputs: Sequence[Any]) -> Truncation:
    """The report on texts with their prompts, or on pairs of texts."""
    parts = [_lengths(model.tokenizer, inputs[start : start + PART]) for start in range(0, len(inputs), PART)]
    return as_report(np.concatenate(parts).astype(np.int64), _limit(model))


def as_report(lengths: IntArray, limit: int | None) -> Truncation:
    """The report on inputs of these lengths in tokens."""
    past = np.maximum(lengths - (limit or NO_LIMIT), 0)
    return Truncation(
        n_texts=len(lengths),
        n_truncated=int((past > 0).sum()),
        n_tokens=int(lengths.sum()),
        n_tokens_dropped=int(past.sum()),
        longest=int(lengths.max()),
        limit=limit,
    )


def lengths(model: Model, texts: Sequence[str], kind: Kind) -> IntArray:
    """The tokens of each text, prompt included."""
    prompt = openvino_engine.prompt(model, kind)
    return np.array(_lengths(model.tokenizer, [prompt + text for text in texts]), dtype=np.int64)


def _limit(model: Model) -> int | None:
    """How many tokens the model reads; None where it has no limit."""
    tokenizer, limit = model.tokenizer, model.max_seq_length
    if isinstance(tokenizer, Tokenizer) and tokenizer.truncation:
        limit = tokenizer.truncation["max_length"]
    return int(limit) if limit and limit < NO_LIMIT else None


def _shipped(model: SentenceTransformer, kind: Kind, texts: Sequence[str]) -> shipped.Found | None:
    """What comes with the installation, where float32 or nothing is asked for; a changed model has another identity."""
    if settings.current().precision not in ("auto", "float32"):
        return None
    prompt, limit = openvino_engine.prompt(model, kind), model.max_seq_length or 0
    return shipped.look_up(*fingerprints.identity(model), prompt, limit, texts)


def _lengths(tokenizer: Any, inputs: Sequence[Any]) -> list[int]:
    """Tokens of each input, those that are cut off included."""
    if isinstance(tokenizer, Tokenizer):  # of a static embedding model
        encoded = tokenizer.encode_batch(inputs, add_special_tokens=False)
        return [len(text.ids) + sum(len(rest.ids) for rest in text.overflowing) for text in encoded]
    if not callable(tokenizer):  # one that sentence-transformers brings, of words
        return [len(tokenizer.tokenize(text)) for text in inputs]
    return [len(ids) for ids in tokenizer(list(inputs), truncation=False, padding=False, verbose=False)["input_ids"]]


def resolve(model: Model, engine: str | None = None, precision: str | None = None) -> tuple[str, str]:
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
    _require_choice("engine", engine)
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
    _require_choice("precision", precision)
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


def _require_choice(name: str, value: str) -> None:
    if value not in settings.CHOICES[name]:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, settings.CHOICES[name]))}, not {value!r}")


@dataclass
class Runner:
    """A model, an engine and a precision, settled. All around the network is sentence-transformers'."""

    model: Any  # SentenceTransformer or CrossEncoder
    engine: str
    precision: str
    fingerprint: dict[str, Any]  # of the model: see `fingerprints.of`
    batch_size: int | None = None

    def vectors(self, texts: Sequence[str], kind: Kind) -> FloatArray:
        """Unit vectors, shape `(n_texts, dimension)`; zero where the model knows no word of a text."""
        encode_them = self._runs.encode_query if kind == "query" else self._runs.encode_document
        vectors = self._call(encode_them, texts, show_progress_bar=False, normalize_embeddings=True)
        # Again in float32: a row that was normalised in bfloat16 has a length of 1 ± 0.002.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths != 0)
        return vectors

    def logits(self, pairs: Sequence[tuple[str, str]], progress: bool = False) -> FloatArray:
        """A cross-encoder's logits, shape `(n_pairs,)`."""
        return self._call(self._runs.predict, pairs, show_progress_bar=progress, activation_fn=torch.nn.Identity())

    def key(self) -> dict[str, Any]:
        """Everything that results depend on besides the texts."""
        how = {"engine": self.engine, "precision": self.precision, "device": self.model.device.type}
        reads = openvino_engine.reads(self.model, self.precision) if self.engine == "openvino" else {}
        return self.fingerprint | how | reads

    def _call(self, method: Any, inputs: Sequence[Any], **options: Any) -> FloatArray:
        size = self.batch_size or (32 if self.engine == "torch" else openvino_engine.TEXTS_AT_ONCE)
        precision = self.precision if self.engine == "torch" else "float32"  # OpenVINO knows its own
        with autocast(precision, self.model.device.type):
            return np.asarray(method(list(inputs), batch_size=size, **options), dtype=np.float32)

    @cached_property
    def _runs(self) -> Any:
        if self.engine == "torch":
            return self.model
        return openvino_engine.accelerated(self.model, self.precision, self.fingerprint)


def settle(
    model: Model, engine: str | None = None, precision: str | None = None, batch_size: int | None = None
) -> Runner:
    """A runner as asked for if its results agree with torch's float32, else one of torch's float32.

    A fixed sample of texts, or of pairs for a cross-encoder, is computed both ways; the agreement must reach
    `LEAST_AGREEMENT`. The outcome is kept in the cache folder. Warns (`PrecisionWarning`) where it does not.

    Raises:
        ValueError, TypeError: as `encode` says.
    """
    batch_size = None if batch_size is None else as_count(batch_size, "batch_size")
    runner = Runner(model, *resolve(model, engine, precision), fingerprints.of(model), batch_size)
    if (runner.engine, runner.precision) == ("torch", "float32"):
        return runner
    least = LEAST_AGREEMENT[runner.precision]
    what = "logits with a correlation of" if isinstance(model, CrossEncoder) else "vectors with cosine"
    try:
        agreement = _agreement(runner)
        problem = (
            f"{runner.precision} in {runner.engine} gives {what} {agreement:.4f} to float32, and {least} is asked for"
        )
    except openvino_engine.ConversionError as error:
        agreement, problem = -1.0, str(error)
    if agreement >= least:
        return runner
    warnings.warn(f"{problem}; float32 in torch is used in its place", PrecisionWarning, stacklevel=4)
    return replace(runner, engine="torch", precision="float32")


def _agreement(runner: Runner) -> float:
    """What the check has found: in this process, in the cache folder, or now."""
    sample = _sample(runner)
    key = runner.key() | {"sample": cache.digest(sample), "bfloat16 in hardware": cpu_has_bfloat16()}

    def measure(folder: Path | None = None) -> dict[str, float]:
        ways = replace(runner, engine="torch", precision="float32"), runner
        if isinstance(runner.model, CrossEncoder):
            one, other = (way.logits(sample["pairs"]) for way in ways)
            return {"agreement": float(np.corrcoef([one, other])[0, 1])}
        one, other = (np.concatenate([way.vectors(sample[kind], kind) for kind in sample]) for way in ways)
        cosines = (one * other).sum(axis=1)
        return {"agreement": float(cosines.min(initial=1.0, where=one.any(axis=1) | other.any(axis=1)))}

    known = cache.digest(key)
    if known not in _agreements:
        try:
            _agreements[known] = float(cache.notes(cache.folder("precision", key, measure))["agreement"])
        except openvino_engine.ConversionError as error:
            _agreements[known] = error  # which would take as long the next time
        except OSError:  # without a disk it is measured in every process
            _agreements[known] = measure()["agreement"]
    found = _agreements[known]
    if isinstance(found, openvino_engine.ConversionError):
        raise found
    return found


def _sample(runner: Runner) -> dict[Any, Any]:
    """The texts of each kind, or the pairs, on which a precision is checked."""
    step = SAMPLED.get(runner.precision, 1)
    if isinstance(runner.model, CrossEncoder):
        return {"pairs": openvino_engine.sample_pairs()[::step]}
    return {kind: openvino_engine.sample_texts(kind)[::step] for kind in openvino_engine.KINDS}


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
    counts = ("n_texts", "n_truncated", "n_tokens", "n_tokens_dropped")
    sums = {name: sum(report[name] for report in reports) for name in counts}
    return reports[0] | sums | {"longest": max(report["longest"] for report in reports)}


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
