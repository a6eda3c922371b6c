"""Vectors and logits that come with the installation: whose they are, how near float32, and when they are not used."""

from __future__ import annotations

import copy
import dataclasses
import random
import shutil

import numpy as np
import pytest
import torch

from semsearch_nb import datasets, encoding, models, reranking, retrieval, settings
from semsearch_nb.encoding import engines, shipped

ROLES = ("symmetric", "asymmetric")
LEAST = 0.9998  # cosine to float32
SHIPPED = [
    *(("symmetric", kind, name, split) for kind in ("document", "query") for name, split in [
        ("wordnet", "reverse"), ("passages", "test"), ("passages", "multilingual"), ("passages", "held-out"),
        ("publications", "test"), ("questions", "test"), ("questions", "multilingual"), ("encyclopedia", "test")]),
    ("asymmetric", "document", "passages", "test"), ("asymmetric", "document", "encyclopedia", "test"),
    ("questions", "document", "questions", "test"),
    *(("asymmetric", "query", name, split) for name, split in [
        ("passages", "test"), ("passages", "multilingual"), ("questions", "test"), ("questions", "multilingual"),
        ("encyclopedia", "test"), ("encyclopedia", "fr"), ("encyclopedia", "es"), ("wordnet", "reverse")]),
]  # fmt: skip


@pytest.fixture(autouse=True)
def defaults(monkeypatch, tmp_path_factory):
    cache_dir = tmp_path_factory.getbasetemp() / "shipped"  # one for all: e5 is converted once
    choice = dataclasses.replace(settings.current(), cache_dir=cache_dir, precision="auto", engine="auto")
    monkeypatch.setattr(settings, "_current", choice)
    shipped._manifest.cache_clear()
    shipped._tables.cache_clear()
    yield
    shipped._manifest.cache_clear()
    shipped._tables.cache_clear()


def texts_of(kind: str, name: str, split: str) -> list[str]:
    collection = datasets.load(name, split=split)
    return collection.query_texts if kind == "query" else collection.document_texts


@pytest.mark.parametrize(("role", "kind", "name", "split"), SHIPPED)
def test_a_first_run_does_not_wait_for_the_model(role, kind, name, split, monkeypatch):
    monkeypatch.setattr(encoding.Runner, "vectors", lambda *a, **k: pytest.fail("the model was called"))
    texts = texts_of(kind, name, split)
    vectors = encoding.encode(models.load(role), texts, kind)
    assert vectors.shape == (len(texts), 384) and vectors.dtype == np.float32
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


@pytest.mark.filterwarnings("ignore::semsearch_nb.encoding.TruncationWarning")
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["document", "query"])
def test_they_are_those_of_float32_up_to_rounding_to_int8(role, kind):
    texts = [text for name in ("passages", "encyclopedia") for text in texts_of(kind, name, "test")]
    sample = random.Random(8).sample(texts, 40)
    model = models.load(role)
    fresh = encoding.encode(model, sample, kind, engine="torch", precision="float32", use_cache=False)
    assert (fresh * encoding.encode(model, sample, kind)).sum(axis=1).min() >= LEAST


def test_a_text_that_was_changed_costs_its_own_encoding_and_no_other(monkeypatch):
    asked = []
    real = encoding.Runner.vectors
    monkeypatch.setattr(engines, "_agreement", lambda runner: 1.0)
    monkeypatch.setattr(
        encoding.Runner, "vectors", lambda run, texts, kind: asked.append(texts) or real(run, texts, kind)
    )
    model, texts = models.load("symmetric"), texts_of("document", "passages", "test")[:5]
    changed = [texts[0], "This text is new.", *texts[2:], "word " * 300]
    before = encoding.encode_documents(model, texts)
    with pytest.warns(encoding.TruncationWarning, match="1 of 6 texts"):
        after = encoding.encode_documents(model, changed)
    assert sorted(text for some in asked for text in some) == sorted([changed[1], changed[5]])
    assert np.array_equal(np.delete(after[:5], 1, axis=0), np.delete(before, 1, axis=0))
    fresh = encoding.encode_documents(model, changed[1:2], use_cache=False)
    assert float(after[1] @ fresh[0]) == pytest.approx(1, abs=1e-6)


def test_their_lengths_are_those_that_the_tokenizer_counts():
    for role, kind in (("symmetric", "document"), ("asymmetric", "query")):
        model, texts = models.load(role), texts_of("query", "passages", "test")[:50]
        found = shipped.look_up(
            *models.identity(model), encoding.tokens.prompt(model, kind), model.max_seq_length, texts
        )
        assert found is not None and found.known.all()
        assert np.array_equal(found.tokens, encoding.lengths(model, texts, kind))


