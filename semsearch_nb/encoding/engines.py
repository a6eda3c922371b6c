"""What computes vectors and logits: an engine and a precision that keep to float32, or float32 itself.

Two engines compute the same. sentence-transformers on torch works everywhere; OpenVINO is faster on a CPU.
Whatever is not float32 is checked against float32 on a sample before it is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from semsearch_nb.encoding import openvino_engine
from semsearch_nb.encoding.tokens import KINDS, Kind
from semsearch_nb.foundation import cache, settings
from semsearch_nb.models import fingerprints
from semsearch_nb.models.fingerprints import Model
from semsearch_nb.vectors import FloatArray, as_count

# The least agreement with torch's float32 on a sample: the least cosine of two vectors of a text, or the
# correlation of a cross-encoder's logits. OpenVINO's float32 may add in another order only.
LEAST_AGREEMENT = {"float32": 0.99999, "bfloat16": 0.999, "float16": 0.999, "int8": 0.99}
SAMPLED = {"float32": 15}  # every how many-th of the sample is looked at; of other precisions each
_agreements: dict[str, float | openvino_engine.ConversionError] = {}  # what this process has read or measured


class PrecisionWarning(UserWarning):
    """A precision that was asked for is not faithful for this model here; float32 takes its place."""


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
    return {kind: openvino_engine.sample_texts(kind)[::step] for kind in KINDS}


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; where torch cannot tell, no."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def autocast(precision: str, device: str) -> AbstractContextManager[Any]:
    """Arithmetic of torch in this precision; weights stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, getattr(torch, precision))
