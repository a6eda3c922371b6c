"""The second engine: a model's transformer converted to OpenVINO, which is faster on CPUs.

Only the transformer runs there. Tokenising and pooling stay those of sentence-transformers, so any
model whose first module is a text transformer works, and gives the same vectors. Conversion and
quantisation happen once and are kept in the cache folder. Taught in notebook 03.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tqdm.auto import tqdm
from transformers.utils import logging as transformers_logging

from semsearch_nb import cache, datasets, settings
from semsearch_nb.datasets import beir
from semsearch_nb.models import identity
from semsearch_nb.vectors import FloatArray

Model = SentenceTransformer | CrossEncoder
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOKENS_AT_ONCE = 2_048  # of a batch, padding included: eight long paragraphs or a hundred questions
KINDS: tuple[Literal["document"], Literal["query"]] = ("document", "query")
MODELS_IN_MEMORY = 8
TEXTS_AT_ONCE = 2_048  # that are tokenised together
LAYOUT = 1  # of the converted files in the cache
SMOOTHING = 0.7  # of SmoothQuant: at its default of 0.95 the least cosine to float32 is lower
LAYERS_KEPT = 2  # whose second feed-forward product stays in bfloat16 or float32
RECIPE = [LAYOUT, SMOOTHING, LAYERS_KEPT]  # what quantised weights depend on besides model and sample
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}  # int8: of what is not quantised
_in_memory: dict[tuple[Any, ...], Any] = {}


def available(precision: str = "float32") -> bool:
    """Whether the packages are installed: openvino, and nncf for `"int8"`."""
    needed = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    return all(importlib.util.find_spec(name) is not None for name in needed)


def versions() -> list[str]:
    """Those of the packages that are installed: a converted model depends on them."""
    return [
        f"{name} {importlib.metadata.version(name)}" for name in ("openvino", "nncf") if importlib.util.find_spec(name)
    ]


def can_convert(model: Model) -> bool:
    """Whether the model is a text transformer on the CPU that looks at all tokens alike."""
    transformer, *others = model
    return (
        model.device.type == "cpu"
        and isinstance(transformer, Transformer)
        and all(module.include_prompt for module in others if isinstance(module, Pooling))
        and not (isinstance(model, CrossEncoder) and others)
        and getattr(model.tokenizer, "padding_side", "") == "right"
    )


def encode(
    model: SentenceTransformer,
    texts: Sequence[str],
    prompt: str,
    precision: str,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> FloatArray:
    """The model's vectors, float32, shape `(n_texts, dimension)`.

    Texts are sorted by length and cut into batches of `batch_size` texts, or of 2,048 tokens.
    """
    vectors: FloatArray | None = None
    for rows, tokens, mask in _outputs(model, texts, prompt, precision, batch_size, "Encoding" if progress else None):
        outputs = {"token_embeddings": torch.from_numpy(tokens), "attention_mask": mask}
        with torch.inference_mode():
            for module in list(model)[1:]:
                outputs = module(outputs)
        found = outputs["sentence_embedding"].numpy()
        if vectors is None:
            vectors = np.empty((len(texts), found.shape[1]), dtype=np.float32)
        vectors[rows] = found
    assert vectors is not None
    return vectors


def score(
    model: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    precision: str,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> FloatArray:
    """The cross-encoder's logits, float32, shape `(n_pairs,)`, in batches as those of `encode`."""
    logits = np.empty(len(pairs), dtype=np.float32)
    for rows, found, _ in _outputs(model, pairs, None, precision, batch_size, "Re-ranking" if progress else None):
        logits[rows] = found[:, 0]
    return logits


