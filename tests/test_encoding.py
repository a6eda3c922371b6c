import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from semsearch_nb import cache, encoding, models, settings

TEXTS = ["A cat sat on the mat.", "Volcanoes erupt.", "word " * 400, "Ein Hund bellt."]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    choice = dataclasses.replace(settings.current(), cache_dir=tmp_path, engine="torch")
    model = models.load("symmetric")  # loaded under the usual cache, shared by all tests
    monkeypatch.setattr(settings, "_current", choice)
    monkeypatch.setattr(encoding.engines, "_agreement", lambda runner: 1.0)  # measured in test_engines.py
    return model


@pytest.fixture
def model(own_cache):
    return own_cache


def encode(model, texts=TEXTS, kind="document", **options):
    with pytest.warns(encoding.TruncationWarning):
        return encoding.encode(model, texts, kind, **options)


def test_unit_float32_vectors_in_the_order_of_the_texts(model):
    vectors = encode(model, precision="float32")
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    one_by_one = [model.encode_document(text) for text in TEXTS]
    assert np.allclose(vectors, one_by_one, atol=1e-5)


def test_bfloat16_loses_next_to_nothing(model):
    exact = encode(model, precision="float32", use_cache=False)
    fast = encode(model, precision="bfloat16", use_cache=False)
    assert (exact * fast).sum(axis=1).min() > 0.999
    assert np.allclose(np.linalg.norm(fast, axis=1), 1, atol=1e-6)


def test_the_second_run_comes_from_the_cache(model, monkeypatch):
    first = encode(model)
    monkeypatch.setattr(encoding.Runner, "vectors", lambda *a, **k: pytest.fail("the model was called again"))
    assert np.array_equal(encode(model), first)  # and the truncation is still reported


@pytest.mark.parametrize("changed", ["texts", "order", "kind", "engine", "precision", "limit", "weights"])
def test_whatever_a_vector_depends_on_is_in_the_key(model, changed, monkeypatch):
    calls = []
    real = models.roles.SentenceTransformer.encode

    def counting(self, *arguments, **options):
        calls.append(1)
        return real(self, *arguments, **options)

    monkeypatch.setattr(models.roles.SentenceTransformer, "encode", counting)
    own = models.roles.SentenceTransformer(modules=list(model), prompts={"query": "ask: ", "document": ""})
    texts, options = ["one", "two"], {"kind": "document", "precision": "float32"}
    encoding.encode(own, texts, **options)
    encoding.encode(own, texts, **options)
    assert len(calls) == 1
    if changed == "texts":
        texts = ["one", "too"]
    elif changed == "order":
        texts = ["two", "one"]
    elif changed == "kind":
        options["kind"] = "query"
    elif changed == "precision":
        options["precision"] = "bfloat16"
    elif changed == "engine":
        monkeypatch.setattr(encoding.engines, "resolve", lambda *asked: ("openvino", "float32"))
        monkeypatch.setattr(encoding.openvino_engine, "accelerated", lambda model, *how: model)
    elif changed == "limit":
        monkeypatch.setattr(own[0], "max_seq_length", 100)
    else:
        bias = own[0].auto_model.encoder.layer[0].output.dense.bias
        monkeypatch.setattr(bias, "data", bias.data + 0.01)
    encoding.encode(own, texts, **options)
    assert len(calls) == 2


