"""Certified search against sorting every score in float64, on corpora that were made to break it."""

import numpy as np
import pytest
import torch
from corpora import CORPORA, far_from_zero, random
from hypothesis import given, settings
from hypothesis import strategies as st

from semsearch_nb import exact
from semsearch_nb.exact import certified, first_pass, top_k
from semsearch_nb.exact.prepared import GROUP

FIRST_PASSES = [name for name in first_pass.FIRST_PASSES if first_pass.is_right(name, "cpu")]


def assert_exact(queries, corpus, k, hits, score):
    """Every hit's score is right, none comes twice, and none is worse than the true k-th best."""
    queries, corpus = queries.astype(np.float64), corpus.astype(np.float64)
    query_lengths, lengths = np.linalg.norm(queries, axis=1), np.linalg.norm(corpus, axis=1)
    if score == "cosine":
        queries, corpus = queries / query_lengths[:, None], corpus / lengths[:, None]
        query_lengths, lengths = np.ones_like(query_lengths), np.ones_like(lengths)
    scores = queries @ corpus.T
    rounding = (corpus.shape[1] + 8) * 2.0**-23 * query_lengths[:, None]
    k = min(k, len(corpus))
    assert hits.indices.shape == hits.scores.shape == (len(queries), k)
    assert all(len(set(row)) == k for row in hits.indices.tolist())
    found = np.take_along_axis(scores, hits.indices, axis=1)
    assert (np.abs(found - hits.scores) <= rounding * lengths[hits.indices]).all()
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    truth = np.take_along_axis(scores, best, axis=1)
    allowed = rounding * np.maximum(lengths[hits.indices], lengths[best].max(axis=1, keepdims=True))
    assert (found >= truth[:, -1:] - allowed).all()
    assert (np.diff(hits.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("name", FIRST_PASSES)
@settings(max_examples=120, deadline=None)
@given(
    make=st.sampled_from(CORPORA),
    n=st.sampled_from([1, 31, 32, 130, 700, 3_000]),
    dimension=st.sampled_from([2, 3, 17, 64, 384, 1_024]),
    k=st.sampled_from([1, 2, 10, 100, 5_000]),
    score=st.sampled_from(exact.SCORES),
    block=st.sampled_from([None, 32, 96, 1_000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_never_a_wrong_neighbour(name, make, n, dimension, k, score, block, seed):
    generator = np.random.default_rng(seed)
    corpus = make(generator, n, dimension).astype(np.float32)
    queries = np.concatenate([corpus[:3], make(generator, 4, dimension)]).astype(np.float32)
    prepared = exact.prepare(corpus, score=score, first_pass=name)
    hits, report = exact.search_report(queries, prepared, k, precision="certified", block=block)
    assert report.precision == ("certified" if certified.fits(n, min(k, n)) else "float32")
    assert_exact(queries, corpus, k, hits, score)


@pytest.mark.parametrize("name", FIRST_PASSES)
@pytest.mark.parametrize("make", CORPORA)
@pytest.mark.parametrize("score", exact.SCORES)
def test_the_bound_holds_for_every_vector(name, make, score):
    """Not the hits but the bound itself: in exact arithmetic no score lies above it."""
    generator = np.random.default_rng(5)
    corpus = make(generator, 640, 96).astype(np.float32)
    queries = np.concatenate([corpus[:20], make(generator, 20, 96)]).astype(np.float32)
    if score == "cosine":
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    prepared = exact.prepare(corpus, score=score, first_pass=name)
    scan = certified.Scan(prepared, torch.from_numpy(queries))
    results = torch.empty(len(queries) * len(corpus), dtype=scan.first_pass.results)
    of_members = scan.multiply(0, len(corpus) // GROUP, results).double()
    s, t = prepared.scale.double(), scan.scale.double()[:, None, None]
    coarse = of_members * s[:, None] * t + scan.along.double()[:, None, None] * prepared.along.double()
    slack = -(scan.factors[:, 3:].double() @ prepared.bounds[3:].double())[:, :, None] * s[:, None] * t
    rows = corpus[prepared.order.numpy()].astype(np.float64)
    if score == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exactly = torch.from_numpy(queries.astype(np.float64) @ rows.T).view(len(queries), -1, GROUP)
    error = exactly - coarse - scan.offset.double()[:, None, None]
    assert (error <= slack).all()
    assert (-error <= slack).all()  # it is symmetric
    # Not by being loose: an error comes within a small factor of it (the inequality is a worst case).
    if make is random:
        assert error.abs().max() > slack.max() / 30


def test_the_worst_case_of_the_bound_is_met():
    """Residual and query in one direction: the Cauchy-Schwarz inequality holds with equality."""
    dimension, n = 64, 32 * 50
    corpus = np.zeros((n, dimension), np.float32)
    corpus[:, 0] = 127
    corpus[:, 1:] = 0.499 * np.sign(np.random.default_rng(0).normal(size=(n, dimension - 1)))
    corpus[::2] *= -1  # the mean is near zero
    query = np.sign(corpus[7:8]) * np.where(np.arange(dimension) == 0, 1e-3, 1.0)
    hits = exact.search(query, exact.prepare(corpus, score="dot", first_pass="int8"), 5, precision="certified")
    assert_exact(query, corpus, 5, hits, "dot")
    assert hits.indices[0, 0] == 7


def test_few_survive_on_vectors_like_those_of_models():
    generator = np.random.default_rng(1)
    for make in (random, far_from_zero):
        centres = make(generator, 400, 384)
        corpus = centres[generator.integers(0, 400, 20_000)] + 0.7 * generator.normal(size=(20_000, 384))
        queries = centres[:50] + 0.7 * generator.normal(size=(50, 384))
        hits, report = exact.search_report(queries, exact.prepare(corpus, first_pass="int8"), 10, precision="certified")
        assert report.n_float32 == 0 and report.survivors.mean() < 200
        assert_exact(queries, corpus, 10, hits, "cosine")


def test_a_query_that_cannot_be_told_apart_is_searched_in_float32():
    corpus = np.tile(np.eye(1, 16), (4_000, 1)).astype(np.float32)
    hits, report = exact.search_report(corpus[:3], exact.prepare(corpus), 10, precision="certified")
    assert report.n_float32 == 3 and (report.survivors == 4_000).all()
    assert np.allclose(hits.scores, 1)


def test_only_the_queries_that_need_float32_get_it():
    generator = np.random.default_rng(2)
    same = np.tile(np.eye(1, 32), (3_000, 1))
    corpus = np.concatenate([same, generator.normal(size=(3_000, 32))]).astype(np.float32)
    queries = np.concatenate([same[:1], generator.normal(size=(3, 32))]).astype(np.float32)
    hits, report = exact.search_report(queries, exact.prepare(corpus), 5, precision="certified")
    assert report.n_float32 == 1 and report.survivors[0] == 6_000 and report.survivors[1:].max() < 1_000
    assert_exact(queries, corpus, 5, hits, "cosine")


@pytest.mark.parametrize("name", FIRST_PASSES)
def test_saved_and_mapped_it_finds_the_same(name, tmp_path, recwarn):
    generator = np.random.default_rng(3)
    corpus, queries = generator.normal(size=(2_007, 48)), generator.normal(size=(9, 48))
    prepared = exact.prepare(corpus.astype(np.float32), first_pass=name)
    assert prepared.save(tmp_path / "new" / "corpus") == tmp_path / "new" / "corpus"
    again = exact.load(tmp_path / "new" / "corpus")
    one, other = (exact.search(queries, it, 7, precision="certified") for it in (prepared, again))
    assert np.array_equal(one.indices, other.indices) and np.array_equal(one.scores, other.scores)
    assert again.nbytes == prepared.nbytes and repr(again) == repr(prepared)
    assert not recwarn.list
    again.save(tmp_path / "new" / "corpus")  # over the files that it is mapped from
    assert exact.load(tmp_path / "new" / "corpus", verify=False).nbytes == prepared.nbytes
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["corpus"]


def test_a_memory_mapped_corpus_is_neither_copied_nor_changed(tmp_path, recwarn):
    corpus = np.random.default_rng(4).normal(size=(3_000, 24)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", corpus)
    mapped = np.load(tmp_path / "corpus.npy", mmap_mode="r")
    prepared = exact.prepare(mapped)
    assert prepared.vectors.data_ptr() == mapped.ctypes.data
    assert_exact(corpus[:5], corpus, 10, exact.search(corpus[:5], prepared, 10, precision="certified"), "cosine")
    assert np.array_equal(mapped, corpus) and not recwarn.list


def test_bytes_are_about_a_quarter_of_the_vectors():
    corpus = np.random.default_rng(5).normal(size=(10_000, 384)).astype(np.float32)
    assert exact.prepare(corpus, first_pass="int8").nbytes < 0.27 * corpus.nbytes + 10_000 * 4


def test_torch_in_torch_out():
    corpus = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    for it in (corpus, exact.prepare(corpus), corpus.bfloat16()):
        hits = exact.search(corpus[:3], it, 2)
        assert isinstance(hits.scores, torch.Tensor) and hits.indices[:, 0].tolist() == [0, 1, 2]
        assert isinstance(exact.search(corpus[:3].numpy(), it, 2).scores, np.ndarray)


def test_auto_is_float32_where_no_first_pass_gains(monkeypatch):
    monkeypatch.setattr(top_k, "fastest", lambda device: None)
    monkeypatch.setattr(top_k, "CERTIFIED_FROM", 2_000)
    corpus = np.random.default_rng(6).normal(size=(2_000, 16))
    prepared = exact.prepare(corpus)
    assert exact.search_report(corpus[:2], prepared, 3)[1].precision == "float32"
    monkeypatch.setattr(top_k, "fastest", lambda device: "int8")
    assert exact.search_report(corpus[:2], prepared, 3)[1].precision == "certified"
    assert exact.search_report(corpus[:2], exact.prepare(corpus[1:]), 3)[1].precision == "float32"
    assert exact.search_report(corpus[:2], prepared, 3, precision="certified")[1].precision == "certified"


def test_the_probe_refuses_a_product_that_saturates(monkeypatch):
    def saturating(queries, codes, out):
        out.copy_((queries.int() @ codes.int()).clamp(-(2**15), 2**15 - 1))

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not first_pass.is_right("int8", "cpu")
    monkeypatch.delattr(torch, "_int_mm")
    assert not first_pass.is_right("int8", "cpu")


def test_scores_beyond_float32_are_refused_here_too():
    corpus = np.full((400, 2), 2e38, np.float32)
    with pytest.raises(ValueError, match="exceed the range"):
        exact.search(corpus[:1], exact.prepare(corpus, score="dot"), 2, precision="certified")