def _outputs(
    model: Model,
    inputs: Sequence[Any],
    prompt: str | None,
    precision: str,
    batch_size: int | None,
    progress: str | None,
) -> Iterator[tuple[np.ndarray[Any, Any], Any, torch.Tensor]]:
    """What the transformer makes of texts or pairs, a batch at a time: positions, output, attention mask."""
    request = _compiled(model, precision).create_infer_request()
    order = np.argsort([-_n_characters(text) for text in inputs], kind="stable")
    with tqdm(total=len(inputs), desc=progress, unit="text", disable=progress is None) as bar:
        for start in range(0, len(inputs), TEXTS_AT_ONCE):
            some = order[start : start + TEXTS_AT_ONCE]
            features = model.preprocess([inputs[position] for position in some], prompt=prompt)
            for rows in _batches(features["attention_mask"].sum(dim=1).numpy(), batch_size):
                width = int(features["attention_mask"][rows].sum(dim=1).max())
                batch = {name: features[name][rows, :width] for name in INPUTS if name in features}
                output = request.infer({name: tensor.numpy() for name, tensor in batch.items()})[0]
                yield some[rows], output, batch["attention_mask"]
                bar.update(len(rows))


def _n_characters(text: str | tuple[str, str]) -> int:
    return len(text) if isinstance(text, str) else sum(map(len, text))


def _batches(n_tokens: np.ndarray[Any, Any], batch_size: int | None) -> Iterator[np.ndarray[Any, Any]]:
    """Positions of texts of about equal length, whose padded tokens fit one batch."""
    longest_first = np.argsort(-n_tokens, kind="stable")
    start = 0
    while start < len(longest_first):
        size = batch_size or max(1, TOKENS_AT_ONCE // int(n_tokens[longest_first[start]]))
        yield longest_first[start : start + size]
        start += size


def _converted(model: Model, precision: str) -> Path:
    """The converted model's file in the cache; bfloat16 is computed from the float32 file."""
    name, revision = identity(model)
    key: dict[str, Any] = {
        "model": name,
        "revision": revision,
        "openvino": importlib.metadata.version("openvino"),
        "layout": LAYOUT,
        "weights": "float32",
    }
    if precision == "int8":
        sample = _calibration(model)
        key |= {
            "weights": "int8",
            "nncf": importlib.metadata.version("nncf"),
            "recipe": RECIPE,
            "sample": cache.digest(sample),
        }

    def build(folder: Path) -> dict[str, Any]:
        openvino = _openvino()
        if precision == "int8":
            float32 = _read(_converted(model, "float32"))
            converted = _quantised(model, float32, sample)
        else:
            converted = _traced(model)
        openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
        return {}

    return cache.folder("openvino", key, build) / "model.xml"


def _traced(model: Model) -> Any:
    """The transformer as an OpenVINO model: token ids and mask in, token embeddings or logits out."""
    transformer: Any = model[0]
    pair = isinstance(model, CrossEncoder)
    features = model.preprocess([("one", "and its pair")] * 2 if pair else ["a text to trace with", "and one more"])
    output = "logits" if pair else "last_hidden_state"
    names = [name for name in INPUTS if name in features]

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = transformer.auto_model

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.model(**dict(zip(names, inputs, strict=True)))[output]
            return result

    with _silence(), torch.inference_mode():
        converted = _openvino().convert_model(Encoder(), example_input=tuple(features[name] for name in names))
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


def prompt(model: Model, kind: str) -> str:
    """What the model puts before a `"query"` or a `"document"`."""
    return str(model.prompts.get(kind) or "")


def _compiled(model: Model, precision: str) -> Any:
    """The model ready to run. Those used last stay in memory: checking a file takes longer than a query."""
    key = (identity(model), precision, settings.current().cache_dir, torch.get_num_threads())
    if key in _in_memory:
        _in_memory[key] = _in_memory.pop(key)  # to the end: the one used least recently goes first
    else:
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",  # all cores work on one batch
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        while len(_in_memory) >= MODELS_IN_MEMORY:
            _in_memory.pop(next(iter(_in_memory)))
        _in_memory[key] = _core().compile_model(_read(_converted(model, precision)), "CPU", options)
    return _in_memory[key]


def _read(file: Path) -> Any:
    return _core().read_model(file)


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
