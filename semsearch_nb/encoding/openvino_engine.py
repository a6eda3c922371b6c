"""The second engine: a model's transformer converted to OpenVINO, which is faster on CPUs.

Only the network within the transformer is replaced. Prompts, tokenising, pooling and all that follows stay
those of sentence-transformers, so the vectors are the same. Conversion and quantisation happen once and are
kept in the cache folder. Taught in notebook 03.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.sentence_transformer.modules import Transformer
from transformers.utils import logging as transformers_logging

from semsearch_nb import datasets
from semsearch_nb.datasets import beir
from semsearch_nb.encoding.tokens import KINDS, prompt
from semsearch_nb.foundation import cache, settings
from semsearch_nb.models import fingerprints
from semsearch_nb.models.fingerprints import Model

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOKENS_AT_ONCE = 2_048  # of a batch, padding included: eight long paragraphs or a hundred questions
TEXTS_AT_ONCE = 128  # that the network is given, to cut into such batches
MODELS_IN_MEMORY = 8
LAYOUT = 2  # of the converted files in the cache
SMOOTHING = 0.7  # of SmoothQuant: at its default of 0.95 the least cosine to float32 is lower
LAYERS_KEPT = 2  # whose second feed-forward product stays in bfloat16 or float32
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}  # int8: of what is not quantised
_in_memory: dict[tuple[Any, ...], Any] = {}
_one_at_a_time = threading.RLock()


class ConversionError(RuntimeError):
    """OpenVINO cannot convert this model."""


def available(precision: str = "float32") -> bool:
    """Whether the packages are installed: openvino, and nncf for `"int8"`."""
    needed = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    return all(importlib.util.find_spec(name) is not None for name in needed)


def versions() -> tuple[str, ...]:
    """Those of the packages that are installed."""
    return fingerprints.versions(*(name for name in ("openvino", "nncf") if importlib.util.find_spec(name)))


def reads(model: Model, precision: str) -> dict[str, Any]:
    """What converted weights depend on besides the model, as a part of a cache's key."""
    found: dict[str, Any] = {"openvino": versions(), "layout": LAYOUT}
    if precision == "int8":
        found |= {"recipe": [SMOOTHING, LAYERS_KEPT], "sample": cache.digest(_calibration(model))}
    return found


def can_convert(model: Model) -> bool:
    """Whether the model is a text transformer on the CPU that is padded on the right."""
    transformer = model[0]
    return (
        isinstance(transformer, Transformer)
        and model.device.type == "cpu"
        and getattr(model.tokenizer, "padding_side", "") == "right"
        and transformer.modality_config.get("text", {}).get("method") == "forward"
        and len(_outputs(transformer)) == 1
        and not getattr(transformer.auto_model.config, "output_hidden_states", False)
    )


def accelerated(model: Model, precision: str, fingerprint: dict[str, Any]) -> Any:
    """The same model, except that its transformer's network runs in OpenVINO. The model itself stays as it is.

    Args:
        fingerprint: what `fingerprints.of` says of the model.

    Raises:
        ConversionError: OpenVINO cannot convert the network.
    """
    transformer: Any = model[0]
    network = _Network(transformer.auto_model, _compiled(model, precision, fingerprint), _outputs(transformer)[0])
    return _with(model, transformer, _with(transformer, transformer.auto_model, network))


def _with(module: Any, old: torch.nn.Module, new: torch.nn.Module) -> Any:
    """A module with one of its parts exchanged; the others are shared."""
    other = copy.copy(module)
    other._modules = {name: new if part is old else part for name, part in module._modules.items()}
    return other


def _outputs(transformer: Any) -> list[str]:
    """Names of what the transformer takes of its network's output: `last_hidden_state`, `logits`."""
    names = transformer.modality_config["text"]["method_output_name"]
    return [names] if isinstance(names, str) else list(names or ())


