"""The OpenVINO engine against sentence-transformers, and the check that guards every precision."""

import copy
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from semsearch_nb import datasets, encoding, fingerprints, models, openvino_engine, settings

needs_openvino = pytest.mark.skipif(not openvino_engine.available("int8"), reason="openvino or nncf is not installed")
TEXTS = [
    "a",
    "A cat sat on the mat.",
    "Ein Hund bellt, und niemand weiß, warum.",
    "火山会喷发。",
    "word " * 400,
    "Volcanoes erupt where molten rock reaches the surface. " * 6,
    "",
    *(f"sentence number {number} " * (number % 7 + 1) for number in range(40)),
]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    """The usual cache folder: conversion and quantisation are paid once a machine."""
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), device="cpu"))


@pytest.fixture(params=["symmetric", "asymmetric"])
def model(request):
    try:
        return models.load(request.param)
    except models.PackagedModelError as error:
        pytest.skip(str(error))


@needs_openvino
@pytest.mark.filterwarnings("ignore::semsearch_nb.encoding.TruncationWarning")
@pytest.mark.parametrize(
    ("kind", "precision", "least"), [("query", "float32", 0.99999), ("document", "bfloat16", 0.999)]
)
def test_openvino_gives_the_vectors_of_sentence_transformers(model, kind, precision, least):
    encode = model.encode_query if kind == "query" else model.encode_document
    expected = encode(TEXTS, normalize_embeddings=True)
    options = {"engine": "openvino", "precision": precision, "use_cache": False}
    vectors = encoding.encode(model, TEXTS, kind, **options)
    in_threes = encoding.encode(model, TEXTS, kind, batch_size=3, **options)
    assert vectors.dtype == np.float32 and vectors.shape == expected.shape
    assert (vectors * expected).sum(axis=1).min() > least
    assert (vectors * in_threes).sum(axis=1).min() > least


@needs_openvino
def test_int8_is_close_and_keeps_the_order_of_hits():
    model = models.load("symmetric")
    texts = datasets.load("passages").document_texts[:60]
    assert encoding.settle(model, "openvino", "int8").precision == "int8"
    exact, fast = (
        encoding.encode_documents(model, texts, precision=precision, use_cache=False)
        for precision in ("float32", "int8")
    )
    cosines = (exact * fast).sum(axis=1)
    assert cosines.min() > 0.99 and cosines.mean() < 0.99999  # it is not float32 under another name
    assert ((fast @ exact.T).argmax(axis=1) == np.arange(len(texts))).all()


@needs_openvino
def test_conversion_leaves_the_model_as_it_was_and_happens_once(tmp_path, monkeypatch):
    model = copy.deepcopy(models.load("symmetric"))
    before = model.encode(TEXTS[:4])
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), cache_dir=tmp_path))

    def encode():
        return encoding.Runner(model, "openvino", "float32", fingerprints.of(model)).vectors(TEXTS[:4], "document")

    first = encode()
    assert np.array_equal(model.encode(TEXTS[:4]), before)
    monkeypatch.setattr(openvino_engine, "_traced", lambda model: pytest.fail("it was converted again"))
    assert np.array_equal(encode(), first)
    monkeypatch.undo()
    # Training changes the weights, and then the old conversion must not be used.
    with torch.no_grad():
        model[0].auto_model.encoder.layer[0].output.dense.bias[::2] += 0.3
    assert not np.allclose(encode(), first, atol=1e-3)


def test_an_unfaithful_precision_is_refused_with_a_warning(tmp_path, monkeypatch):
    model = models.load("symmetric")
    monkeypatch.setattr(settings, "_current", dataclasses.replace(settings.current(), cache_dir=tmp_path))

    right = encoding.Runner.vectors

    def wrong(runner, texts, kind):
        vectors = right(dataclasses.replace(runner, engine="torch", precision="float32"), texts, kind)
        if runner.engine == "openvino":  # for one text alone, so that on average it is right
            vectors[0] = 0.99 * vectors[0] + 0.14 * np.linalg.svd(vectors[:1])[2][-1]  # across
        return vectors

    monkeypatch.setattr(encoding.Runner, "vectors", wrong)
    monkeypatch.setattr(encoding.engines, "_agreements", {})
    monkeypatch.setattr(openvino_engine, "available", lambda precision="float32": True)
    with pytest.warns(encoding.PrecisionWarning, match=r"bfloat16 in openvino .* cosine .*float32 in torch is used"):
        vectors = encoding.encode_documents(model, ["a cat"], engine="openvino", precision="bfloat16")
    assert np.allclose(vectors, model.encode_document(["a cat"], normalize_embeddings=True), atol=1e-6)


def test_without_the_package_auto_is_torch_and_the_name_is_an_error(monkeypatch):
    monkeypatch.setattr(openvino_engine, "available", lambda precision="float32": False)
    model = models.load("symmetric")
    assert encoding.resolve(model, "auto", "float32") == ("torch", "float32")
    with pytest.raises(ValueError, match=r"not installed; pip install 'semsearch-nb\[openvino\]', or use 'torch'"):
        encoding.resolve(model, "openvino", "float32")


def test_a_model_that_cannot_be_converted_is_for_torch(monkeypatch):
    monkeypatch.setattr(openvino_engine, "available", lambda precision="float32": True)
    monkeypatch.setattr(openvino_engine, "can_convert", lambda model: False)
    model = models.load("symmetric")
    assert encoding.resolve(model, "auto", "float32")[0] == "torch"
    with pytest.raises(ValueError, match="text transformers on the CPU only; use engine='torch'"):
        encoding.resolve(model, "openvino")


@needs_openvino
def test_nothing_is_reported_and_nothing_is_printed():
    """In a process of its own: what comes out on a first use, and whether the reporting package is loaded."""
    code = """
import sys
from semsearch_nb import encoding, models
encoding.encode_documents(models.load("symmetric"), ["a cat"], engine="openvino", precision="float32", use_cache=False)
import openvino.tools.ovc.telemetry_utils as used
assert sys.modules["openvino_telemetry"] is None
assert "stub" in used.tm.__name__, used.tm
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