@pytest.mark.parametrize("options", [{"use_cache": False}, {"precision": "float32"}, {"engine": "torch"}])
def test_who_asks_for_a_computation_gets_one(options, monkeypatch):
    monkeypatch.setattr(encoding.bi_encoder, "_shipped", lambda *a: pytest.fail("looked up"))
    vectors = encoding.encode_queries(models.load("symmetric"), texts_of("query", "wordnet", "reverse")[:2], **options)
    assert len(vectors) == 2


@pytest.mark.parametrize("change", ["weights", "limit", "prompt", "truncate_dim", "pooling"])
def test_another_model_has_vectors_of_its_own(change):
    model, texts = copy.deepcopy(models.load("symmetric")), texts_of("document", "passages", "test")[:2]
    known = encoding.encode_documents(model, texts)
    if change == "weights":
        with torch.no_grad():
            next(model.parameters())[1996:2020].add_(0.5)
    elif change == "limit":
        model.max_seq_length = 8
    elif change == "truncate_dim":
        model.truncate_dim = 64
    elif change == "pooling":
        model[1].pooling_mode = "max"
    else:
        model.prompts = {"query": "", "document": "another: "}
    assert encoding.bi_encoder._shipped(model, "document", texts) is None
    assert known.shape == (2, 384)


@pytest.fixture
def scored():
    """The re-ranker and pairs that notebook 05 scores."""
    held_out = datasets.load("passages", split="held-out").where(kind="natural")
    texts, questions = held_out.document_texts, held_out.query_texts[:8:2]
    near = retrieval.Dense(models.load("symmetric"), texts).search(questions, k=10)
    pairs = [(question, texts[row]) for question, rows in zip(questions, near.indices, strict=True) for row in rows]
    return models.load_reranker(), pairs


def test_logits_of_what_the_notebooks_score_are_there_and_near_float32(scored, monkeypatch):
    model, pairs = scored
    fresh = reranking.score(model, pairs[:20], engine="torch", precision="float32", use_cache=False)
    monkeypatch.setattr(encoding.Runner, "logits", lambda *a, **k: pytest.fail("the model was called"))
    logits = reranking.score(model, pairs)
    assert logits.shape == (40,) and logits.dtype == np.float32 and logits.std() > 1
    np.testing.assert_allclose(logits[:20], fresh, atol=1e-3)


def test_a_pair_that_is_new_costs_its_own_computation_and_no_other(scored, monkeypatch):
    model, pairs = scored
    asked = []
    real = encoding.Runner.logits
    monkeypatch.setattr(engines, "_agreement", lambda runner: 1.0)
    monkeypatch.setattr(
        encoding.Runner, "logits", lambda run, some, *rest: asked.extend(some) or real(run, some, *rest)
    )
    new = [("What is new?", "This pair is."), ("What is long?", "word " * 600)]
    with pytest.warns(encoding.TruncationWarning, match="1 of 7 texts"):
        logits = reranking.score(model, [new[0], *pairs[:5], new[1]])
    assert sorted(asked) == sorted(new)
    np.testing.assert_array_equal(logits[1:6], reranking.score(model, pairs[:5]))
    np.testing.assert_allclose(logits[[0, 6]], reranking.score(model, new, use_cache=False), atol=1e-4)


@pytest.mark.parametrize("change", ["weights", "limit"])
def test_another_reranker_has_logits_of_its_own(change, scored):
    model, pairs = copy.deepcopy(scored[0]), scored[1]
    assert reranking._shipped(scored[0], pairs).known.all()
    if change == "weights":
        with torch.no_grad():
            next(model.parameters())[1996:2020].add_(0.5)
    else:
        model.max_seq_length = 8
    assert reranking._shipped(model, pairs) is None


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package's folder, to be damaged."""
    place = shipped.folder()
    copied = tmp_path / "copy"
    copied.mkdir()
    for file in place.glob("minilm-[chst]*"):
        shutil.copy(file, copied)
    shutil.copy(place / "manifest.json", copied)
    monkeypatch.setattr(shipped, "folder", lambda: copied)
    return copied


def test_a_damaged_file_is_named_with_what_to_do(copied):
    file = copied / "minilm-codes.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    files = shipped._manifest()["minilm"]["files"]
    with pytest.raises(OSError, match=r"minilm-codes.npy is damaged; install it again: pip install"):
        shipped._read(files)


@pytest.mark.parametrize("content", [None, "{}"])
def test_without_the_package_or_with_another_release_the_model_computes(content, copied, monkeypatch):
    if content is None:
        monkeypatch.setattr(shipped, "folder", lambda: None)
    else:
        (copied / "manifest.json").write_text(content)
    texts = texts_of("query", "wordnet", "reverse")[:2]
    assert encoding.bi_encoder._shipped(models.load("symmetric"), "query", texts) is None