def test_a_damaged_cache_file_is_noticed_and_rebuilt(model, tmp_path):
    first = encode(model)
    file = next(tmp_path.rglob("vectors.npy"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(cache.CacheWarning, match=r"vectors.npy is damaged"):
        again = encode(model)
    assert np.allclose(first, again, atol=1e-6)


def test_truncation_is_counted(model):
    report = encoding.truncation(model, TEXTS)
    assert (report.n_texts, report.n_truncated, report.limit) == (4, 1, 256)
    assert report.longest == 402  # 400 words and two special tokens
    assert report.n_tokens_dropped == 402 - 256
    assert report.share_of_texts == 0.25
    assert "1 of 4 texts (25.0%)" in str(report) and "the longest has 402" in str(report)
    assert "none of 1 texts" in str(encoding.truncation(model, ["short"]))


def test_the_prompt_counts_towards_the_limit(model):
    prompted = models.roles.SentenceTransformer(
        modules=list(model), prompts={"query": "one two three ", "document": ""}
    )
    longest = {kind: encoding.truncation(prompted, ["word"], kind).longest for kind in ("query", "document")}
    assert longest == {"query": 6, "document": 3}
    for name in ("document", "passage", "corpus"):
        prompted.prompts = {name: "one two three "}
        assert encoding.truncation(prompted, ["word"]).longest == 6
        assert np.allclose(encode(prompted), prompted.encode_document(TEXTS, normalize_embeddings=True), atol=1e-5)


def test_what_is_past_the_limit_has_no_effect(model):
    texts = ["word " * 300, "word " * 300 + "and something else altogether"]
    vectors = encode(model, texts, precision="float32")
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)


def test_auto_is_the_fastest_lossless_precision(monkeypatch):
    monkeypatch.setattr(encoding.engines, "cpu_has_bfloat16", lambda: True)
    assert encoding.resolve_precision("auto", "cpu") == "bfloat16"
    monkeypatch.setattr(encoding.engines, "cpu_has_bfloat16", lambda: False)
    assert encoding.resolve_precision("auto", "cpu") == "float32"
    assert encoding.resolve_precision("auto", "cuda") == "float16"


def test_a_torch_without_probes_has_no_bfloat16(monkeypatch):
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, probe, raising=False)
    assert encoding.cpu_has_bfloat16() is False


def test_e5_works_through_the_same_call():
    try:
        model = models.load("asymmetric")
    except models.PackagedModelError as error:
        pytest.skip(str(error))
    query = encoding.encode_queries(model, ["Wie heißt die Hauptstadt von Frankreich?"])
    documents = encoding.encode_documents(model, ["Bananas are rich in potassium.", "Paris is the capital of France."])
    assert (query @ documents.T).argmax() == 1


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of four texts and mapped files, so that a few texts take the way of half a million."""
    monkeypatch.setattr(encoding.bi_encoder, "PART", 4)
    monkeypatch.setattr(encoding.bi_encoder, "BLOCK", 2)
    monkeypatch.setattr(encoding.bi_encoder, "MAPPED_FROM", 1)


MANY = [f"{number} cats {'and dogs ' * (number % 5)}" for number in range(10)] + ["word " * 300]


def test_many_texts_are_encoded_in_parts_to_the_same_vectors(model, small_parts, tmp_path):
    whole = encode(model, MANY, precision="float32", use_cache=False)
    kept = encode(model, MANY, precision="float32")
    assert np.allclose(kept, whole, atol=1e-6)
    assert isinstance(kept.base, np.memmap) and kept.flags.writeable
    kept[0] = 0  # a copy in memory: the file stays as it is
    assert np.allclose(encode(model, MANY, precision="float32"), whole, atol=1e-6)
    assert list((tmp_path / "embedding-parts").iterdir()) == []


def test_the_bar_ends_full(model, small_parts, capsys):
    encode(model, MANY, progress=True)
    bar = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]
    assert "Encoding: 100%" in bar


def test_the_report_on_parts_is_that_on_the_whole(model, small_parts):
    with pytest.warns(encoding.TruncationWarning, match=r"1 of 11 texts .*the longest has 302"):
        encoding.encode(model, MANY, "document", precision="float32")
    assert encoding.truncation(model, MANY).n_tokens == encoding.truncation(model, list(reversed(MANY))).n_tokens


STOPPED = """
import os, sys
from semsearch_nb import encoding, models
encoding.bi_encoder.PART, encoding.bi_encoder.BLOCK = 4, 2
seen = 0
run = encoding.bi_encoder._Job.run

def run_and_count(self, texts):
    global seen
    seen += len(texts)
    if seen > int(sys.argv[1]):
        os.kill(os.getpid(), 9)
    return run(self, texts)

encoding.bi_encoder._Job.run = run_and_count
texts = [f"number {i}" for i in range(11)]
vectors = encoding.encode_documents(models.load("symmetric"), texts, engine="torch", precision="float32")
print(seen, vectors.shape)
"""


def test_a_process_that_was_killed_is_continued(tmp_path):
    def start(limit):
        environment = os.environ | {"SEMSEARCH_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", STOPPED, str(limit)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert start(7).returncode == -9  # within the second part
    assert not list((tmp_path / "embeddings").glob("*/manifest.json"))
    again = start(99)
    assert again.stdout == "7 (11, 384)\n", again.stderr  # four of eleven were kept
    assert start(0).stdout == "0 (11, 384)\n"