class _Network(torch.nn.Module):
    """Stands where the network of a transformer stood. Batches are cut so that little padding is computed."""

    def __init__(self, network: Any, compiled: Any, output: str) -> None:
        super().__init__()
        self.config, self.dtype, self.device, self.output = network.config, network.dtype, network.device, output
        self.names = [port.any_name for port in compiled.inputs]
        self.request = compiled.create_infer_request()  # one thread's, while the compiled model is everybody's

    def forward(self, attention_mask: torch.Tensor, **features: Any) -> dict[str, torch.Tensor]:
        features["attention_mask"] = attention_mask
        lengths = attention_mask.sum(dim=1).numpy()
        whole: Any = None
        for rows in _batches(lengths):
            width = int(lengths[rows].max())
            found = self.request.infer({name: features[name][rows, :width].numpy() for name in self.names})[0]
            per_token = found.ndim == 3
            if whole is None:
                shape = (*attention_mask.shape, found.shape[2]) if per_token else (len(lengths), *found.shape[1:])
                whole = np.zeros(shape, dtype=np.float32)
            whole[(rows, slice(width)) if per_token else rows] = found
        return {self.output: torch.from_numpy(whole)}


def _batches(n_tokens: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Rows of about equal length, whose padded tokens fit one batch."""
    longest_first = np.argsort(-n_tokens, kind="stable")
    start = 0
    while start < len(longest_first):
        size = max(1, TOKENS_AT_ONCE // max(1, int(n_tokens[longest_first[start]])))
        yield longest_first[start : start + size]
        start += size


def _converted(model: Model, precision: str, key: dict[str, Any]) -> Any:
    """The converted network, from the cache folder where there is one; bfloat16 is computed from float32."""

    def convert() -> Any:
        if precision == "int8":
            float32 = _converted(model, "float32", _key(model, "float32", key))
            return _quantised(model, float32, _calibration(model))
        return _traced(model)

    def build(folder: Any) -> dict[str, Any]:
        _openvino().save_model(convert(), folder / "model.xml", compress_to_fp16=False)
        return {}

    try:
        return _core().read_model(cache.folder("openvino", key, build) / "model.xml")
    except OSError:  # without a disk it is converted in every process
        return convert()


def _key(model: Any, weights: str, fingerprint: dict[str, Any]) -> dict[str, Any]:
    """All that the converted network depends on. Prompts, tokenizer and limit matter to the ranges of int8 only."""
    network = {"configuration": fingerprints.configuration(model[0].auto_model)} if weights == "float32" else {}
    own = {name: fingerprint[name] for name in ("model", "revision", "configuration", "versions")}
    return own | network | {"weights": weights} | reads(model, weights)


def _traced(model: Model) -> Any:
    """The network as an OpenVINO model: token ids and mask in, token embeddings or logits out."""
    transformer: Any = model[0]
    network, (output,) = transformer.auto_model, _outputs(transformer)
    pair = isinstance(model, CrossEncoder)
    features = model.preprocess([("one", "and its pair")] * 2 if pair else ["a text to trace with", "and one more"])
    accepted = inspect.signature(network.forward).parameters
    names = [name for name in INPUTS if name in features and name in accepted]

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.network(**dict(zip(names, inputs, strict=True)))[output]
            return result

    with _silence(), torch.inference_mode():
        example = tuple(features[name] for name in names)
        try:
            converted = _openvino().convert_model(Encoder().eval(), example_input=example)
        except Exception as error:  # of torch's tracer, of OpenVINO's frontend, of the model's own code
            raise ConversionError(f"OpenVINO cannot convert {type(network).__name__} ({error!s:.200})") from error
    for port, name in zip(converted.inputs, names, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(_openvino().PartialShape([-1, -1]))
    converted.validate_nodes_and_infer_types()
    return converted


def _quantised(model: Model, float32: Any, sample: Sequence[tuple[str | None, Any]]) -> Any:
    """Weights and activations in int8, with ranges that the sample of prompts and inputs sets."""
    with _silence():
        _openvino()  # first, since it keeps the telemetry of both out
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters

        def inputs(example: tuple[str | None, Any]) -> dict[str, Any]:
            features = model.preprocess([example[1]], prompt=example[0])
            return {name: features[name].numpy() for name in INPUTS if name in features}

        return nncf.quantize(
            float32,
            nncf.Dataset(list(sample), inputs),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(sample),
            # Where large values come up first: rounded too, short texts fall below cosine 0.99.
            ignored_scope=nncf.IgnoredScope(names=_second_feed_forward(float32)[:LAYERS_KEPT]),
            advanced_parameters=AdvancedQuantizationParameters(
                smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=SMOOTHING)
            ),
        )


def _second_feed_forward(converted: Any) -> list[str]:
    """Names of the products that end the feed-forward parts of a BERT, first layer first; of others none."""
    names = [node.get_friendly_name() for node in converted.get_ordered_ops() if node.get_type_name() == "MatMul"]
    return [name for name in names if ".output.dense/" in name and ".attention." not in name]


@lru_cache(maxsize=4)
def sample_texts(kind: str, *, calibration: bool = False) -> tuple[str, ...]:
    """A fixed sample of real texts, long and short: some to set int8 ranges with, others to check with.

    It comes with the package, so that vectors do not depend on what else is encoded.
    """
    passages = beir.read(datasets.SAMPLES / "passages", source=datasets.OWN)
    texts = passages.query_texts if kind == "query" else passages.document_texts
    to_check, to_calibrate = len(texts) // 30, len(texts) // 120
    if calibration:
        chosen = [text for position, text in enumerate(texts) if position % to_check and position % to_calibrate == 1]
    else:
        chosen = list(texts[::to_check])
    # The first one to eight words of each: int8 is least faithful to very short texts.
    return (*chosen, *(" ".join(text.split()[: 1 + position % 8]) for position, text in enumerate(chosen)))


@lru_cache(maxsize=2)
def sample_pairs(*, calibration: bool = False) -> tuple[tuple[str, str], ...]:
    """A fixed sample of questions, each with a passage that answers it and with one that does not."""
    passages = beir.read(datasets.SAMPLES / "passages", source=datasets.OWN)
    texts = dict(zip(passages.document_ids, passages.document_texts, strict=True))
    pairs = []
    for query in passages.queries[1 if calibration else 0 :: 15]:
        answer = next(iter(passages.qrels[query.id]))
        other = passages.document_texts[(passages.document_ids.index(answer) + 1) % len(texts)]
        pairs += [(query.text, texts[answer]), (query.text, other)]
    return tuple(pairs)


def _calibration(model: Model) -> list[tuple[str | None, Any]]:
    """Prompts and inputs that set the ranges of int8."""
    if isinstance(model, CrossEncoder):
        return [(None, pair) for pair in sample_pairs(calibration=True)]
    return [(prompt(model, kind), text) for kind in KINDS for text in sample_texts(kind, calibration=True)]


def _compiled(model: Model, precision: str, fingerprint: dict[str, Any]) -> Any:
    """The network ready to run. Those used last stay in memory: checking a file takes longer than a query."""
    key = _key(model, "int8" if precision == "int8" else "float32", fingerprint)
    slot = (cache.digest(key), precision, settings.current().cache_dir, torch.get_num_threads())
    with _one_at_a_time:
        compiled = _in_memory.pop(slot, None)
        if compiled is None:
            options = {
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "PERFORMANCE_HINT": "LATENCY",  # all cores work on one batch
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            }
            compiled = _core().compile_model(_converted(model, precision, key), "CPU", options)
        _in_memory[slot] = compiled  # at the end: the one used least recently goes first
        while len(_in_memory) > MODELS_IN_MEMORY:
            _in_memory.pop(next(iter(_in_memory)))
    return compiled


@lru_cache(maxsize=1)
def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    """The module, imported without the package that reports its use: it then uses a stub in place."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@contextmanager
def _silence() -> Iterator[None]:
    """Conversion warns about traced branches and draws bars; neither concerns the reader of a notebook."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    nncf_logger = logging.getLogger("nncf")
    disabled, nncf_logger.disabled = nncf_logger.disabled, True
    rich = importlib.import_module("rich") if importlib.util.find_spec("rich") else None  # nncf's bars
    if rich:
        rich.reconfigure(quiet=True, force_jupyter=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        nncf_logger.disabled = disabled
        if rich:
            rich.reconfigure()
